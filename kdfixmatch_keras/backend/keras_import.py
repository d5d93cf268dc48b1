"""Importing Keras, and what to do where its backend is missing."""

import importlib.util
import os

BACKENDS = ("tensorflow", "jax", "torch")


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
        if "backend" not in str(error):
            raise
        raise ImportError(
            f"KERAS_BACKEND must be one of {', '.join(map(repr, BACKENDS))}. "
            f"Received: KERAS_BACKEND={os.environ.get('KERAS_BACKEND')!r}"
        ) from error


def _missing(name: str) -> str:
    remedies = [f'install it with `pip install "kdfixmatch-keras[{name}]"`']
    for other in BACKENDS:
        if importlib.util.find_spec(other):
            remedies.append(f"set the environment variable KERAS_BACKEND={other}")
    return f"Keras is to run on {name}, which is missing: {', or '.join(remedies)}."
