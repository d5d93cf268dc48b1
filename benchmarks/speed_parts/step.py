"""Step efficiency: `fit` against the bare networks on tensors in memory.

The profile of a step is measured the same way, with more levels in between.
"""

import contextlib
import importlib
import io
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from measuring import rounds

from kdfixmatch_keras import backend, baselines
from kdfixmatch_keras.training.batches import FixMatchBatches
from kdfixmatch_keras.training.plan import Plan
from speed_parts.page import PROFILE

LABELED, UNLABELED, NUM_CLASSES = 500, 2000, 10
Level = Callable[[], None]


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Trains a network for some epochs of a few steps, and times what is asked.

    Returns:
        `"seconds"`: by level and for `"fit"`, seconds of a step in each repeat; with
        levels beyond `"bare"` `"batches"` too, what drawing a batch takes by itself;
        with `"metrics"` on JAX and PyTorch `"issued"`, see `bare.Levels`.
    """
    steps, names = job["steps"], job.get("levels", list(PROFILE))
    classifier, data, batches = new_training(job, job.get("precision", "float32"))
    network = classifier.new_network("outer", data, seed=0)

    module = importlib.import_module(
        "speed_parts.levels" if backend.is_tensorflow() else "speed_parts.bare"
    )
    levels: Any = None

    def alternatives() -> dict[str, Level]:
        nonlocal levels
        levels = module.Levels(network, batches[0], steps)
        return {name: levels.compiled(name) for name in names}

    timer = Timer(alternatives)
    # The bar of Keras is a part of what a `fit` costs, but not of this output.
    plan = Plan(1 + job["repeats"], steps, callbacks=[timer], verbose=1)
    with (
        contextlib.redirect_stdout(io.StringIO()),
        classifier.training(data, plan) as training,
    ):
        training.fit(network, plan.epochs)
    found = {name: [s / steps for s in times] for name, times in timer.found.items()}
    if names != ["bare"]:
        found |= rounds({"batches": lambda: batches[1]}, job["repeats"], 0.05)
    issued = getattr(levels, "issued", [])
    return {"seconds": found | ({"issued": issued} if issued else {})}


def new_training(job: dict[str, Any], precision: str = "float32") -> tuple[Any, ...]:
    """A classifier of a job's sizes, its images, of noise, and batches of them."""
    shape = (UNLABELED, job["side"], job["side"], 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    labels = np.arange(LABELED) % NUM_CLASSES
    sizes = {name: job[name] for name in ("batch_size", "unlabeled_ratio")}
    classifier = baselines.FixMatch(
        job["backbone"],
        weights=job.get("weights"),
        mixed_precision=precision,
        seed=0,
        **sizes,
    )
    data = classifier.load_data((images[:LABELED], labels), images)
    batches = FixMatchBatches(
        data.labeled, data.unlabeled, steps_per_epoch=job["steps"], seed=0, **sizes
    )
    return classifier, data, batches


class Timer(keras.callbacks.Callback):
    """Times the epochs of a `fit`, and alternatives in the pauses between them.

    An epoch begins with making its iterator, and ends with all of its metrics. The
    first is not timed: in the pause after it, when the network is compiled, the
    alternatives are made and compiled.
    """

    def __init__(self, alternatives: Callable[[], dict[str, Level]]) -> None:
        super().__init__()
        self.found: dict[str, list[float]] = {}
        self._alternatives = alternatives

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stops the clock, and times the alternatives."""
        passed = time.perf_counter() - self._start
        if epoch == 0:
            self._levels = self._alternatives()
            return
        for name, value in {"fit": [passed], **rounds(self._levels, 1)}.items():
            self.found.setdefault(name, []).extend(value)
        # None profits from where it stands.
        self._levels = dict(reversed(self._levels.items()))
