"""Images as the page shows them: what a training sees, small enough for a screen."""

import contextlib
import hashlib
import io
import os
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from kdfixmatch_keras.sources.file_reading import try_files
from kdfixmatch_keras.sources.image_decoding import Decoded, read_resized
from kdfixmatch_keras.sources.intensity import IntensityRange, Survey, range_of
from kdfixmatch_keras.sources.pixels import Images
from kdfixmatch_web.image_folder import ImageFolder

# The most pixels of a side. "full" is for those who look closely.
SIZES = {"small": 192, "large": 1280, "full": 6000}
# Up to this side, pixels are shown as they are.
_LOSSLESS = 512
_QUALITY = 88
# The most that is kept on the disk. When it is reached, the oldest go.
CACHE_BYTES = 512 << 20
_SHARE_OF_A_SWEEP = 1 / 8


class UnreadableImage(Exception):
    """An image that cannot be shown; the message says why."""


@dataclass(frozen=True)
class Picture:
    """An encoded image.

    Attributes:
        data: The file.
        media_type: Its type, such as `"image/png"`.
    """

    data: bytes
    media_type: str


class Pictures:
    """Makes pictures of images when they are asked for, and keeps the small ones.

    Args:
        images: The images.
        cache: Folder to keep them in, which need not exist.
        cache_bytes: The most that the folder may take.
    """

    def __init__(
        self,
        images: ImageFolder,
        cache: Path,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._images = images
        self._cache = cache
        # What of 16-bit files becomes black and white: as those asked for so far need.
        self._range: IntensityRange | None = None
        self._survey: Survey | None = None
        self._surveying = threading.Lock()
        self._cache_bytes = cache_bytes
        # What may have been added since it was last looked at; at first, anything.
        self._added = cache_bytes
        # More at a time would only make each of them wait.
        self._decoding = threading.BoundedSemaphore(os.cpu_count() or 1)

    def get(self, name: str, size: str) -> Picture:
        """A picture of an image.

        Args:
            name: Name of the image.
            size: One of `SIZES`.

        Raises:
            KeyError: There is no such image.
            UnreadableImage: It cannot be read.
        """
        file = self._images.file(name)
        made_of = None if size == "full" else _made_of(file, size)
        if made_of is not None:
            with contextlib.suppress(OSError):
                kept = self._place(made_of)
                data = kept.read_bytes()
                # The oldest go first.
                os.utime(kept)
                return Picture(data, _media_type(data))
        with self._decoding:
            picture = _encoded(self._pixels(file), SIZES[size])
        if made_of is not None:
            # Which may have another range than before.
            self._keep(self._place(made_of), picture.data)
        return picture

    def _place(self, made_of: str) -> Path:
        """Where a picture is kept, which depends on all that it is made of."""
        key = hashlib.sha256(f"{made_of} {self._range}".encode()).hexdigest()
        return self._cache / key[:2] / key[2:]

    def _pixels(self, file: Path) -> Images:
        found, reason = _tried(file, self._range)
        if found is None and self._range is not None:
            # It may only lie beyond the range of those before.
            found, reason = _tried(file, None)
        if found is not None and found.facts.survey is not None:
            self._widen(found.facts.survey)
            found, reason = _tried(file, self._range)
        if found is None or found.pixels is None:
            raise UnreadableImage(reason)
        return found.pixels

    def _widen(self, survey: Survey) -> None:
        """Takes the intensities of one more 16-bit image into account."""
        with self._surveying:
            known = survey if self._survey is None else self._survey + survey
            try:
                self._range = range_of(known, "images")
            except ValueError as error:
                raise UnreadableImage(str(error)) from error
            self._survey = known

    def _keep(self, place: Path, data: bytes) -> None:
        """Keeps a picture; where the disk does not take it, it is made again."""
        with contextlib.suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
                file.write(data)
            os.replace(file.name, place)
        self._added += len(data)
        if self._added > self._cache_bytes * _SHARE_OF_A_SWEEP:
            self._added = 0
            threading.Thread(target=self._sweep, daemon=True).start()

    def _sweep(self) -> None:
        """Removes the pictures that were longest not asked for, down to the limit."""
        found = []
        for folder, _, names in os.walk(self._cache):
            for name in names:
                with contextlib.suppress(OSError):
                    facts = os.stat(path := os.path.join(folder, name))
                    found.append((facts.st_mtime_ns, facts.st_size, path))
        room = self._cache_bytes * (1 - _SHARE_OF_A_SWEEP)
        for _, size, path in sorted(found, reverse=True):
            room -= size
            if room < 0:
                with contextlib.suppress(OSError):
                    os.remove(path)


def _made_of(file: Path, size: str) -> str | None:
    """What tells a file and its state from others; None of one that is not there."""
    with contextlib.suppress(OSError):
        found = os.stat(file)
        return ascii((file, size, found.st_mtime_ns, found.st_size))
    return None


def _tried(
    file: Path, intensities: IntensityRange | None
) -> tuple[Decoded | None, str]:
    """What is in a file, or why it cannot be read."""

    def read(file: Path) -> Decoded:
        return read_resized(file, intensities=intensities)

    ((_, found, reason),) = try_files(read, [file])
    return found, reason


def _encoded(pixels: Images, most: int) -> Picture:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if max(image.size) > most:
        image.thumbnail((most, most), reducing_gap=3.0)
    is_lossless = max(image.size) <= _LOSSLESS and image.size == pixels.shape[1::-1]
    encoded = io.BytesIO()
    if is_lossless:
        image.save(encoded, "PNG", compress_level=1)
    else:
        image.save(encoded, "JPEG", quality=_QUALITY)
    data = encoded.getvalue()
    return Picture(data, _media_type(data))


def _media_type(data: bytes) -> str:
    return "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
