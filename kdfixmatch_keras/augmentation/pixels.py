"""Pixels as networks of this package take them."""

from typing import Any

from keras import ops


def to_uint8(images: Any) -> Any:
    """Rounds float pixels in [0, 255] to uint8; uint8 passes as it is.

    Keras's own augmentation layers return floats, and a cast alone would truncate.
    """
    if str(getattr(images.dtype, "name", images.dtype)).endswith("uint8"):
        return images
    return ops.cast(ops.clip(ops.round(images), 0, 255), "uint8")
