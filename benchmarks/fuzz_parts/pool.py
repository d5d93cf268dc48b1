"""Processes that try one case after another, and are replaced when they die or hang."""

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


class Worker:
    """A process that reads `first last` from a line, and answers a line a case.

    Args:
        command: Starts the process; it must print `"ready"` first.
        limit: Seconds that it may take for a case.
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
        self._answer(START_LIMIT)

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

    def run(self, first: int, last: int) -> Iterator[tuple[int, str]]:
        """Yields each case and its outcome, up to one that ends the process."""
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
                self._stderr.seek(0)
                tail = self._stderr.read()[-2000:]
                yield case, f"crash: exit status {self._process.returncode}\n{tail}"
                return
            yield case, outcome

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
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
        How often each outcome came out.
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
    return counts
