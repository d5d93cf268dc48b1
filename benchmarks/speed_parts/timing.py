"""Timing alternatives side by side, on machines that are never quiet."""

import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Action = Callable[[], object]


def seconds(action: Action) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def rounds(alternatives: Mapping[str, Action], repeats: int) -> dict[str, list[float]]:
    """Seconds of each alternative in each of several rounds.

    In a round each is called once, so that what slows the machine down slows all of
    them, and the order turns around from round to round, so that none profits from
    where it stands. What has to be compiled must have been called before.
    """
    found: dict[str, list[float]] = {name: [] for name in alternatives}
    names = list(alternatives)
    for _ in range(repeats):
        for name in names:
            found[name].append(seconds(alternatives[name]))
        names.reverse()
    return found


def repeated(action: Action, least: float) -> tuple[Action, int]:
    """A call repeated until it takes at least `least` seconds, and how often it is."""
    # The first call compiles.
    action()
    times = max(1, round(least / max(seconds(action), 1e-6)))

    def repeat() -> None:
        for _ in range(times):
            action()

    return repeat, times


def peak_memory() -> int:
    """The largest resident memory that this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # `ru_maxrss` of a process is at first that of the process that started it.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024
