"""Reading image files, which are never trusted, as 8-bit grayscale or RGB pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

from kdfixmatch_keras.sources import deep_pixels
from kdfixmatch_keras.sources.image_opening import (
    Refused,
    check_sums,
    opened,
    values_of,
)
from kdfixmatch_keras.sources.intensity import (
    MAX_BEYOND,
    IntensityRange,
    Survey,
    share_beyond,
)
from kdfixmatch_keras.sources.pixels import Images, resize_picture
from kdfixmatch_keras.sources.remarks import Found, is_extra_band
from kdfixmatch_keras.sources.unread_parts import unread_parts

_GRAY = ("1", "L", "LA", "La")
_COLOR = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")

# Why a deep image is refused where those before had none.
NO_RANGE = (
    "16-bit pixels, where the images of training had 8 bits: which of them are white "
    "cannot be told; save it as 8 bits, scaled as those were"
)

# How to turn what is stored, by its EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Those that exchange rows and columns.
_TRANSPOSED = (5, 6, 7, 8)

# Where Pillow keeps the EXIF block: the second is that of PNG files of ImageMagick.
_EXIF = {"exif", "Raw profile type exif"}

# Whether the numbers of a TIFF file are signed.
_SAMPLE_FORMAT, _SIGNED = 339, 2


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an image file beside its pixels.

    Attributes:
        size: `(height, width)` in pixels, upright.
        has_colour: Whether the image has colour.
        is_deep: Whether it has more than 8 bits.
        found: What of the file is dropped or changed; see `remarks`.
        survey: The intensities of a deep image that was decoded without a range of
            them, else None.
    """

    size: tuple[int, int]
    has_colour: bool
    is_deep: bool
    found: Found
    survey: Survey | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """What is in an image file.

    Attributes:
        pixels: uint8 array of shape (height, width, 1 or 3), perhaps read-only; None
            of a deep image that was surveyed.
        facts: What else is known, its size before it was resized.
    """

    pixels: Images | None
    facts: Facts


def read_header(file: Path) -> Facts:
    """Reads the size and kind of an image without decoding it.

    Args:
        file: Path of the image.

    Raises:
        Refused: If its name is not valid UTF-8, it is no regular file, none of the
            formats that are read, or has more than `MAX_PIXELS` pixels.
        OSError: If it cannot be read. Pillow raises others too.
    """
    with opened(file) as (stream, image):
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            # Pillow may have exchanged them, and will turn the pixels.
            width, height = (image.tag_v2[tag] for tag in (256, 257))
        if _orientation(image) in _TRANSPOSED:
            width, height = height, width
        found = unread_parts(stream, image)
        is_deep = deep_pixels.is_deep(image)
        return Facts((height, width), not _is_gray(image), is_deep, found)


def read_pixels(
    file: Path, channels: int | None = None, intensities: IntensityRange | None = None
) -> Images:
    """Decodes an image, upright as its EXIF orientation has it.

    Args:
        file: Path of the image.
        channels: 1 to reduce colour to grayscale, which takes less memory before the
            pixels are an array than after. `None` or 3: as the image has them.
        intensities: Those of 16-bit pixels that become 0 and 255.

    Returns:
        uint8 array of shape (height, width, 1), or (height, width, 3) if the image
        has colour and `channels` is not 1. It may be read-only.

    Raises:
        Refused: If its pixels have no 8-bit meaning, they are deep and `intensities`
            is None, or as for `read_header`.
        OSError: If it cannot be decoded. Pillow raises others too.
    """
    return pixels_of(read_resized(file, channels, None, intensities))


def pixels_of(decoded: Decoded) -> Images:
    """The pixels of an image, of which the intensities must be known if it is deep.

    Raises:
        Refused: They are not.
    """
    if decoded.pixels is None:
        raise Refused(NO_RANGE)
    return decoded.pixels


def read_resized(
    file: Path,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    intensities: IntensityRange | None = None,
) -> Decoded:
    """Decodes an image as `read_pixels` does, and resizes it.

    Args:
        file: Path of the image.
        channels: As for `read_pixels`.
        size: `(height, width)` in pixels of the result, or `None` for its own.
        intensities: Those of 16-bit pixels that become 0 and 255; None to survey them.

    Raises:
        Refused: If more than `MAX_BEYOND` of the pixels of a deep image lie outside
            `intensities`, or as for `read_pixels`.
        OSError: As for `read_pixels`.
    """
    with opened(file) as (stream, image):
        found = dict(unread_parts(stream, image))
        orientation = _orientation(image)
        if orientation in _TURNS:
            found["turned"] = 1
        has_colour, is_deep = not _is_gray(image), deep_pixels.is_deep(image)
        if has_colour and channels == 1:
            found["colour"] = 1
        if image.format == "PNG" and image.fp is not None:
            check_sums(image.fp)
        survey, picture = None, None
        if not is_deep:
            _check_mode(image)
            image.load()
            picture = _decoded(image, channels, found)
        elif intensities is None:
            survey = Survey.of(deep_pixels.deep_pixels(stream, image, found))
        else:
            picture = _scaled(stream, image, intensities, found)
            picture = picture.convert("L") if channels == 1 else picture
        # Of TIFF, Pillow turned it while it decoded, or did not.
        orientation = _orientation(image) if image.format == "TIFF" else orientation
        width, height = image.size
        if orientation in _TRANSPOSED:
            width, height = height, width
        facts = Facts((height, width), has_colour, is_deep, found, survey)
        if picture is None:
            return Decoded(None, facts)
        if orientation in _TURNS:
            picture = picture.transpose(_TURNS[orientation])
        # An array in between would be one copy more.
        pixels = np.asarray(picture if size is None else resize_picture(picture, size))
    return Decoded(pixels if pixels.ndim == 3 else pixels[..., np.newaxis], facts)


def _scaled(
    stream: BinaryIO,
    image: ImageFile.ImageFile,
    intensities: IntensityRange,
    found: dict[str, int],
) -> Image.Image:
    """A deep image in 8 bits, of mode L or RGB."""
    is_white_zero = deep_pixels.is_white_zero(image)
    deep = deep_pixels.deep_pixels(stream, image, found)
    beyond = share_beyond(intensities, deep)
    if beyond > MAX_BEYOND:
        raise Refused(
            f"{beyond:.0%} of its 16-bit pixels lie beyond {intensities}, the "
            "intensities of the images of training; save it on the scale of those"
        )
    if beyond:
        found["beyond"] = 1
    gray = intensities.gray(deep)
    return Image.fromarray(255 - gray if is_white_zero else gray)


def _check_mode(image: ImageFile.ImageFile) -> None:
    mode = image.mode
    if mode == "F":
        raise Refused("floating-point pixels; save it as 8 or 16 bits")
    if mode not in _COLOR and not _is_gray(image):
        raise Refused(f"colours of the kind {mode}; save it as RGB")
    # Pillow takes them for positive ones.
    if _SIGNED in values_of(image, _SAMPLE_FORMAT):
        raise Refused("signed 8-bit pixels; save it as unsigned ones")


def _decoded(
    image: ImageFile.ImageFile, channels: int | None, found: dict[str, int]
) -> Image.Image:
    """The pixels as they are stored, of mode L or RGB."""
    if _has_transparency(image) and not is_extra_band(found):
        found["transparency"] = 1
    if _is_gray(image):
        return image.convert("L")
    picture = _rgb(image)
    return picture.convert("L") if channels == 1 else picture


def _has_transparency(image: Image.Image) -> bool:
    """Whether some pixel of a decoded image is not opaque."""
    if "transparency" in image.info:
        return True
    if image.mode not in ("LA", "La", "PA", "RGBA", "RGBa"):
        return False
    lowest, _ = image.getchannel(len(image.getbands()) - 1).getextrema()
    return isinstance(lowest, int) and lowest < 255


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "P" and "transparency" in image.info:
        # Straight to RGB, Pillow warns about what is dropped on purpose here.
        return image.convert("RGBA").convert("RGB")
    # Pillow would copy an image that is RGB already.
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_gray(image: ImageFile.ImageFile) -> bool:
    if image.mode in _GRAY or image.mode.startswith("I"):
        return True
    return deep_pixels.is_deep(image) and deep_pixels.is_deep_gray(image)


def _orientation(image: ImageFile.ImageFile) -> int:
    """The EXIF orientation, or 1 (upright) where none can be read."""
    # To ask each image would take time, and decode a PNG.
    if image.format != "TIFF" and not _EXIF & image.info.keys():
        return 1
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    # A photo remains one where this block is damaged, and parsing that raises anything.
    except Exception:
        return 1
    return found if isinstance(found, int) and found in _TURNS else 1
