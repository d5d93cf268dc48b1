"""Some of the images of another source."""

import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.sources.image_source import ImageSource
from kdfixmatch_keras.sources.pixels import Images


class SubsetSource(ImageSource):
    """Some images of a source, in any order, without a copy of their pixels.

    Args:
        source: Where the images are read.
        indices: Position in `source` of each image of the subset, shape (n,).

    Attributes:
        source: As given.
        indices: As given, int64.

    Raises:
        TypeError: If `source` is no source.
        IndexError: If an index is out of range.
        ValueError: If `indices` is not a 1-D integer array.
    """

    def __init__(self, source: ImageSource, indices: npt.ArrayLike) -> None:
        """Checks the indices and reads no pixel."""
        if not isinstance(source, ImageSource):
            raise TypeError(
                "`source` must be an ImageSource, as `unlabeled_source` makes one. "
                f"Received: type={type(source).__name__}"
            )
        self.source = source
        self.indices = source.check_indices(indices)
        names = source.names
        super().__init__(
            source.image_shape,
            None if names is None else [names[index] for index in self.indices],
        )

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.indices)

    def _read(self, indices: npt.NDArray[np.int64]) -> Images:
        return self.source[self.indices[indices]]
