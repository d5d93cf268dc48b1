"""Sets of image files as cameras and file servers leave them, with known pixels.

The pixels that are right are those that were written, never what the reader reads: an
image is read so, or refused by name, and what is passed over is counted.
"""

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from fuzz_parts import written_files
from fuzz_parts.damage import Wrong, demand
from fuzz_parts.written_files import DEFLATED, UNCOMPRESSED, Page
from kdfixmatch_keras.sources import FolderSource, SubsetSource
from kdfixmatch_keras.sources.intensity import LATER, IntensityRange
from kdfixmatch_keras.sources.one_range import in_one_range
from kdfixmatch_keras.sources.pixels import Images, convert_channels

SIDES = (6, 9)
# The intensities of a set: its darkest, its brightest, and some far from both.
Top = tuple[int, int, tuple[int, ...]]
# Files beside which nothing else is an image.
NO_IMAGES = {
    ".DS_Store": b"Bud1",
    "._0.png": b"\0\5\x16\7",
    "@eaDir/0.png/SYNOPHOTO_THUMB_M.png": b"",
    "Thumbs.db": b"\xd0\xcf\x11\xe0",
    "labels.csv": b"file,label\n",
    "photo.jxl": b"\0\0\0\x0cJXL \r\n\x87\n",
    "photo.ppm": b"P6\n1 1\n255\n\0\0\0",
    "video.mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp41isom",
    "wörter ohne endung": b"text",
}
NAMES = [
    *("{}", "{}.png", "{}.PNG", "{}.tif", "{}.jfif", "{}.dat", "Bild ä {}.jpg"),
    *("a\u0308 {}.png", "{} 'quoted\".png", "{}.tar.gz", "-{}.png", "日本 {}.webp"),
    *("sub/{}.png", "sub.png/{}", "{}.png.bak", "#{}", "{} .jpg", "100%/{}.bmp"),
]


@dataclass(frozen=True)
class Written:
    """A file, and what is in it.

    Attributes:
        data: The file.
        pixels: uint8 or uint16 `(h, w, 1 or 3)`; None where it may only be refused.
        said: What the notes on its folder must say of it, empty for nothing.
        inverted: Whether 0 is white.
        may_refuse: Whether it may be refused.
    """

    data: bytes
    pixels: np.ndarray | None
    said: str = ""
    inverted: bool = False
    may_refuse: bool = False


class SetCases:
    """Cases by number, each a folder of its own or two."""

    def __init__(self, folder: Path, seed: int) -> None:
        # It says of some files why it cannot read them.
        logging.getLogger("PIL").setLevel(logging.CRITICAL)
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.seed = seed

    def run(self, case: int) -> str:
        """Tries a case, and says how it came out."""
        random = Random(f"{self.seed} set {case}")
        place = self.folder / f"{case:07}"
        try:
            with warnings.catch_warnings():
                # Of dark images.
                warnings.simplefilter("ignore")
                return self._outcome(random, place)
        except Wrong as error:
            return f"wrong: {error} (set {case})"
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _outcome(self, random: Random, place: Path) -> str:
        top = random.choice(TOPS)
        files = _made_up(random, place, top)
        folders = sorted({file.relative_to(place).parts[0] for file in files})
        others = random.sample(list(NO_IMAGES), random.randint(0, 4))
        contents = {file: written.data for file, written in files.items()}
        contents |= {place / folders[0] / name: NO_IMAGES[name] for name in others}
        for file, data in contents.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        channels, cache_bytes = random.choice([None, 3]), random.choice([0, 1 << 30])
        sources = {}
        for name in folders:
            try:
                sources[name] = FolderSource(
                    place / name,
                    SIDES,
                    channels,
                    cache_bytes=cache_bytes,
                    on_error="skip",
                    intensity_range=LATER,
                )
            except ValueError as error:
                of_folder = [f for f in files if f.is_relative_to(place / name)]
                for file in of_folder:
                    self._check_refused(files[file], file, str(error))
        try:
            scaled = in_one_range(dict(sources))
        except ValueError as error:
            if "not all black" in str(error):
                return "refused: black"
            is_said = "gray levels" in str(error) and "would be left" in str(error)
            demand(is_said, f"no levels in {error}")
            if "intensities of the others" in str(error):
                # By chance, all files of a folder are dark ones.
                return "refused: a dark folder"
            demand(top not in WHOLE, f"refused where no level is lost: {error}")
            return "refused: few gray levels"
        read: list[np.ndarray] = []
        for name, source in zip(sources, scaled, strict=True):
            if isinstance(source, FolderSource):
                has_others = bool(others) and name == folders[0]
                read += self._check_source(source, files, has_others)
        ranges = {s.intensity_range for s in scaled if s.survey is not None}
        demand(len(ranges) == min(1, len(read)), f"{ranges} in one training")
        if read:
            _check_range(ranges.pop(), np.concatenate(read), top in WHOLE)
        return "read"

    def _check_source(
        self, source: FolderSource, files: dict[Path, Written], has_others: bool
    ) -> list[np.ndarray]:
        """Compares what was read; returns the 16-bit pixels that were written."""
        unknown = {*source.files, *source.skipped} - set(files)
        demand(not unknown, f"taken for an image: {unknown}")
        for file, reason in source.skipped.items():
            self._check_refused(files[file], file, reason)
        notes = " ".join(source.notes)
        is_said = "passed over" in notes
        demand(is_said == has_others, f"what was passed over is not in {notes!r}")
        deep = []
        images = SubsetSource(source, range(len(source)))[np.arange(len(source))]
        for file, image in zip(source.files, images, strict=True):
            written = files[file]
            if written.pixels is None:
                raise Wrong(f"{file.name} was read, of a kind that cannot be")
            expected = _in_8_bits(written, source)
            expected = convert_channels(expected, source.image_shape[-1])
            demand(np.array_equal(image, expected), f"other pixels in {file.name}")
            demand(written.said in notes, f"{written.said!r} is not in {notes!r}")
            if written.pixels.dtype == np.uint16:
                deep.append(written.pixels.reshape(-1))
        return deep

    def _check_refused(self, written: Written, file: Path, reason: str) -> None:
        demand(written.pixels is None or written.may_refuse, f"{file}: {reason}")


def _made_up(random: Random, place: Path, top: Top) -> dict[Path, Written]:
    """Files of a few kinds, in one or two folders."""
    kinds = random.sample(KINDS, random.randint(1, 4))
    files = {}
    for number in range(random.randint(2, 8)):
        written = random.choice(kinds)(random, top)
        name = random.choice(NAMES).format(number)
        files[place / random.choice("ab") / name] = written
    return files


def _in_8_bits(written: Written, source: FolderSource) -> Images:
    pixels = written.pixels
    if pixels is None or pixels.dtype == np.uint8:
        return np.asarray(pixels)
    intensities = source.intensity_range
    if intensities is None:
        raise Wrong("16 bits were read without a range")
    low, high = intensities.low, intensities.high
    demand(low <= pixels.min() and pixels.max() <= high, f"beyond {intensities}")
    gray = ((pixels.astype(np.int64) - low) * 256 // (high - low + 1)).astype(np.uint8)
    return 255 - gray if written.inverted else gray


def _check_range(
    intensities: IntensityRange | None, written: np.ndarray, is_whole: bool
) -> None:
    """Whether a range is as wide as what was written, and leaves enough of it."""
    if intensities is None:
        raise Wrong("16 bits were read without a range")
    bits = max(8, int(written.max()).bit_length())
    whole = _levels(written, IntensityRange(0, 2**bits - 1))
    if intensities != IntensityRange(0, 2**bits - 1):
        demand(whole < 48, f"{intensities} where {bits} bits leave {whole} levels")
    # Without what may be a hot pixel.
    usual = np.sort(written)[len(written) // 2000 : -(len(written) // 2000) or None]
    levels, least = _levels(usual, intensities), min(48, len(np.unique(usual)) * 0.75)
    demand(is_whole or levels >= least, f"{levels} levels are left, and not {least}")


def _levels(pixels: np.ndarray, intensities: IntensityRange) -> int:
    span = intensities.high - intensities.low + 1
    return len(np.unique((pixels.astype(np.int64) - intensities.low) * 256 // span))


WHOLE: list[Top] = [
    *((0, 2**bits - 1, ()) for bits in (8, 10, 12, 14, 16)),
    *((0, 4095 << 4, ()), (0, 40, ()), (7000, 9000, ())),
]
TOPS: list[Top] = [
    *WHOLE,
    *(
        (0, 4095, (65535,)),
        (0, 65535, (65535,)),
        (0, 500, (30000,)),
        (9000, 9999, (0,)),
    ),
]


def _pixels(random: Random, bands: int, top: Top, is_deep: bool) -> np.ndarray:
    draw = np.random.default_rng(random.getrandbits(32))
    shape = (*SIDES, bands)
    if not is_deep:
        return draw.integers(0, 256, shape).astype(np.uint8)
    low, high, stray = top
    # Some frames are dark.
    bright = high if random.random() < 0.7 else low + (high - low) // 16
    pixels = draw.integers(low, bright + 1, shape).astype(np.uint16)
    if stray and random.random() < 0.3:
        pixels.flat[draw.integers(pixels.size)] = random.choice(stray)
    return pixels


def _png(random: Random, top: Top) -> Written:
    bands = random.randint(1, 4)
    pixels = _pixels(random, bands, top, random.random() < 0.7)
    said = "transparency" if bands in (2, 4) else ""
    return Written(
        written_files.png(pixels), pixels[..., : 1 if bands < 3 else 3], said
    )


def _tiff(random: Random, top: Top) -> Written:
    """One page or several, of usual bands."""
    is_deep = random.random() < 0.7
    interpretation, bands, extra = random.choice(
        [(0, 1, ()), (1, 1, ()), (2, 3, ()), (2, 4, (2,)), (2, 4, (0,)), (2, 4, ())]
    )
    pages = []
    order = random.choice("<>")
    for _ in range(random.choice([1, 1, 2, 5])):
        pixels = _pixels(random, bands, top, is_deep)
        compression = random.choice([UNCOMPRESSED, DEFLATED])
        predicted = compression == DEFLATED and random.random() < 0.5
        pages.append(Page(pixels, interpretation, extra, compression, predicted))
    data = written_files.tiff(pages, order, order == "<" and random.random() < 0.3)
    shown = pages[0].pixels[..., : 3 if interpretation == 2 else 1]
    inverted = interpretation == 0
    if inverted and not is_deep:
        shown = 255 - shown
    return Written(
        data,
        shown,
        "pages" if len(pages) > 1 else "bands" if extra != (2,) and bands == 4 else "",
        inverted,
        # Big-endian and white at 0, Pillow knows nothing of.
        may_refuse=inverted and is_deep and order == ">",
    )


def _rare_tiff(random: Random, top: Top) -> Written:
    """Bands that nobody asked for, numbers below 0, or bands one by one."""
    kind = random.choice(["many", "signed", "float", "planar", "thumbnail"])
    bands = random.choice([2, 3, 4, 5, 7])
    if kind == "many":
        pixels = _pixels(random, bands + 3, top, random.random() < 0.5)
        return Written(_one_page(Page(pixels, 1, (0,) * (bands + 2))), None)
    if kind in ("signed", "float"):
        numbers = _pixels(random, 1, top, True).astype(np.int32) - 70_000
        dtype = (
            random.choice([np.int8, np.int16, np.int32]) if kind == "signed" else "f"
        )
        values = -np.abs(numbers).astype(dtype)
        values = np.minimum(values, -1).astype(dtype)
        return Written(_one_page(Page(values, 1)), None)
    pixels = _pixels(random, 3, top, random.random() < 0.5)
    if kind == "planar":
        compression = random.choice([UNCOMPRESSED, DEFLATED])
        data = _one_page(Page(pixels, 2, (), compression, planar=True))
        return Written(data, pixels, may_refuse=pixels.dtype == np.uint16)
    pages = [Page(pixels, 2, subfile=1), Page(pixels, 2)]
    return Written(written_files.tiff(pages), None)


def _one_page(page: Page) -> bytes:
    return written_files.tiff([page])


def _usual(random: Random, top: Top) -> Written:
    """A file of 8 bits that Pillow writes without loss."""
    pixels = _pixels(random, 3, top, False)
    kind = random.choice(["PNG", "BMP", "WEBP", "TIFF"])
    with tempfile.TemporaryFile() as file:
        options = {"lossless": True} if kind == "WEBP" else {}
        Image.fromarray(pixels).save(file, kind, **options)
        file.seek(0)
        return Written(file.read(), pixels)


KINDS: list[Callable[[Random, Top], Written]] = [_png, _tiff, _rare_tiff, _usual]
