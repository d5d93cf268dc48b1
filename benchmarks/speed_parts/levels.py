"""A step on TensorFlow, built up from the bare networks, a part at a time."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import keras
import tensorflow as tf

from kdfixmatch_keras import FixMatch

Level = Callable[[], None]


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
