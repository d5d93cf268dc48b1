"""Classes that look like two."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdfixmatch_keras.audit.doubtful_labels import check_labeled
from kdfixmatch_keras.clustering.shared import one_thread

# Of fewer images any two halves look apart.
MIN_IMAGES = 10
# Share of the images in the smaller group.
_MIN_SHARE = 0.2
# Main axes that groups are looked for on.
_MAX_AXES = 8
# Silhouette from which on two groups are apart. Photographs of one kind came to
# 0.37 at most, solar cells of two kinds of silicon to 0.48 and 0.75.
_APART = 0.4


def split_classes(
    features: Any, labels: Any, *, seed: int = 0
) -> dict[int, NDArray[np.int64]]:
    """Finds classes whose images fall into two groups.

    Two clusters of the images of a class are apart if their silhouette is at least 0.4
    and each holds at least a fifth of the images. Fewer than ten images say nothing.

    Args:
        features: Frozen features of n labeled images, `(n, D)`.
        labels: Their classes, integers `(n,)` in [0, K).
        seed: Fixes the clusters.

    Returns:
        For each such class the rows of the images in its smaller group.

    Raises:
        ValueError: An argument is not as above.

    Reference:
        - Rousseeuw, 1987, "Silhouettes: a graphical aid to the interpretation and
          validation of cluster analysis"
    """
    matrix, classes = check_labeled(features, labels, seed)
    spread = matrix.std(axis=0)
    points = (matrix - matrix.mean(axis=0)) / np.where(spread > 0, spread, 1)
    found = {}
    with one_thread():
        for number in np.unique(classes).tolist():
            rows = np.flatnonzero(classes == number)
            if len(rows) >= MIN_IMAGES:
                smaller = _smaller_group(points[rows], seed)
                if smaller is not None:
                    found[number] = rows[smaller]
    return found


def _smaller_group(points: NDArray[np.float32], seed: int) -> Any:
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    centred = points - points.mean(axis=0)
    left, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    axes = (left * lengths)[:, :_MAX_AXES]
    if not lengths[0] > 0:
        # All images are the same.
        return None
    groups = KMeans(2, n_init=3, random_state=seed).fit_predict(axes)
    smaller = groups == np.bincount(groups, minlength=2).argmin()
    if smaller.mean() < _MIN_SHARE or silhouette_score(axes, groups) < _APART:
        return None
    return smaller
