"""Finding image files."""

import os
from collections.abc import Iterator
from pathlib import Path

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


def expand_user(path: PathLike) -> Path:
    """Replaces `~` by the home directory, and leaves that of nobody as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def printable(file: PathLike) -> str:
    """The path as text, in which bytes that are not UTF-8 are escaped.

    Python keeps such bytes of a file name as lone surrogates, which cannot be written
    to a terminal, to JSON or to CSV.
    """
    return str(file).encode("utf-8", "backslashreplace").decode()


def find_images(folder: Path) -> list[Path]:
    """Lists the image files under a folder, sorted by relative posix path.

    Hidden files and folders (whose names begin with a dot) are left out, and so is
    what is neither a file nor a folder, such as a named pipe. Links are followed, but
    a file that links make reachable by several paths is listed once, by the first of
    them. Links to nothing are listed.

    Args:
        folder: An existing folder.

    Returns:
        Paths that begin with `folder`.
    """
    search = _Search()
    found = list(search.walk(folder, os.path.realpath(folder)))
    files: list[Path] = []
    seen: set[_RealFile] = set()
    for file, real in found:
        if real in search.linked:
            if real in seen:
                continue
            seen.add(real)
        files.append(file)
    return files


# Resolved folder and name. The text of the folder is shared by all its files.
_RealFile = tuple[str, str]


class _Search:
    """A walk through a folder that enters each folder once.

    Paths are resolved only where there is a link: a million plain files are not.

    Attributes:
        linked: The files that a link leads to.
    """

    def __init__(self) -> None:
        self.linked: set[_RealFile] = set()
        self._entered: set[str] = set()

    def walk(self, folder: Path, real_folder: str) -> Iterator[tuple[Path, _RealFile]]:
        """Yields image files in the order of their posix paths."""
        if real_folder in self._entered:
            return
        self._entered.add(real_folder)
        with os.scandir(folder) as scanned:
            entries = [entry for entry in scanned if not entry.name.startswith(".")]
        # A folder takes part in the order of whole paths with the slash behind it.
        for name, entry in sorted(
            (entry.name + "/" * _is_folder(entry), entry) for entry in entries
        ):
            path = folder / entry.name
            if name.endswith("/"):
                yield from self.walk(path, _real_path(entry, real_folder))
            elif path.suffix.lower()[1:] not in EXTENSIONS:
                continue
            elif not entry.is_symlink():
                if entry.is_file():
                    yield path, (real_folder, name)
            elif os.path.isfile(path):
                real = os.path.split(os.path.realpath(path))
                self.linked.add(real)
                yield path, real
            elif not os.path.exists(path):
                yield path, (real_folder, name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # `DirEntry.is_dir` raises for a link to itself.
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _real_path(entry: os.DirEntry[str], real_folder: str) -> str:
    if entry.is_symlink():
        return os.path.realpath(entry.path)
    return os.path.join(real_folder, entry.name)
