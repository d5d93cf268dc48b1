"""Predicting image files as a stream: memory stays flat, however many there are."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.fixmatch import FixMatch
from kdfixmatch_keras.sources.file_reading import DecodedFiles, read_images
from kdfixmatch_keras.sources.intensity import IntensityRange, check_known_range
from kdfixmatch_keras.sources.remarks import Remarks


@dataclass(frozen=True)
class PredictedBatch:
    """What is known of some files.

    Attributes:
        files: The n files that could be read, in the order they were given.
        probabilities: float32 array of shape (n, K).
        failures: Reason by path, for each file that could not be read.
        remarks: What of the others was dropped or changed, counted by kind.
    """

    files: list[Path]
    probabilities: npt.NDArray[np.float32]
    failures: dict[Path, str]
    remarks: Remarks


def predict_files(
    network: FixMatch,
    files: Sequence[Path],
    batch_size: int = 256,
    intensity_range: IntensityRange | None = None,
) -> Iterator[PredictedBatch]:
    """Reads and classifies files in batches; the next is decoded meanwhile.

    Args:
        network: The network, such as the `inner` of a `KDFixMatch`.
        files: Image files of any size.
        batch_size: Files in a batch.
        intensity_range: What intensities of 16-bit files become 0 and 255, that of the
            model; None refuses such files.

    Returns:
        The batches, in order.

    Raises:
        TypeError: `network`, `files` or `intensity_range` is of the wrong kind.
        ValueError: `batch_size` is not an integer of at least 1, or `intensity_range`
            bounds no range.
    """
    if not isinstance(network, FixMatch):
        raise TypeError(
            "`network` must be a FixMatch network, such as the `inner` of a "
            f"KDFixMatch. Received: network of type {type(network).__name__}"
        )
    if not isinstance(files, Sequence) or isinstance(files, str | bytes):
        raise TypeError(
            "`files` must be a list of paths. Received: files of type "
            f"{type(files).__name__}"
        )
    paths = [validation.check_path("files", file) for file in files]
    batch_size = validation.check_integer("batch_size", batch_size, 1)
    check_known_range(intensity_range)
    return _predict(network, paths, batch_size, intensity_range)


def _predict(
    network: FixMatch,
    files: list[Path],
    batch_size: int,
    intensities: IntensityRange | None,
) -> Iterator[PredictedBatch]:
    image_shape: tuple[int, int, int] = network.student.input_shape[1:]

    def decode(start: int) -> DecodedFiles:
        return read_images(files[start : start + batch_size], image_shape, intensities)

    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(decode, 0)
        for start in range(0, len(files), batch_size):
            found = following.result()
            following = ahead.submit(decode, start + batch_size)
            yield PredictedBatch(
                found.files,
                _probabilities(network, found.images),
                found.failures,
                found.inventory.remarks,
            )


def _probabilities(
    network: FixMatch, images: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    if len(images) == 0:
        return np.empty((0, network.student.output_shape[-1]), np.float32)
    # Of several devices, TensorFlow has each predict all.
    found = network.predict_on_batch(images)[: len(images)]
    return np.asarray(found, np.float32)
