"""Each threshold follows its published formula, batch after batch, and keeps its state.

The references are slow loops over images and classes in NumPy float64.
"""

import keras
import numpy as np
import pytest
from keras import ops

from kdfixmatch_keras import thresholds

K = 4
SHORT_DECAY = 0.3


def probabilities(seed, size=12, sharpness=2.0):
    """float32 `(size, K)`; the first class is predicted most often."""
    logits = np.random.default_rng(seed).normal(size=(size, K)) * sharpness
    logits[:, 0] += 1.0
    return softmax(logits).astype("float32")


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def weights_of(layer, p, index=None, training=True):
    index = np.arange(len(p), dtype="int32") if index is None else index
    weights = layer(p, np.asarray(index, "int32"), training=training)
    assert keras.backend.standardize_dtype(weights.dtype) == "float32"
    return ops.convert_to_numpy(weights)


def warmed_up(decay, step):
    return min(decay, (1 + step) / (10 + step))


class FlexMatchReference:
    def __init__(self, tau, num_unlabeled):
        self.tau = tau
        self.last_class = {position: -1 for position in range(num_unlabeled)}

    def __call__(self, p, index):
        remembered = list(self.last_class.values())
        sigma = [remembered.count(c) for c in range(K)]
        most = max(max(sigma), remembered.count(-1))
        weights = []
        for row in p:
            beta = sigma[row.argmax()] / most
            weights.append(float(row.max() >= self.tau * beta / (2 - beta)))
        for row, position in zip(p, index, strict=True):
            if row.max() >= self.tau:
                self.last_class[position] = row.argmax()
        return weights


class FreeMatchReference:
    def __init__(self, decay):
        self.decay, self.step = decay, 0
        self.tau, self.p, self.h = 1 / K, np.full(K, 1 / K), np.full(K, 1 / K)

    def __call__(self, p):
        self.step += 1
        d = warmed_up(self.decay, self.step)
        counts = np.array([(p.argmax(axis=1) == c).sum() for c in range(K)])
        self.tau = d * self.tau + (1 - d) * p.max(axis=1).mean()
        self.p = d * self.p + (1 - d) * p.mean(axis=0)
        self.h = d * self.h + (1 - d) * counts / len(p)
        share = self.p / self.p.max()
        return [float(row.max() >= self.tau * share[row.argmax()]) for row in p]

    def fairness(self, strong, mask):
        strong = strong[np.asarray(mask, bool)]
        p_bar = strong.mean(axis=0)
        quotient = np.zeros(K)
        for c in range(K):
            share = (strong.argmax(axis=1) == c).mean()
            quotient[c] = p_bar[c] / share if share else 0
        average = self.p / self.h
        return np.sum(
            average / average.sum() * np.log(quotient / quotient.sum() + 1e-12)
        )


class SoftMatchReference:
    def __init__(self, num_sigmas, decay):
        self.num_sigmas, self.decay, self.step = num_sigmas, decay, 0
        self.p, self.mean, self.variance = np.full(K, 1 / K), 1 / K, 1.0

    def __call__(self, p):
        self.step += 1
        d = warmed_up(self.decay, self.step)
        self.p = d * self.p + (1 - d) * p.mean(axis=0)
        m = np.array([(row / self.p / (row / self.p).sum()).max() for row in p])
        self.mean = d * self.mean + (1 - d) * m.mean()
        self.variance = d * self.variance + (1 - d) * m.var(ddof=1)
        below = np.minimum(m - self.mean, 0)
        return np.exp(-(below**2) * self.num_sigmas**2 / (2 * self.variance))


def build(name):
    return thresholds.get(name, tau=0.7, num_classes=K, num_unlabeled=30)


def test_the_fixed_threshold_includes_its_own_value():
    p = np.array([[0.5, 0.5], [0.25, 0.75], [0.1, 0.9]], "float32")
    weights = weights_of(thresholds.FixedThreshold(0.75), p)
    np.testing.assert_array_equal(weights, [0, 1, 1])


def test_flexmatch_follows_the_formula():
    layer = thresholds.FlexMatchThreshold(0.7, K, 30)
    reference = FlexMatchReference(0.7, 30)
    seen = []
    for step in range(12):
        index = np.random.default_rng(100 + step).permutation(30)[:12]
        p = probabilities(step)
        expected = reference(p, index)
        np.testing.assert_array_equal(weights_of(layer, p, index), expected)
        memory = list(reference.last_class.values())
        np.testing.assert_array_equal(layer.get_weights()[0], memory)
        seen += expected
    # Both outcomes occur, or the comparison would say little.
    assert 0 < np.mean(seen) < 1


def test_flexmatch_counts_every_pseudo_label_at_first():
    layer = thresholds.FlexMatchThreshold(0.95, K, 30)
    np.testing.assert_array_equal(weights_of(layer, probabilities(0)), 1)


def test_flexmatch_remembers_the_images_of_the_source_not_of_the_batch():
    layer = thresholds.FlexMatchThreshold(0.7, K, 6)
    sure = np.eye(K, dtype="float32")
    weights_of(layer, sure[[0, 1]], [4, 2])
    weights_of(layer, sure[[3, 3]], [5, 0])
    np.testing.assert_array_equal(layer.get_weights()[0], [3, -1, 1, -1, 0, 3])
    # An unconfident prediction leaves what is remembered.
    unsure = np.full((2, K), 1 / K, "float32")
    weights_of(layer, unsure, [4, 1])
    np.testing.assert_array_equal(layer.get_weights()[0], [3, -1, 1, -1, 0, 3])


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_flexmatch_remembers_the_confident_one_of_two_views_of_an_image(order):
    layer = thresholds.FlexMatchThreshold(0.7, 2, 3)
    p = np.array([[0.1, 0.9], [0.6, 0.4]], "float32")[order]
    weights_of(layer, p, [2, 2])
    np.testing.assert_array_equal(layer.get_weights()[0], [-1, -1, 1])


def test_freematch_follows_the_formula():
    layer = thresholds.FreeMatchThreshold(K, SHORT_DECAY, fairness_weight=0.5)
    reference = FreeMatchReference(SHORT_DECAY)
    seen = []
    for step in range(6):
        p = probabilities(step)
        expected = reference(p)
        weights = weights_of(layer, p)
        np.testing.assert_array_equal(weights, expected)
        _, *state = layer.get_weights()
        for value, wanted in zip(
            state, [reference.tau, reference.p, reference.h], strict=True
        ):
            np.testing.assert_allclose(value, wanted, atol=1e-6)
        logits = np.random.default_rng(50 + step).normal(size=(12, K)).astype("float32")
        loss = layer.auxiliary_loss(logits, weights)
        assert keras.backend.standardize_dtype(loss.dtype) == "float32"
        assert tuple(loss.shape) == ()
        wanted = 0.5 * reference.fairness(softmax(logits), weights)
        np.testing.assert_allclose(ops.convert_to_numpy(loss), wanted, rtol=1e-4)
        seen += expected
    assert 0 < np.mean(seen) < 1


def test_freematch_accepts_less_from_a_class_that_is_rare():
    layer = thresholds.FreeMatchThreshold(2)
    common = np.tile(np.array([[0.95, 0.05]], "float32"), (20, 1))
    for _ in range(50):
        weights_of(layer, common)
    unsure = np.array([[0.6, 0.4], [0.4, 0.6]], "float32")
    np.testing.assert_array_equal(weights_of(layer, unsure, training=False), [0, 1])


@pytest.mark.parametrize(
    ("mask", "logits"),
    [
        ([0, 0, 0], np.eye(3, K)),
        ([1, 1, 0], np.eye(K)[[1, 1, 2]] * 5),
        ([1, 0, 0], np.zeros((3, K))),
        ([0, 1, 1], np.array([[np.inf] * K, [90, 0, 0, 0], [0, 90, 0, 0]])),
    ],
    ids=["nothing", "one_class", "one_image", "masked_infinity"],
)
@pytest.mark.tensorflow
def test_the_fairness_term_and_its_gradient_are_finite(mask, logits):
    import tensorflow as tf

    layer = thresholds.FreeMatchThreshold(K)
    strong = tf.Variable(logits.astype("float32"))
    with tf.GradientTape() as tape:
        loss = layer.auxiliary_loss(strong, np.array(mask, "float32"))
    gradient = ops.convert_to_numpy(tape.gradient(loss, strong))
    assert np.isfinite(gradient).all() and np.isfinite(ops.convert_to_numpy(loss))
    if not any(mask):
        assert ops.convert_to_numpy(loss) == 0 and not gradient.any()


def test_softmatch_follows_the_formula():
    layer = thresholds.SoftMatchThreshold(K, num_sigmas=1.5, decay=SHORT_DECAY)
    reference = SoftMatchReference(1.5, SHORT_DECAY)
    for step in range(6):
        p = probabilities(step)
        expected = reference(p)
        np.testing.assert_allclose(weights_of(layer, p), expected, atol=1e-5)
        _, *state = layer.get_weights()
        for value, wanted in zip(
            state, [reference.p, reference.mean, reference.variance], strict=True
        ):
            np.testing.assert_allclose(value, wanted, atol=1e-6)


def test_softmatch_gives_full_weight_from_the_mean_on_and_less_below():
    layer = thresholds.SoftMatchThreshold(2)
    # t, p~, mu and var: no alignment, and a standard deviation of 0.1.
    layer.set_weights([np.array(v) for v in (9, [0.5, 0.5], 0.75, 0.01)])
    p = np.array([[0.75, 0.25], [0.2, 0.8], [0.65, 0.35], [0.45, 0.55]], "float32")
    weights = weights_of(layer, p, training=False)
    np.testing.assert_array_equal(weights[:2], 1)
    np.testing.assert_allclose(weights[2:], np.exp([-2.0, -8.0]), rtol=1e-4)


def test_softmatch_survives_one_image_and_equal_images():
    layer = thresholds.SoftMatchThreshold(K, decay=0.0)
    for size in (1, 1, 5):
        weights = weights_of(layer, np.tile(probabilities(0, size=1), (size, 1)))
        np.testing.assert_allclose(weights, 1, atol=0.05)
    assert all(np.isfinite(value).all() for value in layer.get_weights())


@pytest.mark.parametrize("name", thresholds.NAMES)
def test_outside_training_its_state_stands_still(name):
    layer = build(name)
    weights_of(layer, probabilities(0))
    before = layer.get_weights()
    once = weights_of(layer, probabilities(1), training=False)
    again = weights_of(layer, probabilities(1), training=False)
    np.testing.assert_array_equal(once, again)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert not layer.trainable_weights


@pytest.mark.parametrize("name", ["fixed", "flexmatch", "softmatch"])
def test_only_freematch_adds_to_the_loss(name):
    loss = build(name).auxiliary_loss(np.ones((3, K), "float32"), np.ones(3))
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert ops.convert_to_numpy(loss) == 0


@pytest.mark.parametrize("name", thresholds.NAMES)
@pytest.mark.tensorflow
def test_a_graph_with_batches_of_any_size_does_what_eager_mode_does(name):
    import tensorflow as tf

    eager, traced = build(name), build(name)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, K), "float32"),
            tf.TensorSpec((None,), "int32"),
        ]
    )
    def step(p, index):
        weights = traced(p, index, training=True)
        return weights, traced.auxiliary_loss(p, weights)

    for size in (5, 9, 1):
        p, index = probabilities(size, size), np.arange(size, dtype="int32")
        weights, loss = step(p, index)
        expected = weights_of(eager, p, index)
        np.testing.assert_allclose(weights, expected, atol=1e-6)
        np.testing.assert_allclose(loss, eager.auxiliary_loss(p, expected), atol=1e-5)
    for value, wanted in zip(traced.get_weights(), eager.get_weights(), strict=True):
        np.testing.assert_allclose(value, wanted, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        thresholds.FixedThreshold(0.6),
        thresholds.FlexMatchThreshold(0.6, K, 7),
        thresholds.FreeMatchThreshold(K, 0.5, 0.002),
        thresholds.SoftMatchThreshold(K, 3.0, 0.5),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_it_survives_serialization(layer):
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()


@keras.saving.register_keras_serializable(package="test_thresholds")
class Holder(keras.Model):
    """A model that holds a threshold, as the networks do."""

    def __init__(self, name, **kwargs):
        super().__init__(**kwargs)
        self.threshold_name = name
        self.threshold = build(name)
        self.built = True

    def call(self, inputs):
        return inputs

    def get_config(self):
        return {"name": self.threshold_name}


@pytest.mark.parametrize("name", ["flexmatch", "freematch", "softmatch"])
def test_a_saved_model_keeps_the_state(name, tmp_path):
    model = Holder(name)
    for step in range(3):
        weights_of(model.threshold, probabilities(step))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for value, wanted in zip(
        loaded.threshold.get_weights(), model.threshold.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(value, wanted)
    p = probabilities(9)
    np.testing.assert_array_equal(
        weights_of(loaded.threshold, p), weights_of(model.threshold, p)
    )


def test_get_builds_what_the_name_says_and_passes_layers_through():
    kinds = [type(build(name)).__name__ for name in thresholds.NAMES]
    assert kinds == [
        "FixedThreshold",
        "FlexMatchThreshold",
        "FreeMatchThreshold",
        "SoftMatchThreshold",
    ]
    assert build("fixed").tau == build("flexmatch").tau == 0.7
    layer = thresholds.FreeMatchThreshold(K, decay=0.9)
    assert build(layer) is layer


@pytest.mark.parametrize(
    "layer, words",
    [
        (thresholds.FreeMatchThreshold(K + 1), f"num_classes={K}. Received: .*{K + 1}"),
        (thresholds.FlexMatchThreshold(0.9, K, 5), "num_unlabeled=.*num_unlabeled=5"),
    ],
)
def test_get_refuses_a_layer_made_for_other_data(layer, words):
    with pytest.raises(ValueError, match=f"`threshold` must be made .*{words}"):
        build(layer)


def test_get_refuses_what_is_no_threshold():
    with pytest.raises(ValueError, match="`threshold` must be one of .*'flexmatch'"):
        build("flexmach")
    with pytest.raises(ValueError, match="`threshold` must be one of"):
        build(thresholds.FixedThreshold)
    with pytest.raises(TypeError, match="`threshold` must have a method"):
        build(keras.layers.ReLU())
    with pytest.raises(ValueError, match="`num_unlabeled` must be the number"):
        thresholds.get("flexmatch", tau=0.9, num_classes=K, num_unlabeled=None)


@pytest.mark.parametrize(
    ("argument", "make"),
    [
        ("tau", lambda: thresholds.FixedThreshold(1.5)),
        ("tau", lambda: thresholds.FlexMatchThreshold(-1, K, 5)),
        ("num_classes", lambda: thresholds.FlexMatchThreshold(0.9, 1, 5)),
        ("num_unlabeled", lambda: thresholds.FlexMatchThreshold(0.9, K, 0)),
        ("num_classes", lambda: thresholds.FreeMatchThreshold(K + 0.5)),
        ("decay", lambda: thresholds.FreeMatchThreshold(K, decay=1.0)),
        ("fairness_weight", lambda: thresholds.FreeMatchThreshold(K, 0.9, -0.1)),
        ("num_sigmas", lambda: thresholds.SoftMatchThreshold(K, num_sigmas=0)),
        ("decay", lambda: thresholds.SoftMatchThreshold(K, decay=-0.1)),
    ],
)
def test_arguments_out_of_range_are_refused(argument, make):
    with pytest.raises(ValueError, match=f"`{argument}` must be"):
        make()
