"""Pixels as networks of this package take them."""

from typing import Any

from keras import ops


def to_uint8(views: Any, images: Any, argument: str) -> Any:
    """Rounds float pixels in [0, 255] to uint8; uint8 passes as it is.

    Keras's own augmentation layers return floats, and a cast alone would truncate.

    Args:
        views: What a layer made of `images`.
        images: uint8 `(n, H, W, C)`.
        argument: Name that the user knows the layer by.

    Raises:
        ValueError: `views` are of another shape than `images`.
    """
    if tuple(views.shape[1:]) != tuple(images.shape[1:]):
        raise ValueError(
            f"`{argument}` must return images of the shape it is given, "
            f"{tuple(images.shape[1:])}. Received: {tuple(views.shape[1:])}"
        )
    if str(getattr(views.dtype, "name", views.dtype)).endswith("uint8"):
        return views
    return ops.cast(ops.clip(ops.round(views), 0, 255), "uint8")
