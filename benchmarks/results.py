"""The finished cells of the accuracy benchmark: kept, and as a table and a plot."""

import json
import math
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import Any

import measuring
import numpy as np
import probes
from methods import COMPARISONS, METHODS
from pages import render

from kdfixmatch_keras.storage.files import held

Cell = dict[str, Any]
Cells = Sequence[Cell]
OURS = "kd_sce"

# Those of the command line that all cells of a folder share.
OPTIONS = "backbone weights batch_size unlabeled_ratio epochs outer_epochs".split()
OPTIONS += ["steps_per_epoch", "image_size"]


def option(name: str) -> str:
    """How the command line spells a setting."""
    return f"--{name.replace('_', '-')}"


class Store(ExitStack):
    """The cells of one output folder, in a `results.json` written anew after each.

    A context manager: the folder is this run's alone until it is left.

    Args:
        folder: Where `results.json` is, or will be.
        settings: What the cells share; those that are there must have it too. None for
            what they have.
    """

    def __init__(self, folder: Path, settings: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.folder = folder
        self._path = folder / "results.json"
        self._lock = Lock()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self.enter_context(held(folder))
        except RuntimeError as error:
            sys.exit(str(error))
        found: dict[str, Any] = {"settings": {}, "cells": []}
        if self._path.exists():
            found = json.loads(self._path.read_text())
        self.cells: list[Cell] = found["cells"]
        self.settings = found["settings"] if settings is None else settings
        differing = [
            f"{name}: {found['settings'].get(name)!r} there, {value!r} here"
            for name, value in self.settings.items()
            if found["settings"].get(name) != value
        ]
        if self.cells and differing:
            sys.exit(
                f"{folder} holds cells of other settings ({'; '.join(differing)}). "
                "Choose another --output."
            )

    def has(self, probe: list[float], **key: Any) -> bool:
        """Whether the cell of these labels, seed and method is there and still true."""
        return any(
            key.items() <= cell.items() and probes.agree(cell.get("probe"), probe)
            for cell in self.cells
        )

    def add(self, cell: Cell) -> None:
        """Keeps a finished cell, on disk before this returns, in place of an older."""
        # JSON has no NaN, which a network that diverged may leave.
        cell = {
            name: None if isinstance(x, float) and not math.isfinite(x) else x
            for name, x in cell.items()
        }
        with self._lock:
            names = ("labels", "seed", "method")
            cells = {tuple(c[n] for n in names): c for c in [*self.cells, cell]}
            self.cells = [cells[key] for key in sorted(cells)]
            content = {"command": self.command(), "settings": self.settings}
            measuring.keep(self._path, {**content, "cells": self.cells})

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
            text = text_of(self.cells, self.settings["distribution_alignment"])
            (self.folder / "table.md").write_text(text)
            print(text)
            write_plot(self.cells, self.folder / "accuracy.svg")


def by_seed(
    cells: Cells, labels: int, method: str, name: str = "accuracy"
) -> dict[int, float]:
    """A figure of one method and number of labels, where it is known."""
    return {
        c["seed"]: c[name]
        for c in cells
        if c["labels"] == labels and c["method"] == method and c.get(name) is not None
    }


def _rows(cells: Cells) -> tuple[list[int], list[str], int]:
    """The numbers of labels and the methods that there are, and how many seeds."""
    numbers = sorted({cell["labels"] for cell in cells})
    methods = [name for name in METHODS if any(c["method"] == name for c in cells)]
    return numbers, methods, len({cell["seed"] for cell in cells})


def text_of(cells: Cells, aligned: bool = False) -> str:
    """The tables of all cells; `aligned` tells of distribution alignment."""
    numbers, names, seeds = _rows(cells)

    def shown(method: str, labels: int, *figures: str) -> str:
        found = [by_seed(cells, labels, method, name) for name in figures]
        texts = [_shown(list(shares.values()), seeds) for shares in found]
        return " / ".join(texts) if any(texts) else ""

    def middle(method: str, name: str) -> float:
        return float(np.median([c[name] for c in cells if c["method"] == method]))

    differences = [
        (ours, rival, verdicts)
        for ours, rivals in COMPARISONS.items()
        for rival in rivals
        if any(verdicts := [_verdict(cells, n, ours, rival, seeds) for n in numbers])
    ]
    with_trusted = {cell["method"] for cell in cells if "trusted_coverage" in cell}
    return render(
        Path(__file__).with_name("table.md.jinja"),
        numbers=numbers,
        names=names,
        seeds=seeds,
        methods=METHODS,
        shown=shown,
        middle=middle,
        trusted=[name for name in names if name in with_trusted],
        differences=differences,
        aligned=aligned,
        timed=all("milliseconds" in cell for cell in cells),
        unbalanced=any(map(_is_unbalanced, cells)),
    )


def _is_unbalanced(cell: Cell) -> bool:
    """Whether recalls weigh much else than images, as with rare classes."""
    balanced = cell.get("balanced_accuracy", cell["accuracy"])
    return bool(abs(cell["accuracy"] - balanced) > 0.02)


def _shown(shares: list[float], seeds: int) -> str:
    """`mean ± standard deviation` in %, "" of nothing."""
    if not shares:
        return ""
    values = 100 * np.array(shares)
    spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread}{_count(len(values), seeds)}"


def _verdict(cells: Cells, labels: int, ours: str, rival: str, seeds: int) -> str:
    """`mean ± standard error` in points and who won, "" for fewer than two seeds."""
    own, other = (by_seed(cells, labels, method) for method in (ours, rival))
    points = 100 * np.array([own[s] - other[s] for s in own.keys() & other.keys()])
    if len(points) < 2:
        return ""
    mean, error = points.mean(), points.std(ddof=1) / len(points) ** 0.5
    verdict = "level" if abs(mean) <= error else "won" if mean > 0 else "lost"
    # Without the minus of a negative zero.
    text = f"{round(mean, 1) + 0.0:+.1f} ± {error:.1f} {verdict}"
    return text + _count(len(points), seeds)


def _count(found: int, seeds: int) -> str:
    """A remark where figures are not those of all seeds."""
    return f" (n = {found})" if found != seeds else ""


def write_plot(cells: Cells, path: Path) -> None:
    """Draws means and standard deviations, a panel for each number of labels."""
    import matplotlib
    from matplotlib.figure import Figure

    # Without this every run of one and the same plot writes other bytes.
    matplotlib.rcParams["svg.hashsalt"] = "kdfixmatch_keras"
    numbers, methods, _ = _rows(cells)
    colors = dict.fromkeys(METHODS[OURS].references, "tab:orange") | {OURS: "tab:blue"}
    size = (2.2 + 2.6 * len(numbers), 1.2 + 0.3 * len(methods))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(numbers), sharey=True, squeeze=False)[0]
    for axes, n in zip(panels, numbers, strict=True):
        for row, method in enumerate(methods):
            if accuracy := list(by_seed(cells, n, method).values()):
                values = 100 * np.array(accuracy)
                spread = values.std(ddof=1) if len(values) > 1 else 0.0
                style = {"fmt": "o", "capsize": 3, "color": colors.get(method, "0.45")}
                axes.errorbar(values.mean(), row, xerr=spread, **style)
        axes.set(title=f"{n} labels", xlabel="test accuracy (%)")
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(methods)), [METHODS[m].title for m in methods])
    panels[0].invert_yaxis()
    figure.savefig(path, metadata={"Date": None})
