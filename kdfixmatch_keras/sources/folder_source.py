"""Images in a folder of files."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.sources.image_files import (
    EXTENSIONS,
    PathLike,
    check_folder,
    find_images,
    read_header,
    read_pixels,
)
from kdfixmatch_keras.sources.image_source import ImageSource
from kdfixmatch_keras.sources.pixels import (
    Images,
    check_channels,
    check_image_size,
    conform,
)

Result = TypeVar("Result")


class FolderSource(ImageSource):
    """Images in files, in the sorted order of their relative paths.

    A folder is searched with its sub-folders; hidden files and folders are left
    out. Modes 1, L, LA and I (16-bit, of which the high byte is kept) are
    grayscale; every other mode becomes RGB, without alpha. Of an animation the
    first frame is read. EXIF orientation is not applied.

    Every file's header is read at once, so sizes and unreadable files are known
    before training starts. If all pixels fit in `cache_bytes`, they are decoded at
    once too; else each batch is decoded as it is read, in threads.

    Args:
        folder_or_files: A folder, or a list of image files, whose order is kept.
        image_size: `(height, width)` that images are resized to. `None`: all must
            have one size.
        channels: 1 or 3. `None`: 3 if any image has colour, else 1.
        cache_bytes: Most memory, in bytes, that decoded images may take.
        root: Folder that holds all `files` and that names are relative to. `None`:
            the folder, or the files' common parent.
        argument: Name that error messages give to `folder_or_files`.

    Attributes:
        files: Path of each image.

    Raises:
        ValueError: If there is no such folder or no image, an image cannot be read,
            or sizes differ and `image_size` is `None`.
    """

    def __init__(
        self,
        folder_or_files: PathLike | Sequence[PathLike],
        image_size: Sequence[int] | None = None,
        channels: int | None = None,
        *,
        cache_bytes: int = 1 << 30,
        root: PathLike | None = None,
        argument: str = "folder_or_files",
    ) -> None:
        """Reads every header, and every image if they fit in `cache_bytes`."""
        size = check_image_size(image_size)
        check_channels(channels)
        if isinstance(folder_or_files, (str, os.PathLike)):
            root = check_folder(folder_or_files, argument)
            self.files = find_images(root)
        else:
            self.files = [Path(file) for file in folder_or_files]
        if not self.files:
            raise ValueError(
                f"`{argument}` must hold at least one image, in a file that ends in "
                f".{', .'.join(EXTENSIONS)}. Received: "
                f"{argument}={_shown(folder_or_files)}"
            )
        if root is None:
            root = os.path.commonpath([file.parent for file in self.files])
        names = [file.relative_to(root).as_posix() for file in self.files]
        self._argument = argument

        headers = list(_in_threads(read_header, self.files, argument))
        size = size or _common_size([own for own, _ in headers], names, argument)
        has_colour = any(colour for _, colour in headers)
        super().__init__((*size, channels or (3 if has_colour else 1)), names)

        self._cache: Images | None = None
        if len(names) * int(np.prod(self.image_shape)) <= cache_bytes:
            self._cache = self._decode(self.files)

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.files)

    def _read(self, indices: npt.NDArray[np.int64]) -> Images:
        if self._cache is not None:
            cached: Images = self._cache[indices]
            return cached
        return self._decode([self.files[index] for index in indices])

    def _decode(self, files: list[Path]) -> Images:
        def read(file: Path) -> Images:
            batch = conform(read_pixels(file)[np.newaxis], self.image_shape)
            return batch.reshape(self.image_shape)

        images = np.empty((len(files), *self.image_shape), dtype=np.uint8)
        for position, image in enumerate(_in_threads(read, files, self._argument)):
            images[position] = image
        return images


def _in_threads(
    read: Callable[[Path], Result], files: list[Path], argument: str
) -> Iterator[Result]:
    """Yields `read(file)` for each file, in order, and names those that fail.

    Every file is tried before the error is raised, so one run names them all.

    Raises:
        ValueError: At the end, if any file could not be read.
    """

    def attempt(file: Path) -> tuple[Result | None, str]:
        try:
            return read(file), ""
        # Pillow's decoders raise OSError, SyntaxError, struct.error and others.
        except Exception as error:
            # Pillow's own message may hold the path, and the address of a stream.
            reason = type(error).__name__ if str(file) in str(error) else str(error)
            return None, f"{file} ({reason or type(error).__name__})"

    failures: list[str] = []
    # A pool per call: threads kept for long would not survive a fork.
    workers = max(1, min(len(files), os.cpu_count() or 1, 16))
    with ThreadPoolExecutor(workers) as pool:
        for result, failure in pool.map(attempt, files):
            if result is None:
                failures.append(failure)
            else:
                yield result
    if failures:
        more = f" and {len(failures) - 5} more" if len(failures) > 5 else ""
        raise ValueError(
            f"`{argument}` must hold only readable images. Received: "
            f"{len(failures)} that cannot be read: {', '.join(failures[:5])}{more}. "
            "Repair or remove them."
        )


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
