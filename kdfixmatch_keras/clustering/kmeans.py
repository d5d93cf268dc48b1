"""k-means."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import cluster

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.clustering.shared import (
    check_embeddings,
    derive_seeds,
    one_thread,
)

KMEANS_FULL_BATCH_LIMIT = 20_000
"""Samples up to which `KMeans` uses all of them at every step."""

_KMEANS_RESTARTS = 20
# On all samples, restarts cost time in proportion to them, and the more samples there
# are, the more of them end in the same optimum.
_KMEANS_SAMPLES_OF_RESTARTS = 50_000


class KMeans:
    """k-means with restarts, on mini-batches above 20,000 samples.

    There are 20 restarts for up to 2,500 samples and fewer, down to 2, for up to
    20,000. Of mini-batches, 20 sets of first centroids are compared.

    Args:
        num_clusters: Number of clusters, at least 2.
        seed: An integer of at least 0 makes the result repeatable.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(self, num_clusters: int, seed: int | None = None) -> None:
        self.num_clusters = validation.check_integer("num_clusters", num_clusters, 2)
        derive_seeds(seed, 1)
        self.seed = seed

    def fit_predict(self, z: Any) -> NDArray[np.int32]:
        """Clusters the samples.

        Args:
            z: Embeddings, shape `(n, d)`, float, with `n >= num_clusters`.

        Returns:
            Cluster of each sample in [0, num_clusters), shape `(n,)`, int32.

        Raises:
            ValueError: If `z` is not a finite `(n, d)` array of enough rows.
        """
        z = check_embeddings(z, self.num_clusters)
        full_batch = len(z) <= KMEANS_FULL_BATCH_LIMIT
        estimator = cluster.KMeans if full_batch else cluster.MiniBatchKMeans
        with one_thread():
            clusters = estimator(
                self.num_clusters,
                n_init=_restarts(len(z)) if full_batch else _KMEANS_RESTARTS,
                random_state=derive_seeds(self.seed, 1)[0],
            ).fit_predict(z)
        return np.asarray(clusters, np.int32)


def _restarts(count: int) -> int:
    """How often k-means on all of so many samples starts anew."""
    return min(_KMEANS_RESTARTS, _KMEANS_SAMPLES_OF_RESTARTS // count)
