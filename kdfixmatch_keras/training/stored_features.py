"""Training the head of a network on the features of its frozen backbone.

A backbone that stays as it is need not see an image in every step. Here it sees each a
few times before the first one: as it is, in a weak view and in some strong ones. What
comes of that is kept on disk under the index of the image, in numbers of 8 bits, as an
"image" of shape `(views, features, 1)`: so batches, networks and their state are those
of any other training, in which an augmentation chooses a view.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from kdfixmatch_keras.backbones.build import backbone_of
from kdfixmatch_keras.backbones.weights import set_weights
from kdfixmatch_keras.backend.own_objects import copied_layer
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.fixmatch import FixMatch
from kdfixmatch_keras.serving import prediction
from kdfixmatch_keras.sources import ArraySource, ImageSource, SubsetSource
from kdfixmatch_keras.storage.files import written_aside
from kdfixmatch_keras.training.data import TrainingData

# Of each image, beside the image itself.
WEAK_VIEWS, STRONG_VIEWS = 1, 3
VIEWS = 1 + WEAK_VIEWS + STRONG_VIEWS
# Features further than this from their mean, in standard deviations, are cut off; with
# 256 levels in between, rounding moves one by at most 0.025 of a deviation.
SPREAD = 6.0
# Unlabeled images that say how large features are.
_SAMPLE = 512
# Images in a forward pass, in each of their views; and between two writes.
_BATCH_SIZE, _CHUNK = 16, 2048

Once = Callable[[str, Callable[[], dict[str, np.ndarray]]], dict[str, np.ndarray]]


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class ChosenView(keras.layers.Layer):
    """An augmentation that puts one of the stored views of each image in front.

    Args:
        first: The first of those that it draws from.
        count: How many these are, one after the other.
        seed: Seed of the draw.
    """

    def __init__(self, first: int, count: int, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.first = first
        self.count = count
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, views: Any, training: bool = False) -> Any:
        """uint8 `(n, views, features, 1)`, the front one replaced in training."""
        if not training:
            return views
        images = ops.shape(views)[0]
        number, features = views.shape[1:3]
        drawn = keras.random.randint(
            (images,), self.first, self.first + self.count, seed=self.seed_generator
        )
        rows = ops.arange(images, dtype="int32") * number + ops.cast(drawn, "int32")
        chosen = ops.take(ops.reshape(views, (-1, features, 1)), rows, axis=0)
        return ops.concatenate([ops.expand_dims(chosen, 1), views[:, 1:]], axis=1)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        own = {"first": self.first, "count": self.count, "seed": self.seed}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class FrontFeatures(keras.layers.Layer):
    """The features of the view in front, from numbers of 8 bits.

    Args:
        low: Value of 0 of each feature.
        step: What 1 more is worth.
    """

    def __init__(self, low: Any, step: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low = np.asarray(low, "float32")
        self.step = np.asarray(step, "float32")

    def call(self, views: Any) -> Any:
        """Features `(n, D)` of uint8 `(n, views, D, 1)`."""
        front = ops.cast(views[:, 0, :, 0], "float32")
        low, step = map(ops.convert_to_tensor, (self.low, self.step))
        return ops.cast(low + step * front, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        own = {"low": self.low.tolist(), "step": self.step.tolist()}
        return {**super().get_config(), **own}


class _Views(keras.Model):
    """Images as the features `(n, VIEWS, D)` of their views."""

    def __init__(self, network: FixMatch) -> None:
        super().__init__(name="views")
        self.features = backbone_of(network.student)
        self.network = network

    def call(self, images: Any) -> Any:
        weak = [self.network.weak_view(images, True) for _ in range(WEAK_VIEWS)]
        strong = [self.network.strong_view(images, True) for _ in range(STRONG_VIEWS)]
        # One forward pass, or the backbone would be traced for each.
        seen = ops.concatenate([images, *weak, *strong], axis=0)
        features = ops.cast(self.features(seen, training=False), "float32")
        dimensions = features.shape[-1]
        by_view = ops.reshape(features, (VIEWS, -1, dimensions))
        return ops.transpose(by_view, (1, 0, 2))


class FeatureStore:
    """The features of the images of one training.

    Args:
        folder: Where they are kept.
        network: A network with the frozen backbone, and with the augmentations.
        data: The images.
        once: `Session.once`, which remembers what is complete.
        count: Called with how often an image went forward through the backbone.
    """

    def __init__(
        self,
        folder: Path,
        network: FixMatch,
        data: TrainingData,
        once: Once,
        count: Callable[[int], None],
    ) -> None:
        self.folder = folder
        self._count = count
        self._data = data
        self._once = once
        self._model = _Views(network)
        self._backbone = self._model.features.get_weights()
        # Each file begins with the same ones, whichever were written before it.
        layers = (network.weak_augmentation, network.strong_augmentation)
        self._states = [
            (variable, keras.ops.convert_to_numpy(variable))
            for layer in layers
            for variable in layer.variables
        ]
        found = once("feature_range", self._range)
        count(VIEWS * min(len(data.unlabeled), _SAMPLE))
        self.low, self.step = found["low"], found["step"]
        self._sources: dict[str, ImageSource] = {}

    def data(self, labels_only: bool = False) -> TrainingData:
        """The features in the place of the images.

        Args:
            labels_only: Whether those of the unlabeled images are not needed; the
                images themselves are in their place then.
        """
        labeled, validation = self._data.labeled, self._data.validation
        if validation is not None:
            images = self._stored("validation", validation.images)
            validation = replace(validation, images=images)
        unlabeled = self._data.unlabeled
        return TrainingData(
            replace(labeled, images=self._stored("labeled", labeled.images)),
            unlabeled if labels_only else self._stored("unlabeled", unlabeled),
            validation,
        )

    def head_of(self, network: FixMatch) -> FixMatch:
        """A network on stored features, with the layers of this one after its backbone.

        Its student shares them, its teacher has copies. The backbone of this one, of
        which a part may be random, becomes that of the features.
        """
        for model in (network.student, network.teacher):
            set_weights(backbone_of(model), self._backbone)
        names = [layer.name for layer in network.student.layers]
        views = keras.Input((VIEWS, len(self.low), 1), dtype="uint8", name="views")
        x = FrontFeatures(
            self.low, self.step, dtype=network.student.dtype_policy, name="features"
        )(views)
        for layer in network.student.layers[names.index("embedding") :]:
            x = layer(x)
        weak, strong = (
            validation.derive_seed(network.seed, f"stored {kind} view")
            for kind in ("weak", "strong")
        )
        changed = {
            "student": keras.Model(views, x, name=network.student.name),
            "unlabeled_loss": network.unlabeled_loss,
            "threshold": copied_layer(network.threshold, "threshold"),
            "weak_augmentation": ChosenView(1, WEAK_VIEWS, weak),
            "strong_augmentation": ChosenView(1 + WEAK_VIEWS, STRONG_VIEWS, strong),
        }
        head = type(network).from_config({**network.get_config(), **changed})
        head.is_pretrained = network.is_pretrained
        _copy_weights(network.teacher, head.teacher)
        return head

    def _range(self) -> dict[str, np.ndarray]:
        """Where the 256 levels of each feature begin, and how far apart they are."""
        self._begin()
        count = len(self._data.unlabeled)
        rows = np.linspace(0, count - 1, min(count, _SAMPLE)).astype(np.int64)
        found = self._features(SubsetSource(self._data.unlabeled, rows))
        found = found.reshape(-1, found.shape[-1])
        # What is 0 in all of these may not be in others.
        spread = SPREAD * np.maximum(found.std(axis=0), 1e-3)
        return {"low": found.mean(axis=0) - spread, "step": 2 * spread / 255}

    def _begin(self) -> None:
        for variable, value in self._states:
            variable.assign(value)

    def _features(self, images: ImageSource) -> np.ndarray:
        return np.asarray(prediction.predict(self._model, images, _BATCH_SIZE))

    def _stored(self, name: str, images: ImageSource) -> ImageSource:
        """The features of the images of a source, computed where there are none."""
        if name not in self._sources:
            self._count(VIEWS * len(images))
            path = self.folder / f"features_{name}.npy"
            kept = self._once(path.stem, lambda: _digest(self._write(path, images)))
            if not path.exists() or not np.array_equal(
                _digest(path)["sha256"], kept["sha256"]
            ):
                self._write(path, images)
            self._sources[name] = ArraySource(np.load(path, mmap_mode="r"))
        return self._sources[name]

    def _write(self, path: Path, images: ImageSource) -> Path:
        self._begin()
        shape = (len(images), VIEWS, len(self.low), 1)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        # No memory map: it ends the process where the disk is full.
        with written_aside(path) as aside, aside.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(images), _CHUNK):
                rows = np.arange(start, min(start + _CHUNK, len(images)))
                features = self._features(SubsetSource(images, rows))
                levels = np.rint((features - self.low) / self.step).clip(0, 255)
                file.write(levels.astype(np.uint8).tobytes())
        return path


def passes(data: TrainingData, again: bool = False) -> int:
    """How often an image goes through a backbone before the first step.

    Args:
        data: The images.
        again: Whether another network, on the labels alone, has a store of its own.
    """
    tested = 0 if data.validation is None else len(data.validation.images)
    own = (1 + again) * (len(data.labeled.images) + tested)
    sampled = (1 + again) * min(len(data.unlabeled), _SAMPLE)
    return VIEWS * (len(data.unlabeled) + own + sampled)


def take_over(network: FixMatch, head: FixMatch) -> None:
    """Gives a network what its head on stored features has learned."""
    _copy_weights(head.teacher, network.teacher)
    for name in ("alignment", "threshold"):
        own, other = getattr(network, name), getattr(head, name)
        for variable, value in zip(
            *(part.variables if part is not None else [] for part in (own, other)),
            strict=True,
        ):
            variable.assign(value)
    network.num_updates.assign(head.num_updates)


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copies the weights of the layers after the backbone."""
    names = [layer.name for layer in source.layers]
    for name in names[names.index("embedding") :]:
        set_weights_of = target.get_layer(name).set_weights
        set_weights_of(source.get_layer(name).get_weights())


def _digest(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return {"sha256": np.frombuffer(digest, np.uint8)}
