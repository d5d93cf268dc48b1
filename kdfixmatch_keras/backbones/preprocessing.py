"""From raw pixels to what a network expects."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from kdfixmatch_keras.checks import validation


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class Preprocessing(layers.Layer):
    """Casts raw pixels to floats in the channels, size and range a network expects.

    Args:
        pixels: Range of the output: `"tf"`, [-1, 1]; `"raw"`, [0, 255];
            `"unit_interval"`, [0, 1]; `"torch"`, ImageNet mean 0 and deviation 1;
            `"caffe"`, blue-green-red with the ImageNet mean subtracted.
        channels: Channels of the output; one channel is repeated to three.
        size: `(H, W)` of the output in pixels, to which images of another size are
            resized; None keeps their own.
        **kwargs: As in `keras.layers.Layer`.

    Raises:
        ValueError: An argument is not as above.
    """

    RANGES = ("tf", "raw", "unit_interval", "torch", "caffe")

    def __init__(
        self,
        pixels: str,
        channels: int,
        size: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pixels = validation.check_choice("pixels", pixels, self.RANGES)
        self.channels = validation.check_integer("channels", channels, 1)
        self.size = validation.check_size("size", size)

    def call(self, images: Any) -> Any:
        """Maps uint8 `(n, H, W, C)` to floats `(n, H', W', channels)`."""
        ops = keras.ops
        x = ops.cast(images, self.compute_dtype)
        own = tuple(images.shape[1:3])
        size = self.size or own
        if size != own:
            shrinks = size[0] < own[0] or size[1] < own[1]
            x = ops.image.resize(
                x, size, antialias=shrinks, data_format="channels_last"
            )
        if images.shape[-1] == 1 and self.channels == 3:
            x = ops.repeat(x, 3, axis=-1)
        if self.pixels == "tf":
            return x / 127.5 - 1.0
        if self.pixels == "unit_interval":
            return x / 255.0
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
        size = self.size or tuple(input_shape[1:3])
        if None in size:
            raise ValueError(
                "`input_shape` must have a fixed height and width. "
                f"Received: input_shape={input_shape}"
            )
        return (input_shape[0], *size, self.channels)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            **super().get_config(),
            "pixels": self.pixels,
            "channels": self.channels,
            "size": self.size,
        }
