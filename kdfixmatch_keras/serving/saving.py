"""Saving a trained `KDFixMatch` and loading it again, without pickle."""

import contextlib
import hashlib
import json
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import keras

from kdfixmatch_keras.backend.keras_settings import usual_settings
from kdfixmatch_keras.backend.own_objects import is_described, rate_of
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.checks.memory import is_out_of_memory
from kdfixmatch_keras.checks.paths import FILE_SUFFIXES
from kdfixmatch_keras.fixmatch import OBSOLETE_ARGUMENTS
from kdfixmatch_keras.sources.intensity import IntensityRange
from kdfixmatch_keras.storage.files import standing, written_aside
from kdfixmatch_keras.storage.integrity import DAMAGED, MAX_EXPANSION, check_expansion
from kdfixmatch_keras.trusted.trusted_set import TrustedSet

FORMAT_VERSION = 3
# Of the version before, which has no range of intensities: trained on 8-bit images.
_READ = (2, FORMAT_VERSION)
SETTINGS = "settings.json"
TRUSTED_SET = "trusted.npz"
NETWORKS = ("outer", "inner")
MEMBERS = (SETTINGS, TRUSTED_SET, *(f"{name}.keras" for name in NETWORKS))
# Arguments that say of what networks are made, and what of them is trained.
_NETWORK = ("backbone", "weights", "pretrained", "pixels", "finetune", "outer_backbone")
SUMS = "SHA256SUMS"
FILES = (*MEMBERS, SUMS)
# Names in the folder of a run: of what makes it one, and of its model.
RUN, OF_RUN = "run.json", "model"


@usual_settings()
def save(model: Any, path: Any) -> None:
    """Writes a trained `KDFixMatch`.

    Args:
        model: The model; `fit` must have ended.
        path: A file name ending in `.zip`, or a folder, not named like a file.

    Raises:
        RuntimeError: `model` has not been trained.
        TypeError: `path` is no path.
        ValueError: Something other than a saved model stands at `path`, or its name is
            that of another kind of file.
        OSError: The disk does not take it. What stood at `path` still does.
    """
    path = validation.check_output("path", path)
    model.serving_network  # noqa: B018 - raises where there is nothing to save
    _check_name(path)
    is_empty_folder = path.is_dir() and not any(path.iterdir())
    if path.exists() and not is_empty_folder and not _is_saved_model(path):
        raise ValueError(
            "`path` must be new, or a saved model to replace. "
            f"Received: path={str(path)!r}, which holds something else"
        )
    is_archive = path.suffix.lower() == ".zip"
    with written_aside(path) as temporary:
        folder = temporary.with_name("members") if is_archive else temporary
        folder.mkdir()
        (folder / SETTINGS).write_text(json.dumps(_settings(model), indent=2))
        model.trusted_set.save(folder / TRUSTED_SET)
        for network in NETWORKS:
            getattr(model, network).save(folder / f"{network}.keras")
        (folder / SUMS).write_text(_sums(folder), encoding="utf-8")
        if is_archive:
            with zipfile.ZipFile(temporary, "w") as archive:
                for member in FILES:
                    archive.write(folder / member, member)


def _check_name(path: Path) -> None:
    """Refuses the name of another kind of file, which no other program could open."""
    suffix = path.suffix.lower()
    if suffix not in FILE_SUFFIXES or suffix == ".zip":
        return
    remedy = "What it writes is read by KDFixMatch.load alone."
    if suffix in (".keras", ".h5", ".hdf5"):
        remedy = (
            "For Keras alone, save the network that predicts: "
            "model.inner.save('model.keras')."
        )
    if suffix == ".onnx":
        remedy = "For ONNX, call model.export('model.onnx', format='onnx')."
    if suffix in (".pb", ".tflite"):
        remedy = "For TensorFlow, call model.export('saved_model')."
    raise ValueError(
        "`path` must end in .zip, or be a folder that is not named like a file. "
        f"Received: path={str(path)!r}. {remedy}"
    )


@usual_settings()
def load(cls: Any, path: Any, argument: str = "path") -> Any:
    """Reads what `save` wrote, as a model of class `cls`.

    The folder of a run that `kdfixmatch train` wrote is read as well.

    Nothing is taken from files that do not agree with the checksums of `save`. Keras's
    safe mode is on, unless the program has turned it off for all that it loads with
    `keras.config.enable_unsafe_deserialization()`.

    Raises:
        TypeError: `path` is no path.
        ValueError: `path` does not hold a saved model of this version, or one that was
            changed or damaged.
    """
    optimizers = keras.saving.custom_object_scope(_optimizers())
    with _opened(path, argument) as folder, optimizers:
        settings = _read_settings(folder)
        _check_sums(folder)
        with _reading(SETTINGS):
            model = _model_of(cls, settings)
        with _reading(TRUSTED_SET):
            model.trusted_set = TrustedSet.load(folder / TRUSTED_SET)
        for network in NETWORKS:
            file = folder / f"{network}.keras"
            with _reading(file.name):
                with open(file, "rb") as opened:
                    check_expansion(opened)
                loaded = keras.saving.load_model(file, safe_mode=True)
            setattr(model, network, loaded)
    return model


def _optimizers() -> dict[str, Any]:
    """Keras's optimizers by name.

    On PyTorch a `keras.optimizers.SGD` is of a class of that backend, and is saved as
    such: no other backend can import it.
    """
    return {
        name: kind
        for name, kind in vars(keras.optimizers).items()
        if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)
    }


def check_can_train(model: Any) -> None:
    """Checks that a `KDFixMatch` has all that it was made with.

    Raises:
        RuntimeError: It was loaded, and code of the user's own was not saved with it.
    """
    if model.unsaved_arguments:
        raise RuntimeError(
            "This model was loaded, and its own code was not saved with it: "
            f"{', '.join(model.unsaved_arguments)}. To train again, make a "
            "KDFixMatch with these arguments."
        )


def read_settings(path: Any) -> dict[str, Any]:
    """What `save` wrote beside the networks, such as `"class_names"`.

    Raises:
        ValueError: As for `load`.
    """
    with _opened(path) as folder:
        settings = _read_settings(folder)
        _check_sums(folder)
    return settings


@contextlib.contextmanager
def _opened(path: Any, argument: str = "path") -> Iterator[Path]:
    """A folder with all that `save` wrote; what is wrong with it names the path."""
    path = _model_at(validation.check_path(argument, path))
    try:
        missing = set(FILES) - _names(path)
        if missing and (path / RUN).exists():
            raise ValueError("a run that has not ended; its command goes on with it")
        if missing:
            raise ValueError(f"no {min(missing)} in it")
        if path.is_dir():
            yield path
            return
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _extract(path, folder)
            yield folder
    except DAMAGED as error:
        # PyTorch and JAX make a RuntimeError of it.
        if is_out_of_memory(error):
            raise
        raise ValueError(
            f"`{argument}` must be a model that KDFixMatch.save wrote, and unchanged. "
            f"Received: {argument}={str(path)!r} ({error})"
        ) from error


def _model_at(path: Path) -> Path:
    """Where the model of a path is: there, or in the folder of a run that is there."""
    path, inside = standing(path), standing(path / OF_RUN)
    return inside if inside.is_dir() and not (path / SUMS).exists() else path


def _names(path: Path) -> set[str]:
    """Names of the files in a folder or an archive."""
    if path.is_dir():
        return {entry.name for entry in path.iterdir() if entry.is_file()}
    if not path.exists():
        raise ValueError("there is no such file or folder")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def _is_saved_model(path: Path) -> bool:
    try:
        return set(FILES) <= _names(path)
    except DAMAGED:
        return False


def _extract(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        # By name: an archive cannot place files that were not asked for.
        for name in FILES:
            entry = archive.getinfo(name)
            # `save` does not compress, and who packs a model again gets nowhere near.
            packed = min(entry.compress_size, path.stat().st_size)
            if entry.file_size > max(MAX_EXPANSION * packed, 1 << 20):
                raise ValueError(f"{name} would unpack to {entry.file_size:,} bytes")
            archive.extract(entry, folder)


def _check_sums(folder: Path) -> None:
    said, found = (folder / SUMS).read_text(encoding="utf-8"), _sums(folder)
    if said == found:
        return
    expected = said.splitlines()
    damaged = [line[66:] for line in found.splitlines() if line not in expected]
    raise ValueError(
        f"{', '.join(damaged) or SUMS} was changed or damaged after it was saved"
    )


def _sums(folder: Path) -> str:
    """The checksums of all members, as `sha256sum --check` reads them."""
    lines = []
    for member in MEMBERS:
        with open(folder / member, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{digest}  {member}\n")
    return "".join(lines)


@contextlib.contextmanager
def _reading(member: str) -> Iterator[None]:
    """Names the member of which the reading fails."""
    try:
        yield
    # Keras raises what the code of its layers raises; an unknown layer is a TypeError.
    except Exception as error:
        # Of which the file is not to blame.
        if is_out_of_memory(error):
            raise
        raise ValueError(f"{member}: {type(error).__name__}: {error}") from error


def _read_settings(folder: Path) -> dict[str, Any]:
    with _reading(SETTINGS):
        try:
            settings: dict[str, Any] = json.loads((folder / SETTINGS).read_text())
            version = settings["format_version"]
        except (LookupError, ValueError):
            # Says more, where it was changed.
            _check_sums(folder)
            raise
    if version not in _READ:
        raise ValueError(
            f"the model was saved in format {version}; this version of "
            f"kdfixmatch_keras reads format {FORMAT_VERSION}"
        )
    return settings


def _model_of(cls: Any, settings: dict[str, Any]) -> Any:
    """The model without what it was trained to."""
    arguments, unsaved = {}, list(settings["unsaved_arguments"])
    for name, value in settings["arguments"].items():
        if name in OBSOLETE_ARGUMENTS:
            continue
        try:
            if isinstance(value, dict):
                value = keras.saving.deserialize_keras_object(value)
            arguments[name] = value
        # Keras raises what the code of a class raises, which may be gone: that is
        # needed only to train again.
        except Exception:
            unsaved.append(name)
    # The networks are there: what they were made of may be gone, and is needed only to
    # train again.
    chosen = {name: arguments.pop(name) for name in _NETWORK if name in arguments}
    model = cls(**arguments, weights=None)
    for name, value in chosen.items():
        setattr(model, name, value)
    model.unsaved_arguments = unsaved
    model.unlabeled_names = settings["unlabeled_names"]
    model.class_names = settings["class_names"]
    intensities = settings.get("intensity_range")
    if intensities is not None:
        model.intensity_range = IntensityRange(*intensities)
    model.history = settings["history"]
    return model


def _configuration(value: Any) -> Any:
    """What Keras makes an object of again; a function for a learning rate is none."""
    rate = rate_of(value)
    if rate is not None and not is_described(rate):
        raise ValueError("its learning rate has no configuration")
    return keras.saving.serialize_keras_object(value)


def _settings(model: Any) -> dict[str, Any]:
    # What was lost when this model was loaded is still lost.
    arguments, unsaved = {}, list(model.unsaved_arguments)
    for name, value in model.arguments().items():
        if name in unsaved:
            continue
        if isinstance(
            value,
            keras.layers.Layer | keras.losses.Loss | keras.optimizers.Optimizer,
        ) and not isinstance(value, keras.Model):
            try:
                arguments[name] = json.loads(json.dumps(_configuration(value)))
            # Whatever a class of the user's own raises.
            except Exception:
                unsaved.append(name)
        elif isinstance(value, Path):
            arguments[name] = str(value)
        elif value is None or isinstance(value, str | int | float | tuple | list):
            arguments[name] = value
        else:
            # A backbone or a clustering of the user's own: the networks hold what is
            # needed to predict, and `fit` will ask for it again.
            unsaved.append(name)
    intensities = model.intensity_range
    return {
        "format_version": FORMAT_VERSION,
        "arguments": arguments,
        "unsaved_arguments": unsaved,
        "class_names": model.class_names,
        "intensity_range": None if intensities is None else astuple(intensities),
        "unlabeled_names": model.unlabeled_names,
        "history": model.history,
    }
