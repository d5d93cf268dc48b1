"""Work in a process of its own, which outlives the server and is found again."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdfixmatch_keras.storage.files import writing, written_aside

# Runs a module, but none that lies in the working folder, which may be one of images
# that somebody else has made.
PYTHON = (sys.executable, "-P", "-m")
# The end of what a process said that is looked at.
_TAIL = 1 << 14


class Job:
    """One process at a time, known by the files that it leaves in a folder.

    Whether it runs, a lock tells that it inherits: the system gives it back when the
    process ends, however that ends, and no other process can be taken for it.

    Args:
        folder: Folder of its files.
        name: What they are called.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._lock_file = folder / f"{name}.lock"
        self._facts_file = folder / f"{name}.json"
        self.log = folder / f"{name}.log"
        self._looking = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str], facts: Mapping[str, Any]) -> None:
        """Starts a process.

        Args:
            command: The program and its arguments.
            facts: What is to be known of it later, as JSON.

        Raises:
            RuntimeError: One is running.
            OSError: The disk or the system does not let it start.
        """
        with self._looking, writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._locked(fcntl.LOCK_EX) as (descriptor, is_free):
                if not is_free:
                    raise RuntimeError("It is running already.")
                self._write({**facts, "pid": None})
                with open(self.log, "wb") as log:
                    self._process = subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        pass_fds=(descriptor,),
                        # What ends the server, such as Ctrl+C, does not end it.
                        start_new_session=True,
                        env={**os.environ, "PYTHONUNBUFFERED": "1"},
                    )
                self._write({**facts, "pid": self._process.pid})

    def is_running(self) -> bool:
        """Whether the process that was last started runs, whoever started it."""
        with self._looking:
            if self._process is not None:
                # Else it would stay in the list of processes.
                self._process.poll()
            if not self._lock_file.exists():
                return False
            with self._locked(fcntl.LOCK_SH) as (_, is_free):
                return not is_free

    def facts(self) -> dict[str, Any]:
        """What was said of the process that was last started; nothing if none was."""
        try:
            found = json.loads(self._facts_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def lines(self) -> list[str]:
        """The last lines that it printed."""
        try:
            with open(self.log, "rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - _TAIL))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()]

    def stop(self) -> None:
        """Asks the process to end, if it runs."""
        pid = self.facts().get("pid")
        # While it runs, the number is that of no other.
        if isinstance(pid, int) and self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _write(self, facts: Mapping[str, Any]) -> None:
        with written_aside(self._facts_file) as aside:
            aside.write_text(json.dumps(facts), encoding="utf-8")

    @contextlib.contextmanager
    def _locked(self, kind: int) -> Iterator[tuple[int, bool]]:
        """The open lock, and whether nobody else has it."""
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                is_free = True
            except BlockingIOError:
                is_free = False
            yield descriptor, is_free
        finally:
            os.close(descriptor)
