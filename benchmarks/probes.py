"""What a method computes in the version at hand, as a few numbers.

Each is trained for real in miniature. A figure is still true of a version whose probe
of its method is the same. The probes are those of `small_cnn` on the digits: a change
of another backbone, or of how files are read, does not show in them.
"""

import dataclasses
import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from methods import Method, Task

from kdfixmatch_keras import datasets
from kdfixmatch_keras.sources import SubsetSource

# A processor's own rounding stays far below it.
TOLERANCE = 1e-3
_NUM_UNLABELED = 100
# About as confident as networks are after so few steps.
_CONFIDENCES = {"tau": 0.118, "tau_inner": 0.2, "tau_select": 0.122}
_METRICS = ("loss", "unlabeled_loss", "mask_rate", "trusted_share")


def miniature() -> Task:
    """A training so short that targets, clustering and trusted labels all take part."""
    data = datasets.load("digits", 10, seed=0)
    indices = np.arange(_NUM_UNLABELED)
    return Task(
        data=dataclasses.replace(
            data,
            unlabeled=SubsetSource(data.unlabeled, indices),
            unlabeled_labels=data.unlabeled_labels[:_NUM_UNLABELED],
            labeled_indices=np.intersect1d(data.labeled_indices, indices),
        ),
        settings={
            "backbone": "small_cnn",
            "weights": None,
            "batch_size": 5,
            "unlabeled_ratio": 4,
            "distribution_alignment": True,
            "weak_augmentation": data.weak_augmentation,
            **_CONFIDENCES,
            "seed": 0,
        },
        epochs=2,
        outer_epochs=1,
        steps_per_epoch=4,
    )


def probe(method: Method, task: Task) -> list[float]:
    """Losses and shares of its trainings, loss in test, trusted labels, defaults."""
    models, _ = method.fit(task)
    numbers = [x for model in models for x in _numbers(model.history)]
    numbers.append(models[0].evaluate(task.data.test)["loss"])
    if (trusted_set := getattr(models[0], "trusted_set", None)) is not None:
        numbers.append(float(len(trusted_set)))
    # Those that the miniature has in place of what a cell is trained with.
    known = inspect.signature(method.kind).parameters
    left = [name for name in _CONFIDENCES if name in known.keys() - method.options]
    return [*numbers, *(known[name].default for name in left)]


def _numbers(history: Mapping[str, Any]) -> Iterator[float]:
    """The metrics of each epoch, of a method with stages stage by stage."""
    for stage in history.values():
        if isinstance(stage, Mapping):
            yield from _numbers(stage)
    for name in _METRICS:
        yield from history.get(name, [])


def agree(first: list[float] | None, second: list[float] | None) -> bool:
    """Whether two probes are those of one computation; None is that of none."""
    if first is None or second is None or len(first) != len(second):
        return False
    pairs = zip(first, second, strict=True)
    return all(math.isclose(a, b, rel_tol=TOLERANCE) for a, b in pairs)
