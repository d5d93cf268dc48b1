"""The images of one training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kdfixmatch_keras.backend import processes
from kdfixmatch_keras.sources import (
    ImageSource,
    LabeledImages,
    labeled_source,
    unlabeled_source,
)
from kdfixmatch_keras.sources.copies import without_copies
from kdfixmatch_keras.sources.skipped import warn_of_skipped


@dataclass(frozen=True)
class TrainingData:
    """The images of one `fit`, all of one shape.

    Attributes:
        labeled: Labeled images.
        unlabeled: Unlabeled images.
        validation: Labeled images to evaluate on after each epoch, without those whose
            pixels are those of `labeled` ones; or None.
    """

    labeled: LabeledImages
    unlabeled: ImageSource
    validation: LabeledImages | None

    def __str__(self) -> str:
        """How many images there are."""
        return (
            f"{len(self.labeled.images)} labeled and {len(self.unlabeled)} unlabeled "
            f"images, {len(self.labeled.class_names)} classes"
        )


# Other processes would wait for one that cannot read what they can.
@processes.ending_after_errors()
def open_data(
    labeled: Any,
    unlabeled: Any,
    validation_data: Any = None,
    image_size: Sequence[int] | None = None,
    on_error: str = "raise",
) -> TrainingData:
    """Opens what the user passed, and checks that it belongs together.

    Args:
        labeled: As for `KDFixMatch.fit`.
        unlabeled: As for `KDFixMatch.fit`.
        validation_data: As for `KDFixMatch.fit`.
        image_size: `(H, W)` to which images are resized; None keeps their own.
        on_error: As for `KDFixMatch.fit`.

    Raises:
        TypeError: An argument is of a kind that holds no images.
        ValueError: Images or labels are not usable; the message says which.

    Warns:
        UserWarning: Files were left out, or images of `validation_data` that are
            copies of labeled ones.
    """
    labeled_images = labeled_source(labeled, image_size, on_error=on_error)
    # What a user has opened has told them.
    if labeled_images is not labeled:
        warn_of_skipped(labeled_images, "labeled")
    shape = labeled_images.images.image_shape
    unlabeled_images = unlabeled_source(
        unlabeled, image_size, shape[-1], on_error=on_error
    )
    if unlabeled_images is not unlabeled:
        warn_of_skipped(unlabeled_images, "unlabeled")
    validation_images = None
    if validation_data is not None:
        validation_images = labeled_source(
            validation_data,
            image_size,
            shape[-1],
            class_names=labeled_images.class_names,
            on_error=on_error,
            argument="validation_data",
        )
        if validation_images is not validation_data:
            warn_of_skipped(validation_images, "validation_data")
        _check_same_shape("validation_data", validation_images.images, shape)
        validation_images = without_copies(
            validation_images, labeled_images, "validation_data"
        )
    _check_same_shape("unlabeled", unlabeled_images, shape)
    return TrainingData(labeled_images, unlabeled_images, validation_images)


def _check_same_shape(
    argument: str, source: ImageSource, shape: tuple[int, int, int]
) -> None:
    if source.image_shape != shape:
        raise ValueError(
            f"`{argument}` must have images of the shape of `labeled`, {shape}. "
            f"Received: {source.image_shape}. Pass image_size=(H, W) to resize all "
            "images to one size."
        )
