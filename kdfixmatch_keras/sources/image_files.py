"""Finding image files."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kdfixmatch_keras.checks.paths import expand_user
from kdfixmatch_keras.sources.file_kinds import (
    is_of_a_file_server,
    is_read,
    kind_of_file,
    passed_over_kind,
)

# Files that end so are images, or damaged ones; of others the content decides.
EXTENSIONS = ("jpg", "jpeg", "png", "bmp", "gif", "webp", "tif", "tiff")

PathLike = str | os.PathLike[str]


def check_folder(folder: PathLike, argument: str) -> Path:
    """Checks that a folder is there.

    Args:
        folder: Path of the folder; `~` is the home directory.
        argument: Name that the caller knows the folder by.

    Returns:
        The folder as a `Path`.

    Raises:
        ValueError: If there is no such folder, or its path is not valid UTF-8.
    """
    path = expand_user(folder)
    # Unlike `Path.is_dir`, these do not raise for a name that is too long.
    if not os.path.isdir(path):
        found = "it is a file" if os.path.exists(path) else "there is no such folder"
        raise ValueError(
            f"`{argument}` must be an existing folder. Received: "
            f"{argument}={str(folder)!r} ({found})"
        )
    if printable(path) != str(path):
        raise ValueError(
            f"`{argument}` must be a folder whose path is valid UTF-8. Received: "
            f"{argument}={str(folder)!r}. Rename it."
        )
    return path


def printable(file: PathLike) -> str:
    """The path as text, in which bytes that are not UTF-8 are escaped.

    Python keeps such bytes of a file name as lone surrogates, which cannot be written
    to a terminal, to JSON or to CSV.
    """
    return str(file).encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class FoundFiles:
    """What is in a folder.

    Attributes:
        files: The image files.
        passed_over: Number of other files by kind. A folder that is not entered counts
            as one.
        again: Other paths that lead to one of the files by a link, and to which; of a
            folder that is one, the folder's.
    """

    files: list[Path]
    passed_over: Counter[str]
    again: dict[Path, Path]


def find_images(folder: Path) -> list[Path]:
    """The image files under a folder; see `search_folder`."""
    return search_folder(folder).files


def search_folder(folder: Path) -> FoundFiles:
    """Finds the image files under a folder, sorted by relative posix path.

    What ends in one of `EXTENSIONS` is an image; of other files the content decides,
    and those that are none are counted. Hidden files and folders (whose names begin
    with a dot) are passed over, and folders in which file servers keep thumbnails and
    deleted files. What is neither a file nor a folder, such as a named pipe, is left
    out. Links are followed, but a file that links make reachable by several paths is
    listed once, by the first of them. Links to nothing are listed.

    Args:
        folder: An existing folder.

    Returns:
        Paths that begin with `folder`, and what was passed over.
    """
    search = _Search()
    found = list(search.walk(folder, os.path.realpath(folder)))
    files: list[Path] = []
    seen: dict[_RealFile, Path] = {}
    for file, real in found:
        if real in search.linked:
            first = seen.setdefault(real, file)
            if first is not file:
                search.again[file] = first
                continue
        files.append(file)
    return FoundFiles(files, search.passed_over, search.again)


def is_passed_over(folder: str) -> bool:
    """Whether a folder of this name is not entered."""
    return folder.startswith(".") or is_of_a_file_server(folder)


# Resolved folder and name. The text of the folder is shared by all its files.
_RealFile = tuple[str, str]


class _Search:
    """A walk through a folder that enters each folder once.

    Paths are resolved only where there is a link: a million plain files are not.

    Attributes:
        linked: The files that a link leads to.
        passed_over: Number of files by kind that are no images.
        again: Folders that were entered by another path, and by which.
    """

    def __init__(self) -> None:
        self.linked: set[_RealFile] = set()
        self.passed_over: Counter[str] = Counter()
        self.again: dict[Path, Path] = {}
        self._entered: dict[str, Path] = {}

    def walk(self, folder: Path, real_folder: str) -> Iterator[tuple[Path, _RealFile]]:
        """Yields image files in the order of their posix paths."""
        if real_folder in self._entered:
            self.again[folder] = self._entered[real_folder]
            return
        self._entered[real_folder] = folder
        with os.scandir(folder) as scanned:
            entries = [entry for entry in scanned if not self._is_hidden(entry)]
        # A folder takes part in the order of whole paths with the slash behind it.
        for name, entry in sorted(
            (entry.name + "/" * _is_folder(entry), entry) for entry in entries
        ):
            path = folder / entry.name
            if name.endswith("/"):
                if is_passed_over(entry.name):
                    self.passed_over[f"folder {entry.name}"] += 1
                else:
                    yield from self.walk(path, _real_path(entry, real_folder))
            elif not entry.is_symlink():
                if entry.is_file() and self._is_image(path):
                    yield path, (real_folder, name)
            elif os.path.isfile(path):
                if self._is_image(path):
                    real = os.path.split(os.path.realpath(path))
                    self.linked.add(real)
                    yield path, real
            elif not os.path.exists(path) and _has_extension(path):
                yield path, (real_folder, name)

    def _is_hidden(self, entry: os.DirEntry[str]) -> bool:
        hidden = entry.name.startswith(".")
        if hidden:
            self.passed_over["hidden"] += 1
        return hidden

    def _is_image(self, path: Path) -> bool:
        if _has_extension(path):
            return True
        kind = kind_of_file(path)
        if is_read(kind):
            return True
        self.passed_over[passed_over_kind(path, kind)] += 1
        return False


def _has_extension(path: Path) -> bool:
    return path.suffix.lower()[1:] in EXTENSIONS


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # `DirEntry.is_dir` raises for a link to itself.
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _real_path(entry: os.DirEntry[str], real_folder: str) -> str:
    if entry.is_symlink():
        return os.path.realpath(entry.path)
    return os.path.join(real_folder, entry.name)
