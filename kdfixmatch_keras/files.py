"""Writing so that a reader sees all of a result or none of it."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, and moves what was written there to it.

    If the writing fails, nothing has changed and nothing is left behind. A file or
    folder that stood at `path` is replaced.

    Args:
        path: File or folder to write; missing parent folders are created.

    Yields:
        A path that does not exist yet, with the suffixes of `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=path.parent, prefix=".unfinished-", ignore_cleanup_errors=True
    ) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        replaced = Path(folder) / f"{path.name}.replaced"
        # A folder cannot be renamed over a file, nor over one that holds files.
        aside = path.is_dir() or (path.exists() and temporary.is_dir())
        if aside:
            os.replace(path, replaced)
        try:
            os.replace(temporary, path)
        except OSError:
            if aside:
                os.replace(replaced, path)
            raise
