"""Images that come one after the other, kept for random access."""

import contextlib
import os
import sys
import tempfile
import weakref
from pathlib import Path
from time import monotonic
from typing import IO

import numpy as np

from kdfixmatch_keras.sources.array_source import ArraySource
from kdfixmatch_keras.sources.pixels import Images
from kdfixmatch_keras.storage.files import writing

# What is read of a data set that does not tell its length, before it is taken for one
# that never ends.
MAX_IMAGES, MAX_BYTES = 500_000, 16 << 30
# Seconds until the first word about the reading; until the next it is twice as long.
FIRST_WORD_AFTER = 10.0


class Spool:
    """Collects images in memory, and in a file when they are too many.

    The file lies in `tempfile.gettempdir()` and is deleted with the source.

    Args:
        memory_bytes: Above this size, in bytes, images go to the file.
        remedy: Sentence for a full disk, besides that of another folder.

    Attributes:
        num_images: Images that it has.
        num_bytes: Their size.
    """

    def __init__(self, memory_bytes: int, remedy: str = "") -> None:
        self.num_images = 0
        self.num_bytes = 0
        self._memory_bytes = memory_bytes
        self._remedy = remedy
        self._chunks: list[Images] = []
        self._file: IO[bytes] | None = None

    def append(self, images: Images) -> None:
        """Adds a batch of images, uint8 of shape (n, h, w, c)."""
        self.num_images += len(images)
        self.num_bytes += images.size
        # Not a view: it would keep a dropped alpha channel in memory.
        self._chunks.append(np.ascontiguousarray(images))
        if self.num_bytes > self._memory_bytes:
            self._flush()

    def finish(self, shape: tuple[int, int, int], argument: str) -> ArraySource:
        """The images as a source."""
        if self._file is None:
            images = np.concatenate(self._chunks)
            self._chunks = []
            return ArraySource(images, argument=argument)
        self._flush()
        self._file.close()
        path = self._file.name
        mapped = np.memmap(path, np.uint8, "r", shape=(self.num_images, *shape))
        source = ArraySource(mapped, argument=argument)
        # Runs when the source is collected, and at exit if it never is.
        weakref.finalize(source, _remove, path)
        return source

    def discard(self) -> None:
        """Deletes the file, if there is one."""
        if self._file is not None:
            # On a full disk it still has something to write.
            with contextlib.suppress(OSError):
                self._file.close()
            _remove(self._file.name)

    def _flush(self) -> None:
        remedy = "Set the environment variable TMPDIR to a folder with more space."
        with writing(Path(tempfile.gettempdir()), f"{remedy}{self._remedy}"):
            if self._file is None:
                self._file = tempfile.NamedTemporaryFile(
                    prefix="kdfixmatch_", suffix=".uint8", delete=False
                )
            for images in self._chunks:
                self._file.write(images.data)
            # What is still in memory is written here, too.
            self._file.flush()
        self._chunks = []


def _remove(path: str) -> None:
    # On Windows a file that is still mapped cannot be deleted.
    try:
        os.remove(path)
    except OSError:
        pass


class Reading:
    """Says how far a long reading is, and refuses one that does not end.

    Args:
        spool: What the images go to.
        length: How many elements there are to be read, or None where that is unknown.
        argument: Name that the caller knows the data by.
    """

    def __init__(self, spool: Spool, length: int | None, argument: str) -> None:
        self._spool = spool
        self._length = length
        self._argument = argument
        self._elements = 0
        self._started = monotonic()
        self._next_word = FIRST_WORD_AFTER

    def has_read_one(self) -> None:
        """One more element has been read.

        Raises:
            ValueError: They are more than can be meant.
        """
        self._elements += 1
        seconds = monotonic() - self._started
        if seconds >= self._next_word:
            self._next_word = 2 * max(seconds, self._next_word)
            # Not a warning: nothing is wrong. Nor does silence help one who waits.
            print(f"{self._words()} after {seconds:.0f} s", file=sys.stderr, flush=True)
        if self._length is None and (
            max(self._elements, self._spool.num_images) > MAX_IMAGES
            or self._spool.num_bytes > MAX_BYTES
        ):
            raise ValueError(
                f"`{self._argument}` must be a dataset that ends, as it is read once "
                f"to its end. Received: one that does not tell its length, and more "
                f"than {self._spool.num_images - 1:,} images of it "
                f"({self._spool.num_bytes / 1e9:.1f} GB). If it goes on for ever, add "
                "`.take(count)`. If it is that long, tell its length with "
                "`.apply(tf.data.experimental.assert_cardinality(count))`."
            )

    def _words(self) -> str:
        count = f"{self._spool.num_images:,} images"
        if self._length is None:
            count += ", of a dataset that does not tell its length,"
        else:
            count += f", {self._elements / self._length:.0%},"
        return f"Reading `{self._argument}`: {count}"
