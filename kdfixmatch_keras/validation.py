"""Checks of arguments, and seeds derived from one seed: the words of every error."""

import difflib
import hashlib
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any


def check_fraction(name: str, value: Any, *, below_one: bool = False) -> float:
    """Returns `value` as a float if it lies in [0, 1], or in [0, 1).

    Raises:
        ValueError: `value` is not such a number.
    """
    interval = "[0, 1)" if below_one else "[0, 1]"
    if (
        not _is_real(value)
        or not 0 <= value <= 1
        or (below_one and value == 1)
    ):
        raise ValueError(f"`{name}` must be in {interval}. Received: {name}={value!r}")
    return float(value)


def check_non_negative(name: str, value: Any) -> float:
    """Returns `value` as a float if it is a finite number of at least 0.

    Raises:
        ValueError: `value` is not such a number.
    """
    if (
        not _is_real(value)
        or not 0 <= value < float("inf")
    ):
        raise ValueError(
            f"`{name}` must be a number of at least 0. Received: {name}={value!r}"
        )
    return float(value)


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def check_positive_integer(name: str, value: Any, *, minimum: int = 1) -> int:
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


def check_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Returns `value` if it is one of `choices`.

    Raises:
        ValueError: It is not; the message suggests the nearest choice.
    """
    choices = list(choices)
    if isinstance(value, str) and value in choices:
        return value
    known = ", ".join(f'"{choice}"' for choice in choices)
    raise ValueError(
        f"`{name}` must be one of {known}. Received: {name}={value!r}"
        f"{suggestion(value, choices)}"
    )


def suggestion(value: Any, choices: Iterable[str]) -> str:
    """A sentence naming the choice nearest to `value`, or nothing."""
    near = difflib.get_close_matches(str(value).lower(), list(choices), n=1)
    return f'. Did you mean "{near[0]}"?' if near else ""


def derive_seed(seed: int | None, purpose: str) -> int | None:
    """A seed in [0, 2**31) of its own for each `purpose`; None stays None."""
    if seed is None:
        return None
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "little") % 2**31
