"""Saving a trained `KDFixMatch` and loading it again, without pickle."""

import json
import shutil
import tempfile
import zipfile
from inspect import signature
from pathlib import Path
from typing import Any

import keras

from kdfixmatch_keras.files import written_aside
from kdfixmatch_keras.trusted_set import TrustedSet

FORMAT_VERSION = 1
SETTINGS = "settings.json"
TRUSTED_SET = "trusted.npz"
NETWORKS = ("outer", "inner")
MEMBERS = (SETTINGS, TRUSTED_SET, *(f"{name}.keras" for name in NETWORKS))


def save(model: Any, path: Any) -> None:
    """Writes a trained `KDFixMatch`.

    Args:
        model: The model; `fit` must have ended.
        path: A file name ending in `.zip`, or a folder.

    Raises:
        RuntimeError: `model` has not been trained.
        ValueError: Something other than a saved model stands at `path`.
    """
    path = Path(path)
    model.serving_network  # noqa: B018 - raises where there is nothing to save
    is_empty_folder = path.is_dir() and not any(path.iterdir())
    if path.exists() and not is_empty_folder and not _is_saved_model(path):
        raise ValueError(
            "`path` must be new, or a saved model to replace. "
            f"Received: path={str(path)!r}, which holds something else"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / SETTINGS).write_text(json.dumps(_settings(model), indent=2))
        model.trusted_set.save(folder / TRUSTED_SET)
        for network in NETWORKS:
            getattr(model, network).save(folder / f"{network}.keras")
        with written_aside(path) as temporary:
            if path.suffix == ".zip":
                with zipfile.ZipFile(temporary, "w") as archive:
                    for member in MEMBERS:
                        archive.write(folder / member, member)
            else:
                # Not `copytree`: it would copy the mode of a private folder.
                temporary.mkdir()
                for member in MEMBERS:
                    shutil.copy(folder / member, temporary)


def load(cls: Any, path: Any) -> Any:
    """Reads what `save` wrote, as a model of class `cls`.

    Raises:
        ValueError: `path` does not hold a saved model of this version.
    """
    path = Path(path)
    if not _is_saved_model(path):
        raise ValueError(
            "`path` must be a model that KDFixMatch.save wrote. "
            f"Received: path={str(path)!r}"
        )
    if path.is_dir():
        return _load_folder(cls, path)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        # By name: an archive cannot place files that were not asked for.
        for member in MEMBERS:
            archive.extract(member, folder)
        return _load_folder(cls, Path(folder))


def _is_saved_model(path: Path) -> bool:
    if path.is_dir():
        return all((path / member).is_file() for member in MEMBERS)
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return set(MEMBERS) <= set(archive.namelist())


def _load_folder(cls: Any, folder: Path) -> Any:
    settings = json.loads((folder / SETTINGS).read_text())
    if settings["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"The model was saved in format {settings['format_version']}; this "
            f"version of kdfixmatch_keras reads format {FORMAT_VERSION}."
        )
    arguments = {
        name: keras.saving.deserialize_keras_object(value)
        if isinstance(value, dict)
        else value
        for name, value in settings["arguments"].items()
    }
    # The networks hold their weights: the file they started from may be gone, and is
    # needed only to train again.
    weights = arguments.pop("weights")
    model = cls(**arguments, weights=None)
    model.weights = weights
    model.unsaved_arguments = settings["unsaved_arguments"]
    model.unlabeled_names = settings["unlabeled_names"]
    model.class_names = settings["class_names"]
    model.history = settings["history"]
    model.trusted_set = TrustedSet.load(folder / TRUSTED_SET)
    for network in NETWORKS:
        setattr(model, network, keras.saving.load_model(folder / f"{network}.keras"))
    return model


def _settings(model: Any) -> dict[str, Any]:
    # What was lost when this model was loaded is still lost.
    arguments, unsaved = {}, list(model.unsaved_arguments)
    for name in signature(type(model)).parameters:
        if name in unsaved:
            continue
        value = getattr(model, name)
        if isinstance(
            value,
            keras.layers.Layer | keras.losses.Loss | keras.optimizers.Optimizer,
        ) and not isinstance(value, keras.Model):
            arguments[name] = keras.saving.serialize_keras_object(value)
        elif isinstance(value, Path):
            arguments[name] = str(value)
        elif value is None or isinstance(value, str | int | float | tuple | list):
            arguments[name] = value
        else:
            # A backbone or a clustering of the user's own: the networks hold what is
            # needed to predict, and `fit` will ask for it again.
            unsaved.append(name)
    return {
        "format_version": FORMAT_VERSION,
        "arguments": arguments,
        "unsaved_arguments": unsaved,
        "class_names": model.class_names,
        "unlabeled_names": model.unlabeled_names,
        "history": model.history,
    }
