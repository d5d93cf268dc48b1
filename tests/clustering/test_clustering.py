import random
import tracemalloc

import keras
import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from kdfixmatch_keras import clustering
from kdfixmatch_keras.checks import array_validation
from kdfixmatch_keras.clustering import deep_embedded_clustering, dense_layers
from kdfixmatch_keras.clustering.deep_embedded_clustering import (
    DeepEmbeddedClustering,
    divergence_gradients,
    soft_assignment,
    target_distribution,
)

QUICK = {
    "hidden_units": (16,),
    "latent_dim": 3,
    "pretrain_epochs": 5,
    "update_interval": 10,
    "max_iterations": 30,
    "batch_size": 64,
    "seed": 0,
}


def blobs(n=300, spread=1.0, centers=3, features=8):
    return make_blobs(n, features, centers=centers, cluster_std=spread, random_state=1)


def quick(**changes):
    return DeepEmbeddedClustering(3, **{**QUICK, **changes})


@pytest.mark.parametrize("name", ["dec", "kmeans", "spectral"])
def test_recovers_separated_blobs(name):
    z, truth = blobs()
    clusters = clustering.get(name, 3, seed=0).fit_predict(z.astype(np.float32))
    assert clusters.dtype == np.int32
    assert clusters.shape == (300,)
    assert adjusted_rand_score(truth, clusters) > 0.98


@pytest.mark.parametrize("name", ["kmeans", "spectral"])
def test_same_seed_same_clusters_and_global_random_state_is_untouched(name):
    z, _ = blobs(spread=6.0)
    before = np.random.get_state()[1].copy(), random.getstate()
    first, second, _ = (
        clustering.get(name, 5, seed).fit_predict(z) for seed in (3, 3, None)
    )
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert random.getstate() == before[1]


def test_kmeans_restarts_less_often_with_more_samples():
    counts = [
        clustering.kmeans._restarts(count) for count in (300, 2_500, 10_000, 20_000)
    ]
    assert counts == [20, 20, 5, 2]


def test_kmeans_turns_to_mini_batches_for_many_samples(monkeypatch):
    monkeypatch.setattr(clustering.kmeans, "KMEANS_FULL_BATCH_LIMIT", 100)
    monkeypatch.setattr(clustering.kmeans.cluster, "KMeans", None)
    z, truth = blobs()
    clusters = clustering.KMeans(3, seed=0).fit_predict(z)
    assert adjusted_rand_score(truth, clusters) > 0.98


def test_spectral_refuses_many_samples_with_advice():
    z = np.zeros((clustering.spectral.SPECTRAL_SAMPLE_LIMIT + 1, 2), np.float32)
    with pytest.raises(ValueError, match="'kmeans' or 'dec'.* 20,001 samples"):
        clustering.get("spectral", 2).fit_predict(z)


def test_spectral_works_on_fewer_samples_than_neighbours():
    z = np.array([[0.0], [0.1], [9.0], [9.1]])
    clusters = clustering.get("spectral", 2, seed=0).fit_predict(z)
    assert len(clusters) == 4


def test_an_object_with_fit_predict_is_taken_as_it_is():
    class Halves:
        def fit_predict(self, z):
            return np.arange(len(z)) % 2

    own = Halves()
    assert clustering.get(own, 2) is own


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: clustering.get("k-means", 3), ValueError, "Did you mean 'kmeans'"),
        (lambda: clustering.get("zzz", 3), ValueError, "`clustering` must be one of"),
        (lambda: clustering.get(None, 3), TypeError, "a name or an object with"),
        (lambda: clustering.get(clustering.KMeans, 3), TypeError, "rather than its"),
        (lambda: clustering.get("kmeans", 1), ValueError, "`num_clusters` must be"),
        (lambda: clustering.get("dec", 2.5), ValueError, "`num_clusters` must be"),
        (lambda: clustering.get("dec", 3, -1), ValueError, "`seed` must be"),
        (lambda: clustering.get("kmeans", 3, 0.5), ValueError, "`seed` must be"),
        (lambda: clustering.get("spectral", 3, "a"), ValueError, "`seed` must be"),
        (lambda: quick(hidden_units=(0,)), ValueError, "`hidden_units` must be"),
        (lambda: quick(latent_dim=0), ValueError, "`latent_dim` must be"),
        (lambda: quick(pretrain_epochs=-1), ValueError, "`pretrain_epochs` must be"),
        (lambda: quick(max_pretrain_steps=-1), ValueError, "`max_pretrain_steps` m"),
        (lambda: quick(update_interval=0), ValueError, "`update_interval` must be"),
        (lambda: quick(max_iterations=-1), ValueError, "`max_iterations` must be"),
        (lambda: quick(batch_size=0), ValueError, "`batch_size` must be"),
        (lambda: quick(tolerance=2), ValueError, r"`tolerance` must be in \[0, 1\]"),
        (lambda: quick(learning_rate=0), ValueError, "`learning_rate` must be"),
        (lambda: quick(learning_rate=np.nan), ValueError, "`learning_rate` must be"),
        (lambda: quick().transform(np.zeros((3, 2))), ValueError, "after `fit_predict"),
    ],
)
def test_wrong_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("name", ["dec", "kmeans", "spectral"])
@pytest.mark.parametrize(
    ("z", "message"),
    [
        (np.zeros(5), r"must be of shape \(n, d\)"),
        (np.zeros((5, 0)), r"must be of shape \(n, d\)"),
        (np.full((5, 2), np.nan), "must be finite.* 5 of 5 rows"),
        (np.zeros((2, 2)), "Received: 2 samples, num_clusters=3"),
    ],
)
def test_wrong_embeddings_are_refused(name, z, message):
    with pytest.raises(ValueError, match=message):
        clustering.get(name, 3, seed=0).fit_predict(z)


def test_dec_makes_no_copy_of_the_embeddings(monkeypatch):
    monkeypatch.setattr(array_validation, "ROWS_PER_COPY", 1000)
    monkeypatch.setattr(deep_embedded_clustering, "_ROWS_PER_CALL", 1000)
    z = np.tile(blobs(n=8000)[0].astype(np.float32), (1, 100))
    dec = quick(hidden_units=(), pretrain_epochs=1, batch_size=1000, max_iterations=10)
    tracemalloc.start()
    try:
        dec.fit_predict(z)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < z.nbytes


def test_soft_assignment_matches_numpy():
    generator = np.random.default_rng(0)
    h, centroids = generator.normal(size=(7, 4)), generator.normal(size=(3, 4))
    kernel = np.zeros((7, 3))
    for i, j in np.ndindex(7, 3):
        kernel[i, j] = 1 / (1 + np.sum((h[i] - centroids[j]) ** 2))
    expected = kernel / kernel.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(soft_assignment(h, centroids), expected, 1e-5)


def test_target_distribution_matches_numpy_and_sharpens():
    q = np.random.default_rng(0).dirichlet(np.ones(4), size=9)
    weight = q**2 / q.sum(axis=0)
    expected = weight / weight.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(target_distribution(q), expected, 1e-5)
    balanced = np.array([[0.7, 0.3], [0.3, 0.7]])
    assert target_distribution(balanced)[0, 0] > 0.7


def test_target_distribution_survives_an_empty_cluster():
    q = np.array([[1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(target_distribution(q), q)


def numeric_gradient(loss, array, step=1e-2):
    """Central differences of a loss that reads `array`."""
    found = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        kept = array[place]
        array[place] = kept + step
        above = loss()
        array[place] = kept - step
        found[place] = (above - loss()) / (2 * step)
        array[place] = kept
    return found


def test_divergence_gradients_are_those_of_the_divergence():
    generator = np.random.default_rng(0)
    h = generator.normal(size=(6, 4)).astype(np.float32)
    centroids = generator.normal(size=(3, 4)).astype(np.float32)
    p = generator.dirichlet(np.ones(3), size=6).astype(np.float32)

    def loss():
        q = soft_assignment(h, centroids).astype(np.float64)
        return np.sum(p * np.log(p / q)) / 6

    for_h, for_centroids = divergence_gradients(h, centroids, p)
    np.testing.assert_allclose(for_h, numeric_gradient(loss, h), atol=2e-4)
    np.testing.assert_allclose(
        for_centroids, numeric_gradient(loss, centroids), atol=2e-4
    )
    assert np.abs(for_h).max() > 0.01


@pytest.mark.parametrize("linear", [0, 2])
def test_gradients_of_dense_layers_are_those_of_their_loss(linear):
    generator = np.random.default_rng(0)
    layers = dense_layers.DenseLayers([5, 7, 3, 4], generator, linear=linear)
    for bias in layers.parameters[1::2]:
        bias += generator.normal(size=bias.shape)
    x = generator.normal(size=(6, 5)).astype(np.float32)
    y = generator.normal(size=(6, 4)).astype(np.float32)
    gradients = layers.gradients(layers.activations(x), layers(x) - y)
    for parameter, gradient in zip(layers.parameters, gradients, strict=True):
        numeric = numeric_gradient(
            lambda: np.sum(np.square(layers(x).astype(np.float64) - y)) / 2,
            parameter,
            step=1e-3,
        )
        np.testing.assert_allclose(gradient, numeric, rtol=1e-2, atol=2e-2)
    hidden = layers.activations(x)
    assert (hidden[1].min(), hidden[2].min() < 0) == (0, linear == 2)
    np.testing.assert_array_equal(
        layers.first(2)(x), x_times(layers, hidden[1], layer=1)
    )


def x_times(layers, x, layer):
    kernel, bias = layers.parameters[2 * layer : 2 * layer + 2]
    return x @ kernel + bias


@pytest.mark.parametrize("kind", [dense_layers.Adam, dense_layers.Momentum])
def test_optimizers_take_the_steps_of_keras(kind):
    generator = np.random.default_rng(0)
    start = generator.normal(size=(3, 2)).astype(np.float32)
    keras_optimizer = {
        dense_layers.Adam: lambda: keras.optimizers.Adam(0.01),
        dense_layers.Momentum: lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    }[kind]()
    variable = keras.Variable(start)
    ours = start.copy()
    optimizer = kind([ours], 0.01)
    for _ in range(5):
        gradient = generator.normal(size=start.shape).astype(np.float32)
        optimizer.step([gradient])
        keras_optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    expected = keras.ops.convert_to_numpy(keras.ops.stop_gradient(variable))
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    assert np.abs(ours - start).max() > 0.01


def test_the_number_of_threads_does_not_change_dec():
    z, _ = blobs(n=2000, spread=6.0, features=64)
    found = []
    for threads in (1, 2):
        model = quick(hidden_units=(128,), batch_size=256)
        with threadpool_limits(threads):
            model.fit_predict(z)
        found.append(model.centroids)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("order", ["one class after the other", "classes in turn"])
def test_first_centroids_come_from_samples_of_all_classes(monkeypatch, order):
    z, truth = blobs(n=3000)
    rows = np.argsort(truth, kind="stable")
    if order == "classes in turn":
        rows = rows.reshape(3, -1).T.ravel()
    monkeypatch.setattr(deep_embedded_clustering, "_KMEANS_SAMPLES", 1000)
    model = quick(pretrain_epochs=0, hidden_units=(), max_iterations=0)
    assert adjusted_rand_score(truth[rows], model.fit_predict(z[rows])) > 0.9


def test_there_may_be_more_clusters_than_samples_for_the_first_centroids(monkeypatch):
    monkeypatch.setattr(deep_embedded_clustering, "_KMEANS_SAMPLES", 2)
    monkeypatch.setattr(deep_embedded_clustering, "_KMEANS_SAMPLES_PER_CLUSTER", 1)
    assert len(set(quick(pretrain_epochs=0).fit_predict(blobs()[0]))) == 3


def test_autoencoder_loss_falls():
    model = quick(pretrain_epochs=20, max_iterations=0)
    model.fit_predict(blobs()[0])
    assert len(model.autoencoder_loss) == 20
    assert model.autoencoder_loss[-1] < 0.7 * model.autoencoder_loss[0]


def test_refinement_moves_centroids_and_encoder_towards_the_target():
    z, _ = blobs(spread=5.0)
    start = quick(max_iterations=0)
    # A single interval, so that the target stays that of the start.
    end = quick(max_iterations=200, update_interval=200, tolerance=0)
    start.fit_predict(z)
    end.fit_predict(z)
    assert (start.num_refinement_steps, end.num_refinement_steps) == (0, 200)
    assert end.centroids.shape == (3, 3)
    assert end.centroids.dtype == np.float32
    assert np.abs(end.centroids - start.centroids).max() > 1e-3
    assert np.abs(end.transform(z) - start.transform(z)).max() > 1e-3

    before, after = (
        soft_assignment(model.transform(z), model.centroids) for model in (start, end)
    )
    target = target_distribution(before)

    def divergence(q):
        return np.mean(np.sum(target * np.log(target / q), axis=1))

    assert divergence(after) < 0.9 * divergence(before)


def test_clusters_are_the_nearest_centroids():
    z, _ = blobs(spread=4.0)
    model = quick()
    clusters = model.fit_predict(z)
    distances = model.transform(z)[:, None] - model.centroids[None]
    np.testing.assert_array_equal(
        clusters, np.square(distances).sum(axis=2).argmin(axis=1)
    )


def test_pretraining_ends_with_its_last_epoch_or_its_last_step():
    z, _ = blobs()
    whole = quick(pretrain_epochs=3, max_iterations=0)
    whole.fit_predict(z)
    # Batches of 64 of 300 samples: five steps in an epoch.
    cut = quick(pretrain_epochs=3, max_pretrain_steps=7, max_iterations=0)
    cut.fit_predict(z)
    assert (len(whole.autoencoder_loss), len(cut.autoencoder_loss)) == (3, 2)
    assert cut.autoencoder_loss[0] == whole.autoencoder_loss[0]
    assert cut.autoencoder_loss[1] != whole.autoencoder_loss[1]


def test_pretraining_can_be_skipped():
    z, truth = blobs()
    model = quick(pretrain_epochs=0, hidden_units=())
    assert adjusted_rand_score(truth, model.fit_predict(z)) > 0.9
    assert model.autoencoder_loss == []


@pytest.mark.parametrize("n", [3, 65])
def test_any_number_of_samples_fits_the_batches(n):
    clusters = quick().fit_predict(blobs(n=n)[0])
    assert clusters.shape == (n,)
    assert set(clusters) <= {0, 1, 2}


def test_every_sample_is_drawn_equally_often_in_batches_of_one_size():
    batches = deep_embedded_clustering._index_batches(10, 4, np.random.default_rng(0))
    drawn = [next(batches) for _ in range(5)]
    assert {len(batch) for batch in drawn} == {4}
    np.testing.assert_array_equal(np.bincount(np.concatenate(drawn)), np.full(10, 2))


def test_computes_in_float32_under_a_mixed_policy():
    z, _ = blobs(n=130, spread=4.0)
    reference = quick()
    expected = reference.fit_predict(z)
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_float16")
        model = quick()
        clusters = model.fit_predict(z)
    finally:
        keras.config.set_dtype_policy(before)
    np.testing.assert_array_equal(clusters, expected)
    np.testing.assert_array_equal(model.centroids, reference.centroids)


def test_divergence_is_an_error_with_advice():
    with pytest.raises(ValueError, match="Lower `learning_rate`"):
        quick(learning_rate=1e30, pretrain_epochs=0).fit_predict(blobs(spread=5.0)[0])


def test_only_the_own_seed_decides_and_fitting_twice_starts_afresh():
    z, _ = blobs(n=130, spread=4.0)
    model, other = quick(), quick(seed=1)
    first, centroids = model.fit_predict(z), model.centroids
    loss = model.autoencoder_loss
    keras.utils.set_random_seed(5)
    before = np.random.get_state()[1].copy(), random.getstate()
    np.testing.assert_array_equal(model.fit_predict(z), first)
    np.testing.assert_array_equal(model.centroids, centroids)
    assert model.autoencoder_loss == loss
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert random.getstate() == before[1]
    other.fit_predict(z)
    assert not np.array_equal(other.centroids, centroids)


def test_stops_when_assignments_settle_or_at_max_iterations():
    z, _ = blobs()
    patient = quick(max_iterations=65, tolerance=0)
    patient.fit_predict(z)
    assert patient.num_refinement_steps == 65
    settled = quick(max_iterations=500)
    settled.fit_predict(z)
    assert 0 < settled.num_refinement_steps < 500
    assert settled.num_refinement_steps % settled.update_interval == 0


def test_shift_and_scale_of_the_embeddings_do_not_matter():
    z, truth = blobs()
    untrained = {"pretrain_epochs": 0, "max_iterations": 0}
    for moved in (1e6 + 1e-2 * z, 1e200 * z):
        clusters = quick(**untrained).fit_predict(moved)
        assert adjusted_rand_score(truth, clusters) > 0.95


def test_transform_refuses_other_columns():
    model = quick(max_iterations=0, pretrain_epochs=0)
    model.fit_predict(blobs()[0])
    with pytest.raises(ValueError, match="`z` must have 8 columns"):
        model.transform(np.zeros((2, 3)))


@pytest.mark.parametrize("name", ["kmeans", "spectral"])
def test_as_many_samples_as_clusters_get_a_cluster_each(name):
    clusters = clustering.get(name, 3, seed=0).fit_predict(np.eye(3) * 9)
    assert sorted(clusters) == [0, 1, 2]
