"""The whole job: KD-FixMatch's stages against FixMatch, from images to a network."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
from accuracy import PRESETS, new_task
from methods import Task

from kdfixmatch_keras import KDFixMatch, baselines
from kdfixmatch_keras.kdfixmatch import default_outer_epochs

_SHORT = 4
STAGES = ("outer", "labeling", "clustering", "inner")


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Trains the methods on one draw of labels.

    Args:
        job: `"data"`, `"data_dir"`, `"labels"`, `"seed"`, `"precision"`, `"methods"` of
            `plan.WHOLE`, and `"epochs"` and `"steps_per_epoch"` of the inner network
            and of FixMatch, None for those of the accuracy benchmark.

    Returns:
        For each of the methods: `"seconds"` by stage, `"accuracy"` on the test images,
        and the `"curve"`: seconds since the start and accuracy at the end of each epoch
        of the network that the method gives. The accuracies are the teacher's, and the
        clock stands still while they are measured.
    """
    settings = {**PRESETS[job["data"]], "data": job["data"]}
    for name in ("epochs", "steps_per_epoch"):
        settings[name] = job[name] or settings[name]
    settings["outer_epochs"] = default_outer_epochs(settings["epochs"])
    task = new_task(settings, job["labels"], job["seed"], job["data_dir"])
    task.settings["mixed_precision"] = job["precision"]
    # What a process does once must not count for the one that comes first.
    task.fit(baselines.FixMatch(**task.settings), 1)
    methods: dict[str, Callable[[Task], dict[str, Any]]] = {
        "fixmatch": _fixmatch,
        "kdfixmatch": _kdfixmatch,
        "short_outer": functools.partial(
            _kdfixmatch, outer_epochs=-(-task.epochs // _SHORT)
        ),
    }
    order = job["methods"] if job["seed"] % 2 == 0 else job["methods"][::-1]
    found = {name: methods[name](task) for name in order}
    return {**found, "settings": settings}


class Clock:
    """Seconds since the start, without those in which it was stopped."""

    def __init__(self) -> None:
        self.marks = {"start": 0.0}
        self._start = time.perf_counter()
        self._stopped_at = 0.0

    def read(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    def mark(self, name: str) -> None:
        """Remembers when something ended."""
        self.marks[name] = self.read()

    def stop(self) -> None:
        """Leaves out what follows."""
        self._stopped_at = time.perf_counter()

    def go_on(self) -> None:
        """Counts again."""
        self._start += time.perf_counter() - self._stopped_at


class Curve(keras.callbacks.Callback):
    """The accuracy on test images at the end of each epoch, and when that was."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.points: list[tuple[float, float]] = []

    def on_test_begin(self, logs: Any = None) -> None:
        """Evaluation is no part of the job."""
        self.clock.stop()

    def on_test_end(self, logs: Any = None) -> None:
        """The job goes on."""
        self.clock.go_on()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keeps the accuracy."""
        self.points.append((self.clock.read(), float(logs["val_accuracy"])))


class _TimedSession:
    """A training that marks when its stages end."""

    def __init__(self, session: Any, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def fit(self, network: Any, epochs: int, *, stage: str, **options: Any) -> Any:
        """Marks the end of both trainings."""
        history = self._session.fit(network, epochs, stage=stage, **options)
        self._clock.mark(stage)
        return history

    def select_once(self, network: Any, select: Any) -> Any:
        """Marks the ends of the labeling and of the clustering."""

        def marked(*labeled: Any) -> Any:
            self._clock.mark("labeling")
            return select(*labeled)

        found = self._session.select_once(network, marked)
        self._clock.mark("clustering")
        return found


class _TimedKDFixMatch(KDFixMatch):
    """KD-FixMatch with a clock."""

    clock: Clock

    @contextlib.contextmanager
    def training(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        """A training with that clock."""
        with super().training(*arguments, **options) as session:
            yield _TimedSession(session, self.clock)


def _fixmatch(task: Task) -> dict[str, Any]:
    model = baselines.FixMatch(**task.settings)
    clock = Clock()
    curve = Curve(clock)
    task.fit(model, task.epochs, validation_data=task.data.test, callbacks=[curve])
    clock.mark("whole")
    return {
        "seconds": {"whole": clock.marks["whole"]},
        "accuracy": task.accuracy(model),
        "curve": curve.points,
    }


def _kdfixmatch(
    task: Task, outer_epochs: int | None = None, **options: Any
) -> dict[str, Any]:
    model = _TimedKDFixMatch(**task.settings, **options)
    model.clock = clock = Clock()
    outer, inner = Curve(clock), Curve(clock)
    task.fit(
        model,
        task.epochs,
        outer_epochs=outer_epochs,
        validation_data=task.data.test,
        callbacks={"outer": [outer], "inner": [inner]},
    )
    clock.mark("whole")
    ends = [clock.marks[name] for name in ("start", *STAGES)]
    return {
        "seconds": {
            **{
                name: end - start
                for name, start, end in zip(STAGES, ends, ends[1:], strict=False)
            },
            "whole": clock.marks["whole"],
        },
        "accuracy": task.accuracy(model),
        "outer_accuracy": outer.points[-1][1],
        "curve": inner.points,
    }
