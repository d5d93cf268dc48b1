"""What `fit` is asked for, checked."""

import math
from dataclasses import dataclass
from typing import Any

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.checks.paths import check_folder_name
from kdfixmatch_keras.training import callbacks as stage_callbacks

DEFAULT_EPOCHS = 100


def default_outer_epochs(epochs: int) -> int:
    """Epochs of the outer network where `fit` is told those of the inner one alone."""
    return -(-epochs // 2)


@dataclass(frozen=True)
class Plan:
    """The arguments of a `fit` that say how it trains, whatever the method.

    Attributes:
        epochs: Epochs of the network that predicts; of None is made 100.
        steps_per_epoch: Batches in an epoch; None for one pass over the unlabeled
            images.
        callbacks: Keras callbacks; or, of a method with stages, lists of them by stage.
        verbose: As in `keras.Model.fit`.
        run_dir: Folder that keeps the state of the training, or None.
        has_stages: Whether callbacks can be given by stage.
        outer_epochs: Epochs of the outer network; of None is made half of `epochs`.
        is_outer_given: Whether that network has been trained before.
        minutes: How long all may take, in place of epochs and steps; or None.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: An argument is out of range, or both a time and epochs are given.
    """

    epochs: Any = None
    steps_per_epoch: int | None = None
    callbacks: Any = None
    verbose: Any = "auto"
    run_dir: Any = None
    has_stages: bool = False
    outer_epochs: Any = None
    is_outer_given: bool = False
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None:
            validation.check_number("minutes", self.minutes, 0, math.inf, "(0, inf)")
            for name in ("epochs", "outer_epochs", "steps_per_epoch"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"`{name}` must be None where `minutes` are given, which say "
                        f"how long to train. Received: {name}={getattr(self, name)!r}"
                    )
        if self.is_outer_given and self.outer_epochs is not None:
            raise ValueError(
                "`outer_epochs` must be None where `outer` is given, as it is not "
                f"trained again. Received: outer_epochs={self.outer_epochs!r}"
            )
        epochs = DEFAULT_EPOCHS if self.epochs is None else self.epochs
        epochs = validation.check_integer("epochs", epochs, 1)
        outer_epochs = self.outer_epochs
        if outer_epochs is None:
            outer_epochs = default_outer_epochs(epochs)
        checked: dict[str, Any] = {
            "epochs": epochs,
            "outer_epochs": validation.check_integer("outer_epochs", outer_epochs, 1),
            "steps_per_epoch": validation.check_count(
                "steps_per_epoch", self.steps_per_epoch
            ),
            "callbacks": stage_callbacks.check(self.callbacks, self.has_stages),
            "verbose": validation.check_verbose(self.verbose),
        }
        if self.run_dir is not None:
            checked["run_dir"] = validation.check_output("run_dir", self.run_dir)
            check_folder_name("run_dir", checked["run_dir"])
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def say(self, line: str) -> None:
        """Prints a line, unless the user wants silence."""
        if self.verbose != 0:
            print(line, flush=True)
