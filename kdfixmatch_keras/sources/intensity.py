"""Which intensities of 16-bit files become black and white, one range for a whole set.

A 16-bit file does not say how many of its bits were measured: cameras of 10, 12 and 14
bits write the same container. What is known of all files of a set together says it.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.sources.pixels import Images

Deep = npt.NDArray[np.uint16]

# Gray levels that nearly all pixels of a set must be left with; where they have fewer
# intensities, this share of them, as some of a few fall on one level by chance.
MIN_LEVELS = 48
_MIN_SHARE = 0.75
# Share of the pixels, half of them the darkest and half the brightest, that may be hot
# or dead ones of a sensor, or marks: they do not tell how many levels an image has.
_STRAY = 0.001
# Share of the pixels of an image that may lie beyond the range of the training images.
MAX_BEYOND = 0.01
# Pixels that are worked on at a time, as an index takes eight bytes for each.
_BLOCK = 1 << 20

AUTO, LATER = "auto", "later"


@dataclass(frozen=True)
class IntensityRange:
    """The intensities of 16-bit pixels that become 0 and 255.

    `(value - low) * 256 // (high - low + 1)` is the gray level of a value in between:
    of (0, 65535) the high byte, of (0, 4095) the highest 8 of 12 bits.

    Attributes:
        low: Intensity that becomes 0.
        high: Intensity that becomes 255, at most 65535.
    """

    low: int
    high: int

    def __str__(self) -> str:
        """The range as a sentence has it."""
        return f"{self.low:,} to {self.high:,}"

    def gray(self, pixels: Deep) -> Images:
        """The gray levels of 16-bit pixels, of those beyond the range 0 or 255.

        Args:
            pixels: uint16 array of any shape.

        Returns:
            uint8 array of the same shape.

        Raises:
            ValueError: `pixels` are not uint16.
        """
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint16:
            found = getattr(pixels, "dtype", type(pixels).__name__)
            raise ValueError(
                f"`pixels` must be an array of uint16. Received: pixels of {found}"
            )
        table, gray = gray_levels(self), np.empty(pixels.shape, np.uint8)
        source, result = pixels.reshape(-1), gray.reshape(-1)
        for start in range(0, source.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            result[block] = table[source[block]]
        return gray


def share_beyond(intensities: IntensityRange, pixels: Deep) -> float:
    """Which share of the pixels lies outside a range."""
    beyond = np.count_nonzero(pixels < intensities.low)
    return (beyond + np.count_nonzero(pixels > intensities.high)) / pixels.size


@functools.lru_cache(maxsize=8)
def gray_levels(intensities: IntensityRange) -> Images:
    """The gray level of each intensity, uint8 of shape (65536,)."""
    values = np.arange(1 << 16).clip(intensities.low, intensities.high)
    span = intensities.high - intensities.low + 1
    return ((values - intensities.low) * 256 // span).astype(np.uint8)


@dataclass(frozen=True)
class Survey:
    """How often each intensity occurs in the 16-bit files of a set.

    Attributes:
        counts: int64 array of shape (65536,), the number of pixels by intensity.
        files: The number of files.
    """

    counts: npt.NDArray[np.int64]
    files: int

    @classmethod
    def of(cls, pixels: Deep) -> "Survey":
        """That of one file."""
        flat, counts = pixels.reshape(-1), np.zeros(1 << 16, np.int64)
        for start in range(0, flat.size, _BLOCK):
            counts += np.bincount(flat[start : start + _BLOCK], minlength=1 << 16)
        return cls(counts, 1)

    def in_words(self, intensities: IntensityRange, count: int) -> str:
        """What becomes of these files, in a sentence.

        Args:
            intensities: The range that they are read in.
            count: The number of all files that were read with them.
        """
        (present,) = np.nonzero(self.counts)
        levels = len(np.unique(gray_levels(intensities)[present]))
        one, of = ("file has", "its") if self.files == 1 else ("files have", "their")
        rest = count - self.files
        others = f"; {rest:,} of 8 bits are read as they are" if rest else ""
        return (
            f"{self.files:,} {one} 16 bits, {of} intensities {present[0]:,} to "
            f"{present[-1]:,}: {intensities} become 0 to 255, {levels} gray levels"
            + others
        )

    def __add__(self, other: "Survey") -> "Survey":
        """That of two sets together."""
        return Survey(self.counts + other.counts, self.files + other.files)


def range_of(survey: Survey, argument: str) -> IntensityRange:
    """The one range for a set, found from what is in it.

    As many bits as its brightest pixel needs, and at least 8; where that would leave
    few gray levels, as of a thermal camera whose pixels are all far from 0, from the
    darkest pixel to the brightest, with some room on both sides for other images.

    Args:
        survey: What is in at least one file.
        argument: Name that the caller knows the images by.

    Raises:
        ValueError: Few gray levels would be left for nearly all pixels, since a few
            others are much brighter or darker. The message says how many.
    """
    (present,) = np.nonzero(survey.counts)
    darkest, brightest = int(present[0]), int(present[-1])
    room = (brightest - darkest) // 8
    ranges = (
        IntensityRange(0, (1 << max(8, brightest.bit_length())) - 1),
        IntensityRange(max(0, darkest - room), min(0xFFFF, brightest + room)),
    )
    usual = present[_usual(survey.counts[present])]
    left = [_levels_left(usual, found) for found in ranges]
    for found, levels in zip(ranges, left, strict=True):
        if levels >= _wanted(usual):
            return found
    low, high = int(usual[0]), int(usual[-1])
    files = "file" if survey.files == 1 else "files"
    raise ValueError(
        f"`{argument}` must hold 16-bit images that one scale can bring to 8 bits. "
        f"Received: {survey.files:,} {files} of 16 bits, of which {1 - _STRAY:.1%} of "
        f"the pixels have the intensities {low:,} to {high:,}, and others reach from "
        f"{darkest:,} to {brightest:,}: of {min(len(usual), 256)} gray levels, "
        f"{max(left)} would be left. {_own_scale(low, high)}"
    )


def check_levels_left(
    survey: Survey, intensities: IntensityRange, argument: str
) -> None:
    """Checks that a set keeps its gray levels in the range that others ask for.

    Args:
        survey: What is in the files of the set.
        intensities: The range.
        argument: Name that the caller knows the images by.

    Raises:
        ValueError: Few would be left for nearly all its pixels, as of a camera of 10
            bits beside one of 16. The message says how many.
    """
    (present,) = np.nonzero(survey.counts)
    usual = present[_usual(survey.counts[present])]
    left = _levels_left(usual, intensities)
    # One file alone can be a dark frame.
    if survey.files == 1 or left >= _wanted(usual):
        return
    low, high = int(usual[0]), int(usual[-1])
    raise ValueError(
        f"`{argument}` must hold 16-bit images of the intensities of the others, as "
        f"one scale brings all to 8 bits. Received: {survey.files:,} files of 16 "
        f"bits with the intensities {present[0]:,} to {present[-1]:,}, of which "
        f"{left} gray levels would be left where those of all sets, {intensities}, "
        f"become 0 to 255. {_own_scale(low, high)}"
    )


def _wanted(usual: npt.NDArray[np.int64]) -> float:
    """How many gray levels must be left of some intensities."""
    return min(_MIN_SHARE * len(usual), MIN_LEVELS)


def _levels_left(usual: npt.NDArray[np.int64], intensities: IntensityRange) -> int:
    return len(np.unique(intensities.gray(usual.astype(np.uint16))))


def _own_scale(low: int, high: int) -> str:
    return (
        "Save them as 8 bits on a scale of your own, such as "
        f"`((pixels.astype(float) - {low}) * {255 / max(high - low, 1):.4g}).clip(0,"
        ' 255).round().astype("uint8")`.'
    )


def _usual(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which intensities are not only those of the few darkest or brightest pixels."""
    below = np.cumsum(counts)
    stray = below[-1] * _STRAY / 2
    found: npt.NDArray[np.bool_] = (below > stray) & (
        below - counts < below[-1] - stray
    )
    return found


def check_intensity_range(value: Any) -> None:
    """Checks an argument `intensity_range` of a source.

    Raises:
        TypeError: It is neither an `IntensityRange`, nor None or a string.
        ValueError: It is a string but `"auto"` or `"later"`, or bounds no range.
    """
    if not isinstance(value, str):
        check_known_range(value, "'auto', None or the IntensityRange of a model")
    elif value not in (AUTO, LATER):
        raise ValueError(
            "`intensity_range` must be 'auto', None or the IntensityRange of a model. "
            f"Received: intensity_range={value!r}"
        )


def check_known_range(
    value: Any, kinds: str = "None or the IntensityRange of a model"
) -> IntensityRange | None:
    """Checks an argument `intensity_range` where nothing is left to be found.

    Args:
        value: What was passed.
        kinds: What the argument can be, for messages.

    Returns:
        `value`.

    Raises:
        TypeError: It is neither an `IntensityRange` nor None.
        ValueError: It bounds no range.
    """
    if value is None:
        return None
    wanted = (
        f"`intensity_range` must be {kinds}, two integers of which 0 <= low < high <= "
        f"65535. Received: intensity_range={value!r}"
    )
    if not isinstance(value, IntensityRange):
        raise TypeError(f"{wanted}. Make one: `sources.IntensityRange(low, high)`.")
    if not _is_range(value.low, value.high):
        raise ValueError(wanted)
    return value


def _is_range(low: Any, high: Any) -> bool:
    are_integers = isinstance(low, int) and isinstance(high, int)
    return are_integers and 0 <= low < high <= 0xFFFF
