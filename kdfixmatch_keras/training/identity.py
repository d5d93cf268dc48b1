"""What makes two trainings the same: their arguments and their images."""

import base64
import functools
import hashlib
import json
import marshal
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras import backend
from kdfixmatch_keras.backbones.keras_hub import folder_of
from kdfixmatch_keras.backbones.precision import resolve_precision
from kdfixmatch_keras.backend import devices
from kdfixmatch_keras.backend.own_objects import (
    constant_rate,
    is_described,
    kept_arguments,
    rate_of,
)
from kdfixmatch_keras.fixmatch import FixMatch
from kdfixmatch_keras.sources import ImageSource, LabeledImages
from kdfixmatch_keras.training.data import TrainingData

# Pixels up to this many bytes are all compared; of more, those of some images.
MAX_BYTES = 1 << 30
SAMPLED_IMAGES = 4096
_CHUNK = 1024
# What has a configuration as a rule.
_CONFIGURED = (
    keras.layers.Layer,
    keras.losses.Loss,
    keras.optimizers.schedules.LearningRateSchedule,
)


def identify(
    method: str,
    arguments: Mapping[str, Any],
    data: TrainingData,
    fit: Mapping[str, Any],
) -> dict[str, Any]:
    """Describes a training in what JSON knows.

    Args:
        method: Name of the method.
        arguments: Those of its constructor, by name.
        data: Images of the training.
        fit: Arguments of `fit` that count, by name.

    Returns:
        Descriptions by what a reader would call it: the name of an argument, `"pixels
        of unlabeled"` and the like.
    """
    found: dict[str, Any] = {
        "method": method,
        "backend": backend.name(),
        "precision": resolve_precision(arguments["mixed_precision"]),
    }
    count = devices.sharing().devices
    if count > 1:
        found["devices"] = count
    found |= {name: describe(value) for name, value in arguments.items()}
    weights = arguments["weights"]
    if weights is not None and Path(weights).is_file():
        found["weights"] = hashlib.sha256(Path(weights).read_bytes()).hexdigest()
    for name in ("backbone", "outer_backbone"):
        folder = folder_of(arguments.get(name))
        if folder is not None:
            found[name] = _hash_files(folder)
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
    """Describes an argument in what JSON knows, alike in every process."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return _hash(value.tobytes(), value.dtype.str, value.shape)
    if isinstance(value, tuple | list):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, FixMatch):
        return describe(value.teacher)
    if isinstance(value, keras.Model):
        layers = [[type(x).__name__, _without_names(_config(x))] for x in value.layers]
        return _hash(json.dumps(layers, default=str), *value.get_weights())
    if isinstance(value, keras.optimizers.Optimizer):
        rate = rate_of(value)
        if rate is None or is_described(rate):
            return _without_names(keras.saving.serialize_keras_object(value))
        with constant_rate(value, 0.0):
            config = _without_names(keras.saving.serialize_keras_object(value))
        return [config, describe(rate)]
    if isinstance(value, _CONFIGURED):
        try:
            return _without_names(keras.saving.serialize_keras_object(value))
        # Whatever a class of a user's own raises.
        except Exception:
            own = {name: describe(kept) for name, kept in kept_arguments(value)}
            return [f"{type(value).__module__}.{type(value).__qualname__}", own]
    if isinstance(value, functools.partial):
        return [describe(x) for x in (value.func, value.args, value.keywords)]
    if isinstance(value, np.random.RandomState):
        return describe(list(value.get_state(legacy=True)))
    if hasattr(value, "get_params"):  # A clustering of scikit-learn.
        return [type(value).__name__, describe(value.get_params())]
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _hash(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            part = part.tobytes()
        digest.update(part if isinstance(part, bytes) else str(part).encode())
    return digest.hexdigest()


def _hash_files(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return _hash(*(part for file in files for part in (file.name, file.read_bytes())))


def _config(layer: Any) -> Any:
    """The configuration of a layer; that of a model inside a model names layers."""
    if isinstance(layer, keras.Model):
        return [_config(inner) for inner in layer.layers]
    return layer.get_config()


def _without_names(config: Any) -> Any:
    """Drops what another process that makes the same objects would have otherwise.

    Keras numbers their names in order, and of a lambda it has the bytes of its code,
    with the place where it is written.
    """
    if isinstance(config, dict):
        if config.get("class_name") == "__lambda__":
            written = marshal.loads(base64.b64decode(config["config"]["code"]))
            return ["lambda", _hash(*_what_it_does(written))]
        return {
            key: _without_names(value)
            for key, value in config.items()
            # The name of a dtype policy is all that it has.
            if len(config) == 1
            or key not in ("name", "shared_object_id", "build_config")
        }
    if isinstance(config, list | tuple):
        return [_without_names(value) for value in config]
    return config


def _what_it_does(code: CodeType) -> Iterator[Any]:
    """The instructions of a function, and the names and constants in them."""
    yield from (code.co_code, code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _what_it_does(constant)
        else:
            yield repr(constant)


def _describe_images(
    name: str, images: LabeledImages | ImageSource | None
) -> dict[str, Any]:
    if images is None:
        return {f"number of {name}": None}
    found = {}
    if isinstance(images, LabeledImages):
        found[f"labels of {name}"] = _hash(images.labels.astype(np.int32))
        images = images.images
    names = "\n".join(images.names or [])
    return found | {
        f"number of {name}": len(images),
        f"shape of {name}": list(images.image_shape),
        f"file names of {name}": _hash(names),
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
