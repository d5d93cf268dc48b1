"""The networks of KerasHub, by the name or folder of a preset, or as objects."""

import importlib.util
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from keras import layers, ops

from kdfixmatch_keras.backbones.family import (
    SMALLEST_PRETRAINED_SIDE,
    SMALLEST_SIDE,
    Choice,
    Family,
    enlarged,
    freeze_batch_norm,
)
from kdfixmatch_keras.backbones.preprocessing import Preprocessing
from kdfixmatch_keras.backbones.user_models import UserModels, known_pixels, no_pixels

PREFIX = "hub:"
# Names of the argument that says for which images a network is built.
_SHAPES = ("image_shape", "input_shape")
# Of sides, where patches are smaller or there are none: networks halve five times.
_MULTIPLE = 32
# Position embeddings that are made of others, for images of another size.
_INTERPOLATED = "interpolated_position_embeddings"
# Of those, KerasHub saves what they were made of; masks are for another training.
_NOT_TRAINED = (_INTERPOLATED, "mask_token")


class HubPresets(Family):
    """Names `"hub:<preset>"`: a preset of KerasHub, or a folder with one."""

    has_weights = True

    def takes(self, backbone: Any) -> bool:
        """See `Family`."""
        return isinstance(backbone, str) and backbone.startswith(PREFIX)

    def check(self, choice: Choice) -> None:
        """See `Family`.

        Raises:
            ImportError: KerasHub is not installed.
        """
        super().check(choice)
        folder = folder_of(choice.backbone)
        if folder is not None and not (folder / "config.json").is_file():
            raise ValueError(
                '`backbone` must be "hub:" and the name of a preset, or a folder that '
                "`save_to_preset` of a KerasHub backbone wrote. Received: "
                f"backbone={choice.backbone!r}, where there is no config.json"
            )
        _check_installed()

    def check_weights(self, choice: Choice) -> None:
        """See `Family`."""
        if choice.weights is not None and choice.weights != "imagenet":
            raise ValueError(
                '`weights` must be "imagenet", which stands for those of the preset, '
                "or None, random ones, for a preset of KerasHub. Received: "
                f"weights={choice.weights!r}, backbone={choice.backbone!r}"
            )

    def check_known(self, choice: Choice) -> None:
        """See `Family`; its pixels may be given."""
        self.check_pretrained(choice)

    def features(
        self, images: Any, choice: Choice, size: Sequence[int] | None = None
    ) -> Any:
        """See `Family`.

        Raises:
            RuntimeError: The preset cannot be loaded.
            ValueError: It is none of images, or does not say what pixels it expects.
        """
        import keras_hub

        preset = choice.backbone.removeprefix(PREFIX)
        folder = folder_of(choice.backbone)
        preset = preset if folder is None else str(folder)
        try:
            body = keras_hub.models.Backbone.from_preset(
                preset,
                load_weights=choice.weights is not None,
                dtype=keras.config.dtype_policy().name,
            )
        # What downloads it raises what it likes.
        except Exception as error:
            raise RuntimeError(
                f"The preset {preset} of KerasHub could not be loaded ({error}). "
                'Without a network, pass "hub:" and the folder of a preset.'
            ) from error
        converter = None if choice.pixels else _converter(preset)
        if converter is None and choice.pixels is None and choice.weights is not None:
            raise no_pixels(choice)
        return _features(images, body, choice, converter, size, self)


class HubModels(UserModels):
    """Every `keras_hub.models.Backbone`."""

    def takes(self, backbone: Any) -> bool:
        """See `Family`."""
        # Who has such an object has imported it.
        keras_hub = sys.modules.get("keras_hub")
        return keras_hub is not None and isinstance(backbone, keras_hub.models.Backbone)

    def features(
        self, images: Any, choice: Choice, size: Sequence[int] | None = None
    ) -> Any:
        """See `Family`. The network is copied, with its weights."""
        choice = choice._replace(pixels=known_pixels(choice))
        body = type(choice.backbone).from_config(choice.backbone.get_config())
        body.set_weights(choice.backbone.get_weights())
        return _features(images, body, choice, None, size, self)


def folder_of(backbone: Any) -> Path | None:
    """The folder that a name `"hub:<folder>"` stands for, or None."""
    if not HubPresets().takes(backbone):
        return None
    preset = backbone.removeprefix(PREFIX)
    folder = Path(os.path.expanduser(preset))
    # Names of presets have no slash, and other addresses begin with "hf://" or such.
    is_path = folder.exists() or "/" in preset and "://" not in preset
    return folder if is_path or not preset else None


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class HubFeatures(layers.Layer):
    """A network of KerasHub, and one vector of what it makes of an image.

    A feature map is averaged; of several, the smallest. Of tokens, the first is taken
    where there are more than patches of the image, as it is that of the class; else
    they are averaged. Position embeddings that were interpolated stay as they are.

    Args:
        body: `keras_hub.models.Backbone` that takes images alone.
        is_pretrained: Whether its batch norm stays as it is.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(self, body: Any, is_pretrained: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.body = body
        self.is_pretrained = is_pretrained
        # Both here, as the configuration of such a network does not keep it.
        if is_pretrained:
            freeze_batch_norm(body)
        for weight in body.trainable_weights:
            if weight.name in _NOT_TRAINED:
                weight.trainable = False

    def call(self, pixels: Any, training: bool | None = None) -> Any:
        """Maps floats `(n, H, W, C)` to features `(n, D)`."""
        if isinstance(self.body.input, dict):
            (name,) = self.body.input
            found = self.body({name: pixels}, training=training)
        else:
            found = self.body(pixels, training=training)
        if isinstance(found, dict):
            # Of maps of one size the last, which more layers have seen.
            maps = list(found.values())[::-1]
            found = min(maps, key=lambda x: math.prod(x.shape[1:3]))
        if len(found.shape) == 4:
            return ops.mean(found, axis=(1, 2))
        if len(found.shape) == 3:
            has_class = _has_class_token(self.body)
            return found[:, 0] if has_class else ops.mean(found, axis=1)
        return found

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            **super().get_config(),
            "body": keras.saving.serialize_keras_object(self.body),
            "is_pretrained": self.is_pretrained,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HubFeatures":
        """The layer of a configuration.

        Raises:
            ImportError: KerasHub is not installed.
        """
        _check_installed()
        body = keras.saving.deserialize_keras_object(config["body"])
        return cls(**{**config, "body": body})


def _check_installed() -> None:
    if importlib.util.find_spec("keras_hub") is None:
        raise ImportError(
            "Networks of KerasHub need KerasHub, which is not installed. Install it "
            'with `pip install "kdfixmatch-keras[hub]"`.'
        )


def _converter(preset: str) -> Any:
    """What says which pixels a preset expects, or None."""
    import keras_hub

    try:
        return keras_hub.layers.ImageConverter.from_preset(preset)
    # There is no such file, or no class for it.
    except (FileNotFoundError, KeyError, NotImplementedError, ValueError):
        return None


def _features(
    images: Any,
    body: Any,
    choice: Choice,
    converter: Any,
    size: Sequence[int] | None,
    family: Family,
) -> Any:
    is_pretrained = family.is_pretrained(choice)
    smallest = SMALLEST_PRETRAINED_SIDE if is_pretrained else SMALLEST_SIDE
    wanted = enlarged(size or images.shape[1:3], SMALLEST_SIDE if size else smallest)
    body, seen = _fitted(_of_images(body, choice), wanted)
    channels = body.inputs[0].shape[-1]
    pixels = "raw" if converter is not None else choice.pixels or "tf"
    x = Preprocessing(pixels, channels, seen, name="preprocessing")(images)
    if converter is not None:
        scale = 1.0 if converter.scale is None else converter.scale
        offset = 0.0 if converter.offset is None else converter.offset
        x = layers.Rescaling(scale, offset, name="rescaling")(x)
    return HubFeatures(body, is_pretrained, name="backbone")(x)


def _of_images(body: Any, choice: Choice) -> Any:
    """The part of a network that takes images alone."""
    if len(body.inputs) > 1:
        body = getattr(body, "vision_encoder", body)
    found = [tuple(tensor.shape) for tensor in body.inputs]
    if len(found) > 1 or len(found[0]) != 4:
        raise ValueError(
            "`backbone` must be a network that takes images alone. Received: "
            f"backbone={choice.backbone!r}, which takes {found}"
        )
    return body


def _fitted(body: Any, wanted: tuple[int, int]) -> tuple[Any, tuple[int, int]]:
    """A network for images of about a size, and the size that it takes.

    One that was built for another size is built again, where its weights do not depend
    on it; else it keeps its own.
    """
    _, *own, channels = body.inputs[0].shape
    config = body.get_config()
    argument = next((name for name in _SHAPES if name in config), None)
    if None in own or argument is None:
        return body, wanted if None in own else (own[0], own[1])
    if hasattr(body, "patch_size"):
        # Some take squares only, and some are wrong about their tokens elsewhere.
        wanted = (round(math.sqrt(math.prod(wanted))),) * 2
    multiples = [patch if patch >= 8 else _MULTIPLE for patch in _patch_size(body)]
    height, width = (
        math.ceil(side / multiple) * multiple
        for side, multiple in zip(wanted, multiples, strict=True)
    )
    try:
        other = type(body).from_config({**config, argument: (height, width, channels)})
    except ValueError:
        return body, (own[0], own[1])
    if _shapes(other) != _shapes(body):
        return body, (own[0], own[1])
    # Through a file, of which a network interpolates its position embeddings.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "body.weights.h5"
        body.save_weights(file)
        other.load_weights(file)
    return other, (height, width)


def _shapes(body: Any) -> list[tuple[int, ...]]:
    """Shapes of all weights but those that are interpolated of others."""
    return [
        tuple(weight.shape) for weight in body.weights if weight.name != _INTERPOLATED
    ]


def _has_class_token(body: Any) -> bool:
    """Whether the tokens that a network gives are more than the patches of an image."""
    # Those of the output itself are not known in a function of TensorFlow.
    sides, tokens = body.inputs[0].shape[1:3], body.output.shape[1]
    if None in sides or tokens is None:
        return False
    patches = zip(sides, _patch_size(body), strict=True)
    return bool(tokens > math.prod(side // patch for side, patch in patches))


def _patch_size(body: Any) -> tuple[int, int]:
    """`(height, width)` of the patches of which a network makes tokens."""
    size = getattr(body, "patch_size", 1)
    return (size, size) if isinstance(size, int) else (size[0], size[1])
