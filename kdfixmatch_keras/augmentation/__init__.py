"""Weak and strong augmentation of uint8 images, by name or by layer."""

import keras

from kdfixmatch_keras.augmentation.rand_augment import (
    OPERATION_NAMES as OPERATION_NAMES,
)
from kdfixmatch_keras.augmentation.rand_augment import Cutout as Cutout
from kdfixmatch_keras.augmentation.rand_augment import RandAugment as RandAugment
from kdfixmatch_keras.augmentation.weak import FlipAndShift as FlipAndShift
from kdfixmatch_keras.checks import validation

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
    _check_name("weak_augmentation", name_or_layer, WEAK_NAMES)
    if name_or_layer == "none":
        return keras.layers.Identity()
    return FlipAndShift(
        flip=name_or_layer == "flip_shift", seed=_derive(seed, "flip_and_shift")
    )


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
    _check_name("strong_augmentation", name_or_layer, STRONG_NAMES)
    if name_or_layer == "keras_cv":
        # An optional dependency, and a slow import.
        from kdfixmatch_keras.augmentation.keras_cv_policy import keras_cv_policy

        return keras_cv_policy(seed=_derive(seed, "keras_cv"))
    pipeline = keras.layers.Pipeline(
        [
            RandAugment(seed=_derive(seed, "rand_augment")),
            Cutout(seed=_derive(seed, "cutout")),
        ]
    )
    # To build a layer Keras draws a batch, and on JAX and PyTorch threads that read
    # ahead would hand out the batches after it once more in the training.
    pipeline.build((None, None, None, None))
    return pipeline


def _check_name(argument: str, name: object, known: tuple[str, ...]) -> None:
    if not isinstance(name, str):
        remedy = ""
        if callable(name) and not isinstance(name, type):
            remedy = ". Pass keras.layers.Lambda(function)"
        raise TypeError(
            f"`{argument}` must be a name or a `keras.layers.Layer`. "
            f"Received: {argument}={name!r} (of type {type(name).__name__}){remedy}"
        )
    validation.check_choice(argument, name, known, "a `keras.layers.Layer`")


def _derive(seed: int | None, layer: str) -> int | None:
    """Derives a seed per layer, so that no two layers draw the same numbers."""
    return validation.derive_seed(validation.check_seed(seed), layer)
