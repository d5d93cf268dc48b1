"""Images that differ by their coding, size or brightness alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kdfixmatch_keras.checks import array_validation

# Of the cosine of two thumbnails to 1. Copies as JPEG files of quality 50, of half the
# size or a tenth brighter are within it, other photographs rarely ...
MAX_DISTANCE = 0.0025
# ... but where all images show much the same: closer than this share of the distance
# to the tenth image, as the hundredth part of the images have it that is most alike.
_SHARE, _NEIGHBOR, _QUANTILE = 1 / 32, 10, 0.01
_SAMPLE = 2000
# Standard deviation in gray levels below which a thumbnail shows nothing to compare.
_MIN_CONTRAST = 1.0
_CHUNK = 256


def near_copies(thumbnails: Any) -> NDArray[np.int64]:
    """Finds images that look the same.

    Thumbnails are compared by the cosine between them, after their means have been
    taken off: brightness and contrast do not count. How near two copies must be depends
    on how alike the images are in general, so that parts of one kind, photographed one
    after another, are told apart. Mirrored, turned and cropped copies are not found.

    Args:
        thumbnails: Small gray copies of N images, `(N, D)`, such as 8 x 8 pixels.

    Returns:
        int64 `(N,)`: the first image of those that look like this one, which is its own
        row for most.

    Raises:
        ValueError: `thumbnails` is no matrix of finite numbers.
    """
    matrix = array_validation.check_matrix("thumbnails", thumbnails)
    points = matrix - matrix.mean(axis=1, keepdims=True)
    # Nothing to compare: no near copy of anything.
    rows = np.flatnonzero(points.std(axis=1) >= _MIN_CONTRAST)
    points = points[rows] / np.linalg.norm(points[rows], axis=1, keepdims=True)
    limit = _limit(points)
    pairs = [np.empty((0, 2), np.int64)]
    for start in range(0, len(points), _CHUNK):
        # Each pair once: with those behind.
        distances = 1 - points[start : start + _CHUNK] @ points[start:].T
        near = np.argwhere(np.triu(distances <= limit, 1))
        pairs.append(rows[start + near])
    first, second = np.concatenate(pairs).T
    size = len(matrix)
    joined = coo_array((np.ones(len(first)), (first, second)), (size, size))
    _, group = connected_components(joined, directed=False)
    _, firsts = np.unique(group, return_index=True)
    found: NDArray[np.int64] = firsts[group].astype(np.int64)
    return found


def _limit(points: NDArray[np.float32]) -> float:
    """The largest distance of copies among images of unit length."""
    if len(points) <= _NEIGHBOR:
        return MAX_DISTANCE
    rows = np.linspace(0, len(points) - 1, min(len(points), _SAMPLE)).astype(np.int64)
    tenth = [
        # The image itself is the nearest.
        1 - np.partition(points[part] @ points.T, -_NEIGHBOR - 1)[:, -_NEIGHBOR - 1]
        for part in np.array_split(rows, max(1, len(rows) // _CHUNK))
    ]
    spread = float(np.quantile(np.concatenate(tenth), _QUANTILE))
    return min(MAX_DISTANCE, _SHARE * spread)
