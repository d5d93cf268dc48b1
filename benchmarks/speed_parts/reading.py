"""Folders and predictions against bare decoding with Pillow and bare forward passes."""

import csv
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Action, memory, rounds
from PIL import Image

from kdfixmatch_keras import FixMatch
from kdfixmatch_keras.backbones import build_network
from kdfixmatch_keras.serving.file_prediction import predict_files
from kdfixmatch_keras.sources import FolderSource, unlabeled_source

BATCH = 256


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Writes JPEG files, and reads and classifies them.

    Returns:
        `"seconds"` in each repeat: `"decoding"` and `"forward"`, the bare ones;
        `"opening"` a folder, which decodes each file into memory; `"reading"` its
        images in batches of a random order where they do not fit there; `"predicting"`
        files into a CSV file. `"memory"`: resident MiB after each tenth of the last
        prediction.
    """
    side, count = job["image_size"], job["images"]
    size = (side, side)
    student = build_network(job["backbone"], (*size, 3), 10, weights=None, seed=0)
    network = FixMatch(student)
    black = np.zeros((BATCH, *size, 3), np.uint8)
    order = np.random.default_rng(0).permutation(count)
    starts = range(0, count, BATCH)
    resident: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        files = write_images(images, count, job["side"])
        source = FolderSource(files, size, 3, cache_bytes=0)

        def predict(chosen: list[Path]) -> None:
            resident[:] = predict_to(network, chosen, Path(folder) / "predictions.csv")

        alternatives: dict[str, Action] = {
            "decoding": lambda: decode(files, size),
            "opening": lambda: unlabeled_source(images, size, 3),
            "reading": lambda: [source[order[i : i + BATCH]] for i in starts],
            "forward": lambda: [
                network.predict_on_batch(black[: count - start]) for start in starts
            ],
            "predicting": lambda: predict(files),
        }
        # Traces both shapes, and fills the cache of the file system for all.
        predict(files[: 2 * BATCH + count % BATCH])
        for name in ("forward", "decoding"):
            alternatives[name]()
        return {"seconds": rounds(alternatives, job["repeats"]), "memory": resident}


def write_images(folder: Path, count: int, side: int) -> list[Path]:
    """Writes JPEG files of smooth noise, which compress as photographs do."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    files = [folder / f"{index:06}.jpg" for index in range(count)]
    for file in files:
        small = generator.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
        Image.fromarray(small).resize((side, side)).save(file, quality=90)
    return files


def decode(files: list[Path], size: tuple[int, int]) -> None:
    """Decodes all files to RGB pixels of one size, and does nothing else."""

    def read(file: Path) -> None:
        with Image.open(file) as image:
            colored = image.convert("RGB")
            if colored.size != size:
                colored = colored.resize(size, Image.Resampling.BILINEAR)
            np.asarray(colored)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(read, files))


def predict_to(network: Any, files: list[Path], path: Path) -> list[int]:
    """Predicts all files into a CSV file; returns the memory on the way, in MiB."""
    resident: list[int] = []
    done = 0
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        for batch in predict_files(network, files, BATCH):
            for name, row in zip(batch.files, batch.probabilities, strict=True):
                writer.writerow([name, row.argmax(), row.max()])
            done += len(batch.files)
            if done * 10 // len(files) > len(resident):
                resident.append(memory("VmRSS") >> 20)
    return resident
