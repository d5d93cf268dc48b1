"""Images for test that look like labeled ones, as copies in another format do."""

import warnings
import weakref
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from PIL import Image

from kdfixmatch_keras.sources.copies import digests
from kdfixmatch_keras.sources.image_source import ImageSource, in_parts
from kdfixmatch_keras.sources.pixels import Images
from kdfixmatch_keras.sources.resolve import LabeledImages

# Images are compared as thumbnails of this many pixels a side, in gray levels: what
# JPEG and resizing change is evened out. Of those with less contrast nothing is said.
_SIDE, _MAX_DIFFERENCE, _MIN_CONTRAST = 8, 2.0, 10.0
# As those have who save a picture as gray.
_LUMA = (0.299, 0.587, 0.114)
_CHUNK = 256

# Images for test of which it has been told, and the labeled ones that they look like.
_told: weakref.WeakKeyDictionary[ImageSource, weakref.ref[ImageSource]]
_told = weakref.WeakKeyDictionary()


class CopiesOf:
    """Tells images that are copies of some others, also in another format or size.

    Args:
        parts: The others, if there are any: uint8 `(n, H, W, C)` each.
    """

    def __init__(self, parts: Iterable[Images]) -> None:
        own, small = [np.empty(0, "S1")], [np.empty((0, _SIDE**2), np.float32)]
        for part in parts:
            own.append(digests(part))
            small.append(thumbnails(part))
        self._digests, self._thumbnails = np.concatenate(own), np.concatenate(small)

    def among(self, images: Images) -> npt.NDArray[np.bool_]:
        """Which of some images are such copies.

        Args:
            images: uint8 `(n, H, W, C)`, of the shape of the others.

        Returns:
            bool `(n,)`.
        """
        is_copy = np.isin(digests(images), self._digests)
        is_copy |= look_like(thumbnails(images), self._thumbnails)
        return is_copy


def warn_of_look_alikes(
    test: LabeledImages, labeled: LabeledImages, argument: str
) -> None:
    """Looks for images for test that differ from a labeled one by their coding alone.

    They can be other frames of one scene as well, and are not left out. It is told once
    of two sources, by whoever opened them: trainings open them again.

    Args:
        test: Images for test, without those whose pixels are those of labeled ones.
        labeled: Labeled images, of the same shape.
        argument: Name that the caller knows `test` by.

    Warns:
        UserWarning: There are some.
    """
    told = _told.get(test.images)
    if told is not None and told() is labeled.images:
        return
    known = np.concatenate([thumbnails(part) for part in in_parts(labeled.images)])
    alike = [look_like(thumbnails(part), known) for part in in_parts(test.images)]
    found = np.flatnonzero(np.concatenate(alike)).tolist()
    if not found:
        return
    names = test.images.names
    such = f"image {found[0]}" if names is None else names[found[0]]
    warnings.warn(
        f"`{argument}` should hold images of its own. Received: {len(found):,} of "
        f"{len(test.images):,} that look like labeled ones, such as {such}. If they "
        "are copies in another format or size, they measure nothing: remove them.",
        UserWarning,
        stacklevel=3,
    )
    _told[test.images] = weakref.ref(labeled.images)


def look_like(
    own: npt.NDArray[np.float32], known: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Which images look like one of others.

    Args:
        own: Thumbnails of n images; see `thumbnails`.
        known: Those of the others.

    Returns:
        bool `(n,)`.
    """
    known = known[known.std(axis=1) >= _MIN_CONTRAST]
    found = np.zeros(len(own), np.bool_)
    for start in range(0, len(own), _CHUNK):
        part = slice(start, start + _CHUNK)
        nearest = _mean_squares(own[part], known).min(axis=1, initial=np.inf)
        found[part] = nearest <= _MAX_DIFFERENCE**2
    return found


def thumbnails(images: Images) -> npt.NDArray[np.float32]:
    """Small gray copies, float32 `(n, 64)`, of images, uint8 `(n, H, W, C)`."""
    return np.stack([_thumbnail(image) for image in images])


def _thumbnail(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    weights = np.array(_LUMA if image.shape[-1] == 3 else [1], np.float32)
    gray = Image.fromarray(image.astype(np.float32) @ weights)
    small = gray.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return np.asarray(small, np.float32).reshape(-1)


def _mean_squares(
    one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Mean squared difference of each row of one and each of the other."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)
    found: npt.NDArray[np.float32] = (squares - 2 * one @ other.T) / one.shape[1]
    return found
