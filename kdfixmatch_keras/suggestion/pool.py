"""The images to choose from, as points whose distances say how alike they are."""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdfixmatch_keras.checks import array_validation, validation
from kdfixmatch_keras.clustering.shared import one_thread

Rows = NDArray[np.int64]

# Main axes that tell images apart; distances along the others are mostly noise.
_MAX_AXES = 64
# Images that the axes are found from.
_ROWS_OF_AXES = 10_000
# Near copies are closer than this share of the distance of two images.
NEAR = 0.1
_PAIRS = 1000
# Of features of unit length in single precision.
_ROUNDING = 1e-5
_BLOCKED_AT_ONCE = 64
# Images up to which k-means uses all of them in each step.
_FULL_BATCH_LIMIT = 10_000


class Pool:
    """Images of which some are chosen, none of them a near copy of another.

    Args:
        features: `(N, D)`, finite; their directions count, not their lengths.
        count: How many are to be chosen, at least 1.
        labeled: Rows of the images that have a label.
        excluded: Rows of the images that are as if they were not there.
        seed: Integer of at least 0.

    Attributes:
        points: float32 `(N, d)`, the features on their main axes.
        count: As given.
        labeled: int64 `(n,)`.
        present: int64, the rows of all images but the excluded.
        seed: As given.

    Raises:
        ValueError: An argument is not as above, or `count` is more than there are to
            choose from.
    """

    def __init__(
        self, features: Any, count: Any, labeled: Any, excluded: Any, seed: Any
    ) -> None:
        matrix = array_validation.check_matrix("features", features)
        size = len(matrix)
        self.count = validation.check_integer("count", count, 1)
        self.seed = validation.check_integer("seed", seed, 0)
        left_out = _mask("excluded", excluded, size)
        is_labeled = _mask("labeled", labeled, size) & ~left_out
        self.labeled = np.flatnonzero(is_labeled)
        self.present = np.flatnonzero(~left_out)
        self._free = ~(left_out | is_labeled)
        available = int(self._free.sum())
        if self.count > available:
            raise ValueError(
                f"`count` must be at most {available:,}, the number of images that are "
                "neither labeled nor excluded. Received: "
                f"count={self.count:,}"
            )
        rng = np.random.default_rng(self.seed)
        self.points = _points(matrix, self.present, rng)
        self._squares = np.einsum("nd,nd->n", self.points, self.points)
        self._near = self._near_copies(rng)
        self._block_copies(self.labeled)
        self._chosen: list[int] = []

    def _near_copies(self, rng: np.random.Generator) -> float:
        """The squared distance from which two images are no near copies."""
        one, other = rng.choice(self.present, (2, _PAIRS))
        distances = np.linalg.norm(self.points[one] - self.points[other], axis=1)
        apart = distances[distances > 0]
        usual = float(np.median(apart)) if len(apart) else 0.0
        # Of images that are all the same, rounding is left.
        return max(NEAR * usual, _ROUNDING) ** 2

    def _block_copies(self, rows: Rows) -> None:
        """Keeps from being chosen what are some images, or near copies of them."""
        # Of few rows at once: there are many points.
        for start in range(0, len(rows), _BLOCKED_AT_ONCE):
            part = rows[start : start + _BLOCKED_AT_ONCE]
            products = self.points @ self.points[part].T
            squares = self._squares[:, None] + self._squares[part] - 2 * products
            self._free &= (squares > self._near).all(axis=1)
        self._free[rows] = False

    @property
    def free(self) -> Rows:
        """Rows that can still be chosen."""
        return np.flatnonzero(self._free)

    @property
    def missing(self) -> int:
        """How many are still to be chosen."""
        return self.count - len(self._chosen)

    def choose(self, row: int) -> bool:
        """Chooses an image, unless it is a near copy of one that is labeled or chosen.

        Returns:
            Whether it was chosen.
        """
        if not self._free[row]:
            return False
        self._chosen.append(int(row))
        self._block_copies(np.array([row]))
        return True

    def choose_in_turn(self, groups: Iterable[Iterable[int]], count: int) -> None:
        """Chooses one image of each group after another, and once more from the first.

        Args:
            groups: Rows, the best of each group first.
            count: How many, at most.
        """
        least = max(self.missing - count, 0)
        left: list[Iterator[int]] = [iter(group) for group in groups]
        while left and self.missing > least:
            going_on = []
            for group in left:
                if self.missing > least and any(self.choose(row) for row in group):
                    going_on.append(group)
            left = going_on

    def chosen(self) -> Rows:
        """The rows that were chosen, in their order.

        Warns:
            UserWarning: They are fewer than were asked for.
        """
        if self.missing:
            warnings.warn(
                f"Suggested {len(self._chosen):,} of the {self.count:,} images that "
                "were asked for: all others are near copies of these or of labeled "
                "ones.",
                UserWarning,
                stacklevel=3,
            )
        return np.array(self._chosen, np.int64)

    def clusters(
        self, rows: Rows, count: int, weights: NDArray[Any] | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Clusters some of the images with k-means, mini-batches of many.

        Args:
            rows: The n images.
            count: Number of clusters; fewer where fewer images differ.
            weights: How much each of them counts, `(n,)`; None for alike.

        Returns:
            The cluster of each image, `(n,)`, and the centres.
        """
        from sklearn import cluster
        from sklearn.exceptions import ConvergenceWarning

        is_few = len(rows) <= _FULL_BATCH_LIMIT
        kind = cluster.KMeans if is_few else cluster.MiniBatchKMeans
        of_batches = {} if is_few else {"batch_size": 4096}
        estimator = kind(
            min(count, len(rows)), n_init=3, random_state=self.seed, **of_batches
        )
        with one_thread(), warnings.catch_warnings():
            # Of copies, which leave clusters empty.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = estimator.fit_predict(self.points[rows], sample_weight=weights)
        return np.asarray(found, np.int32), estimator.cluster_centers_


def squared_distances(
    one: NDArray[np.float32], other: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Squared distance of each row of one and each of the other."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)
    found: NDArray[np.float32] = np.maximum(squares - 2 * one @ other.T, 0)
    return found


def _mask(name: str, value: Any, size: int) -> NDArray[np.bool_]:
    """Which of `size` images an array of rows names."""
    rows = array_validation.check_array(name, value, "rows of images, a list of them")
    mask = np.zeros(size, np.bool_)
    if rows.size == 0:
        return mask
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise ValueError(
            f"`{name}` must be rows of images, a 1-D array of integers. Received: "
            f"{name}.shape={rows.shape}, dtype={rows.dtype}"
        )
    if rows.min() < 0 or rows.max() >= size:
        raise ValueError(
            f"`{name}` must be rows of images in [0, {size}). Received: rows from "
            f"{rows.min()} to {rows.max()}"
        )
    mask[rows] = True
    return mask


def _points(
    features: NDArray[np.float32], present: Rows, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Features scaled to unit length, around their mean, on their main axes."""
    sample = present
    if len(sample) > _ROWS_OF_AXES:
        sample = rng.choice(present, _ROWS_OF_AXES, replace=False)
    known = _unit(features[sample])
    mean = known.mean(axis=0)
    axes = np.eye(features.shape[1], dtype=np.float32)
    if features.shape[1] > _MAX_AXES:
        # Principal components, also of one image and of images that are all the same.
        _, directions = np.linalg.eigh((known - mean).T @ (known - mean))
        axes = directions[:, -_MAX_AXES:]
    points = np.empty((len(features), axes.shape[1]), np.float32)
    for part in array_validation.stretches(len(features)):
        points[part] = (_unit(features[part]) - mean) @ axes
    return points


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    # First by the largest, whose square can be too large for float32.
    largest = np.abs(features).max(axis=1, keepdims=True)
    scaled = features / np.where(largest > 0, largest, 1)
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (scaled / np.where(lengths > 0, lengths, 1)).astype(
        np.float32, copy=False
    )
    return unit
