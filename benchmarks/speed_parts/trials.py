"""What could make a step faster, side by side with what is done."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kdfixmatch_keras import FixMatch, baselines
from kdfixmatch_keras.training.batches import FixMatchBatches
from speed_parts.levels import Levels
from speed_parts.timing import rounds

PRECISIONS = ("mixed_float16", "mixed_bfloat16")
STEPS_PER_EXECUTION = 4

Action = Callable[[], Any]


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Times each alternative beside what it would replace.

    Args:
        job: `"backbone"`, `"side"`, `"batch_size"`, `"unlabeled_ratio"` and
            `"repeats"`.

    Returns:
        `"seconds"`: by name, of each repeat. `"student"` is compared with the
        precisions and `"xla"`, `"teacher"` with `"folded"`, `"single"` with
        `"together"`, `"channels_last"` with `"channels_first"`, which not every
        processor is given by TensorFlow.
    """
    network, batches = _new(job, "float32")
    levels = Levels(network, batches[0], steps=1)
    alternatives = {
        "student": levels.student(),
        "xla": levels.student(jit_compile=True),
        **{
            precision: Levels(_new(job, precision)[0], batches[0], steps=1).student()
            for precision in PRECISIONS
        },
        "teacher": _forward(network.teacher, levels.x["unlabeled"]),
        "folded": _forward(_without_norms(network.teacher), levels.x["unlabeled"]),
        **_executions(network, batches),
        **_layouts(job),
    }
    for action in alternatives.values():
        action()
    return {"seconds": rounds(alternatives, job["repeats"])}


def _new(job: dict[str, Any], precision: str) -> tuple[FixMatch, FixMatchBatches]:
    """A compiled network and its batches."""
    images = np.random.default_rng(0).integers(
        0, 256, (1000, job["side"], job["side"], 3), np.uint8
    )
    sizes = {name: job[name] for name in ("batch_size", "unlabeled_ratio")}
    classifier = baselines.FixMatch(
        job["backbone"], weights=None, mixed_precision=precision, seed=0, **sizes
    )
    data = classifier.load_data((images[:100], np.arange(100) % 10), images)
    network = classifier.new_network("outer", data, seed=0)
    network.compile("sgd")
    network.optimizer.build(network.trainable_variables)
    batches = FixMatchBatches(
        data.labeled,
        data.unlabeled,
        steps_per_epoch=STEPS_PER_EXECUTION,
        seed=0,
        **sizes,
    )
    return network, batches


def _forward(model: keras.Model, images: Any) -> Action:
    forward = tf.function(lambda: model(images, training=False))
    return lambda: forward().numpy()


def _without_norms(model: keras.Model) -> keras.Model:
    """The network that batch norms folded into convolutions would cost."""

    def call(layer: keras.layers.Layer, inputs: Any, **options: Any) -> Any:
        if isinstance(layer, keras.layers.BatchNormalization):
            return inputs
        return layer(inputs, **options)

    return keras.models.clone_model(model, call_function=call)


def _executions(network: FixMatch, batches: FixMatchBatches) -> dict[str, Action]:
    """As many steps in one call of the function that `fit` calls, or in several."""

    def fit(steps: int) -> Action:
        network.steps_per_execution = steps
        network.make_train_function(force=True)
        # How many steps it executes is fixed when it is first called, in there.
        return Levels(network, batches[0], STEPS_PER_EXECUTION // steps).function()

    return {"single": fit(1), "together": fit(STEPS_PER_EXECUTION)}


def _layouts(job: dict[str, Any]) -> dict[str, Action]:
    """A convolution of 32 channels, forward and backward."""
    side, count = job["side"], job["batch_size"] * (1 + job["unlabeled_ratio"])
    found: dict[str, Action] = {}
    for layout in ("channels_last", "channels_first"):
        shape = (side, side, 32) if layout == "channels_last" else (32, side, side)
        layer = keras.layers.Conv2D(32, 3, padding="same", data_format=layout)
        layer.build((None, *shape))
        action = _convolution(layer, tf.random.normal((count, *shape)))
        # Without oneDNN, TensorFlow has only one of them on a CPU.
        with contextlib.suppress(tf.errors.InvalidArgumentError):
            action()
            found[layout] = action
    return found


def _convolution(layer: keras.layers.Layer, images: Any) -> Action:
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(layer(images)))
        return tape.gradient(loss, layer.trainable_variables)

    compiled = tf.function(step)
    return lambda: compiled()[0].numpy()
