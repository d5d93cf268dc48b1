"""What makes two trainings the same: their arguments and their images."""

import hashlib
from inspect import signature
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras.classifier import ImageClassifier, TrainingData
from kdfixmatch_keras.fixmatch import FixMatch
from kdfixmatch_keras.sources import ImageSource, LabeledImages

# Pixels up to this many bytes are all compared; of more, those of some images.
MAX_BYTES = 1 << 30
SAMPLED_IMAGES = 4096
_CHUNK = 1024


def identify(
    classifier: ImageClassifier, data: TrainingData, fit: dict[str, Any]
) -> dict[str, Any]:
    """Describes a training in what JSON knows.

    Args:
        classifier: Whose arguments count.
        data: Images of the training.
        fit: Arguments of `fit` that count, by name.

    Returns:
        Descriptions by what a reader would call it: the name of an argument, `"pixels
        of unlabeled"` and the like.
    """
    found: dict[str, Any] = {"method": type(classifier).__name__}
    for name in signature(ImageClassifier).parameters.keys() | (
        signature(type(classifier)).parameters.keys() - {"settings"}
    ):
        found[name] = describe(getattr(classifier, name))
    found |= {name: describe(value) for name, value in fit.items()}
    found["class names"] = data.labeled.class_names
    for name, images in (
        ("labeled", data.labeled),
        ("unlabeled", data.unlabeled),
        ("validation_data", data.validation),
    ):
        found |= _describe_images(name, images)
    return found


def describe(value: Any) -> Any:
    """Describes an argument in what JSON knows."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple | list):
        return [describe(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, keras.Model):
        model = value.teacher if isinstance(value, FixMatch) else value
        # Its layers have names that depend on what was made before.
        digest = hashlib.sha256(str(model.count_params()).encode())
        for weight in model.get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
        return f"{type(value).__name__} {digest.hexdigest()}"
    if isinstance(
        value, keras.layers.Layer | keras.losses.Loss | keras.optimizers.Optimizer
    ):
        return _without_names(keras.saving.serialize_keras_object(value))
    if hasattr(value, "get_params"):  # A clustering of scikit-learn.
        return f"{type(value).__name__} {sorted(value.get_params().items())}"
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _without_names(config: Any) -> Any:
    """Drops what Keras numbers in the order in which a process makes objects."""
    if isinstance(config, dict):
        return {
            key: _without_names(value)
            for key, value in config.items()
            if key not in ("name", "shared_object_id")
        }
    if isinstance(config, list | tuple):
        return [_without_names(value) for value in config]
    return config


def _describe_images(
    name: str, images: LabeledImages | ImageSource | None
) -> dict[str, Any]:
    if images is None:
        return {f"number of {name}": None}
    found = {}
    if isinstance(images, LabeledImages):
        labels = np.ascontiguousarray(images.labels, np.int32)
        found[f"labels of {name}"] = hashlib.sha256(labels.tobytes()).hexdigest()
        images = images.images
    names = "\n".join(images.names or [])
    return found | {
        f"number of {name}": len(images),
        f"shape of {name}": list(images.image_shape),
        f"file names of {name}": hashlib.sha256(names.encode()).hexdigest(),
        f"pixels of {name}": _hash_pixels(images),
    }


def _hash_pixels(images: ImageSource) -> str:
    count = len(images)
    if count * int(np.prod(images.image_shape)) > MAX_BYTES:
        count = min(count, SAMPLED_IMAGES)
    rows = np.linspace(0, len(images) - 1, count).round().astype(np.int64)
    digest = hashlib.sha256()
    for start in range(0, count, _CHUNK):
        digest.update(images[rows[start : start + _CHUNK]].tobytes())
    return digest.hexdigest()
