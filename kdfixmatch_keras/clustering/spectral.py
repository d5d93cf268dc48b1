"""Spectral clustering."""

import warnings
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

SPECTRAL_SAMPLE_LIMIT = 20_000
"""Samples up to which `SpectralClustering` accepts to work."""

_SPECTRAL_NEIGHBORS = 10


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
