import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import ops

from kdfixmatch_keras import losses

NAMES = ["ce", "sce", "gce", "mae", "nce", "nce_rce"]


def numpy_loss(name, labels, probabilities):
    """The table of the module, in float64."""
    p = np.clip(np.asarray(probabilities, np.float64), 1e-300, None)
    p_t = p[np.arange(len(labels)), labels]
    reverse = -math.log(1e-4) * (1 - p_t)
    normalized = np.log(p_t) / np.log(p).sum(axis=1)
    return {
        "ce": -np.log(p_t),
        "sce": -1.0 * np.log(p_t) + 0.1 * reverse,
        "gce": (1 - p_t**0.7) / 0.7,
        "mae": 2 * (1 - p_t),
        "nce": normalized,
        "nce_rce": normalized + reverse,
    }[name]


def softmax(logits):
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    return np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)


def values(loss, labels, predictions):
    return ops.convert_to_numpy(loss.call(labels, predictions))


def gradient(loss, labels, logits):
    """The gradient of the summed loss, on whatever backend is in use."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        x = tf.constant(logits)
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(loss.call(labels, x))
        return tape.gradient(total, x).numpy()
    if backend == "jax":
        import jax

        return np.asarray(jax.grad(lambda x: loss.call(labels, x).sum())(logits))
    import torch

    x = torch.tensor(logits, requires_grad=True)
    loss.call(labels, x).sum().backward()
    return x.grad.numpy()


@st.composite
def labels_and_logits(draw):
    n = draw(st.integers(1, 6))
    k = draw(st.integers(2, 7))
    labels = draw(hnp.arrays(np.int32, n, elements=st.integers(0, k - 1)))
    elements = st.floats(-8, 8, width=32)
    return labels, draw(hnp.arrays(np.float32, (n, k), elements=elements))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(data=labels_and_logits())
def test_matches_the_formula_from_logits_and_probabilities(name, data):
    labels, logits = data
    expected = numpy_loss(name, labels, softmax(logits))
    loss = losses.get(name)
    np.testing.assert_allclose(values(loss, labels, logits), expected, 2e-4, 2e-6)
    loss = type(loss)(from_logits=False)
    probabilities = softmax(logits).astype(np.float32)
    expected = numpy_loss(name, labels, np.clip(probabilities, 1e-7, 1))
    np.testing.assert_allclose(
        values(loss, labels, probabilities), expected, 2e-4, 2e-6
    )


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(data=labels_and_logits(), shift=st.floats(-50, 50, width=32))
def test_is_not_negative_and_ignores_a_shift_of_the_logits(name, data, shift):
    labels, logits = data
    loss = losses.get(name)
    original = values(loss, labels, logits)
    assert np.all(original >= 0)
    shifted = values(loss, labels, logits + np.float32(shift))
    np.testing.assert_allclose(shifted, original, 1e-3, 1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_is_smaller_for_a_better_prediction(name):
    logits = np.array([[0.0, 0, 0], [1, 0, 0], [4, 0, 0]], np.float32)
    assert np.all(np.diff(values(losses.get(name), np.zeros(3, int), logits)) < 0)


@pytest.mark.parametrize("scale", [0.0, 1e2, 1e4, 1e30])
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_are_finite_at_extreme_logits(name, scale):
    logits = np.array([[1, -1, 0], [-1, 1, 0], [0, 0, 0]], np.float32)
    logits *= np.float32(scale)
    labels = np.array([0, 0, 0], np.int32)
    loss = losses.get(name)
    assert np.isfinite(values(loss, labels, logits)).all()
    assert np.isfinite(gradient(loss, labels, logits)).all()


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_are_finite_at_probabilities_of_zero_and_one(name):
    probabilities = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    loss = type(losses.get(name))(from_logits=False)
    labels = np.zeros(2, np.int32)
    assert np.isfinite(values(loss, labels, probabilities)).all()
    assert np.isfinite(gradient(loss, labels, probabilities)).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradient_matches_finite_differences(name):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4, 5)).astype(np.float32)
    labels = generator.integers(0, 5, 4)
    expected = np.zeros_like(logits)
    for position in np.ndindex(*logits.shape):
        step = np.zeros(logits.shape)
        step[position] = 1e-5
        up = numpy_loss(name, labels, softmax(logits + step)).sum()
        down = numpy_loss(name, labels, softmax(logits - step)).sum()
        expected[position] = (up - down) / 2e-5
    actual = gradient(losses.get(name), labels, logits)
    np.testing.assert_allclose(actual, expected, 1e-3, 1e-4)


def test_robust_losses_bound_what_one_wrong_label_costs():
    labels, logits = np.zeros(1, int), np.array([[-1e4, 1e4]], np.float32)
    assert values(losses.get("ce"), labels, logits)[0] == pytest.approx(2e4)
    bounds = {"gce": 1 / 0.7, "mae": 2, "nce": 1, "nce_rce": 1 - math.log(1e-4)}
    for name, bound in bounds.items():
        assert values(losses.get(name), labels, logits)[0] <= bound + 1e-5


def test_generalized_cross_entropy_spans_from_ce_to_half_mae():
    labels, logits = np.array([0, 1]), np.array([[1.0, 3], [1, 3]], np.float32)
    near_ce = values(losses.GeneralizedCrossEntropy(q=1e-4), labels, logits)
    np.testing.assert_allclose(
        near_ce, values(losses.CrossEntropy(), labels, logits), 1e-3
    )
    half_mae = values(losses.MeanAbsoluteError(), labels, logits) / 2
    actual = values(losses.GeneralizedCrossEntropy(q=1.0), labels, logits)
    np.testing.assert_allclose(actual, half_mae, 1e-6)


def test_weights_of_the_composed_losses():
    labels, logits = np.array([2]), np.array([[0.5, 1, -1]], np.float32)
    p_t = softmax(logits)[0, 2]
    reverse = -math.log(1e-2) * (1 - p_t)
    actual = values(losses.SymmetricCrossEntropy(2, 3, 1e-2), labels, logits)
    np.testing.assert_allclose(actual, [-2 * np.log(p_t) + 3 * reverse], 1e-5)
    normalized = np.log(p_t) / np.log(softmax(logits)).sum()
    actual = values(
        losses.NormalizedCrossEntropyPlusReverse(2, 3, 1e-2), labels, logits
    )
    np.testing.assert_allclose(actual, [2 * normalized + 3 * reverse], 1e-5)


def test_half_precision_logits_are_computed_in_float32():
    logits = np.array([[10.0, -5.0, 0.0]], np.float16)
    value = ops.convert_to_tensor(losses.CrossEntropy().call([1], logits))
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(
        ops.convert_to_numpy(value), numpy_loss("ce", [1], softmax(logits)), 1e-5
    )


def test_large_labels_survive_a_half_precision_floatx():
    logits = np.zeros((1, 5000), np.float32)
    logits[0, 4097] = 50.0
    floatx = keras.config.floatx()
    try:
        keras.config.set_floatx("float16")
        value = losses.CrossEntropy()(np.array([4097]), logits)
    finally:
        keras.config.set_floatx(floatx)
    assert float(value) < 1e-6


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", None])
def test_reduction_is_that_of_keras(reduction):
    labels, logits = np.array([0, 1]), np.array([[1.0, 2], [1, 2]], np.float32)
    each = values(losses.CrossEntropy(), labels, logits)
    expected = {"sum_over_batch_size": each.mean(), "sum": each.sum(), None: each}
    actual = losses.CrossEntropy(reduction=reduction)(labels, logits)
    np.testing.assert_allclose(ops.convert_to_numpy(actual), expected[reduction], 1e-6)


CONFIGURED = [
    losses.CrossEntropy(from_logits=False, reduction="sum", name="renamed"),
    losses.SymmetricCrossEntropy(0.5, 0.2, 1e-3),
    losses.GeneralizedCrossEntropy(0.4, from_logits=False),
    losses.MeanAbsoluteError(name="other"),
    losses.NormalizedCrossEntropy(reduction=None),
    losses.NormalizedCrossEntropyPlusReverse(2, 0.3, 1e-2),
]


@pytest.mark.parametrize("loss", CONFIGURED, ids=lambda loss: type(loss).__name__)
def test_serialisation_round_trip(loss):
    config = keras.saving.serialize_keras_object(loss)
    assert config["registered_name"].startswith("kdfixmatch_keras>")
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()
    labels, predictions = np.array([0, 1]), np.array([[0.6, 0.4], [0.7, 0.3]], "f4")
    np.testing.assert_array_equal(
        values(copy, labels, predictions), values(loss, labels, predictions)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_network_learns_with_it(name):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 96)
    x = (np.eye(3)[labels] + 0.1 * generator.normal(size=(96, 3))).astype(np.float32)
    network = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(3, kernel_initializer="zeros")]
    )
    network.compile(keras.optimizers.Adam(0.1), losses.get(name), metrics=["accuracy"])
    network.fit(x, labels, epochs=8, batch_size=32, shuffle=False, verbose=0)
    assert network.evaluate(x, labels, verbose=0)[1] > 0.95


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.SymmetricCrossEntropy(alpha=-1), "`alpha` must be in"),
        (lambda: losses.SymmetricCrossEntropy(beta=float("nan")), "`beta` must be"),
        (lambda: losses.SymmetricCrossEntropy(beta=math.inf), "`beta` must be"),
        (lambda: losses.SymmetricCrossEntropy(clip=0), r"`clip` .* in \(0, 1\)"),
        (lambda: losses.SymmetricCrossEntropy(clip=1), r"`clip` .* in \(0, 1\)"),
        (lambda: losses.SymmetricCrossEntropy(0, 0), "`alpha` or `beta` must be"),
        (lambda: losses.GeneralizedCrossEntropy(q=0), r"`q` .* in \(0, 1\]"),
        (lambda: losses.GeneralizedCrossEntropy(q=1.1), "Received: q=1.1"),
        (lambda: losses.GeneralizedCrossEntropy(q="0.7"), "Received: q='0.7'"),
        (lambda: losses.NormalizedCrossEntropyPlusReverse(a=-1), "`a` must be"),
        (lambda: losses.NormalizedCrossEntropyPlusReverse(b=True), "`b` must be"),
        (lambda: losses.NormalizedCrossEntropyPlusReverse(0, 0), "`a` or `b` must be"),
        (lambda: losses.NormalizedCrossEntropyPlusReverse(clip=2), "`clip` must be"),
        (lambda: losses.get("sec"), "Did you mean 'sce'"),
        (lambda: losses.get("NCE"), "Did you mean 'nce'"),
        (lambda: losses.get("hinge loss"), "`loss` must be one of 'ce', 'sce'"),
        (lambda: losses.CrossEntropy().call([[0, 1]], [[0.0, 1.0]]), "argmax"),
        (lambda: losses.CrossEntropy().call([0], [[0.0]]), "K >= 2"),
        (lambda: losses.CrossEntropy().call([0], [0.0, 1.0]), r"shape \(n, K\)"),
    ],
)
def test_wrong_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("wrong", [None, 3, losses.CrossEntropy, lambda y, p: p])
def test_wrong_types_are_refused(wrong):
    with pytest.raises(TypeError, match="`loss` must be a name or a"):
        losses.get(wrong)


def test_any_keras_loss_passes():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert losses.get(loss) is loss


def test_per_sample_of_own_and_keras_losses():
    labels, logits = np.array([1, 0]), np.array([[1.0, 2], [1, 2]], np.float32)
    expected = numpy_loss("ce", labels, softmax(logits))
    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for loss in [losses.CrossEntropy(), sparse]:
        actual = ops.convert_to_numpy(losses.per_sample(loss, labels, logits))
        np.testing.assert_allclose(actual, expected, 1e-5)


def test_per_sample_refuses_a_loss_that_reduces():
    class Reduced(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return ops.mean(y_pred)

    with pytest.raises(ValueError, match="`loss` must give one value per sample"):
        losses.per_sample(Reduced(), np.array([0]), np.zeros((1, 2), np.float32))


@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.CategoricalCrossentropy(from_logits=True),
        keras.losses.SparseCategoricalCrossentropy(),
        keras.losses.MeanSquaredError(),
    ],
)
def test_a_loss_that_does_not_fit_is_refused_at_once(loss):
    with pytest.raises(ValueError, match="`unlabeled_loss` must take"):
        losses.get(loss, argument="unlabeled_loss")


def test_a_loss_of_keras_on_integers_and_logits_fits():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert losses.get(loss) is loss
