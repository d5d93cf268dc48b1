"""Reading image files, which are never trusted, as 8-bit grayscale or RGB pixels."""

import contextlib
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from kdfixmatch_keras.sources.image_files import printable
from kdfixmatch_keras.sources.pixels import Images, resize_picture

# Those of `EXTENSIONS`. Pillow knows fifty more, and starts Ghostscript for one.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")

# What Pillow warns of: beyond it lies twice that, which it refuses.
MAX_PIXELS = 89_478_485
_TOO_LARGE = "more pixels than are read; make it smaller"

# Bytes that are read at a time, as a length cannot be trusted either.
_BLOCK = 1 << 20

_GRAY = ("1", "L", "LA", "La")
_COLOR = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")

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


class Refused(ValueError):
    """An image file that is not read; the message says why, in words for a user."""


def read_header(file: Path) -> tuple[tuple[int, int], bool]:
    """Reads the size and kind of an image without decoding it.

    Args:
        file: Path of the image.

    Returns:
        `(height, width)` of what `read_pixels` returns, and whether the image has
        colour.

    Raises:
        Refused: If its name is not valid UTF-8, it is no regular file, none of the
            formats that are read, or has more than `MAX_PIXELS` pixels.
        OSError: If it cannot be read. Pillow raises others too.
    """
    with _opened(file) as image:
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            # Pillow may have exchanged them, and will turn the pixels.
            width, height = (image.tag_v2[tag] for tag in (256, 257))
        if _orientation(image) in _TRANSPOSED:
            width, height = height, width
        return (height, width), not _is_gray(image.mode)


def read_pixels(file: Path, channels: int | None = None) -> Images:
    """Decodes an image, upright as its EXIF orientation has it.

    Args:
        file: Path of the image.
        channels: 1 to reduce colour to grayscale, which takes less memory before the
            pixels are an array than after. `None` or 3: as the image has them.

    Returns:
        uint8 array of shape (height, width, 1), or (height, width, 3) if the image
        has colour and `channels` is not 1. It may be read-only.

    Raises:
        Refused: If its pixels have no 8-bit meaning, or as for `read_header`.
        OSError: If it cannot be decoded. Pillow raises others too.
    """
    return read_resized(file, channels)[1]


def read_resized(
    file: Path, channels: int | None = None, size: tuple[int, int] | None = None
) -> tuple[tuple[int, int], Images]:
    """Decodes an image as `read_pixels` does, and resizes it.

    Args:
        file: Path of the image.
        channels: As for `read_pixels`.
        size: `(height, width)` in pixels of the result, or `None` for its own.

    Returns:
        Its own `(height, width)`, upright, and its pixels as `read_pixels` gives them.

    Raises:
        Refused: As for `read_pixels`.
        OSError: As for `read_pixels`.
    """
    with _opened(file) as image:
        orientation = _orientation(image)
        if image.format == "PNG" and image.fp is not None:
            _check_sums(image.fp)
        _check_mode(image.mode)
        image.load()
        if image.format == "TIFF":
            # What Pillow did not turn while it decoded.
            orientation = _orientation(image)
        picture = _decoded(image, channels)
        if orientation in _TURNS:
            picture = picture.transpose(_TURNS[orientation])
        own = (picture.height, picture.width)
        # An array in between would be one copy more.
        pixels = np.asarray(picture if size is None else resize_picture(picture, size))
    return own, pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


@contextlib.contextmanager
def strict_reading() -> Iterator[None]:
    """Keeps Pillow from making up pixels, and from speaking of what it could read.

    `PIL.ImageFile.LOAD_TRUNCATED_IMAGES`, which other code of the program may have
    set, fills with gray what a damaged file lacks. It is of the whole process: while
    several threads read, it is changed once, and put back when the last one is done.

    The warnings of Pillow are about files that it could read nevertheless. Filters of
    warnings are of the whole process too, and are changed by the main thread alone: two
    threads that both put them back would leave those of the other.
    """
    in_main = threading.current_thread() is threading.main_thread()
    with _no_gray, warnings.catch_warnings() if in_main else contextlib.nullcontext():
        if in_main:
            warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


class _NoGray:
    """Counts the threads that read, and turns the filling off for the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._before = False

    def __enter__(self) -> None:
        with self._lock:
            if self._readers == 0:
                self._before = ImageFile.LOAD_TRUNCATED_IMAGES
                ImageFile.LOAD_TRUNCATED_IMAGES = False
            self._readers += 1

    def __exit__(self, *exception: Any) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._before


_no_gray = _NoGray()


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[ImageFile.ImageFile]:
    """Opens what is an image file and not too large, before it is decoded."""
    if printable(file) != str(file):
        raise Refused("its name is not valid UTF-8; rename it")
    # To open a named pipe would wait for ever.
    if not stat.S_ISREG(os.stat(file).st_mode):
        raise Refused("not a regular file")
    # Pillow maps what it opens by name into memory, and a mapped file that is cut
    # short ends the process.
    with open(file, "rb") as stream, _identified(stream) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Refused(
                f"{image.width} x {image.height} pixels, more than the {MAX_PIXELS:,} "
                "that are read; make it smaller"
            )
        if image.width < 1 or image.height < 1:
            raise Refused("it has no pixels")
        try:
            yield image
        # That of a frame or a tile.
        except Image.DecompressionBombError:
            raise Refused(_TOO_LARGE) from None


def _identified(stream: BinaryIO) -> ImageFile.ImageFile:
    try:
        return Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError:
        if os.fstat(stream.fileno()).st_size == 0:
            raise Refused("an empty file") from None
        raise Refused(
            "not an image: JPEG, PNG, BMP, GIF, WebP and TIFF are read"
        ) from None
    except Image.DecompressionBombError:
        raise Refused(_TOO_LARGE) from None


def _check_sums(png: IO[bytes]) -> None:
    """Compares the pixels of a PNG file with their checksums, which Pillow does not.

    It is left where it was. Where it ends too early, the decoder will say so.
    """
    position = png.tell()
    png.seek(8)
    was_data = False
    while len(head := png.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind != b"IDAT":
            if was_data:
                break
            png.seek(length + 4, os.SEEK_CUR)
            continue
        was_data = True
        checksum = zlib.crc32(kind)
        while length and (block := png.read(min(length, _BLOCK))):
            checksum = zlib.crc32(block, checksum)
            length -= len(block)
        expected = png.read(4)
        if len(expected) == 4 and int.from_bytes(expected, "big") != checksum:
            raise Refused("damaged: its pixels do not agree with their checksum")
    png.seek(position)


def _check_mode(mode: str) -> None:
    if mode == "F":
        raise Refused("floating-point pixels; save it as 8 or 16 bits")
    if mode not in _COLOR and not _is_gray(mode):
        raise Refused(f"colours of the kind {mode}; save it as RGB")


def _decoded(image: ImageFile.ImageFile, channels: int | None) -> Image.Image:
    """The pixels as they are stored, of mode L or RGB."""
    if image.mode.startswith("I"):
        return Image.fromarray(_high_byte(image))
    if _is_gray(image.mode):
        return image.convert("L")
    picture = _rgb(image)
    return picture.convert("L") if channels == 1 else picture


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "P" and "transparency" in image.info:
        # Straight to RGB, Pillow warns about what is dropped on purpose here.
        return image.convert("RGBA").convert("RGB")
    # Pillow would copy an image that is RGB already.
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_gray(mode: str) -> bool:
    return mode in _GRAY or mode.startswith("I")


def _high_byte(image: Image.Image) -> Images:
    pixels = np.asarray(image)
    if pixels.min() < 0 or pixels.max() > 0xFFFF:
        raise Refused("pixels beyond 16 bits; save it as 8 or 16 bits")
    if 0 < pixels.max() <= 0xFF:
        # As many programs write masks and labels; their high byte is black.
        raise Refused("8-bit pixels in a 16- or 32-bit file; save it as 8 bits")
    return (pixels >> 8).astype(np.uint8)


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
