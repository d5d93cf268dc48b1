"""Watching a training for what no exception tells: numbers that are none, and collapse.

The network has diverged when its loss or one of its weights is NaN or infinite; nothing
that follows can mend it, so the training stops there. Other signs have innocent causes
too, and are warned of once.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras import backend
from kdfixmatch_keras.sources import LabeledImages
from kdfixmatch_keras.targets.fixed import FixedThreshold

# Labeled images that are looked at, at most, when a training ends.
MAX_LABELED = 1024
_BATCH = 128
_DAMAGED = (
    "The weights that it starts from are damaged: those of `weights`, of a `backbone` "
    "of your own, of `outer` or of `continue_from`."
)
# A smaller class would be called swallowing for a handful of images.
MIN_SWALLOWED = 0.1


class TrainingDiverged(RuntimeError):
    """A loss or a weight became NaN or infinite.

    Attributes:
        network: The `FixMatch` network as it was then.
    """

    def __init__(self, message: str, network: Any) -> None:
        super().__init__(message)
        self.network = network


def swallowing_limit(frequency: float) -> float:
    """From which share of the images on a class is taken to swallow others.

    Far more than its share among the labels: half-way to everything, or several times.

    Args:
        frequency: Share of the class among the labeled images, in [0, 1].
    """
    return max(MIN_SWALLOWED + frequency, min(3 * frequency, (1 + frequency) / 2))


def chance(labels: np.ndarray) -> float:
    """Accuracy of who always names the most frequent class of `labels` `(n,)`."""
    return float(np.bincount(labels).max() / len(labels))


def remedy_for_few_targets(network_name: str, is_adaptive: bool = False) -> str:
    """What to do where the confidence of a network is never enough.

    Args:
        network_name: `"inner"`, or another.
        is_adaptive: Whether its threshold adapts already.
    """
    inner = network_name == "inner"
    tau = "tau_inner" if inner else "tau"
    if is_adaptive:
        return f"Lower `{tau}`, or train longer."
    threshold = "inner_threshold" if inner else "threshold"
    return (
        f"Lower `{tau}`, train longer, or let the threshold adapt: "
        f'`{threshold}="flexmatch"`.'
    )


class TrainingWatch(keras.callbacks.Callback):
    """Stops a training that has diverged, and warns of one that learns nothing.

    Args:
        network: The `FixMatch` network that is trained.
        labeled: The labeled images.
        keep: Writes the state of a network that has diverged, given the network and
            what happened; returns the file. None where there is no place for it.

    Raises:
        TrainingDiverged: At the end of the step, or of the epoch for a weight.
    """

    def __init__(
        self,
        network: Any,
        labeled: LabeledImages,
        keep: Callable[[Any, dict[str, Any]], Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.labeled = labeled
        self._name = network.name.removeprefix("fixmatch_")
        self._chance = chance(labeled.labels)
        self._keep = keep
        self._epoch = 0
        self._last_logs: dict[str, Any] = {}
        self._warned: set[str] = set()
        self._was_high = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Checks the weights that the training starts from."""
        self._check_weights("before its first step", averages=True, cause=_DAMAGED)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remembers the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Checks the loss."""
        logs = logs or {}
        if not math.isfinite(logs.get("loss", 0.0)):
            # For the learning rate, and for the state that is kept.
            backend.sync_state(self.network)
            step = self._epoch * self.params["steps"] + batch + 1
            self._stop(
                f"The loss of the {self._name} network became {logs['loss']} in step "
                f"{step} (step {batch + 1} of epoch {self._epoch + 1})",
                _cause(self.network, logs),
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Checks the weights, and looks for signs that warrant a warning."""
        self._last_logs = dict(logs or {})
        # What is not finite in the student stays so, and the teacher has it from there.
        self._check_weights(f"in epoch {epoch + 1}", averages=False)
        # That nothing is sure yet is how a training starts.
        if epoch > 0:
            self._look_for_targets()
        is_high = self._is_one_class()
        # What is easy comes first: one epoch says little before the last.
        if is_high and self._was_high:
            self._warn_of_collapse()
        self._was_high = is_high

    def on_train_end(self, logs: Any = None) -> None:
        """Looks at the last epoch, whichever it was, and at what was learned."""
        # Callbacks may have changed any of them.
        self._check_weights(f"after epoch {self._epoch + 1}", averages=True)
        self._look_for_targets()
        if self._is_one_class():
            self._warn_of_collapse()
        accuracy = self._accuracy()
        if accuracy <= self._chance:
            self._warn(
                "chance",
                f"At its end the {self._name} network has {accuracy:.0%} of the "
                "labeled images right, no better than to name the most frequent class "
                "each time: no label that it gives can be trusted. Train longer, or "
                "with another learning rate.",
            )

    def _look_for_targets(self) -> None:
        if self._last_logs.get("mask_rate") == 0:
            is_adaptive = not isinstance(self.network.threshold, FixedThreshold)
            self._warn(
                "targets",
                f"In epoch {self._epoch + 1} no unlabeled image had a target: the "
                f"{self._name} network was never confident enough, and learned from "
                "the labeled images alone. "
                + remedy_for_few_targets(self._name, is_adaptive),
            )

    def _is_one_class(self) -> bool:
        share = float(self._last_logs.get("top_class_share", 0.0))
        return share >= swallowing_limit(self._chance)

    def _warn_of_collapse(self) -> None:
        share = self._last_logs["top_class_share"]
        self._warn(
            "collapse",
            f"In epoch {self._epoch + 1} {share:.0%} of the targets of unlabeled "
            f"images named one class; of the labeled images, {self._chance:.0%} are of "
            f"the most frequent class. The {self._name} network may take other classes "
            "for it. If the labels tell how frequent classes are, use "
            "`distribution_alignment=True`; else label more images.",
        )

    def _accuracy(self) -> float:
        """Share of the labeled images, or of some, that the teacher has right."""
        count = len(self.labeled.labels)
        rows = np.linspace(0, count - 1, min(count, MAX_LABELED)).astype(np.int64)
        right = 0
        for start in range(0, len(rows), _BATCH):
            chosen = rows[start : start + _BATCH]
            # Not `predict`, which would compile the network for a few images.
            outputs = self.network(self.labeled.images[chosen], training=False)
            found = keras.ops.convert_to_numpy(keras.ops.argmax(outputs, axis=-1))
            right += int((found == self.labeled.labels[chosen]).sum())
        return right / len(rows)

    def _warn(self, sign: str, message: str) -> None:
        if sign not in self._warned:
            self._warned.add(sign)
            warnings.warn(message, UserWarning, stacklevel=3)

    def _check_weights(self, when: str, averages: bool, cause: str = "") -> None:
        """Stops the training if a weight is not finite.

        Args:
            when: When that was found.
            averages: Whether to look at the weights of the teacher too.
            cause: Of what is found, "" for what usually is.
        """
        backend.sync_state(self.network)
        skipped: set[int] = set()
        if not averages:
            skipped = {id(variable) for variable in self.network.teacher.variables}
            skipped -= {id(variable) for variable in self.network.student.variables}
        # In NumPy: hundreds of small weights would cost more to hand to the backend.
        bad = [
            variable.path
            for variable in self.network.variables
            if id(variable) not in skipped
            and keras.backend.is_float_dtype(variable.dtype)
            and not np.isfinite(keras.ops.convert_to_numpy(variable)).all()
        ]
        if bad:
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            self._stop(
                f"A weight of the {self._name} network is NaN or infinite {when} "
                f"({bad[0]}{more})",
                cause or _cause(self.network, {}),
            )

    def _stop(self, what: str, cause: str) -> None:
        kept = ""
        if self._keep is not None:
            try:
                file = self._keep(
                    self.network, {"diverged": what, "epochs": self._epoch}
                )
                kept = f" What it had become is in {file}."
            except (OSError, MemoryError) as error:
                kept = f" What it had become could not be kept ({error})."
        raise TrainingDiverged(f"{what}. {cause}{kept}", self.network)


def _cause(network: Any, logs: dict[str, Any]) -> str:
    """The likely cause, and what to do about it."""
    causes = []
    supervised = logs.get("supervised_loss", 0.0)
    unlabeled = logs.get("unlabeled_loss", 0.0)
    if math.isfinite(supervised) and not math.isfinite(unlabeled):
        causes.append(
            "The loss of the labeled images is finite, that of the unlabeled ones is "
            f"not: look at `unlabeled_loss`, {type(network.unlabeled_loss).__name__} "
            "here, if it is your own."
        )
    if network.dtype_policy.compute_dtype == "float16":
        causes.append(
            "Half precision overflows beyond 65,504: train with mixed_precision=False."
        )
    rate = float(network.optimizer.learning_rate)
    causes.append(
        f"Most likely the learning rate, {rate:.2g} in this step, is too high: pass an "
        "`optimizer` with a smaller one."
    )
    return " ".join(causes)
