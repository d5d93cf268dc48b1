"""Whose label counts in a step, and towards what: a file a rule.

Thresholds by name are here, for users under `kdfixmatch_keras.thresholds`.
"""

from typing import Any

import keras

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.targets.fixed import FixedThreshold
from kdfixmatch_keras.targets.flexmatch import FlexMatchThreshold
from kdfixmatch_keras.targets.freematch import FreeMatchThreshold
from kdfixmatch_keras.targets.softmatch import SoftMatchThreshold
from kdfixmatch_keras.targets.threshold import Threshold

_THRESHOLDS: dict[str, type[Threshold]] = {
    "fixed": FixedThreshold,
    "flexmatch": FlexMatchThreshold,
    "freematch": FreeMatchThreshold,
    "softmatch": SoftMatchThreshold,
}
NAMES = tuple(_THRESHOLDS)


def check(threshold: Any, tau: float, argument: str = "threshold") -> Any:
    """Returns `threshold` if `get` would accept it; see there for the errors."""
    if not isinstance(threshold, keras.layers.Layer):
        get(threshold, tau=tau, num_classes=2, num_unlabeled=1, argument=argument)
    elif not callable(getattr(threshold, "auxiliary_loss", None)):
        raise TypeError(
            f"`{argument}` must have a method `auxiliary_loss`, as "
            f"`thresholds.Threshold` has. Received: {argument}={threshold!r}"
        )
    return threshold


def get(
    threshold: Any,
    *,
    tau: float,
    num_classes: int,
    num_unlabeled: int | None,
    argument: str = "threshold",
) -> Any:
    """Returns the threshold of a name, with its default parameters.

    Args:
        threshold: A name in `NAMES`, or a layer with the interface of `Threshold`,
            returned as it is.
        tau: Confidence of `"fixed"` and `"flexmatch"`, in [0, 1].
        num_classes: `K`, at least 2.
        num_unlabeled: Number of unlabeled images. Only `"flexmatch"` needs it.
        argument: Name of the argument, for the messages.

    Raises:
        ValueError: There is no threshold of that name, `num_unlabeled` is missing, or
            an argument is out of range.
        TypeError: `threshold` is a layer without `auxiliary_loss`.
    """
    if isinstance(threshold, keras.layers.Layer):
        check(threshold, tau, argument)
        for name, size in (
            ("num_classes", num_classes),
            ("num_unlabeled", num_unlabeled),
        ):
            own = getattr(threshold, name, size)
            if size is not None and own != size:
                raise ValueError(
                    f"`{argument}` must be made for the data: {name}={size}. "
                    f"Received: a layer with {name}={own}"
                )
        return threshold
    validation.check_choice(argument, threshold, NAMES, "a `thresholds.Threshold`")
    return _THRESHOLDS[threshold].for_data(
        tau=tau, num_classes=num_classes, num_unlabeled=num_unlabeled
    )
