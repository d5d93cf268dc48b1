"""Writing so that a reader sees all of a result or none of it.

Where the disk does not take it, an error says what could not be written, why, and what
helps.
"""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

UNFINISHED = ".unfinished-"

# What helps against errors of a disk, by their number.
_FREE = "Free space there, or choose another folder."
_FULL = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
    errno.EFBIG: "Choose a file system that takes larger files, or raise `ulimit -f`.",
}
_FORBIDDEN = {
    errno.EACCES: "Choose a folder that you may write to.",
    errno.EPERM: "Choose a folder that you may write to.",
    errno.EROFS: "Choose another folder.",
}
_REMEDIES = _FULL | _FORBIDDEN
_SENTENCE = "Cannot write"


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, and moves what was written there to it.

    If the writing fails, nothing has changed and nothing is left behind. A file or
    folder that stood at `path` is replaced. What was written is on the disk before it
    is moved, so that losing power leaves the old or the new. No folder can be exchanged
    at once: a process that is killed then may leave the old under a name that
    `standing` finds.

    Args:
        path: File or folder to write; missing parent folders are created.

    Yields:
        A path that does not exist yet, with the suffixes of `path`.

    Raises:
        OSError: The disk is full, or does not let write; see `writing`.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        old = standing(path)
        if old != path:
            os.replace(old, path)
        with tempfile.TemporaryDirectory(
            dir=path.parent, prefix=UNFINISHED, ignore_cleanup_errors=True
        ) as folder:
            temporary = Path(folder) / path.name
            yield temporary
            _sync(temporary)
            _replace(temporary, path)
            _sync_entry(path.parent)


@contextlib.contextmanager
def writing(path: Path, remedy: str | None = None) -> Iterator[None]:
    """Makes what a disk refuses a sentence with the place, the cause and a remedy.

    Other errors pass, also those of files that are read meanwhile.

    Args:
        path: File or folder that is written.
        remedy: A sentence; None for what helps in general.

    Raises:
        OSError: Of the same number, and so of the same class, as what was raised; also
            where TensorFlow or HDF5 raised an error of their own.
    """
    try:
        yield
    # Of whatever class: see above.
    except Exception as error:
        number = _refusal(error, path)
        if number is None or _is_sentence(error):
            raise
        cause = os.strerror(number)
        remedy = remedy or _REMEDIES.get(number, "Choose another place.")
        raise OSError(
            number, f"{_SENTENCE} {path}: {cause[:1].lower()}{cause[1:]}. {remedy}"
        ) from error


def error_of_disk(error: BaseException) -> int | None:
    """Number of the error of a disk that an exception tells of, None if of none."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    # TensorFlow and HDF5 only pass on the words of the operating system.
    message = str(error)
    return next((n for n in _REMEDIES if os.strerror(n) in message), None)


def _refusal(error: BaseException, path: Path) -> int | None:
    """Number of an error, if it is that of writing to a path."""
    number = error_of_disk(error)
    # What a full disk refuses of an open file, or to TensorFlow, has no name.
    is_nameless = getattr(error, "filename", None) is None
    if number is not None and (
        (number in _FULL and is_nameless) or _is_about(error, path)
    ):
        return number
    return None if error.__cause__ is None else _refusal(error.__cause__, path)


def _is_about(error: BaseException, path: Path) -> bool:
    if not isinstance(error, OSError):
        return UNFINISHED in str(error) or str(path) in str(error)
    own = [Path(path).absolute(), _name_while_replaced(path).absolute()]
    for name in (error.filename, error.filename2):
        if name is None:
            continue
        there = Path(os.fsdecode(name)).absolute()
        if UNFINISHED in str(there) or own[0].is_relative_to(there):
            return True
        if any(there.is_relative_to(here) for here in own):
            return True
    return False


def _is_sentence(error: BaseException) -> bool:
    """Whether `writing` has been there, and not for a part of what is written aside."""
    message = str(getattr(error, "strerror", ""))
    return message.startswith(_SENTENCE) and UNFINISHED not in message


def check_writable(folder: Path) -> None:
    """Writes to a folder and removes it again, before more depends on it.

    Raises:
        OSError: Nothing can be written there.
    """
    with writing(folder), tempfile.TemporaryDirectory(dir=folder, prefix=UNFINISHED):
        pass


def remove_remains(folder: Path) -> None:
    """Removes what killed processes left of writing to a folder that this one holds."""
    for unfinished in folder.glob(f"{UNFINISHED}*"):
        # One that goes meanwhile is no error; nor need any be gone to go on.
        shutil.rmtree(unfinished, ignore_errors=True)


def standing(path: Path) -> Path:
    """Where the file or folder of a path is: there, unless a kill kept it away."""
    old = _name_while_replaced(path)
    return old if old.exists() and not path.exists() else path


def _name_while_replaced(path: Path) -> Path:
    return path.parent / f".{path.name}.replaced"


def _replace(source: Path, target: Path) -> None:
    """Moves a file or folder to a place where there may be another."""
    # A folder cannot be renamed over a file, nor over one that holds files.
    if not target.is_dir() and not (target.exists() and source.is_dir()):
        os.replace(source, target)
        return
    # Beside it, so that a process that is killed here leaves the old one to be found.
    old = _name_while_replaced(target)
    _remove(old)
    os.replace(target, old)
    try:
        os.replace(source, target)
    # Also when a user interrupts.
    except BaseException:
        os.replace(old, target)
        raise
    # The new one is there; the next that replaces it tries again.
    with contextlib.suppress(OSError):
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

    Windows has no lock of this kind: there it does nothing.

    Raises:
        RuntimeError: Another process holds it.
        OSError: The folder cannot be opened, or its file system cannot lock.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with writing(folder):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        with writing(folder):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RuntimeError(
                    f"Another process is writing to {folder}. Wait until it ends, or "
                    "choose another folder."
                ) from None
            except OSError as error:
                # The system names no file: it was asked of an open one.
                error.filename = str(folder)
                raise
        yield
    finally:
        os.close(descriptor)
