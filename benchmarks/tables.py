"""The Markdown table and the plot of the accuracy benchmark."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from methods import METHODS

Cells = Sequence[dict[str, Any]]
OURS, RIVAL = "kd_sce", ("fixmatch", "fixmatch_compute")


def values(cells: Cells, labels: int, method: str, name: str = "accuracy") -> Any:
    """Figures of one method and number of labels, over seeds in their order."""
    chosen = [c for c in cells if c["labels"] == labels and c["method"] == method]
    return np.array(
        [c[name] for c in sorted(chosen, key=lambda c: c["seed"]) if name in c]
    )


def mean_and_deviation(figures: Any, scale: float = 100.0) -> str:
    """`mean ± standard deviation`, the mean alone of a single figure."""
    if len(figures) == 0:
        return ""
    spread = f" ± {scale * figures.std(ddof=1):.1f}" if len(figures) > 1 else ""
    return f"{scale * figures.mean():.1f}{spread}"


def write_table(cells: Cells, path: Path) -> str:
    """Writes the table of all cells and returns it."""
    numbers = sorted({cell["labels"] for cell in cells})
    methods = [name for name in METHODS if any(c["method"] == name for c in cells)]
    seeds = sorted({cell["seed"] for cell in cells})
    lines = [
        f"Test accuracy in %, mean ± standard deviation over {len(seeds)} seeds. Image "
        "passes and seconds: medians of one training.",
        "",
    ]
    lines += _table(
        ["method", *(f"{n} labels" for n in numbers), "image passes", "seconds"],
        [
            [
                METHODS[method].title,
                *(mean_and_deviation(values(cells, n, method)) for n in numbers),
                f"{_median(cells, method, 'image_passes') / 1000:,.0f} k",
                f"{_median(cells, method, 'seconds'):.0f}",
            ]
            for method in methods
        ],
    )
    lines += _filters(cells, numbers, methods)
    lines += _verdicts(cells, numbers)
    text = "\n".join(lines) + "\n"
    path.write_text(text)
    return text


def _filters(cells: Cells, numbers: list[int], methods: list[str]) -> list[str]:
    """What the filter of each method with a trusted set let through."""
    rows = [
        [
            METHODS[method].title,
            *(
                " / ".join(
                    mean_and_deviation(values(cells, n, method, f"trusted_{name}"))
                    for name in ("precision", "coverage")
                )
                for n in numbers
            ),
        ]
        for method in methods
        if any(c["method"] == method and "trusted_precision" in c for c in cells)
    ]
    if not rows:
        return []
    return [
        "",
        "Trusted set: precision / coverage of the unlabeled images, in %.",
        "",
        *_table(["method", *(f"{n} labels" for n in numbers)], rows),
    ]


def _verdicts(cells: Cells, numbers: list[int]) -> list[str]:
    """KD-FixMatch minus FixMatch, seed by seed."""
    rows = []
    for rival in RIVAL:
        for n in numbers:
            ours, theirs = (values(cells, n, method) for method in (OURS, rival))
            if len(ours) < 2 or len(ours) != len(theirs):
                continue
            difference = 100 * (ours - theirs)
            error = difference.std(ddof=1) / len(difference) ** 0.5
            mean = difference.mean()
            verdict = "level" if abs(mean) <= error else "won" if mean > 0 else "lost"
            title = METHODS[rival].title
            rows.append([title, str(n), f"{mean:+.1f} ± {error:.1f}", verdict])
    if not rows:
        return []
    return [
        "",
        f"{METHODS[OURS].title}, minus the other, in points: mean of the differences "
        "of each seed ± standard error. Level: within one standard error.",
        "",
        *_table(["minus", "labels", "difference", "verdict"], rows),
    ]


def _median(cells: Cells, method: str, name: str) -> float:
    return float(np.median([c[name] for c in cells if c["method"] == method]))


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def write_plot(cells: Cells, path: Path) -> None:
    """Draws means and standard deviations, a panel for each number of labels."""
    import matplotlib

    # Without this every run of one and the same plot writes other bytes.
    matplotlib.rcParams["svg.hashsalt"] = "kdfixmatch_keras"
    from matplotlib.figure import Figure

    numbers = sorted({cell["labels"] for cell in cells})
    methods = [name for name in METHODS if any(c["method"] == name for c in cells)]
    figure = Figure(
        figsize=(2.2 + 2.6 * len(numbers), 1.2 + 0.3 * len(methods)),
        layout="constrained",
    )
    panels = figure.subplots(1, len(numbers), sharey=True, squeeze=False)[0]
    for axes, n in zip(panels, numbers, strict=True):
        for row, method in enumerate(methods):
            accuracy = 100 * values(cells, n, method)
            if len(accuracy) == 0:
                continue
            color = (
                "tab:blue"
                if method == OURS
                else "tab:orange"
                if method in RIVAL
                else "0.45"
            )
            spread = accuracy.std(ddof=1) if len(accuracy) > 1 else 0.0
            axes.errorbar(
                accuracy.mean(), row, xerr=spread, fmt="o", color=color, capsize=3
            )
        axes.set(title=f"{n} labels", xlabel="test accuracy (%)")
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(methods)), [METHODS[m].title for m in methods])
    panels[0].invert_yaxis()
    figure.savefig(path, metadata={"Date": None})
