"""Writing so that a reader sees all of a result or none of it, and reading it so."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

UNFINISHED = ".unfinished-"

# What reading a damaged or foreign archive raises, numpy's `.npz` among them.
DAMAGED = (
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


# Name in a sealed dictionary of the digest of the rest.
_SEAL = "sha256"


def check_archive(file: BinaryIO) -> None:
    """Reads all of an archive and compares it with its checksums.

    Args:
        file: A ZIP archive, such as numpy's `.npz`; left at its beginning.

    Raises:
        Exception: One of `DAMAGED`.
    """
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} in it is damaged")
    file.seek(0)


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """A dictionary of what JSON knows, with a digest by which damage to it shows."""
    # As JSON returns it: tuples are lists, and keys strings.
    content = json.loads(json.dumps(content))
    return {**content, _SEAL: _digest(content)}


def unsealed(content: Any) -> dict[str, Any]:
    """What was sealed.

    Raises:
        ValueError: It was changed since.
    """
    if not isinstance(content, dict):
        raise ValueError(f"it holds {type(content).__name__}, not an object")
    rest = {name: value for name, value in content.items() if name != _SEAL}
    if content.get(_SEAL) != _digest(rest):
        raise ValueError("it was changed or damaged after it was written")
    return rest


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, and moves what was written there to it.

    If the writing fails, nothing has changed and nothing is left behind. A file or
    folder that stood at `path` is replaced. What was written is on the disk before it
    is moved, so that losing power leaves the old or the new. No folder can be exchanged
    at once: a process that is killed then may leave the old as `.<name>.replaced`.

    Args:
        path: File or folder to write; missing parent folders are created.

    Yields:
        A path that does not exist yet, with the suffixes of `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=UNFINISHED, ignore_cleanup_errors=True
    ) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        _sync(temporary)
        _replace(temporary, path)
        _sync_entry(path.parent)


def _replace(source: Path, target: Path) -> None:
    """Moves a file or folder to a place where there may be another."""
    # A folder cannot be renamed over a file, nor over one that holds files.
    if not target.is_dir() and not (target.exists() and source.is_dir()):
        os.replace(source, target)
        return
    # Beside it, so that a process that is killed here leaves the old one to be found.
    old = target.with_name(f".{target.name}.replaced")
    _remove(old)
    os.replace(target, old)
    try:
        os.replace(source, target)
    # Also when a user interrupts.
    except BaseException:
        os.replace(old, target)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Brings a file, or a folder with all that is in it, from memory to the disk."""
    if path.is_dir():
        for entry in path.iterdir():
            _sync(entry)
    _sync_entry(path)


def _sync_entry(path: Path) -> None:
    if os.name == "nt":  # Windows syncs neither folders nor what is open to read.
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems of networks cannot do so with a folder.
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps every other process off a folder, until it is left or this one ends.

    Raises:
        RuntimeError: Another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f"Another process is writing to {folder}. Wait until it ends, or "
                "choose another folder."
            ) from None
        yield
    finally:
        os.close(descriptor)
