"""What a report may hold: plain values of bounded length."""

import math
from numbers import Integral, Real
from typing import Any

FORMAT = "kdfixmatch_keras.report.3"

# Joins and separates letters in several scripts, though it does not print.
_JOINERS = "\u200c\u200d"


def text(value: Any, limit: int = 80) -> str:
    """A string that can be shown and written as UTF-8.

    What does not print (control characters, bytes of a file name that are no UTF-8,
    changes of the writing direction) is replaced by its escape, and the middle of a
    long string by an ellipsis: its end tells files apart.

    Args:
        value: Anything with a `str`.
        limit: Most characters of the result.
    """
    shown = str(value)
    if len(shown) > limit:
        half = (limit - 1) // 2
        shown = f"{shown[: limit - 1 - half]}…{shown[-half:]}"
    return "".join(
        character
        if character.isprintable() or character in _JOINERS
        else character.encode("unicode_escape").decode()
        for character in shown
    )


def number(value: Any) -> float | None:
    """A float that JSON can hold: None for NaN and the infinities."""
    return float(value) if math.isfinite(value) else None


def plain(value: Any) -> str | int | float | bool | None:
    """A fact as JSON can hold it; what is not a single value becomes text."""
    if value is None or isinstance(value, bool | str):
        return text(value, 500) if isinstance(value, str) else value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return number(value)
    if isinstance(value, list | tuple):
        return text(", ".join(str(item) for item in value), 500)
    return text(value, 500)


def image_name(names: list[str] | None, index: int) -> str:
    """The file name of an image, or its number where it has none."""
    return f"image {index}" if names is None else text(names[index])
