"""Typical images, each of another kind: what to label before anything is labeled."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdfixmatch_keras.suggestion.pool import Pool, Rows, squared_distances

# Those of the paper.
NEIGHBORS = 20
MAX_CLUSTERS = 500
# Of a cluster of more images, typicality is that among so many of them.
_MAX_COMPARED = 4096
_CHUNK = 1024


def typical(
    features: Any,
    *,
    count: int = 24,
    labeled: Any = (),
    excluded: Any = (),
    seed: int = 0,
) -> Rows:
    """Suggests images that many others resemble, each another kind.

    The features are clustered into as many clusters as there are labels and
    suggestions, at most 500. Clusters with the fewest labels come first, and of these
    the largest. Of each, the image of the highest typicality is taken, 1 / mean
    distance to its 20 nearest neighbours in the cluster.

    Args:
        features: Features of N images by a pretrained network, `(N, D)`. Their
            direction counts, not their length.
        count: How many images to suggest, at most as many as are neither labeled nor
            excluded.
        labeled: Rows of the images that have a label.
        excluded: Rows of images that are never suggested and count for nothing, such as
            those for test.
        seed: Integer of at least 0; the same one gives the same suggestions.

    Returns:
        int64 `(count,)`, rows of images in [0, N), the most worthwhile first. Fewer
        where all others are near copies of suggested or labeled images.

    Raises:
        ValueError: An argument is not as above.

    Warns:
        UserWarning: There are fewer than `count`.

    Reference:
        - [Hacohen, Dekel and Weinshall, 2022](https://arxiv.org/abs/2202.02794)
    """
    pool = Pool(features, count, labeled, excluded, seed)
    choose_typical(pool, pool.count)
    return pool.chosen()


def choose_typical(pool: Pool, count: int) -> None:
    """Chooses at most `count` typical images of a pool."""
    wanted = len(pool.labeled) + count
    num_clusters = max(min(wanted, MAX_CLUSTERS), count)
    rows = pool.present
    clusters, centres = pool.clusters(rows, num_clusters)
    sizes = np.bincount(clusters, minlength=len(centres))
    is_labeled = np.isin(rows, pool.labeled)
    labels = np.bincount(clusters[is_labeled], minlength=len(centres))
    order = np.lexsort((-sizes, labels))
    rng = np.random.default_rng(pool.seed)
    members = (rows[clusters == number] for number in order if sizes[number])
    pool.choose_in_turn((_most_typical_first(pool, m, rng) for m in members), count)


def _most_typical_first(
    pool: Pool, rows: Rows, rng: np.random.Generator
) -> Iterator[int]:
    # Computed when the first of them is asked for, as most clusters are not.
    distances = _distances_to_neighbors(pool.points[rows], rng)
    yield from rows[np.argsort(distances, kind="stable")].tolist()


def _distances_to_neighbors(
    points: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Mean distance of each point to its nearest neighbours, smallest if typical."""
    others = points
    if len(points) > _MAX_COMPARED:
        others = points[rng.choice(len(points), _MAX_COMPARED, replace=False)]
    # Each is its own nearest.
    nearest = min(NEIGHBORS + 1, len(others))
    found = np.empty(len(points), np.float32)
    for start in range(0, len(points), _CHUNK):
        part = slice(start, start + _CHUNK)
        squares = squared_distances(points[part], others)
        squares = np.partition(squares, nearest - 1, axis=1)[:, :nearest]
        found[part] = np.sqrt(squares).mean(axis=1)
    return found
