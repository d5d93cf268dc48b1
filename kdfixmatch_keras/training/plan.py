"""What `fit` is asked for, checked."""

from dataclasses import dataclass
from typing import Any

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.training import callbacks as stage_callbacks


@dataclass(frozen=True)
class Plan:
    """The arguments of a `fit` that say how it trains, whatever the method.

    Attributes:
        epochs: Epochs of the network that predicts.
        steps_per_epoch: Batches in an epoch; None for one pass over the unlabeled
            images.
        callbacks: Keras callbacks; or, of a method with stages, lists of them by stage.
        verbose: As in `keras.Model.fit`.
        run_dir: Folder that keeps the state of the training, or None.
        has_stages: Whether callbacks can be given by stage.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: An argument is out of range.
    """

    epochs: int
    steps_per_epoch: int | None = None
    callbacks: Any = None
    verbose: Any = "auto"
    run_dir: Any = None
    has_stages: bool = False

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "epochs": validation.check_integer("epochs", self.epochs, 1),
            "steps_per_epoch": validation.check_count(
                "steps_per_epoch", self.steps_per_epoch
            ),
            "callbacks": stage_callbacks.check(self.callbacks, self.has_stages),
            "verbose": validation.check_verbose(self.verbose),
        }
        if self.run_dir is not None:
            checked["run_dir"] = validation.check_output("run_dir", self.run_dir)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def say(self, line: str) -> None:
        """Prints a line, unless the user wants silence."""
        if self.verbose != 0:
            print(line, flush=True)
