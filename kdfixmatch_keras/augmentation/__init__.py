"""Weak and strong augmentation of uint8 images, by name or by layer."""

import difflib

import keras
import numpy as np

from kdfixmatch_keras.augmentation.rand_augment import (
    OPERATION_NAMES as OPERATION_NAMES,
)
from kdfixmatch_keras.augmentation.rand_augment import Cutout as Cutout
from kdfixmatch_keras.augmentation.rand_augment import RandAugment as RandAugment
from kdfixmatch_keras.augmentation.weak import FlipAndShift as FlipAndShift

__all__ = [
    "OPERATION_NAMES",
    "STRONG_NAMES",
    "WEAK_NAMES",
    "Cutout",
    "FlipAndShift",
    "RandAugment",
    "get_strong",
    "get_weak",
]

WEAK_NAMES = ("flip_shift", "shift", "none")
STRONG_NAMES = ("randaugment", "keras_cv")


def get_weak(
    name_or_layer: str | keras.layers.Layer, seed: int | None = None
) -> keras.layers.Layer:
    """Returns the weak augmentation of that name.

    Args:
        name_or_layer: `"flip_shift"` (random horizontal flip and shift by up to
            12.5 %), `"shift"` (the same without the flip, for digits and text),
            `"none"`, or a layer, which is returned as it is.
        seed: Non-negative integer, or None for a random seed. Without effect on a
            layer.

    Returns:
        A layer from uint8 images `(n, height, width, channels)` to the same.

    Raises:
        ValueError: If the name is unknown or `seed` is negative.
        TypeError: If the argument is neither a name nor a layer, or `seed` is not an
            integer.
    """
    if isinstance(name_or_layer, keras.layers.Layer):
        return name_or_layer
    _check_name("weak", name_or_layer, WEAK_NAMES)
    if name_or_layer == "none":
        return keras.layers.Identity()
    return FlipAndShift(flip=name_or_layer == "flip_shift", seed=_derive(seed, 0))


def get_strong(
    name_or_layer: str | keras.layers.Layer, seed: int | None = None
) -> keras.layers.Layer:
    """Returns the strong augmentation of that name, to be applied to weak views.

    Args:
        name_or_layer: `"randaugment"` (`RandAugment`, then `Cutout`), `"keras_cv"`
            (the same policy from KerasCV's layers; needs the extra `keras-cv` and
            the TensorFlow backend), or a layer, which is returned as it is.
        seed: Non-negative integer, or None for a random seed. Without effect on a
            layer.

    Returns:
        A layer from uint8 images `(n, height, width, channels)` to the same.

    Raises:
        ValueError: If the name is unknown or `seed` is negative.
        TypeError: If the argument is neither a name nor a layer, or `seed` is not an
            integer.
        ImportError: If `"keras_cv"` is asked for and KerasCV is not installed.
    """
    if isinstance(name_or_layer, keras.layers.Layer):
        return name_or_layer
    _check_name("strong", name_or_layer, STRONG_NAMES)
    if name_or_layer == "keras_cv":
        # An optional dependency, and a slow import.
        from kdfixmatch_keras.augmentation.keras_cv_policy import keras_cv_policy

        return keras_cv_policy(seed=_derive(seed, 1))
    return keras.layers.Pipeline(
        [RandAugment(seed=_derive(seed, 1)), Cutout(seed=_derive(seed, 2))]
    )


def _check_name(role: str, name: object, known: tuple[str, ...]) -> None:
    if not isinstance(name, str):
        raise TypeError(
            f"The {role} augmentation must be a name or a `keras.layers.Layer`. "
            f"Received: {role}={name!r} (of type {type(name).__name__})"
        )
    if name in known:
        return
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"The {role} augmentation must be one of {list(known)} or a "
        f"`keras.layers.Layer`.{hint} Received: {role}={name!r}"
    )


def _derive(seed: int | None, stream: int) -> int | None:
    """Derives a seed per layer, so that no two layers draw the same numbers."""
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(
            f"`seed` must be a non-negative integer or None. Received: seed={seed!r}"
        )
    if seed < 0:
        raise ValueError(
            f"`seed` must be a non-negative integer or None. Received: seed={seed}"
        )
    sequence = np.random.SeedSequence(int(seed), spawn_key=(stream,))
    # 31 bits, because a backend may hold its seeds as int32.
    return int(sequence.generate_state(1)[0] >> 1)
