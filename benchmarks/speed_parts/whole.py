"""The whole job: KD-FixMatch's stages against FixMatch, from images to a network."""

import time
from typing import Any
from unittest import mock

import keras
import numpy as np
from methods import PRESETS, Task

from kdfixmatch_keras import KDFixMatch, TrustedSetBuilder, baselines
from kdfixmatch_keras.classifier import ImageClassifier
from kdfixmatch_keras.training.plan import default_outer_epochs

STAGES = ("outer", "labeling", "clustering", "inner")


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Trains the methods on one draw of labels.

    Returns:
        For each of the methods: `"seconds"` by stage, `"accuracy"` on the test images,
        and the `"curve"`: seconds since the start and accuracy at the end of each epoch
        of the network that the method gives. The accuracies are the teacher's.
    """
    settings = {**PRESETS[job["data"]], "data": job["data"], **job["settings"]}
    settings["outer_epochs"] = default_outer_epochs(settings["epochs"])
    task = Task.drawn(settings, job["labels"], job["seed"], job["data_dir"])
    # What a process does once must not count for the one that comes first.
    task.fit(baselines.FixMatch(**task.settings), 1)
    methods: dict[str, tuple[type[ImageClassifier], dict[str, Any]]] = {
        "fixmatch": (baselines.FixMatch, {}),
        "kdfixmatch": (KDFixMatch, {}),
        "short_outer": (KDFixMatch, {"outer_epochs": -(-task.epochs // 4)}),
    }
    order = job["methods"] if job["seed"] % 2 == 0 else job["methods"][::-1]
    found = {name: _train(task, *methods[name]) for name in order}
    return {**found, "settings": settings}


class Timeline(keras.callbacks.Callback):
    """When stages end, and the accuracy on test images at the end of each epoch.

    Evaluation is no part of the job: the clock stands still.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ends = [0.0]
        self.curve: list[tuple[float, float]] = []
        self._start = time.perf_counter()

    def now(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    def mark(self, logs: Any = None) -> None:
        """Remembers that a stage ends."""
        self.ends.append(self.now())

    on_train_end = mark

    def on_train_begin(self, logs: Any = None) -> None:
        """The curve is that of the last network."""
        self.curve = []

    def on_test_begin(self, logs: Any = None) -> None:
        """Stops the clock."""
        self._stopped_at = self.now()

    def on_test_end(self, logs: Any = None) -> None:
        """Goes on."""
        self._start += self.now() - self._stopped_at

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keeps the accuracy."""
        self.curve.append((self.now(), float(logs["val_accuracy"])))


def _train(
    task: Task, kind: type[ImageClassifier], options: dict[str, Any]
) -> dict[str, Any]:
    model = kind(**task.settings)
    line = Timeline()
    build = TrustedSetBuilder.build

    def marked(*arguments: Any, **options: Any) -> Any:
        # The labeling ends where the clustering begins.
        line.mark()
        found = build(*arguments, **options)
        line.mark()
        return found

    options = {**options, "validation_data": task.data.test, "callbacks": [line]}
    with mock.patch.object(TrustedSetBuilder, "build", marked):
        task.fit(model, task.epochs, **options)
    seconds = {"whole": line.now()}
    if kind is KDFixMatch:
        seconds |= dict(zip(STAGES, np.diff(line.ends).tolist(), strict=True))
    return {
        "seconds": seconds,
        "accuracy": task.test(model)["accuracy"],
        "curve": line.curve,
    }
