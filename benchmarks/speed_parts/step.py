"""Step efficiency: `fit` against the bare networks on tensors in memory.

The profile of a step is measured the same way, with more levels in between.
"""

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from measuring import repeated, rounds

from kdfixmatch_keras import FixMatch, baselines
from kdfixmatch_keras.training.batches import FixMatchBatches
from kdfixmatch_keras.training.plan import Plan

LABELED, UNLABELED, NUM_CLASSES = 500, 2000, 10
Level = Callable[[], None]


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Trains a network for some epochs of a few steps, and times what is asked.

    Returns:
        `"seconds"`: by level and for `"fit"`, seconds of a step in each repeat; with
        levels beyond `"bare"` `"batches"` too, what drawing a batch takes by itself.
    """
    steps = job["steps"]
    classifier, data, batches = new_training(job)
    network = classifier.new_network("outer", data, seed=0)

    def alternatives() -> dict[str, Level]:
        levels = Levels(network, batches[0], steps)
        return {name: levels.compiled(name) for name in job["levels"]}

    timed: dict[str, list[float]] = {}
    callbacks = [timer(alternatives, timed)]
    # The bar of Keras is a part of what a `fit` costs, but not of this output.
    plan = Plan(1 + job["repeats"], steps, callbacks=callbacks, verbose=1)
    with (
        contextlib.redirect_stdout(io.StringIO()),
        classifier.training(data, plan) as training,
    ):
        training.fit(network, plan.epochs)
    found = {name: [s / steps for s in times] for name, times in timed.items()}
    if job["levels"] != ["bare"]:
        draw, times = repeated(lambda: batches[1], 0.05)
        drawn = rounds({"batches": draw}, job["repeats"])["batches"]
        found["batches"] = [value / times for value in drawn]
    return {"seconds": found}


def new_training(job: dict[str, Any], precision: str = "float32") -> tuple[Any, ...]:
    """A classifier of a job's sizes, its images, of noise, and batches of them."""
    shape = (UNLABELED, job["side"], job["side"], 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    labels = np.arange(LABELED) % NUM_CLASSES
    sizes = {name: job[name] for name in ("batch_size", "unlabeled_ratio")}
    classifier = baselines.FixMatch(
        job["backbone"], weights=None, mixed_precision=precision, seed=0, **sizes
    )
    data = classifier.load_data((images[:LABELED], labels), images)
    batches = FixMatchBatches(
        data.labeled, data.unlabeled, steps_per_epoch=job["steps"], seed=0, **sizes
    )
    return classifier, data, batches


def timer(
    alternatives: Callable[[], dict[str, Level]], found: dict[str, list[float]]
) -> keras.callbacks.Callback:
    """Times the epochs of a `fit`, and alternatives in the pauses between them.

    An epoch begins with making its iterator, and ends with all of its metrics. The
    first is not timed.

    Args:
        alternatives: Called in the first pause, when the network is compiled: what to
            time in the pauses that follow. Those that have to be compiled must be.
        found: Where to put the seconds, by name, of the `fit` as `"fit"`.
    """
    levels: dict[str, Level] = {}
    start = 0.0

    def begin(epoch: int, logs: Any) -> None:
        nonlocal start
        start = time.perf_counter()

    def end(epoch: int, logs: Any) -> None:
        nonlocal levels
        passed = time.perf_counter() - start
        if epoch == 0:
            levels = alternatives()
            return
        for name, value in {"fit": [passed], **rounds(levels, 1)}.items():
            found.setdefault(name, []).extend(value)
        # None profits from where it stands.
        levels = dict(reversed(levels.items()))

    return keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_epoch_end=end)


class Levels:
    """A step built up from the bare networks, a part at a time: see `plan.PROFILE`.

    The networks of `student` and `bare` have cross-entropy on given labels as their
    only loss, no augmentation, no regularization, no optimizer, no average, no metric.
    The levels work on one batch that is in memory.

    Args:
        network: The network, compiled with its optimizer.
        batch: One batch of `FixMatchBatches`.
        steps: Steps of a call.
    """

    def __init__(self, network: FixMatch, batch: Any, steps: int) -> None:
        self.network = network
        self.steps = steps
        # On the device, so that no step waits for a copy.
        self.x, self.y = tf.nest.map_structure(tf.convert_to_tensor, batch)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.images = tf.concat([self.x["labeled"], self.x["unlabeled"]], axis=0)
        # Any labels will do: what the cross-entropy costs does not depend on them.
        self.labels = tf.concat([self.y, tf.maximum(self.x["trusted"], 0)], axis=0)

    def compiled(self, name: str, jit_compile: bool | None = None) -> Level:
        """A level as a function that runs some steps and waits for the last.

        Args:
            name: One of `plan.PROFILE`.
            jit_compile: Whether it goes through XLA; None for what `fit` does.
        """
        if name == "function":
            iterator = self._iterator()
            function = self.network.train_function
            return self._run(lambda: function(iterator))
        if jit_compile is None:
            jit_compile = self.network.jit_compile
        step = tf.function(getattr(self, f"_{name}"), jit_compile=jit_compile)
        has_no_metrics = name in ("losses", "optimizer", "average")
        # What the step is made of is fixed when it is traced.
        with _without(self.network.metrics if has_no_metrics else []):
            return self._run(step)

    def _run(self, step: Callable[[], Any]) -> Level:
        def run() -> None:
            for _ in range(self.steps):
                outputs = step()
            # Waits until a device has computed them.
            tf.nest.flatten(outputs)[0].numpy()

        run()
        return run

    def _student(self) -> Any:
        return self._gradients(self.images)

    def _bare(self) -> Any:
        return self._student(), self._targets(self.x["unlabeled"])

    def _weak(self) -> Any:
        labeled, strong, weak = self._weak_views()
        images = tf.concat([labeled, strong], axis=0)
        return self._gradients(images), self._targets(weak)

    def _strong(self) -> Any:
        labeled, strong, weak = self._weak_views()
        strong = self.network.strong_augmentation(strong, training=True)
        images = tf.concat([labeled, strong], axis=0)
        return self._gradients(images), self._targets(weak)

    def _losses(self) -> Any:
        network = self.network
        with tf.GradientTape() as tape:
            outputs = network(self.x, training=True)
            loss = network.compute_loss(self.x, self.y, outputs, training=True)
            loss = network.optimizer.scale_loss(loss)
        return loss, tape.gradient(loss, network.trainable_variables)

    def _optimizer(self) -> Any:
        loss, gradients = self._losses()
        self.network.optimizer.apply(gradients, self.network.trainable_variables)
        return loss

    def _average(self) -> Any:
        return self.network.train_step((self.x, self.y))

    _metrics = _average

    def _iterator(self) -> Any:
        """One batch again and again, of unknown size, as Keras makes of a data set."""

        def batched(tensor: Any) -> Any:
            return tf.data.Dataset.from_tensor_slices(tensor).batch(len(tensor))

        parts = tf.nest.map_structure(batched, (self.x, self.y))
        return iter(tf.data.Dataset.zip(parts).cache().repeat())

    def _weak_views(self) -> list[Any]:
        """Of the labeled images, and two of the unlabeled ones."""
        names = ("labeled", "unlabeled", "unlabeled")
        augment = self.network.weak_augmentation
        return [augment(self.x[name], training=True) for name in names]

    def _gradients(self, images: Any) -> Any:
        student = self.network.student
        with tf.GradientTape() as tape:
            loss = self.loss(self.labels, student(images, training=True))
        # Returned, or TensorFlow would not compute them.
        return loss, tape.gradient(loss, student.trainable_variables)

    def _targets(self, images: Any) -> Any:
        return self.network.teacher(images, training=False)


@contextlib.contextmanager
def _without(metrics: list[Any]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for metric in metrics:
            silent = mock.patch.object(metric, "update_state", lambda *_, **__: None)
            stack.enter_context(silent)
        yield
