"""Checks of arguments, and seeds derived from one seed: the words of every error."""

import difflib
import hashlib
import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

# As many as a reader looks through.
MAX_CHOICES = 15


def check_number(
    name: str, value: Any, low: float, high: float, interval: str
) -> float:
    """Returns `value` as a float, checked against an interval.

    Args:
        name: Name of the argument, for the message.
        value: What the user passed.
        low: Lower bound, excluded if `interval` starts with a round bracket.
        high: Upper bound, excluded if `interval` ends with a round bracket.
        interval: The interval as a reader would write it, such as `"(0, 1]"`.

    Raises:
        ValueError: `value` is not a real number in the interval.
    """
    valid = isinstance(value, Real) and not isinstance(value, bool)
    if valid:
        above = value > low if interval.startswith("(") else value >= low
        below = value < high if interval.endswith(")") else value <= high
        valid = above and below
    if not valid:
        raise ValueError(f"`{name}` must be in {interval}. Received: {name}={value!r}")
    return float(value)


def check_fraction(name: str, value: Any) -> float:
    """Returns `value` as a float if it is a number in [0, 1]; see `check_number`."""
    return check_number(name, value, 0, 1, "[0, 1]")


def check_non_negative(name: str, value: Any) -> float:
    """Returns `value` as a float if it is in [0, infinity); see `check_number`."""
    return check_number(name, value, 0, math.inf, "[0, infinity)")


def check_integer(name: str, value: Any, minimum: int) -> int:
    """Returns `value` as an int if it is an integer of at least `minimum`.

    Raises:
        ValueError: `value` is not such an integer.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < minimum:
        raise ValueError(
            f"`{name}` must be an integer of at least {minimum}. "
            f"Received: {name}={value!r}"
        )
    return int(value)


def check_steps(steps_per_epoch: Any) -> int | None:
    """Returns None or an integer of at least 1; see `check_integer`."""
    if steps_per_epoch is None:
        return None
    return check_integer("steps_per_epoch", steps_per_epoch, 1)


def check_callbacks(callbacks: Any) -> list[Any]:
    """Returns callbacks as a list.

    Raises:
        TypeError: `callbacks` is neither None nor a list of Keras callbacks.
    """
    if callbacks is None:
        return []
    if not isinstance(callbacks, list | tuple) or not all(
        hasattr(callback, "set_model") for callback in callbacks
    ):
        raise TypeError(
            "`callbacks` must be a list of Keras callbacks. "
            f"Received: callbacks={callbacks!r}"
        )
    return list(callbacks)


def check_seed(seed: Any) -> int | None:
    """Returns a seed, None or an integer of at least 0; see `check_integer`."""
    return None if seed is None else check_integer("seed", seed, 0)


def check_choice(
    name: str, value: Any, choices: Iterable[str], otherwise: str = ""
) -> str:
    """Returns `value` if it is one of `choices`.

    Args:
        name: Name of the argument, for the message.
        value: What the user passed.
        choices: The names allowed.
        otherwise: What else the argument can be, for the message.

    Raises:
        ValueError: It is not; the message suggests the nearest choice.
    """
    choices = list(choices)
    if isinstance(value, str) and value in choices:
        return value
    near = difflib.get_close_matches(str(value).lower(), choices, n=1)
    more = len(choices) - MAX_CHOICES
    known = ", ".join(map(repr, choices[:MAX_CHOICES])) + (
        f" and {more} more" if more > 0 else ""
    )
    known += f" or {otherwise}" if otherwise else ""
    hint = f". Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"`{name}` must be one of {known}. Received: {name}={value!r}{hint}"
    )


def derive_seed(seed: int | None, purpose: str) -> int | None:
    """A seed in [0, 2**31) of its own for each `purpose`; None stays None."""
    if seed is None:
        return None
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "little") % 2**31
