"""Bad inputs of `clustering`."""

import pytest

from kdfixmatch_keras import clustering
from kdfixmatch_keras.clustering import deep_embedded_clustering, shared
from tests.bad_inputs import (
    EMBEDDINGS,
    NAN,
    check_refusal,
    dec,
    integer,
    of_rows,
    threes,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")

ROWS = [
    (
        "clustering.KMeans",
        lambda g: clustering.KMeans(2.0),
        ValueError,
        integer("num_clusters", 2, 2.0),
    ),
    (
        "KMeans.fit_predict",
        lambda g: clustering.KMeans(13).fit_predict(EMBEDDINGS),
        ValueError,
        "`embeddings` must hold at least one sample per cluster: lower `num_clusters` "
        "or give more samples. Received: 12 samples, num_clusters=13",
    ),
    (
        "clustering.SpectralClustering",
        lambda g: clustering.SpectralClustering(3, seed=-1),
        ValueError,
        integer("seed", 0, -1),
    ),
    (
        "SpectralClustering.fit_predict",
        lambda g: clustering.SpectralClustering(3).fit_predict(EMBEDDINGS[:, 0]),
        ValueError,
        "`embeddings` must be of shape (n, d), one row per sample. Received: "
        "embeddings.shape=(12,)",
    ),
    (
        "clustering.DeepEmbeddedClustering",
        lambda g: dec(hidden_units=5),
        TypeError,
        "`hidden_units` must be a list of widths, such as (256, 128). Received: "
        "hidden_units=5",
    ),
    (
        "clustering.DeepEmbeddedClustering",
        lambda g: dec(learning_rate=0),
        ValueError,
        "`learning_rate` must be in (0, infinity). Received: learning_rate=0",
    ),
    (
        "DeepEmbeddedClustering.fit_predict",
        lambda g: dec().fit_predict([["a"], ["b"], ["c"]]),
        ValueError,
        "`embeddings` must be numbers of shape (n, d), one row per sample. Received: "
        "embeddings.shape=(3, 1), dtype=<U1",
    ),
    (
        "DeepEmbeddedClustering.transform",
        lambda g: dec().transform(EMBEDDINGS),
        ValueError,
        "`transform` must come after `fit_predict`. Received: a clustering that has "
        "not",
    ),
    (
        "shared.check_embeddings",
        lambda g: shared.check_embeddings(EMBEDDINGS * NAN, 2),
        ValueError,
        "`embeddings` must be finite",
    ),
    (
        "shared.derive_seeds",
        lambda g: shared.derive_seeds(1.5, 2),
        ValueError,
        integer("seed", 0, 1.5),
    ),
    (
        "deep_embedded_clustering.soft_assignment",
        lambda g: deep_embedded_clustering.soft_assignment(threes(), threes()[:, :1]),
        ValueError,
        "`h` and `centroids` must be of shape (n, d) and (K, d). Received: h.shape=(4, "
        "3), centroids.shape=(4, 1)",
    ),
    (
        "deep_embedded_clustering.target_distribution",
        lambda g: deep_embedded_clustering.target_distribution(threes()[0]),
        ValueError,
        "`q` must be soft assignments of shape (n, K). Received: q.shape=(3,)",
    ),
    (
        "deep_embedded_clustering.divergence_gradients",
        lambda g: deep_embedded_clustering.divergence_gradients(
            threes(), threes(), threes()
        ),
        ValueError,
        "`p` must have a row for each row of `h` and a column for each centroid. "
        "Received: p.shape=(4, 3), h.shape=(4, 3), centroids.shape=(4, 3)",
    ),
    (
        "clustering.get",
        lambda g: clustering.get("decs", 3),
        ValueError,
        "Received: clustering='decs'. Did you mean 'dec'?",
    ),
    (
        "clustering.get",
        lambda g: clustering.get("kmeans", 1),
        ValueError,
        integer("num_clusters", 2, 1),
    ),
]


@of_rows(ROWS)
def test_bad_input(given, call, error, words):
    check_refusal(given, call, error, words)
