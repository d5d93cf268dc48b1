"""How far a training is, and how long it will go on."""

import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class TrainingProgress:
    """Progress over all stages of a training.

    On a terminal it is a bar; in a file, a line for each epoch.

    Args:
        console: Where to print.
        steps: Steps of each stage, in their order.
        costs: What a step of each stage costs, in any unit.
    """

    def __init__(
        self, console: Console, steps: dict[str, int], costs: dict[str, int]
    ) -> None:
        self.console = console
        self._costs = costs
        self._work = {stage: count * costs[stage] for stage, count in steps.items()}
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=sum(self._work.values()))
        self._started = 0.0
        self._begun_at: float | None = None

    def __enter__(self) -> "TrainingProgress":
        """Starts the clock."""
        self._started = time.monotonic()
        self._bar.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        """Removes the bar."""
        self._bar.stop()

    def callback(self, stage: str) -> keras.callbacks.Callback:
        """A callback for the training of one stage."""
        return _StageProgress(self, stage)

    def begin(self, stage: str, steps: int) -> None:
        """A stage begins, of which some steps have been done before."""
        stages = list(self._work)
        done = sum(self._work[s] for s in stages[: stages.index(stage)])
        done += steps * self._costs[stage]
        if self._begun_at is None:
            self._begun_at = done
        self._bar.update(self._task, completed=done, description=f"{stage} network")

    def step(self, stage: str) -> None:
        """One more step of a stage is done."""
        self._bar.advance(self._task, self._costs[stage])

    def show(self, stage: str, epoch: int, epochs: int, logs: dict[str, Any]) -> None:
        """An epoch is done."""
        figures = [f"loss {logs['loss']:.3f}"]
        if "mask_rate" in logs:
            figures.append(f"labels used {logs['mask_rate']:.0%}")
        if "val_accuracy" in logs:
            figures.append(f"test accuracy {logs['val_accuracy']:.1%}")
        line = f"{stage} network, epoch {epoch}/{epochs}: {', '.join(figures)}"
        self._bar.update(self._task, description=line)
        if not self.console.is_terminal:
            self.console.print(f"{line}, {self._remaining()} left")
        elif epoch == epochs:
            self.console.print(line)

    def _remaining(self) -> str:
        task = self._bar.tasks[self._task]
        elapsed = time.monotonic() - self._started
        done = task.completed - (self._begun_at or 0)
        left = (task.total or 0) - task.completed
        return duration(elapsed * left / done) if done else "some time"


class _StageProgress(keras.callbacks.Callback):
    """Tells a `TrainingProgress` what happens in one stage."""

    def __init__(self, progress: TrainingProgress, stage: str) -> None:
        super().__init__()
        self.progress = progress
        self.stage = stage

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.progress.begin(self.stage, epoch * self.params["steps"])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.progress.step(self.stage)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.progress.show(self.stage, epoch + 1, self.params["epochs"], logs or {})


def duration(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
