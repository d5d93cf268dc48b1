"""Processes of their own for what a benchmark does.

A script starts itself again with a task, as JSON; that process prints its answers, each
as a line of JSON with a mark before it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_MARK = "ANSWER "
_TASK = "--task"
RUNNING: set[subprocess.Popen[str]] = set()


class Ended(Exception):
    """A process ended before its time; the message says how, and what it said last."""


def task() -> Any:
    """What this process is to do, None where a user has started it."""
    return json.loads(sys.argv[2]) if sys.argv[1:2] == [_TASK] else None


def command(script: str, task: Any) -> list[str]:
    """Starts a script with a task."""
    return [sys.executable, script, _TASK, json.dumps(task)]


def answer(value: Any) -> None:
    """Gives an answer to the process that started this one."""
    print(_MARK + json.dumps(value), flush=True)


def answers(
    command: Sequence[str],
    limit: float = threading.TIMEOUT_MAX,
    start_limit: float = threading.TIMEOUT_MAX,
    threads: int | None = None,
) -> Iterator[Any]:
    """Starts a process and yields its answers.

    Args:
        command: What starts it.
        limit: Seconds that it may take for an answer.
        start_limit: Seconds for the first one.
        threads: How many it computes with; None for the choice of its libraries.

    Raises:
        Ended: It failed, or was killed because it took too long.
    """
    is_late = False
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        subprocess.Popen(
            command,
            env=_environment(threads),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):

        def end() -> None:
            nonlocal is_late
            is_late = True
            process.kill()

        RUNNING.add(process)
        timer = _started(start_limit, end)
        try:
            for line in process.stdout or ():
                if line.startswith(_MARK):
                    timer.cancel()
                    yield json.loads(line.removeprefix(_MARK))
                    timer = _started(limit, end)
            process.wait()
        finally:
            timer.cancel()
            process.kill()
            RUNNING.discard(process)
        if is_late:
            raise Ended(f"hang: more than {limit:g} s")
        if process.returncode:
            errors.seek(0)
            said = errors.read()[-2000:]
            raise Ended(f"crash: exit status {process.returncode}\n{said}")


def _started(limit: float, end: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(limit, end)
    timer.daemon = True
    timer.start()
    return timer


def _environment(threads: int | None) -> dict[str, str]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if threads is not None:
        names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
        environment |= dict.fromkeys(names, str(threads))
    return environment


def end_with_this_process() -> None:
    """Ends those that are running too, when this one is told to end."""
    signal.signal(signal.SIGTERM, _end_all)


def _end_all(signal_number: int, frame: Any) -> None:
    for process in list(RUNNING):
        process.terminate()
    sys.exit(128 + signal_number)
