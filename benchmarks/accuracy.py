"""How accurate KD-FixMatch and its rivals are, at what cost.

python benchmarks/accuracy.py --data digits --labels 10 20 40 100 --seeds 5 \
    --methods all published --workers 2 --output digits_output

trains every method on every draw of labels and writes `results.json`, `table.md` and
`accuracy.svg`. Started again with the same `--output` it goes on where it was stopped;
a finished cell is never trained twice, but a network that several cells share is, where
some of them are missing. Accuracies are those of the last weights on test
images that take no part in training; a seed draws the labels, the initial weights, the
batches and the augmentation.
"""

import argparse
import inspect
import json
import os
import signal
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import machine
from methods import GROUPS, METHODS, Task
from store import OPTIONS, Store, option

from kdfixmatch_keras import KDFixMatch, datasets
from kdfixmatch_keras.kdfixmatch import INNER_INITS, default_outer_epochs

# What every method gets, by data set. KD-FixMatch trains its inner network for `epochs`
# epochs and its outer one for half as many.
PAPER: dict[str, Any] = {
    "backbone": "efficientnetb0",
    "weights": "imagenet",
    "batch_size": 64,
    "unlabeled_ratio": 7,
    "epochs": 100,
    "steps_per_epoch": 100,
    "image_size": None,
    "distribution_alignment": False,
}
# A small network on a CPU. These data sets have equally many images of each class.
SMALL = {**PAPER, "backbone": "small_cnn", "weights": None}
SMALL["distribution_alignment"] = True
DIGITS = {**SMALL, "batch_size": 16, "epochs": 12, "steps_per_epoch": 40}
# As many steps as possible for the same time: in trials, more of them were worth more
# than more unlabeled images in each.
CIFAR = {**SMALL, "batch_size": 32, "unlabeled_ratio": 1}
CIFAR |= {"epochs": 10, "steps_per_epoch": 130}
PRESETS = {"digits": DIGITS, "cifar10": CIFAR, "cifar100": CIFAR}
MARK = "CELL "
RUNNING: set[subprocess.Popen[str]] = set()


def main() -> None:
    """Trains what is missing and writes the summary."""
    options = _parse()
    settings = _settings(options)
    if options.worker:
        _work(settings, json.loads(options.worker), options)
        return
    signal.signal(signal.SIGTERM, _stop)
    with Store(options.output, settings) as store:
        groups = _missing(options, store)
        # Interrupting the benchmark must not wait for groups that have not begun.
        pool = ThreadPoolExecutor(options.workers)
        try:
            codes = list(
                pool.map(lambda group: _run_group(group, options, store), groups)
            )
        finally:
            pool.shutdown(cancel_futures=True)
            store.summarize()
    sys.exit(int(any(codes)))


def _missing(options: argparse.Namespace, store: Store) -> list[dict[str, Any]]:
    """What is to be trained, one group for each draw of labels."""
    groups = []
    for labels in options.labels:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            missing = [
                method
                for method in options.methods
                if not store.has(labels=labels, seed=seed, method=method)
            ]
            if missing:
                groups.append({"labels": labels, "seed": seed, "methods": missing})
    return groups


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", required=True, help="name of a data set, or of a --data-dir")
    add("--data-dir", help="folder of images, train/<class>/* and test/<class>/*")
    add("--labels", type=int, nargs="+", required=True, help="labels in all")
    add("--seeds", type=int, default=1, help="how many")
    add("--first-seed", type=int, default=0, help="the seeds are this one and the next")
    add(
        "--methods",
        nargs="+",
        default=["all"],
        help=f"of {', '.join(METHODS)}; or the groups {', '.join(GROUPS)}. KD-FixMatch "
        "brings FixMatch at equal steps and at equal compute",
    )
    add("--output", type=Path, required=True, help="folder of the results")
    add("--workers", type=int, default=1, help="processes at a time")
    for name in OPTIONS:
        kind = str if name in ("backbone", "weights") else int
        add(option(name), type=kind, help="replaces that of the data set")
    add("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen: list[str] = []
    for name in options.methods:
        if name not in {**GROUPS, **METHODS}:
            parser.error(f"unknown method {name!r}")
        for method in GROUPS.get(name, [name]):
            # First, so that what a table needs is not what is missing at the end.
            chosen += [*METHODS[method].references, method]
    options.methods = list(dict.fromkeys(chosen))
    options.labels = list(dict.fromkeys(options.labels))
    return options


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """What all cells of one output folder share."""
    chosen = dict(PRESETS.get(options.data, PAPER))
    given = {name: getattr(options, name) for name in OPTIONS}
    chosen |= {name: value for name, value in given.items() if value is not None}
    if chosen["weights"] == "none":
        chosen["weights"] = None
    if options.outer_epochs is None:
        chosen["outer_epochs"] = default_outer_epochs(chosen["epochs"])
    return {
        "data": options.data,
        "from_folder": bool(options.data_dir),
        **chosen,
        # Cells with other defaults of KD-FixMatch must not end up in one mean.
        **{
            f"KDFixMatch.{name}": parameter.default
            for name, parameter in inspect.signature(KDFixMatch).parameters.items()
        },
        "INNER_INITS": INNER_INITS,
    }


def _stop(signal_number: int, frame: Any) -> None:
    """Ends the workers too: nobody would keep what they train."""
    for process in list(RUNNING):
        process.terminate()
    sys.exit(128 + signal_number)


def _run_group(group: dict[str, Any], options: argparse.Namespace, store: Store) -> int:
    """Trains the methods of one draw of labels in a process of their own."""
    threads = str(max(1, machine.cores() // options.workers))
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": threads,
        "OMP_NUM_THREADS": threads,
    }
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", json.dumps(group)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        RUNNING.add(process)
        for line in process.stdout or ():
            if line.startswith(MARK):
                cell = json.loads(line.removeprefix(MARK))
                store.add(cell)
                print(
                    f"{cell['labels']} labels, seed {cell['seed']}, {cell['method']}: "
                    f"{100 * cell['accuracy']:.1f} % in {cell['seconds']:.0f} s",
                    flush=True,
                )
    RUNNING.discard(process)
    if process.returncode:
        print(f"{group} was not finished; the reason is above", file=sys.stderr)
    return process.returncode


def new_task(
    settings: dict[str, Any], labels: int, seed: int, data_dir: str | None
) -> Task:
    """A draw of labels, and how networks are trained on it.

    Args:
        settings: `PRESETS` of a data set, with `"data"` and `"outer_epochs"`.
        labels: Number of labeled images.
        seed: Draws them, and everything else that is random.
        data_dir: Folder of images, or None.
    """
    size = settings["image_size"]
    data = datasets.load(
        settings["data"],
        labels,
        seed,
        data_dir=data_dir,
        image_size=None if size is None else (size, size),
    )
    shared = [
        "backbone",
        "weights",
        "batch_size",
        "unlabeled_ratio",
        "distribution_alignment",
    ]
    return Task(
        data=data,
        settings={
            **{name: settings[name] for name in shared},
            "weak_augmentation": data.weak_augmentation,
            "seed": seed,
        },
        epochs=settings["epochs"],
        outer_epochs=settings["outer_epochs"],
        steps_per_epoch=settings["steps_per_epoch"],
    )


def _work(
    settings: dict[str, Any], group: dict[str, Any], options: argparse.Namespace
) -> None:
    """Trains the methods of a group, printing each cell as it is finished."""
    task = new_task(settings, group["labels"], group["seed"], options.data_dir)
    made_by = {
        "commit": machine.commit(),
        "workers": options.workers,
        "machine": machine.facts(),
    }
    failed = False
    for method in group["methods"]:
        cell = {"labels": group["labels"], "seed": group["seed"], "method": method}
        try:
            cell |= METHODS[method].train(task)
        # Whatever it was: the other cells are worth having.
        except Exception:
            traceback.print_exc()
            failed = True
            continue
        print(MARK + json.dumps(cell | made_by), flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
