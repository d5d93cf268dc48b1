"""Labeling one folder into one file: what the page asks for."""

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdfixmatch_keras.sources.labels import NONE_OF_THESE
from kdfixmatch_keras.storage.files import held, writing
from kdfixmatch_web.image_folder import ImageFolder
from kdfixmatch_web.label_store import Change, LabelStore
from kdfixmatch_web.pictures import Pictures

# Images of one answer.
MAX_ITEMS = 200

_EXPLANATION = """\
What `kdfixmatch label` keeps beside a file of labels. The labels are not here, but in
the file; whatever lies here can be deleted while no page is open.

pictures    small copies of the images, for the page
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


@contextlib.contextmanager
def labels_held(labels: Path) -> Iterator[WorkFolder]:
    """Keeps every other process from labeling into a file, until it is left.

    Args:
        labels: The file of labels, which need not exist.

    Raises:
        RuntimeError: Another process labels into it.
        OSError: Nothing can be written beside it.
    """
    work = WorkFolder.of(labels)
    with writing(work.path):
        work.path.mkdir(parents=True, exist_ok=True)
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


class Labeling:
    """The images of a folder, their labels, and in which order they are asked for.

    Args:
        images: The images.
        store: Their labels.
        pictures: The images as the page shows them.
    """

    def __init__(
        self, images: ImageFolder, store: LabelStore, pictures: Pictures
    ) -> None:
        self.images = images
        self.store = store
        self.pictures = pictures
        self._lock = threading.Lock()
        # In the order of their first use, so that their keys stay what they are.
        self._classes: list[str] = []
        self._order: Sequence[str] = images.names
        # Which order it is; a page that knows another begins anew.
        self._order_number = 1

    def state(self) -> dict[str, Any]:
        """What the page shows beside the images."""
        self.store.refresh()
        counts = self.store.counts()
        return {
            "folder": self.images.root.name or str(self.images.root),
            "labels": self.store.path.name,
            "images": len(self.images),
            "labeled": len(self.store),
            "classes": [
                {"name": name, "count": counts.get(name, 0)}
                for name in self._known_classes(counts)
            ],
            "none_of_these": {
                "name": NONE_OF_THESE,
                "count": counts.get(NONE_OF_THESE, 0),
            },
            "left_out": dict(self.images.left_out),
            "order": self._order_number,
        }

    def queue(self, start: int, count: int) -> dict[str, Any]:
        """The next images without a label.

        Args:
            start: Place in the order from which to look.
            count: How many are wanted, at most.

        Returns:
            Their `"items"`, and the place `"next"` to go on at: None at the end.
        """
        items: list[dict[str, Any]] = []
        place = max(0, start)
        order = self._order
        while place < len(order) and len(items) < min(count, MAX_ITEMS):
            name = order[place]
            place += 1
            if self.store.get(name) is None:
                items.append(self.item(name))
        return {
            "items": items,
            "next": place if place < len(order) else None,
            "order": self._order_number,
        }

    def item(self, name: str) -> dict[str, Any]:
        """What is known of an image."""
        return {"file": name, "label": self.store.get(name)}

    def change(self, changes: Sequence[Change]) -> dict[str, Any]:
        """Changes labels, which are on the disk when this returns.

        Returns:
            What `state` does.

        Raises:
            Conflict, KeyError, ValueError, OSError: As `LabelStore.change` does.
        """
        self.store.change(changes)
        return self.state()

    def _known_classes(self, counts: dict[str, int]) -> list[str]:
        with self._lock:
            known = set(self._classes)
            for label in counts:
                if label not in known and label != NONE_OF_THESE:
                    self._classes.append(label)
            return list(self._classes)
