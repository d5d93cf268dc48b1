"""Dense layers in NumPy, for networks too small to be worth a graph.

A training step of Deep Embedded Clustering computes for a fraction of a millisecond.
What a Keras model adds to each, and its compilation, took longer than the clustering.
"""

import copy
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_DECAYS = 0.9, 0.999
_EPSILON = 1e-7


class DenseLayers:
    """Dense layers, with a ReLU after each but the last.

    Args:
        widths: Numbers of inputs, of the units of each hidden layer, and of outputs.
        random: Draws the kernels (Glorot and Bengio, uniform). Biases are 0.
        linear: Number of a hidden layer, from 1, that has no ReLU; 0 for none.

    Attributes:
        parameters: Kernel and bias of each layer in turn, float32; optimizers change
            them in place.
    """

    def __init__(
        self, widths: Sequence[int], random: np.random.Generator, linear: int = 0
    ) -> None:
        self.parameters: list[Array] = []
        for inputs, outputs in pairwise(widths):
            limit = math.sqrt(6.0 / (inputs + outputs))
            kernel = random.uniform(-limit, limit, (inputs, outputs))
            self.parameters += [
                kernel.astype(np.float32),
                np.zeros(outputs, np.float32),
            ]
        self._linear = {linear, len(widths) - 1}

    def first(self, count: int) -> "DenseLayers":
        """The first layers, of which the last becomes linear; parameters are shared."""
        part = copy.copy(self)
        part.parameters = self.parameters[: 2 * count]
        part._linear = {count}
        return part

    def __call__(self, x: Array) -> Array:
        """Outputs, shape `(n, outputs)`, for inputs of shape `(n, inputs)`."""
        return self.activations(x)[-1]

    def activations(self, x: Array) -> list[Array]:
        """The inputs, and what each layer makes of those before it."""
        found = [x]
        for kernel, bias in zip(
            self.parameters[::2], self.parameters[1::2], strict=True
        ):
            x = x @ kernel
            x += bias
            if len(found) not in self._linear:
                np.maximum(x, 0.0, out=x)
            found.append(x)
        return found

    def gradients(self, activations: Sequence[Array], gradient: Array) -> list[Array]:
        """Propagates the gradient of a loss backwards.

        Args:
            activations: What `activations` returned.
            gradient: Gradient with respect to the outputs, shape `(n, outputs)`.

        Returns:
            The gradient with respect to each of `parameters`.
        """
        found: list[Array] = []
        for number in reversed(range(len(activations) - 1)):
            inputs = activations[number]
            found = [inputs.T @ gradient, gradient.sum(axis=0), *found]
            if number > 0:
                gradient = gradient @ self.parameters[2 * number].T
                if number not in self._linear:
                    gradient *= inputs > 0.0
        return found


class Momentum:
    """Gradient descent with momentum 0.9, in place.

    Args:
        parameters: Arrays that it changes.
        learning_rate: Positive.
    """

    def __init__(self, parameters: Sequence[Array], learning_rate: float) -> None:
        self.parameters = parameters
        self.learning_rate = learning_rate
        self._velocities = [np.zeros_like(array) for array in parameters]

    def step(self, gradients: Sequence[Array]) -> None:
        """Moves the parameters, given the gradient of each."""
        for array, gradient, velocity in zip(
            self.parameters, gradients, self._velocities, strict=True
        ):
            velocity *= _DECAYS[0]
            velocity -= self.learning_rate * gradient
            array += velocity


class Adam:
    """Adam with its usual decays, in place.

    Args:
        parameters: Arrays that it changes.
        learning_rate: Positive.

    Reference:
        - [Kingma and Ba, 2015](https://arxiv.org/abs/1412.6980)
    """

    def __init__(self, parameters: Sequence[Array], learning_rate: float) -> None:
        self.parameters = parameters
        self.learning_rate = learning_rate
        self._means = [np.zeros_like(array) for array in parameters]
        self._squares = [np.zeros_like(array) for array in parameters]
        self._steps = 0

    def step(self, gradients: Sequence[Array]) -> None:
        """Moves the parameters, given the gradient of each."""
        self._steps += 1
        first, second = (1.0 - decay**self._steps for decay in _DECAYS)
        rate = self.learning_rate * math.sqrt(second) / first
        for array, gradient, mean, square in zip(
            self.parameters, gradients, self._means, self._squares, strict=True
        ):
            mean += (1.0 - _DECAYS[0]) * (gradient - mean)
            square += (1.0 - _DECAYS[1]) * (gradient * gradient - square)
            array -= rate * mean / (np.sqrt(square) + _EPSILON)
