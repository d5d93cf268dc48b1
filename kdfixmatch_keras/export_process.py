"""The process in which `export.export_in_process` has TensorFlow write a network.

It is run as `python -m kdfixmatch_keras.export_process FOLDER`, by `export` alone.
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras

from kdfixmatch_keras import export, own_code

_REMEDY = (
    "Layers and functions of your own must be registered with "
    "`keras.saving.register_keras_serializable`, at the top level of a module: another "
    "process cannot import the program that is run, a notebook or the inside of a "
    "function. Or save the model, then load and export it in a program that defines "
    "them and is run with KERAS_BACKEND=tensorflow."
)


def main(folder: Path) -> int:
    """Exports the network in a folder.

    Args:
        folder: Where `export_in_process` left the network and its request, and where
            the result goes, or what went wrong.

    Returns:
        The status of the process.
    """
    try:
        request = json.loads((folder / export.REQUEST).read_text())
        # After this process's own: they are for the user's modules.
        sys.path.extend(entry for entry in request["sys_path"] if entry not in sys.path)
        export.write(
            _load_network(folder / export.NETWORK, request["own_code"]),
            request["class_names"],
            folder / export.result_name(request["format"]),
            request["format"],
        )
    # Whatever it is, the process that waits for this one has to tell it.
    except Exception as error:
        kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
        (folder / export.FAILURE).write_text(f"{kind}{error}", encoding="utf-8")
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
