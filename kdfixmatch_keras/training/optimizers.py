"""The optimizers of the two reference set-ups, and their schedule."""

import math
from inspect import Parameter, signature
from typing import Any

import keras

from kdfixmatch_keras.backend.keras_settings import usual_settings
from kdfixmatch_keras.backend.own_objects import cause_of, copied_optimizer, rate_of
from kdfixmatch_keras.checks import validation

BASE_LEARNING_RATE = 0.03
FINE_TUNING_RATE, FINE_TUNING_DECAY = 3e-4, 0.05
# Share of the training in which the rate rises to that: a step of Adam is about as long
# as the rate for every weight, whatever its gradient, and the first ones would undo
# what the network has learned.
WARM_UP = 0.1

# The optimizer of the paper's published code for networks with pretrained weights.
PAPER = "paper"


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class FixMatchSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate `initial * cos(7 * pi * t / (16 * num_steps))`.

    It ends at a fifth of its start, unlike a cosine decay to zero.

    Args:
        initial_learning_rate: Learning rate of the first step.
        num_steps: Steps of the whole training; the rate is constant afterwards.

    Raises:
        ValueError: An argument is not positive.

    Reference:
        - [Sohn et al., 2020](https://arxiv.org/abs/2001.07685), section 2.4
    """

    def __init__(self, initial_learning_rate: float, num_steps: int) -> None:
        super().__init__()
        self.initial_learning_rate = validation.check_number(
            "initial_learning_rate", initial_learning_rate, 0, math.inf, "(0, infinity)"
        )
        self.num_steps = validation.check_integer("num_steps", num_steps, 1)

    def __call__(self, step: Any) -> Any:
        """The learning rate of `step`."""
        ops = keras.ops
        progress = ops.minimum(ops.cast(step, "float32") / self.num_steps, 1.0)
        angle = 7.0 * math.pi / 16.0 * progress
        return self.initial_learning_rate * ops.cos(angle)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "num_steps": self.num_steps,
        }


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class FixMatchSGD(keras.optimizers.SGD):
    """Stochastic gradient descent with Nesterov momentum as the references have it.

    With gradient `g`, velocity `v`, weight `w` and the present learning rate `lr`

        v <- momentum * v + g
        w <- w - lr * (g + momentum * v)

    `keras.optimizers.SGD` keeps the learning rate inside of the velocity, where that of
    earlier steps stays: under a falling rate its steps are longer, by a quarter at the
    end of 200 steps of `FixMatchSchedule`. At a constant rate both are the same.

    Args:
        learning_rate: As in `keras.optimizers.SGD`.
        momentum: In (0, 1].
        **kwargs: As in `keras.optimizers.SGD`.

    Reference:
        - [Sutskever et al., 2013](https://proceedings.mlr.press/v28/sutskever13.html)
    """

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.9, **kwargs: Any
    ) -> None:
        momentum = validation.check_number("momentum", momentum, 0, 1, "(0, 1]")
        super().__init__(learning_rate, momentum, **{**kwargs, "nesterov": True})

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves one variable and its velocity."""
        ops = keras.ops
        gradient = ops.cast(gradient, variable.dtype)
        velocity = self.momentums[self._get_variable_index(variable)]
        latest = self.momentum * velocity + gradient
        self.assign(velocity, latest)
        change = gradient + self.momentum * latest
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * change)


def check_optimizer(optimizer: Any) -> Any:
    """Returns an optimizer, or None, of which each network can get its own.

    Raises:
        ValueError: Keras knows no optimizer of that name, or one of a user's own cannot
            be copied, or not tell the learning rate of a step.
        TypeError: It is neither a name nor an optimizer.
    """
    if optimizer is not None:
        copy = build_optimizer(optimizer, 1, pretrained=False)
        rate = rate_of(copy)
        if rate is not None:
            _try_rate(rate)
    return optimizer


def _try_rate(rate: Any) -> None:
    """Asks for the learning rate of a step as a training does, where it is a tensor.

    Raises:
        ValueError: There is none.
    """
    try:
        shape = _Rate(rate)(keras.KerasTensor((), dtype="int64")).shape
    # Whatever code of a user's own raises.
    except Exception as error:
        raise ValueError(
            "`optimizer` must have a learning rate that can be computed of a tensor, "
            "as the step is one: by `keras.ops.where` in place of `if`. A function "
            f"takes no argument. Received: {rate!r} ({cause_of(error)})"
        ) from error
    if tuple(shape) != ():
        raise ValueError(
            "`optimizer` must have a learning rate that is one number. Received: "
            f"{rate!r}, which gives a tensor of shape {tuple(shape)}"
        )


class _Rate(keras.layers.Layer):
    """What Keras computes a rate in without a step that is known."""

    def __init__(self, rate: Any) -> None:
        super().__init__()
        self.rate = rate

    def call(self, step: Any) -> Any:
        """The rate of a step."""
        kind = keras.optimizers.schedules.LearningRateSchedule
        rate = self.rate(step) if isinstance(self.rate, kind) else self.rate()
        return keras.ops.cast(rate, "float32")


@usual_settings()
def build_optimizer(optimizer: Any, num_steps: int, *, pretrained: bool) -> Any:
    """A fresh optimizer for one network.

    Args:
        optimizer: A name or a `keras.optimizers.Optimizer`, which is copied without
            its state, so that each network gets its own (a schedule or a function of
            its learning rate is shared); `"paper"` for that of
            KD-FixMatch's published code, Adam at 7e-5 with decoupled weight decay 5e-4
            (3.5e-8 a step, which in float32 does nothing). None, for a pretrained
            network: AdamW at 3e-4 with decay 0.05 of all but biases and norms, after a
            tenth of linear warm-up falling to 0 as a cosine; else as FixMatch:
            `FixMatchSGD` at 0.03 with momentum 0.9 and `FixMatchSchedule`.
        num_steps: Steps that the network will be trained for.
        pretrained: Whether the network starts from trained weights.

    Returns:
        A `keras.optimizers.Optimizer`.

    Raises:
        ValueError: Keras knows no optimizer of that name, or one of a user's own cannot
            be copied.
        TypeError: `optimizer` is neither a name nor an optimizer.
    """
    num_steps = validation.check_integer("num_steps", num_steps, 1)
    if optimizer == PAPER:
        return keras.optimizers.Adam(7e-5, weight_decay=5e-4)
    if optimizer is not None:
        if isinstance(optimizer, str):
            validation.check_choice(
                "optimizer", optimizer.lower(), [PAPER, *_names()], "a Keras optimizer"
            )
        elif not isinstance(optimizer, keras.optimizers.Optimizer):
            raise TypeError(
                "`optimizer` must be None, a name or a Keras optimizer. "
                f"Received: optimizer={optimizer!r}"
            )
        return copied_optimizer(keras.optimizers.get(optimizer))
    if pretrained:
        return _fine_tuning(num_steps)
    schedule = FixMatchSchedule(BASE_LEARNING_RATE, num_steps)
    return FixMatchSGD(schedule, momentum=0.9)


def _fine_tuning(num_steps: int) -> Any:
    warm_up = math.ceil(WARM_UP * num_steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        # Not 0, or the first step would do nothing.
        FINE_TUNING_RATE / (warm_up + 1),
        max(num_steps - warm_up, 1),
        warmup_target=FINE_TUNING_RATE,
        warmup_steps=warm_up,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=FINE_TUNING_DECAY)
    # Neither what shifts nor what scales.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _names() -> list[str]:
    """Names of the optimizers that can be made without arguments."""
    return sorted(
        name.lower()
        for name, kind in vars(keras.optimizers).items()
        if isinstance(kind, type) and name != "Optimizer" and not _needs_arguments(kind)
    )


def _needs_arguments(kind: type) -> bool:
    return any(
        parameter.default is Parameter.empty
        and parameter.kind is Parameter.POSITIONAL_OR_KEYWORD
        for parameter in signature(kind).parameters.values()
    )
