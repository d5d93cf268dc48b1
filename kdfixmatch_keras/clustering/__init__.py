"""Clusterings of embeddings, by name.

A clustering is any object with `fit_predict(z)`, which takes `(n, d)` embeddings and
returns an integer per row; the estimators of scikit-learn are such objects. An integer
of -1 puts a sample in no cluster.
"""

import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdfixmatch_keras.checks import array_validation, memory, validation
from kdfixmatch_keras.clustering.deep_embedded_clustering import DeepEmbeddedClustering
from kdfixmatch_keras.clustering.kmeans import KMeans
from kdfixmatch_keras.clustering.spectral import SpectralClustering

__all__ = [
    "DeepEmbeddedClustering",
    "KMeans",
    "SpectralClustering",
    "fit_predict",
    "get",
    "own_number",
]

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


def own_number(clusterer: Any) -> int:
    """How many clusters an object was made for, 0 if it does not say."""
    for attribute in ("num_clusters", "n_clusters"):
        number = getattr(clusterer, attribute, None)
        if isinstance(number, numbers.Integral):
            return int(number)
    return 0


def fit_predict(
    clusterer: Any,
    given: Any,
    embeddings: NDArray[np.float32],
    rows: NDArray[np.int64],
    *,
    overwrite: bool = False,
) -> NDArray[np.int32]:
    """Clusters some of the embeddings, which are copied at most once.

    Args:
        clusterer: What `get` returned.
        given: What the user passed for it.
        embeddings: Embeddings, shape `(n, d)`.
        rows: Which of them, ascending, shape `(m,)`.
        overwrite: Whether `embeddings` may lose what they hold. Where they can be
            written to, no copy is made then.

    Returns:
        Cluster of each row, shape `(m,)`, int32; -1 for none.

    Raises:
        ValueError: The clustering returned something else than an integer of at least
            -1 for each row.
        MemoryError: It ran out of memory.
    """
    with memory.needed_for(
        f"Clustering {len(rows):,} samples of {embeddings.shape[1]:,} dimensions with "
        f"clustering={given!r}",
        "clustering='kmeans' needs least, a higher `tau_select` keeps fewer samples, "
        "and a smaller `embedding_dim` makes them smaller.",
    ):
        if overwrite and embeddings.flags.writeable:
            for here in array_validation.stretches(len(rows)):
                # No later row stands here, as a row never moves towards the end.
                embeddings[here] = embeddings[rows[here]]
            chosen = embeddings[: len(rows)]
        else:
            chosen = embeddings[rows]
        found = clusterer.fit_predict(chosen)
    clusters = array_validation.check_array(
        "clustering.fit_predict", found, "what returns integers"
    )
    if (
        clusters.shape != rows.shape
        or clusters.dtype.kind not in "iu"
        or clusters.min() < -1
        or clusters.max() > np.iinfo(np.int32).max
    ):
        raise ValueError(
            "`clustering.fit_predict` must return an integer of at least -1 for each "
            f"of the {len(rows)} samples it was given. Received: an array of shape "
            f"{clusters.shape} and dtype {clusters.dtype}"
            + (f", from {clusters.min()} to {clusters.max()}" if clusters.size else "")
        )
    return np.asarray(clusters, np.int32)
