import keras
import numpy as np
import pytest

from kdfixmatch_keras.training.optimizers import (
    FixMatchSchedule,
    FixMatchSGD,
    build_optimizer,
)


def test_schedule_follows_the_formula():
    schedule = FixMatchSchedule(0.03, 200)
    for step in (0, 1, 50, 199):
        expected = 0.03 * np.cos(7 * np.pi * step / (16 * 200))
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5)


def test_schedule_ends_at_a_fifth_and_stays_there():
    schedule = FixMatchSchedule(1.0, 10)
    assert float(schedule(10)) == pytest.approx(np.cos(7 * np.pi / 16), rel=1e-5)
    assert float(schedule(10)) == pytest.approx(0.195, abs=1e-3)
    assert float(schedule(1000)) == float(schedule(10))


def test_schedule_survives_serialisation():
    schedule = FixMatchSchedule(0.03, 200)
    config = keras.optimizers.schedules.serialize(schedule)
    restored = keras.optimizers.schedules.deserialize(config)
    assert isinstance(restored, FixMatchSchedule)
    assert float(restored(150)) == float(schedule(150))


def steps_of(optimizer, count=40):
    """A weight after each step down a parabola."""
    weight = keras.Variable(np.array([1.0, -2.0], "float32"))
    optimizer.build([weight])
    found = []
    for _ in range(count):
        optimizer.apply([keras.ops.convert_to_tensor(weight)])
        found.append(keras.ops.convert_to_numpy(weight))
    return np.stack(found)


def test_nesterov_momentum_is_that_of_the_references():
    weight, velocity = np.array([1.0, -2.0]), np.zeros(2)
    expected = []
    for step in range(40):
        rate = 0.1 * np.cos(7 * np.pi * step / (16 * 40))
        gradient = weight
        velocity = 0.9 * velocity + gradient
        weight = weight - rate * (gradient + 0.9 * velocity)
        expected.append(weight)
    found = steps_of(FixMatchSGD(FixMatchSchedule(0.1, 40)))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    of_keras = keras.optimizers.SGD(
        FixMatchSchedule(0.1, 40), momentum=0.9, nesterov=True
    )
    assert np.abs(steps_of(of_keras) - expected).max() > 0.01


def test_at_a_constant_rate_it_is_the_momentum_of_keras():
    of_keras = keras.optimizers.SGD(0.05, momentum=0.8, nesterov=True)
    np.testing.assert_allclose(
        steps_of(FixMatchSGD(0.05, 0.8)), steps_of(of_keras), atol=1e-6
    )


def test_nesterov_momentum_survives_serialisation():
    optimizer = FixMatchSGD(0.02, 0.7, clipnorm=1.0)
    config = keras.optimizers.serialize(optimizer)
    restored = keras.optimizers.deserialize(config)
    assert isinstance(restored, FixMatchSGD)
    assert restored.get_config() == optimizer.get_config()


def test_default_from_scratch_is_sgd_with_nesterov_and_schedule():
    optimizer = build_optimizer(None, 100, pretrained=False)
    assert isinstance(optimizer, FixMatchSGD)
    assert optimizer.momentum == 0.9
    assert optimizer.weight_decay is None
    assert float(optimizer.learning_rate) == pytest.approx(0.03)
    optimizer.build([keras.Variable(np.zeros(2, "float32"))])
    optimizer.iterations.assign(100)
    expected = 0.03 * np.cos(7 * np.pi / 16)
    assert float(optimizer.learning_rate) == pytest.approx(expected, rel=1e-5)


def test_default_for_a_pretrained_network_warms_up_and_decays_kernels():
    optimizer = build_optimizer(None, 100, pretrained=True)
    assert isinstance(optimizer, keras.optimizers.AdamW)
    network = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(3),
            keras.layers.BatchNormalization(),
        ]
    )
    for weight in network.trainable_weights:
        weight.assign(keras.ops.ones(weight.shape))
    optimizer.build(network.trainable_variables)
    rates = []
    for step in (0, 5, 10, 55, 100):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    first = 3e-4 / 11
    np.testing.assert_allclose(
        rates, [first, (first + 3e-4) / 2, 3e-4, 1.5e-4, 0], atol=1e-9
    )

    # Without a gradient only decay moves a weight.
    optimizer.iterations.assign(10)
    optimizer.apply([keras.ops.zeros(w.shape) for w in network.trainable_variables])
    kernel, *others = map(keras.ops.convert_to_numpy, network.trainable_weights)
    np.testing.assert_allclose(1 - kernel, 3e-4 * 0.05, rtol=0.01)
    for weight in others:
        np.testing.assert_array_equal(weight, np.ones_like(weight))


def test_the_optimizer_of_the_paper_has_a_name():
    for pretrained in (False, True):
        optimizer = build_optimizer("paper", 100, pretrained=pretrained)
        assert isinstance(optimizer, keras.optimizers.Adam)
        assert float(optimizer.learning_rate) == pytest.approx(7e-5)
        assert optimizer.weight_decay == 5e-4


@pytest.mark.parametrize("pretrained", [False, True])
def test_optimizer_of_the_user_wins(pretrained):
    optimizer = build_optimizer("rmsprop", 100, pretrained=pretrained)
    assert isinstance(optimizer, keras.optimizers.RMSprop)


def test_optimizer_of_the_user_is_copied_without_state():
    schedule = FixMatchSchedule(0.5, 20)
    own = keras.optimizers.SGD(schedule, momentum=0.7)
    weight = keras.Variable(np.ones(2, "float32"))
    own.build([weight])
    own.apply([keras.ops.ones(2)])

    copies = [build_optimizer(own, 100, pretrained=False) for _ in range(2)]

    for optimizer in copies:
        assert isinstance(optimizer, keras.optimizers.SGD)
        assert optimizer is not own
        assert optimizer.momentum == 0.7
        assert int(optimizer.iterations) == 0
        assert float(optimizer.learning_rate) == pytest.approx(0.5)
        other = keras.Variable(np.ones(3, "float32"))
        optimizer.build([other])
        optimizer.apply([keras.ops.ones(3)])
        np.testing.assert_allclose(keras.ops.convert_to_numpy(other), 0.5)
    assert int(own.iterations) == 1


def test_unknown_optimizer_is_an_error_with_a_suggestion():
    with pytest.raises(ValueError, match="'adamm'. Did you mean 'adam'"):
        build_optimizer("adamm", 100, pretrained=False)
    with pytest.raises(TypeError, match="`optimizer` must be None, a name or.*=3"):
        build_optimizer(3, 100, pretrained=False)
