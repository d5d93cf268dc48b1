"""Images in a folder of files."""

import copy
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.sources.file_kinds import READ, passed_over_line
from kdfixmatch_keras.sources.file_reading import Inventory, read_images, try_files
from kdfixmatch_keras.sources.image_decoding import (
    NO_RANGE,
    Facts,
    pixels_of,
    read_header,
    read_resized,
)
from kdfixmatch_keras.sources.image_files import (
    PathLike,
    check_folder,
    printable,
    search_folder,
)
from kdfixmatch_keras.sources.image_opening import Refused
from kdfixmatch_keras.sources.image_source import ImageSource
from kdfixmatch_keras.sources.intensity import (
    AUTO,
    LATER,
    IntensityRange,
    check_intensity_range,
    range_of,
)
from kdfixmatch_keras.sources.pixels import Images, check_channels, check_image_size

ON_ERROR = ("raise", "skip")
SKIP_REMEDY = ", or leave them out with on_error='skip'"

MAX_NAMED = 20


class FolderSource(ImageSource):
    """Images in files, in the sorted order of their relative paths.

    A folder is searched with its sub-folders; hidden files and folders are passed over,
    and so are folders in which file servers keep thumbnails and deleted files. A file
    that links make reachable by several paths counts once, by the first of them. A file
    whose name is not valid UTF-8 counts as one that cannot be read.

    Files are told apart by what is in them: JPEG, PNG, BMP, GIF, WebP or TIFF, whatever
    the extension, and HEIC with the extra `heic`. What is none of them is passed over,
    unless its name ends as theirs do: then it cannot be read. None is trusted: one that
    is cut short, or has more than 89,478,485 pixels, cannot be read, and warnings of
    Pillow about others are not passed on by the main thread.

    Gray and colour images of 16 bits are brought to 8 bits on one scale for all, their
    `intensity_range`, which is found from all of them: a camera of 12 bits writes files
    of 16. Every other kind becomes grayscale or RGB, but for CIELab, signed and
    floating-point pixels, which are refused. Transparency and further bands are
    dropped: a transparent pixel has the colour that is stored for it. Of several pages
    or frames the first is read. Images are turned upright as the EXIF orientation says,
    which a PNG must have before its pixels; where the EXIF block is damaged, they are
    left as they are. `remarks` counts what was dropped or changed.

    Every file is decoded once at the start, so that none fails in the middle of
    training, and kept in memory if all of them fit in `cache_bytes`; else each batch
    is decoded again as it is read, in threads.

    Args:
        folder_or_files: A folder, or a list of image files, whose order is kept.
        image_size: `(height, width)` that images are resized to. `None`: all must
            have one size.
        channels: 1 or 3. `None`: 3 if any image has colour, else 1.
        cache_bytes: Most memory, in bytes, that decoded images may take.
        root: Folder that holds all `files` and that names are relative to. `None`:
            the folder, or the files' common parent.
        on_error: `"raise"`, or `"skip"` to leave out the files that cannot be read.
        read_once: Whether each image is needed only once. Then only headers are
            read at the start, and nothing is kept in memory, unless files are to be
            left out, which only decoding tells.
        intensity_range: What intensities of 16-bit files become 0 and 255: `"auto"`
            finds it from all of them, `"later"` leaves it to `in_range`, before any is
            read; or the `intensity_range` of a model, of which None refuses such files.
        argument: Name that error messages give to `folder_or_files`.

    Attributes:
        files: Path of each image.
        skipped: Reason by path, for each file that was left out. Bytes of a path that
            are not UTF-8 are escaped.
        size_range: `(height, width)` in pixels of the smallest and the largest file, by
            area.
        intensity_range: `IntensityRange` of the files of 16 bits, or None.
        passed_over: Number of files of the folder, by kind, that are no images.
        remarks: What of the images was dropped or changed, counted by kind.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If there is no such folder or no image, an image cannot be read
            and `on_error` is `"raise"`, sizes differ and `image_size` is `None`, a file
            does not lie in `root`, or one scale would leave few gray levels of images
            of 16 bits.
    """

    def __init__(
        self,
        folder_or_files: PathLike | Sequence[PathLike],
        image_size: Sequence[int] | None = None,
        channels: int | None = None,
        *,
        cache_bytes: int = 1 << 30,
        root: PathLike | None = None,
        on_error: str = "raise",
        read_once: bool = False,
        intensity_range: IntensityRange | str | None = AUTO,
        argument: str = "folder_or_files",
    ) -> None:
        """Decodes every file, or reads only the headers if `read_once`."""
        size = check_image_size(image_size)
        channels = check_channels(channels)
        validation.check_choice("on_error", on_error, ON_ERROR)
        validation.check_integer("cache_bytes", cache_bytes, 0)
        validation.check_flag("read_once", read_once)
        read_once = read_once and on_error == "raise"
        check_intensity_range(intensity_range)
        self.passed_over: Counter[str] = Counter()
        if isinstance(folder_or_files, (str, os.PathLike)):
            folder = validation.check_path(argument, folder_or_files)
            root = check_folder(folder, argument)
            found = search_folder(root)
            self.files, self.passed_over = found.files, found.passed_over
        else:
            self.files = _checked_files(folder_or_files, argument)
            root = None if root is None else validation.check_path("root", root)
        if not self.files:
            shown = _shown(folder_or_files if root is None else root)
            others = passed_over_line(self.passed_over)
            raise ValueError(
                f"`{argument}` must hold at least one image. {READ} are read. "
                f"Received: {argument}={shown}"
                + (f", of which was passed over: {others}" if others else "")
            )
        if root is None:
            root = _common_parent(self.files)
        self._argument = argument
        self._on_error = on_error
        self.skipped: dict[Path, str] = {}
        self._cache: Images | None = None
        # Not before all of them have been surveyed.
        unknown = intensity_range in (AUTO, LATER)
        given = intensity_range if isinstance(intensity_range, IntensityRange) else None
        self.intensity_range = given

        # Before files are read, which can take long.
        names = dict(zip(self.files, _relative_names(self.files, root), strict=True))
        shape = (*size, channels) if size and channels else None
        inventory = Inventory()
        # Where it is known and all fit, no header says anything new.
        if read_once or shape is None or not self._fits(shape, cache_bytes):
            headers = self._readable(_header_reader(unknown, given, read_once))
            # One run names them all: those too that only decoding will find.
            if not headers or read_once:
                self._raise_if_any(self.skipped)
            if size is None:
                sizes = [header.size for header in headers]
                size = _common_size(sizes, [names[f] for f in self.files], argument)
            has_colour = any(header.has_colour for header in headers)
            shape = (*size, channels or (3 if has_colour else 1))
            for file, header in zip(self.files, headers, strict=True):
                inventory.add(file, header)
        if not read_once:
            inventory = self._decode_all(shape, cache_bytes, unknown)
        if on_error == "raise" or not self.files:
            self._raise_if_any(self.skipped)
        sizes = inventory.sizes
        self.size_range = (min(sizes, key=math.prod), max(sizes, key=math.prod))
        self.survey, self.remarks = inventory.survey, inventory.remarks
        self._deep, self.deep_files = inventory.deep, len(inventory.deep)
        super().__init__(shape, [names[file] for file in self.files])
        if intensity_range == AUTO and self.survey is not None:
            self.intensity_range = range_of(self.survey, argument)
            self._fill()

    @property
    def notes(self) -> list[str]:
        """Sentences about what of the files was dropped, changed or assumed."""
        found = self.remarks.lines()
        if self.intensity_range is not None and self.survey is not None:
            found.insert(0, self.survey.in_words(self.intensity_range, len(self)))
        others = passed_over_line(self.passed_over)
        return [*found, f"passed over: {others}"] if others else found

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.files)

    def _read(self, indices: npt.NDArray[np.int64]) -> Images:
        if self._cache is not None:
            if self._deep and self.intensity_range is None:
                # What is kept of those is not theirs before their range is known.
                deep = indices[np.isin(indices, self._deep)]
                self._raise_if_any({self.files[index]: NO_RANGE for index in deep})
            cached: Images = self._cache[indices]
            return cached
        files = [self.files[index] for index in indices]
        decoded = read_images(files, self.image_shape, self.intensity_range)
        self._raise_if_any(decoded.failures)
        return decoded.images

    def _in_range(self, intensity_range: IntensityRange | None) -> ImageSource:
        if not self._deep or intensity_range == self.intensity_range:
            return self
        if intensity_range is None:
            self._raise_if_any({self.files[index]: NO_RANGE for index in self._deep})
        other = copy.copy(self)
        other.intensity_range = intensity_range
        if self._cache is not None and self.intensity_range is not None:
            # Of this source, which others may read.
            other._cache = self._cache.copy()
        other._fill()
        if self.intensity_range is None:
            # Handed over: another range would change it once more.
            self._cache = None
        return other

    def _fill(self) -> None:
        """Reads the deep images that are kept, of which the range is known."""
        if self._cache is None:
            return
        files = [self.files[index] for index in self._deep]
        decoded = read_images(files, self.image_shape, self.intensity_range)
        self._raise_if_any(decoded.failures)
        self._cache[self._deep] = decoded.images

    def _fits(self, shape: tuple[int, int, int], cache_bytes: int) -> bool:
        return len(self.files) * math.prod(shape) <= cache_bytes

    def _decode_all(
        self, shape: tuple[int, int, int], cache_bytes: int, survey: bool
    ) -> Inventory:
        """Decodes every file, to keep it if all fit."""
        if self._fits(shape, cache_bytes):
            decoded = read_images(
                self.files, shape, self.intensity_range, survey=survey
            )
            self.files = decoded.files
            self._cache = decoded.images
            self._note(decoded.failures)
            return decoded.inventory

        def read(file: Path) -> Facts:
            found = read_resized(file, shape[2], None, self.intensity_range)
            if not survey:
                pixels_of(found)
            return found.facts

        inventory = Inventory()
        facts = self._readable(read)
        for file, one in zip(self.files, facts, strict=True):
            inventory.add(file, one)
        return inventory

    def _readable(self, read: Callable[[Path], Facts]) -> list[Facts]:
        """Reads each file, and notes and leaves out those that fail."""
        files, results, failures = [], [], {}
        for file, result, failure in try_files(read, self.files):
            if result is None:
                failures[file] = failure
            else:
                files.append(file)
                results.append(result)
        self.files = files
        self._note(failures)
        return results

    def _note(self, failures: dict[Path, str]) -> None:
        self.skipped |= {Path(printable(file)): why for file, why in failures.items()}

    def _raise_if_any(self, failures: dict[Path, str]) -> None:
        if not failures:
            return
        skip = "" if self._on_error == "skip" else SKIP_REMEDY
        raise ValueError(
            f"`{self._argument}` must hold only readable images. Received: "
            f"{len(failures)} that cannot be read: {listed(failures)}. Repair or "
            f"remove them{skip}."
        )


def listed(failures: Mapping[Path, str]) -> str:
    """Names the first of the files that cannot be read, each with the reason."""
    named = [f"{printable(file)} ({why})" for file, why in failures.items()]
    more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
    return f"{', '.join(named[:MAX_NAMED])}{more}"


def _header_reader(
    unknown: bool, intensities: IntensityRange | None, read_once: bool
) -> Callable[[Path], Facts]:
    """What reads a header, and decides about deep images if nothing else will."""

    def read(file: Path) -> Facts:
        header = read_header(file)
        if not header.is_deep:
            return header
        if not unknown and intensities is None:
            raise Refused(NO_RANGE)
        if unknown and read_once:
            return replace(header, survey=read_resized(file).facts.survey)
        return header

    return read


def _checked_files(files: Any, argument: str) -> list[Path]:
    if not isinstance(files, Sequence) or isinstance(files, bytes):
        raise TypeError(
            f"`{argument}` must be the path of a folder, or a list of paths of images. "
            f"Received: type={type(files).__name__}"
        )
    return [validation.check_path(argument, file) for file in files]


def _common_parent(files: list[Path]) -> str:
    # Of absolute paths: relative ones have none in common with them.
    return os.path.commonpath([file.absolute().parent for file in files])


def _relative_names(files: list[Path], root: PathLike) -> list[str]:
    base = Path(root).absolute()
    names = []
    for file in files:
        try:
            names.append(file.absolute().relative_to(base).as_posix())
        except ValueError as error:
            raise ValueError(
                "`root` must be a folder that holds all files. Received: "
                f"root={str(root)!r} and {printable(file)}"
            ) from error
    return names


def _common_size(
    sizes: list[tuple[int, int]], names: list[str], argument: str
) -> tuple[int, int]:
    for size, name in zip(sizes, names, strict=True):
        if size != sizes[0]:
            raise ValueError(
                f"`{argument}` must hold images of one size when image_size is None. "
                f"Received: {names[0]} of size {sizes[0]} and {name} of size {size}. "
                "Pass image_size=(height, width) to resize them."
            )
    return sizes[0]


def _shown(folder_or_files: PathLike | Sequence[PathLike]) -> str:
    if isinstance(folder_or_files, os.PathLike):
        return repr(os.fspath(folder_or_files))
    return repr(folder_or_files)
