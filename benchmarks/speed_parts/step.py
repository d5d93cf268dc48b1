"""Step efficiency: `fit` against the bare networks on tensors in memory.

The profile of a step is measured the same way, with more levels in between.
"""

import contextlib
import io
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras import FixMatch, baselines
from kdfixmatch_keras.training.batches import FixMatchBatches
from kdfixmatch_keras.training.plan import Plan
from speed_parts.levels import Levels
from speed_parts.timing import repeated, rounds, seconds

LABELED, UNLABELED, NUM_CLASSES = 500, 2000, 10
WARM_UP = 1

Alternatives = dict[str, Callable[[], Any]]


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Trains a network for some epochs of a few steps, and times what is asked.

    Args:
        job: `"backbone"`, `"side"`, `"precision"`, `"batch_size"`, `"unlabeled_ratio"`,
            `"steps"` of an epoch, `"repeats"` and `"levels"`, of `PROFILE`.

    Returns:
        `"seconds"`: by level and for `"fit"`, seconds of a step in each repeat; with
        levels beyond `"bare"` `"batches"` too, what drawing a batch takes by itself.
    """
    side, steps = job["side"], job["steps"]
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (UNLABELED, side, side, 3), np.uint8)
    labels = np.arange(LABELED) % NUM_CLASSES
    classifier = baselines.FixMatch(
        job["backbone"],
        weights=None,
        batch_size=job["batch_size"],
        unlabeled_ratio=job["unlabeled_ratio"],
        mixed_precision=job["precision"],
        seed=0,
    )
    data = classifier.load_data((images[:LABELED], labels), images)
    network = classifier.new_network("outer", data, seed=0)
    batches = FixMatchBatches(
        data.labeled,
        data.unlabeled,
        batch_size=job["batch_size"],
        unlabeled_ratio=job["unlabeled_ratio"],
        steps_per_epoch=steps,
        seed=0,
    )

    def alternatives() -> Alternatives:
        levels = Levels(network, batches[0], steps)
        return {name: getattr(levels, name)() for name in job["levels"]}

    timer = Timer(network, alternatives)
    # The bar of Keras is a part of what a `fit` costs, but not of this output.
    plan = Plan(WARM_UP + job["repeats"], steps, callbacks=[timer], verbose=1)
    with (
        contextlib.redirect_stdout(io.StringIO()),
        classifier.training(data, plan) as training,
    ):
        training.fit(network, plan.epochs)
    found = {name: [s / steps for s in times] for name, times in timer.seconds.items()}
    if job["levels"] != ["bare"]:
        draw, times = repeated(lambda: batches[1], 0.05)
        drawn = rounds({"batches": draw}, job["repeats"])["batches"]
        found["batches"] = [value / times for value in drawn]
    return {"seconds": found, "jit_compile": bool(network.jit_compile)}


class Timer(keras.callbacks.Callback):
    """Times the epochs of a `fit`, and alternatives in the pauses between them.

    An epoch begins with making its iterator, and ends with all of its metrics.

    Args:
        network: The network that is trained.
        alternatives: Called in the first pause, when the network is compiled: what to
            time in the pauses that follow. Those that have to be compiled must be.
    """

    def __init__(
        self, network: FixMatch, alternatives: Callable[[], Alternatives]
    ) -> None:
        super().__init__()
        self.network = network
        self.make_alternatives = alternatives
        self.alternatives: Alternatives = {}
        self.seconds: dict[str, list[float]] = {"fit": []}
        self._start = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stops the clock, and times the alternatives."""
        passed = time.perf_counter() - self._start
        if epoch < WARM_UP:
            self.alternatives = self.make_alternatives()
            return
        self.seconds["fit"].append(passed)
        names = list(self.alternatives)
        # Every other time backwards, so that none profits from where it stands.
        for name in names if epoch % 2 else reversed(names):
            self.seconds.setdefault(name, []).append(seconds(self.alternatives[name]))
