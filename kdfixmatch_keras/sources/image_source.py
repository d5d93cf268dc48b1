"""The interface of every source of images."""

import abc
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.checks import array_validation
from kdfixmatch_keras.sources.intensity import (
    IntensityRange,
    Survey,
    check_known_range,
)
from kdfixmatch_keras.sources.pixels import Images


class ImageSource(abc.ABC):
    """Random access to uint8 images of one shape.

    `len(source)` is the number of images. `source[indices]` reads some of them: a
    pure function of the indices, which are the images' identity for as long as the
    source lives.

    Args:
        image_shape: `(height, width, channels)` of every image, channels 1 or 3.
        names: One name per image, or `None` where images have none.

    Attributes:
        image_shape: As given.
        names: As given: relative file names for folders, else `None`.
        intensity_range: What intensities of 16-bit files become 0 and 255, or None
            where there are none.
        survey: The intensities of these files, or None.
        deep_files: How many of the files have 16 bits.
        notes: Sentences about what of the files was dropped, changed or assumed.

    Example:
        >>> source = ArraySource(np.zeros((10, 32, 32, 3), "uint8"))
        >>> source[np.array([3, 1, 2])].shape
        (3, 32, 32, 3)
    """

    intensity_range: IntensityRange | None = None
    survey: Survey | None = None
    deep_files: int = 0

    @property
    def notes(self) -> list[str]:
        """Sentences about what of the files was dropped, changed or assumed."""
        return []

    def __init__(
        self, image_shape: tuple[int, int, int], names: list[str] | None = None
    ) -> None:
        """Sets what is the same for every image."""
        self.image_shape = image_shape
        self.names = names

    @abc.abstractmethod
    def __len__(self) -> int:
        """Returns the number of images."""

    def __getitem__(self, indices: npt.ArrayLike) -> Images:
        """Reads images in the order of `indices`.

        Args:
            indices: 1-D integer array of shape (n,), each in [0, len(source)).
                Repeats are allowed.

        Returns:
            uint8 array of shape (n, height, width, channels).

        Raises:
            IndexError: If an index is out of range. Negative indices are, because
                an image has one identity.
            ValueError: If `indices` is not a 1-D integer array.
        """
        positions = self.check_indices(indices)
        if positions.size == 0:
            return np.empty((0, *self.image_shape), dtype=np.uint8)
        return self._read(positions)

    def check_indices(self, indices: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Checks that indices are those of images.

        Args:
            indices: 1-D integer array of shape (n,), each in [0, len(self)).

        Returns:
            int64 array of shape (n,).

        Raises:
            IndexError: If an index is out of range.
            ValueError: If `indices` is not a 1-D integer array.
        """
        positions = array_validation.check_array(
            "indices", indices, "a 1-D array of integers"
        )
        if positions.ndim == 1 and positions.size == 0:
            return np.empty(0, dtype=np.int64)
        if positions.ndim != 1 or positions.dtype.kind not in "iu":
            raise ValueError(
                "`indices` must be a 1-D array of integers; read one image with "
                f"source[[index]]. Received: shape={positions.shape}, "
                f"dtype={positions.dtype}"
            )
        if positions.min() < 0 or positions.max() >= len(self):
            raise IndexError(
                f"`indices` must be in [0, {len(self)}). Received: indices from "
                f"{positions.min()} to {positions.max()}"
            )
        return positions.astype(np.int64)

    def in_range(self, intensity_range: IntensityRange | None) -> "ImageSource":
        """The same images, those of 16 bits scaled as others are.

        Args:
            intensity_range: What intensities become 0 and 255, as of a model; None
                where 16-bit images are refused.

        Returns:
            A source of its own, or this one where nothing changes.

        Raises:
            TypeError: `intensity_range` is neither an `IntensityRange` nor None.
            ValueError: It bounds no range, or an image cannot be brought to it.
        """
        check_known_range(intensity_range)
        return self._in_range(intensity_range)

    def _in_range(self, intensity_range: IntensityRange | None) -> "ImageSource":
        return self

    @abc.abstractmethod
    def _read(self, indices: npt.NDArray[np.int64]) -> Images:
        """Reads at least one image; `indices` have been checked."""


def in_parts(source: ImageSource, size: int = 256) -> Iterator[Images]:
    """All images of a source in their order, at most `size` of them in memory."""
    for start in range(0, len(source), size):
        yield source[np.arange(start, min(start + size, len(source)))]
