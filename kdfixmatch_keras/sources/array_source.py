"""Images in a NumPy array or a memory-mapped file."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.sources.image_source import ImageSource
from kdfixmatch_keras.sources.pixels import (
    Images,
    check_channels,
    check_image_size,
    check_uint8,
    conform,
)

_OPAQUE = 255
# Images in which a fourth channel is looked for; all may be more than memory holds.
_LOOKED_AT = 8


class ArraySource(ImageSource):
    """Images in a NumPy array or `np.memmap`, which is never copied whole.

    Args:
        images: uint8 array of shape (N, H, W), grayscale, or (N, H, W, C) with C 1
            (grayscale), 3 (RGB) or 4 (RGBA, whose alpha is dropped). A shape
            (N, H, W) that looks like one image, W being 1, 3 or 4, or N 3 where
            `channels` is 3, is refused.
        image_size: `(height, width)`. Each batch is resized to it as it is read.
            `None`: the size of the array.
        channels: 1 or 3. `None`: those of the array.
        argument: Name that error messages give to `images`.

    Attributes:
        images: View of the array given, of shape (N, H, W, 1 or 3).
        has_fourth: Whether a fourth channel, which is more than opaque, was dropped.

    Raises:
        TypeError: If `images` is not a NumPy array.
        ValueError: If its shape or dtype is not one of those above, or it holds no
            image.
    """

    def __init__(
        self,
        images: npt.NDArray[Any],
        image_size: Sequence[int] | None = None,
        channels: int | None = None,
        *,
        argument: str = "images",
    ) -> None:
        """Checks the array, and reads some of its pixels."""
        size = check_image_size(image_size)
        channels = check_channels(channels)
        self.images = _channels_last(images, channels, argument)
        self.has_fourth = images.ndim == 4 and says_something(_some(images))
        height, width, own_channels = self.images.shape[1:]
        super().__init__((*(size or (height, width)), channels or own_channels))

    @property
    def notes(self) -> list[str]:
        """Whether a fourth channel, which is more than opaque, is dropped."""
        if not self.has_fourth:
            return []
        return ["they have 4 channels, the first 3 are read as red, green and blue"]

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.images)

    def _read(self, indices: npt.NDArray[np.int64]) -> Images:
        # Indexing a memmap gives a memmap; its subclass slows everything after it.
        return conform(np.asarray(self.images[indices]), self.image_shape)


def _channels_last(
    images: npt.NDArray[Any], channels: int | None, argument: str
) -> Images:
    """Checks an array and views it as (N, H, W, 1 or 3)."""
    if not isinstance(images, np.ndarray):
        raise TypeError(
            f"`{argument}` must hold its images in a NumPy array. Received: type="
            f"{type(images).__name__}. Convert it with `np.asarray`."
        )
    # Of objects and of text, the shape is not what is wrong.
    if images.dtype.kind in "OSU":
        check_uint8(images, argument)
    if images.ndim not in (3, 4):
        raise ValueError(
            f"`{argument}` must hold images of shape (N, H, W) or (N, H, W, C). "
            f"Received: shape={images.shape}. A single image is `image[None]`."
        )
    if len(images) == 0:
        raise ValueError(
            f"`{argument}` must hold at least one image. Received: shape={images.shape}"
        )
    if images.ndim == 3:
        _check_several(images.shape, channels, argument)
        images = images[..., np.newaxis]
    if 0 in images.shape:
        raise ValueError(
            f"`{argument}` must hold images of at least one pixel. Received: "
            f"shape={images.shape}"
        )
    if images.shape[-1] not in (1, 3, 4):
        remedy = "Keep the grayscale, RGB or RGBA channels."
        if images.shape[1] in (1, 3, 4):
            remedy = "Move the channels last with `images.transpose(0, 2, 3, 1)`."
        elif images.ndim == 4 and images.shape[2] in (1, 3, 4):
            # As MATLAB keeps them.
            remedy = "Move the images first with `images.transpose(3, 0, 1, 2)`."
        raise ValueError(
            f"`{argument}` must hold images of 1, 3 or 4 channels, channels last. "
            f"Received: shape={images.shape}. {remedy}"
        )
    check_uint8(images, argument)
    return images[..., :3]


def _some(images: Images) -> Images:
    """Some of the images, which are read."""
    rows = np.linspace(0, len(images) - 1, min(len(images), _LOOKED_AT)).astype(int)
    found: Images = images[rows]
    return found


def says_something(images: Images) -> bool:
    """Whether the fourth channel of images, if there is one, is not all opaque."""
    return bool((images[..., 3:] != _OPAQUE).any())


def _check_several(shape: tuple[int, ...], channels: int | None, argument: str) -> None:
    """Refuses (N, H, W) that is rather the shape of one image than of N gray ones."""
    if shape[-1] in (1, 3, 4):
        order, remedy = "(height, width, channels)", "image[None]"
    elif shape[0] == channels == 3:
        order, remedy = "(channels, height, width)", "image.transpose(1, 2, 0)[None]"
    else:
        return
    raise ValueError(
        f"`{argument}` must hold images of shape (N, H, W) or (N, H, W, C). Received: "
        f"shape={shape}, which looks like one image of shape {order}: pass "
        f"`{remedy}`. If it is {shape[0]} gray images, pass `images[..., None]`."
    )
