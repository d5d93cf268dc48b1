"""How accurate KD-FixMatch and its rivals are, at what cost.

python benchmarks/accuracy.py --data digits --labels 10 20 40 100 --seeds 5 \
    --methods all published --workers 2 --output digits_output

trains every method on every draw of labels and writes `results.json`, `table.md` and
`accuracy.svg`. Started again with the same `--output` it goes on where it was stopped.
Accuracies are those of the last weights on test images that take no part in training; a
seed draws labels, initial weights, batches and augmentation.

python benchmarks/accuracy.py --summarize digits_output
python benchmarks/accuracy.py --watch benchmarks/results/digits

write table and plot without training; and train a cheap published cell again.
"""

import argparse
import itertools
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import measuring
import probes
import watch
import workers
from methods import GROUPS, METHODS, PRESETS, Task
from results import OPTIONS, Store, option, read

from kdfixmatch_keras import datasets
from kdfixmatch_keras.training.plan import default_outer_epochs


def main() -> int:
    """Trains what is missing and writes the summary."""
    if (task := workers.task()) is not None:
        return _train(**task) if "settings" in task else _probe(task["methods"])
    options = parse()
    workers.end_with_this_process()
    if options.watch:
        return watch.watch(read(options.watch), train)
    if options.summarize:
        with Store(options.summarize, read(options.summarize)["settings"]) as store:
            store.summarize()
        return 0
    with Store(options.output, _settings(options)) as store:
        found = _probes(options.methods)
        groups = _missing(options, store, found)
        # Interrupting the benchmark must not wait for groups that have not begun.
        pool = ThreadPoolExecutor(options.workers)
        try:
            fill = partial(_fill, store, found, options.workers)
            return int(not all(list(pool.map(fill, groups))))
        finally:
            pool.shutdown(cancel_futures=True)
            store.summarize()


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line, that of this process unless another is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--output", type=Path, help="folder of the results")
    what.add_argument("--summarize", type=Path, metavar="FOLDER", help="trains nothing")
    what.add_argument("--watch", type=Path, metavar="FOLDER", help="of published ones")
    add = parser.add_argument
    add("--data", help="name of a data set, or of a --data-dir")
    add("--data-dir", help="folder of images, train/<class>/* and test/<class>/*")
    add("--labels", type=int, nargs="+", default=[], help="labels in all")
    add("--seeds", type=int, default=1, help="how many")
    add("--first-seed", type=int, default=0, help="the seeds are this one and the next")
    add(
        "--methods",
        nargs="+",
        default=["all"],
        help=f"of {', '.join(METHODS)}; or the groups {', '.join(GROUPS)}. KD-FixMatch "
        "brings FixMatch at equal steps and at equal compute",
    )
    add("--workers", type=int, default=1, help="processes at a time")
    for name in OPTIONS:
        kind = str if name in ("backbone", "weights") else int
        add(option(name), type=kind, help="replaces that of the data set")
    options = parser.parse_args(arguments)
    if options.output and not (options.data and options.labels):
        parser.error("--data and --labels must be given")
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
    preset = "cifar10" if options.data == "cifar100" else options.data
    chosen = dict(PRESETS.get(preset, PRESETS["paper"]))
    given = {name: getattr(options, name) for name in OPTIONS}
    chosen |= {name: value for name, value in given.items() if value is not None}
    if chosen["weights"] == "none":
        chosen["weights"] = None
    if options.outer_epochs is None:
        chosen["outer_epochs"] = default_outer_epochs(chosen["epochs"])
    return {"data": options.data, "from_folder": bool(options.data_dir), **chosen}


def _missing(
    options: argparse.Namespace, store: Store, found: dict[str, list[float]]
) -> list[dict[str, Any]]:
    """What is to be trained, one group for each draw of labels."""
    groups = []
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    for labels, seed in itertools.product(options.labels, seeds):
        group = {"labels": labels, "seed": seed, "data_dir": options.data_dir}
        missing = [
            method
            for method in options.methods
            if not store.has(found[method], labels=labels, seed=seed, method=method)
        ]
        if missing:
            groups.append({**group, "settings": store.settings, "methods": missing})
    return groups


def _probes(methods: list[str]) -> dict[str, list[float]]:
    """What each method computes, found by a process of its own, on one thread."""
    command = workers.command(__file__, {"methods": methods})
    (found,) = workers.answers(command, threads=1)
    return dict(found)


def _fill(
    store: Store, found: dict[str, list[float]], at_a_time: int, group: dict[str, Any]
) -> bool:
    """Trains the methods of one draw of labels; returns whether all were finished."""
    made_by = {"commit": measuring.commit(), "workers": at_a_time}
    draw = f"{group['labels']} labels, seed {group['seed']}"
    try:
        for cell in train(group, max(1, measuring.cores() // at_a_time)):
            method = cell["method"]
            store.add({**cell, **made_by, "probe": found[method]})
            figures = f"{100 * cell['accuracy']:.1f} % in {cell['seconds']:.0f} s"
            print(f"{draw}, {method}: {figures}", flush=True)
    except workers.Ended as error:
        print(f"{draw} was not finished: {error}", file=sys.stderr)
        return False
    return True


def train(group: dict[str, Any], threads: int) -> Iterator[dict[str, Any]]:
    """Trains methods in a process of their own, and yields each cell when it is done.

    Args:
        group: `"settings"` of the cells, `"data_dir"` or None, `"labels"`, `"seed"` and
            `"methods"`.
        threads: How many the process computes with.

    Raises:
        workers.Ended: Not all were finished.
    """
    return workers.answers(workers.command(__file__, group), threads=threads)


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
    image_size = None if size is None else (size, size)
    data = datasets.load(
        settings["data"], labels, seed, data_dir=data_dir, image_size=image_size
    )
    names = "backbone weights batch_size unlabeled_ratio distribution_alignment"
    shared = {name: settings[name] for name in names.split()}
    shared |= {"weak_augmentation": data.weak_augmentation, "seed": seed}
    lengths = ("epochs", "outer_epochs", "steps_per_epoch")
    return Task(data, shared, *(settings[name] for name in lengths))


def _train(
    settings: dict[str, Any],
    data_dir: str | None,
    labels: int,
    seed: int,
    methods: list[str],
) -> int:
    """Trains the methods of a group, and answers with each cell as it is finished."""
    task = new_task(settings, labels, seed, data_dir)
    failed = False
    for method in methods:
        cell = {"labels": labels, "seed": seed, "method": method}
        try:
            cell |= METHODS[method].train(task) | {"machine": measuring.facts()}
            workers.answer(cell)
        # Whatever it was: the other cells are worth having.
        except Exception:
            traceback.print_exc()
            failed = True
    return int(failed)


def _probe(methods: list[str]) -> int:
    task = probes.miniature()
    workers.answer({name: probes.probe(METHODS[name], task) for name in methods})
    return 0


if __name__ == "__main__":
    sys.exit(main())
