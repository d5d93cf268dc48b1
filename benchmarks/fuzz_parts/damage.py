"""Ways to damage bytes, as a generator of random numbers draws, and what to demand."""

import re
import struct
import zlib
from random import Random
from typing import Any

BYTES = "flip,flip some,overwrite,cut,insert,repeat,remove,splice".split(",")
IMAGES = [*BYTES, "edit a field"]
_NUMBERS = [0, 1, 2, 3, 4, 5, 6, 8, 16, 17, 0x22, 33, 64, 100, 255]
_SIZES = [*_NUMBERS, 1000, 30_000, 2**16, 2**20, 2**31 - 1]
# What begins the segments of a JPEG file whose numbers matter.
_SEGMENTS = re.compile(rb"\xff[\xc0-\xc2\xc4\xda\xdb\xdd\xe0\xe1]")


class Wrong(AssertionError):
    """What must not happen."""


def demand(holds: Any, otherwise: str) -> None:
    """Raises `Wrong` where something does not hold."""
    if not holds:
        raise Wrong(otherwise)


def damaged(kind: str, random: Random, data: bytes, other: bytes) -> bytes:
    """A file damaged in one of the ways `IMAGES`, perhaps with parts of another."""
    if kind in ("flip", "flip some"):
        changed = bytearray(data)
        for _ in range(1 if kind == "flip" else random.randint(2, 8)):
            changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
        return bytes(changed)
    if kind == "edit a field":
        return _edit_field(random, data)
    start = random.randrange(len(data))
    stop = min(len(data), start + random.randint(1, random.choice([16, 256])))
    fill = random.choice([b"\0", b"\xff", b"\x7f", random.randbytes(1)])
    noise = random.choice([random.randbytes(stop - start), fill * (stop - start)])
    before, within, after = data[:start], data[start:stop], data[stop:]
    ways = {
        "overwrite": before + noise + after,
        "cut": before,
        "insert": before + noise + within + after,
        "repeat": before + within * random.randint(2, 4) + after,
        "remove": before + after,
        "splice": before + other[random.randrange(len(other)) :],
    }
    return ways[kind]


def _edit_field(random: Random, data: bytes) -> bytes:
    """Changes a size, a depth or a length of a PNG or JPEG file, checksum included."""
    is_png = data.startswith(b"\x89PNG")
    if is_png:
        numbers = [8, data.find(b"IDAT") - 4, data.find(b"IEND") - 4, 16, 20]
        position = random.choice([*numbers, *range(24, 29)])
        new = bytes([random.choice(_NUMBERS)])
        if position in numbers:
            new = struct.pack(">I", random.choice(_SIZES))
    else:
        # The fields of other formats stand at the beginning.
        position, value = random.randrange(min(len(data), 64)), random.randrange(256)
        if data.startswith(b"\xff\xd8"):
            starts = [found.start() for found in _SEGMENTS.finditer(data)]
            position = random.choice(starts) + random.randrange(2, 15)
            position, value = min(position, len(data) - 1), random.choice(_NUMBERS)
        new = bytes([value])
    data = data[:position] + new + data[position + len(new) :]
    if is_png:
        data = data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:]
    return data
