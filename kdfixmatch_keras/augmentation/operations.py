"""The 14 RandAugment operations, batched, with one magnitude per image.

Every function takes `images`, uint8 of shape `(n, height, width, channels)` with
1 or 3 channels and values in `[0, 255]`, and returns a tensor of the same shape and
dtype. A magnitude is a tensor of shape `(n,)`, one value per image. The results
follow Pillow (`ImageOps`, `ImageEnhance`, `Image.rotate`, `Image.transform` with
nearest-neighbour sampling), which FixMatch's published augmentation is defined by.

Only gathers, segment sums and arithmetic of `keras.ops` are used, so that the batch
size may be dynamic and the code compiles under XLA.

Reference:
    - [RandAugment](https://arxiv.org/abs/1909.13719)
    - [FixMatch](https://arxiv.org/abs/2001.07685), appendix on augmentation
"""

import math
from typing import Any

from keras import ops

# keras.ops tensors have no common static type across backends.
Tensor = Any

FILL_VALUE = 128

# Pillow samples affine transforms with 16 fractional bits. Its integers are used
# here too: the same pixels are picked, and no float index tensor is needed.
_FRACTION_BITS = 16

_LEVELS = 256


def identity(images: Tensor) -> Tensor:
    """Returns the images as they are.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.

    Returns:
        The same tensor.
    """
    return images


def auto_contrast(images: Tensor) -> Tensor:
    """Stretches every channel linearly to the full range `[0, 255]`.

    A channel with a single gray level is left as it is.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.

    Returns:
        uint8 tensor of the same shape; `PIL.ImageOps.autocontrast`, but that a result
        which is a whole number is not rounded down to the one below, as Pillow does
        for 0.4 % of all triples of level, lowest and highest.
    """
    lowest = ops.min(images, axis=(1, 2), keepdims=True)
    highest = ops.max(images, axis=(1, 2), keepdims=True)
    lowest = ops.cast(lowest, "float32")
    extent = ops.cast(highest, "float32") - lowest
    # Multiply before dividing: both sides are exact integers, so is the floor.
    numerator = (ops.cast(images, "float32") - lowest) * 255.0
    stretched = ops.floor(numerator / ops.maximum(extent, 1.0))
    # A constant channel has numerator 0 and gets its level back.
    level = ops.where(ops.equal(extent, 0.0), lowest, 0.0)
    return ops.cast(stretched + level, "uint8")


def equalize(images: Tensor) -> Tensor:
    """Flattens the histogram of every channel.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.

    Returns:
        uint8 tensor of the same shape; `PIL.ImageOps.equalize`.
    """
    count = ops.shape(images)[0]
    height, width, channels = images.shape[1:]
    values = ops.cast(images, "int32")
    rows = ops.reshape(ops.arange(count * channels, dtype="int32"), (-1, channels))
    bins = values + ops.reshape(rows * _LEVELS, (-1, 1, 1, channels))
    bins = ops.reshape(bins, (-1,))
    histogram = ops.segment_sum(
        ops.ones_like(bins), bins, num_segments=count * channels * _LEVELS
    )
    histogram = ops.reshape(histogram, (-1, _LEVELS))
    highest = ops.reshape(ops.max(values, axis=(1, 2)), (-1, 1))
    # Pillow leaves the pixels of the brightest occupied level out of the step.
    levels = ops.reshape(ops.arange(_LEVELS, dtype="int32"), (1, _LEVELS))
    last = ops.sum(
        ops.where(ops.equal(levels, highest), histogram, 0), axis=1, keepdims=True
    )
    step = (height * width - last) // (_LEVELS - 1)
    below = ops.cumsum(histogram, axis=1) - histogram
    safe_step = ops.maximum(step, 1)
    table = ops.minimum((safe_step // 2 + below) // safe_step, _LEVELS - 1)
    table = ops.where(ops.equal(step, 0), levels, table)
    table = ops.reshape(ops.cast(table, "uint8"), (-1,))
    return ops.reshape(ops.take(table, bins, axis=0), (-1, height, width, channels))


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Inverts every pixel that is not below a threshold.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.
        threshold: float32 tensor of shape `(n,)`, gray levels in `[0, 256]`; 256
            changes nothing, 0 inverts all.

    Returns:
        uint8 tensor of the same shape; `PIL.ImageOps.solarize`.
    """
    # An integer level is below the threshold iff it is below its ceiling.
    limit = ops.cast(ops.ceil(per_image(threshold)), "int32")
    inverted = ops.greater_equal(ops.cast(images, "int32"), limit)
    # Inverting flips all bits; on a CPU this is several times faster than `where`.
    return ops.bitwise_xor(images, ops.cast(inverted, "uint8") * 255)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keeps the highest bits of every pixel.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.
        bits: int32 tensor of shape `(n,)`, bits to keep, in `[1, 8]`.

    Returns:
        uint8 tensor of the same shape; `PIL.ImageOps.posterize`.
    """
    one = ops.ones_like(bits)
    mask = _LEVELS - ops.left_shift(one, 8 - bits)
    return ops.bitwise_and(images, ops.cast(per_image(mask), "uint8"))


def color(images: Tensor, factor: Tensor) -> Tensor:
    """Blends the images with their gray version.

    One-channel images have no color and are returned as they are.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.
        factor: float32 tensor of shape `(n,)`; 0 is gray, 1 is the original.

    Returns:
        uint8 tensor of the same shape; `PIL.ImageEnhance.Color`.
    """
    if images.shape[-1] == 1:
        return images
    return _blend(luminance(images), images, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blends the images with their mean gray level.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.
        factor: float32 tensor of shape `(n,)`; 0 is flat gray, 1 is the original.

    Returns:
        uint8 tensor of the same shape; `PIL.ImageEnhance.Contrast`.
    """
    pixels = images.shape[1] * images.shape[2]
    total = ops.sum(luminance(images), axis=(1, 2, 3), keepdims=True)
    mean = (total + pixels // 2) // pixels
    return _blend(mean, images, factor)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blends the images with black.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.
        factor: float32 tensor of shape `(n,)`; 0 is black, 1 is the original.

    Returns:
        uint8 tensor of the same shape; `PIL.ImageEnhance.Brightness`.
    """
    scaled = ops.cast(images, "float32") * per_image(factor)
    return ops.cast(ops.clip(scaled, 0.0, 255.0), "uint8")


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Blends the images with a smoothed version.

    The border of one pixel is not smoothed.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.
        factor: float32 tensor of shape `(n,)`; 0 is smooth, 1 is the original.

    Returns:
        uint8 tensor of the same shape; `PIL.ImageEnhance.Sharpness`.
    """
    height, width, channels = images.shape[1:]
    if height < 3 or width < 3:
        return images
    # Channels join the columns: longer rows, which a compiler makes more of.
    flat = ops.reshape(images, (-1, height, width * channels))
    values = ops.cast(flat, "float32")
    rows = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    box = (
        rows[:, :, : -2 * channels]
        + rows[:, :, channels:-channels]
        + rows[:, :, 2 * channels :]
    )
    center = values[:, 1:-1, channels:-channels]
    # The kernel is 1 around a 5; floor(x / 13 + 1 / 2) without rounding errors.
    smooth = ops.floor((box + 4.0 * center + 6.0) / 13.0)
    mixed = _mix(smooth, center, ops.reshape(factor, (-1, 1, 1)))
    middle = flat[:, 1:-1]
    middle = ops.concatenate(
        [middle[:, :, :channels], mixed, middle[:, :, -channels:]], axis=2
    )
    sharp = ops.concatenate([flat[:, :1], middle, flat[:, -1:]], axis=1)
    return ops.reshape(sharp, (-1, height, width, channels))


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotates the images about their centre.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.
        degrees: float32 tensor of shape `(n,)`, counter-clockwise.

    Returns:
        uint8 tensor of the same shape; `PIL.Image.Image.rotate`.
    """
    height, width = images.shape[1:3]
    return affine(images, rotation_matrices(degrees, height, width))


def shear_x(images: Tensor, slope: Tensor) -> Tensor:
    """Shears the images along the rows.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.
        slope: float32 tensor of shape `(n,)`; the shift of a row, in pixels, is
            `slope` times its distance from the top.

    Returns:
        uint8 tensor of the same shape.
    """
    return affine(images, shear_x_matrices(slope))


def shear_y(images: Tensor, slope: Tensor) -> Tensor:
    """Shears the images along the columns.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.
        slope: float32 tensor of shape `(n,)`; the shift of a column, in pixels, is
            `slope` times its distance from the left.

    Returns:
        uint8 tensor of the same shape.
    """
    return affine(images, shear_y_matrices(slope))


def translate_x(images: Tensor, fraction: Tensor) -> Tensor:
    """Shifts the images horizontally.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.
        fraction: float32 tensor of shape `(n,)`, fraction of the width; positive
            moves the content to the left.

    Returns:
        uint8 tensor of the same shape.
    """
    return affine(images, translate_x_matrices(fraction, images.shape[2]))


def translate_y(images: Tensor, fraction: Tensor) -> Tensor:
    """Shifts the images vertically.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.
        fraction: float32 tensor of shape `(n,)`, fraction of the height; positive
            moves the content up.

    Returns:
        uint8 tensor of the same shape.
    """
    return affine(images, translate_y_matrices(fraction, images.shape[1]))


def rotation_matrices(degrees: Tensor, height: int, width: int) -> Tensor:
    """Builds the affine matrices of a rotation about the image centre.

    Args:
        degrees: float32 tensor of shape `(n,)`, counter-clockwise.
        height: Height of the images in pixels.
        width: Width of the images in pixels.

    Returns:
        float32 tensor of shape `(n, 6)`, for `affine`.
    """
    radians = degrees * (math.pi / 180.0)
    cosine, sine = ops.cos(radians), ops.sin(radians)
    x, y = width / 2, height / 2
    return ops.stack(
        [
            cosine,
            -sine,
            x - cosine * x + sine * y,
            sine,
            cosine,
            y - sine * x - cosine * y,
        ],
        axis=1,
    )


def shear_x_matrices(slope: Tensor) -> Tensor:
    """Builds the affine matrices of `shear_x`.

    Args:
        slope: float32 tensor of shape `(n,)`.

    Returns:
        float32 tensor of shape `(n, 6)`, for `affine`.
    """
    zero, one = ops.zeros_like(slope), ops.ones_like(slope)
    return ops.stack([one, slope, zero, zero, one, zero], axis=1)


def shear_y_matrices(slope: Tensor) -> Tensor:
    """Builds the affine matrices of `shear_y`.

    Args:
        slope: float32 tensor of shape `(n,)`.

    Returns:
        float32 tensor of shape `(n, 6)`, for `affine`.
    """
    zero, one = ops.zeros_like(slope), ops.ones_like(slope)
    return ops.stack([one, zero, zero, slope, one, zero], axis=1)


def translate_x_matrices(fraction: Tensor, width: int) -> Tensor:
    """Builds the affine matrices of `translate_x`.

    Args:
        fraction: float32 tensor of shape `(n,)`, fraction of the width.
        width: Width of the images in pixels.

    Returns:
        float32 tensor of shape `(n, 6)`, for `affine`.
    """
    zero, one = ops.zeros_like(fraction), ops.ones_like(fraction)
    return ops.stack([one, zero, fraction * width, zero, one, zero], axis=1)


def translate_y_matrices(fraction: Tensor, height: int) -> Tensor:
    """Builds the affine matrices of `translate_y`.

    Args:
        fraction: float32 tensor of shape `(n,)`, fraction of the height.
        height: Height of the images in pixels.

    Returns:
        float32 tensor of shape `(n, 6)`, for `affine`.
    """
    zero, one = ops.zeros_like(fraction), ops.ones_like(fraction)
    return ops.stack([one, zero, zero, zero, one, fraction * height], axis=1)


def affine(images: Tensor, matrices: Tensor) -> Tensor:
    """Applies one affine transform per image, nearest neighbour, mid-gray outside.

    The output pixel at column `x` and row `y` is the input pixel that contains the
    point `(a (x + 1/2) + b (y + 1/2) + c, d (x + 1/2) + e (y + 1/2) + f)`, Pillow's
    convention, or 128 where that point lies outside the image.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`, each side below
            32,768 pixels.
        matrices: float32 tensor of shape `(n, 6)` with `(a, b, c, d, e, f)`.

    Returns:
        uint8 tensor of the same shape.
    """
    count = ops.shape(images)[0]
    height, width, channels = images.shape[1:]
    a, b, c, d, e, f = (matrices[:, k] for k in range(6))
    source_x = _source_coordinates(a, b, c, height, width)
    source_y = _source_coordinates(d, e, f, height, width)
    inside = ops.logical_and(
        ops.logical_and(ops.greater_equal(source_x, 0), ops.less(source_x, width)),
        ops.logical_and(ops.greater_equal(source_y, 0), ops.less(source_y, height)),
    )
    first = ops.arange(count, dtype="int32") * (height * width)
    source = ops.reshape(first, (-1, 1, 1)) + source_y * width + source_x
    # The gray pixel behind the last image stands for everything outside.
    source = ops.where(inside, source, count * (height * width))
    pixels = ops.concatenate(
        [
            ops.reshape(images, (-1, channels)),
            ops.full((1, channels), FILL_VALUE, dtype="uint8"),
        ],
        axis=0,
    )
    moved = ops.take(pixels, ops.reshape(source, (-1,)), axis=0)
    return ops.reshape(moved, (-1, height, width, channels))


def per_image(values: Tensor) -> Tensor:
    """Gives a vector with one value per image the rank of a batch of images.

    Args:
        values: Tensor of shape `(n,)`.

    Returns:
        Tensor of shape `(n, 1, 1, 1)`.
    """
    return ops.reshape(values, (-1, 1, 1, 1))


def _source_coordinates(
    of_x: Tensor, of_y: Tensor, offset: Tensor, height: int, width: int
) -> Tensor:
    """Computes one source coordinate of every pixel, int32 `(n, height, width)`."""
    start = _fixed_point(offset + (of_x + of_y) * 0.5)
    columns = ops.reshape(ops.arange(width, dtype="int32"), (1, 1, -1))
    rows = ops.reshape(ops.arange(height, dtype="int32"), (1, -1, 1))
    along_x = ops.reshape(_fixed_point(of_x), (-1, 1, 1)) * columns
    along_y = ops.reshape(_fixed_point(of_y), (-1, 1, 1)) * rows
    point = along_x + (along_y + ops.reshape(start, (-1, 1, 1)))
    return ops.right_shift(point, _FRACTION_BITS)


def _fixed_point(values: Tensor) -> Tensor:
    return ops.cast(ops.floor(values * 2.0**_FRACTION_BITS + 0.5), "int32")


def luminance(images: Tensor) -> Tensor:
    """Computes the gray level, int32 `(n, height, width, 1)`, with Pillow's weights."""
    values = ops.cast(images, "int32")
    if images.shape[-1] == 1:
        return values
    red, green, blue = values[..., 0:1], values[..., 1:2], values[..., 2:3]
    weighted = red * 19595 + green * 38470 + blue * 7471 + 32768
    return ops.right_shift(weighted, 16)


def _blend(degenerate: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """Mixes two images as Pillow does; `factor` 0 is `degenerate`, 1 is `images`."""
    start = ops.cast(degenerate, "float32")
    return _mix(start, ops.cast(images, "float32"), per_image(factor))


def _mix(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    return ops.cast(ops.clip(start + share * (end - start), 0.0, 255.0), "uint8")
