"""The Markdown table and the plot of the accuracy benchmark."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from methods import COMPARISONS, METHODS

Cells = Sequence[dict[str, Any]]
OURS = "kd_sce"


def by_seed(
    cells: Cells, labels: int, method: str, name: str = "accuracy"
) -> dict[int, float]:
    """A figure of one method and number of labels, where it is known."""
    return {
        c["seed"]: c[name]
        for c in cells
        if c["labels"] == labels and c["method"] == method and c.get(name) is not None
    }


def mean_and_deviation(figures: dict[int, float], seeds: int) -> str:
    """`mean ± standard deviation` in %, and the number of seeds where it is another."""
    if not figures:
        return ""
    values = 100 * np.array(list(figures.values()))
    spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread}{_count(len(values), seeds)}"


def write_table(cells: Cells, path: Path, caption: str = "") -> str:
    """Writes the table of all cells and returns it."""
    numbers = sorted({cell["labels"] for cell in cells})
    methods = [name for name in METHODS if any(c["method"] == name for c in cells)]
    seeds = len({cell["seed"] for cell in cells})
    lines = [
        f"Test accuracy in %, mean ± standard deviation over {seeds} seed(s). Image "
        "passes (forward one, forward and backward three) and seconds (clustering "
        f"included) are medians over the cells of a row. {caption}".rstrip(),
        "",
    ]
    lines += _table(
        ["method", *(f"{n} labels" for n in numbers), "image passes", "seconds"],
        [
            [
                METHODS[method].title,
                *(
                    mean_and_deviation(by_seed(cells, n, method), seeds)
                    for n in numbers
                ),
                f"{_median(cells, method, 'image_passes') / 1000:,.0f} k",
                f"{_median(cells, method, 'seconds'):.0f}",
            ]
            for method in methods
        ],
    )
    lines += _filters(cells, numbers, methods, seeds)
    lines += _verdicts(cells, numbers, seeds)
    text = "\n".join(lines) + "\n"
    path.write_text(text)
    return text


def _filters(
    cells: Cells, numbers: list[int], methods: list[str], seeds: int
) -> list[str]:
    """What the filter of each method with a trusted set let through."""
    rows = [
        [
            METHODS[method].title,
            *(_trusted_figures(cells, n, method, seeds) for n in numbers),
        ]
        for method in methods
        if any(c["method"] == method and "trusted_coverage" in c for c in cells)
    ]
    if not rows:
        return []
    return [
        "",
        "Trusted set, in %: precision / coverage, both among the images that are not "
        "labeled, / its share in the inner network's targets.",
        "",
        *_table(["method", *(f"{n} labels" for n in numbers)], rows),
    ]


def _trusted_figures(cells: Cells, labels: int, method: str, seeds: int) -> str:
    """Precision, coverage and share of the trusted set, "" before it is measured."""
    figures = [
        mean_and_deviation(by_seed(cells, labels, method, f"trusted_{name}"), seeds)
        for name in ("precision", "coverage", "share")
    ]
    return " / ".join(figures) if any(figures) else ""


def _verdicts(cells: Cells, numbers: list[int], seeds: int) -> list[str]:
    """Our methods minus their rivals, seed by seed."""
    rows = []
    for ours, rivals in COMPARISONS.items():
        for rival in rivals:
            verdicts = []
            for n in numbers:
                own, other = (by_seed(cells, n, method) for method in (ours, rival))
                shared = own.keys() & other.keys()
                verdicts.append(_verdict([own[s] - other[s] for s in shared], seeds))
            if any(verdicts):
                rows.append([METHODS[ours].title, METHODS[rival].title, *verdicts])
    if not rows:
        return []
    return [
        "",
        "Differences in points: mean of those of each seed ± standard error. Level: "
        "within one standard error.",
        "",
        *_table(["method", "minus", *(f"{n} labels" for n in numbers)], rows),
    ]


def _verdict(differences: list[float], seeds: int) -> str:
    """`mean ± standard error` in points and who won, "" for fewer than two seeds."""
    if len(differences) < 2:
        return ""
    points = 100 * np.array(differences)
    mean, error = points.mean(), points.std(ddof=1) / len(points) ** 0.5
    verdict = "level" if abs(mean) <= error else "won" if mean > 0 else "lost"
    # Without the minus of a negative zero.
    text = f"{round(mean, 1) + 0.0:+.1f} ± {error:.1f} {verdict}"
    return text + _count(len(points), seeds)


def _count(found: int, seeds: int) -> str:
    """A remark where figures are not those of all seeds."""
    return f" (n = {found})" if found != seeds else ""


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
            accuracy = 100 * np.array(list(by_seed(cells, n, method).values()))
            if len(accuracy) == 0:
                continue
            color = (
                "tab:blue"
                if method == OURS
                else "tab:orange"
                if method in METHODS[OURS].references
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
