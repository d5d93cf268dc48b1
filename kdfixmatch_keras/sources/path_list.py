"""Lists of paths of image files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.checks.paths import expand_user
from kdfixmatch_keras.sources.image_files import PathLike


def are_paths(data: Any) -> TypeGuard[Sequence[PathLike]]:
    """Whether something is a list or a tuple of paths, or an empty list."""
    if not isinstance(data, list | tuple):
        return False
    return all(isinstance(path, str | os.PathLike) for path in data)


def expanded(paths: Sequence[PathLike]) -> list[PathLike]:
    """The paths, in which `~` is the home directory."""
    return [expand_user(path) if os.fspath(path) else path for path in paths]


def kept_rows(given: Sequence[PathLike], kept: Sequence[Path]) -> npt.NDArray[np.int64]:
    """Which of the given paths were kept.

    Args:
        given: n paths.
        kept: Some of them, in the same order.

    Returns:
        int64 array of their positions in `given`.
    """
    rows, remaining = [], iter(enumerate(given))
    for path in kept:
        rows.append(next(row for row, other in remaining if Path(other) == path))
    return np.array(rows, np.int64)
