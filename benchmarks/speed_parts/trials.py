"""What could make a step faster, side by side with what is done."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from measuring import rounds

from speed_parts.levels import Levels
from speed_parts.step import new_training

STEPS_PER_EXECUTION = 4
Action = Callable[[], Any]


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Times what is tried beside what it would replace: `trials` of `speed.toml`."""
    network, batches = new_network(job)
    levels = Levels(network, batches[0], steps=1)
    alternatives = {
        "student": levels.compiled("student"),
        "xla": levels.compiled("student", jit_compile=True),
        "teacher": _forward(network.teacher, levels.x["unlabeled"]),
        "folded": _forward(_without_norms(network.teacher), levels.x["unlabeled"]),
        **executions(network, batches),
        **_layouts(job),
    }
    for precision in ("mixed_float16", "mixed_bfloat16"):
        other, _ = new_network(job, precision)
        precise = Levels(other, batches[0], steps=1)
        alternatives[precision] = precise.compiled("student")
    for action in alternatives.values():
        action()
    return {"seconds": rounds(alternatives, job["repeats"])}


def new_network(job: dict[str, Any], precision: str = "float32") -> tuple[Any, Any]:
    """A compiled network and its batches."""
    job = {**job, "steps": STEPS_PER_EXECUTION}
    classifier, data, batches = new_training(job, precision)
    network = classifier.new_network("outer", data, seed=0)
    network.compile("sgd")
    network.optimizer.build(network.trainable_variables)
    return network, batches


def _forward(model: keras.Model, images: Any) -> Action:
    forward = tf.function(lambda: model(images, training=False))
    return lambda: forward().numpy()


def _without_norms(model: keras.Model) -> keras.Model:
    """The network that batch norms folded into convolutions would cost."""

    def call(layer: keras.layers.Layer, inputs: Any, **options: Any) -> Any:
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        return inputs if is_norm else layer(inputs, **options)

    return keras.models.clone_model(model, call_function=call)


def executions(network: Any, batches: Any) -> dict[str, Action]:
    """As many steps in one call of the function that `fit` calls, or in several."""

    def fit(steps: int) -> Action:
        network.steps_per_execution = steps
        network.make_train_function(force=True)
        # How many steps it executes is fixed when it is first called, in there.
        levels = Levels(network, batches[0], STEPS_PER_EXECUTION // steps)
        return levels.compiled("function")

    return {"single": fit(1), "together": fit(STEPS_PER_EXECUTION)}


def _layouts(job: dict[str, Any]) -> dict[str, Action]:
    """A convolution of 32 channels, forward and backward."""
    side, count = job["side"], job["batch_size"] * (1 + job["unlabeled_ratio"])
    shapes = {"channels_last": (side, side, 32), "channels_first": (32, side, side)}
    found: dict[str, Action] = {}
    for layout, shape in shapes.items():
        layer = keras.layers.Conv2D(32, 3, padding="same", data_format=layout)
        action = _convolution(layer, tf.random.normal((count, *shape)))
        # Without oneDNN, TensorFlow has only one of them on a CPU.
        with contextlib.suppress(tf.errors.InvalidArgumentError):
            action()
            found[layout] = action
    return found


def _convolution(layer: keras.layers.Layer, images: Any) -> Action:
    layer.build(images.shape)

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(layer(images)))
        return tape.gradient(loss, layer.trainable_variables)

    return lambda: step()[0].numpy()
