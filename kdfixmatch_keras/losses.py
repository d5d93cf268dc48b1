"""Losses for hard targets that may be wrong, one value per sample.

The unlabeled term of KD-FixMatch learns from labels a network made up, so it is
written with losses that bound what a single wrong label can cost. All of them take
integer labels and `(n, K)` predictions, and none needs the rest of the package:

```python
network.compile(loss=losses.SymmetricCrossEntropy(beta=0.01))
losses.get("gce")(labels, logits)
```

With `p_t` the probability given to the label, `K` the number of classes and
`RCE = -log(clip) * (1 - p_t)`:

| name | class | value |
|---|---|---|
| `"ce"` | `CrossEntropy` | `-log p_t` |
| `"sce"` | `SymmetricCrossEntropy` | `alpha * CE + beta * RCE` |
| `"gce"` | `GeneralizedCrossEntropy` | `(1 - p_t**q) / q` |
| `"mae"` | `MeanAbsoluteError` | `2 * (1 - p_t)` |
| `"nce"` | `NormalizedCrossEntropy` | `log p_t / sum_k log p_k` |
| `"nce_rce"` | `NormalizedCrossEntropyPlusReverse` | `a * NCE + b * RCE` |
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kdfixmatch_keras.checks import validation

# keras publishes no type information, so a tensor of any backend is `Any`.
Tensor = Any

_SMALLEST_PROBABILITY = 1e-7

_REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none")


class _HardTargetLoss(keras.losses.Loss):
    """Base of the losses of this module: turns predictions into log-probabilities.

    Labels pass through `keras.losses.Loss.__call__` as floating point numbers, so
    the loss is pinned to float32, which holds every integer up to 2**24 exactly,
    whatever the global dtype policy or `floatx` is.
    """

    def __init__(self, from_logits: bool, reduction: str | None, name: str) -> None:
        if reduction is not None:
            validation.check_choice("reduction", reduction, _REDUCTIONS, "None")
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.from_logits = validation.check_flag("from_logits", from_logits)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Computes the loss of each sample.

        Args:
            y_true: Integer labels in [0, K), shape `(n,)` or `(n, 1)`, any dtype.
                A sample that is masked afterwards still needs a valid label.
            y_pred: Logits (or probabilities), shape `(n, K)`, any float dtype.

        Returns:
            Loss of each sample, shape `(n,)`, float32.

        Raises:
            ValueError: If the shapes do not fit.
        """
        y_pred = ops.cast(ops.convert_to_tensor(y_pred), "float32")
        y_true = ops.cast(ops.convert_to_tensor(y_true), "int32")
        if len(y_true.shape) == 2 and y_true.shape[-1] == 1:
            y_true = ops.squeeze(y_true, axis=-1)
        if len(y_pred.shape) != 2 or y_pred.shape[-1] == 1 or len(y_true.shape) != 1:
            raise ValueError(
                "`y_true` must be integer labels of shape (n,) and `y_pred` must be "
                "of shape (n, K) with K >= 2. Turn one-hot labels into integers with "
                "`argmax(axis=-1)`. Received: "
                f"y_true.shape={tuple(y_true.shape)}, "
                f"y_pred.shape={tuple(y_pred.shape)}"
            )
        sizes = {y_true.shape[0], y_pred.shape[0]} - {None}
        if len(sizes) > 1:
            raise ValueError(
                "`y_true` must hold a label for each row of `y_pred`. Received: "
                f"y_true.shape={tuple(y_true.shape)}, "
                f"y_pred.shape={tuple(y_pred.shape)}"
            )
        if self.from_logits:
            log_probabilities = ops.log_softmax(y_pred, axis=-1)
        else:
            # A probability of exactly 0 would give an infinite loss and NaN
            # gradients.
            log_probabilities = ops.log(ops.clip(y_pred, _SMALLEST_PROBABILITY, 1.0))
        log_target = ops.take_along_axis(
            log_probabilities, ops.expand_dims(y_true, -1), axis=-1
        )
        return self._values(ops.squeeze(log_target, axis=-1), log_probabilities)

    def _values(self, log_target: Tensor, log_probabilities: Tensor) -> Tensor:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, for `keras.saving`."""
        return {**super().get_config(), "from_logits": self.from_logits}


# The formulas use `expm1(log p_t) = -(1 - p_t)`: it keeps the digits of `1 - p_t`
# that a subtraction in float32 would lose when p_t is close to 1.


def _reverse_cross_entropy(log_target: Tensor, clip: float) -> Tensor:
    return math.log(clip) * ops.expm1(log_target)


def _normalized_cross_entropy(log_target: Tensor, log_probabilities: Tensor) -> Tensor:
    # The sum is at most -K * log(K), reached by the uniform distribution, so it is
    # never zero for K >= 2.
    return log_target / ops.sum(log_probabilities, axis=-1)


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class CrossEntropy(_HardTargetLoss):
    """Cross-entropy, `-log p_t`.

    Args:
        from_logits: Whether predictions are logits (default) or probabilities.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Example:
        >>> loss = CrossEntropy()
        >>> value = loss([0, 1], [[2.0, 0.0], [0.0, 2.0]])
    """

    def __init__(
        self,
        *,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "cross_entropy",
    ) -> None:
        super().__init__(from_logits, reduction, name)

    def _values(self, log_target: Tensor, log_probabilities: Tensor) -> Tensor:
        return -log_target


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class SymmetricCrossEntropy(_HardTargetLoss):
    """Symmetric cross-entropy, `alpha * CE + beta * RCE`.

    The reverse term `RCE = -sum_k p_k * log(label_k)` has a logarithm of zero for
    every class but the label; replaced by `log(clip)`, it becomes
    `-log(clip) * (1 - p_t)`, which is bounded.

    Args:
        alpha: Weight of the cross-entropy, at least 0.
        beta: Weight of the reverse cross-entropy, at least 0.
        clip: Value that stands for a probability of zero, in (0, 1).
        from_logits: Whether predictions are logits (default) or probabilities.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Raises:
        ValueError: If an argument is out of its range.

    Reference:
        - [Wang et al., 2019, eq. 7](https://arxiv.org/abs/1908.06112)
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 0.1,
        clip: float = 1e-4,
        *,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "symmetric_cross_entropy",
    ) -> None:
        super().__init__(from_logits, reduction, name)
        self.alpha = validation.check_non_negative("alpha", alpha)
        self.beta = validation.check_non_negative("beta", beta)
        self.clip = validation.check_number("clip", clip, 0, 1, "(0, 1)")
        if self.alpha == 0 and self.beta == 0:
            raise ValueError(
                "`alpha` or `beta` must be positive: with both at zero nothing is "
                f"learned. Received: alpha={alpha}, beta={beta}"
            )

    def _values(self, log_target: Tensor, log_probabilities: Tensor) -> Tensor:
        reverse = _reverse_cross_entropy(log_target, self.clip)
        return self.beta * reverse - self.alpha * log_target

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, for `keras.saving`."""
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "beta": self.beta,
            "clip": self.clip,
        }


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class GeneralizedCrossEntropy(_HardTargetLoss):
    """Generalized cross-entropy, `(1 - p_t**q) / q`.

    It tends to the cross-entropy as `q` tends to 0, and is half of
    `MeanAbsoluteError` at `q=1`.

    Args:
        q: Robustness, in (0, 1].
        from_logits: Whether predictions are logits (default) or probabilities.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Raises:
        ValueError: If `q` is out of its range.

    Reference:
        - [Zhang and Sabuncu, 2018, eq. 6](https://arxiv.org/abs/1805.07836)
    """

    def __init__(
        self,
        q: float = 0.7,
        *,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "generalized_cross_entropy",
    ) -> None:
        super().__init__(from_logits, reduction, name)
        self.q = validation.check_number("q", q, 0, 1, "(0, 1]")

    def _values(self, log_target: Tensor, log_probabilities: Tensor) -> Tensor:
        return -ops.expm1(self.q * log_target) / self.q

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, for `keras.saving`."""
        return {**super().get_config(), "q": self.q}


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class MeanAbsoluteError(_HardTargetLoss):
    """Absolute error against the one-hot label, summed over classes, `2 * (1 - p_t)`.

    Args:
        from_logits: Whether predictions are logits (default) or probabilities.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Reference:
        - [Ghosh et al., 2017](https://arxiv.org/abs/1712.09482)
    """

    def __init__(
        self,
        *,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "mean_absolute_error",
    ) -> None:
        super().__init__(from_logits, reduction, name)

    def _values(self, log_target: Tensor, log_probabilities: Tensor) -> Tensor:
        return -2.0 * ops.expm1(log_target)


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class NormalizedCrossEntropy(_HardTargetLoss):
    """Normalized cross-entropy, `log p_t / sum_k log p_k`, between 0 and 1.

    Args:
        from_logits: Whether predictions are logits (default) or probabilities.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Reference:
        - [Ma et al., 2020, eq. 6](https://arxiv.org/abs/2006.13554)
    """

    def __init__(
        self,
        *,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "normalized_cross_entropy",
    ) -> None:
        super().__init__(from_logits, reduction, name)

    def _values(self, log_target: Tensor, log_probabilities: Tensor) -> Tensor:
        return _normalized_cross_entropy(log_target, log_probabilities)


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class NormalizedCrossEntropyPlusReverse(_HardTargetLoss):
    """Active-passive loss, `a * NCE + b * RCE`.

    Args:
        a: Weight of the normalized cross-entropy, at least 0.
        b: Weight of the reverse cross-entropy, at least 0.
        clip: Value that stands for a probability of zero, in (0, 1).
        from_logits: Whether predictions are logits (default) or probabilities.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Raises:
        ValueError: If an argument is out of its range.

    Reference:
        - [Ma et al., 2020, section 3.3](https://arxiv.org/abs/2006.13554)
    """

    def __init__(
        self,
        a: float = 1.0,
        b: float = 1.0,
        clip: float = 1e-4,
        *,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "normalized_cross_entropy_plus_reverse",
    ) -> None:
        super().__init__(from_logits, reduction, name)
        self.a = validation.check_non_negative("a", a)
        self.b = validation.check_non_negative("b", b)
        self.clip = validation.check_number("clip", clip, 0, 1, "(0, 1)")
        if self.a == 0 and self.b == 0:
            raise ValueError(
                "`a` or `b` must be positive: with both at zero nothing is learned. "
                f"Received: a={a}, b={b}"
            )

    def _values(self, log_target: Tensor, log_probabilities: Tensor) -> Tensor:
        active = _normalized_cross_entropy(log_target, log_probabilities)
        passive = _reverse_cross_entropy(log_target, self.clip)
        return self.a * active + self.b * passive

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, for `keras.saving`."""
        return {**super().get_config(), "a": self.a, "b": self.b, "clip": self.clip}


_LOSSES: dict[str, Any] = {
    "ce": CrossEntropy,
    "sce": SymmetricCrossEntropy,
    "gce": GeneralizedCrossEntropy,
    "mae": MeanAbsoluteError,
    "nce": NormalizedCrossEntropy,
    "nce_rce": NormalizedCrossEntropyPlusReverse,
}


def get(name_or_loss: Any, argument: str = "loss") -> Any:
    """Returns the loss of a name, for logits and with its default parameters.

    Args:
        name_or_loss: `"ce"`, `"sce"`, `"gce"`, `"mae"`, `"nce"`, `"nce_rce"`, or a
            `keras.losses.Loss` that takes integer labels and logits, returned as it
            is.
        argument: Name that error messages give to the first argument.

    Returns:
        A `keras.losses.Loss`.

    Raises:
        ValueError: If there is no loss of that name.
        TypeError: If the argument is neither a name nor a loss.
    """
    if isinstance(name_or_loss, keras.losses.Loss):
        _check_fit(name_or_loss, argument)
        return name_or_loss
    if not isinstance(name_or_loss, str):
        raise TypeError(
            f"`{argument}` must be a name or a `keras.losses.Loss` object. Pass an "
            "object rather than its class, and wrap a function in a subclass. "
            f"Received: {argument}={name_or_loss!r}"
        )
    return _LOSSES[
        validation.check_choice(
            argument, name_or_loss, _LOSSES, "a `keras.losses.Loss`"
        )
    ]()


def _check_fit(loss: Any, argument: str) -> None:
    """Refuses a loss that would fail, or learn nonsense, once it is needed."""
    if getattr(loss, "from_logits", True) is False:
        raise ValueError(
            f"`{argument}` must take logits. Received: {argument}={loss!r} with "
            "from_logits=False"
        )
    try:
        per_sample(loss, np.array([0, 1], "int32"), np.zeros((2, 3), "float32"))
    # A loss may fail in as many ways as there are losses.
    except Exception as error:
        raise ValueError(
            f"`{argument}` must take integer labels (n,) and logits (n, K) and give "
            f"one value per sample. Received: {argument}={loss!r}, which fails with: "
            f"{error}"
        ) from error


def per_sample(loss: Any, y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Computes the loss of each sample, before any mask or mean.

    Inputs are converted to the loss's dtype, exactly as calling the loss does.

    Args:
        loss: Any `keras.losses.Loss` that takes integer labels.
        y_true: Integer labels, shape `(n,)`.
        y_pred: Predictions, shape `(n, K)`.

    Returns:
        Loss of each sample, shape `(n,)`, in the dtype of the loss.

    Raises:
        TypeError: If `loss` is no loss.
        ValueError: If the loss does not give one value per sample.
    """
    if not isinstance(loss, keras.losses.Loss):
        raise TypeError(
            "`loss` must be a `keras.losses.Loss` object, as `losses.get` makes one of "
            f"a name. Received: loss={loss!r}"
        )
    values = loss.call(
        ops.convert_to_tensor(y_true, dtype=loss.dtype),
        ops.convert_to_tensor(y_pred, dtype=loss.dtype),
    )
    if len(values.shape) != 1:
        raise ValueError(
            "`loss` must give one value per sample for integer labels (n,) and "
            "predictions (n, K): its `call` must not reduce over the batch, and it "
            "must be of the sparse kind. "
            f"Received: loss={loss!r}, whose values have shape {tuple(values.shape)}"
        )
    return values
