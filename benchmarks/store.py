"""The finished cells of the accuracy benchmark, in `results.json` of a folder."""

import contextlib
import json
import math
import sys
from pathlib import Path
from threading import Lock
from typing import Any

from tables import write_plot, write_table

from kdfixmatch_keras.storage.files import held, written_aside

# Those of the command line that all cells of a folder share.
OPTIONS = (
    "backbone",
    "weights",
    "batch_size",
    "unlabeled_ratio",
    "epochs",
    "outer_epochs",
    "steps_per_epoch",
    "image_size",
)


def option(name: str) -> str:
    """How the command line spells a setting."""
    return f"--{name.replace('_', '-')}"


class Store:
    """The cells of one output folder, written anew after each.

    A context manager: the folder is this run's alone until it is left.

    Args:
        folder: Where `results.json` is, or will be.
        settings: What the cells share; those that are there must have it too.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.path = folder / "results.json"
        self.settings = settings
        self.cells: list[dict[str, Any]] = []
        self._lock = Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._held = contextlib.ExitStack()
        try:
            self._held.enter_context(held(folder))
        except RuntimeError as error:
            sys.exit(str(error))
        if self.path.exists():
            found = json.loads(self.path.read_text())
            differing = [
                f"{name}: {found['settings'].get(name)!r} there, {value!r} here"
                for name, value in settings.items()
                if found["settings"].get(name) != value
            ]
            if differing:
                sys.exit(
                    f"{self.path} holds cells of other settings "
                    f"({'; '.join(differing)}). Choose another --output."
                )
            self.cells = found["cells"]

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error: object) -> None:
        self._held.close()

    def has(self, **key: Any) -> bool:
        """Whether the cell of these labels, seed and method is finished."""
        return any(key.items() <= cell.items() for cell in self.cells)

    def add(self, cell: dict[str, Any]) -> None:
        """Keeps a finished cell, on disk before this returns."""
        # JSON has no NaN, which a network that diverged may leave.
        cell = {
            name: None if isinstance(x, float) and not math.isfinite(x) else x
            for name, x in cell.items()
        }
        with self._lock:
            self.cells.append(cell)
            self.cells.sort(key=lambda c: (c["labels"], c["seed"], c["method"]))
            content = {
                "command": self.command(),
                "settings": self.settings,
                "cells": self.cells,
            }
            text = json.dumps(content, indent=1, allow_nan=False)
            with written_aside(self.path) as temporary:
                temporary.write_text(text + "\n")

    def command(self) -> str:
        """The command that trains all of these cells from nothing."""

        def present(name: str) -> str:
            return " ".join(map(str, dict.fromkeys(c[name] for c in self.cells)))

        settings, seeds = self.settings, [c["seed"] for c in self.cells]
        folder = " --data-dir FOLDER" if settings["from_folder"] else ""
        return (
            f"python benchmarks/accuracy.py --data {settings['data']}{folder} "
            f"--labels {present('labels')} "
            f"--seeds {max(seeds) - min(seeds) + 1} --first-seed {min(seeds)} "
            f"--methods {present('method')} "
            + " ".join(
                f"{option(name)} {'none' if settings[name] is None else settings[name]}"
                for name in OPTIONS
                # Random weights are a choice, not the absence of one.
                if settings[name] is not None or name == "weights"
            )
            + " --output FOLDER"
        )

    def summarize(self) -> None:
        """Writes table and plot of the cells that are finished."""
        if self.cells:
            folder = self.path.parent
            caption = (
                "Methods with pseudo-labels in each step have distribution alignment, "
                "unless their row says otherwise."
                if self.settings["distribution_alignment"]
                else ""
            )
            print(write_table(self.cells, folder / "table.md", caption))
            write_plot(self.cells, folder / "accuracy.svg")
