"""The images of one training."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from kdfixmatch_keras.backend import processes
from kdfixmatch_keras.checks.paths import expand_user
from kdfixmatch_keras.sources import (
    ImageSource,
    LabeledImages,
    labeled_source,
    one_range,
    unlabeled_source,
)
from kdfixmatch_keras.sources.copies import (
    warn_of_contradictions,
    without_copies,
    without_none_of_these,
)
from kdfixmatch_keras.sources.intensity import LATER, IntensityRange
from kdfixmatch_keras.sources.look_alikes import warn_of_look_alikes
from kdfixmatch_keras.sources.skipped import warn_of_skipped


@dataclass(frozen=True)
class TrainingData:
    """The images of one `fit`, all of one shape.

    Attributes:
        labeled: Labeled images, those of no class apart.
        unlabeled: Unlabeled images, without what is labeled as of no class.
        validation: Labeled images to evaluate on after each epoch, without those whose
            pixels are those of `labeled` ones; or None.
    """

    labeled: LabeledImages
    unlabeled: ImageSource
    validation: LabeledImages | None

    @property
    def intensity_range(self) -> IntensityRange | None:
        """What intensities of its 16-bit images become 0 and 255, or None."""
        sources = [self.labeled.images, self.unlabeled]
        if self.validation is not None:
            sources.append(self.validation.images)
        ranges = (source.intensity_range for source in sources)
        return next((found for found in ranges if found is not None), None)

    def notes(self) -> list[str]:
        """Sentences about what of its files was dropped, changed or assumed."""
        sources = {"labeled": self.labeled.images, "unlabeled": self.unlabeled}
        if self.validation is not None:
            sources["validation"] = self.validation.images
        found = [
            f"{name.capitalize()} images: {note}"
            for name, source in sources.items()
            for note in source.notes
        ]
        none = self.labeled.none_of_these
        if none is not None:
            found.append(f"Images of none of the classes, left out: {len(none):,}")
        return found

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
            copies of labeled ones; or some look like those, or an image has several
            labels.
    """
    check_apart(
        "labeled", labeled, unlabeled=unlabeled, validation_data=validation_data
    )
    # One range for all 16-bit images, which is known when all have been looked at.
    reading: dict[str, Any] = {"on_error": on_error, "intensity_range": LATER}
    labeled_images = labeled_source(labeled, image_size, **reading)
    # What a user has opened has told them.
    if labeled_images is not labeled:
        warn_of_skipped(labeled_images, "labeled")
    shape = labeled_images.images.image_shape
    unlabeled_images = unlabeled_source(unlabeled, image_size, shape[-1], **reading)
    if unlabeled_images is not unlabeled:
        warn_of_skipped(unlabeled_images, "unlabeled")
    validation_images = None
    if validation_data is not None:
        validation_images = labeled_source(
            validation_data,
            image_size,
            shape[-1],
            class_names=labeled_images.class_names,
            **reading,
            argument="validation_data",
        )
        if validation_images is not validation_data:
            warn_of_skipped(validation_images, "validation_data")
        _check_same_shape("validation_data", validation_images.images, shape)
    _check_same_shape("unlabeled", unlabeled_images, shape)
    data = in_one_range(
        TrainingData(labeled_images, unlabeled_images, validation_images)
    )
    data = replace(
        data,
        unlabeled=without_none_of_these(data.unlabeled, data.labeled, "unlabeled"),
    )
    warn_of_contradictions(data.labeled, "labeled")
    if data.validation is None:
        return data
    kept = without_copies(data.validation, data.labeled, "validation_data")
    warn_of_look_alikes(kept, data.labeled, "validation_data")
    return replace(data, validation=kept)


def in_one_range(
    data: TrainingData,
    names: Sequence[str] = ("labeled", "unlabeled", "validation_data"),
) -> TrainingData:
    """The images of a training, of which those of 16 bits are scaled alike.

    Args:
        data: The images.
        names: What the caller knows the labeled, the unlabeled and the others by.

    Raises:
        ValueError: One scale would leave few gray levels.
    """
    sources = [data.labeled.images, data.unlabeled]
    if data.validation is not None:
        sources.append(data.validation.images)
    scaled = one_range.in_one_range(dict(zip(names, sources, strict=False)))
    labeled, unlabeled, *rest = scaled
    return TrainingData(
        data.labeled.with_images(labeled),
        unlabeled,
        data.validation.with_images(rest[0]) if data.validation else None,
    )


def check_apart(name: str, labeled: Any, **others: Any) -> None:
    """Checks that no folder of images would be taken for one of the classes.

    Args:
        name: Name that the caller knows `labeled` by.
        labeled: What was passed as labeled images.
        **others: What was passed as other images, by the name of the argument.

    Raises:
        ValueError: One is a folder inside of that of the labeled images.
    """
    if not isinstance(labeled, str | os.PathLike):
        return
    folder = expand_user(labeled).resolve()
    for other, images in others.items():
        if not isinstance(images, str | os.PathLike):
            continue
        inside = expand_user(images).resolve()
        if inside != folder and inside.is_relative_to(folder):
            raise ValueError(
                f"`{other}` must not lie in the folder of `{name}`, whose sub-folders "
                f"are the classes. Received: {os.fspath(images)}, which is in "
                f"{os.fspath(labeled)}. Move it."
            )


def _check_same_shape(
    argument: str, source: ImageSource, shape: tuple[int, int, int]
) -> None:
    if source.image_shape != shape:
        raise ValueError(
            f"`{argument}` must have images of the shape of `labeled`, {shape}. "
            f"Received: {source.image_shape}. Pass image_size=(H, W) to resize all "
            "images to one size."
        )
