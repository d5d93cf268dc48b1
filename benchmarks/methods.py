"""The methods of the accuracy benchmark, which `accuracy.toml` names."""

import functools
import inspect
import tomllib
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import measuring
import numpy as np
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from kdfixmatch_keras import KDFixMatch, baselines, datasets, losses
from kdfixmatch_keras.classifier import ImageClassifier

Options = dict[str, Any]


@dataclass
class Task:
    """One data set with one draw of labels, and how long networks are trained."""

    data: datasets.SemiSupervisedData
    # Constructor arguments of every method that has them.
    settings: Options
    # Of FixMatch and of KD-FixMatch's inner network.
    epochs: int
    outer_epochs: int
    steps_per_epoch: int
    # Models that several methods share, and their seconds.
    trained: dict[str, tuple[Any, float]] = field(default_factory=dict)

    @classmethod
    def drawn(
        cls, settings: Options, labels: int, seed: int, data_dir: str | None
    ) -> "Task":
        """A draw of labels, with the settings of a data set; see `PRESETS`."""
        size = settings["image_size"]
        image_size = None if size is None else (size, size)
        data = datasets.load(
            settings["data"], labels, seed, data_dir=data_dir, image_size=image_size
        )
        names = "backbone weights batch_size unlabeled_ratio distribution_alignment"
        shared = {name: settings[name] for name in names.split()}
        shared |= {"weak_augmentation": data.weak_augmentation, "seed": seed}
        lengths = ("epochs", "outer_epochs", "steps_per_epoch")
        return cls(data, shared, *(settings[name] for name in lengths))

    def new(self, kind: type[ImageClassifier], options: Options) -> Any:
        """A classifier with the settings that it has, and with options of its own."""
        known = inspect.signature(kind).parameters
        settings = {name: x for name, x in self.settings.items() if name in known}
        return kind(**{**settings, **options})

    def fit(self, model: Any, epochs: int, **options: Any) -> float:
        """Trains a classifier and returns the seconds it took."""
        images = self.data.labeled, self.data.unlabeled
        options |= {"epochs": epochs, "steps_per_epoch": self.steps_per_epoch}
        with warnings.catch_warnings():
            # Weak pseudo-labels are a result here, and are in the figures.
            warnings.simplefilter("ignore", UserWarning)
            fit = functools.partial(model.fit, *images, verbose=0, **options)
            return measuring.seconds(fit)

    def shared(self, model: Any, epochs: int) -> tuple[Any, float]:
        """A trained classifier like this and its seconds; it is trained once."""
        key = f"{type(model)} {epochs} {sorted(model.arguments().items())}"
        if key not in self.trained:
            self.trained[key] = model, self.fit(model, epochs)
        return self.trained[key]

    def test(self, model: ImageClassifier) -> Options:
        """How good its last weights are on the test images, and what one takes it."""
        images, labels = self.data.test.images, self.data.test.labels
        found: list[Any] = []
        predict = functools.partial(model.predict, images)
        seconds = measuring.seconds(lambda: found.extend(predict().argmax(axis=1)))
        return {
            "accuracy": float(accuracy_score(labels, found)),
            "balanced_accuracy": float(balanced_accuracy_score(labels, found)),
            "milliseconds": 1000 * seconds / len(images),
        }


@dataclass(frozen=True)
class Method:
    """What a row of the table is called, and how its figures come about."""

    title: str
    kind: type[ImageClassifier]
    # For how long: see `accuracy.toml`.
    train_as: str
    options: Options
    # Names of the rows that belong beside it in every table.
    references: list[str]

    def fit(self, task: Task) -> tuple[list[Any], float]:
        """Trains it, KD-FixMatch upon an outer network that other rows may share.

        Returns:
            The model and, of KD-FixMatch, the outer one; the seconds of all its steps.
        """
        epochs = {"outer": task.outer_epochs, "steps": task.epochs}
        epochs |= {"compute": sum(epochs.values()), "twice": 2 * task.epochs}
        model = task.new(self.kind, {n: _argument(x) for n, x in self.options.items()})
        if self.kind is not KDFixMatch:
            model, seconds = task.shared(model, epochs[self.train_as])
            return [model], seconds
        names = ("threshold", "distribution_alignment")
        options = {n: getattr(model, n) for n in names}
        options["backbone"] = model.outer_backbone or model.backbone
        outer = task.new(baselines.FixMatch, options)
        outer, seconds = task.shared(outer, epochs[self.train_as])
        seconds += task.fit(model, task.epochs, outer=outer.network)
        return [model, outer], seconds

    def train(self, task: Task) -> dict[str, Any]:
        """Trains it and returns the figures of its row, and its arguments."""
        models, seconds = self.fit(task)
        figures = {
            **task.test(models[0]),
            "seconds": seconds,
            "image_passes": sum(model.image_passes for model in models),
            "arguments": {**task.settings, **self.options},
        }
        if self.kind is KDFixMatch:
            figures |= _trusted_figures(models[0], task.data)
            outer = task.test(models[1])
            figures |= {f"outer_{name}": x for name, x in outer.items()}
        return figures


def _argument(value: Any) -> Any:
    """An argument that is named in a file: None, or a loss with its own arguments."""
    if isinstance(value, dict):
        ((name, arguments),) = value.items()
        return getattr(losses, name)(*arguments)
    return None if value == "none" else value


def _trusted_figures(
    model: Any, data: datasets.SemiSupervisedData
) -> dict[str, float | None]:
    """Precision and coverage among the images whose label training did not know."""
    unknown = np.ones(len(data.unlabeled), bool)
    unknown[data.labeled_indices] = False
    labels = model.trusted_set.dense_labels()[unknown]
    trusted = labels >= 0
    right = (labels == data.unlabeled_labels[unknown])[trusted]
    return {
        "trusted_share": float(np.mean(model.history["inner"]["trusted_share"])),
        # Of nothing, there is no share.
        "trusted_precision": float(np.mean(right)) if len(right) else None,
        "trusted_coverage": float(np.mean(trusted)),
    }


def _method(name: str, written: Options) -> Method:
    is_ours = name.startswith(("kd_", "filter_"))
    options = {"kind": "FixMatch", "train": "outer" if is_ours else "steps", **written}
    title, kind, train_as = (options.pop(key) for key in ("title", "kind", "train"))
    beside = ["fixmatch", "fixmatch_compute"]
    if name == "kd_published":
        beside = ["fixmatch_published", "fixmatch_published_2x"]
    found = KDFixMatch if is_ours else getattr(baselines, kind)
    return Method(title, found, train_as, options, beside if is_ours else [])


_WRITTEN = tomllib.loads(Path(__file__).with_name("accuracy.toml").read_text())
COMPARISONS: dict[str, list[str]] = _WRITTEN["comparisons"]
PRESETS: dict[str, Options] = {
    name: {
        setting: _argument(value)
        for setting, value in {**_WRITTEN["presets"]["paper"], **preset}.items()
    }
    for name, preset in _WRITTEN["presets"].items()
}
METHODS = {
    name: _method(name, written)
    for group in _WRITTEN["methods"].values()
    for name, written in group.items()
}
GROUPS = {name: list(group) for name, group in _WRITTEN["methods"].items()}
for _group in ("variants", "filters"):
    GROUPS[_group].append("kd_sce")
