"""Training batches as a pure function of (seed, epoch, step)."""

import math
from functools import lru_cache
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras.backend import devices
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.sources import ImageSource, LabeledImages
from kdfixmatch_keras.sources.labels import check_one_label_each


class PermutationStream:
    """An endless sequence of indices: one random permutation after another.

    Every index appears once before any appears again, and any stretch of the
    sequence can be asked for without what came before it.

    Args:
        size: Number of indices, at least 1.
        key: Integers of at least 0 that fix the sequence.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, size: int, key: tuple[int, ...]) -> None:
        self.size = validation.check_integer("size", size, 1)
        self.key = tuple(validation.check_integer("key", part, 0) for part in key)
        # A batch may straddle two permutations, and steps mostly come in order.
        self._permutation = lru_cache(maxsize=4)(self._draw)

    def _draw(self, cycle: int) -> np.ndarray:
        return np.random.default_rng([*self.key, cycle]).permutation(self.size)

    def take(self, start: int, count: int) -> np.ndarray:
        """The int64 indices at positions `start` to `start + count`, `(count,)`.

        Raises:
            ValueError: `start` is negative, or `count` is not at least 1.
        """
        start = validation.check_integer("start", start, 0)
        count = validation.check_integer("count", count, 1)
        first, last = start // self.size, (start + count - 1) // self.size
        cycles = [self._permutation(cycle) for cycle in range(first, last + 1)]
        offset = start - first * self.size
        return np.concatenate(cycles)[offset : offset + count]


class FixMatchBatches(keras.utils.PyDataset):
    """Batches for `FixMatch`, in the layout its docstring gives.

    A batch depends on the seed, the epoch and the step alone: it can be drawn twice,
    out of order or by another process, and a run resumes at any epoch. Pass
    `shuffle=False` to `fit`, and `self.epoch_callback()` among its callbacks.

    Set `workers` to read them in as many threads. With an augmentation layer of your
    own, first call the model on one batch, `model(batches[0][0])`: on JAX and PyTorch,
    Keras reads batches to build a model that is not yet built, and gives them to it
    once more, so that all that follow come too late.

    Args:
        labeled: Labeled images, `n` of them.
        unlabeled: Source of `N` unlabeled images, or None to train on labels alone.
        trusted_labels: int32 `(N,)`, -1 where there is none, or None for all -1.
        trusted_steps: Number of batches, counted over all epochs, after which every
            trusted label is -1; None for no end.
        batch_size: Labeled images in a batch, `B`.
        unlabeled_ratio: Unlabeled images for each labeled one, `mu`.
        steps_per_epoch: Batches in an epoch.
        seed: Integer of at least 0 that fixes every batch.
        sharing: How the batches are shared out; a process gets its rows of each.

    Raises:
        ValueError: A number is out of range, or `trusted_labels` are not `(N,)`.
    """

    def __init__(
        self,
        labeled: LabeledImages,
        unlabeled: ImageSource | None,
        trusted_labels: np.ndarray | None = None,
        *,
        batch_size: int,
        unlabeled_ratio: int,
        steps_per_epoch: int,
        seed: int,
        trusted_steps: int | None = None,
        sharing: devices.Sharing = devices.ONE_DEVICE,
    ) -> None:
        super().__init__(workers=1)
        batch_size = validation.check_integer("batch_size", batch_size, 1)
        unlabeled_ratio = validation.check_integer(
            "unlabeled_ratio", unlabeled_ratio, 1
        )
        steps_per_epoch = validation.check_integer(
            "steps_per_epoch", steps_per_epoch, 1
        )
        seed = validation.check_integer("seed", seed, 0)
        if trusted_labels is not None and unlabeled is not None:
            check_one_label_each("trusted_labels", trusted_labels, len(unlabeled))
        self.labeled = labeled
        self.unlabeled = unlabeled
        self.trusted_labels = trusted_labels
        self.trusted_steps = math.inf if trusted_steps is None else trusted_steps
        self.batch_size = batch_size
        self.unlabeled_batch_size = batch_size * unlabeled_ratio
        self.steps_per_epoch = steps_per_epoch
        self.sharing = sharing
        self.epoch = 0
        self._labeled_order = PermutationStream(len(labeled.images), (seed, 0))
        if unlabeled is not None:
            self._unlabeled_order = PermutationStream(len(unlabeled), (seed, 1))

    def __len__(self) -> int:
        return self.steps_per_epoch

    def __getitem__(self, step: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The batch of `step` in the current epoch."""
        step = self.epoch * self.steps_per_epoch + step
        chosen = self.sharing.own(
            self._labeled_order.take(step * self.batch_size, self.batch_size)
        )
        x = {"labeled": self.labeled.images[chosen]}
        if self.unlabeled is not None:
            index = self.sharing.own(
                self._unlabeled_order.take(
                    step * self.unlabeled_batch_size, self.unlabeled_batch_size
                )
            )
            if self.trusted_labels is None or step >= self.trusted_steps:
                x["trusted"] = np.full(len(index), -1, "int32")
            else:
                x["trusted"] = self.trusted_labels[index]
            x["unlabeled"] = self.unlabeled[index]
            x["unlabeled_index"] = index.astype("int32")
        return x, self.labeled.labels[chosen]

    def epoch_callback(self) -> Any:
        """A callback that tells these batches which epoch is about to start.

        Keras calls a data set's own epoch hooks once more than there are epochs when
        a model is not yet built, so they cannot count.
        """

        def set_epoch(epoch: int, logs: Any = None) -> None:
            self.epoch = epoch

        return keras.callbacks.LambdaCallback(on_epoch_begin=set_epoch)


def passes_per_batch(network: Any, num_labeled: int, num_unlabeled: int) -> int:
    """What a batch costs, in images that go forward through a network.

    A student's images count three times, as the way back costs about two ways forward.

    Args:
        network: A network or its class, whose `teacher_passes` say how often a teacher
            sees an unlabeled image.
        num_labeled: Labeled images in the batch.
        num_unlabeled: Unlabeled images in the batch.
    """
    passes: int = 3 * (num_labeled + num_unlabeled)
    return passes + int(network.teacher_passes) * num_unlabeled


def steps_of_one_pass(num_unlabeled: int, batch_size: int, unlabeled_ratio: int) -> int:
    """How many batches show each unlabeled image once."""
    return -(-num_unlabeled // (batch_size * unlabeled_ratio))
