"""Labeling one folder into one file: what the page asks for."""

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from kdfixmatch_keras.sources.labels import NONE_OF_THESE
from kdfixmatch_web.image_folder import ImageFolder
from kdfixmatch_web.label_store import Change, LabelStore
from kdfixmatch_web.label_studio import to_tasks
from kdfixmatch_web.pictures import Pictures
from kdfixmatch_web.scout import Scout
from kdfixmatch_web.trainings import FinishedRun, Trainings

# Images of one answer.
MAX_ITEMS = 200
SIMILAR = 6


class Labeling:
    """The images of a folder, their labels, and in which order they are asked for.

    Args:
        images: The images.
        store: Their labels.
        pictures: The images as the page shows them.
        trainings: Trainings on the labels.
        scout: What finds out what a run makes of the images.
        run: A run to begin with, or None.
    """

    def __init__(
        self,
        images: ImageFolder,
        store: LabelStore,
        pictures: Pictures,
        trainings: Trainings,
        scout: Scout,
        run: FinishedRun | None = None,
    ) -> None:
        self.images = images
        self.store = store
        self.pictures = pictures
        self._trainings = trainings
        self._scout = scout
        # That of the user, until one that was started here ends.
        self._run = run
        self._ended_before = {run.key for run in trainings.finished()}
        self._image_size = trainings.image_size
        # What a window remembers is of these images and labels.
        made_of = (str(store.path), os.path.realpath(images.root))
        self._id = hashlib.sha256(repr(made_of).encode()).hexdigest()
        self._lock = threading.Lock()
        # In the order of their first use, so that their keys stay what they are.
        self._classes: list[str] = []
        self._order: Sequence[str] = images.names
        # Which order it is; a page that knows another begins anew.
        self._order_number = 1

    def state(self) -> dict[str, Any]:
        """What the page shows beside the images."""
        self.store.refresh()
        finished = self._trainings.finished()
        keys = {known.key for known in finished}
        begun = [self._run] if self._run and self._run.key not in keys else []
        run = self._current_run(finished)
        if self._scout.follow(run):
            self._reorder()
        counts = self.store.counts()
        return {
            "folder": self.images.root.name or str(self.images.root),
            "labels": self.store.path.name,
            "id": self._id,
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
            "run": None if run is None else run.path.name,
            "runs": [run.as_json() for run in [*begun, *finished]],
            "image_size": self._image_size,
            "training": self._trainings.state(),
            "looking": self._scout.progress(),
            "trouble": self._scout.trouble,
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
        with self._lock:
            order = self._order
        while place < len(order) and len(items) < min(count, MAX_ITEMS):
            name = order[place]
            place += 1
            if self.store.get(name) is None:
                items.append(self.item(name))
        following = place if place < len(order) else None
        return {"items": items, "next": following}

    def item(self, name: str) -> dict[str, Any]:
        """What is known of an image.

        Raises:
            KeyError: There is no such image.
        """
        if name not in self.images:
            raise KeyError(name)
        found: dict[str, Any] = {"file": name, "label": self.store.get(name)}
        outlook, suggestion = self._scout.outlook, self._scout.suggested.get(name)
        guess = None if outlook is None else outlook.guess(name)
        if suggestion is not None:
            found["reason"] = suggestion.reason
            guess = guess or suggestion.guess
        if guess is not None:
            found |= {"guess": guess.label, "confidence": guess.confidence}
        return found

    def similar(self, name: str) -> dict[str, Any]:
        """Labeled images that look like one, the most similar first.

        Raises:
            KeyError: There is no such image.
        """
        if name not in self.images:
            raise KeyError(name)
        outlook, labels = self._scout.outlook, self.store.labels()
        names = [] if outlook is None else outlook.similar(name, labels, SIMILAR)
        return {"items": [self.item(other) for other in names]}

    def taken_for(self, label: str, count: int) -> dict[str, Any]:
        """Images without a label that the run takes for a class, doubtful ones first.

        Args:
            label: The class.
            count: How many are wanted, at most.
        """
        outlook = self._scout.outlook
        names: Iterator[str] = iter(())
        if outlook is not None:
            names = (
                name
                for name in outlook.doubtful(label)
                if name in self.images and self.store.get(name) is None
            )
        some = list(islice(names, min(count, MAX_ITEMS)))
        rest = sum(1 for _ in names)
        return {"items": [self.item(name) for name in some], "rest": rest}

    def labeled_as(self, label: str, count: int) -> dict[str, Any]:
        """Images with a label: those first that the run takes for another class.

        Args:
            label: The label.
            count: How many are wanted, at most.
        """
        labels = self.store.labels()
        items = [
            self.item(name)
            for name in reversed(labels)
            if labels[name] == label and name in self.images
        ]

        def agreement(item: dict[str, Any]) -> float:
            if item.get("guess", label) == label:
                return 1.0
            return -float(item["confidence"])

        items.sort(key=agreement)
        some = items[: min(count, MAX_ITEMS)]
        return {"items": some, "rest": len(items) - len(some)}

    def change(self, changes: Sequence[Change]) -> dict[str, Any]:
        """Changes labels, which are on the disk when this returns.

        Returns:
            What `state` does.

        Raises:
            Conflict, KeyError, ValueError, OSError: As `LabelStore.change` does.
        """
        self.store.change(changes)
        return self.state()

    def label_studio_tasks(self) -> str:
        """The labels as JSON for Label Studio."""
        return to_tasks(self.store.labels(), self.images)

    def train(
        self, minutes: float | None, image_size: int | None, goes_on: bool
    ) -> dict[str, Any]:
        """Starts a training; see `Trainings.start`.

        Args:
            minutes: How long it may take.
            image_size: Side of the images.
            goes_on: Whether it starts from the networks of the run that is shown.

        Returns:
            What `state` does.

        Raises:
            ValueError: There is no such run, or as `Trainings.start` does.
        """
        run = self._current_run(self._trainings.finished()) if goes_on else None
        if goes_on and run is None:
            raise ValueError(
                "`goes_on` must be false before a run has ended. Received: true"
            )
        earlier = None if run is None else run.path
        self._trainings.start(self.store.path, minutes, image_size, earlier)
        return self.state()

    def training(self) -> str | None:
        """The name of the run that is being trained, None if none is."""
        found = self._trainings.state()
        return found["name"] if found is not None and found["running"] else None

    def stop(self) -> dict[str, Any]:
        """Ends the training that runs. Returns what `state` does."""
        self._trainings.stop()
        return self.state()

    def _current_run(self, finished: Sequence[FinishedRun]) -> FinishedRun | None:
        """The run whose guesses are shown."""
        new = [run for run in finished if run.key not in self._ended_before]
        if new or (self._run is None and finished):
            return (new or finished)[-1]
        return self._run

    def _reorder(self) -> None:
        """What is suggested first, then the most doubtful, then the rest by name."""
        outlook = self._scout.outlook
        names = chain(
            self._scout.suggested,
            () if outlook is None else outlook.doubtful(),
            self.images.names,
        )
        order = [name for name in dict.fromkeys(names) if name in self.images]
        with self._lock:
            self._order = order
            self._order_number += 1

    def _known_classes(self, counts: dict[str, int]) -> list[str]:
        outlook = self._scout.outlook
        with self._lock:
            known = set(self._classes)
            names = [*counts, *([] if outlook is None else outlook.class_names)]
            for name in names:
                if name not in known and name != NONE_OF_THESE:
                    known.add(name)
                    self._classes.append(name)
            return list(self._classes)
