"""Checks of arguments, and seeds derived from one seed: the words of every error."""

import difflib
import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from kdfixmatch_keras.checks.paths import local_path

# As many as a reader looks through.
MAX_CHOICES = 15
VERBOSE = ("auto", 0, 1, 2)


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


def check_integer(
    name: str, value: Any, minimum: int, maximum: int | None = None
) -> int:
    """Returns `value` as an int if it is an integer from `minimum` to `maximum`.

    Raises:
        ValueError: `value` is not such an integer.
    """
    valid = isinstance(value, Integral) and not isinstance(value, bool)
    if valid:
        valid = minimum <= int(value) and (maximum is None or int(value) <= maximum)
    if not valid:
        interval = f"of at least {minimum}"
        if maximum is not None:
            interval = f"in [{minimum}, {maximum}]"
        raise ValueError(
            f"`{name}` must be an integer {interval}. Received: {name}={value!r}"
        )
    return int(value)


def check_flag(name: str, value: Any) -> bool:
    """Returns `value` if it is True or False.

    Raises:
        TypeError: It is something else. What is merely true, such as the text "no",
            would be taken for True.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"`{name}` must be True or False. Received: {name}={value!r}")
    return bool(value)


def check_verbose(verbose: Any) -> Any:
    """Returns `verbose` if Keras knows what it means.

    Raises:
        ValueError: It does not, and would print as much as it can.
    """
    if isinstance(verbose, str | Integral | np.bool_) and verbose in VERBOSE:
        return verbose
    raise ValueError(
        '`verbose` must be "auto", 0 (silent), 1 (a progress bar) or 2 (a line an '
        f"epoch). Received: verbose={verbose!r}"
    )


def check_count(name: str, value: Any, minimum: int = 1) -> int | None:
    """Returns None or an integer of at least `minimum`; see `check_integer`."""
    return None if value is None else check_integer(name, value, minimum)


def check_size(name: str, size: Any) -> tuple[int, int] | None:
    """Returns None or `(height, width)` in pixels as Python integers.

    Raises:
        ValueError: `size` is not two positive integers.
    """
    if size is None:
        return None
    sides = tuple(size) if isinstance(size, tuple | list) else ()
    whole = all(
        isinstance(side, Integral) and not isinstance(side, bool) for side in sides
    )
    if len(sides) != 2 or not whole or min(sides) < 1:
        raise ValueError(
            f"`{name}` must be two positive integers, (height, width), or None "
            f"for the size of the data. Received: {name}={size!r}"
        )
    return int(sides[0]), int(sides[1])


def check_callbacks(callbacks: Any) -> list[Any]:
    """Returns callbacks as a list.

    Raises:
        TypeError: `callbacks` is neither None nor a list of Keras callbacks.
    """
    if callbacks is None:
        return []
    if not isinstance(callbacks, list | tuple) or not all(
        hasattr(callback, "set_model") and not isinstance(callback, type)
        for callback in callbacks
    ):
        raise TypeError(
            "`callbacks` must be a list of Keras callbacks, objects and not their "
            f"classes. Received: callbacks={callbacks!r}"
        )
    return list(callbacks)


def check_seed(seed: Any) -> int | None:
    """Returns a seed, None or an integer of at least 0; see `check_integer`."""
    return check_count("seed", seed, 0)


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


def check_names(
    name: str, value: Any, count: int | None = None, *, distinct: bool = False
) -> list[str]:
    """Returns names as a list of strings.

    Args:
        name: Name of the argument, for the message.
        value: A list, tuple or array of strings.
        count: How many there must be; None for any number.
        distinct: Whether no two may be the same.

    Raises:
        TypeError: It is something else, such as one string.
        ValueError: There are more or fewer, or two that must differ do not.
    """
    names = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(names, Sequence) or isinstance(names, str | bytes):
        raise TypeError(
            f"`{name}` must be a list of strings. Received: {name}={value!r}"
        )
    strange = [entry for entry in names if not isinstance(entry, str)]
    if strange:
        raise TypeError(
            f"`{name}` must be a list of strings. Received: {strange[0]!r} among them"
        )
    if count is not None and len(names) != count:
        raise ValueError(
            f"`{name}` must have {count} entries. Received: {len(names)} entries"
        )
    twice = [n for n, times in Counter(names).items() if times > 1] if distinct else []
    if twice:
        raise ValueError(
            f"`{name}` must be names that differ. Received: {twice[0]!r} more than once"
        )
    return list(names)


def check_trained(model: Any) -> None:
    """Checks that a model is a `KDFixMatch` after `fit`.

    Raises:
        TypeError: It is something else.
        RuntimeError: It has not been trained.
    """
    if not hasattr(model, "trusted_set") or not hasattr(model, "inner"):
        raise TypeError(
            "`model` must be a trained KDFixMatch. "
            f"Received: model of type {type(model).__name__}"
        )
    if model.trusted_set is None or model.inner is None:
        raise RuntimeError("`model` must be trained. Call `fit` first.")


def check_accuracies(accuracies: Any) -> None:
    """Checks accuracies by method, or None.

    Raises:
        TypeError: They are no dictionary.
        ValueError: One is not in [0, 1].
    """
    if accuracies is None:
        return
    if not isinstance(accuracies, Mapping):
        raise TypeError(
            "`accuracies` must be a dictionary of accuracies by method. "
            f"Received: accuracies={accuracies!r}"
        )
    for method, accuracy in accuracies.items():
        check_fraction(f"accuracies[{method!r}]", accuracy)


def check_path(name: str, value: Any) -> Path:
    """Returns `value` as a `Path` of this machine, whether or not there is something.

    Raises:
        TypeError: It is no path.
        ValueError: It is empty, which would stand for the current folder, or an
            address; see `local_path`.
    """
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise TypeError(
            f"`{name}` must be a path, a string or a `pathlib.Path`. "
            f"Received: {name}={value!r}"
        )
    if not os.fspath(value):
        raise ValueError(f"`{name}` must be a path. Received: {name}={value!r}")
    return local_path(name, value)


def check_output(name: str, value: Any) -> Path:
    """Returns the path of what is to be written, which there may be or not.

    Raises:
        TypeError: It is no path.
        ValueError: What is above it is no folder.
    """
    path = check_path(name, value)
    for parent in path.absolute().parents:
        if os.path.isdir(parent):
            break
        if os.path.lexists(parent):
            raise ValueError(
                f"`{name}` must lie in a folder. Received: {path}, and {parent} is not "
                "a folder"
            )
    return path


def check_output_file(name: str, value: Any) -> Path:
    """Returns the path of a file to write, which is replaced if it exists.

    Raises:
        TypeError: It is no path.
        ValueError: A folder stands there, whose files would be lost, or what is above
            it is no folder.
    """
    path = check_output(name, value)
    if os.path.isdir(path):
        raise ValueError(
            f"`{name}` must be a file, new or to replace. Received: "
            f"{name}={str(path)!r}, which is a folder"
        )
    return path


def derive_seed(seed: int | None, purpose: str) -> int | None:
    """A seed in [0, 2**31) of its own for each `purpose`; None stays None."""
    if seed is None:
        return None
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "little") % 2**31
