"""The folder beside a file of labels in which the page keeps what it needs."""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kdfixmatch_keras.storage.files import held, writing

_EXPLANATION = """\
What `kdfixmatch label` keeps beside a file of labels. The labels are not here, but in
the file; whatever lies here can be deleted while no page is open.

pictures    small copies of the images, for the page
runs        the trainings that were started from the page, each a folder as that which
            `kdfixmatch train` writes, and the labels that it was given
looks       which images are worth a label, and what the last run makes of them
"""


@dataclass(frozen=True)
class WorkFolder:
    """The folder beside a file of labels that the page writes to.

    Attributes:
        path: The folder.
    """

    path: Path

    @classmethod
    def of(cls, labels: Path) -> "WorkFolder":
        """That of a file, which need not exist."""
        real = Path(os.path.realpath(labels))
        return cls(real.with_name(f"{real.name}.work"))

    @property
    def pictures(self) -> Path:
        """Small copies of the images."""
        return self.path / "pictures"

    @property
    def runs(self) -> Path:
        """Trainings."""
        return self.path / "runs"

    @property
    def looks(self) -> Path:
        """What runs make of the images."""
        return self.path / "looks"


def _check_own(path: Path, labels: Path) -> None:
    """Refuses a folder that another user has laid out, as everybody can in /tmp.

    Links in it would lead to files that the other must not write to.
    """
    others_write = os.stat(path.parent).st_mode & stat.S_IWOTH
    if others_write and os.lstat(path).st_uid != os.getuid():
        raise ValueError(
            "`--labels` must lie where what is kept beside it is yours. Received: "
            f"{labels}, beside which {path.name} belongs to another user. Choose a "
            "folder that only you write to."
        )


@contextlib.contextmanager
def labels_held(labels: Path) -> Iterator[WorkFolder]:
    """Keeps every other process from labeling into a file, until it is left.

    Args:
        labels: The file of labels, which need not exist.

    Raises:
        RuntimeError: Another process labels into it.
        ValueError: Somebody else has put the folder there.
        OSError: Nothing can be written beside it.
    """
    work = WorkFolder.of(labels)
    with writing(work.path):
        work.path.mkdir(parents=True, exist_ok=True)
        _check_own(work.path, labels)
        (work.path / "README.txt").write_text(_EXPLANATION, encoding="utf-8")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held(work.path))
        except RuntimeError as error:
            raise RuntimeError(
                f"Another page is open for {labels}. Label there, in as many windows "
                "as you like, or end its command first."
            ) from error
        yield work
