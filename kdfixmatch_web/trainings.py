"""Trainings on the labels so far: started, found again, and what they gave."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdfixmatch_keras.sources.file_reading import try_files
from kdfixmatch_keras.sources.image_decoding import read_header
from kdfixmatch_keras.sources.labels import NONE_OF_THESE
from kdfixmatch_keras.sources.labels_file import read_labels_file
from kdfixmatch_keras.storage.files import written_aside
from kdfixmatch_keras.storage.integrity import unsealed
from kdfixmatch_web.image_folder import ImageFolder
from kdfixmatch_web.job import PYTHON, Job

MAX_MINUTES, MAX_SIDE = 7 * 24 * 60, 4096
# Where images have to be resized: small enough for a machine without a GPU.
USUAL_SIZE, _LARGE = 96, 128
_SIZES_LOOKED_AT = 16
# What a page shows of what a training prints.
_SHOWN_LINES = 4
# As `kdfixmatch train` tells each epoch.
_EPOCH = re.compile(r"^(\w+) network, epoch (\d+)/(\d+)")


@dataclass(frozen=True)
class FinishedRun:
    """A run that has ended.

    Attributes:
        path: Its folder.
        key: What no other run has, nor the same folder after another training.
        labels: Number of labeled images.
        accuracy: Its accuracy, if that is known.
        measured: On what, such as `"test images"`.
    """

    path: Path
    key: str
    labels: int
    accuracy: float | None
    measured: str

    def as_json(self) -> dict[str, Any]:
        """What the page shows of it."""
        return {
            "name": self.path.name,
            "labels": self.labels,
            "accuracy": self.accuracy,
            "measured": self.measured,
        }


class Trainings:
    """The runs of a file of labels, one at a time.

    Args:
        folder: Folder of the runs, which need not exist.
        images: All images.
        test: Folder of labeled images to measure on, or None.
        options: Further options of `kdfixmatch train`, as they would be typed.
    """

    def __init__(
        self,
        folder: Path,
        images: ImageFolder,
        test: Path | None,
        options: Sequence[str],
    ) -> None:
        self._folder = folder
        self._images = images
        self._unlabeled = images.root.absolute()
        self._test = None if test is None else test.absolute()
        self._options = list(options)
        self._job = Job(folder, "training")
        self._known: dict[Path, FinishedRun] = {}

    @property
    def image_size(self) -> int | None:
        """The size to propose, None where the options or the images have one."""
        if any(word.partition("=")[0] == "--image-size" for word in self._options):
            return None
        return proposed_size(self._images)

    def start(
        self,
        labels: Path,
        minutes: float | None,
        image_size: int | None,
        earlier: Path | None = None,
    ) -> None:
        """Starts a training in a process of its own.

        Args:
            labels: File of labels. The training keeps a copy, so that it can go on
                where it was stopped, whatever is labeled meanwhile.
            minutes: How long it may take. None: as the options have it.
            image_size: Side of the squares that images are resized to. None: as the
                options have it.
            earlier: Folder of a run whose networks it starts from, at their size.

        Raises:
            ValueError: There are too few labels, or a number is out of bounds.
            RuntimeError: A training is running.
            OSError: The disk does not take it.
        """
        _check_number("minutes", minutes, 0, MAX_MINUTES)
        _check_number("image_size", image_size, 7, MAX_SIDE, int)
        if earlier is not None and image_size is not None:
            raise ValueError(
                "`image_size` must be left out where a training starts from an earlier "
                f"one, which has its own. Received: {image_size}"
            )
        if self._job.is_running():
            raise RuntimeError("A training is running already.")
        # It would say so as well, but seconds later.
        _, names = read_labels_file(labels, self._unlabeled, "labels")
        classes = set(names) - {NONE_OF_THESE}
        if len(classes) < 2:
            raise ValueError(
                "`labels` must name images of at least two classes. Received: "
                f"{len(names)} labels, of {len(classes)}"
            )
        run = self._next()
        copy = run.with_name(f"{run.name}.csv")
        with written_aside(copy) as aside:
            aside.write_bytes(labels.read_bytes())
        command = [
            *(*PYTHON, "kdfixmatch_cli", "train"),
            *("--unlabeled", str(self._unlabeled), "--labels", str(copy)),
            *("--output", str(run), "--on-error", "skip"),
        ]
        given = {
            "--test": self._test,
            "--minutes": minutes,
            "--image-size": image_size,
            "--continue-from": None if earlier is None else earlier.absolute(),
        }
        for option, value in given.items():
            if value is not None:
                command += [option, str(value)]
        command += self._options
        self._job.start(command, {"run": run.name, "command": shlex.join(command)})

    def stop(self) -> None:
        """Ends the training that runs; the same command would go on with it."""
        self._job.stop()

    def state(self) -> dict[str, Any] | None:
        """How far the training is that was last started, None if none was."""
        facts, is_running = self._job.facts(), self._job.is_running()
        name = facts.get("run")
        if not isinstance(name, str):
            return None
        lines = self._job.lines()
        shown = lines[-_SHOWN_LINES:]
        found = {"name": name, "running": is_running}
        if is_running:
            return {**found, "lines": shown, "epochs": _epochs(lines)}
        has_ended = self._read(self._folder / name) is not None
        errors = [line for line in lines if line.startswith("Error: ")]
        if not has_ended and not errors:
            shown.append("It was ended before it was done.")
        return {**found, "lines": shown, "failed": not has_ended}

    def finished(self) -> list[FinishedRun]:
        """The runs that have ended, in the order they were started."""
        folders = sorted(self._folder.glob("run-*/run.json"), key=_number)
        runs = (self._read(file.parent) for file in folders)
        return [run for run in runs if run is not None]

    def _read(self, folder: Path) -> FinishedRun | None:
        if folder not in self._known:
            run = read_run(folder)
            if run is None:
                return None
            self._known[folder] = run
        return self._known[folder]

    def _next(self) -> Path:
        numbers = [_number(path) for path in self._folder.glob("run-*")]
        return self._folder / f"run-{max(numbers, default=0) + 1}"


def proposed_size(images: ImageFolder) -> int | None:
    """A size to bring images to where they have several, or a large one.

    Those of some are looked at. None: they can be taken as they are.
    """
    step = max(1, len(images) // _SIZES_LOOKED_AT)
    files = [images.root / name for name in images.names[::step]]
    facts = [found for _, found, _ in try_files(read_header, files) if found]
    sizes = {found.size for found in facts}
    is_usable = len(sizes) == 1 and max(*sizes.pop()) <= _LARGE
    return None if is_usable or not facts else USUAL_SIZE


def read_run(folder: Path) -> FinishedRun | None:
    """What a run gave, or None if it has not ended or cannot be read."""
    facts = _read_json(folder / "run.json")
    if facts is None or "finished" not in facts:
        return None
    key = f"{folder.absolute()} {facts.get('started')} {facts['finished']}"
    labels = int(facts.get("images", {}).get("labeled", 0))
    accuracy, measured = facts.get("test_accuracy", {}).get("inner"), "test images"
    if accuracy is None:
        # Without test images, what the labels themselves tell.
        probe = (_read_json(folder / "report.json") or {}).get("probe") or {}
        accuracy = probe.get("cross_validated_accuracy")
        measured = "linear probe, cross-validated on the labels"
    return FinishedRun(folder, key, labels, accuracy, measured)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return unsealed(json.loads(path.read_text(encoding="utf-8")), path.name)
    except (OSError, RecursionError, ValueError):
        return None


def _epochs(lines: Sequence[str]) -> dict[str, Any] | None:
    """Which network is trained, and how far, as the last line tells it."""
    for line in reversed(lines):
        if found := _EPOCH.match(line):
            network, done, count = found.groups()
            return {"network": network, "done": int(done), "of": int(count)}
    return None


def _number(path: Path) -> int:
    for part in reversed(path.parts):
        if found := re.fullmatch(r"run-(\d{1,9})(\.csv)?", part):
            return int(found[1])
    return 0


def _check_number(
    name: str, value: Any, above: float, most: float, kind: Any = int | float
) -> None:
    if value is None:
        return
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    if not is_number or not above < value <= most:
        raise ValueError(
            f"`{name}` must be a number above {above} and at most {most}. Received: "
            f"{value!r}"
        )
