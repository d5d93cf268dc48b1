"""Copies among images: tests that measure nothing, labels that contradict."""

import hashlib
import warnings
import weakref
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.sources.folder_source import FolderSource
from kdfixmatch_keras.sources.image_source import ImageSource, in_parts
from kdfixmatch_keras.sources.labels import NONE_OF_THESE
from kdfixmatch_keras.sources.pixels import Images
from kdfixmatch_keras.sources.resolve import LabeledImages
from kdfixmatch_keras.sources.subset_source import SubsetSource

# Of the test images; more are no accident.
MAX_SHARE = 0.1
_BYTES = 16

# Of files, whose pixels take long to decode, and are asked for again by each training.
_known: weakref.WeakKeyDictionary[FolderSource, npt.NDArray[np.bytes_]]
_known = weakref.WeakKeyDictionary()

# Labels of the images of which it has been told that they contradict each other.
_told: weakref.WeakKeyDictionary[ImageSource, npt.NDArray[np.int32]]
_told = weakref.WeakKeyDictionary()


def find_copies(
    test: LabeledImages, labeled: LabeledImages, argument: str
) -> npt.NDArray[np.int64]:
    """Finds the images for test whose pixels are those of a labeled image.

    Args:
        test: Images for test, n of them.
        labeled: Labeled images, of the same shape.
        argument: Name that the caller knows `test` by.

    Returns:
        int64 array of their positions in `test`.

    Raises:
        ValueError: They are more than a tenth of the images.
    """
    known = set(_fingerprints(labeled.images).tolist())
    prints = _fingerprints(test.images).tolist()
    copies = [row for row, found in enumerate(prints) if found in known]
    if len(copies) > MAX_SHARE * len(prints):
        names = test.images.names
        such = "" if names is None else f", such as {names[copies[0]]}"
        raise ValueError(
            f"`{argument}` must hold images that are not labeled for training, or it "
            f"measures nothing. Received: {len(copies):,} of {len(prints):,} with the "
            f"content of labeled images{such}. Remove them from one of both."
        )
    return np.array(copies, np.int64)


def without(images: LabeledImages, rows: npt.NDArray[np.int64]) -> LabeledImages:
    """Labeled images but for those at some positions; as they are if there are none."""
    if len(rows) == 0:
        return images
    kept = np.setdiff1d(np.arange(len(images.images)), rows)
    return replace(
        images, images=SubsetSource(images.images, kept), labels=images.labels[kept]
    )


def without_none_of_these(
    unlabeled: ImageSource, labeled: LabeledImages, argument: str
) -> ImageSource:
    """Unlabeled images but for those that are known to be of no class.

    Args:
        unlabeled: Unlabeled images.
        labeled: Labeled images, of the same shape.
        argument: Name that the caller knows `unlabeled` by.

    Raises:
        ValueError: None would be left.
    """
    if labeled.none_of_these is None:
        return unlabeled
    is_none = np.isin(_fingerprints(unlabeled), _fingerprints(labeled.none_of_these))
    if not is_none.any():
        return unlabeled
    if is_none.all():
        raise ValueError(
            f"`{argument}` must hold images that are not labeled {NONE_OF_THESE!r}. "
            f"Received: {len(unlabeled):,}, all of them such"
        )
    return SubsetSource(unlabeled, np.flatnonzero(~is_none))


def without_copies(
    test: LabeledImages, labeled: LabeledImages, argument: str
) -> LabeledImages:
    """Images for test but for those whose pixels are those of a labeled image.

    Args:
        test: Images for test.
        labeled: Labeled images, of the same shape.
        argument: Name that the caller knows `test` by.

    Raises:
        ValueError: More than a tenth of them would be left out.

    Warns:
        UserWarning: Some are left out.
    """
    copies = find_copies(test, labeled, argument)
    if len(copies):
        warnings.warn(
            f"Left out {len(copies):,} of the {len(test.images):,} images of "
            f"`{argument}`: their content is that of labeled images.",
            UserWarning,
            stacklevel=3,
        )
    return without(test, copies)


def warn_of_contradictions(labeled: LabeledImages, argument: str) -> None:
    """Looks for images of equal pixels that are labeled as several classes.

    It is told once of each source, by whoever opened it: trainings open it again.

    Args:
        labeled: Labeled images.
        argument: Name that the caller knows them by.

    Warns:
        UserWarning: There are some.
    """
    told = _told.get(labeled.images)
    if told is not None and np.array_equal(told, labeled.labels):
        return
    first: dict[bytes, int] = {}
    pairs = []
    for row, found in enumerate(_fingerprints(labeled.images).tolist()):
        other = first.setdefault(found, row)
        if labeled.labels[other] != labeled.labels[row]:
            pairs.append((other, row))
    if not pairs:
        return
    names = labeled.images.names
    shown = [
        f"{f'image {row}' if names is None else names[row]} as "
        f"{labeled.class_names[labeled.labels[row]]}"
        for row in pairs[0]
    ]
    warnings.warn(
        f"`{argument}` should label an image once. Received: {len(pairs):,} with the "
        f"pixels of another that has another label, such as {shown[1]} and "
        f"{shown[0]}. Remove the wrong ones.",
        UserWarning,
        stacklevel=3,
    )
    _told[labeled.images] = labeled.labels.copy()


def digests(images: Images) -> npt.NDArray[np.bytes_]:
    """Digests of the pixels of images, uint8 `(n, H, W, C)`."""
    found = [
        hashlib.blake2b(image.tobytes(), digest_size=_BYTES).hexdigest()
        for image in images
    ]
    # As text: NumPy drops zeros at the end of bytes.
    return np.array(found, f"S{2 * _BYTES}")


def _fingerprints(source: ImageSource) -> npt.NDArray[np.bytes_]:
    """Digests of the pixels of each image."""
    whole = source.source if isinstance(source, SubsetSource) else source
    if isinstance(whole, FolderSource) and whole in _known:
        known = _known[whole]
        return known[source.indices] if isinstance(source, SubsetSource) else known
    found = np.concatenate([digests(part) for part in in_parts(source)])
    if isinstance(source, FolderSource):
        _known[source] = found
    return found
