"""The folder of a run: what was trained, with what, and what came out."""

import contextlib
import csv
import itertools
import json
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kdfixmatch_keras import report
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.checks.paths import check_folder_name
from kdfixmatch_keras.kdfixmatch import KDFixMatch
from kdfixmatch_keras.report.figure import plot_run
from kdfixmatch_keras.serving import saving
from kdfixmatch_keras.storage.files import (
    UNFINISHED,
    check_writable,
    held,
    writing,
    written_aside,
)
from kdfixmatch_keras.storage.integrity import sealed, unsealed

_EXPLANATION = """\
A run of KD-FixMatch. What lies here:

run.json          the command, the settings, what was found, versions, results
class_names.txt   the classes in the order of their numbers
history.csv       loss, accuracy and the like of each epoch of both networks
trusted.csv       each unlabeled image: pseudo-label, confidence, cluster, whether it
                  was trusted or why not
run.png           the figure of the run
report.html       the report, one page that needs nothing else
report.json       what the report was made of
logs              for TensorBoard: tensorboard --logdir logs
model             both networks, for kdfixmatch_keras.KDFixMatch.load("model")
state             what the training needs to go on where it was stopped: the same
                  command does so. Not needed once it has ended

This folder is what kdfixmatch predict, evaluate, export, report and trusted take.
"""


class RunFolder:
    """Paths and files of a run.

    Args:
        path: The folder.

    Attributes:
        path: The folder.
        model: Folder that `KDFixMatch.load` reads.
        logs: Folder for TensorBoard.
        state: Folder of what goes on with a training that was stopped.
        trusted: CSV file of the trusted set.
        report: HTML page.
    """

    def __init__(self, path: Any) -> None:
        self.path = validation.check_path("path", path)
        self.model = self.path / saving.OF_RUN
        self.logs = self.path / "logs"
        self.state = self.path / "state"
        self.trusted = self.path / "trusted.csv"
        self.report = self.path / "report.html"
        self._report_contents = self.path / "report.json"
        self._class_names = self.path / "class_names.txt"
        self._facts = self.path / saving.RUN

    @classmethod
    def check(cls, path: Any, argument: str = "path") -> "RunFolder":
        """A folder that a run can be written to, or gone on with.

        Raises:
            ValueError: There is a file, or a folder that holds something else.
            OSError: Nothing can be written to the folder.
            RuntimeError: Another process holds the folder.
        """
        run = cls(path)
        check_folder_name(argument, run.path)
        is_folder = run.path.is_dir()
        if run.path.exists() and not (is_folder and (run.began or run._is_empty())):
            raise ValueError(
                f"`{argument}` must be a new or an empty folder, or that of a run. "
                f"Received: {argument}={str(path)!r}, which "
                + ("holds something else" if is_folder else "is a file")
            )
        if is_folder:
            # What another process holds is not written to.
            with held(run.path):
                check_writable(run.path)
        return run

    @classmethod
    def open(cls, path: Any, argument: str = "RUN") -> "RunFolder":
        """The folder of a finished run.

        Raises:
            ValueError: It is none.
        """
        run = cls(path)
        if not run.path.is_dir():
            reason = "it is a file" if run.path.exists() else "there is no such folder"
        elif not run.began:
            reason = "it has no run.json"
        elif "finished" not in (facts := run.read_facts()):
            reason = (
                "its training did not end; the command that began it goes on with it: "
                f"{facts['command']}"
            )
        else:
            return run
        raise ValueError(
            f"`{argument}` must be the folder of a finished run. "
            f"Received: {str(path)!r} ({reason})"
        )

    @property
    def began(self) -> bool:
        """Whether a run has been begun here."""
        return self._facts.is_file()

    def _is_empty(self) -> bool:
        return not any(
            not entry.name.startswith(UNFINISHED) for entry in self.path.iterdir()
        )

    def check_set_aside(self, argument: str = "path") -> None:
        """Checks that the folder can get another name under this process.

        Raises:
            ValueError: The process works in it, and would follow it.
        """
        path = self._entry()
        if Path.cwd().is_relative_to(path):
            raise ValueError(
                f"`{argument}` must not be the working folder or one above it where "
                "its run is set aside. Received: "
                f"{argument}={str(self.path)!r}, which is {path}. Call from another "
                "folder"
            )

    def _entry(self) -> Path:
        """Where the name of the folder stands, also if that is a link to it."""
        path = self.path.absolute()
        # Only the system knows what ".." is above a link.
        if path.name == "..":
            return path.resolve()
        return path.parent.resolve() / path.name

    def set_aside(self) -> Path:
        """Gives the folder another name, to start over without losing anything.

        Of a link to a folder, the link gets it.

        Returns:
            The new name, with the first number that is free.
        """
        path = self._entry()
        names = (path.with_name(f"{path.name}-{n}") for n in itertools.count(1))
        other = next(name for name in names if not os.path.lexists(name))
        with writing(path):
            path.rename(other)
        return other

    def load_model(self) -> KDFixMatch:
        """The trained model.

        Raises:
            ValueError: It cannot be read.
        """
        with self._reading_model():
            return KDFixMatch.load(self.model)

    @contextlib.contextmanager
    def _reading_model(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, OSError) as error:
            raise ValueError(
                f"`RUN` must be the folder of a run. Received: {self.model}, which "
                f"cannot be loaded ({error})"
            ) from error

    def read_class_names(self) -> list[str]:
        """The classes in the order of their numbers.

        Raises:
            ValueError: The model cannot be read.
        """
        with self._reading_model():
            names: list[str] = saving.read_settings(self.model)["class_names"]
        return names

    def paths(self) -> dict[str, Path]:
        """The folders and files that the run was trained on, by option of `train`.

        Raises:
            ValueError: The facts cannot be read.
        """
        facts = self.read_facts()
        paths: dict[str, str] = facts.get("images", {}).get("paths", {})
        # Relative to where `train` was called.
        folder = facts.get("directory", "")
        return {name: Path(folder, path) for name, path in paths.items()}

    def read_facts(self, argument: str = "RUN", remedy: str = "") -> dict[str, Any]:
        """What `write_facts` wrote last.

        Args:
            argument: Name that error messages give to the folder.
            remedy: A sentence for them.

        Raises:
            ValueError: It cannot be read.
        """
        return _read_json(self._facts, argument, remedy)

    def write_facts(self, facts: dict[str, Any]) -> None:
        """Writes what a reader wants to know of the run, as JSON."""
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        # First, as it is what makes this a run.
        self._write("run.json", to_json(sealed(facts, "run.json")))
        self._write("README.txt", _EXPLANATION)

    def write_results(self, model: KDFixMatch) -> None:
        """Writes the model and all that is said of it but the report."""
        model.save(self.model)
        names = model.class_names or []
        self._write("class_names.txt", "".join(f"{name}\n" for name in names))
        self._write_history(model.history)
        model.trusted_set.to_csv(
            self.trusted,
            names=model.unlabeled_names,
            class_names=model.class_names,
        )
        plot_run(model, self.path / "run.png")

    def write_report(self, contents: dict[str, Any]) -> None:
        """Writes the page of a run, and what it is made of."""
        name = self._report_contents.name
        self._write(name, to_json(sealed(contents, name)))
        report.write(contents, self.report)

    def read_report(self) -> dict[str, Any]:
        """What `write_report` was given.

        Raises:
            ValueError: It cannot be read.
        """
        return _read_json(self._report_contents)

    def _write_history(self, history: dict[str, dict[str, list[float]]]) -> None:
        metrics = list(
            dict.fromkeys(name for stage in history.values() for name in stage)
        )
        with (
            written_aside(self.path / "history.csv") as aside,
            open(aside, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["stage", "epoch", *metrics])
            for stage, values in history.items():
                for epoch, row in enumerate(zip(*values.values(), strict=True), 1):
                    known = dict(zip(values, row, strict=True))
                    writer.writerow(
                        [stage, epoch, *(known.get(name, "") for name in metrics)]
                    )

    def _write(self, name: str, text: str) -> None:
        with written_aside(self.path / name) as aside:
            aside.write_text(text, encoding="utf-8")


def _read_json(path: Path, argument: str = "RUN", remedy: str = "") -> dict[str, Any]:
    try:
        return unsealed(json.loads(path.read_text(encoding="utf-8")), path.name)
    except (OSError, RecursionError, ValueError) as error:
        raise ValueError(
            f"`{argument}` must be the folder of a run. Received: {path}, which cannot "
            f"be read ({error})" + (f". {remedy}" if remedy else "")
        ) from error


def to_json(value: Any) -> str:
    """JSON for people: indented, letters of all languages as they are."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def versions() -> dict[str, str]:
    """Versions of what takes part in a run."""
    found = {"python": platform.python_version()}
    for package in ("kdfixmatch-keras", "keras", "tensorflow", "jax", "torch", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            pass
    return found
