"""What a run makes of all images of a folder, for the page to read.

`python -m kdfixmatch_web.look RUN FOLDER LABELS OUTPUT [TEST]`. A process of its own,
as it needs Keras and takes its time.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.fixmatch import FixMatch
from kdfixmatch_keras.report.run_folder import RunFolder
from kdfixmatch_keras.serving.prediction import embedder
from kdfixmatch_keras.sources.file_reading import DecodedFiles, read_images
from kdfixmatch_keras.sources.image_files import check_folder, search_folder
from kdfixmatch_keras.sources.labels_file import read_labels_file
from kdfixmatch_keras.sources.look_alikes import CopiesOf
from kdfixmatch_keras.suggestion import mixed_parts
from kdfixmatch_web.image_folder import ImageFolder
from kdfixmatch_web.outlook import write_outlook
from kdfixmatch_web.suggestions import COUNT, write_suggestions

BATCH = 128


def look(
    run: Path, folder: Path, labels: Path, output: Path, test: Path | None = None
) -> None:
    """Writes what a run takes each image for, and which it would learn most from.

    Args:
        run: Folder of a finished run.
        folder: Folder of images.
        labels: CSV file of those that have a label.
        output: NPZ file to write, which `outlook.Outlook` reads; a CSV file beside it
            has the suggestions.
        test: Folder of images for test, which are not asked about, nor their copies.
            None: that of the run, if it has one that is still there.

    Raises:
        ValueError: The run or the labels are none, or no image can be read.
    """
    finished = RunFolder.open(run)
    if test is None:
        own = finished.paths().get("test")
        test = own if own is not None and own.is_dir() else None
    model = finished.load_model()
    copies = _copies_of(model, test)
    images = ImageFolder(folder)
    files, _ = read_labels_file(labels, images.root)
    labeled = {images.name_of(file) for file in files}
    names: list[str] = []
    parts = []
    for readable, *outputs in _outputs(model, images, copies):
        names += readable
        parts.append(outputs)
    if not names:
        raise ValueError(
            "`FOLDER` must hold images that can be read and are not for test. "
            f"Received: {folder}"
        )
    probabilities, embeddings = map(np.concatenate, zip(*parts, strict=True))
    classes = model.class_names or []
    rows = [row for row, name in enumerate(names) if name in labeled]
    found = _suggested(embeddings, probabilities, rows)
    write_suggestions(
        output.with_suffix(".csv"),
        (_as_row(names[row], why, probabilities[row], classes) for row, why in found),
    )
    # Last, as it tells that all is there.
    write_outlook(output, names, classes, probabilities, embeddings)


def _copies_of(model: Any, test: Path | None) -> CopiesOf:
    """Tells copies of images for test, as the model gets them."""
    files = [] if test is None else search_folder(check_folder(test, "TEST")).files
    parts = (
        _read(model, files[start : start + BATCH])
        for start in range(0, len(files), BATCH)
    )
    return CopiesOf(part.images for part in parts if part.files)


def _read(model: Any, files: Sequence[Path]) -> DecodedFiles:
    return read_images(files, model.image_shape, model.intensity_range)


def _outputs(
    model: Any, images: ImageFolder, copies: CopiesOf
) -> Iterator[tuple[list[str], npt.NDArray[Any], npt.NDArray[Any]]]:
    """Names, probabilities and embeddings of the images, in batches."""
    as_array = keras.ops.convert_to_numpy
    networks = embedder(model.serving_network)
    for start in range(0, len(images), BATCH):
        some = images.names[start : start + BATCH]
        files = {images.root / name: name for name in some}
        found = _read(model, list(files))
        if found.files:
            is_copy = copies.among(found.images)
            outputs = networks.predict_on_batch(found.images)
            probabilities = FixMatch.probabilities(outputs["logits"])
            names = [files[file] for file in found.files]
            yield (
                [
                    name
                    for name, is_one in zip(names, is_copy, strict=True)
                    if not is_one
                ],
                as_array(probabilities)[~is_copy],
                as_array(outputs["embeddings"])[~is_copy],
            )
        print(f"{start + len(some):,} of {len(images):,} images", flush=True)


def _suggested(
    embeddings: npt.NDArray[Any], probabilities: npt.NDArray[Any], labeled: list[int]
) -> list[tuple[int, str]]:
    """Rows and kinds of the images to label, doubtful and typical ones by turns."""
    count = min(COUNT, len(embeddings) - len(labeled))
    if count < 1:
        return []
    typical, doubtful = mixed_parts(
        embeddings, probabilities, count=count, labeled=labeled
    )
    turns = zip_longest(
        ((int(row), "doubtful") for row in doubtful),
        ((int(row), "typical") for row in typical),
    )
    return [found for found in chain.from_iterable(turns) if found is not None]


def _as_row(
    name: str, why: str, probabilities: npt.NDArray[Any], classes: Sequence[str]
) -> tuple[str, str, str, float]:
    best, second = np.argsort(-probabilities, kind="stable")[:2]
    if why == "doubtful":
        why = f"doubtful: {classes[best]} or {classes[second]}"
    return name, why, classes[best], round(float(probabilities[best]), 4)


if __name__ == "__main__":
    # Whoever labels meanwhile should not wait for it.
    os.nice(10)
    look(*map(Path, sys.argv[1:]))
