"""Finding out, in processes of their own, which images are worth a label."""

import contextlib
import hashlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from kdfixmatch_web.image_folder import ImageFolder
from kdfixmatch_web.job import PYTHON, Job
from kdfixmatch_web.label_store import LabelStore
from kdfixmatch_web.outlook import Outlook
from kdfixmatch_web.suggestions import COUNT, Suggestion, read_suggestions
from kdfixmatch_web.trainings import FinishedRun

# What a process prints that is not of use to who labels.
_PROGRESS = "0123456789"


@dataclass(frozen=True)
class _Task:
    """What a process is to find out, the file that tells that it has, and for whom."""

    key: str
    file: Path
    command: list[str]
    whose: str


class Scout:
    """Keeps what the last run makes of all images, and what it suggests to label.

    Args:
        folder: Folder to work in, which need not exist.
        images: The images.
        store: Their labels.
        test: Folder of images for test, which are not suggested; or None.
        seeks: Whether to look for typical images where there is no run.

    Attributes:
        outlook: What the run makes of the images, None where there is none.
        suggested: Images that are worth a label, the best first.
        trouble: Why nothing was found out; empty where something was, or will be.
    """

    def __init__(
        self,
        folder: Path,
        images: ImageFolder,
        store: LabelStore,
        test: Path | None = None,
        seeks: bool = True,
    ) -> None:
        self._folder = folder.absolute()
        self._images = images
        self._store = store
        self._test = test
        self._seeks = seeks
        # What was found out of other images, or for other test images, is not of these.
        made_of = (os.path.realpath(images.root), test and os.path.realpath(test))
        self._of = _digest(repr((made_of, images.names)))
        self._job = Job(folder, "look")
        self._lock = threading.Lock()
        self._key: str | None = None
        # Those that were running under this command: a failure before it, such as of
        # what has been installed since, or by switching off, is none for ever.
        self._begun: set[str] = set()
        self._failed: set[str] = set()
        self.outlook: Outlook | None = None
        self.suggested: dict[str, Suggestion] = {}
        self.trouble = ""

    def follow(self, run: FinishedRun | None) -> bool:
        """Sees to it that all is known that a run, or a pretrained network, tells.

        Args:
            run: The last run, None where there is none.

        Returns:
            Whether it has just become known.
        """
        if run is None and not self._seeks:
            return False
        with self._lock:
            task = self._of_run(run) if run is not None else self._of_labels()
            if task.key == self._key or task.key in self._failed:
                return False
            # Before the file is looked for, which may be its last deed.
            is_running = self._job.is_running()
            if task.file.exists():
                return self._take(task)
            if is_running:
                # What is asked of another run is not needed any more.
                if self._job.facts().get("key") != task.key:
                    self._job.stop()
                else:
                    self._begun.add(task.key)
            elif task.key in self._begun:
                self._fail(task, (self._job.lines() or ["it was ended"])[-1])
            elif len(self._store) < len(self._images):
                self._begun.add(task.key)
                try:
                    self._job.start(task.command, {"key": task.key})
                except OSError as error:
                    # Labels are kept and shown all the same.
                    self._fail(task, str(error))
            return False

    def progress(self) -> str | None:
        """What the process says that is looking, None if none is."""
        if not self._job.is_running():
            return None
        lines = self._job.lines()
        return lines[-1] if lines and lines[-1][0] in _PROGRESS else ""

    def _of_run(self, run: FinishedRun) -> _Task:
        name = f"run-{self._of}-{_digest(run.key)}"
        file = self._folder / f"{name}.npz"
        command = [*PYTHON, "kdfixmatch_web.look"]
        command += [str(run.path.absolute()), str(self._images.root.absolute())]
        command += [str(self._store.path), str(file)]
        if self._test is not None:
            command.append(str(self._test.absolute()))
        return _Task(name, file, command, f"What {run.path.name} makes of the images")

    def _of_labels(self) -> _Task:
        """Of a pretrained network, and the labels that there are when it begins.

        It begins anew when all that it has suggested has a label.
        """
        name = self._of_round()
        file = self._folder / f"{name}.csv"
        # Half of them at most: some may be damaged, or copies of images for test, and
        # more than can be suggested are refused.
        left = len(self._images) - len(self._store)
        count = min(COUNT, (left + 1) // 2)
        # Whoever labels meanwhile should not wait for it.
        command = ["nice", "-n", "10", *PYTHON, "kdfixmatch_cli", "suggest"]
        command += ["--unlabeled", str(self._images.root.absolute())]
        command += ["--count", str(count), "--on-error", "skip", "--output", str(file)]
        if self._store.counts():
            command += ["--labels", str(self._store.path)]
        if self._test is not None:
            command += ["--test", str(self._test.absolute())]
        return _Task(name, file, command, "Which images are typical")

    def _of_round(self) -> str:
        numbers = [
            int(path.stem.rpartition("-")[2])
            for path in self._folder.glob(f"typical-{self._of}-*.csv")
        ]
        last = max(numbers, default=1)
        is_used_up = self._key == f"typical-{self._of}-{last}" and all(
            self._store.get(name) is not None
            for name in self.suggested
            # Others, such as those that links lead out to, cannot get one.
            if name in self._images
        )
        return f"typical-{self._of}-{last + is_used_up}"

    def _take(self, task: _Task) -> bool:
        outlook = None
        try:
            suggested = read_suggestions(task.file.with_suffix(".csv"))
            if task.file.suffix == ".npz":
                outlook = Outlook.read(task.file)
        # Of a damaged archive, NumPy raises many kinds.
        except Exception as error:
            self._fail(task, str(error))
            return False
        self._key, self.trouble = task.key, ""
        self.outlook, self.suggested = outlook, suggested
        for other in self._folder.iterdir():
            if other.suffix in (".npz", ".csv") and other.stem != task.file.stem:
                with contextlib.suppress(OSError):
                    other.unlink()
        return True

    def _fail(self, task: _Task, reason: str) -> None:
        self._failed.add(task.key)
        self.trouble = f"{task.whose} is not known: {reason}"


def _digest(text: str) -> str:
    return hashlib.sha256(ascii(text).encode()).hexdigest()[:32]
