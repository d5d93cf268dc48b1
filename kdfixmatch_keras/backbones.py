"""Networks: what turns raw pixels into an embedding and logits."""

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from inspect import signature
from numbers import Integral
from pathlib import Path
from typing import Any

import keras
from keras import layers

from kdfixmatch_keras import validation

OWN_BACKBONES = ("small_cnn", "wide_resnet_28_2")

# FixMatch decays weights by 5e-4 through the gradient; Keras does not halve the square.
L2_PENALTY = 2.5e-4

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


def application_names() -> dict[str, Callable[..., Any]]:
    """Lower-case names of the networks in `keras.applications`, and their builders."""
    return {
        name.lower(): builder
        for name, builder in vars(keras.applications).items()
        if callable(builder) and name[0].isupper()
    }


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class Preprocessing(layers.Layer):
    """Casts raw pixels to floats in the channels, size and range a network expects.

    Args:
        pixels: Range of the output: `"unit"` or `"tf"`, [-1, 1]; `"raw"`, [0, 255];
            `"torch"`, ImageNet mean 0 and deviation 1; `"caffe"`, blue-green-red with
            the ImageNet mean subtracted.
        channels: Channels of the output; one channel is repeated to three.
        minimum_side: Smaller images are enlarged to at least this side, in pixels.
        **kwargs: As in `keras.layers.Layer`.

    Raises:
        ValueError: An argument is not as above.
    """

    RANGES = ("unit", "raw", "tf", "torch", "caffe")

    def __init__(
        self, pixels: str, channels: int, minimum_side: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.pixels = validation.check_choice("pixels", pixels, self.RANGES)
        self.channels = validation.check_integer("channels", channels, 1)
        self.minimum_side = validation.check_integer("minimum_side", minimum_side, 1)

    def _output_side(self, side: int) -> int:
        return max(side, self.minimum_side)

    def call(self, images: Any) -> Any:
        """Maps uint8 `(n, H, W, C)` to floats `(n, H', W', channels)`."""
        ops = keras.ops
        x = ops.cast(images, self.compute_dtype)
        height, width = images.shape[1:3]
        size = (self._output_side(height), self._output_side(width))
        if size != (height, width):
            x = ops.image.resize(x, size, interpolation="bilinear")
        if images.shape[-1] == 1 and self.channels == 3:
            x = ops.repeat(x, 3, axis=-1)
        if self.pixels in ("unit", "tf"):
            return x / 127.5 - 1.0
        if self.pixels == "torch":
            mean = ops.convert_to_tensor([123.675, 116.28, 103.53], x.dtype)
            deviation = ops.convert_to_tensor([58.395, 57.12, 57.375], x.dtype)
            return (x - mean) / deviation
        if self.pixels == "caffe":
            mean = ops.convert_to_tensor([103.939, 116.779, 123.68], x.dtype)
            return ops.flip(x, axis=-1) - mean
        return x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> Any:
        """Shape `(n, H', W', channels)` of the output."""
        batch, height, width, _ = input_shape
        if height is None or width is None:
            raise ValueError(
                "`input_shape` must have a fixed height and width. "
                f"Received: input_shape={input_shape}"
            )
        return (
            batch,
            self._output_side(height),
            self._output_side(width),
            self.channels,
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            **super().get_config(),
            "pixels": self.pixels,
            "channels": self.channels,
            "minimum_side": self.minimum_side,
        }


def check_backbone(backbone: Any, weights: Any) -> None:
    """Checks the two arguments that choose a network, without building it.

    Raises:
        TypeError: `backbone` is neither a name, a model nor a callable.
        ValueError: The name is unknown, or `weights` do not exist or do not apply.
    """
    if not isinstance(backbone, str):
        if not callable(backbone):
            raise TypeError(
                "`backbone` must be a name, a keras.Model or a callable "
                f"(input_shape) -> keras.Model. Received: backbone={backbone!r}"
            )
        if not isinstance(backbone, keras.Model) and not _takes_one(backbone):
            raise TypeError(
                "`backbone` must take one argument, the input shape. Received: "
                f"backbone={backbone!r}, which takes {signature(backbone)}"
            )
    else:
        validation.check_choice(
            "backbone", backbone, [*OWN_BACKBONES, *application_names()]
        )
    if weights is None or weights == "imagenet":
        return
    if not isinstance(weights, str | Path) or not Path(weights).is_file():
        raise ValueError(
            '`weights` must be None, "imagenet" or the path of a weights file. '
            f"Received: weights={weights!r}"
        )
    if not _is_application(backbone):
        raise ValueError(
            '`weights` must be None or "imagenet" (which then has no effect) for a '
            "backbone that is not in keras.applications. Received: "
            f"weights={weights!r}, backbone={backbone!r}"
        )


def is_pretrained(backbone: Any, weights: Any) -> bool:
    """Whether the network starts from trained weights.

    Raises:
        TypeError: See `check_backbone`.
        ValueError: See `check_backbone`.
    """
    check_backbone(backbone, None)
    return _is_application(backbone) and weights is not None


def _is_application(backbone: Any) -> bool:
    """Whether a checked `backbone` is the name of a network in `keras.applications`."""
    return isinstance(backbone, str) and backbone not in OWN_BACKBONES


def build_network(
    backbone: Any,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    weights: Any = "imagenet",
    embedding_dim: int = 256,
    seed: int | None = None,
    name: str = "student",
) -> keras.Model:
    """Builds a classifier of raw images.

    Args:
        backbone: Lower-case name of a network in `keras.applications`,
            `"small_cnn"`, `"wide_resnet_28_2"`, a `keras.Model`, or a callable
            `(input_shape) -> keras.Model`. A model or callable takes float pixels in
            [-1, 1] of the shape of the data; its output is a vector or a feature map,
            which is then averaged. A model is cloned, with its weights.
        input_shape: `(H, W, C)` of the uint8 images.
        num_classes: Number of classes, `K`.
        weights: None, `"imagenet"` or a file; for networks of `keras.applications`
            only. With weights their batch norm stays frozen.
        embedding_dim: Size of the embedding before the logits.
        seed: Integer that fixes the initial weights; None draws them at random.
        name: Name of the model.

    Returns:
        Functional model from uint8 `(n, H, W, C)` to float32 logits `(n, K)`, whose
        layer `"embedding"` gives the embedding `(n, embedding_dim)`.

    Raises:
        RuntimeError: The ImageNet weights cannot be downloaded.
        TypeError: `backbone` is neither a name, a model nor a callable, or the callable
            returns no model.
        ValueError: An argument is out of range, or the model does not fit the images.
    """
    check_backbone(backbone, weights)
    input_shape = _check_input_shape(input_shape)
    num_classes = validation.check_integer("num_classes", num_classes, 2)
    embedding_dim = validation.check_integer("embedding_dim", embedding_dim, 1)
    with seeded(seed):
        return _build(backbone, input_shape, num_classes, weights, embedding_dim, name)


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Fixes what Keras draws where it is given no seed, for as long as this is open.

    An initializer or a dropout layer without a seed asks Python's `random` for one.
    The state of `random` is put back afterwards, so nobody else's numbers change.

    Raises:
        ValueError: `seed` is neither None nor an integer of at least 0.
    """
    seed = validation.check_seed(seed)
    if seed is None:
        # Putting the state back would make every such network the same.
        yield
        return
    state = random.getstate()
    try:
        random.seed(seed)
        yield
    finally:
        random.setstate(state)


def set_weights(network: keras.Model, weights: Sequence[Any]) -> None:
    """Gives a network weights that it also computes with.

    `keras.layers.Normalization`, which EfficientNet begins with, computes with copies
    of its weights, and `keras.Model.set_weights` leaves these as they were.

    Args:
        network: Built model.
        weights: Arrays, as `get_weights` of a model like it returns them.

    Raises:
        ValueError: They are not as many, or not of its shapes.
    """
    count = len(network.weights)
    if len(weights) != count:
        raise ValueError(
            f"`weights` must be {count} arrays, one for each weight of the network. "
            f"Received: {len(weights)} arrays"
        )
    network.set_weights(weights)
    # `layers` leaves out those of models inside the model.
    for layer in network._flatten_layers():
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()


def _build(
    backbone: Any,
    input_shape: tuple[int, int, int],
    num_classes: int,
    weights: Any,
    embedding_dim: int,
    name: str,
) -> keras.Model:
    channels = input_shape[-1]
    inputs = layers.Input(input_shape, dtype="uint8", name="images")
    if _is_application(backbone):
        side = _MINIMUM_SIDE.get(backbone, 32)
        x = Preprocessing(_pixels(backbone), 3, side, name="preprocessing")(inputs)
        x = _build_application(backbone, weights, x.shape[1:])(x)
    else:
        x = Preprocessing("unit", channels, name="preprocessing")(inputs)
        if backbone == "small_cnn":
            x = _small_cnn(x)
        elif backbone == "wide_resnet_28_2":
            x = _wide_resnet(x)
        elif isinstance(backbone, keras.Model):
            body = keras.models.clone_model(backbone)
            set_weights(body, backbone.get_weights())
            x = _applied(body, x)
        else:
            body = backbone(input_shape)
            if not isinstance(body, keras.Model):
                raise TypeError(
                    "`backbone` must return a keras.Model for an input shape. "
                    f"Received: {body!r}"
                )
            x = _applied(body, x)
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    if len(x.shape) != 2:
        raise ValueError(
            "`backbone` must return a vector or a feature map for each image. "
            f"Received: an output of shape {tuple(x.shape)}"
        )
    # A network of `keras.applications` is trained with decoupled weight decay.
    penalty = None if _is_application(backbone) else keras.regularizers.L2(L2_PENALTY)
    x = layers.Dense(
        embedding_dim,
        activation="relu",
        kernel_regularizer=penalty,
        name="embedding",
    )(x)
    logits = layers.Dense(
        num_classes, kernel_regularizer=penalty, dtype="float32", name="logits"
    )(x)
    return keras.Model(inputs, logits, name=name)


def _takes_one(backbone: Callable[..., Any]) -> bool:
    try:
        signature(backbone).bind(())
    except TypeError:
        return False
    except ValueError:  # Of what is written in C there may be no signature.
        pass
    return True


def _check_input_shape(input_shape: Any) -> tuple[int, int, int]:
    sides = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    whole = all(isinstance(side, Integral) and int(side) > 0 for side in sides)
    if len(sides) != 3 or not whole or sides[-1] not in (1, 3):
        raise ValueError(
            "`input_shape` must be (height, width, channels) of the images, with 1 or "
            f"3 channels. Received: input_shape={input_shape!r}"
        )
    return int(sides[0]), int(sides[1]), int(sides[2])


def _applied(body: keras.Model, x: Any) -> Any:
    """The output of a user's model on the pixels `x`."""
    wanted = getattr(body, "input_shape", None)
    if wanted is not None and (
        not isinstance(wanted, tuple)
        or len(wanted) != len(x.shape)
        or any(w not in (None, own) for w, own in zip(wanted, x.shape, strict=True))
    ):
        raise ValueError(
            f"`backbone` must take pixels of shape {tuple(x.shape[1:])}, that of the "
            f"images. Received: a model of input_shape={wanted}. Pass image_size=(H, "
            "W) to resize the images, or a callable that makes a model for a shape."
        )
    x = body(x)
    if not hasattr(x, "shape"):
        raise ValueError(
            "`backbone` must have one output. Received: a model with "
            f"{len(x)}, in a {type(x).__name__}"
        )
    return x


def _pixels(backbone: str) -> str:
    if backbone == "mobilenet" or backbone.endswith("v2") and "resnet" in backbone:
        return "tf"
    for prefix, pixels in _PIXELS_BY_PREFIX.items():
        if backbone.startswith(prefix):
            return pixels
    return "raw"


def _build_application(backbone: str, weights: Any, shape: tuple[int, ...]) -> Any:
    builder = application_names()[backbone]
    try:
        body = builder(include_top=False, weights=weights, input_shape=shape)
    # Keras raises a bare Exception when a download fails, and whatever h5py does.
    except Exception as error:
        if weights not in (None, "imagenet"):
            raise ValueError(
                f"`weights` must be a file of weights of {backbone} without its top. "
                f"Received: weights={str(weights)!r} ({error})"
            ) from error
        if weights != "imagenet" or "fetch failure" not in str(error):
            raise
        raise RuntimeError(
            f"The ImageNet weights of {backbone} could not be downloaded. Without a "
            "network, pass weights=<path of a weights file> (without top), or "
            "weights=None to start from random weights."
        ) from error
    if weights is not None:
        for layer in body._flatten_layers():
            if isinstance(layer, layers.BatchNormalization):
                layer.trainable = False
    return body


def _convolution(x: Any, filters: int, *, size: int = 3, strides: int = 1) -> Any:
    """A convolution without bias, with the L2 penalty of FixMatch on its kernel."""
    return layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        kernel_regularizer=keras.regularizers.L2(L2_PENALTY),
    )(x)


def _small_cnn(x: Any) -> Any:
    """Three stages of two convolutions, for images of 8 to 64 pixels on a CPU.

    The first convolution halves images of 32 pixels and more: a quarter of the work,
    so that a CPU affords four times the steps.
    """
    strides = 2 if min(x.shape[1:3]) >= 32 else 1
    for stage, filters in enumerate((32, 64, 128)):
        if stage > 0 and min(x.shape[1:3]) >= 4:
            x = layers.MaxPooling2D(2)(x)
        for _ in range(2):
            x = _convolution(x, filters, strides=strides)
            strides = 1
            x = layers.BatchNormalization(momentum=0.9)(x)
            x = layers.LeakyReLU(0.1)(x)
    return x


def _wide_resnet(x: Any) -> Any:
    """WRN-28-2 as FixMatch trains it: leaky ReLU 0.1, batch-norm momentum 0.999.

    Reference:
        - [Zagoruyko and Komodakis, 2016](https://arxiv.org/abs/1605.07146)
    """

    def activated(y: Any) -> Any:
        y = layers.BatchNormalization(momentum=0.999)(y)
        return layers.LeakyReLU(0.1)(y)

    x = _convolution(x, 16)
    for stage, filters in enumerate((32, 64, 128)):
        for block in range(4):
            strides = 2 if stage > 0 and block == 0 else 1
            y = activated(x)
            # The first block of all activates its shortcut as well.
            shortcut = y if stage == 0 and block == 0 else x
            if shortcut.shape[-1] != filters or strides > 1:
                shortcut = _convolution(shortcut, filters, size=1, strides=strides)
            y = _convolution(y, filters, strides=strides)
            y = _convolution(activated(y), filters)
            x = layers.Add()([shortcut, y])
    return activated(x)
