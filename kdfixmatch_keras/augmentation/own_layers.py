"""Augmentations of a user's own: checked, tried on images, and kept with a network."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras.augmentation.pixels import to_uint8
from kdfixmatch_keras.backend.own_objects import cause_of, copied_layer

AUGMENTATIONS = ("weak_augmentation", "strong_augmentation")
# Share of the contrast of images that is to be left. Of pixels in another range than
# [0, 255] it is less: in [0, 1], 1 / 255 and what rounding adds.
_LEAST_CONTRAST = 0.05
# How much may be cut off outside of [0, 255], in the mean over all pixels and as a
# share of the contrast: a warning, and a refusal. Noise on a black ground loses less.
_MOST_CUT_OFF = 0.25, 1.0


def check_layer(argument: str, layer: keras.layers.Layer) -> None:
    """Checks what can be seen of an augmentation without images.

    Raises:
        ValueError: It is for images with the channels first, or no other can be made
            like it.
    """
    for part in layer._flatten_layers():
        if getattr(part, "data_format", None) == "channels_first":
            raise ValueError(
                f"`{argument}` must take images with the channels last. Received: "
                f"{type(part).__name__} with data_format='channels_first', to which "
                "Keras may be set globally. Pass data_format='channels_last' to it."
            )
    copied_layer(layer, argument)


def try_layer(argument: str, layer: keras.layers.Layer, given: np.ndarray) -> None:
    """Tries an augmentation once, on images that it will be given in training.

    Args:
        argument: Name that the user knows it by.
        layer: The augmentation, of which a copy is tried.
        given: Some of these images, uint8 `(n, H, W, C)`.

    Raises:
        ValueError: It fails, or what it returns are no images in [0, 255] of the shape
            that it was given.

    Warns:
        UserWarning: It returns some constant images, or many pixels out of [0, 255], or
            changes none by as much as rounding does.
    """
    try:
        # With the seeds that it begins with.
        found = copied_layer(layer, argument)(
            keras.ops.convert_to_tensor(given), training=True
        )
    # Whatever code of a user's own raises.
    except Exception as error:
        raise ValueError(
            f"`{argument}` must take uint8 images of shape {(None, *given.shape[1:])} "
            f"and `training`. Received: {_named(layer)}, which raises "
            f"{type(error).__name__}: {cause_of(error)}"
        ) from error
    if not hasattr(found, "shape") or not hasattr(found, "dtype"):
        raise ValueError(
            f"`{argument}` must return images. Received: {_named(layer)}, which "
            f"returns a {type(found).__name__}"
        )
    seen = keras.ops.convert_to_numpy(to_uint8(found, given, argument))
    _check_pixels(argument, layer, given, keras.ops.convert_to_numpy(found), seen)


def _check_pixels(
    argument: str,
    layer: keras.layers.Layer,
    given: np.ndarray,
    found: np.ndarray,
    seen: np.ndarray,
) -> None:
    """Compares images with what an augmentation made of them.

    Args:
        argument: Name of the augmentation.
        layer: The augmentation.
        given: uint8 `(n, H, W, C)`.
        found: What it returned, of that shape.
        seen: The same as the uint8 images that a network gets.
    """
    found = found.astype(np.float32)
    if len(seen) != len(given) or not np.isfinite(found).all():
        what = "NaN or infinite pixels"
        if len(seen) != len(given):
            what = f"{len(seen)} images for {len(given)}"
        raise ValueError(
            f"`{argument}` must return a finite image for each that it is given. "
            f"Received: {_named(layer)}, which returns {what}"
        )
    if np.array_equal(seen, given) and not np.array_equal(found, given):
        warnings.warn(
            f"`{argument}` changes pixels by less than they are rounded by: "
            f"{_named(layer)} may be meant for pixels in [0, 1], and gets them in "
            "[0, 255].",
            stacklevel=4,
        )
    contrast = _contrast(given)
    # A constant image says nothing of an augmentation.
    shown = contrast > 0
    if not shown.any():
        return
    lost = _contrast(seen)[shown] < _LEAST_CONTRAST * contrast[shown]
    low, high = found.min(), found.max()
    made = (
        f"{_named(layer)}, which makes pixels from {low:.3g} to {high:.3g} of those "
        f"from {given.min()} to {given.max()}"
    )
    cut_off = np.abs(found - found.clip(0, 255)).mean() / contrast.mean()
    if lost.mean() > 0.5 or cut_off > _MOST_CUT_OFF[1]:
        remedy = "Constant images teach nothing."
        if high > low:
            remedy = (
                "Leave out a Rescaling or a normalization at its end, or end it with "
                "keras.layers.Rescaling(255) where it works on [0, 1]: the network "
                "rescales by itself."
            )
        raise ValueError(
            f"`{argument}` must return pixels in [0, 255] that keep the contrast of "
            f"images. Received: {made}. {remedy}"
        )
    if cut_off > _MOST_CUT_OFF[0]:
        share = ((found < -0.5) | (found > 255.5)).mean()
        warnings.warn(
            f"`{argument}` returns {share:.0%} of its pixels outside of [0, 255], "
            f"where they are cut off: {made}.",
            stacklevel=4,
        )
    elif lost.mean() > 0.25:
        warnings.warn(
            f"`{argument}` leaves no contrast in {lost.sum()} of {len(lost)} images: "
            f"{made}.",
            stacklevel=4,
        )


def _contrast(images: np.ndarray) -> np.ndarray:
    """Standard deviation of the pixels of each image, float32 `(n,)`."""
    deviation: np.ndarray = images.reshape(len(images), -1).std(axis=1, dtype="float32")
    return deviation


def _named(layer: keras.layers.Layer) -> str:
    return f"a {type(layer).__name__}"


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class MissingAugmentation(keras.layers.Layer):
    """Stands for an augmentation that was not saved with its network.

    Args:
        cause: Why.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(self, cause: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cause = cause
        self.built = True

    def call(self, images: Any, training: bool = True) -> Any:
        """Raises a RuntimeError."""
        raise RuntimeError(
            "This network was loaded without an augmentation of your own, which could "
            f"not be saved or found ({self.cause}). To train it on, set its "
            "`weak_augmentation` and `strong_augmentation` to your layers."
        )

    def load_own_variables(self, store: Any) -> None:
        """Has none."""

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "cause": self.cause}


def saved(parts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Configurations of what a network is made of, augmentations or not, by name."""
    for name, part in parts.items():
        try:
            yield name, keras.saving.serialize_keras_object(part)
        # Whatever a class of a user's own raises.
        except Exception as error:
            if name not in AUGMENTATIONS:
                raise
            missing = MissingAugmentation(cause_of(error))
            yield name, keras.saving.serialize_keras_object(missing)


def loaded(
    parts: Mapping[str, Any], custom_objects: Any = None
) -> Iterator[tuple[str, Any]]:
    """What configurations describe, by name; what is none passes as it is.

    An augmentation whose code is not there, or is not to be run, is a
    `MissingAugmentation`: to predict, a network needs none.
    """
    for name, part in parts.items():
        try:
            if isinstance(part, dict):
                part = keras.saving.deserialize_keras_object(part, custom_objects)
            yield name, part
        # Whatever a class of a user's own raises.
        except Exception as error:
            if name not in AUGMENTATIONS:
                raise
            yield name, MissingAugmentation(cause_of(error))
