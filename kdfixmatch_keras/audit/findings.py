"""What an audit of the images of a training finds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdfixmatch_keras.audit.doubtful_labels import doubtful_labels
from kdfixmatch_keras.audit.groups import split_classes
from kdfixmatch_keras.audit.near_copies import near_copies
from kdfixmatch_keras.sources import (
    FolderSource,
    ImageSource,
    LabeledImages,
    SubsetSource,
)
from kdfixmatch_keras.sources.copies import digests
from kdfixmatch_keras.sources.image_decoding import read_header
from kdfixmatch_keras.sources.image_source import in_parts
from kdfixmatch_keras.sources.look_alikes import thumbnails

# By code, in the order of the findings. A code keeps its meaning.
KINDS = {
    "KD101": "copy with another label",
    "KD102": "copy",
    "KD103": "near copy",
    "KD104": "label that the others contradict",
    "KD105": "image without content",
    "KD106": "tiny image",
    "KD107": "class of two groups",
}
# In pixels, of the shorter side.
TINY = 16
# Difference of the lightest and the darkest gray level of an image without content.
FLAT = 4
NEIGHBORS = 3


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or may be.

    Attributes:
        code: One of `KINDS`.
        set: `"labeled"`, `"unlabeled"` or `"test"`.
        row: Position of the image in it.
        text: What was found, in words.
        other: Set and row of the image that it is a copy of, or None.
        neighbors: Rows of labeled images to compare it with.
    """

    code: str
    set: str
    row: int
    text: str
    other: tuple[str, int] | None = None
    neighbors: tuple[int, ...] = ()


def audit(
    labeled: LabeledImages,
    unlabeled: ImageSource | None,
    test: LabeledImages | None,
    features: Any,
    *,
    seed: int = 0,
) -> list[Finding]:
    """Looks for copies, doubtful labels and images that show nothing.

    Args:
        labeled: n labeled images.
        unlabeled: Unlabeled ones of the same shape, or None.
        test: Labeled images for test, of the same shape and classes, or None.
        features: Frozen features of the labeled images, `(n, D)`.
        seed: Fixes folds and clusters.

    Returns:
        What was found, by kind. An image in two sets by one path is no copy.

    Raises:
        ValueError: `features` does not fit the labeled images.
    """
    sets = {"labeled": labeled.images}
    labels = {"labeled": labeled.labels}
    if test is not None:
        sets["test"], labels["test"] = test.images, test.labels
    if unlabeled is not None:
        sets["unlabeled"] = unlabeled
    images = [
        _Image(
            name, row, _file(source, row), labels[name][row] if name in labels else -1
        )
        for name, source in sets.items()
        for row in range(len(source))
    ]
    looks = [look for source in sets.values() for look in _looks(source)]
    columns = (np.concatenate(column) for column in zip(*looks, strict=True))
    prints, small, contrast = columns
    found = [
        *_copies(images, _first_equal(prints), near_copies(small), labeled.class_names),
        *_doubtful(labeled, features, seed),
        *_groups(labeled, features, seed),
        *(
            images[row].finding("KD105", "one gray level, or nearly so")
            for row in np.flatnonzero(contrast <= FLAT)
        ),
        *_tiny(images),
    ]
    return sorted(found, key=lambda finding: finding.code)


@dataclass(frozen=True)
class _Image:
    """An image of one of the sets; its label is -1 where it has none."""

    set: str
    row: int
    file: Path | None
    label: int

    def finding(self, code: str, text: str, **more: Any) -> Finding:
        return Finding(code, self.set, self.row, text, **more)


def _file(source: ImageSource, row: int) -> Path | None:
    """The file of an image, None where it was an array."""
    if isinstance(source, SubsetSource):
        return _file(source.source, int(source.indices[row]))
    return source.files[row] if isinstance(source, FolderSource) else None


def _looks(source: ImageSource) -> Iterator[tuple[NDArray[Any], ...]]:
    """Digests, thumbnails and contrasts of the images of a source."""
    for images in in_parts(source):
        levels = images.reshape(len(images), -1, images.shape[-1])
        contrast = np.ptp(levels, axis=1).max(axis=1)
        yield digests(images), thumbnails(images), contrast


def _first_equal(prints: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """For each image the first one with its pixels."""
    _, first, number = np.unique(prints, return_index=True, return_inverse=True)
    found: NDArray[np.int64] = first[number]
    return found


def _copies(
    images: list[_Image],
    equal: NDArray[np.int64],
    near: NDArray[np.int64],
    class_names: list[str],
) -> Iterator[Finding]:
    for row, image in enumerate(images):
        is_equal = equal[row] != row
        other = images[equal[row] if is_equal else near[row]]
        if other is image or _is_one_file(image.file, other.file):
            continue
        place = (other.set, other.row)
        pixels = "the same pixels as" if is_equal else "looks the same as"
        if min(image.label, other.label) >= 0 and image.label != other.label:
            text = (
                f"{pixels} an image that is labeled {class_names[other.label]}, not "
                f"{class_names[image.label]}"
            )
            yield image.finding("KD101", text, other=place)
        else:
            code = "KD102" if is_equal else "KD103"
            yield image.finding(code, f"{pixels} another {other.set} one", other=place)


def _is_one_file(one: Path | None, other: Path | None) -> bool:
    return one is not None and other is not None and one.resolve() == other.resolve()


def _doubtful(labeled: LabeledImages, features: Any, seed: int) -> Iterator[Finding]:
    found = doubtful_labels(features, labeled.labels, seed=seed)
    names, matrix = labeled.class_names, np.asarray(features)
    for row, proposed, given in zip(
        found.rows.tolist(), found.proposed, found.given, strict=True
    ):
        rows = np.flatnonzero(labeled.labels == proposed)
        squares = np.square(matrix[rows] - matrix[row]).sum(axis=1)
        yield Finding(
            "KD104",
            "labeled",
            row,
            f"looks like {names[proposed]}; {names[labeled.labels[row]]} has a "
            f"probability of {given:.0%}",
            neighbors=tuple(rows[np.argsort(squares)[:NEIGHBORS]].tolist()),
        )


def _groups(labeled: LabeledImages, features: Any, seed: int) -> Iterator[Finding]:
    for number, rows in split_classes(features, labeled.labels, seed=seed).items():
        count = int((labeled.labels == number).sum())
        yield Finding(
            "KD107",
            "labeled",
            int(rows[0]),
            f"{len(rows)} of {count} images of {labeled.class_names[number]} look "
            "unlike the others: perhaps two classes, or two cameras",
            neighbors=tuple(rows[1 : 1 + NEIGHBORS].tolist()),
        )


def _tiny(images: list[_Image]) -> Iterator[Finding]:
    for image in images:
        if image.file is not None:
            height, width = read_header(image.file).size
            if min(height, width) < TINY:
                yield image.finding("KD106", f"{height} x {width} pixels")
