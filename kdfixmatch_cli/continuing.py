"""`kdfixmatch train --continue-from`: what an earlier run gives a new one."""

import inspect
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import keras

from kdfixmatch_keras import KDFixMatch
from kdfixmatch_keras.report.run_folder import RunFolder

# What is each run's own: its chance, and what fits the machine.
_NOT_TAKEN = {"seed", "batch_size", "unlabeled_ratio"}


def opened(path: Path | None, output: Path) -> RunFolder | None:
    """The run that a new one continues from, if there is one; it is only read.

    Raises:
        ValueError: It is no finished run, or the new one would be written into it.
    """
    if path is None:
        return None
    folder = RunFolder.open(path, "continue_from")
    if output.resolve().is_relative_to(path.resolve()):
        raise ValueError(
            "`output` must not lie in the folder of `continue_from`, which is only "
            f"read. Received: output={str(output)!r}"
        )
    return folder


def taken(folder: RunFolder | None, given: Collection[str]) -> dict[str, Any]:
    """The arguments of `KDFixMatch` that a run was made with.

    Args:
        folder: The run, or None.
        given: Options that were typed, which count more.
    """
    if folder is None:
        return {}
    settings = folder.read_facts("continue_from")["settings"]
    # A run of an earlier version may have others.
    known = set(inspect.signature(KDFixMatch).parameters) - _NOT_TAKEN - set(given)
    return {n: _argument(value) for n, value in settings.items() if n in known}


def _argument(value: Any) -> Any:
    """What JSON made something else of."""
    if isinstance(value, dict):
        return keras.saving.deserialize_keras_object(value)
    return tuple(value) if isinstance(value, list) else value


def told(path: Path, settings: Mapping[str, Any], otherwise: Mapping[str, Any]) -> str:
    """A line that says from which run it continues, and what it takes from it.

    Args:
        path: The run.
        settings: What `taken` returned.
        otherwise: What the options would be without it.
    """
    line = f"Continuing from the run in {path}"
    words = [
        f"{name.replace('_', ' ')} {_word(value)}"
        for name, value in settings.items()
        if name == "backbone" or value != otherwise.get(name)
    ]
    return f"{line}, with its {', '.join(words)}" if words else line


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    if isinstance(value, keras.optimizers.Optimizer):
        # Its name would have a number, too.
        kind = type(value).__name__.lower()
        return f"{kind} at {float(value.learning_rate):g}"
    return {None: "none", True: "on", False: "off"}.get(value, str(value))
