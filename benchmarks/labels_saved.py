"""How many labels are saved by choosing which images to label.

python benchmarks/labels_saved.py --data digits solar_cells cifar10 --data-dir FOLDER \
    --seeds 3 --features FOLDER --output labels_saved_output

labels images step by step, as each strategy of `kdfixmatch_keras.suggestion` asks for,
and measures after each step a linear probe of what is labeled so far. It writes
`labels_saved.json`, `labels_saved.svg` and `README.md`. Features of frozen
EfficientNet-Lite0 are kept in the folder `--features`; of CIFAR-10, read from
FOLDER/train/<class> and FOLDER/test/<class>, they take minutes, the rest some more. A
seed fixes what is drawn at random and where clusterings start. Those below 100 are
published; what the strategies are was settled with seeds from 100 on.

python benchmarks/labels_saved.py --summarize benchmarks/results/labels_saved

writes page and plot again.
"""

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import measuring
import numpy as np
from numpy.typing import NDArray
from pages import render

from kdfixmatch_keras import datasets, suggestion
from kdfixmatch_keras.baselines import (
    LinearProbe,
    frozen_features,
    logistic_regression,
)

BACKBONE, SIZE = "efficientnet_lite0", 96
STEPS = (10, 20, 40, 80, 160)
# What has to be reached with so many labels, and what at random takes.
SAVED, AT_RANDOM = 40, 80
TITLES = {"digits": "Digits", "solar_cells": "Solar cells", "cifar10": "CIFAR-10"}
RESULTS = "labels_saved.json"

Cell = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


def main() -> int:
    """Measures what is missing and writes the summary."""
    options = parse()
    if options.summarize:
        kept = json.loads((options.summarize / RESULTS).read_text())
        summarize(kept, options.summarize)
        return 0
    path = options.output / RESULTS
    content: dict[str, Any] = {
        "machine": measuring.facts(),
        "cells": [],
    }
    if path.exists():
        content |= {"cells": json.loads(path.read_text())["cells"]}
    options.output.mkdir(parents=True, exist_ok=True)
    options.features.mkdir(parents=True, exist_ok=True)
    for data in options.data:
        arrays = features_of(data, options.data_dir, options.features)
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            for strategy in options.strategies:
                key = {"data": data, "strategy": strategy, "seed": seed}
                made_by = {"commit": measuring.commit()}
                if any(key.items() <= cell.items() for cell in content["cells"]):
                    continue
                found = labeled(arrays, strategy, seed)
                content["cells"] += [key | made_by | figures for figures in found]
                measuring.keep(path, content)
                figures = [f"{100 * c['accuracy']:.1f}" for c in content["cells"][-5:]]
                print(
                    f"{data}, {strategy}, seed {seed}: {' '.join(figures)}", flush=True
                )
    summarize(content, options.output)
    return 0


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--output", type=Path, help="folder of the results")
    what.add_argument("--summarize", type=Path, metavar="FOLDER", help="of results")
    add("--data", nargs="+", default=list(TITLES), choices=TITLES)
    add("--data-dir", type=Path, help="of CIFAR-10 as image files")
    add("--features", type=Path, default=Path("labels_saved_features_output"))
    add("--seeds", type=int, default=3, help="how many")
    add("--first-seed", type=int, default=0, help="the seeds are this one and the next")
    add(
        "--strategies",
        nargs="+",
        default=list(suggestion.STRATEGIES),
        choices=suggestion.STRATEGIES,
    )
    return parser.parse_args(arguments)


def features_of(data: str, data_dir: Path | None, kept: Path) -> Arrays:
    """Features and classes of the images to choose from (z, y) and for test."""
    path = kept / f"{data}-{BACKBONE}-{SIZE}.npz"
    if not path.exists():
        found = datasets.load(
            data, 10, data_dir=data_dir if data == "cifar10" else None
        )
        embed = functools.partial(
            frozen_features.of_images, LinearProbe(BACKBONE), side=SIZE, batch_size=128
        )
        np.savez(
            path,
            z=embed(found.unlabeled),
            y=found.unlabeled_labels,
            z_test=embed(found.test.images),
            y_test=found.test.labels,
        )
    with np.load(path) as archive:
        return dict(archive)


def labeled(arrays: Arrays, strategy: str, seed: int) -> list[Cell]:
    """Labels images step by step; what a linear probe of them reaches at each."""
    rows = np.empty(0, np.int64)
    cells = []
    for step in STEPS:
        knobs = {"count": step - len(rows), "labeled": rows, "seed": seed}
        rows = np.concatenate([rows, _suggested(arrays, strategy, knobs)])
        accuracy = _accuracy(arrays, rows, seed)
        classes = len(np.unique(arrays["y"][rows]))
        cells.append({"labels": len(rows), "accuracy": accuracy, "classes": classes})
    return cells


def _suggested(arrays: Arrays, strategy: str, knobs: dict[str, Any]) -> NDArray[Any]:
    """The rows to label next, as `kdfixmatch suggest` chooses them."""
    z, rows = arrays["z"], knobs["labeled"]
    # What has been labeled tells which classes there are.
    names, labels = np.unique(arrays["y"][rows], return_inverse=True)
    if strategy == "random" or (strategy == "doubtful" and len(names) < 2):
        # The seed alone would draw the same images again, but for those labeled.
        return suggestion.at_random(z, **knobs)
    if strategy == "typical":
        return suggestion.typical(z, **knobs)
    guesses = None
    if len(names) > 1:
        guesses = logistic_regression.guess(z, rows, labels.astype(np.int32))
    if strategy == "doubtful":
        return suggestion.doubtful(z, guesses, **knobs)
    return suggestion.mixed(z, guesses, **knobs)


def _accuracy(arrays: Arrays, rows: NDArray[np.int64], seed: int) -> float:
    """Test accuracy of what `LinearProbe` would fit to the labels of some rows."""
    names, inverse = np.unique(arrays["y"][rows], return_inverse=True)
    truth = arrays["y_test"]
    if len(names) == 1:
        return float((truth == names[0]).mean())
    z, labels = arrays["z"][rows], inverse.astype(np.int32)
    folds = logistic_regression.fold_rows(labels, seed)
    strength = logistic_regression.best_strength(z, labels, folds)
    classifier = logistic_regression.fit(z, labels, strength)
    found = classifier.log_probabilities(arrays["z_test"]).argmax(axis=1)
    return float((names[found] == truth).mean())


def summarize(content: dict[str, Any], folder: Path) -> None:
    """Writes page and plot."""
    cells = content["cells"]
    present = [data for data in TITLES if any(c["data"] == data for c in cells)]
    strategies = [
        s for s in suggestion.STRATEGIES if any(c["strategy"] == s for c in cells)
    ]
    text = render(
        Path(__file__).with_name("labels_saved.md.jinja"),
        present=present,
        titles=TITLES,
        steps=STEPS,
        strategies=strategies,
        seeds=sorted({c["seed"] for c in cells}),
        machine=content["machine"],
        commits=sorted({cell["commit"] for cell in cells}),
        at_random=AT_RANDOM,
        figure=lambda data, strategy, step: _figure(cells, data, strategy, step),
        enough=lambda data, strategy: _enough(cells, data, strategy),
        verdict=lambda data: _verdict(cells, data),
    )
    (folder / "README.md").write_text(text)
    write_plot(cells, present, strategies, folder / "labels_saved.svg")


def accuracies(
    cells: list[Cell], data: str, strategy: str, step: int, name: str = "accuracy"
) -> NDArray[np.float64]:
    """A figure of all seeds."""
    key = {"data": data, "strategy": strategy, "labels": step}
    return np.array([c[name] for c in cells if key.items() <= c.items()], float)


def _figure(cells: list[Cell], data: str, strategy: str, step: int) -> str:
    values = 100 * accuracies(cells, data, strategy, step)
    spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread}" if len(values) else ""


def _verdict(cells: list[Cell], data: str) -> str:
    """Whether half of the labels do, in a sentence."""
    at_random = accuracies(cells, data, "random", AT_RANDOM)
    mixed = accuracies(cells, data, "mixed", SAVED)
    if not (len(at_random) and len(mixed)):
        return ""
    goal, reached = 100 * at_random.mean(), 100 * mixed.mean()
    verb = "reaches" if reached >= goal else "does not reach"
    return (
        f"With {SAVED} labels `mixed` {verb} what {AT_RANDOM} drawn at random do: "
        f"{reached:.1f} and {goal:.1f}."
    )


def _enough(cells: list[Cell], data: str, strategy: str) -> str:
    """With how many labels a strategy reaches what chance does with `AT_RANDOM`.

    Between two steps, accuracy is taken for linear in the logarithm of the labels.
    """
    at_random = accuracies(cells, data, "random", AT_RANDOM)
    if not (len(at_random) and len(accuracies(cells, data, strategy, STEPS[-1]))):
        return ""
    goal = at_random.mean()
    means = [accuracies(cells, data, strategy, step).mean() for step in STEPS]
    above = [number for number, mean in enumerate(means) if mean >= goal]
    if not above:
        return f"more than {STEPS[-1]}"
    if above[0] == 0:
        return f"{STEPS[0]} or fewer"
    one, other = above[0] - 1, above[0]
    share = (goal - means[one]) / (means[other] - means[one])
    logs = np.log([STEPS[one], STEPS[other]])
    return f"{np.exp(logs[0] + share * (logs[1] - logs[0])):.0f}"


def write_plot(
    cells: list[Cell], present: list[str], strategies: list[str], path: Path
) -> None:
    """Draws means and standard deviations, a panel for each data set."""
    import matplotlib
    from matplotlib.figure import Figure

    # Without this every run of one and the same plot writes other bytes.
    matplotlib.rcParams["svg.hashsalt"] = "kdfixmatch_keras"
    figure = Figure(figsize=(4 * len(present), 3.4), layout="constrained")
    panels = figure.subplots(1, len(present), squeeze=False)[0]
    for axes, data in zip(panels, present, strict=True):
        for number, strategy in enumerate(strategies):
            found = [100 * accuracies(cells, data, strategy, step) for step in STEPS]
            axes.errorbar(
                # Side by side, or their bars would hide each other.
                np.array(STEPS) * 1.03 ** (number - len(strategies) / 2),
                [values.mean() for values in found],
                yerr=[v.std(ddof=1) if len(v) > 1 else 0.0 for v in found],
                marker="o",
                markersize=4,
                capsize=3,
                color="0.45" if strategy == "random" else None,
                label=strategy,
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(STEPS, list(map(str, STEPS)))
        axes.set(title=TITLES[data], xlabel="labels", ylabel="test accuracy (%)")
        axes.grid(alpha=0.3)
    panels[0].legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
