"""Reading many image files in threads, whatever happens to some of them."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from kdfixmatch_keras.sources.image_decoding import (
    Decoded,
    Facts,
    pixels_of,
    read_resized,
)
from kdfixmatch_keras.sources.image_opening import Refused, strict_reading
from kdfixmatch_keras.sources.intensity import IntensityRange, Survey
from kdfixmatch_keras.sources.pixels import Images, convert_channels
from kdfixmatch_keras.sources.remarks import Remarks

Result = TypeVar("Result")

# Files that are read ahead: enough that no thread waits for a slow one that others are
# queued behind.
READS_PER_WORKER = 8
# To hand a small file to another thread takes as long as to decode it.
_FILES_PER_TASK = 4


@dataclass
class Inventory:
    """What is known of files that could be read, in the order they were given.

    Attributes:
        sizes: `(height, width)` in pixels of what is in each of them.
        deep: Which of them, by position, have more than 8 bits.
        survey: The intensities of those of which no range was given, or None.
        remarks: What of them was dropped or changed.
    """

    sizes: list[tuple[int, int]] = field(default_factory=list)
    deep: list[int] = field(default_factory=list)
    survey: Survey | None = None
    remarks: Remarks = field(default_factory=Remarks)

    def add(self, file: Path, facts: Facts) -> None:
        """Takes up what is known of the next file."""
        if facts.is_deep:
            self.deep.append(len(self.sizes))
        self.sizes.append(facts.size)
        self.remarks.add(file, facts.found)
        if facts.survey is not None:
            known = [] if self.survey is None else [self.survey]
            self.survey = sum(known, start=facts.survey)


@dataclass(frozen=True)
class DecodedFiles:
    """What could be made of some files.

    Attributes:
        files: The n files that could be read, in the order they were given.
        images: uint8 array of shape (n, height, width, channels). What it has of deep
            images of which no range of intensities was given means nothing.
        inventory: What else is known of them.
        failures: Reason by path, for each file that could not be read.
    """

    files: list[Path]
    images: Images
    inventory: Inventory
    failures: dict[Path, str]


def read_images(
    files: Sequence[Path],
    image_shape: tuple[int, int, int],
    intensities: IntensityRange | None = None,
    *,
    survey: bool = False,
) -> DecodedFiles:
    """Decodes images in threads, and brings them to a shape.

    Args:
        files: Paths of the images.
        image_shape: `(height, width, channels)` of each, channels 1 or 3.
        intensities: Those of 16-bit pixels that become 0 and 255. Where it is None,
            such files cannot be read.
        survey: Whether they are surveyed in place of that.

    Returns:
        Those that could be read, and the reasons for the others.
    """
    height, width, channels = image_shape

    def read(file: Path) -> Decoded:
        decoded = read_resized(file, channels, (height, width), intensities)
        if not survey:
            pixels_of(decoded)
        return decoded

    images = np.empty((len(files), *image_shape), dtype=np.uint8)
    readable: list[Path] = []
    inventory = Inventory()
    failures: dict[Path, str] = {}
    for file, decoded, failure in try_files(read, files):
        if decoded is None:
            failures[file] = failure
            continue
        if decoded.pixels is not None:
            images[len(readable)] = convert_channels(decoded.pixels, channels)
        readable.append(file)
        inventory.add(file, decoded.facts)
    return DecodedFiles(readable, images[: len(readable)], inventory, failures)


def read_image(
    file: Path,
    image_shape: tuple[int, int, int],
    intensities: IntensityRange | None = None,
) -> Images:
    """Decodes an image and brings it to a shape.

    Args:
        file: Path of the image.
        image_shape: `(height, width, channels)` of the result, channels 1 or 3.
        intensities: Those of 16-bit pixels that become 0 and 255.

    Returns:
        uint8 array of shape `image_shape`. It may be read-only.

    Raises:
        ValueError: If its pixels have no 8-bit meaning.
        OSError: If it cannot be decoded. Pillow raises others too.
    """
    height, width, channels = image_shape
    decoded = read_resized(file, channels, (height, width), intensities)
    return convert_channels(pixels_of(decoded), channels)


def try_files(
    read: Callable[[Path], Result], files: Sequence[Path]
) -> Iterator[tuple[Path, Result | None, str]]:
    """Reads files in threads, in order, whatever happens to some of them.

    Only so many are read ahead as keep the threads busy.

    Args:
        read: What to do with each; must not return None.
        files: The files.

    Yields:
        The file, `read(file)` or None if that failed, and the reason of the failure.
    """

    def attempt(some: Sequence[Path]) -> list[tuple[Path, Result | None, str]]:
        return [_attempted(read, file) for file in some]

    if not files:
        return
    workers = min(len(files), os.cpu_count() or 1, 16)
    # As many tasks for each thread, of as many files as come out even.
    rounds = -(-len(files) // (_FILES_PER_TASK * workers))
    size = -(-len(files) // (rounds * workers))
    # A pool per call: threads kept for long would not survive a fork.
    with strict_reading(), ThreadPoolExecutor(workers) as pool:
        # A future a task, all at once, would fill the memory for a large folder.
        pending: deque[Future[list[tuple[Path, Result | None, str]]]] = deque()
        for start in range(0, len(files), size):
            if len(pending) == READS_PER_WORKER // size * workers:
                yield from pending.popleft().result()
            pending.append(pool.submit(attempt, files[start : start + size]))
        while pending:
            yield from pending.popleft().result()


def _attempted(
    read: Callable[[Path], Result], file: Path
) -> tuple[Path, Result | None, str]:
    try:
        return file, read(file), ""
    # Pillow's decoders raise OSError, SyntaxError, struct.error and others.
    except Exception as error:
        return file, None, _reason(file, error)


def _reason(file: Path, error: Exception) -> str:
    # Unlike `Path.exists`, this does not raise for a name that is too long.
    if not os.path.exists(file):
        return "a link to nothing" if os.path.islink(file) else "no such file"
    if os.path.isdir(file):
        return "it is a folder"
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # Pillow's own words, SyntaxError being that of a file.
    if isinstance(error, OSError | SyntaxError) and str(error):
        return str(error)
    # What else Pillow stumbles over says little to a user.
    return f"damaged ({type(error).__name__}: {error})"
