"""Distribution alignment does what its formula says and keeps its state."""

import keras
import numpy as np
import pytest

from kdfixmatch_keras.targets.distribution_alignment import DistributionAlignment


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def test_it_follows_the_formula_with_a_warmed_up_average():
    target = np.array([0.5, 0.3, 0.2])
    layer = DistributionAlignment(target, decay=0.15)
    model = np.full(3, 1 / 3)
    for step in range(1, 5):
        logits = np.random.default_rng(step).normal(size=(6, 3)).astype("float32")
        q = softmax(logits)
        decay = min(0.15, (1 + step) / (10 + step))
        model = decay * model + (1 - decay) * q.mean(axis=0)
        expected = q * target / model
        expected /= expected.sum(axis=1, keepdims=True)
        aligned = keras.ops.convert_to_numpy(layer(logits, training=True))
        np.testing.assert_allclose(softmax(aligned), expected, atol=1e-6)


def test_a_class_that_swallows_the_others_is_pushed_back():
    layer = DistributionAlignment([0.5, 0.5])
    logits = np.tile(np.array([[1.0, 0.0]], "float32"), (8, 1))
    for _ in range(300):
        aligned = keras.ops.convert_to_numpy(layer(logits, training=True))
    np.testing.assert_allclose(softmax(aligned), 0.5, atol=0.05)


def test_outside_training_its_state_stands_still():
    layer = DistributionAlignment([0.5, 0.5])
    layer(np.array([[9.0, 0.0]], "float32"), training=False)
    np.testing.assert_array_equal(layer.get_weights()[0], [0.5, 0.5])


def test_it_survives_serialization():
    layer = DistributionAlignment([0.9, 0.1], decay=0.5)
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )
    assert copy.get_config() == layer.get_config()


@pytest.mark.parametrize("target", [[0.5, 0.6], [1.0, 0.0], [[0.5, 0.5]], [np.nan]])
def test_what_is_no_distribution_is_refused(target):
    with pytest.raises(ValueError, match="`target_distribution` must be K positive"):
        DistributionAlignment(target)
