"""Whether damaged files ever crash, hang or mislead what reads them.

python benchmarks/fuzz.py --images 20000 --run-folders 1000 --seed 0

damages image files, saved models, trusted sets, runs and states of stopped trainings
in processes that are watched; README.md says how, and what must come of it. The exit
status is 1 if one crashed or hung, or something was wrong. About a quarter of an hour
on two cores.
"""

import argparse
import faulthandler
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import workers

# Seconds for a case. A training that goes on compiles two networks.
LIMITS = {"images": 30.0, "runs": 240.0}
# To start: it imports TensorFlow.
START_LIMIT = 300.0
# Outcome of a case that no process was left for.
NOT_TRIED = "crash: not tried, as no process started"


def main() -> int:
    """Tries all cases, and prints how often each came out how."""
    if (task := workers.task()) is not None:
        work(**task)
        return 0
    options = parse()
    numbers = {"images": options.images * 11 // 10, "runs": options.run_folders}
    bad = 0
    with tempfile.TemporaryDirectory() as undamaged:
        for kind, count in numbers.items():
            task = {"kind": kind, "undamaged": undamaged, "seed": options.seed}
            task["usual"] = options.images

            def command(first: int, last: int, task: Any = task) -> list[str]:
                return workers.command(__file__, {**task, "first": first, "last": last})

            began = time.monotonic()
            if count and kind == "runs":
                list(workers.answers(command(0, 0, {**task, "kind": "make"})))
            counts = run_all(command, count, options.workers, LIMITS[kind], kind)
            bad += tell(kind, counts, time.monotonic() - began)
    return min(bad, 1)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line, that of this process unless another is given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--run-folders", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0, help="of the damages")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    return parser.parse_args(arguments)


def run_all(
    command: Callable[[int, int], Sequence[str]],
    cases: int,
    at_a_time: int,
    limit: float,
    label: str,
) -> Counter[str]:
    """Tries cases in several processes, and prints what must not happen.

    Args:
        command: Gives the command that tries the cases from the first up to the last.
            It must answer `"ready"`, and then with the outcome of each.
        cases: Number of cases.
        at_a_time: Number of processes.
        limit: Seconds for a case.
        label: What the cases are, for the lines of progress.

    Returns:
        How often each outcome came out; a case that no process tried is a crash.
    """
    counts: Counter[str] = Counter()
    lock = Lock()

    def note(case: int, outcome: str) -> None:
        with lock:
            counts[outcome.split("\n")[0]] += 1
            if outcome.startswith(("crash", "hang", "wrong")):
                print(f"{label} case {case}: {outcome}", flush=True)
            if counts.total() % max(1, cases // 20) == 0:
                print(f"{label}: {counts.total():,} of {cases:,}", flush=True)

    def try_some(first: int, last: int) -> None:
        is_ready = True
        while first < last and is_ready:
            answers = workers.answers(command(first, last), limit, START_LIMIT)
            is_ready = False
            try:
                is_ready = next(answers, None) == "ready"
                for outcome in answers:
                    note(first, outcome)
                    first += 1
                is_ready = False
            except workers.Ended as error:
                if is_ready:
                    note(first, str(error))
                    first += 1
                else:
                    print(f"{label}: A process did not start\n{error}", flush=True)

    bounds = [cases * n // at_a_time for n in range(at_a_time + 1)]
    with ThreadPoolExecutor(at_a_time) as pool:
        list(pool.map(lambda part: try_some(*part), pairwise(bounds)))
    if missing := cases - counts.total():
        counts[NOT_TRIED] += missing
    return counts


def tell(kind: str, counts: Counter[str], seconds: float) -> int:
    """Prints a table of outcomes; returns how many must not be."""
    print(f"\n{counts.total():,} {kind} in {seconds:.0f} s")
    for outcome, count in sorted(counts.items()):
        print(f"{count:>8,}  {outcome}")
    bad = 0
    for name in ("crash", "hang", "wrong"):
        found = sum(n for outcome, n in counts.items() if outcome.startswith(name))
        print(f"{found:>8,}  {name} in all", flush=True)
        bad += found
    return bad


def work(
    kind: str, undamaged: str, seed: int, usual: int, first: int, last: int
) -> None:
    """Tries cases and answers with the outcome of each."""
    faulthandler.enable()
    cases: Any
    with tempfile.TemporaryDirectory() as folder:
        if kind == "images":
            from fuzz_parts.image_cases import ImageCases

            cases = ImageCases(Path(folder), seed, usual)
        else:
            from fuzz_parts.run_cases import RunCases, make

            if kind == "make":
                make(Path(undamaged))
                return
            cases = RunCases(Path(folder), seed, Path(undamaged))
        workers.answer("ready")
        for case in range(first, last):
            workers.answer(cases.run(case))


if __name__ == "__main__":
    sys.exit(main())
