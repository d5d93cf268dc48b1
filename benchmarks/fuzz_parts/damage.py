"""Ways to damage bytes, as a generator of random numbers draws."""

import re
import struct
import zlib
from random import Random

BYTES = "flip,flip some,overwrite,cut,insert,repeat,remove,splice".split(",")
IMAGES = [*BYTES, "edit a field"]
_NUMBERS = [0, 1, 2, 3, 4, 5, 6, 8, 16, 17, 0x22, 33, 64, 100, 255]
_SIZES = [*_NUMBERS, 1000, 30_000, 2**16, 2**20, 2**31 - 1]
# What begins the segments of a JPEG file whose numbers matter.
_SEGMENTS = re.compile(rb"\xff[\xc0-\xc2\xc4\xda\xdb\xdd\xe0\xe1]")


def damaged(kind: str, random: Random, data: bytes, other: bytes) -> bytes:
    """A file damaged in its bytes.

    Args:
        kind: One of `IMAGES`.
        random: Draws where and how.
        data: The file.
        other: Another one to take parts from.
    """
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
    tail = {
        "overwrite": noise + data[stop:],
        "cut": b"",
        "insert": noise + data[start:],
        "repeat": data[start:stop] * random.randint(2, 4) + data[stop:],
        "remove": data[stop:],
        "splice": other[random.randrange(len(other)) :],
    }
    return data[:start] + tail[kind]


def _edit_field(random: Random, data: bytes) -> bytes:
    """Changes a size, a depth or a length of a PNG or JPEG file, checksum included."""
    if data.startswith(b"\x89PNG"):
        return _edit_png(random, data)
    # The fields of other formats stand at the beginning.
    position, value = random.randrange(min(len(data), 64)), random.randrange(256)
    if data.startswith(b"\xff\xd8"):
        starts = [found.start() for found in _SEGMENTS.finditer(data)]
        position = min(random.choice(starts) + random.randrange(2, 15), len(data) - 1)
        value = random.choice(_NUMBERS)
    return data[:position] + bytes([value]) + data[position + 1 :]


def _edit_png(random: Random, data: bytes) -> bytes:
    """Changes the length of a chunk, or a field of the header and its checksum."""
    lengths, sizes = [8, data.find(b"IDAT") - 4, data.find(b"IEND") - 4], [16, 20]
    position = random.choice([*lengths, *sizes, *range(24, 29)])
    new = bytes([random.choice(_NUMBERS)])
    if position in (*lengths, *sizes):
        new = struct.pack(">I", random.choice(_SIZES))
    data = data[:position] + new + data[position + len(new) :]
    return data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:]
