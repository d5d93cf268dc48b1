"""How fast and how lean `kdfixmatch predict` is, against bare decoding and forward.

python benchmarks/prediction.py

writes 20,000 JPEG files to a temporary folder and classifies them with untrained
networks, in a minute or two on two cores. "Bare" is the time to turn all files into
pixels of the network's size with Pillow, in as many threads as there are cores, plus
the time of the network's compiled forward passes on batches that are already in memory;
ours overlaps the two and writes the CSV file. It prints the median ratio of several
rounds, and the resident memory after each tenth of the images. Seen on two cores: ratio
0.97, and the same memory to the end.
"""

import argparse
import csv
import os
import resource
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kdfixmatch_keras import FixMatch
from kdfixmatch_keras.backbones import build_network
from kdfixmatch_keras.serving.file_prediction import predict_files

BATCH = 256
MEBIBYTE = 1 << 20


def main() -> None:
    """Measures one network and prints a line for each round."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=96, help="of the files, in pixels")
    parser.add_argument("--image-size", type=int, default=32, help="of the network")
    parser.add_argument("--backbone", default="small_cnn")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    side = options.image_size
    student = build_network(options.backbone, (side, side, 3), 10, weights=None, seed=0)
    network = FixMatch(student)
    with tempfile.TemporaryDirectory() as folder:
        files = write_images(Path(folder), options.images, options.side)
        # Traces, and fills the cache of the file system for both.
        ours(network, files[: 2 * BATCH + len(files) % BATCH], Path(folder))
        decode(files, side)
        ratios = []
        for number in range(options.rounds):
            decoding = decode(files, side)
            forward = forward_passes(network, len(files), side)
            seconds, memory = ours(network, files, Path(folder))
            ratios.append((decoding + forward) / seconds)
            print(
                f"round {number + 1}: bare {decoding:.1f} s decoding and "
                f"{forward:.1f} s forward, ours {seconds:.1f} s "
                f"({len(files) / seconds:,.0f} images/s), ratio {ratios[-1]:.2f}; "
                f"MiB in use {memory}",
                flush=True,
            )
    print(f"median ratio {statistics.median(ratios):.2f} (1 is the bare speed)")


def write_images(folder: Path, count: int, side: int) -> list[Path]:
    """Writes JPEG files of smooth noise, which compress as photographs do."""
    generator = np.random.default_rng(0)
    files = []
    for index in range(count):
        small = generator.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
        file = folder / f"{index:06}.jpg"
        Image.fromarray(small).resize((side, side)).save(file, quality=90)
        files.append(file)
    return files


def decode(files: list[Path], side: int) -> float:
    """Seconds to decode all files to RGB pixels of one size, and nothing else."""

    def read(file: Path) -> None:
        with Image.open(file) as image:
            colored = image.convert("RGB")
            if colored.size != (side, side):
                colored = colored.resize((side, side), Image.Resampling.BILINEAR)
            np.asarray(colored)

    started = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(read, files):
            pass
    return time.perf_counter() - started


def forward_passes(network: Any, count: int, side: int) -> float:
    """Seconds of the compiled forward passes, on one batch that stays in memory."""
    images = np.zeros((BATCH, side, side, 3), np.uint8)
    rest = images[: count % BATCH]
    network.predict_on_batch(images)
    started = time.perf_counter()
    for _ in range(count // BATCH):
        network.predict_on_batch(images)
    if len(rest):
        network.predict_on_batch(rest)
    return time.perf_counter() - started


def ours(network: Any, files: list[Path], folder: Path) -> tuple[float, list[int]]:
    """Seconds to predict all files into a CSV file, and memory on the way in MiB."""
    memory: list[int] = []
    done = 0
    started = time.perf_counter()
    with open(folder / "predictions.csv", "w", newline="") as file:
        writer = csv.writer(file)
        for batch in predict_files(network, files, BATCH):
            for path, row in zip(batch.files, batch.probabilities, strict=True):
                writer.writerow([path, row.argmax(), row.max()])
            done += len(batch.files)
            if done * 10 // len(files) > len(memory):
                memory.append(resident())
    return time.perf_counter() - started, memory


def resident() -> int:
    """Resident memory of this process in MiB."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        pages = int(statm.read_text().split()[1])
        return pages * resource.getpagesize() // MEBIBYTE
    # The peak, where the present is not told.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
