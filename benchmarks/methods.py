"""The methods of the accuracy benchmark: how each is trained, by name."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kdfixmatch_keras import KDFixMatch, TrustedSet, baselines, datasets, losses
from kdfixmatch_keras.classifier import ImageClassifier


@dataclass
class Task:
    """One data set with one draw of labels, and how long networks are trained.

    Attributes:
        data: Images and labels.
        settings: Constructor arguments that every method gets.
        epochs: Epochs of FixMatch and of KD-FixMatch's inner network.
        outer_epochs: Epochs of KD-FixMatch's outer network.
        steps_per_epoch: Batches in an epoch.
        trained: Networks that several methods share, and their seconds.
    """

    data: datasets.SemiSupervisedData
    settings: dict[str, Any]
    epochs: int
    outer_epochs: int
    steps_per_epoch: int
    trained: dict[str, tuple[ImageClassifier, float]] = field(default_factory=dict)

    def fit(self, model: Any, epochs: int, **options: Any) -> float:
        """Trains a classifier and returns the seconds it took."""
        start = time.perf_counter()
        with warnings.catch_warnings():
            # Weak pseudo-labels are a result here, and are in the figures.
            warnings.simplefilter("ignore", UserWarning)
            model.fit(
                self.data.labeled,
                self.data.unlabeled,
                epochs=epochs,
                steps_per_epoch=self.steps_per_epoch,
                verbose=0,
                **options,
            )
        return time.perf_counter() - start

    def fixmatch(self, epochs: int, **options: Any) -> tuple[Any, float]:
        """A trained FixMatch and its seconds. The rows of one task share it."""
        arguments = {
            "threshold": "fixed",
            **self.settings,
            **options,
        }
        key = f"{epochs} {sorted(arguments.items())}"
        if key not in self.trained:
            model = baselines.FixMatch(**arguments)
            self.trained[key] = model, self.fit(model, epochs)
        return self.trained[key]

    def accuracy(self, model: ImageClassifier) -> float:
        """Accuracy of a classifier's last weights on the test images, in [0, 1]."""
        accuracy: float = model.evaluate(self.data.test)["accuracy"]
        return accuracy


Epochs = Callable[[Task], int]
Result = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """What a row of the table is called, and how its figures come about.

    Attributes:
        title: Name in the table.
        train: Trains it on a task.
        references: Names of the rows that belong beside it in every table.
    """

    title: str
    train: Callable[[Task], Result]
    references: tuple[str, ...] = ()


def _equal_steps(task: Task) -> int:
    return task.epochs


def _equal_compute(task: Task) -> int:
    """As many epochs as both networks of KD-FixMatch are trained for."""
    return task.epochs + task.outer_epochs


def _outer_epochs(task: Task) -> int:
    return task.outer_epochs


def _rival(title: str, kind: type[ImageClassifier]) -> Method:
    """A method each of whose networks is trained for as long as FixMatch."""

    def train(task: Task) -> Result:
        model = kind(**task.settings)
        seconds = task.fit(model, task.epochs)
        return {
            "accuracy": task.accuracy(model),
            "seconds": seconds,
            "image_passes": model.image_passes,
        }

    return Method(title, train)


def _fixmatch(title: str, epochs: Epochs, **options: Any) -> Method:
    """FixMatch, or another threshold, for a number of epochs."""

    def train(task: Task) -> Result:
        model, seconds = task.fixmatch(epochs(task), **options)
        return {
            "accuracy": task.accuracy(model),
            "seconds": seconds,
            "image_passes": model.image_passes,
        }

    return Method(title, train)


def _kdfixmatch(
    title: str,
    outer_epochs: Epochs = _outer_epochs,
    references: tuple[str, ...] = ("fixmatch", "fixmatch_compute"),
    **options: Any,
) -> Method:
    """KD-FixMatch upon an outer network that other rows may share.

    Its seconds and image passes are those of all three steps all the same.
    """

    def train(task: Task) -> Result:
        model = KDFixMatch(**{**task.settings, **options})
        outer, outer_seconds = task.fixmatch(
            outer_epochs(task),
            threshold=model.threshold,
            distribution_alignment=model.distribution_alignment,
        )
        seconds = task.fit(model, task.epochs, outer=outer.network)
        return {
            "accuracy": task.accuracy(model),
            "outer_accuracy": task.accuracy(outer),
            "seconds": outer_seconds + seconds,
            "image_passes": outer.image_passes + model.image_passes,
            "trusted_share": float(np.mean(model.history["inner"]["trusted_share"])),
            **_audit(model.trusted_set, task.data),
        }

    return Method(title, train, references)


def _audit(
    trusted_set: TrustedSet, data: datasets.SemiSupervisedData
) -> dict[str, float | None]:
    """Precision and coverage among the images whose label training did not know."""
    unknown = np.ones(len(data.unlabeled), bool)
    unknown[data.labeled_indices] = False
    labels, truth = trusted_set.dense_labels()[unknown], data.unlabeled_labels[unknown]
    trusted = labels >= 0
    right = labels[trusted] == truth[trusted]
    return {
        # Of nothing, there is no share.
        "trusted_precision": float(np.mean(right)) if len(right) else None,
        "trusted_coverage": float(np.mean(trusted)),
    }


# Single networks that come close to KD-FixMatch, and what they do with its compute.
_STRONG = ("flexmatch", "softmatch")
_ADAPTIVE = {name.lower(): name for name in ("FlexMatch", "FreeMatch", "SoftMatch")}

RIVALS = {
    "supervised": _rival("supervised only", baselines.Supervised),
    "self_training": _rival("self-training", baselines.SelfTraining),
    "noisy_student": _rival("Noisy Student", baselines.NoisyStudent),
    "mean_teacher": _rival("Mean Teacher", baselines.MeanTeacher),
    "fixmatch": _fixmatch("FixMatch, equal steps", _equal_steps),
    **{
        name: _fixmatch(f"{title}, equal steps", _equal_steps, threshold=name)
        for name, title in _ADAPTIVE.items()
    },
    "fixmatch_compute": _fixmatch("FixMatch, equal compute", _equal_compute),
    **{
        f"{name}_compute": _fixmatch(
            f"{_ADAPTIVE[name]}, equal compute", _equal_compute, threshold=name
        )
        for name in _STRONG
    },
    "kd_ce": _kdfixmatch("KD-FixMatch, CE", unlabeled_loss="ce"),
    "kd_sce_0.01": _kdfixmatch(
        "KD-FixMatch, SCE 1.0/0.01",
        unlabeled_loss=losses.SymmetricCrossEntropy(1.0, 0.01),
    ),
    "kd_sce": _kdfixmatch("KD-FixMatch, SCE 1.0/0.1"),
}
"""KD-FixMatch with the defaults of this package but for the settings that all rows
share, and what it is compared with."""

PUBLISHED = {
    "fixmatch_published": _fixmatch(
        "FixMatch as published", _equal_steps, distribution_alignment=False
    ),
    "fixmatch_published_2x": _fixmatch(
        "FixMatch as published, twice the steps",
        lambda task: 2 * task.epochs,
        distribution_alignment=False,
    ),
    **{
        f"{name}_published": _fixmatch(
            f"{title} as published",
            _equal_steps,
            threshold=name,
            distribution_alignment=False,
        )
        for name, title in _ADAPTIVE.items()
    },
    "kd_published": _kdfixmatch(
        "KD-FixMatch as published",
        _equal_steps,
        references=("fixmatch_published", "fixmatch_published_2x"),
        inner_threshold="fixed",
        distribution_alignment=False,
        assignment="majority",
        trusted_until=1.0,
        inner_init="fresh",
    ),
}
"""No alignment; KD-FixMatch with equally long stages, a fixed threshold, and trusted
labels to the end."""

VARIANTS = {
    "kd_fixed": _kdfixmatch("fixed inner threshold", inner_threshold="fixed"),
    "kd_flexmatch": _kdfixmatch("outer threshold of FlexMatch", threshold="flexmatch"),
    "kd_softmatch": _kdfixmatch(
        "inner threshold of SoftMatch", inner_threshold="softmatch"
    ),
    "kd_fresh": _kdfixmatch("fresh inner network", inner_init="fresh"),
    "kd_warm": _kdfixmatch("inner network from the outer one", inner_init="outer"),
    "kd_untrusted": _kdfixmatch("no trusted labels", trusted_until=0.0),
    "kd_trusted": _kdfixmatch("trusted labels to the end", trusted_until=1.0),
    "kd_long_outer": _kdfixmatch("outer network as long as the inner", _equal_steps),
    "kd_clusters": _kdfixmatch(
        "three clusters a class", clusters_per_class=3, assignment="majority"
    ),
    "kd_unaligned": _kdfixmatch("no alignment", distribution_alignment=False),
}
"""KD-FixMatch with one of its settings changed."""

FILTERS = {
    "filter_none": _kdfixmatch("filter: none", tau_select=0.0, clustering=None),
    "filter_confidence": _kdfixmatch("filter: confidence", clustering=None),
    **{
        f"filter_{clustering}_{assignment}": _kdfixmatch(
            f"filter: confidence, {clustering}, {assignment}",
            clustering=clustering,
            assignment=assignment,
        )
        for clustering in ("kmeans", "spectral", "dec")
        for assignment in ("majority", "hungarian")
        # Which is the default, `kd_sce`.
        if (clustering, assignment) != ("dec", "hungarian")
    },
}
"""KD-FixMatch with one part after another of the filter of its trusted set."""

METHODS = {**RIVALS, **PUBLISHED, **VARIANTS, **FILTERS}
GROUPS = {
    "all": list(RIVALS),
    "published": list(PUBLISHED),
    "variants": [*VARIANTS, "kd_sce"],
    "filters": [*FILTERS, "kd_sce"],
}
COMPARISONS = {
    "kd_sce": (
        *("fixmatch", "fixmatch_compute"),
        *_ADAPTIVE,
        *(f"{name}_compute" for name in _STRONG),
        *("mean_teacher", "noisy_student", "self_training", "supervised"),
    ),
    "kd_fixed": ("fixmatch", "fixmatch_compute"),
    "kd_published": (
        *("fixmatch_published", "fixmatch_published_2x"),
        *(f"{name}_published" for name in _ADAPTIVE),
    ),
}
"""Which rows the verdicts compare with each of ours, not all at the same cost."""
