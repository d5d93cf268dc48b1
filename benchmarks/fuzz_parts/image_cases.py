"""Damaged image files: decoded as they should be, or refused by name."""

import io
import re
import struct
import tempfile
import zlib
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from measuring import memory
from PIL import Image

from fuzz_parts import damage
from fuzz_parts.damage import Wrong, demand
from kdfixmatch_keras.sources import FolderSource
from kdfixmatch_keras.sources.file_reading import read_image, try_files
from kdfixmatch_keras.sources.image_decoding import read_header, read_pixels
from kdfixmatch_keras.sources.intensity import IntensityRange
from kdfixmatch_keras.sources.pixels import Images, convert_channels

# Files that one source reads together.
BATCH = 50
SIZE = (12, 10)
# Of 16-bit files, the high byte.
FULL = IntensityRange(0, 65535)
# Beyond what the process had before: an image of the largest size that is read takes a
# third of a gigabyte, and four bytes a pixel while its high byte is taken.
MAX_MEMORY = 2 << 30
# What of a reason differs between files.
_OWN = r"b'.*'|b\".*\"|\d[\d,]*"


class ImageCases:
    """Cases by number, in a new folder; the first `usual` are JPEG and PNG files."""

    def __init__(self, folder: Path, seed: int, usual: int) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.seed = seed
        self.usual = usual
        self._originals = {True: jpeg_and_png(), False: other_formats()}
        self._batch: dict[Path, bool] = {}
        self._memory = memory("VmHWM")
        (self.folder / "good.png").write_bytes(self._originals[True][-1])

    def run(self, case: int) -> str:
        """Tries a case, and says how it came out."""
        random = Random(f"{self.seed} image {case}")
        originals = self._originals[case < self.usual]
        original, other = random.choice(originals), random.choice(originals)
        kind = random.choice(damage.IMAGES)
        suffix = random.choice([".jpg", ".png", ".jpeg", ".tif", ".gif"])
        file = self.folder / f"{case:07}{suffix}"
        file.write_bytes(damage.damaged(kind, random, original, other))
        try:
            pixels, failure = _read(file)
            self._batch[file] = pixels is not None
            is_png = original.startswith(b"\x89PNG")
            if pixels is not None and (kind == "cut" or (kind == "flip" and is_png)):
                undamaged = self.folder / "original.png"
                undamaged.write_bytes(original)
                as_it_was = _in_full_range(undamaged)
                undamaged.unlink()
                demand(np.array_equal(pixels, as_it_was), "pixels were made up")
            if len(self._batch) == BATCH:
                self._check_batch(random)
            grown = memory("VmHWM") - self._memory
            if grown > MAX_MEMORY:
                self._memory += grown
                raise Wrong(f"the memory grew by {grown >> 20} MiB")
        except Wrong as error:
            if file not in self._batch:
                # Not in the way of the others.
                file.unlink(missing_ok=True)
            return f"wrong: {kind}: {error}"
        if pixels is not None:
            return "decoded"
        return f"refused: {re.sub(_OWN, '#', failure)[:70]}"

    def _check_batch(self, random: Random) -> None:
        """Reads many files as a source, and compares them with each alone."""
        batch, self._batch = self._batch, {}
        source = FolderSource(
            self.folder,
            SIZE,
            channels=random.choice([None, 1, 3]),
            cache_bytes=random.choice([0, 1 << 30]),
            on_error="skip",
            intensity_range=FULL,
        )
        kept = [file for file, is_readable in batch.items() if is_readable]
        kept.append(self.folder / "good.png")
        is_same = source.files == kept and source.names == [f.name for f in kept]
        demand(is_same, "a source keeps other files than can be read")
        is_same = set(source.skipped) == batch.keys() - set(kept)
        demand(is_same, "a source leaves out other files than cannot be read")
        images = source[np.arange(len(source))]
        for image, file in zip(images, kept, strict=True):
            is_same = np.array_equal(image, read_image(file, source.image_shape, FULL))
            demand(is_same, f"a row of a source is not {file.name}")
        for file in batch:
            file.unlink()


def _in_full_range(file: Path) -> Images:
    return read_pixels(file, None, FULL)


def _read(file: Path) -> tuple[Images | None, str]:
    """Pixels, or why there are none; both the same however often it is read."""
    ((_, header, _),) = try_files(read_header, [file])
    ((_, pixels, failure),) = try_files(_in_full_range, [file])
    ((_, again, _),) = try_files(_in_full_range, [file])
    ((_, gray, _),) = try_files(lambda path: read_pixels(path, 1, FULL), [file])
    is_same = (pixels is None) == (again is None) == (gray is None)
    demand(is_same, "it can be read only sometimes")
    if pixels is None or again is None or gray is None:
        is_reason = failure and "\n" not in failure and str(file) not in failure
        demand(is_reason, f"the reason is {failure!r}")
        return None, failure
    size = header and (*header.size, 3 if header.has_colour else 1)
    demand(pixels.shape == size, f"{header} has pixels {pixels.shape}")
    demand(pixels.dtype == np.uint8, f"its pixels are {pixels.dtype}")
    demand(np.array_equal(pixels, again), "its pixels differ when it is read again")
    is_same = np.array_equal(gray, convert_channels(pixels, 1))
    demand(is_same, "its gray pixels are not those of its colours")
    return pixels, ""


def _picture(height: int, width: int, seed: int) -> Image.Image:
    generator = np.random.default_rng(seed)
    slope = np.add.outer(np.arange(height) * 3, np.arange(width) * 4)[..., None]
    noise = generator.integers(0, 40, (height, width, 3))
    pixels = (slope * np.array([1, 2, 1]) + noise).clip(0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera"
    return exif


def jpeg_and_png() -> list[bytes]:
    """Undamaged files of the usual formats, in all their kinds."""
    color, small = _picture(20, 26, 0), _picture(9, 7, 1)
    deep = Image.fromarray(np.asarray(color)[..., 0].astype(np.uint16) * 200)
    palette = color.quantize(32)
    transparent = bytes(range(0, 256, 8))
    return [
        _saved(color, "JPEG"),
        _saved(color, "JPEG", progressive=True),
        _saved(small, "JPEG", subsampling=0, quality=95),
        _saved(color.convert("CMYK"), "JPEG"),
        _saved(color.convert("L"), "JPEG", optimize=True),
        _saved(color, "JPEG", exif=_exif(6)),
        _saved(color, "JPEG", exif=_exif(3), progressive=True, dpi=(72, 72)),
        _saved(color, "JPEG", restart_marker_blocks=1, comment=b"a comment"),
        _saved(palette, "PNG"),
        _saved(palette, "PNG", transparency=transparent),
        _saved(palette, "PNG", transparency=3, bits=8),
        _saved(color, "PNG", transparency=(1, 2, 3)),
        _saved(deep, "PNG"),
        _saved(color, "PNG", exif=_exif(8)),
        _saved(color, "PNG", save_all=True, append_images=[color.rotate(90)]),
        _interlaced(np.asarray(color)),
        *(_saved(color.convert(mode), "PNG") for mode in ("1", "L", "LA", "RGBA")),
        _saved(color, "PNG", compress_level=0),
    ]


def other_formats() -> list[bytes]:
    """Undamaged files of the formats that are rarer."""
    color = _picture(20, 26, 0)
    gray, rgba = color.convert("L"), color.convert("RGBA")
    return [
        _saved(color, "GIF"),
        _saved(gray, "GIF", save_all=True, append_images=[color] * 2),
        _saved(color, "WEBP"),
        _saved(color, "WEBP", lossless=True, exif=_exif(6)),
        _saved(rgba, "WEBP", save_all=True, append_images=[color]),
        _saved(color, "BMP"),
        _saved(color.quantize(16), "BMP"),
        _saved(color, "TIFF", exif=_exif(5)),
        _saved(gray, "TIFF", compression="tiff_lzw"),
        _saved(color, "TIFF", compression="jpeg"),
        _saved(color.convert("1"), "TIFF", compression="group4"),
        _saved(color, "TIFF", compression="tiff_adobe_deflate"),
    ]


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _interlaced(pixels: Images) -> bytes:
    """A PNG in the seven passes of Adam7, which Pillow reads and does not write."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)]
    passes += [(2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(
        b"\0" + row.tobytes()
        for top, left, down, right in passes
        for row in pixels[top::down, left::right]
    )
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    file = b"\x89PNG\r\n\x1a\n"
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(rows), b"IEND": b""}
    for kind, data in chunks.items():
        file += struct.pack(">I", len(data)) + kind + data
        file += struct.pack(">I", zlib.crc32(kind + data))
    return file
