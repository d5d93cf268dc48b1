"""Importing Keras, and what to do where its backend is missing."""

import importlib.util
import os

BACKENDS = ("tensorflow", "jax", "torch")
# What Keras says of others.
_UNKNOWN = "Unable to import backend : "


def check_keras() -> None:
    """Imports Keras.

    Raises:
        ImportError: The library that it is to run on is missing or unknown.
    """
    try:
        import keras  # noqa: F401
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        if name not in BACKENDS or importlib.util.find_spec(name):
            raise
        raise ImportError(_missing(name)) from error
    except ValueError as error:
        message = str(error)
        if message.startswith(_UNKNOWN):
            raise unknown(message.removeprefix(_UNKNOWN)) from error
        # A notebook sets it for all that it starts, in whatever environment that runs.
        display = os.environ.get("MPLBACKEND")
        if display and display in message:
            raise ImportError(
                "MPLBACKEND must be a display that matplotlib, which Keras imports, "
                f"knows here. Received: MPLBACKEND={display!r}. Unset it, or set "
                "MPLBACKEND=agg."
            ) from error
        raise


def unknown(backend: str) -> ImportError:
    """The error of a backend that this package does not run on."""
    name, received = "KERAS_BACKEND", f"KERAS_BACKEND={backend!r}"
    if not os.environ.get(name):
        name, received = "The backend in keras.json", repr(backend)
    known = ", ".join(map(repr, BACKENDS))
    return ImportError(f"{name} must be one of {known}. Received: {received}")


def _missing(name: str) -> str:
    remedies = [f'install it with `pip install "kdfixmatch-keras[{name}]"`']
    for other in BACKENDS:
        if importlib.util.find_spec(other):
            remedies.append(f"set the environment variable KERAS_BACKEND={other}")
    return f"Keras is to run on {name}, which is missing: {', or '.join(remedies)}."
