"""Step efficiency: `fit` against the bare networks on tensors in memory.

The profile of a step is measured the same way, with more levels in between.
"""

import contextlib
import functools
import io
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from measuring import rounds

from kdfixmatch_keras import FixMatch, baselines
from kdfixmatch_keras.training.batches import FixMatchBatches
from kdfixmatch_keras.training.plan import Plan
from speed_parts.page import PROFILE

LABELED, UNLABELED, NUM_CLASSES = 500, 2000, 10
Level = Callable[[], None]


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Trains a network for some epochs of a few steps, and times what is asked.

    Returns:
        `"seconds"`: by level and for `"fit"`, seconds of a step in each repeat; with
        levels beyond `"bare"` `"batches"` too, what drawing a batch takes by itself.
    """
    steps, names = job["steps"], job.get("levels", list(PROFILE))
    classifier, data, batches = new_training(job)
    network = classifier.new_network("outer", data, seed=0)

    def alternatives() -> dict[str, Level]:
        levels = Levels(network, batches[0], steps)
        return {name: levels.compiled(name) for name in names}

    timer = Timer(alternatives)
    # The bar of Keras is a part of what a `fit` costs, but not of this output.
    plan = Plan(1 + job["repeats"], steps, callbacks=[timer], verbose=1)
    with (
        contextlib.redirect_stdout(io.StringIO()),
        classifier.training(data, plan) as training,
    ):
        training.fit(network, plan.epochs)
    found = {name: [s / steps for s in times] for name, times in timer.found.items()}
    if names != ["bare"]:
        found |= rounds({"batches": lambda: batches[1]}, job["repeats"], 0.05)
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


class Timer(keras.callbacks.Callback):
    """Times the epochs of a `fit`, and alternatives in the pauses between them.

    An epoch begins with making its iterator, and ends with all of its metrics. The
    first is not timed: in the pause after it, when the network is compiled, the
    alternatives are made and compiled.
    """

    def __init__(self, alternatives: Callable[[], dict[str, Level]]) -> None:
        super().__init__()
        self.found: dict[str, list[float]] = {}
        self._alternatives = alternatives

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stops the clock, and times the alternatives."""
        passed = time.perf_counter() - self._start
        if epoch == 0:
            self._levels = self._alternatives()
            return
        for name, value in {"fit": [passed], **rounds(self._levels, 1)}.items():
            self.found.setdefault(name, []).extend(value)
        # None profits from where it stands.
        self._levels = dict(reversed(self._levels.items()))


class Levels:
    """A step built up from the bare networks, a part at a time: see `page.PROFILE`.

    The networks of `student` and `bare` have cross-entropy on given labels as their
    only loss, no augmentation, no regularization, no optimizer, no average, no metric.
    The levels work on one batch that is in memory, some steps in a call.
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
        """A level as a function; through XLA as `fit` does, if nothing else is said."""
        if name == "function":
            function = self.network.train_function
            return self._run(functools.partial(function, self._iterator()))
        if jit_compile is None:
            jit_compile = self.network.jit_compile
        step = tf.function(getattr(self, f"_{name}"), jit_compile=jit_compile)
        # What the step is made of is fixed when it is traced.
        with contextlib.ExitStack() as without_metrics:
            if name in ("losses", "optimizer", "average"):
                for metric in self.network.metrics:
                    silent = mock.patch.object(metric, "update_state", _do_nothing)
                    without_metrics.enter_context(silent)
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
        return self._augmented(lambda images, training: images)

    def _strong(self) -> Any:
        return self._augmented(self.network.strong_augmentation)

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

    def _iterator(self) -> Iterator[Any]:
        """One batch again and again, of unknown size, as Keras makes of a data set."""

        def batched(tensor: Any) -> Any:
            return tf.data.Dataset.from_tensor_slices(tensor).batch(len(tensor))

        parts = tf.nest.map_structure(batched, (self.x, self.y))
        return iter(tf.data.Dataset.zip(parts).cache().repeat())

    def _augmented(self, augment_strongly: Any) -> Any:
        views = ("labeled", "unlabeled", "unlabeled")
        augment = self.network.weak_augmentation
        labeled, strong, weak = (augment(self.x[v], training=True) for v in views)
        strong = augment_strongly(strong, training=True)
        images = tf.concat([labeled, strong], axis=0)
        return self._gradients(images), self._targets(weak)

    def _gradients(self, images: Any) -> Any:
        student = self.network.student
        with tf.GradientTape() as tape:
            loss = self.loss(self.labels, student(images, training=True))
        # Returned, or TensorFlow would not compute them.
        return loss, tape.gradient(loss, student.trainable_variables)

    def _targets(self, images: Any) -> Any:
        return self.network.teacher(images, training=False)


def _do_nothing(*arguments: Any, **named: Any) -> None:
    pass
