"""The pixels of image files of 16 bits, of which Pillow keeps 8 where they have colour.

Pillow has no image of three bands of 16 bits. It reads the high bytes of such a file;
read as if the two bytes of each value were exchanged, it gives the low ones.
"""

import sys
from typing import Any, BinaryIO

import numpy as np
from PIL import ImageFile

from kdfixmatch_keras.sources.image_opening import (
    Refused,
    identified,
    tags_of,
    values_of,
)
from kdfixmatch_keras.sources.intensity import Deep
from kdfixmatch_keras.sources.pixels import Images
from kdfixmatch_keras.sources.remarks import is_extra_band

_BITS, _INTERPRETATION, _WHITE_IS_ZERO = 258, 262, 0
_LAYOUT, _BAND_BY_BAND = 284, 2
_LITTLE, _BIG = ";16L", ";16B"
_EXCHANGED = {
    _LITTLE: _BIG,
    _BIG: _LITTLE,
    # Native, as the library for TIFF gives them.
    ";16N": _BIG if sys.byteorder == "little" else _LITTLE,
}
# Gray and transparency of 16 bits, as Pillow calls it in a PNG file.
_GRAY_WITH_ALPHA = "LA;16B"


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether an image, not yet decoded, has more than 8 bits for a value."""
    if image.mode == "F":
        return False
    if image.mode.startswith("I"):
        return True
    if image.format == "TIFF":
        # Not how Pillow would read them, which may be wrong.
        return max(values_of(image, _BITS), default=1) > 8
    return image.format == "PNG" and ";16" in _layout(image)


def is_deep_gray(image: ImageFile.ImageFile) -> bool:
    """Whether a deep image, not yet decoded, is without colour."""
    return image.mode.startswith("I") or _layout(image) == _GRAY_WITH_ALPHA


def deep_pixels(
    stream: BinaryIO, image: ImageFile.ImageFile, found: dict[str, int]
) -> Deep:
    """Decodes a deep image.

    Args:
        stream: The file.
        image: The image in it, not yet decoded. It is used up.
        found: Gets what is dropped of it; see `remarks`.

    Returns:
        uint16 array of shape (height, width), or (height, width, 3) of a colour image,
        without transparency, of white being 0 if the file says so.

    Raises:
        Refused: If its values do not fit 16 bits, or it has colours of a kind that is
            not read.
        OSError: If it cannot be decoded. Pillow raises others too.
    """
    layout = _layout(image)
    if image.mode.startswith("I"):
        image.load()
        return _sixteen_bits(np.asarray(image))
    if layout == _GRAY_WITH_ALPHA:
        # Four bytes a pixel, whatever they mean.
        _set_layout(image, "RGBA")
        image.load()
        bands = np.asarray(image)
        _note_transparency(bands[..., 2], found)
        return _joined(bands[..., 0], bands[..., 1])
    kind, _, order = layout.partition(";")
    if tags_of(image).get(_LAYOUT) == _BAND_BY_BAND:
        # Pillow takes one byte for a value, or the same one whatever it is told.
        raise Refused("16-bit colours that are stored band by band; save it as PNG")
    if kind not in ("RGB", "RGBA", "RGBX"):
        raise Refused(f"16-bit colours of the kind {kind}; save it as RGB")
    with identified(stream) as again:
        image.load()
        if kind == "RGBA" and not is_extra_band(found):
            _note_transparency(np.asarray(image)[..., 3], found)
        _set_layout(again, kind + _EXCHANGED[f";{order}"])
        again.load()
        return _joined(np.asarray(image)[..., :3], np.asarray(again)[..., :3])


def is_white_zero(image: ImageFile.ImageFile) -> bool:
    """Whether 0 is white in a deep image, which Pillow leaves to others."""
    return tags_of(image).get(_INTERPRETATION) == _WHITE_IS_ZERO


def _layout(image: ImageFile.ImageFile) -> str:
    """How Pillow says that the pixels lie in the file."""
    if not image.tile:
        return ""
    arguments = image.tile[0][3] or ("",)
    return str(arguments if isinstance(arguments, str) else arguments[0])


def _set_layout(image: ImageFile.ImageFile, layout: str) -> None:
    """Has Pillow read the pixels as if they lay otherwise."""
    tiles: list[Any] = []
    for tile in image.tile:
        arguments = tile[3]
        rest = () if isinstance(arguments, str) else (arguments or ())[1:]
        changed = (layout, *rest) if rest else layout
        # Plain tuples in older versions.
        is_named = hasattr(tile, "_replace")
        tiles.append(tile._replace(args=changed) if is_named else (*tile[:3], changed))
    image.tile = tiles


def _note_transparency(opacity: Images, found: dict[str, int]) -> None:
    if opacity.min() < 255:
        found["transparency"] = 1


def _joined(high: Images, low: Images) -> Deep:
    # In place, as a large image takes a third of a gigabyte for each of its copies.
    pixels = high.astype(np.uint16)
    pixels <<= 8
    pixels |= low
    return pixels


def _sixteen_bits(pixels: np.ndarray) -> Deep:
    if pixels.dtype.kind == "i":
        if pixels.min() < 0:
            raise Refused("pixels below 0; add a constant and save it as 16 bits")
        if pixels.max() > 0xFFFF:
            raise Refused("pixels beyond 16 bits; save it as 8 or 16 bits")
    return pixels.astype(np.uint16)
