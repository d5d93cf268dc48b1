"""Finding out, in processes of their own, what a run makes of the images."""

import contextlib
import hashlib
import sys
import threading
from pathlib import Path

from kdfixmatch_web.job import Job
from kdfixmatch_web.outlook import Outlook
from kdfixmatch_web.trainings import FinishedRun


class Scout:
    """Keeps what the last run makes of all images.

    Args:
        folder: Folder to work in, which need not exist.
        unlabeled: Folder of the images.
    """

    def __init__(self, folder: Path, unlabeled: Path) -> None:
        self._folder = folder
        self._unlabeled = unlabeled.absolute()
        self._job = Job(folder, "look")
        self._lock = threading.Lock()
        self._key: str | None = None
        self._failed: set[str] = set()
        self.outlook: Outlook | None = None
        self.trouble = ""

    def follow(self, run: FinishedRun) -> bool:
        """Sees to it that the outlook becomes that of a run.

        Returns:
            Whether it has just become that.
        """
        with self._lock:
            if self._key == run.key or run.key in self._failed:
                return False
            file = self._folder / f"{hashlib.sha256(run.key.encode()).hexdigest()}.npz"
            if file.exists():
                return self._take(file, run)
            if self._job.is_running():
                # Of another run, it is not needed any more.
                if self._job.facts().get("key") != run.key:
                    self._job.stop()
                return False
            if self._job.facts().get("key") == run.key and not file.exists():
                self._fail(run, (self._job.lines() or ["it was ended"])[-1])
                return False
            command = (
                *(sys.executable, "-m", "kdfixmatch_web.look"),
                *(str(run.path.absolute()), str(self._unlabeled), str(file)),
            )
            self._job.start(command, {"key": run.key})
            return False

    def progress(self) -> str | None:
        """What the process says that is looking, None if none is."""
        if not self._job.is_running():
            return None
        lines = self._job.lines()
        return lines[-1] if lines and lines[-1][:1].isdigit() else ""

    def _take(self, file: Path, run: FinishedRun) -> bool:
        try:
            self.outlook = Outlook.read(file)
        # Of a damaged archive, NumPy raises many kinds.
        except Exception as error:
            self._fail(run, str(error))
            return False
        self._key, self.trouble = run.key, ""
        for other in self._folder.glob("*.npz"):
            if other != file:
                with contextlib.suppress(OSError):
                    other.unlink()
        return True

    def _fail(self, run: FinishedRun, reason: str) -> None:
        self._failed.add(run.key)
        self.trouble = (
            f"What {run.path.name} makes of the images is not known: {reason}"
        )
