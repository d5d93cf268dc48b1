"""What a model tells of its training: whether there was one, and on which pixels."""

import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kdfixmatch_keras.backbones import applications

# What passes pixels on in the range in which it gets them.
_PASSING = (
    layers.CenterCrop,
    layers.Cropping2D,
    layers.Identity,
    layers.InputLayer,
    layers.RandomFlip,
    layers.RandomRotation,
    layers.RandomTranslation,
    layers.RandomZoom,
    layers.Reshape,
    layers.Resizing,
    layers.ZeroPadding2D,
)
_NORMALIZING = (
    layers.BatchNormalization,
    layers.GroupNormalization,
    layers.LayerNormalization,
    layers.Normalization,
)
# Of images that may be of any size.
_SIDE = 32
# What starts with one value in all places, as a rule zero; in some transformers with
# noise of 1e-6.
_STARTING_ALIKE = ("beta", "bias", "moving_mean")
_NOISE = 3e-5


def is_trained(model: keras.Model) -> bool:
    """Whether a model has been trained, as far as can be seen.

    It has if its optimizer has made steps, or if a bias, a shift or a moving mean of
    its layers holds different values: layers start with the same in all places.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and int(ops.convert_to_numpy(optimizer.iterations)):
        return True
    return any(
        np.ptp(ops.convert_to_numpy(weight)) > _NOISE
        for weight in model.weights
        if weight.name in _STARTING_ALIKE
    )


def expected_pixels(model: Any) -> str | None:
    """The range of pixels that a model expects, as far as can be seen.

    A `Rescaling` or `Normalization` with which it begins tells, also inside a model
    inside it; or what any operations and layers before its first weights make of
    pixels; else, for a network of `keras.applications`, its name.

    Returns:
        A name in `Preprocessing.RANGES`, or None.
    """
    for layer in _first_layers(model):
        if isinstance(layer, keras.Model):
            if _passes(layer):
                continue
            return expected_pixels(layer)
        if isinstance(layer, layers.Rescaling):
            return _rescaled(layer)
        if isinstance(layer, layers.Normalization):
            return _normalized(layer)
        if not isinstance(layer, layers.Layer):
            # An operation such as a division.
            return _tried(model)
        if not isinstance(layer, _PASSING):
            break
    return _by_name(model.name) or _tried(model)


def _passes(model: Any) -> bool:
    """Whether a model is made of what passes pixels on, as an augmentation is."""
    operations = getattr(model, "operations", model.layers)
    return all(isinstance(operation, _PASSING) for operation in operations)


def _first_layers(model: Any) -> Iterator[Any]:
    """What the images of a model go through, up to where they part."""
    if isinstance(model, keras.Sequential):
        yield from model.layers
    elif hasattr(model, "operations") and len(model.inputs) == 1:
        tensor = model.inputs[0]
        while True:
            takers = [
                (operation, node)
                for operation in model.operations
                for node in operation._inbound_nodes
                if any(given is tensor for given in node.input_tensors)
            ]
            if len(takers) != 1:
                return
            operation, node = takers[0]
            yield operation
            tensor = node.output_tensors[0]


def _rescaled(layer: Any) -> str | None:
    return _of_scale(float(np.max(np.abs(layer.scale))))


def _of_scale(scale: float) -> str | None:
    """The range of pixels that are multiplied by a number."""
    # 1 / 255 and 1 / 127.5, or by the deviations of channels.
    if scale <= 0.1:
        return "raw"
    # To [-1, 1], or by the same deviations.
    return "unit_interval" if 1.5 <= scale <= 10 else None


def _tried(model: Any) -> str | None:
    """The range of pixels that what comes before the first weights is made for.

    It is shown noise, whose deviation tells by what that is multiplied.
    """
    first = next((x for x in _first_layers(model) if getattr(x, "weights", ())), None)
    # A normalization takes pixels of every range; a model inside is not looked into.
    if first is None or isinstance(first, (keras.Model, *_NORMALIZING)):
        return None
    shape = [side or _SIDE for side in model.input_shape[1:]]
    noise = np.random.default_rng(0).uniform(0, 1, (1, *shape)).astype(np.float32)
    scales = []
    try:
        before = keras.Model(model.inputs[0], first.input)
        for pixels in (noise, 255 * noise):
            found = ops.cast(before(pixels, training=False), "float32")
            scales.append(float(ops.std(found)) / pixels.std())
    # Whatever code of a user's own raises, which is then not known.
    except Exception:
        return None
    # What is no multiple may be a normalization, for pixels of every range; and nobody
    # means to make less than one gray level in a thousand of all of them.
    scale, other = scales
    is_multiple = abs(other - scale) < 0.01 * scale and scale >= 1e-3
    return _of_scale(scale) if is_multiple else None


def _normalized(layer: Any) -> str | None:
    if layer.mean is None:
        return None
    mean, variance = (ops.convert_to_numpy(x) for x in (layer.mean, layer.variance))
    if np.max(mean) > 2:
        return "raw"
    # What lies in [0, 1] has no larger variance for its mean.
    is_within = np.all(variance <= mean * (1 - mean) + 1e-3)
    return "unit_interval" if np.min(mean) > 0 and is_within else None


def _by_name(name: str) -> str | None:
    # `mobilenetv2_1.00_224` and `inception_v3`.
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    found = [
        known
        for known in applications.application_names()
        if re.fullmatch(rf"{known}\d*", plain)
    ]
    if not found:
        return None
    pixels = applications.pixels_of(max(found, key=len))
    # Those that begin with a layer that rescales have been told by it.
    return None if pixels == "raw" else pixels
