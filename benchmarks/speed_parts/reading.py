"""Folders and predictions against bare decoding with Pillow and bare forward passes."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from prediction import BATCH, decode, forward_passes, ours, write_images

from kdfixmatch_keras import FixMatch
from kdfixmatch_keras.backbones import build_network
from kdfixmatch_keras.sources import FolderSource, unlabeled_source
from speed_parts.timing import seconds


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Writes JPEG files, and reads and classifies them.

    Args:
        job: `"images"`, how many; `"side"` of the files, `"image_size"` of the
            network, `"backbone"` and `"repeats"`.

    Returns:
        `"seconds"` in each repeat: `"decoding"` and `"forward"`, the bare ones;
        `"opening"` a folder, which decodes each file into memory; `"reading"` its
        images in batches of a random order where they do not fit there; `"predicting"`
        files into a CSV file. `"memory"`: resident MiB on the way through the last
        prediction.
    """
    side = job["image_size"]
    student = build_network(job["backbone"], (side, side, 3), 10, weights=None, seed=0)
    network = FixMatch(student)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = folder / "images"
        images.mkdir()
        files = write_images(images, job["images"], job["side"])
        order = np.random.default_rng(0).permutation(len(files))

        def open_folder() -> Any:
            return unlabeled_source(images, (side, side), 3)

        source = FolderSource(files, (side, side), 3, cache_bytes=0)

        def read() -> None:
            for start in range(0, len(files), BATCH):
                source[order[start : start + BATCH]]

        # Traces, and fills the cache of the file system for all.
        ours(network, files[: 2 * BATCH + len(files) % BATCH], folder)
        decode(files, side)
        for _ in range(job["repeats"]):
            predicting, memory = ours(network, files, folder)
            for what, value in (
                ("decoding", decode(files, side)),
                ("opening", seconds(open_folder)),
                ("reading", seconds(read)),
                ("forward", forward_passes(network, len(files), side)),
                ("predicting", predicting),
            ):
                found.setdefault(what, []).append(value)
    return {"seconds": found, "memory": memory}
