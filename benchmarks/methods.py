"""The methods of the accuracy benchmark: how each is trained, by name."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kdfixmatch_keras import FixMatch, KDFixMatch, baselines, datasets, losses
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
        trained: Outer networks that several methods share, with their cost.
    """

    data: datasets.SemiSupervisedData
    settings: dict[str, Any]
    epochs: int
    outer_epochs: int
    steps_per_epoch: int
    trained: dict[tuple[int, str], tuple[FixMatch, float, int]] = field(
        default_factory=dict
    )

    def fit(self, model: Any, epochs: int, **options: Any) -> float:
        """Trains a classifier and returns the seconds it took."""
        start = time.perf_counter()
        model.fit(
            self.data.labeled,
            self.data.unlabeled,
            epochs=epochs,
            steps_per_epoch=self.steps_per_epoch,
            verbose=0,
            **options,
        )
        return time.perf_counter() - start

    def outer(self, epochs: int, threshold: str) -> tuple[FixMatch, float, int]:
        """A FixMatch network, its seconds and image passes, trained at most once."""
        key = epochs, threshold
        if key not in self.trained:
            model = baselines.FixMatch(**self.settings, threshold=threshold)
            seconds = self.fit(model, epochs)
            self.trained[key] = model.network, seconds, model.image_passes
        return self.trained[key]

    def accuracy(self, network: FixMatch) -> float:
        """Accuracy of the network's last weights on the test images, in [0, 1]."""
        model = baselines.FixMatch(**self.settings)
        model.network, model.class_names = network, self.data.class_names
        return self.evaluate(model)

    def evaluate(self, model: ImageClassifier) -> float:
        """Accuracy of a classifier's last weights on the test images, in [0, 1]."""
        accuracy: float = model.evaluate(self.data.test)["accuracy"]
        return accuracy


Result = dict[str, Any]
Train = Callable[[Task], Result]


@dataclass(frozen=True)
class Method:
    """What a row of the table is called, and how its figures come about."""

    title: str
    train: Train


def _single(kind: type[ImageClassifier], **options: Any) -> Train:
    """Trains a rival as long as FixMatch, for each of its networks."""

    def train(task: Task) -> Result:
        model = kind(**{**task.settings, **options})
        seconds = task.fit(model, task.epochs)
        return {
            "accuracy": task.evaluate(model),
            "seconds": seconds,
            "image_passes": model.image_passes,
        }

    return train


def _fixmatch(epochs: Callable[[Task], int], threshold: str = "fixed") -> Train:
    """Trains FixMatch for a number of epochs, or takes it where it was trained."""

    def train(task: Task) -> Result:
        network, seconds, image_passes = task.outer(epochs(task), threshold)
        return {
            "accuracy": task.accuracy(network),
            "seconds": seconds,
            "image_passes": image_passes,
        }

    return train


def _kdfixmatch(
    outer_epochs: Callable[[Task], int] = lambda task: task.outer_epochs,
    *,
    threshold: str = "fixed",
    **options: Any,
) -> Train:
    """Trains KD-FixMatch upon an outer network that other rows may share.

    Its seconds and image passes are those of all three steps all the same.
    """

    def train(task: Task) -> Result:
        outer, outer_seconds, outer_passes = task.outer(outer_epochs(task), threshold)
        model = KDFixMatch(**task.settings, threshold=threshold, **options)
        with warnings.catch_warnings():
            # A weak trusted set is a result here: its precision and size are reported.
            warnings.simplefilter("ignore", UserWarning)
            seconds = task.fit(model, task.epochs, outer=outer)
        audit = model.trusted_set.audit(task.data.unlabeled_labels)
        return {
            "accuracy": task.evaluate(model),
            "outer_accuracy": task.accuracy(outer),
            "seconds": outer_seconds + seconds,
            "image_passes": outer_passes + model.image_passes,
            "trusted_precision": audit["precision"],
            "trusted_coverage": audit["coverage"],
        }

    return train


def _epochs(task: Task) -> int:
    return task.epochs


def _all_epochs(task: Task) -> int:
    """As many as both networks of KD-FixMatch are trained for."""
    return task.epochs + task.outer_epochs


ADAPTIVE = ("FlexMatch", "FreeMatch", "SoftMatch")

RIVALS = {
    "supervised": Method("supervised only", _single(baselines.Supervised)),
    "self_training": Method("self-training", _single(baselines.SelfTraining)),
    "noisy_student": Method("Noisy Student", _single(baselines.NoisyStudent)),
    "mean_teacher": Method("Mean Teacher", _single(baselines.MeanTeacher)),
    **{
        name.lower(): Method(f"{name}, equal steps", _fixmatch(_epochs, name.lower()))
        for name in ADAPTIVE
    },
    "fixmatch": Method("FixMatch, equal steps", _fixmatch(_epochs)),
    "fixmatch_compute": Method("FixMatch, equal compute", _fixmatch(_all_epochs)),
    "kd_ce": Method("KD-FixMatch, CE", _kdfixmatch(unlabeled_loss="ce")),
    "kd_sce_0.01": Method(
        "KD-FixMatch, SCE 1.0/0.01",
        _kdfixmatch(unlabeled_loss=losses.SymmetricCrossEntropy(1.0, 0.01)),
    ),
    "kd_sce": Method("KD-FixMatch, SCE 1.0/0.1", _kdfixmatch()),
}
"""KD-FixMatch and what it is compared with."""

THRESHOLDS: dict[str, Method] = {}
for _name in ADAPTIVE:
    _threshold = _name.lower()
    THRESHOLDS[f"{_threshold}_compute"] = Method(
        f"{_name}, equal compute", _fixmatch(_all_epochs, _threshold)
    )
    THRESHOLDS[f"kd_{_threshold}"] = Method(
        f"KD-FixMatch, thresholds of {_name}", _kdfixmatch(threshold=_threshold)
    )
"""KD-FixMatch with other thresholds, and what these do alone at equal compute."""

PUBLISHED = {
    "fixmatch_2x": Method(
        "FixMatch, twice the steps", _fixmatch(lambda task: 2 * task.epochs)
    ),
    "kd_published": Method(
        "KD-FixMatch as published",
        _kdfixmatch(
            _epochs, assignment="majority", trusted_until=1.0, inner_init="fresh"
        ),
    ),
}
"""KD-FixMatch as published: equally long stages, trusted labels to the end."""

FILTERS = {
    "filter_none": Method("no filter", _kdfixmatch(tau_select=0.0, clustering=None)),
    "filter_confidence": Method("confidence only", _kdfixmatch(clustering=None)),
    **{
        f"filter_{clustering}_{assignment}": Method(
            f"confidence + {title}, {assignment}",
            _kdfixmatch(clustering=clustering, assignment=assignment),
        )
        for clustering, title in (
            ("kmeans", "k-means"),
            ("spectral", "spectral"),
            ("dec", "DEC"),
        )
        for assignment in ("majority", "hungarian")
    },
}
"""KD-FixMatch with one part after another of the filter of its trusted set."""

GROUPS = {
    "all": list(RIVALS),
    "thresholds": list(THRESHOLDS),
    "published": list(PUBLISHED),
    "filters": list(FILTERS),
}
METHODS = {**RIVALS, **THRESHOLDS, **PUBLISHED, **FILTERS}
