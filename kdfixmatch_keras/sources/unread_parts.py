"""What of an image file is not read: its other pages and bands."""

import re
import struct
from typing import BinaryIO

from PIL import Image, ImageFile

from kdfixmatch_keras.sources.image_opening import Refused, tags_of, values_of
from kdfixmatch_keras.sources.remarks import Found

# More than any stack of images has; a damaged file can have as many as it likes.
_MAX_PAGES = 100_000

# Tags of a TIFF file.
_SUBFILE, _INTERPRETATION, _BANDS, _PARTS, _EXTRA = 254, 262, 277, 330, 338
_LAYOUT, _BAND_BY_BAND, _DESCRIPTION = 284, 2, 270
# Its end, and the start of the next with what programs put in between.
_NEXT_JPEG = re.compile(rb"\xff\xd9[\0\r\n]{0,4096}\xff\xd8\xff")
# A page that shows another page, smaller or as a mask.
_REDUCED, _MASK = 1, 4
# What a fourth band is that is no more than transparency, 999 by one program.
_ALPHA = {1, 2, 999}
# Bands that make a pixel, by what they mean: gray, RGB, a palette, inks, luma and
# chroma, CIELab.
_USED = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}
_MEANING = {1: "bands of gray", 3: "bands of colour", 4: "bands of ink"}


def unread_parts(stream: BinaryIO, image: ImageFile.ImageFile) -> Found:
    """Which pages and bands a file has beside those that are read, and inks.

    Args:
        stream: The file. It is left where it was.
        image: The image in it, not yet decoded.

    Returns:
        Their numbers by kind, with those that are read; without those of which there
        are no more.

    Raises:
        Refused: What would be read is a thumbnail.
    """
    position = stream.tell()
    try:
        found = _parts(stream, image)
    finally:
        stream.seek(position)
    # Of which the colours are read without the profile that they were made for.
    return {**found, "inks": 1} if image.mode == "CMYK" else found


def _parts(stream: BinaryIO, image: ImageFile.ImageFile) -> Found:
    if image.format == "TIFF":
        return _of_tiff(stream, image)
    if image.format == "GIF":
        return _several("frames", _gif_frames(stream))
    if image.format == "JPEG":
        return _several("pictures", 1 + _jpegs_behind(stream))
    # Others know it from their header.
    kind = "frames" if image.format in ("PNG", "WEBP") else "pictures"
    return _several(kind, getattr(image, "n_frames", 1))


def _several(kind: str, number: int) -> Found:
    return {kind: number} if number > 1 else {}


def _of_tiff(stream: BinaryIO, image: ImageFile.ImageFile) -> Found:
    tags = tags_of(image)
    first, others = _tiff_pages(stream)
    if first & _REDUCED and (others or _PARTS in tags):
        raise Refused(
            "its first page is a thumbnail of the others, as in the raw files of "
            "cameras; save the image itself"
        )
    pages = 1 + sum(not page & (_REDUCED | _MASK) for page in others)
    # Of a large stack, ImageJ lists the first page alone.
    in_stack = re.match(r"ImageJ=.*\nimages=(\d{1,9})\n", str(tags.get(_DESCRIPTION)))
    pages = max(pages, int(in_stack[1])) if in_stack else pages
    bands: int = tags.get(_BANDS, 1)
    used = _USED.get(tags.get(_INTERPRETATION, -1), bands)
    has_alpha = bool(_ALPHA & set(values_of(image, _EXTRA)))
    if bands > used and tags.get(_LAYOUT) == _BAND_BY_BAND and _EXTRA not in tags:
        # Of which Pillow reads some wrongly.
        raise Refused(f"{bands} bands that are stored one by one; save it as PNG")
    found = dict(_several("pages", pages))
    # The kind of file that stores luma alone says that it has colour.
    if bands > used + has_alpha and used in _MEANING:
        found[_MEANING[used]] = bands
    return found


def _tiff_pages(stream: BinaryIO) -> tuple[int, list[int]]:
    """The NewSubfileType of the first page, and those of the others.

    A damaged list of pages ends where it cannot be read.
    """
    stream.seek(0)
    head = stream.read(16)
    order = "<" if head.startswith(b"II") else ">"
    is_big = head[2] == 43
    counts, entries, offsets = ("Q", "HHQ", "Q") if is_big else ("H", "HHL", "L")
    size, width = struct.calcsize(order + entries), 8 if is_big else 4
    found: list[int] = []
    seen: set[int] = set()
    try:
        (place,) = struct.unpack_from(order + offsets, head, 8 if is_big else 4)
        while place and place not in seen and len(found) < _MAX_PAGES:
            seen.add(place)
            stream.seek(place)
            count_size = struct.calcsize(order + counts)
            (count,) = struct.unpack(order + counts, stream.read(count_size))
            page = stream.read(min(count, 1 << 16) * (size + width))
            kind = 0
            for at in range(0, len(page), size + width):
                if struct.unpack_from(order + "H", page, at)[0] == _SUBFILE:
                    (kind,) = struct.unpack_from(order + "L", page, at + size)
            found.append(kind)
            (place,) = struct.unpack(order + offsets, stream.read(width))
    except (struct.error, OverflowError, ValueError):
        pass
    return (found[0], found[1:]) if found else (0, [])


def _jpegs_behind(stream: BinaryIO) -> int:
    """How many JPEG files follow the first, as in a film of a webcam."""
    stream.seek(0)
    return len(_NEXT_JPEG.findall(stream.read()))


def _gif_frames(stream: BinaryIO) -> int:
    """Counts without touching the image that will be decoded."""
    stream.seek(0)
    try:
        with Image.open(stream, formats=["GIF"]) as other:
            return getattr(other, "n_frames", 1)
    # The first frame, which is the one that is read, may be whole where another is
    # damaged, and then this raises anything.
    except Exception:
        return 1
