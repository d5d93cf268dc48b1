"""Labels in a CSV file that is never behind what was answered."""

import codecs
import contextlib
import csv
import io
import os
import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdfixmatch_keras.sources.labels import (
    NONE_OF_THESE,
    WITHOUT_LABEL,
    check_class_name,
    is_none_of_these,
    twin_of,
)
from kdfixmatch_keras.sources.labels_file import COLUMNS, read_labels_file
from kdfixmatch_keras.storage.files import writing, written_aside
from kdfixmatch_web.image_folder import ImageFolder

MAX_LENGTH = 100

# The end of a file after a line break: the beginning of a row as it is written here,
# which lacks the rest as the power failed.
_UNFINISHED = re.compile(rb'"(?:[^"]|"")*(?:"(?:,(?:"(?:[^"]|"")*)?)?)?')


@dataclass(frozen=True)
class Change:
    """A label that an image gets.

    Attributes:
        file: Name of the image.
        label: Its new label, None to take it away.
        expected: The label that it has for who asks for the change, None for none.
    """

    file: str
    label: str | None
    expected: str | None = None


class Conflict(Exception):
    """Somebody else labeled images meanwhile; nothing was changed.

    Attributes:
        labels: What those images have, by name.
    """

    def __init__(self, labels: Mapping[str, str | None]) -> None:
        super().__init__(f"{len(labels)} images have another label since")
        self.labels = dict(labels)


class LabelStore:
    """The labels of the images of a folder, in the file that `train --labels` reads.

    A new label is a line more, and whatever else is changed is a new file in place of
    the old one. Both are on the disk before `change` returns, so that a kill loses
    nothing that was answered. What others write to the file meanwhile is read before
    the next change.

    Args:
        path: CSV file; it need not exist, and is made by the first label.
        images: The images.
        argument: Name that error messages give to `path`.

    Raises:
        ValueError: The file is not as `train --labels` reads it.
    """

    def __init__(self, path: Path, images: ImageFolder, argument: str = "path") -> None:
        # A new file would take the place of a link, and not of what it leads to.
        self.path = Path(os.path.realpath(path))
        self._images = images
        self._argument = argument
        self._lock = threading.RLock()
        # By name of the image, or by what stands in the file where there is none.
        self._rows: dict[str, tuple[str, str]] = {}
        self._counts: Counter[str] = Counter()
        self._labeled = 0
        self._stamp: tuple[int, int, int] | None = None
        self._read()

    def __len__(self) -> int:
        """Returns the number of labeled images, other files of the file left out."""
        return self._labeled

    def get(self, file: str) -> str | None:
        """The label of an image, None if it has none."""
        row = self._rows.get(file)
        return None if row is None else row[1]

    def labels(self) -> dict[str, str]:
        """All labels by name of the image, in the order they were given."""
        with self._lock:
            return {name: label for name, (_, label) in self._rows.items()}

    def counts(self) -> dict[str, int]:
        """Number of images by label."""
        with self._lock:
            return dict(self._counts)

    def refresh(self) -> bool:
        """Reads the file again if it was changed; whether it was.

        Raises:
            ValueError: It is not as it must be. What was known before is kept.
        """
        with self._lock:
            if _stamp(self.path) == self._stamp:
                return False
            self._read()
            return True

    def change(self, changes: Sequence[Change]) -> None:
        """Makes some changes or, if one of them cannot be made, none.

        Args:
            changes: At most one for each image.

        Raises:
            Conflict: An image has another label than was expected, and than it would
                get.
            KeyError: There is no such image.
            ValueError: A label is no name of a class, or another spelling of one.
            OSError: The disk does not take it.
        """
        with self._lock:
            self.refresh()
            changes = self._checked(changes)
            # Asked for again where the answer was lost, they are made already.
            changes = [c for c in changes if self.get(c.file) != c.label]
            if not changes:
                return
            are_new = all(self.get(change.file) is None for change in changes)
            rows = dict(self._rows)
            for change in changes:
                if change.label is None:
                    del rows[change.file]
                else:
                    written = rows.get(change.file, (change.file, ""))[0]
                    rows[change.file] = (written, change.label)
            known = self._stamp
            if not are_new or known is None or known[1] == 0:
                self._replace(rows)
                self._take(rows)
                return
            size = self._append([(c.file, c.label or "") for c in changes])
            self._take(rows)
            # Others may have written meanwhile, or put another file in its place.
            expected = (known[0], known[1] + size)
            if self._stamp is None or self._stamp[:2] != expected:
                self._stamp = known
                self._read()
                self.change(changes)

    def _checked(self, changes: Sequence[Change]) -> list[Change]:
        if len({change.file for change in changes}) < len(changes):
            raise ValueError(
                "`changes` must have one for each image. Received: several for one"
            )
        known = set(self._counts)
        conflicts = {}
        for change in changes:
            if change.file not in self._images:
                raise KeyError(change.file)
            if change.label is not None and change.label not in known:
                check_new_class(change.label, known)
                known.add(change.label)
            have = self.get(change.file)
            if have not in (change.expected, change.label):
                conflicts[change.file] = have
        if conflicts:
            raise Conflict(conflicts)
        return list(changes)

    def _append(self, rows: Sequence[tuple[str, str]]) -> int:
        """Adds rows to the file; returns by how many bytes it grows."""
        data = _as_csv(rows).encode()
        with writing(self.path):
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    data = b"\n" + data
                try:
                    _write_all(descriptor, data)
                    os.fsync(descriptor)
                except OSError:
                    # Half a line would keep the file from being read.
                    with contextlib.suppress(OSError):
                        os.ftruncate(descriptor, size)
                    raise
            finally:
                os.close(descriptor)
        return len(data)

    def _replace(self, rows: Mapping[str, tuple[str, str]]) -> None:
        text = ",".join(COLUMNS) + "\n" + _as_csv(rows.values())
        with written_aside(self.path) as aside:
            aside.write_text(text, encoding="utf-8", newline="")
            # Who may read and write the file stays as it was.
            with contextlib.suppress(FileNotFoundError):
                shutil.copymode(self.path, aside)

    def _read(self) -> None:
        rows: dict[str, tuple[str, str]] = {}
        stamp = _stamp(self.path)
        if stamp is None and self._stamp is not None:
            raise ValueError(
                f"`{self._argument}` must stay where it is. Received: {self.path}, "
                f"which has gone, with {len(self._rows)} labels. Put it back."
            )
        if stamp is not None and stamp[1]:
            _cut_unfinished(self.path)
            files, labels = read_labels_file(
                self.path, self._images.root, self._argument
            )
            for file, label in zip(files, labels, strict=True):
                written = _written(file, self._images.root)
                name = self._images.name_of(file) or written
                rows[name] = (written, label)
        self._take(rows)

    def _take(self, rows: dict[str, tuple[str, str]]) -> None:
        self._rows = rows
        self._counts = Counter(label for _, label in rows.values())
        self._labeled = sum(map(self._images.__contains__, rows))
        self._stamp = _stamp(self.path)


def check_new_class(label: str, known: set[str]) -> None:
    """Checks the name of a class that is used for the first time.

    Args:
        label: The name.
        known: The classes that there are.

    Raises:
        ValueError: It is none that a training takes, or another spelling of one.
    """
    check_class_name(label, "label")
    if not label or label.lower() in WITHOUT_LABEL:
        raise ValueError(
            "`label` must be the name of a class. Received: "
            f"{label!r}, which says that there is none. Skip the image instead."
        )
    if len(label) > MAX_LENGTH:
        raise ValueError(
            f"`label` must have at most {MAX_LENGTH} characters. Received: {len(label)}"
        )
    twin = NONE_OF_THESE if is_none_of_these(label) else twin_of(label, known)
    if twin is not None and twin != label:
        raise ValueError(
            f"`label` must spell each class in one way. Received: {label!r}, where "
            f"there is {twin!r}. Choose that one."
        )


def _as_csv(rows: Iterable[tuple[str, str]]) -> str:
    """Lines in which all is quoted, so that one that lacks its end is told."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _written(file: Path, root: Path) -> str:
    try:
        return file.relative_to(root).as_posix()
    except ValueError:
        return str(file)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when others write to a file: its number, size and time."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _cut_unfinished(path: Path) -> None:
    """Takes away a last line that was being written when the power failed.

    Nobody was told that it was kept. A line that others wrote is left as it is, and so
    is a file that others write to meanwhile.
    """
    with open(path, "rb") as file:
        data = file.read()
    header = data.partition(b"\n")[0].removeprefix(codecs.BOM_UTF8)
    start = data.rfind(b'\n"') + 1
    if (
        not start
        or header.replace(b'"', b"").rstrip() != ",".join(COLUMNS).encode()
        or not _UNFINISHED.fullmatch(data[start:])
    ):
        return
    with writing(path), open(path, "r+b") as file:
        if os.fstat(file.fileno()).st_size == len(data):
            file.truncate(start)
            os.fsync(file.fileno())
