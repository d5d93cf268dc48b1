"""The package's exponential moving averages, and how they warm up."""

from typing import Any

from keras import ops


def warmed_up_decay(decay: float, num_updates: Any) -> Any:
    """Decay of update `t`, counted from 1: `min(decay, (1 + t) / (10 + t))`.

    A short run would never forget the start of an average at a fixed 0.999.

    Args:
        decay: Decay after the warm-up, in [0, 1).
        num_updates: Integer scalar `t`.

    Returns:
        float32 scalar.
    """
    step = ops.cast(num_updates, "float32")
    return ops.minimum(decay, (1.0 + step) / (10.0 + step))


def follow(average: Any, batch: Any, decay: Any) -> None:
    """Moves a variable to `average * decay + batch * (1 - decay)`.

    Args:
        average: Float variable.
        batch: Float tensor of its shape.
        decay: Scalar in [0, 1].
    """
    average.assign(average * decay + batch * (1.0 - decay))
