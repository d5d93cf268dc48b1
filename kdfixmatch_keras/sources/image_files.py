"""Finding image files, and reading them as 8-bit grayscale or RGB pixels."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from kdfixmatch_keras.sources.pixels import Images

EXTENSIONS = ("jpg", "jpeg", "png", "bmp", "gif", "webp", "tif", "tiff")

# What Pillow warns of: beyond it lies twice that, which it refuses.
MAX_PIXELS = 89_478_485

PathLike = str | os.PathLike[str]


def check_folder(folder: PathLike, argument: str) -> Path:
    """Checks that a folder is there.

    Args:
        folder: Path of the folder; `~` is the home directory.
        argument: Name that the caller knows the folder by.

    Returns:
        The folder as a `Path`.

    Raises:
        ValueError: If there is no such folder.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        found = "it is a file" if path.exists() else "there is no such folder"
        raise ValueError(
            f"`{argument}` must be an existing folder. Received: "
            f"{argument}={str(folder)!r} ({found})"
        )
    return path


def find_images(folder: Path) -> list[Path]:
    """Lists the image files under a folder, sorted by relative posix path.

    Hidden files and folders (whose names begin with a dot) are left out. Links are
    followed, except back into a folder that holds them.

    Args:
        folder: An existing folder.

    Returns:
        Paths that begin with `folder`.
    """
    files = _walk(folder, ancestors=())
    return sorted(files, key=lambda file: file.relative_to(folder).as_posix())


def _walk(folder: Path, ancestors: tuple[Path, ...]) -> list[Path]:
    resolved = folder.resolve()
    if resolved in ancestors:
        return []
    files: list[Path] = []
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            files += _walk(entry, (*ancestors, resolved))
        elif entry.suffix.lower()[1:] in EXTENSIONS:
            files.append(entry)
    return files


def read_header(file: Path) -> tuple[tuple[int, int], bool]:
    """Reads the size and kind of an image without decoding it.

    Args:
        file: Path of the image.

    Returns:
        `(height, width)`, and whether the image has colour.

    Raises:
        ValueError: If it has more than `MAX_PIXELS` pixels.
        OSError: If it is no image. Pillow raises others too.
    """
    with Image.open(file) as image:
        _check_pixels(image)
        return (image.height, image.width), not _is_gray(image.mode)


def read_pixels(file: Path) -> Images:
    """Decodes an image.

    Args:
        file: Path of the image.

    Returns:
        uint8 array of shape (height, width, 1), or (height, width, 3) if the image
        has colour.

    Raises:
        ValueError: If its pixels have no 8-bit meaning, or are more than
            `MAX_PIXELS`.
        OSError: If it cannot be decoded. Pillow raises others too.
    """
    with Image.open(file) as image:
        _check_pixels(image)
        if image.mode.startswith("I"):
            return _high_byte(image)
        if _is_gray(image.mode):
            return np.array(image.convert("L"))[..., np.newaxis]
        if image.mode == "F":
            raise ValueError("floating-point pixels; save it as 8 or 16 bits")
        if image.mode == "P" and "transparency" in image.info:
            # Straight to RGB, Pillow warns about what is dropped on purpose here.
            return np.array(image.convert("RGBA"))[..., :3]
        return np.array(image.convert("RGB"))


def _check_pixels(image: Image.Image) -> None:
    """Refuses an image that would fill the memory, before it is decoded."""
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(
            f"{image.width} x {image.height} pixels, more than the {MAX_PIXELS:,} that "
            "are read; make it smaller"
        )


def _is_gray(mode: str) -> bool:
    return mode in ("1", "L", "LA", "La") or mode.startswith("I")


def _high_byte(image: Image.Image) -> Images:
    pixels = np.asarray(image)
    if pixels.min() < 0 or pixels.max() > 0xFFFF:
        raise ValueError("pixels beyond 16 bits; save it as 8 or 16 bits")
    return (pixels >> 8).astype(np.uint8)[..., np.newaxis]
