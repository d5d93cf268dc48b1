"""Files that commands write where the user said."""

from pathlib import Path


def check_file(path: Path, beginning: str | tuple[str, ...]) -> Path:
    """Checks that a file can be written without losing another.

    Args:
        path: File to write.
        beginning: How a file begins that this command wrote before, which is replaced.

    Raises:
        ValueError: Something else is there.
    """
    if path.is_dir():
        raise ValueError(f"`--output` must be a file. Received: {path}, a folder")
    if not path.exists():
        return path
    with open(path, encoding="utf-8", errors="replace") as file:
        if file.readline().startswith(beginning):
            return path
    raise ValueError(
        f"`--output` must be a new file, as it is not for this command to replace "
        f"another. Received: {path}, which exists"
    )
