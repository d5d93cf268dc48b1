"""How long a training will take, measured by a few of its steps."""

import statistics
import time
import warnings
from typing import Any

import keras

from kdfixmatch_cli.images import Images
from kdfixmatch_keras import KDFixMatch
from kdfixmatch_keras.training.batches import passes_per_batch, steps_of_one_pass
from kdfixmatch_keras.training.plan import Plan

STEPS = 4


def estimate_seconds(
    model: KDFixMatch,
    images: Images,
    *,
    epochs: int,
    outer_epochs: int,
    steps_per_epoch: int | None,
    supervised: bool,
) -> float:
    """Estimates the time of a training in seconds, without the clustering.

    A network is made, trained for a few steps and thrown away. Its first step is
    slow, as Keras prepares it, and so will be that of each network.
    """
    data = images.as_data()
    clock = _StepClock()
    plan = Plan(epochs=1, steps_per_epoch=STEPS, callbacks=[clock], verbose=0)
    network = model.new_network("outer", data, model.seed)
    with warnings.catch_warnings():
        # So few steps say nothing about the training.
        warnings.simplefilter("ignore", UserWarning)
        model.new_session(data, plan).fit(network, plan.epochs)
    first, *others = clock.seconds
    step = statistics.median(others)
    labeled = model.batch_size
    unlabeled = labeled * model.unlabeled_ratio
    pass_seconds = step / passes_per_batch(network, labeled, unlabeled)
    steps = steps_per_epoch or steps_of_one_pass(
        len(images.unlabeled), model.batch_size, model.unlabeled_ratio
    )
    passes = len(images.unlabeled)
    num_networks = 2
    num_epochs = epochs + outer_epochs
    if supervised:
        passes += epochs * steps * passes_per_batch(network, labeled, 0)
        num_networks += 1
        num_epochs += epochs
    if images.test is not None:
        passes += num_epochs * len(images.test.images)
    return (
        num_networks * (first - step)
        + (epochs + outer_epochs) * steps * step
        + passes * pass_seconds
    )


class _StepClock(keras.callbacks.Callback):
    """Measures each step in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._started = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self._started)
