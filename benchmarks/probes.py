"""What a method computes in the version at hand, as a few numbers.

Each is trained for real in miniature. A figure is still true of a version whose probe
of its method is the same. The probes are those of `small_cnn` on the digits: a change
of another backbone, or of how files are read, does not show in them.
"""

import dataclasses
import inspect

import numpy as np
from methods import METHODS, Method, Task

from kdfixmatch_keras import datasets
from kdfixmatch_keras.sources import SubsetSource

# A processor's own rounding stays far below it.
TOLERANCE = 1e-3
_NUM_UNLABELED = 100
# About as confident as networks are after so few steps.
_CONFIDENCES = {"tau": 0.118, "tau_inner": 0.2, "tau_select": 0.122}
_METRICS = ("loss", "unlabeled_loss", "mask_rate", "trusted_share")


def of(methods: list[str]) -> dict[str, list[float]]:
    """The probes of methods by name."""
    task = miniature()
    return {name: probe(METHODS[name], task) for name in methods}


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
    numbers: list[float] = []
    for model in models:
        # Those of a method with stages are by stage.
        stages = [x for x in model.history.values() if isinstance(x, dict)]
        for history in stages or [model.history]:
            numbers += [x for name in _METRICS for x in history.get(name, [])]
    numbers.append(models[0].evaluate(task.data.test)["loss"])
    if (trusted_set := getattr(models[0], "trusted_set", None)) is not None:
        numbers.append(float(len(trusted_set)))
    # Those that the miniature has in place of what a cell is trained with.
    known = inspect.signature(method.kind).parameters
    left = [name for name in _CONFIDENCES if name in known.keys() - method.options]
    return [*numbers, *(known[name].default for name in left)]


def agree(first: list[float] | None, second: list[float] | None) -> bool:
    """Whether two probes are those of one computation; None is that of none."""
    if first is None or second is None or len(first) != len(second):
        return False
    return np.allclose(first, second, rtol=TOLERANCE, atol=0.0)
