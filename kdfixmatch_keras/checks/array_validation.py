"""Checks of arrays of numbers: the words of every error about one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# How far from 1 probabilities of half precision may sum.
ROW_SUM_TOLERANCE = 1e-3
# Rows looked at as a whole; bounds copies of embeddings, which can fill the memory.
ROWS_PER_COPY = 1 << 14


def check_array(name: str, value: Any, what: str = "numbers") -> NDArray[Any]:
    """Returns `value` as an array of booleans, integers or floats, of any shape.

    Args:
        name: Name of the argument, for the message.
        value: An array, or lists of numbers.
        what: What the argument must be, for the message.

    Raises:
        ValueError: It holds something else, or rows of differing lengths.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"`{name}` must be {what}. Received: rows of differing lengths"
        ) from error
    # Those of half precision on an accelerator, such as bfloat16, are of kind "V".
    if array.dtype.kind not in "biufV":
        raise ValueError(
            f"`{name}` must be {what}. Received: {name}.shape={array.shape}, "
            f"dtype={array.dtype}"
        )
    return array


def check_probabilities(name: str, value: Any) -> NDArray[np.float32]:
    """Returns class probabilities as a float32 array of shape (n, K).

    Args:
        name: Name of the argument, for the message.
        value: Probabilities, shape `(n, K)` of at least one sample and two classes.

    Raises:
        ValueError: They are not finite, or a row is no distribution.
    """
    matrix = check_matrix(name, value, least_columns=2)
    sums = matrix.sum(axis=1, dtype=np.float64)
    off = (np.abs(sums - 1) > ROW_SUM_TOLERANCE) | (matrix < 0).any(axis=1)
    if off.any():
        row = int(off.argmax())
        raise ValueError(
            f"`{name}` must not be negative and must sum to 1 in every row. "
            f"Apply a softmax to logits. Received: {int(off.sum())} wrong rows, the "
            f"first is row {row} with sum {sums[row]:.6g} and smallest value "
            f"{matrix[row].min():.6g}"
        )
    return matrix


def check_matrix(name: str, value: Any, least_columns: int = 1) -> NDArray[np.float32]:
    """Returns what a network made of n samples as a float32 array of n rows.

    Raises:
        ValueError: It is of another shape, or not finite.
    """
    # One precision for all that follows, so that half precision is accepted and a
    # stored confidence compares with the threshold as it did here.
    what = "numbers, one row per sample"
    matrix = check_array(name, value, what).astype(np.float32, copy=False)
    if matrix.ndim != 2 or len(matrix) < 1 or matrix.shape[1] < least_columns:
        raise ValueError(
            f"`{name}` must have 2 dimensions, at least 1 row (one per sample) and at "
            f"least {least_columns} columns. Received: {name}.shape={matrix.shape}"
        )
    bad = count_not_finite(matrix)
    if bad:
        raise ValueError(
            f"`{name}` must be finite. The network that made them may have diverged: "
            f"lower its learning rate. Received: {bad} of {len(matrix)} rows with NaN "
            "or infinity"
        )
    return matrix


def count_not_finite(array: NDArray[Any]) -> int:
    """How many rows of an array `(n, d)` hold NaN or infinity.

    It needs no more memory for many rows than for few.
    """
    return sum(
        int((~np.isfinite(array[rows])).any(axis=1).sum())
        for rows in stretches(len(array))
    )


def stretches(count: int, size: int | None = None) -> Iterator[slice]:
    """Yields slices of at most `size` that cover `count` rows.

    Args:
        count: Number of rows.
        size: Rows of a slice; None for `ROWS_PER_COPY`.
    """
    size = size or ROWS_PER_COPY
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
