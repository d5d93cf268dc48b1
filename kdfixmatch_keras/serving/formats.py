"""The formats that a network is written in, which TensorFlow does."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.checks.paths import FILE_SUFFIXES
from kdfixmatch_keras.serving import onnx_export, saved_model
from kdfixmatch_keras.sources.intensity import IntensityRange
from kdfixmatch_keras.storage.files import written_aside

FORMATS = ("tf_saved_model", "onnx")


def write(
    network: keras.Model,
    class_names: Sequence[str],
    path: Path,
    format: str,
    intensity_range: IntensityRange | None = None,
) -> None:
    """Writes a network, on TensorFlow.

    Args:
        network: As for `export_network`, which has checked all of them.
        class_names: As above.
        path: As above.
        format: One of `FORMATS`.
        intensity_range: As above.

    Raises:
        OSError: The disk does not take it.
    """
    if format == "onnx":
        model = onnx_export.build_model(network, class_names, intensity_range)
        with written_aside(path) as temporary:
            temporary.write_bytes(model.SerializeToString())
    else:
        archive = saved_model.build_archive(network, class_names, intensity_range)
        with written_aside(path) as temporary:
            archive.write_out(str(temporary), verbose=False)


def check_packages(format: str) -> None:
    """Checks that what writes a format is installed.

    Raises:
        ImportError: A package is missing.
    """
    if format == "onnx":
        onnx_export.check_packages()
    elif importlib.util.find_spec("tensorflow") is None:
        raise ImportError(
            "TensorFlow writes a SavedModel, whatever Keras runs on: "
            'pip install "kdfixmatch-keras[tensorflow]"'
        )


def check_path(path: Any, format: str, argument: str = "path") -> Path:
    """Returns the path of a network to write, where nothing may be lost.

    Args:
        path: As for `export`.
        format: As for `export`.
        argument: Name that error messages give to `path`.

    Raises:
        TypeError: It is no path.
        ValueError: Something is there, or it is not what the format needs.
    """
    checked: Path = validation.check_output(argument, path)
    received = f"Received: {argument}={str(checked)!r}"
    if format == "onnx":
        if checked.suffix != ".onnx":
            raise ValueError(f"`{argument}` must end in .onnx. {received}")
        if checked.exists():
            raise ValueError(f"`{argument}` must be a new file. {received}")
        return checked
    if checked.suffix == ".onnx":
        raise ValueError(
            f"`{argument}` must be a folder, which is what a SavedModel is. "
            f"{received}. Pass format='onnx' for an ONNX file."
        )
    if checked.suffix.lower() in FILE_SUFFIXES:
        raise ValueError(
            f"`{argument}` must be a folder, which is what a SavedModel is, and not "
            f"named like a file. {received}"
        )
    if checked.exists() and (not checked.is_dir() or any(checked.iterdir())):
        raise ValueError(f"`{argument}` must be a new or an empty folder. {received}")
    return checked
