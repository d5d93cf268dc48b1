"""Copies of what a user wrote, with and without a configuration."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kdfixmatch_keras.backend.own_objects import (
    cloned,
    copied_layer,
    copied_optimizer,
)

# None of these is registered, and most can be made again without a word about it.


class Halving(keras.optimizers.schedules.LearningRateSchedule):
    """Without a configuration, which Keras asks for."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate * 0.5 ** ops.cast(step, "float32")


class Lighter(layers.Layer):
    def __init__(self, amount=10, function=None, **kwargs):
        super().__init__(**kwargs)
        self.amount = amount
        self.function = function
        self.draws = keras.random.SeedGenerator(0)

    def call(self, images):
        noise = keras.random.uniform((), 0, self.amount, seed=self.draws)
        return ops.cast(images, "float32") + noise


class Forgetful(Lighter):
    def get_config(self):
        return {"name": self.name}


class Turned(layers.RandomRotation):
    def __init__(self, degrees, **kwargs):
        super().__init__(degrees / 360, **kwargs)


class Applied(layers.Layer):
    """Has no state, and a function for which there is no configuration."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, images):
        return self.function(images)


class Scaled(keras.optimizers.SGD):
    def __init__(self, learning_rate=0.1, factor=1.0, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.factor = factor


def images():
    return np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)


@pytest.mark.parametrize("rate", [Halving(0.4), lambda: 0.4], ids=["schedule", "λ"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_rate_without_a_configuration_is_shared(rate, wrapped):
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, clipnorm=2.0)
    if wrapped:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    copy = copied_optimizer(optimizer)
    inner = copy.inner_optimizer if wrapped else copy
    assert (inner.momentum, inner.clipnorm) == (0.9, 2.0)
    assert float(copy.learning_rate) == pytest.approx(0.4)
    # What was copied is what it was.
    assert float(optimizer.learning_rate) == pytest.approx(0.4)
    weight = keras.Variable([1.0])
    for _ in range(2):
        inner.apply([ops.ones((1,))], [weight])
    assert int(optimizer.iterations) == 0
    expected = 0.1 if isinstance(rate, Halving) else 0.4
    assert float(copy.learning_rate) == pytest.approx(expected)


def test_what_is_not_decayed_is_copied():
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma"])
    copy = copied_optimizer(optimizer)
    kernel, bias = (keras.Variable([1.0], name=name) for name in ("kernel", "bias"))
    copy.apply([ops.zeros((1,))] * 2, [kernel, bias])
    found = [float(ops.convert_to_numpy(x)[0]) for x in (kernel, bias)]
    assert found[0] < 1.0 and found[1] == 1.0

    optimizer = keras.optimizers.AdamW(0.1)
    optimizer.exclude_from_weight_decay(var_list=[kernel])
    with pytest.raises(ValueError, match="Pass var_names=... to it"):
        copied_optimizer(optimizer)


def test_an_optimizer_that_a_copy_would_not_be_like_is_refused():
    assert copied_optimizer(Scaled(0.2)).factor == 1.0
    with pytest.raises(ValueError, match="a copy has factor=1.0 in place of 3.0"):
        copied_optimizer(Scaled(0.2, factor=3.0))


@pytest.mark.parametrize(
    "layer",
    [
        Lighter(20),
        layers.Pipeline([Lighter(20), layers.RandomFlip(seed=0)]),
        keras.Sequential([layers.Lambda(lambda x: x // 2), Lighter(20)]),
    ],
    ids=["layer", "pipeline", "model"],
)
def test_a_layer_is_copied_with_what_it_is_made_of(layer):
    first, second = (copied_layer(layer, "weak_augmentation") for _ in range(2))
    # The same draws, each its own.
    np.testing.assert_array_equal(first(images()), second(images()))
    assert not {id(v) for v in first.variables} & {id(v) for v in second.variables}
    assert not np.array_equal(first(images()), first(images()))


@pytest.mark.parametrize(
    "layer", [layers.Lambda(lambda x: x + images().max()), Applied(np.sin)]
)
def test_what_has_no_state_is_shared(layer):
    assert copied_layer(layer, "weak_augmentation") is layer


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: keras.Sequential([x])])
def test_a_layer_is_copied_with_its_weights(wrap):
    layer = layers.Normalization()
    layer.adapt(images().astype("float32"))
    layer = wrap(layer)
    copy = copied_layer(layer, "weak_augmentation")
    pixels = images().astype("float32")
    np.testing.assert_array_equal(copy(pixels), layer(pixels))
    assert abs(float(ops.mean(copy(pixels)))) < 0.01


@pytest.mark.parametrize(
    "layer, cause",
    [
        (Lighter(function=np.sin), "was created by passing non-serializable argument"),
        (Forgetful(5), "a copy has amount=10 in place of 5"),
        (Turned(10), "missing 1 required positional argument: 'degrees'"),
        (keras.Sequential([Forgetful(5)]), "a copy has amount=10 in place of 5"),
    ],
    ids=["function", "forgetful", "degrees", "nested"],
)
def test_a_layer_that_a_copy_would_not_be_like_is_refused(layer, cause):
    with pytest.raises(ValueError, match="`weak_augmentation` must be") as caught:
        copied_layer(layer, "weak_augmentation")
    assert cause in str(caught.value)
    assert "Its `get_config` must return every argument" in str(caught.value)


def test_a_model_is_cloned_with_functions_of_the_users_own():
    scale = 3.0
    inputs = keras.Input((8, 8, 3))
    x = layers.Lambda(lambda x: x * scale)(inputs)
    x = keras.Sequential([layers.Conv2D(2, 3), Applied(ops.abs)])(x)
    model = keras.Model(inputs, x)
    clone = cloned(model, "backbone")
    clone.set_weights(model.get_weights())
    pixels = images().astype("float32")
    found, expected = (ops.convert_to_numpy(m(pixels)) for m in (clone, model))
    np.testing.assert_array_equal(found, expected)
    assert not {id(v) for v in clone.weights} & {id(v) for v in model.weights}


def test_a_model_of_a_layer_that_forgets_is_refused():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, Forgetful(5)(inputs))
    with pytest.raises(ValueError, match="`backbone` must be .* has amount=10 in"):
        cloned(model, "backbone")
