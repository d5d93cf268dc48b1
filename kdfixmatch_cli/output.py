"""Files that commands write where the user said."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.storage.files import check_writable


def check_file(path: Path, first_lines: Sequence[str] = ()) -> Path:
    """Checks that a file can be written, and that nothing is lost by it.

    Args:
        path: File to write.
        first_lines: What a file begins with that the same command wrote before, which
            is replaced.

    Raises:
        ValueError: Something else is there, or there can be no such file.
        OSError: Nothing can be written there.
    """
    check_parents(path)
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device or a pipe"
        raise ValueError(f"`--output` must be a file. Received: {path}, {kind}")
    if not path.exists() or path.stat().st_size == 0:
        return path
    with open(path, encoding="utf-8", errors="replace") as file:
        if file.readline().rstrip("\n") in first_lines:
            return path
    raise ValueError(
        "`--output` must be new, or a file that this command wrote before. Received: "
        f"{path}, which is something else"
    )


def check_parents(path: Path) -> None:
    """Checks that something can be written at a path, where nothing may be yet.

    Raises:
        ValueError: What is above it is no folder.
        OSError: Nothing can be written there.
    """
    validation.check_output("--output", path)
    # A folder that is there may be writable where the one above it is not.
    if not path.is_dir():
        check_writable(next(p for p in path.absolute().parents if p.is_dir()))


def check_apart(output: Path, inputs: Iterable[Path], option: str = "--output") -> None:
    """Checks that what is written will not be read as an image the next time.

    Args:
        output: File or folder to write.
        inputs: Folders of images.
        option: What the user typed before it.

    Raises:
        ValueError: The output lies in a folder of images.
    """
    resolved = output.resolve()
    for folder in inputs:
        if folder.is_dir() and resolved.is_relative_to(folder.resolve()):
            raise ValueError(
                f"`{option}` must not lie in a folder of images. Received: {output}, "
                f"which is in {folder}"
            )


def listed(names: Iterable[str], count: int = 20) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - count:,} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
