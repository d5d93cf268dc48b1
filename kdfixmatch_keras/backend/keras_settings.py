"""The global settings of Keras, on which nothing in this package depends."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

# What Keras has unless a program or the file keras.json says otherwise. The caps are
# for debugging: they would cut off what is predicted as well.
_SETTINGS: dict[str, Any] = {
    "image_data_format": "channels_last",
    "floatx": "float32",
    "epsilon": 1e-7,
    "max_epochs": None,
    "max_steps_per_epoch": None,
}


@contextlib.contextmanager
def usual_settings() -> Iterator[None]:
    """Has Keras work with its usual settings, and puts back those of the user.

    Layers, metrics and optimizers read them when they are made, and some operations
    whenever they compute. A dtype policy that nobody has set is that of `floatx`.
    """
    others = {
        name: found
        for name, usual in _SETTINGS.items()
        if (found := getattr(keras.config, name)()) != usual
    }
    policy = keras.config.dtype_policy()
    follows = "floatx" in others and policy.name == others["floatx"]
    try:
        for name in others:
            getattr(keras.config, f"set_{name}")(_SETTINGS[name])
        if follows:
            keras.config.set_dtype_policy(_SETTINGS["floatx"])
        yield
    finally:
        for name, found in others.items():
            getattr(keras.config, f"set_{name}")(found)
        if follows:
            keras.config.set_dtype_policy(policy)
