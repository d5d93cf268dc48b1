"""A training step built up from the bare networks, a part at a time.

Each level is a function without arguments that runs some steps and waits for the last.
They work on one batch that is in memory, and are compiled as `fit` compiles its step.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import keras
import tensorflow as tf

from kdfixmatch_keras import FixMatch

Level = Callable[[], None]


class Levels:
    """The levels of one network that has been compiled with its optimizer.

    Args:
        network: The network.
        batch: One batch of `FixMatchBatches`.
        steps: Steps of a call.
    """

    def __init__(self, network: FixMatch, batch: Any, steps: int) -> None:
        self.network = network
        self.steps = steps
        # On the device, so that no step waits for a copy.
        self.x, self.y = tf.nest.map_structure(tf.convert_to_tensor, batch)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        # Any labels will do: what the cross-entropy costs does not depend on them.
        self.labels = tf.concat([self.y, tf.maximum(self.x["trusted"], 0)], axis=0)

    def bare(self) -> Level:
        """Student forward and backward on both sets, teacher forward on one.

        Cross-entropy on given labels is the only loss. There is no augmentation, no
        regularization, no optimizer, no average and no metric.
        """
        images, weak = self._plain_views()
        return self._level(lambda: (self._gradients(images), self._targets(weak)))

    def student(self, jit_compile: bool | None = None) -> Level:
        """Student forward and backward, compiled as the step is or as told."""
        images, _ = self._plain_views()
        return self._level(lambda: self._gradients(images), jit_compile=jit_compile)

    def weak(self) -> Level:
        """The bare step on weak views."""

        def step() -> Any:
            labeled, strong, weak = self._weak_views()
            images = tf.concat([labeled, strong], axis=0)
            return self._gradients(images), self._targets(weak)

        return self._level(step)

    def strong(self) -> Level:
        """The bare step on weak and strong views."""

        def step() -> Any:
            labeled, strong, weak = self._weak_views()
            strong = self.network.strong_augmentation(strong, training=True)
            images = tf.concat([labeled, strong], axis=0)
            return self._gradients(images), self._targets(weak)

        return self._level(step)

    def losses(self) -> Level:
        """Both networks' outputs and the loss of the method, and its gradients."""
        return self._level(self._method_gradients, metrics=False)

    def optimizer(self) -> Level:
        """The same, and the optimizer's update."""

        def step() -> Any:
            loss, gradients = self._method_gradients()
            self.network.optimizer.apply(gradients, self.network.trainable_variables)
            return loss

        return self._level(step, metrics=False)

    def average(self) -> Level:
        """The whole step without its metrics: the teacher has followed."""
        return self._level(self._train_step, metrics=False)

    def metrics(self) -> Level:
        """The whole step."""
        return self._level(self._train_step)

    def function(self) -> Level:
        """The function that `fit` calls now, fed with one batch again and again."""
        # Batches of unknown size, as `fit` makes of a data set in Python.
        parts = tf.nest.map_structure(
            lambda tensor: tf.data.Dataset.from_tensor_slices(tensor).batch(
                len(tensor)
            ),
            (self.x, self.y),
        )
        iterator = iter(tf.data.Dataset.zip(parts).cache().repeat())
        function = self.network.train_function

        def run() -> None:
            for _ in range(self.steps):
                logs = function(iterator)
            _wait(logs)

        run()
        return run

    def _plain_views(self) -> tuple[Any, Any]:
        labeled, unlabeled = self.x["labeled"], self.x["unlabeled"]
        return tf.concat([labeled, unlabeled], axis=0), unlabeled

    def _weak_views(self) -> tuple[Any, Any, Any]:
        """Of the labeled images, and two of the unlabeled ones."""
        augment = self.network.weak_augmentation
        labeled, unlabeled = self.x["labeled"], self.x["unlabeled"]
        return tuple(
            augment(images, training=True) for images in (labeled, unlabeled, unlabeled)
        )

    def _gradients(self, images: Any) -> Any:
        student = self.network.student
        with tf.GradientTape() as tape:
            loss = self.loss(self.labels, student(images, training=True))
        # Returned, or TensorFlow would not compute them.
        return loss, tape.gradient(loss, student.trainable_variables)

    def _targets(self, images: Any) -> Any:
        return self.network.teacher(images, training=False)

    def _method_gradients(self) -> Any:
        network = self.network
        with tf.GradientTape() as tape:
            outputs = network(self.x, training=True)
            loss = network.compute_loss(self.x, self.y, outputs, training=True)
            loss = network.optimizer.scale_loss(loss)
        return loss, tape.gradient(loss, network.trainable_variables)

    def _train_step(self) -> Any:
        return self.network.train_step((self.x, self.y))

    def _level(
        self,
        step: Callable[[], Any],
        metrics: bool = True,
        jit_compile: bool | None = None,
    ) -> Level:
        if jit_compile is None:
            jit_compile = self.network.jit_compile
        compiled = tf.function(step, jit_compile=jit_compile)

        def run() -> None:
            for _ in range(self.steps):
                outputs = compiled()
            _wait(outputs)

        # What the step is made of is fixed when it is traced.
        with contextlib.nullcontext() if metrics else _without_metrics(self.network):
            run()
        return run


@contextlib.contextmanager
def _without_metrics(network: FixMatch) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for metric in network.metrics:
            stack.enter_context(
                mock.patch.object(metric, "update_state", lambda *args, **kwargs: None)
            )
        yield


def _wait(outputs: Any) -> None:
    """Waits until a device has computed them."""
    for output in tf.nest.flatten(outputs)[:1]:
        output.numpy()
