"""Images that are black, which uint8 pixels of a wrong range are."""

import warnings

import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.sources.folder_source import FolderSource
from kdfixmatch_keras.sources.image_source import ImageSource

# A larger pixel is that of images with something on them.
DIM = 16
# Share of the images that are in another range than the rest, if any are.
_MIN_MIXED = 0.25
_LOOKED_AT, _CHUNK = 8, 256


def check_bright(
    source: ImageSource, argument: str, *, is_predicted: bool = False
) -> None:
    """Checks that not all pixels are black.

    A few images are looked at, and all where these are as dark. Among 16-bit ones, one
    can be dark.

    Args:
        source: The images, at least one.
        argument: Name that the caller knows them by.
        is_predicted: Whether they are to be predicted, one of which can be black.

    Raises:
        ValueError: No pixel is above 1, of 255, and the images are not to be predicted.

    Warns:
        UserWarning: No pixel is above 16, or above 1 of images to be predicted; or some
            of those looked at are in [0, 1], and others are not.
    """
    if source.deep_files and None in (source.survey, source.intensity_range):
        # How bright they are, others say: those of training, or `in_one_range`.
        return
    highs = _highs(source)
    brightest = max(highs)
    # Black frames are of zeros.
    in_unit = highs.count(1)
    if brightest > DIM and in_unit >= _MIN_MIXED * len(highs):
        warnings.warn(
            f"`{argument}` should hold images of one range. Received: {in_unit:,} "
            f"without a pixel above 1, of {len(highs):,} that were looked at, and "
            f"others up to {brightest}. The former will be black.",
            UserWarning,
            stacklevel=3,
        )
    if brightest > 1 and (is_predicted or brightest > DIM):
        return
    count = f"{len(source):,} image{'s' * (len(source) != 1)}"
    found = f"{count} without a pixel above {brightest}, of 255"
    are_files = isinstance(source, FolderSource)
    if brightest > 1:
        remedy = f'`(images * (255 / {brightest})).round().astype("uint8")`'
        if are_files:
            remedy = f"save the files with {brightest} as 255"
        warnings.warn(
            f"`{argument}` should use all gray levels. Received: {found}. If there can "
            f"be none above, scale them: {remedy}.",
            UserWarning,
            stacklevel=3,
        )
        return
    remedy = (
        'Pixels in [0, 1] become uint8 by `(images * 255).round().astype("uint8")`, '
        'zeros and ones by `images.astype("uint8") * 255`.'
    )
    if are_files:
        remedy = "Save the files with pixels from 0 to 255 in place of 0 to 1."
    if not is_predicted:
        raise ValueError(
            f"`{argument}` must hold images that are not all black. Received: {found}. "
            f"{remedy}"
        )
    warnings.warn(
        f"`{argument}` are all black. Received: {found}. {remedy}",
        UserWarning,
        stacklevel=3,
    )


def _highs(source: ImageSource) -> list[int]:
    """The largest pixel of some images, of all if these are dark."""
    count = len(source)
    rows = np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(np.int64)
    highs = _largest(source, rows)
    if max(highs) > DIM:
        return highs
    highs = []
    for start in range(0, count, _CHUNK):
        highs += _largest(source, np.arange(start, min(start + _CHUNK, count)))
        if max(highs) > DIM:
            break
    return highs


def _largest(source: ImageSource, rows: npt.NDArray[np.int64]) -> list[int]:
    largest: list[int] = source[rows].max(axis=(1, 2, 3)).tolist()
    return largest
