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
import functools
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import measuring
import probes
import watch
import workers
from methods import GROUPS, METHODS, PRESETS, Task
from results import OPTIONS, Cell, Store, option

from kdfixmatch_keras.training.plan import default_outer_epochs


def main() -> int:
    """Trains what is missing and writes the summary."""
    options = parse()
    if options.watch:
        return watch.watch(
            json.loads((options.watch / "results.json").read_text()), train
        )
    if options.summarize:
        with Store(options.summarize) as store:
            store.summarize()
        return 0
    with Store(options.output, _settings(options)) as store:
        with workers.process(threads=1) as process:
            found = process.submit(probes.of, options.methods).result()
        fill = functools.partial(_fill, store, found, options.workers)
        # Interrupting the benchmark must not wait for groups that have not begun.
        pool = ThreadPoolExecutor(options.workers)
        try:
            finished = list(pool.map(fill, _missing(options, store, found)))
            return int(not all(finished))
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
    shared = {"settings": store.settings, "data_dir": options.data_dir}
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    groups = []
    for labels, seed in itertools.product(options.labels, seeds):
        key = {"labels": labels, "seed": seed}
        names = options.methods
        missing = [n for n in names if not store.has(found[n], method=n, **key)]
        if missing:
            groups.append({**shared, **key, "methods": missing})
    return groups


def _fill(
    store: Store, found: dict[str, list[float]], at_a_time: int, group: dict[str, Any]
) -> bool:
    """Trains the methods of one draw of labels; returns whether all were finished."""
    made_by = {"commit": measuring.commit(), "workers": at_a_time}
    finished = 0
    for cell in train(group, max(1, measuring.cores() // at_a_time)):
        store.add({**cell, **made_by, "probe": found[cell["method"]]})
        finished += 1
        figures = f"{100 * cell['accuracy']:.1f} % in {cell['seconds']:.0f} s"
        draw = f"{cell['labels']} labels, seed {cell['seed']}"
        print(f"{draw}, {cell['method']}: {figures}", flush=True)
    return finished == len(group["methods"])


def train(group: dict[str, Any], threads: int) -> Iterator[Cell]:
    """Trains methods in a process of their own, and yields each cell when it is done.

    Args:
        group: The arguments of `Task.drawn`, and `"methods"`.
        threads: How many the process computes with.
    """
    draw = {name: value for name, value in group.items() if name != "methods"}
    with workers.process(threads) as process:
        for method in group["methods"]:
            cell = workers.result(process, _train, json.dumps(draw), method)
            if cell is not None:
                yield cell


def _train(draw: str, method: str) -> Cell:
    figures = METHODS[method].train(_task(draw))
    key = {name: json.loads(draw)[name] for name in ("labels", "seed")}
    return key | {"method": method, **figures, "machine": measuring.facts()}


@functools.lru_cache(1)
def _task(draw: str) -> Task:
    """The task of a draw, in which its methods share what they train."""
    return Task.drawn(**json.loads(draw))


if __name__ == "__main__":
    sys.exit(main())
