"""Some of the images of another source."""

import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.sources.image_source import ImageSource
from kdfixmatch_keras.sources.intensity import IntensityRange
from kdfixmatch_keras.sources.pixels import Images


class SubsetSource(ImageSource):
    """Some images of a source, in any order, without a copy of their pixels.

    Args:
        source: Where the images are read.
        indices: Position in `source` of each image of the subset, shape (n,).

    Attributes:
        source: As given; of a subset its own source, so that it is never one.
        indices: Positions in that, int64.

    Raises:
        TypeError: If `source` is no source.
        IndexError: If an index is out of range.
        ValueError: If `indices` is not a 1-D integer array.
    """

    source: ImageSource
    indices: npt.NDArray[np.int64]

    def __init__(self, source: ImageSource, indices: npt.ArrayLike) -> None:
        """Checks the indices and reads no pixel."""
        if not isinstance(source, ImageSource):
            raise TypeError(
                "`source` must be an ImageSource, as `unlabeled_source` makes one. "
                f"Received: type={type(source).__name__}"
            )
        rows = source.check_indices(indices)
        if isinstance(source, SubsetSource):
            rows = source.indices[rows]
            source = source.source
        self.source, self.indices = source, rows
        names = source.names
        super().__init__(
            source.image_shape,
            None if names is None else [names[index] for index in self.indices],
        )

        self.intensity_range, self.survey = source.intensity_range, source.survey
        self.deep_files = source.deep_files

    @property
    def notes(self) -> list[str]:
        """Those of all images of the source."""
        return self.source.notes

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.indices)

    def _in_range(self, intensity_range: IntensityRange | None) -> ImageSource:
        source = self.source.in_range(intensity_range)
        return self if source is self.source else SubsetSource(source, self.indices)

    def _read(self, indices: npt.NDArray[np.int64]) -> Images:
        return self.source[self.indices[indices]]
