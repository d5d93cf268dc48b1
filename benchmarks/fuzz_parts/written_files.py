"""Image files written byte by byte, of kinds that Pillow does not write.

What is in them is known without reading them.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# What PNG calls 1 to 4 bands.
_PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
UNCOMPRESSED, DEFLATED = 1, 8
# The tag that says where the pixels are.
_STRIP = 273
# Values by tag, with the letter of their type in `struct`.
Fields = dict[int, tuple[str, tuple[int, ...]]]


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of pixels, uint8 or uint16 `(h, w, 1 to 4)`."""
    height, width, bands = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    rows = b"".join(b"\0" + _bytes(row, ">") for row in pixels)
    header = (width, height, bits, _PNG_COLOURS[bands], 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", *header)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ):
        file += struct.pack(">I", len(data)) + kind + data
        file += struct.pack(">I", zlib.crc32(kind + data))
    return file


@dataclass(frozen=True)
class Page:
    """A page of a TIFF file.

    Attributes:
        pixels: Of any type, `(h, w, bands)`.
        interpretation: 0 where 0 is white, 1 for gray, 2 for RGB, 5 for inks.
        extra: What the bands beyond those are: 0 not said, 1 or 2 transparency.
        compression: One of the constants above.
        predicted: Whether each value is stored as the difference to the one before.
        planar: Whether each band is stored by itself.
        subfile: 1 for a thumbnail of another page, else 0.
    """

    pixels: np.ndarray = field(repr=False)
    interpretation: int
    extra: Sequence[int] = ()
    compression: int = UNCOMPRESSED
    predicted: bool = False
    planar: bool = False
    subfile: int = 0


def tiff(pages: Sequence[Page], order: str = "<", is_big: bool = False) -> bytes:
    """A TIFF file of pages, a strip each.

    Args:
        pages: The pages.
        order: `"<"` or `">"`, which byte of a number comes first.
        is_big: Whether places are numbers of 8 bytes.
    """
    place, number = ("Q", 8) if is_big else ("L", 4)
    file = (b"II" if order == "<" else b"MM") + struct.pack(
        f"{order}HHHQ" if is_big else f"{order}HL",
        *((43, 8, 0, 16) if is_big else (42, 8)),
    )
    for index, page in enumerate(pages):
        strips = _strips(page, order)
        data = b"".join(strips)
        fields = _fields(page, strips)
        count = struct.pack(f"{order}{'Q' if is_big else 'H'}", len(fields))
        table = len(count) + len(fields) * (4 + 2 * number) + number
        behind, entries = b"", b""
        for tag, (kind, values) in sorted(fields.items()):
            if tag == _STRIP:
                # It stands behind all values, of which the length does not depend on
                # where that is.
                place_of_first = len(file) + table + _behind(fields, number)
                values = tuple(
                    place_of_first + sum(map(len, strips[:n]))
                    for n in range(len(strips))
                )
            packed = struct.pack(f"{order}{len(values)}{kind}", *values)
            entries += struct.pack(f"{order}HH", tag, {"H": 3, "L": 4}[kind])
            entries += struct.pack(f"{order}{place}", len(values))
            if len(packed) > number:
                packed, behind = (
                    struct.pack(f"{order}{place}", len(file) + table + len(behind)),
                    behind + packed,
                )
            entries += packed.ljust(number, b"\0")
        strip = len(file) + table + len(behind)
        after = strip + len(data) + len(data) % 2
        following = after if index + 1 < len(pages) else 0
        file += count + entries + struct.pack(f"{order}{place}", following)
        file += behind + data + bytes(len(data) % 2)
    return file


def _behind(fields: Fields, number: int) -> int:
    """The length of all values that do not fit into their entries."""
    sizes = (len(values) * {"H": 2, "L": 4}[kind] for kind, values in fields.values())
    return sum(size for size in sizes if size > number)


def _fields(page: Page, strips: Sequence[bytes]) -> Fields:
    height, width, bands = page.pixels.shape
    kind = page.pixels.dtype.kind
    fields: Fields = {
        254: ("L", (page.subfile,)),
        256: ("L", (width,)),
        257: ("L", (height,)),
        258: ("H", (8 * page.pixels.dtype.itemsize,) * bands),
        259: ("H", (page.compression,)),
        262: ("H", (page.interpretation,)),
        _STRIP: ("L", (0,) * len(strips)),
        277: ("H", (bands,)),
        278: ("L", (height,)),
        279: ("L", tuple(map(len, strips))),
        284: ("H", (2 if page.planar else 1,)),
        339: ("H", ({"u": 1, "i": 2, "f": 3}[kind],) * bands),
    }
    if page.predicted:
        fields[317] = ("H", (2,))
    if page.extra:
        fields[338] = ("H", tuple(page.extra))
    return fields


def _strips(page: Page, order: str) -> list[bytes]:
    """The pixels as they are stored: all bands together, or each by itself."""
    if not page.planar:
        return [_strip(page, page.pixels, order)]
    bands = range(page.pixels.shape[-1])
    return [_strip(page, page.pixels[..., [band]], order) for band in bands]


def _strip(page: Page, pixels: np.ndarray, order: str) -> bytes:
    if page.predicted:
        before = np.zeros_like(pixels)
        before[:, 1:] = pixels[:, :-1]
        pixels = pixels - before
    data = _bytes(pixels, order)
    return zlib.compress(data) if page.compression == DEFLATED else data


def _bytes(pixels: Any, order: str) -> bytes:
    data: bytes = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    return data
