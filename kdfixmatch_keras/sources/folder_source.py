"""Images in a folder of files."""

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.sources.image_decoding import (
    Refused,
    read_header,
    read_resized,
    strict_reading,
)
from kdfixmatch_keras.sources.image_files import (
    EXTENSIONS,
    PathLike,
    check_folder,
    find_images,
    printable,
)
from kdfixmatch_keras.sources.image_source import ImageSource
from kdfixmatch_keras.sources.pixels import (
    Images,
    check_channels,
    check_image_size,
    convert_channels,
)

Result = TypeVar("Result")

ON_ERROR = ("raise", "skip")
SKIP_REMEDY = ", or leave them out with on_error='skip'"

MAX_NAMED = 20

# Files that are read ahead: enough that no thread waits for a slow one that others are
# queued behind.
READS_PER_WORKER = 8
# To hand a small file to another thread takes as long as to decode it.
_FILES_PER_TASK = 4


class FolderSource(ImageSource):
    """Images in files, in the sorted order of their relative paths.

    A folder is searched with its sub-folders; hidden files and folders are left out. A
    file that links make reachable by several paths counts once, by the first of them. A
    file whose name is not valid UTF-8 counts as one that cannot be read.

    Files are told apart by what is in them: JPEG, PNG, BMP, GIF, WebP or TIFF, whatever
    the extension. None is trusted: one that is cut short, or has more than 89,478,485
    pixels, cannot be read, and warnings of Pillow about others are not passed on by the
    main thread.

    Modes 1, L, LA and I (16-bit, of which the high byte is kept) are grayscale; every
    other mode becomes RGB, but for CIELab and floating-point pixels, which are refused.
    Transparency is dropped: a transparent pixel has the colour that is stored for it.
    Of an animation the first frame is read. Images are turned upright as the EXIF
    orientation says, which a PNG must have before its pixels; where the EXIF block is
    damaged, they are left as they are.

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
        argument: Name that error messages give to `folder_or_files`.

    Attributes:
        files: Path of each image.
        skipped: Reason by path, for each file that was left out. Bytes of a path that
            are not UTF-8 are escaped.
        size_range: `(height, width)` in pixels of the smallest and the largest file, by
            area.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If there is no such folder or no image, an image cannot be read
            and `on_error` is `"raise"`, sizes differ and `image_size` is `None`, or a
            file does not lie in `root`.
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
        argument: str = "folder_or_files",
    ) -> None:
        """Decodes every file, or reads only the headers if `read_once`."""
        size = check_image_size(image_size)
        channels = check_channels(channels)
        validation.check_choice("on_error", on_error, ON_ERROR)
        validation.check_integer("cache_bytes", cache_bytes, 0)
        validation.check_flag("read_once", read_once)
        read_once = read_once and on_error == "raise"
        if isinstance(folder_or_files, (str, os.PathLike)):
            folder = validation.check_path(argument, folder_or_files)
            root = check_folder(folder, argument)
            self.files = find_images(root)
        else:
            self.files = _checked_files(folder_or_files, argument)
            root = None if root is None else validation.check_path("root", root)
        if not self.files:
            raise ValueError(
                f"`{argument}` must hold at least one image, in a file that ends in "
                f".{', .'.join(EXTENSIONS)}. Received: "
                f"{argument}={_shown(folder_or_files if root is None else root)}"
            )
        if root is None:
            root = _common_parent(self.files)
        self._argument = argument
        self._on_error = on_error
        self.skipped: dict[Path, str] = {}
        self._cache: Images | None = None

        # Before files are read, which can take long.
        names = dict(zip(self.files, _relative_names(self.files, root), strict=True))
        shape = (*size, channels) if size and channels else None
        # Where it is known and all fit, no header says anything new.
        if read_once or shape is None or not self._fits(shape, cache_bytes):
            headers = self._readable(read_header)
            # One run names them all: those too that only decoding will find.
            if not headers or read_once:
                self._raise_if_any(self.skipped)
            sizes = [own for own, _ in headers]
            if size is None:
                size = _common_size(sizes, [names[f] for f in self.files], argument)
            has_colour = any(colour for _, colour in headers)
            shape = (*size, channels or (3 if has_colour else 1))
        if not read_once:
            sizes = self._decode_all(shape, cache_bytes)
        if on_error == "raise" or not self.files:
            self._raise_if_any(self.skipped)
        self.size_range = (min(sizes, key=math.prod), max(sizes, key=math.prod))
        super().__init__(shape, [names[file] for file in self.files])

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.files)

    def _read(self, indices: npt.NDArray[np.int64]) -> Images:
        if self._cache is not None:
            cached: Images = self._cache[indices]
            return cached
        files = [self.files[index] for index in indices]
        decoded = read_images(files, self.image_shape)
        self._raise_if_any(decoded.failures)
        return decoded.images

    def _fits(self, shape: tuple[int, int, int], cache_bytes: int) -> bool:
        return len(self.files) * math.prod(shape) <= cache_bytes

    def _decode_all(
        self, shape: tuple[int, int, int], cache_bytes: int
    ) -> list[tuple[int, int]]:
        """Decodes every file, to keep it if all fit, and returns their sizes."""
        if not self._fits(shape, cache_bytes):
            return self._readable(lambda file: read_resized(file, shape[2])[0])
        decoded = read_images(self.files, shape)
        self.files = decoded.files
        self._cache = decoded.images
        self._note(decoded.failures)
        return decoded.sizes

    def _readable(self, read: Callable[[Path], Result]) -> list[Result]:
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


@dataclass(frozen=True)
class DecodedFiles:
    """What could be made of some files.

    Attributes:
        files: The n files that could be read, in the order they were given.
        sizes: `(height, width)` in pixels of what is in each of them.
        images: uint8 array of shape (n, height, width, channels).
        failures: Reason by path, for each file that could not be read.
    """

    files: list[Path]
    sizes: list[tuple[int, int]]
    images: Images
    failures: dict[Path, str]


def read_images(
    files: Sequence[Path], image_shape: tuple[int, int, int]
) -> DecodedFiles:
    """Decodes images in threads, and brings them to a shape.

    Args:
        files: Paths of the images.
        image_shape: `(height, width, channels)` of each, channels 1 or 3.

    Returns:
        Those that could be read, and the reasons for the others.
    """
    images = np.empty((len(files), *image_shape), dtype=np.uint8)
    readable: list[Path] = []
    sizes: list[tuple[int, int]] = []
    failures: dict[Path, str] = {}
    reading = try_files(lambda file: _read_resized(file, image_shape), files)
    for file, found, failure in reading:
        if found is None:
            failures[file] = failure
            continue
        size, images[len(readable)] = found
        readable.append(file)
        sizes.append(size)
    return DecodedFiles(readable, sizes, images[: len(readable)], failures)


def read_image(file: Path, image_shape: tuple[int, int, int]) -> Images:
    """Decodes an image and brings it to a shape.

    Args:
        file: Path of the image.
        image_shape: `(height, width, channels)` of the result, channels 1 or 3.

    Returns:
        uint8 array of shape `image_shape`. It may be read-only.

    Raises:
        ValueError: If its pixels have no 8-bit meaning.
        OSError: If it cannot be decoded. Pillow raises others too.
    """
    return _read_resized(file, image_shape)[1]


def _read_resized(
    file: Path, image_shape: tuple[int, int, int]
) -> tuple[tuple[int, int], Images]:
    height, width, channels = image_shape
    own, pixels = read_resized(file, channels, (height, width))
    return own, convert_channels(pixels, channels)


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
