"""The weak augmentation: a random horizontal flip and a small random shift."""

from typing import Any

import keras
from keras import ops

from kdfixmatch_keras.augmentation.compiled import compiled
from kdfixmatch_keras.checks import validation

# keras.ops tensors have no common static type across backends.
Tensor = Any


def flip_and_shift(
    images: Tensor, flipped: Tensor, rows: Tensor, columns: Tensor
) -> Tensor:
    """Mirrors and shifts every image, with reflection at the borders.

    Pixel `(r, c)` of the result is pixel `(r + rows, c + columns)` of the (mirrored)
    image; beyond the border the image continues as its mirror image, without
    repeating the edge (`numpy.pad(..., mode="reflect")`).

    Args:
        images: Tensor of shape `(n, height, width, channels)`, any dtype.
        flipped: bool tensor of shape `(n,)`, whether to mirror left to right first.
        rows: int32 tensor of shape `(n,)`, pixels, magnitude below `height`.
        columns: int32 tensor of shape `(n,)`, pixels, magnitude below `width`.

    Returns:
        Tensor of the shape and dtype of `images`.
    """
    count = ops.shape(images)[0]
    height, width, channels = images.shape[1:]
    source_row = _reflected_positions(rows, height)
    source_column = _reflected_positions(columns, width)
    source_column = ops.where(
        ops.expand_dims(flipped, 1), width - 1 - source_column, source_column
    )
    first = ops.expand_dims(ops.arange(count, dtype="int32") * (height * width), 1)
    source = ops.expand_dims(first + source_row * width, 2) + ops.expand_dims(
        source_column, 1
    )
    pixels = ops.reshape(images, (-1, channels))
    moved = ops.take(pixels, ops.reshape(source, (-1,)), axis=0)
    return ops.reshape(moved, (-1, height, width, channels))


def _reflected_positions(shift: Tensor, size: int) -> Tensor:
    """Computes the source position of every target position, int32 `(n, size)`."""
    position = ops.expand_dims(shift, 1) + ops.arange(size, dtype="int32")
    return (size - 1) - ops.abs((size - 1) - ops.abs(position))


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class FlipAndShift(keras.layers.Layer):
    """Flips each image with probability 1/2 and shifts it by a few pixels.

    Row and column shifts are independent and uniform over the integers from `-r` to
    `r`, with `r = round(max_shift * side)`; the border is filled by reflection. The
    layer does nothing when called with `training=False`.

    Args:
        flip: Whether to flip horizontally. Digits, letters and house numbers change
            their meaning when flipped.
        max_shift: Largest shift as a fraction of the side, in `[0, 0.5]`.
        seed: Non-negative integer, or None for a random seed.
        **kwargs: Keyword arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        images: uint8 tensor of shape `(n, height, width, channels)`.
        training: Whether to augment.

    Returns:
        uint8 tensor of the shape of `images`.

    Raises:
        ValueError: If `max_shift` or `seed` is outside its range or `images` are not
            uint8 of rank 4.
        TypeError: If `flip` is neither True nor False.

    Example:
        >>> weak = FlipAndShift(seed=0)
        >>> weak(np.zeros((8, 32, 32, 3), "uint8"), training=True).shape
        (8, 32, 32, 3)

    Reference:
        - [FixMatch](https://arxiv.org/abs/2001.07685), section 2.3
    """

    def __init__(
        self,
        flip: bool = True,
        max_shift: float = 0.125,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.flip = validation.check_flag("flip", flip)
        self.max_shift = validation.check_number(
            "max_shift", max_shift, 0, 0.5, "[0, 0.5]"
        )
        self.seed = validation.check_seed(seed)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, images: Tensor, training: bool = True) -> Tensor:
        """Augments a batch; see the class for shapes and dtypes."""
        if not training:
            return images
        check_images(images)
        count = ops.shape(images)[0]
        # One draw for all three decisions: each call of keras.random has a cost.
        draws = keras.random.uniform(
            (3, count), dtype="float32", seed=self.seed_generator
        )
        if self.flip:
            flipped = ops.less(draws[0], 0.5)
        else:
            flipped = ops.zeros((count,), dtype="bool")
        rows = self._random_shift(draws[1], images.shape[1])
        columns = self._random_shift(draws[2], images.shape[2])
        return compiled(flip_and_shift)(images, flipped, rows, columns)

    def _random_shift(self, uniform: Tensor, size: int) -> Tensor:
        limit = round(self.max_shift * size)
        # A float32 just below 1 can round up to the number of choices.
        steps = ops.minimum(ops.floor(uniform * (2 * limit + 1)), 2 * limit)
        return ops.cast(steps, "int32") - limit

    def compute_output_spec(self, images: Any, training: bool = True) -> Any:
        """Declares the output: the shape and dtype of the input."""
        return keras.KerasTensor(images.shape, dtype=images.dtype)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Returns `input_shape`."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "flip": self.flip,
            "max_shift": self.max_shift,
            "seed": self.seed,
        }


def check_images(images: Tensor, channels: tuple[int, ...] | None = None) -> None:
    """Checks that a tensor is a batch of uint8 images.

    Args:
        images: The tensor to check.
        channels: Allowed numbers of channels; None allows all.

    Raises:
        ValueError: If the dtype, the rank or the number of channels is wrong.
    """
    if not hasattr(images, "dtype"):
        raise ValueError(
            "`images` must be a uint8 array or tensor. Received: "
            f"type={type(images).__name__}"
        )
    dtype = keras.backend.standardize_dtype(images.dtype)
    if dtype != "uint8":
        raise ValueError(f"`images` must be uint8. Received: images.dtype={dtype}")
    shape = tuple(images.shape)
    if len(shape) != 4 or None in shape[1:]:
        raise ValueError(
            "`images` must be of shape (n, height, width, channels) with a fixed "
            f"height, width and number of channels. Received: images.shape={shape}"
        )
    if channels is not None and shape[-1] not in channels:
        raise ValueError(
            f"`images` must have one of {channels} channels. "
            f"Received: images.shape={shape}"
        )
