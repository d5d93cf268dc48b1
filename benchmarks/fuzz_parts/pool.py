"""Processes that try one case after another, and are replaced when they die or hang."""

import contextlib
import json
import queue
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

# Cases that a process is given at a time.
CHUNK = 100
# To start: it imports TensorFlow.
START_LIMIT = 300.0
# Outcome of a case that no process was left for.
NOT_TRIED = "crash: not tried, as no process started"


class NotStarted(Exception):
    """A process ended or was silent before it was ready; the message says more."""


class Worker:
    """A process that reads `first last` from a line, and answers a line a case.

    Args:
        command: Starts the process; it must print `"ready"` first.
        limit: Seconds that it may take for a case.

    Raises:
        NotStarted: It does not get ready.
    """

    def __init__(self, command: Sequence[str], limit: float) -> None:
        self.limit = limit
        self._stderr = tempfile.TemporaryFile("w+", errors="replace")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            is_ready = self._answer(START_LIMIT) == "ready"
        except (queue.Empty, ValueError):
            is_ready = False
        if not is_ready:
            self._process.kill()
            self._process.wait()
            said = self._said()
            self.close()
            raise NotStarted(f"A process did not start\n{said}")

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line)
        self._lines.put("")

    def _answer(self, limit: float) -> Any:
        """The next line; None where there is none any more.

        Raises:
            queue.Empty: It takes too long.
        """
        line = self._lines.get(timeout=limit)
        return json.loads(line) if line else None

    def _said(self) -> str:
        """The end of what it wrote to its standard error stream."""
        self._stderr.seek(0)
        return self._stderr.read()[-2000:]

    def run(self, first: int, last: int) -> Iterator[tuple[int, str]]:
        """Yields each case and its outcome, up to one that ends the process."""
        # Where it has ended, there is no answer either.
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.write(f"{first} {last}\n")
                self._process.stdin.flush()
        for case in range(first, last):
            try:
                outcome = self._answer(self.limit)
            except queue.Empty:
                self._process.kill()
                yield case, f"hang: more than {self.limit:g} s"
                return
            if outcome is None:
                self._process.wait()
                status = self._process.returncode
                yield case, f"crash: exit status {status}\n{self._said()}"
                return
            yield case, outcome

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        # What is left of a line to a process that has ended.
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        self._stderr.close()


def run_all(
    command: Sequence[str], cases: int, workers: int, limit: float, label: str
) -> Counter[str]:
    """Tries cases in several processes, and prints what must not happen.

    Args:
        command: Starts a process; see `Worker`.
        cases: Number of cases.
        workers: Number of processes.
        limit: Seconds for a case.
        label: What the cases are, for the lines of progress.

    Returns:
        How often each outcome came out; a case that no process tried is a crash.
    """
    counts: Counter[str] = Counter()
    chunks: queue.Queue[int] = queue.Queue()
    for first in range(0, cases, CHUNK):
        chunks.put(first)
    lock = threading.Lock()

    def note(case: int, outcome: str) -> None:
        with lock:
            counts[outcome.split("\n")[0]] += 1
            if outcome.startswith(("crash", "hang", "wrong")):
                print(f"{label} case {case}: {outcome}", flush=True)
            done = counts.total()
            if done % max(1, cases // 20) == 0:
                print(f"{label}: {done:,} of {cases:,}", flush=True)

    def work() -> None:
        try:
            try_chunks()
        except NotStarted as error:
            with lock:
                print(f"{label}: {error}", flush=True)

    def try_chunks() -> None:
        worker = Worker(command, limit)
        while True:
            try:
                first = chunks.get_nowait()
            except queue.Empty:
                break
            last = min(first + CHUNK, cases)
            while first < last:
                for case, outcome in worker.run(first, last):
                    note(case, outcome)
                first = case + 1
                if outcome.startswith(("crash", "hang")):
                    worker.close()
                    worker = Worker(command, limit)
        worker.close()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    missing = cases - counts.total()
    if missing:
        counts[NOT_TRIED] += missing
    return counts
