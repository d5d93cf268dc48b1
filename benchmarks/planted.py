"""How much of what was planted an audit finds.

python benchmarks/planted.py --data solar_cells --output planted_output
python benchmarks/planted.py --data cifar10 --data-dir FOLDER --output planted_output

take minutes, add to `planted.json` in the folder and write its `README.md`.

For each of three seeds, 50 changed copies of labeled and test images are put among the
unlabeled ones (JPEG of quality 75, half the size, a tenth brighter, in turn), and 5 %
of 500 labels are given another class. What `kdfixmatch_keras.audit` finds is counted.
"""

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import measuring
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from kdfixmatch_keras import audit, datasets
from kdfixmatch_keras.baselines import LinearProbe, frozen_features
from kdfixmatch_keras.sources import SubsetSource
from kdfixmatch_keras.sources.image_source import in_parts
from kdfixmatch_keras.sources.look_alikes import thumbnails

SEEDS, NUM_LABELS, NUM_COPIES, WRONG = 3, 500, 50, 0.05
BACKBONE, SIZE = "efficientnet_lite0", 96


def main() -> int:
    """Plants, audits and writes."""
    options = parse()
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "planted.json"
    content: dict[str, Any] = {"cells": []}
    if path.exists():
        content = json.loads(path.read_text())
    others = [cell for cell in content["cells"] if cell["data"] != options.data]
    content["cells"] = others + [
        planted(options.data, seed, options.data_dir) for seed in range(options.seeds)
    ]
    measuring.keep(path, content)
    text = text_of(content["cells"])
    (options.output / "README.md").write_text(text)
    print(text)
    return 0


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line, that of this process unless another is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, choices=datasets.NAMES)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args(arguments)


def planted(data: str, seed: int, data_dir: Path | None) -> dict[str, Any]:
    """What is found of the copies and wrong labels of one seed."""
    images = datasets.load(data, NUM_LABELS, seed, data_dir=data_dir)
    rng = np.random.default_rng(seed)
    # As an audit has them: labeled and test first, then the others.
    small = [thumbnails(part) for part in in_parts(images.labeled.images)]
    small += [thumbnails(part) for part in in_parts(images.test.images)]
    known = len(np.concatenate(small))
    rows = np.setdiff1d(np.arange(len(images.unlabeled)), images.labeled_indices)
    small += [
        thumbnails(part) for part in in_parts(SubsetSource(images.unlabeled, rows))
    ]
    originals = rng.choice(known, NUM_COPIES, replace=False)
    for number, row in enumerate(originals.tolist()):
        labels = len(images.labeled.images)
        source, row = (
            (images.labeled.images, row)
            if row < labels
            else (images.test.images, row - labels)
        )
        small.append(thumbnails(_changed(source[[row]][0], number)[None]))
    first = audit.near_copies(np.concatenate(small))
    copies = first[-NUM_COPIES:]
    joined = int((first[:-NUM_COPIES] != np.arange(len(first) - NUM_COPIES)).sum())

    truth = images.labeled.labels
    wrong = rng.choice(len(truth), round(WRONG * len(truth)), replace=False)
    given = truth.copy()
    given[wrong] += rng.integers(1, len(images.class_names), len(wrong), np.int32)
    given %= len(images.class_names)
    found = audit.doubtful_labels(_features(images.labeled.images), given, seed=seed)
    first_ones = found.rows[: len(wrong)]
    return {
        "data": data,
        "seed": seed,
        "commit": measuring.commit(),
        "images": len(first),
        "copies": NUM_COPIES,
        "copies_found": int((copies == originals).sum()),
        "other_copies": joined,
        "wrong": len(wrong),
        "doubtful": len(found.rows),
        "wrong_among_doubtful": int(np.isin(found.rows, wrong).sum()),
        "wrong_among_first": int(np.isin(first_ones, wrong).sum()),
    }


def _changed(pixels: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """A copy of an image as somebody else would have saved it."""
    image = Image.fromarray(pixels.squeeze())
    size = image.size
    if number % 3 == 0:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=75)
        image = Image.open(stream)
    elif number % 3 == 1:
        half = (size[0] // 2, size[1] // 2)
        image = image.resize(half, Image.Resampling.LANCZOS).resize(size)
    else:
        image = ImageEnhance.Brightness(image).enhance(1.1)
    return np.asarray(image).reshape(pixels.shape)


def _features(images: Any) -> NDArray[np.float32]:
    return frozen_features.of_images(LinearProbe(BACKBONE), images, SIZE)


def text_of(cells: list[dict[str, Any]]) -> str:
    """The page."""
    lines = [
        "# What an audit finds",
        "",
        "```sh",
        *(line for line in (__doc__ or "").splitlines() if line.startswith("python")),
        "```",
        "",
        (__doc__ or "").split("\n\n")[-1].strip(),
        "",
        "Copies: of those planted, how many are found, and how many images beside them "
        "look like another (data sets have near copies of their own). Labels: how many "
        "are called doubtful, how many of these and of the first of them (as many as "
        "are wrong) are wrong in truth.",
        "",
        "| data, seed | images | copies found | other near copies | wrong labels | "
        "called doubtful | of these wrong | of the first wrong | commit |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    lines += [
        f"| {c['data']}, {c['seed']} | {c['images']} | {c['copies_found']} of "
        f"{c['copies']} | {c['other_copies']} | {c['wrong']} | {c['doubtful']} | "
        f"{c['wrong_among_doubtful']} | {c['wrong_among_first']} | {c['commit']} |"
        for c in cells
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
