"""What a run makes of all images of a folder, for the page to read.

`python -m kdfixmatch_web.look RUN FOLDER OUTPUT`. A process of its own, as it needs
Keras and takes its time.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras.fixmatch import FixMatch
from kdfixmatch_keras.report.run_folder import RunFolder
from kdfixmatch_keras.serving.prediction import embedder
from kdfixmatch_keras.sources.file_reading import read_images
from kdfixmatch_web.image_folder import ImageFolder
from kdfixmatch_web.outlook import write_outlook

BATCH = 128


def look(run: Path, folder: Path, output: Path) -> None:
    """Writes the guess of a run for each image that it can read, and what it sees.

    Args:
        run: Folder of a finished run.
        folder: Folder of images.
        output: NPZ file to write, which `outlook.Outlook` reads.

    Raises:
        ValueError: The run is none, or no image can be read.
    """
    model = RunFolder.open(run).load_model()
    images = ImageFolder(folder)
    names: list[str] = []
    probabilities, embeddings = [], []
    for readable, some, embedded in _outputs(model, images):
        names += readable
        probabilities.append(some)
        embeddings.append(embedded)
    if not names:
        raise ValueError(
            f"`FOLDER` must hold images that can be read. Received: {folder}"
        )
    write_outlook(
        output,
        names,
        model.class_names or [],
        np.concatenate(probabilities),
        np.concatenate(embeddings),
    )


def _outputs(
    model: Any, images: ImageFolder
) -> Iterator[tuple[list[str], np.ndarray, np.ndarray]]:
    """Names, probabilities and embeddings of the images, in batches."""
    as_array = keras.ops.convert_to_numpy
    networks = embedder(model.serving_network)
    for start in range(0, len(images), BATCH):
        some = images.names[start : start + BATCH]
        files = {images.root / name: name for name in some}
        found = read_images(list(files), model.image_shape, model.intensity_range)
        if not found.files:
            continue
        outputs = networks.predict_on_batch(found.images)
        probabilities = FixMatch.probabilities(outputs["logits"])
        readable = [files[file] for file in found.files]
        yield readable, as_array(probabilities), as_array(outputs["embeddings"])
        print(f"{start + len(some):,} of {len(images):,} images", flush=True)


if __name__ == "__main__":
    # Whoever labels meanwhile should not wait for it.
    os.nice(10)
    look(*map(Path, sys.argv[1:]))
