"""Having a process of its own, with TensorFlow, write a network for serving.

This module is also what that process runs, which gets a folder as its argument.
"""

import json
import os
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import keras

from kdfixmatch_keras.backend.keras_settings import usual_settings
from kdfixmatch_keras.serving import formats, own_code
from kdfixmatch_keras.sources.intensity import IntensityRange
from kdfixmatch_keras.storage.files import writing, written_aside

# Files that are exchanged.
_NETWORK, _REQUEST, _FAILURE = "network.keras", "request.json", "failure.txt"

_REMEDY = (
    "Layers and functions of your own must be registered with "
    "`keras.saving.register_keras_serializable`, at the top level of a module: another "
    "process cannot import the program that is run, a notebook or the inside of a "
    "function. Or save the model, then load and export it in a program that defines "
    "them and is run with KERAS_BACKEND=tensorflow."
)


def export_in_process(
    network: keras.Model,
    class_names: Sequence[str],
    path: Path,
    format: str,
    python: str = sys.executable,
    intensity_range: IntensityRange | None = None,
) -> None:
    """Does what `export_network` has checked in a process of its own, on TensorFlow.

    The process gets the network as a `.keras` file in a temporary folder. It imports
    the modules of the user's own layers, which must not be defined in the program
    that is run itself, where another process does not find them.

    Args:
        network: As for `export_network`.
        class_names: As for `export_network`.
        path: As for `export_network`.
        format: As for `export_network`.
        python: The interpreter, one that has TensorFlow and this package.
        intensity_range: As for `export_network`.

    Raises:
        RuntimeError: The process failed; nothing is left at `path`.
        OSError: The disk does not take it.
    """
    with tempfile.TemporaryDirectory(prefix="kdfixmatch-") as name:
        folder = Path(name)
        with writing(folder):
            network.save(folder / _NETWORK)
            request = {
                "class_names": list(class_names),
                "format": format,
                "intensity_range": intensity_range and astuple(intensity_range),
                "own_code": own_code.references(json.loads(network.to_json())),
                "sys_path": [entry for entry in sys.path if entry],
            }
            (folder / _REQUEST).write_text(json.dumps(request))
        # `-P` keeps modules of the working folder from taking the place of others.
        process = subprocess.run(
            [python, "-P", "-m", "kdfixmatch_keras.serving.export_process", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=_environment(),
        )
        if process.returncode != 0:
            raise RuntimeError(
                "The network could not be exported in a process with "
                f"KERAS_BACKEND=tensorflow: {_failure(folder, process)}"
            )
        with written_aside(path) as temporary:
            shutil.move(folder / _result_name(format), temporary)


def _result_name(format: str) -> str:
    """What the process calls its result."""
    return "network.onnx" if format == "onnx" else "saved_model"


def _environment() -> dict[str, str]:
    """This environment, with TensorFlow for Keras, and no GPU, which may be taken."""
    paths = [os.environ.get("PYTHONPATH", "")]
    here = str(Path(__file__).parents[2])
    # Where Python finds it anyway, it would come before Python's own modules.
    if here not in site.getsitepackages():
        paths.append(here)
    # Of JAX, on which TensorFlow would give up.
    inherited = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    return {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **inherited,
        "KERAS_BACKEND": "tensorflow",
        # That of a notebook is one of its own process.
        "MPLBACKEND": "agg",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }


def _failure(folder: Path, process: subprocess.CompletedProcess[bytes]) -> str:
    """What a process that failed says of it."""
    if (folder / _FAILURE).exists():
        return (folder / _FAILURE).read_text(encoding="utf-8")
    lines = process.stderr.decode(errors="replace").strip().splitlines()
    if process.returncode < 0:
        return f"it was ended by signal {-process.returncode}"
    return lines[-1] if lines else f"it ended with status {process.returncode}"


@usual_settings()
def main(folder: Path) -> int:
    """Exports the network in a folder.

    Args:
        folder: Where `export_in_process` left the network and its request, and where
            the result goes, or what went wrong.

    Returns:
        The status of the process.
    """
    try:
        request = json.loads((folder / _REQUEST).read_text())
        # After this process's own: they are for the user's modules.
        sys.path.extend(entry for entry in request["sys_path"] if entry not in sys.path)
        formats.check_packages(request["format"])
        intensities = request["intensity_range"]
        formats.write(
            _load_network(folder / _NETWORK, request["own_code"]),
            request["class_names"],
            folder / _result_name(request["format"]),
            request["format"],
            intensities and IntensityRange(*intensities),
        )
    # Whatever it is, the process that waits for this one has to tell it.
    except Exception as error:
        kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
        (folder / _FAILURE).write_text(f"{kind}{error}", encoding="utf-8")
        return 1
    return 0


def _load_network(path: Path, wanted: Any) -> keras.Model:
    """Loads a network, after importing the modules that its layers come from.

    Raises:
        RuntimeError: It cannot be loaded.
    """
    found, missing = own_code.imported(wanted)
    if missing:
        raise RuntimeError(f"it does not find {', '.join(missing)}. {_REMEDY}")
    try:
        # What is in the network has already run in the program that saved it.
        return keras.saving.load_model(path, found, compile=False, safe_mode=False)
    # Keras raises what the code of layers raises, and around it each layer's config.
    except Exception as error:
        cause = str(error).split("Exception encountered: ")[-1]
        # To which the remedy comes close.
        cause = cause.split(". Make sure custom")[0]
        raise RuntimeError(f"it cannot load the network: {cause}. {_REMEDY}") from error


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
