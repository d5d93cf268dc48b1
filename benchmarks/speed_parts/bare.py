"""The bare networks of a step and the whole step, on JAX and PyTorch."""

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kdfixmatch_keras import FixMatch, backend

Step = Callable[[], Any]


class Levels:
    """Two levels of a step, as `levels.Levels` has them on TensorFlow.

    `"bare"` is the student forward and backward and the teacher forward, `"metrics"`
    the step that Keras compiles, on one batch on the device, some steps in a call.

    Attributes:
        issued: Of `"metrics"`, seconds in which the host asked for a step, without
            those in which it waited for the device; one for each call.
    """

    def __init__(self, network: FixMatch, batch: Any, steps: int) -> None:
        self.steps = steps
        self.issued: list[float] = []
        x, y = batch
        images = np.concatenate([x["labeled"], x["unlabeled"]])
        # Any labels will do: what the cross-entropy costs does not depend on them.
        labels = np.concatenate([y, np.maximum(x["trusted"], 0)])
        parts = (images, labels, x["unlabeled"]), batch
        bare, data = keras.tree.map_structure(ops.convert_to_tensor, parts)
        make = _on_jax if backend.is_stateless() else _on_torch
        self._steps, self._wait = make(network, bare, data)

    def compiled(self, name: str) -> Callable[[], None]:
        """A level as a function, which has been called once."""
        step = self._steps[name]

        def run() -> None:
            started = time.perf_counter()
            for _ in range(self.steps):
                outputs = step()
            if name == "metrics":
                passed = time.perf_counter() - started
                self.issued.append(passed / self.steps)
            self._wait(outputs)

        run()
        self.issued.clear()
        return run


def _loss(labels: Any, logits: Any) -> Any:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)


def _on_jax(network: FixMatch, bare: Any, data: Any) -> tuple[dict[str, Step], Any]:
    import jax

    student, teacher = network.student, network.teacher

    def values(variables: list[Any]) -> list[Any]:
        # Copies: the next step of `fit` takes the memory of its own.
        return [jax.numpy.array(variable.value, copy=True) for variable in variables]

    def loss(trainable: Any, rest: Any, images: Any, labels: Any) -> Any:
        logits, rest = student.stateless_call(trainable, rest, images, training=True)
        return _loss(labels, logits), rest

    @jax.jit
    def both(weights: Any, rest: Any, average: Any, bare: Any) -> Any:
        images, labels, unlabeled = bare
        gradients = jax.value_and_grad(loss, has_aux=True)
        targets, _ = teacher.stateless_call([], average, unlabeled, training=False)
        return gradients(weights, rest, images, labels), targets

    weights, rest = student.trainable_variables, student.non_trainable_variables
    held = [values(part) for part in (weights, rest, teacher.variables)]
    state = tuple(
        values(part)
        for part in (
            network.trainable_variables,
            network.non_trainable_variables,
            network.optimizer.variables,
            network.metrics_variables,
        )
    )
    whole = jax.jit(network.train_step, donate_argnums=0)

    def step() -> Any:
        nonlocal state
        logs, state = whole(state, data)
        return logs, state

    steps = {"bare": lambda: both(*held, bare), "metrics": step}
    return steps, jax.block_until_ready


def _on_torch(network: FixMatch, bare: Any, data: Any) -> tuple[dict[str, Step], Any]:
    import torch

    student, teacher = network.student, network.teacher
    images, labels, unlabeled = bare

    def both() -> Any:
        loss = _loss(labels, student(images, training=True))
        weights = [variable.value for variable in student.trainable_variables]
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            return gradients, teacher(unlabeled, training=False)

    def wait(outputs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return {"bare": both, "metrics": lambda: network.train_step(data)}, wait
