"""Clusterings of embeddings, by name.

A clustering is any object with `fit_predict(z)`, which takes `(n, d)` embeddings and
returns an integer per row; the estimators of scikit-learn are such objects. An integer
of -1 puts a sample in no cluster.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import cluster

from kdfixmatch_keras import validation
from kdfixmatch_keras.deep_embedded_clustering import (
    DeepEmbeddedClustering,
    check_embeddings,
    derive_seeds,
    one_thread,
)

KMEANS_FULL_BATCH_LIMIT = 20_000
"""Samples up to which `KMeans` uses all of them at every step."""

SPECTRAL_SAMPLE_LIMIT = 20_000
"""Samples up to which `SpectralClustering` accepts to work."""

_KMEANS_RESTARTS = 20
# On all samples, restarts cost time in proportion to them, and the more samples there
# are, the more of them end in the same optimum.
_KMEANS_SAMPLES_OF_RESTARTS = 50_000
_SPECTRAL_NEIGHBORS = 10


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


class SpectralClustering:
    """Spectral clustering of the graph of the 10 nearest neighbours.

    Time and memory grow faster than the number of samples, so more than 20,000 are
    refused.

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
            z: Embeddings, shape `(n, d)`, float, with
                `num_clusters <= n <= 20,000`.

        Returns:
            Cluster of each sample in [0, num_clusters), shape `(n,)`, int32.

        Raises:
            ValueError: If `z` is not a finite `(n, d)` array of such a size.
        """
        z = check_embeddings(z, self.num_clusters)
        if len(z) > SPECTRAL_SAMPLE_LIMIT:
            raise ValueError(
                f"`clustering='spectral'` must get at most {SPECTRAL_SAMPLE_LIMIT:,} "
                "samples. Use clustering='kmeans' or 'dec', which scale, or raise "
                f"`tau_select` to keep fewer. Received: {len(z):,} samples"
            )
        if len(z) == self.num_clusters:
            # The decomposition needs more samples than clusters.
            return np.arange(len(z), dtype=np.int32)
        estimator = cluster.SpectralClustering(
            self.num_clusters,
            affinity="nearest_neighbors",
            n_neighbors=min(_SPECTRAL_NEIGHBORS, len(z)),
            random_state=derive_seeds(self.seed, 1)[0],
        )
        with warnings.catch_warnings():
            # Well separated clusters are not connected, which is what one hopes
            # for and no reason to warn.
            warnings.filterwarnings("ignore", message="Graph is not fully connected")
            # As many samples as dimensions look like an affinity matrix.
            warnings.filterwarnings("ignore", message="The spectral clustering API")
            with one_thread():
                clusters = estimator.fit_predict(z)
        return np.asarray(clusters, np.int32)


_CLUSTERINGS: dict[str, Any] = {
    "dec": DeepEmbeddedClustering,
    "kmeans": KMeans,
    "spectral": SpectralClustering,
}


def get(name_or_object: Any, num_clusters: int, seed: int | None = None) -> Any:
    """Returns the clustering of a name.

    Args:
        name_or_object: `"dec"`, `"kmeans"`, `"spectral"`, or an object with
            `fit_predict(z)`, returned as it is.
        num_clusters: Number of clusters of a clustering given by name.
        seed: Seed of a clustering given by name.

    Returns:
        An object with `fit_predict(z)`.

    Raises:
        ValueError: If there is no clustering of that name, or if `num_clusters` or
            `seed` is out of its range.
        TypeError: If the argument is neither a name nor such an object.
    """
    if isinstance(name_or_object, str):
        validation.check_choice(
            "clustering", name_or_object, _CLUSTERINGS, "an object with `fit_predict`"
        )
        return _CLUSTERINGS[name_or_object](num_clusters, seed=seed)
    if isinstance(name_or_object, type) or not callable(
        getattr(name_or_object, "fit_predict", None)
    ):
        raise TypeError(
            "`clustering` must be a name or an object with `fit_predict(z)`. Pass an "
            f"object rather than its class. Received: clustering={name_or_object!r}"
        )
    return name_or_object
