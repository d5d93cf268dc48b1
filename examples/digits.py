"""KD-FixMatch on the digits that scikit-learn ships, with 20 labels.

python examples/digits.py --output demo_output

trains a supervised network, then KD-FixMatch, whose outer network is a FixMatch
trained for as many steps; prints a table, draws the run, exports a SavedModel, loads
it again and predicts. The test images take no part in training.
"""

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from kdfixmatch_keras import KDFixMatch, baselines
from kdfixmatch_keras.plots import plot_run

NUM_TEST = 500


def load_split(labels_per_class: int, seed: int) -> dict[str, np.ndarray]:
    """Labeled, unlabeled and test digits: uint8 (n, 8, 8, 1) and int (n,)."""
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype("uint8")[..., None]
    labels = digits.target
    order = np.random.default_rng(seed).permutation(len(images))
    test, rest = order[:NUM_TEST], order[NUM_TEST:]
    by_class = [rest[labels[rest] == digit] for digit in range(10)]
    labeled = np.concatenate([indices[:labels_per_class] for indices in by_class])
    # The unlabeled set holds no labeled image: those are used as such.
    unlabeled = np.setdiff1d(rest, labeled)
    parts = {"labeled": labeled, "unlabeled": unlabeled, "test": test}
    return {
        **{part: images[indices] for part, indices in parts.items()},
        **{f"{part}_y": labels[indices] for part, indices in parts.items()},
    }


def main() -> None:
    """Runs the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--labels-per-class", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=12, help="for each network")
    parser.add_argument("--steps-per-epoch", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--equal-compute",
        action="store_true",
        help="also train FixMatch alone for the steps of both networks",
    )
    parser.add_argument("--output", type=Path, help="folder for figure and SavedModel")
    options = parser.parse_args()

    start = time.monotonic()
    runs = []
    for seed in options.seeds:
        data = load_split(options.labels_per_class, seed)
        model, accuracies = train(data, seed, options)
        runs.append(accuracies)
        audit = model.trusted_set.audit(data["unlabeled_y"])
        print(
            f"\nSeed {seed}, trusted set: {audit['size']} of {len(data['unlabeled'])} "
            f"unlabeled images, {100 * audit['precision']:.1f} % of its labels right"
        )
        print_table([accuracies], f"Test accuracy (%), {len(data['labeled'])} labels")
    if len(runs) > 1:
        print_table(runs, f"Mean and standard deviation of {len(runs)} seeds")
    if options.output is not None:
        export_and_reload(model, data, accuracies, options.output)
    print(f"Done in {time.monotonic() - start:.0f} s")


def train(
    data: dict[str, np.ndarray], seed: int, options: argparse.Namespace
) -> tuple[KDFixMatch, dict[str, float]]:
    """Trains every method; returns KD-FixMatch and the test accuracies in [0, 1]."""
    labeled = (data["labeled"], data["labeled_y"])
    test = (data["test"], data["test_y"])
    settings: dict[str, Any] = {
        "backbone": "small_cnn",
        "weak_augmentation": "shift",  # a mirrored digit is another sign
        # With two labels a class, one class easily swallows another; the digits are
        # equally frequent, so the networks may know that they are.
        "distribution_alignment": True,
        "batch_size": 32,
        "seed": seed,
    }
    length = {"epochs": options.epochs, "steps_per_epoch": options.steps_per_epoch}
    accuracies = {}

    supervised = baselines.Supervised(**settings)
    supervised.fit(labeled, data["unlabeled"], verbose=2, **length)
    accuracies["supervised"] = supervised.evaluate(*test)["accuracy"]

    model = KDFixMatch(**settings)
    model.fit(labeled, data["unlabeled"], verbose=2, **length)
    outer = model.outer.evaluate(*test, return_dict=True, verbose=0)
    accuracies["FixMatch"] = outer["accuracy"]
    accuracies["KD-FixMatch"] = model.evaluate(*test)["accuracy"]

    if options.equal_compute:
        length["epochs"] *= 2
        longer = baselines.FixMatch(**settings)
        longer.fit(labeled, data["unlabeled"], verbose=2, **length)
        accuracies["FixMatch, twice as long"] = longer.evaluate(*test)["accuracy"]
    return model, accuracies


def print_table(runs: list[dict[str, float]], title: str) -> None:
    """Prints the accuracies of each method, over runs where there are several."""
    print(f"\n{title}")
    for method in runs[0]:
        percent = 100 * np.array([run[method] for run in runs])
        spread = f" ± {percent.std(ddof=1):.1f}" if len(runs) > 1 else ""
        print(f"  {method:<24} {percent.mean():5.1f}{spread}")


def export_and_reload(
    model: KDFixMatch,
    data: dict[str, np.ndarray],
    accuracies: dict[str, float],
    output: Path,
) -> None:
    """Draws the run, exports the network, loads it as a server would, predicts."""
    import tensorflow as tf

    figure, saved_model = output / "run.png", output / "saved_model"
    plot_run(model, figure, accuracies=accuracies, true_labels=data["unlabeled_y"])
    if saved_model.exists():
        shutil.rmtree(saved_model)
    model.export(saved_model)
    print(f"Wrote {figure} and {saved_model}")

    served = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    images = data["test"][:10]
    answer = served(images=tf.constant(images))
    difference = np.abs(answer["probabilities"].numpy() - model.predict(images)).max()
    names = [name.decode() for name in answer["class_name"].numpy()]
    print(f"SavedModel reads {' '.join(names)}")
    print(f"labels are       {' '.join(str(y) for y in data['test_y'][:10])}")
    print(f"Largest difference to the live model: {difference:.1e}")


if __name__ == "__main__":
    main()
