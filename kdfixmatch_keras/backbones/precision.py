"""The dtype policy of networks."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from kdfixmatch_keras import backend
from kdfixmatch_keras.backend import devices
from kdfixmatch_keras.backend.keras_settings import usual_settings
from kdfixmatch_keras.checks import validation

MIXED_PRECISION = ("auto", "float32", "mixed_float16", "mixed_bfloat16")


def check_precision(mixed_precision: Any) -> str:
    """Returns a name in `MIXED_PRECISION`, to which True and False are made.

    Raises:
        ValueError: It is something else.
    """
    if isinstance(mixed_precision, bool):
        mixed_precision = "mixed_float16" if mixed_precision else "float32"
    return validation.check_choice("mixed_precision", mixed_precision, MIXED_PRECISION)


def resolve_precision(name: str) -> str:
    """The dtype policy that `"auto"` stands for on this machine; others as they are."""
    if name != "auto":
        return name
    half = backend.has_gpu() and not devices.has_replicas()
    return "mixed_float16" if half else "float32"


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[str]:
    """Sets Keras's dtype policy while networks are built, and puts it back.

    Its other settings are the usual ones meanwhile.
    """
    name = resolve_precision(name)
    with usual_settings():
        previous = keras.config.dtype_policy()
        keras.config.set_dtype_policy(name)
        try:
            yield name
        finally:
            keras.config.set_dtype_policy(previous)
