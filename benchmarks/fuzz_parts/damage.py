"""Ways to damage bytes, each a function of what a generator of random numbers draws."""

import struct
import zlib
from collections.abc import Callable
from random import Random

# A file, and another one to take parts from.
Damage = Callable[[Random, bytes, bytes], bytes]


def _span(random: Random, data: bytes, most: int = 64) -> tuple[int, int]:
    start = random.randrange(len(data))
    return start, min(len(data), start + random.randint(1, most))


def flip(random: Random, data: bytes, other: bytes = b"") -> bytes:
    """Flips one bit."""
    changed = bytearray(data)
    changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def flip_some(random: Random, data: bytes, other: bytes = b"") -> bytes:
    """Flips up to eight bits."""
    for _ in range(random.randint(2, 8)):
        data = flip(random, data)
    return data


def overwrite(random: Random, data: bytes, other: bytes = b"") -> bytes:
    """Overwrites a few bytes."""
    start, stop = _span(random, data, 16)
    fill = random.choice([b"\0", b"\xff", b"\x7f", None])
    new = random.randbytes(stop - start) if fill is None else fill * (stop - start)
    return data[:start] + new + data[stop:]


def cut(random: Random, data: bytes, other: bytes = b"") -> bytes:
    """Cuts the end off."""
    return data[: random.randrange(len(data))]


def insert(random: Random, data: bytes, other: bytes = b"") -> bytes:
    """Inserts random bytes."""
    start, stop = _span(random, data)
    return data[:start] + random.randbytes(stop - start) + data[start:]


def duplicate(random: Random, data: bytes, other: bytes = b"") -> bytes:
    """Repeats a part."""
    start, stop = _span(random, data, 256)
    return data[:stop] + data[start:stop] * random.randint(1, 3) + data[stop:]


def remove(random: Random, data: bytes, other: bytes = b"") -> bytes:
    """Takes a part out."""
    start, stop = _span(random, data, 256)
    return data[:start] + data[stop:]


def splice(random: Random, data: bytes, other: bytes) -> bytes:
    """Goes on with another file in the middle."""
    return data[: random.randrange(len(data))] + other[random.randrange(len(other)) :]


def edit_field(random: Random, data: bytes, other: bytes = b"") -> bytes:
    """Changes a size, a depth or a length of a PNG or JPEG file, checksums included."""
    if data.startswith(b"\x89PNG"):
        return _edit_png(random, data)
    if data.startswith(b"\xff\xd8"):
        return _edit_jpeg(random, data)
    # Those of the other formats stand at the beginning.
    position = random.randrange(min(len(data), 64))
    return data[:position] + random.randbytes(1) + data[position + 1 :]


def _edit_png(random: Random, data: bytes) -> bytes:
    header = bytearray(data[16:29])
    field = random.randrange(6)
    if field < 2:
        size = random.choice([0, 1, 5, 33, 1000, 30_000, 2**20, 2**31 - 1])
        header[4 * field : 4 * field + 4] = struct.pack(">I", size)
    elif field < 5:
        position = random.choice([8, 9, 10, 11, 12])
        header[position] = random.choice([0, 1, 2, 3, 4, 6, 8, 16, 255])
    else:
        # The length of some chunk.
        position = 8
        for _ in range(random.randrange(4)):
            length = int.from_bytes(data[position : position + 4], "big")
            if position + 12 + length + 12 > len(data):
                break
            position += 12 + length
        wrong = struct.pack(">I", random.choice([0, 1, 100, 2**16, 2**31 - 1]))
        return data[:position] + wrong + data[position + 4 :]
    checksum = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return data[:16] + bytes(header) + checksum + data[33:]


def _edit_jpeg(random: Random, data: bytes) -> bytes:
    position, segments = 2, []
    while data[position : position + 1] == b"\xff" and position + 4 < len(data):
        marker = data[position + 1]
        segments.append((marker, position))
        if marker == 0xDA:
            break
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    frames = [start for marker, start in segments if marker in (0xC0, 0xC1, 0xC2)]
    if frames and random.random() < 0.6:
        # Precision, height, width, components, and how each of them is sampled.
        position = frames[0] + random.choice([4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14])
    else:
        position = random.choice(segments)[1] + random.choice([1, 2, 3])
    value = random.choice([0, 1, 2, 3, 4, 8, 17, 0x22, 64, 255])
    return data[:position] + bytes([value]) + data[position + 1 :]


BYTES: dict[str, Damage] = {
    damage.__name__: damage
    for damage in (
        flip,
        flip_some,
        overwrite,
        cut,
        insert,
        duplicate,
        remove,
        splice,
    )
}
IMAGES: dict[str, Damage] = {**BYTES, "edit_field": edit_field}
