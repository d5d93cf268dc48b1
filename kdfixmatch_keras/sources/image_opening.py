"""Opening image files, which are never trusted."""

import contextlib
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO

from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from kdfixmatch_keras.sources import file_kinds
from kdfixmatch_keras.sources.image_files import printable

# What Pillow warns of: beyond it lies twice that, which it refuses.
MAX_PIXELS = 89_478_485
_TOO_LARGE = "more pixels than are read; make it smaller"

# Bytes that are read at a time, as a length cannot be trusted either.
_BLOCK = 1 << 20
_HEAD = 64

# What the tags of a TIFF file say.
_BITS, _INTERPRETATION, _BANDS, _SAMPLE_FORMAT = 258, 262, 277, 339
_FORMATS_OF_SAMPLES = {2: "signed", 3: "floating-point", 4: "untyped", 5: "complex"}


class Refused(ValueError):
    """An image file that is not read; the message says why, in words for a user."""


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
def opened(file: Path) -> Iterator[tuple[BinaryIO, ImageFile.ImageFile]]:
    """Opens what is an image file and not too large, before it is decoded.

    Args:
        file: Path of the image.

    Yields:
        The file, and the image in it.

    Raises:
        Refused: If its name is not valid UTF-8, it is no regular file, none of the
            formats that are read, or has more than `MAX_PIXELS` pixels.
        OSError: If it cannot be read. Pillow raises others too.
    """
    if printable(file) != str(file):
        raise Refused("its name is not valid UTF-8; rename it")
    # To open a named pipe would wait for ever.
    if not stat.S_ISREG(os.stat(file).st_mode):
        raise Refused("not a regular file")
    # Pillow maps what it opens by name into memory, and a mapped file that is cut
    # short ends the process.
    with open(file, "rb") as stream, identified(stream) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Refused(
                f"{image.width} x {image.height} pixels, more than the {MAX_PIXELS:,} "
                "that are read; make it smaller"
            )
        if image.width < 1 or image.height < 1:
            raise Refused("it has no pixels")
        try:
            yield stream, image
        # That of a frame or a tile.
        except Image.DecompressionBombError:
            raise Refused(_TOO_LARGE) from None


def identified(stream: BinaryIO) -> ImageFile.ImageFile:
    """The image in an open file, which is read from its beginning.

    Raises:
        Refused: It is none that is read, or too large.
    """
    stream.seek(0)
    try:
        return Image.open(stream, formats=file_kinds.FORMATS)
    except UnidentifiedImageError:
        stream.seek(0)
        head = stream.read(_HEAD)
        if not head:
            raise Refused("an empty file") from None
        kind = file_kinds.kind_of(head)
        if kind == file_kinds.HEIC and file_kinds.can_read_heic():
            return _heic(stream)
        raise Refused(_why_not(kind, stream)) from None
    except Image.DecompressionBombError:
        raise Refused(_TOO_LARGE) from None


def _heic(stream: BinaryIO) -> ImageFile.ImageFile:
    # Not registered with Pillow, which would change what other code of the program
    # reads.
    import pillow_heif

    # It has no type information.
    opener: Any = pillow_heif.HeifImageFile
    stream.seek(0)
    image: ImageFile.ImageFile = opener(stream)
    return image


def _why_not(kind: str, stream: BinaryIO) -> str:
    """Why a file cannot be read of which Pillow knows nothing."""
    if kind == file_kinds.HEIC:
        return f"HEIC; {file_kinds.HEIC_REMEDY}"
    if kind == "TIFF":
        return _why_not_tiff(stream)
    if kind.upper() in file_kinds.FORMATS:
        rare = " of 12 bits or of another rare kind" if kind == "JPEG" else ""
        return f"a damaged {kind}" + (f", or one{rare}" if rare else "")
    if kind:
        return f"{kind}; {file_kinds.READ} are read"
    return f"not an image: {file_kinds.READ} are read"


def _why_not_tiff(stream: BinaryIO) -> str:
    try:
        tags = _first_page(stream)
        bits = int(max(tags[_BITS]))
        kind = _FORMATS_OF_SAMPLES.get((tags.get(_SAMPLE_FORMAT) or (1,))[0], "")
        bands = tags.get(_BANDS, 1)
        inverted = " whose white is 0" if tags.get(_INTERPRETATION) == 0 else ""
        noun = "band" if bands == 1 else "bands"
        what = f"{kind} TIFF".strip() + f" with {bands} {noun} of {bits} bits{inverted}"
    # Of a damaged file, parsing this raises anything.
    except Exception:
        return "a TIFF that is damaged, or of a rare kind"
    which = "1 or 3 of them" if bands > 1 else "it"
    return f"a {what}, of a kind that is not read; save {which} as PNG"


def tags_of(image: ImageFile.ImageFile) -> Mapping[int, Any]:
    """The tags of the page of a TIFF file, none of another file."""
    return image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}


def values_of(image: ImageFile.ImageFile, tag: int) -> tuple[Any, ...]:
    """The values of a tag of a TIFF file, none where it lacks the tag."""
    found = tags_of(image).get(tag, ())
    return found if isinstance(found, tuple) else (found,)


def _first_page(stream: BinaryIO) -> TiffImagePlugin.ImageFileDirectory_v2:
    """The tags of the first page of a TIFF; of a damaged file, it raises anything."""
    stream.seek(0)
    head = stream.read(8)
    if head[2:4] in (b"\0+", b"+\0"):
        head += stream.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(head)
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def check_sums(png: IO[bytes]) -> None:
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
