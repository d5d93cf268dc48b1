"""Checks and conversions of uint8 pixels that every kind of source shares."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from kdfixmatch_keras.checks import array_validation, validation
from kdfixmatch_keras.sources.pixel_ranges import not_uint8

Images = npt.NDArray[np.uint8]

# ITU-R 601 luma in 16-bit fixed point: bit for bit what Pillow's "L" mode computes.
_LUMA = np.array([19595, 38470, 7471], dtype=np.uint32)
_HALF = np.uint32(0x8000)


def check_image_size(image_size: Sequence[int] | None) -> tuple[int, int] | None:
    """Validates the `image_size` argument.

    Args:
        image_size: `(height, width)` in pixels, or `None` for the size of the data.

    Returns:
        `None`, or a tuple of two Python ints.

    Raises:
        ValueError: If `image_size` is not two positive integers.
    """
    return validation.check_size("image_size", image_size)


def check_channels(channels: int | None) -> int | None:
    """Validates the `channels` argument.

    Args:
        channels: 1 for grayscale, 3 for RGB, or `None` for those of the data.

    Returns:
        `channels`.

    Raises:
        ValueError: If `channels` is anything else.
    """
    if channels is None:
        return None
    whole = isinstance(channels, (int, np.integer)) and not isinstance(channels, bool)
    if not whole or channels not in (1, 3):
        raise ValueError(
            "`channels` must be 1 (grayscale), 3 (RGB) or None for those of the "
            f"data. Received: channels={channels!r}"
        )
    return int(channels)


def check_uint8(images: npt.NDArray[Any], argument: str) -> None:
    """Refuses pixels that are not uint8, and says how to convert them.

    Args:
        images: Array of any shape and dtype.
        argument: Name that the caller knows the data by.

    Raises:
        ValueError: If the dtype of `images` is not uint8.
    """
    if images.dtype == np.uint8:
        return
    first = images.flat[0] if images.size else None
    if isinstance(first, str | bytes | os.PathLike):
        raise ValueError(
            f"`{argument}` must hold uint8 images. Received: an array of text, such as "
            f"{str(first)!r}. Names of files are passed as a list: `images.tolist()`."
        )
    raise not_uint8([images], argument)


def resize(image: Images, size: tuple[int, int]) -> Images:
    """Resizes one image with Pillow's antialiased bilinear filter.

    Args:
        image: uint8 array of shape (h, w, c), with c 1 or 3.
        size: `(height, width)` of the result, in pixels.

    Returns:
        uint8 array of shape (height, width, c).

    Raises:
        ValueError: If an argument is not as described.
    """
    if check_image_size(size) is None:
        raise ValueError("`size` must be (height, width). Received: size=None")
    image = array_validation.check_array("image", image, "pixels")
    check_uint8(image, "image")
    if image.ndim != 3 or image.shape[-1] not in (1, 3) or 0 in image.shape:
        raise ValueError(
            "`image` must be one image of shape (h, w, c), with c 1 or 3. Received: "
            f"image.shape={image.shape}"
        )
    return _resized(image, size)


def _resized(image: Images, size: tuple[int, int]) -> Images:
    """`resize` of what has been checked."""
    if image.shape[:2] == tuple(size):
        return image
    plain = image[..., 0] if image.shape[-1] == 1 else image
    picture = resize_picture(Image.fromarray(np.ascontiguousarray(plain)), size)
    return np.asarray(picture, dtype=np.uint8).reshape(*size, image.shape[-1])


def resize_picture(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """`resize` for what Pillow holds, of mode L or RGB; itself if it has that size."""
    if picture.size == (size[1], size[0]):
        return picture
    return picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def convert_channels(images: Images, channels: int) -> Images:
    """Converts between grayscale and RGB.

    Args:
        images: uint8 array of shape (..., c), with c 1 or 3.
        channels: 1 or 3.

    Returns:
        uint8 array of shape (..., channels); `images` itself if c is `channels`.
    """
    if images.shape[-1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    luma = (images.astype(np.uint32) @ _LUMA + _HALF) >> np.uint32(16)
    return luma.astype(np.uint8)[..., np.newaxis]


def conform(images: Images, image_shape: tuple[int, int, int]) -> Images:
    """Brings a batch of images to one shape: channels first, then size.

    Args:
        images: uint8 array of shape (n, h, w, c), with c 1 or 3.
        image_shape: `(height, width, channels)` of the result.

    Returns:
        uint8 array of shape (n, height, width, channels).
    """
    images = convert_channels(images, image_shape[2])
    if images.shape[1:3] == image_shape[:2]:
        return images
    result = np.empty((len(images), *image_shape), dtype=np.uint8)
    for position, image in enumerate(images):
        result[position] = _resized(image, image_shape[:2])
    return result
