"""Whether damaged files ever crash, hang or mislead what reads them.

python benchmarks/fuzz.py --images 20000 --sets 20000 --run-folders 1000 --seed 0

writes sets of image files of rare kinds, and damages image files, saved models, trusted
sets, runs and states of stopped trainings in processes that are watched; README.md says
how, and what must come of it. The exit status is 1 if one crashed or hung, or something
was wrong. About twenty minutes on two cores.
"""

import argparse
import faulthandler
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import measuring
import workers
from fuzz_parts.image_cases import ImageCases
from fuzz_parts.run_cases import RunCases, make
from fuzz_parts.set_cases import SetCases

# Outcome of cases that no process was left for.
NOT_TRIED = "crash: not tried, as no process started"
BAD = ("crash", "hang", "wrong")


def main() -> int:
    """Tries all cases, and prints how often each came out how."""
    options = parse()
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        undamaged = folder / "undamaged"
        if options.run_folders:
            make(undamaged)
        images = partial(ImageCases, folder, options.seed, options.images)
        runs = partial(RunCases, folder, options.seed, undamaged)
        # A training that goes on compiles two networks.
        sets = partial(SetCases, folder, options.seed)
        for kind, begin, cases, limit in (
            ("images", images, options.images * 11 // 10, 30.0),
            ("sets", sets, options.sets, 30.0),
            ("runs", runs, options.run_folders, 240.0),
        ):
            began = time.monotonic()
            counts = run_all(begin, cases, measuring.cores(), limit, kind)
            bad += tell(kind, counts, time.monotonic() - began)
    return min(bad, 1)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line, that of this process unless another is given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--sets", type=int, default=20_000)
    parser.add_argument("--run-folders", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0, help="of the damages")
    return parser.parse_args(arguments)


def run_all(
    begin: Callable[[], Any], cases: int, at_a_time: int, limit: float, label: str
) -> Counter[str]:
    """Tries cases in several processes, and prints what must not happen.

    Args:
        begin: Gives, in each process, what can `run` a case by its number.
        cases: How many.
        at_a_time: How many processes.
        limit: Seconds for a case.
        label: What they are called.
    """

    def try_some(case: int, last: int) -> Counter[str]:
        counts: Counter[str] = Counter()
        while case < last:
            with workers.process() as process:
                outcome = _answer(process, begin, None, limit)
                if outcome != "ready":
                    print(f"{label}: A process did not start: {outcome}", flush=True)
                    counts[NOT_TRIED] += last - case
                    break
                while case < last and not outcome.startswith(("crash", "hang")):
                    outcome = _answer(process, begin, case, limit)
                    counts[outcome] += 1
                    if outcome.startswith(BAD):
                        print(f"{label} case {case}: {outcome}", flush=True)
                    case += 1
                    if case % max(1, cases // 20) == 0:
                        print(f"{label}: {case:,} of {cases:,}", flush=True)
        return counts

    bounds = [cases * n // at_a_time for n in range(at_a_time + 1)]
    with ThreadPoolExecutor(at_a_time) as pool:
        return sum(pool.map(try_some, bounds[:-1], bounds[1:]), Counter())


def _answer(process: Executor, begin: Any, case: int | None, limit: float) -> str:
    """How a case comes out in a process, or how that ended in place of it."""
    began = time.monotonic()
    try:
        outcome: str = process.submit(_try, begin, case, limit).result()
    except Exception as error:
        is_late = time.monotonic() - began >= limit
        return f"hang: more than {limit:g} s" if is_late else f"crash: {error!r}"
    return outcome


# Those of this process.
_cases: list[Any] = []


def _try(begin: Callable[[], Any], case: int | None, limit: float) -> str:
    """Tries a case, None to get ready; this process ends if it takes too long."""
    faulthandler.enable()
    # Not a thread of Python, nor a signal: what waits in C hears of neither.
    faulthandler.dump_traceback_later(limit, exit=True)
    if case is None:
        _cases.append(begin())
    outcome = "ready" if case is None else _cases[0].run(case)
    faulthandler.cancel_dump_traceback_later()
    return outcome


def tell(kind: str, counts: Counter[str], seconds: float) -> int:
    """Prints a table of outcomes; returns how many must not be."""
    print(f"\n{counts.total():,} {kind} in {seconds:.0f} s")
    for outcome, count in sorted(counts.items()):
        print(f"{count:>8,}  {outcome}")
    found = {bad: sum(counts[o] for o in counts if o.startswith(bad)) for bad in BAD}
    for bad, count in found.items():
        print(f"{count:>8,}  {bad} in all", flush=True)
    return sum(found.values())


if __name__ == "__main__":
    sys.exit(main())
