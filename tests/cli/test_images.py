"""What `kdfixmatch train` says of its images before it starts."""

import numpy as np
import pytest
from PIL import Image

from kdfixmatch_cli.images import describe, open_images


def write(folder, count, seed, size=(8, 8)):
    """Files of noise, the same for the same seed."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}-{number}.png")


def opened(folder, **changes):
    """The images of the folders labeled, unlabeled and test."""
    params = {"labels": None, "on_error": "raise", "allow_single": False}
    for name in ("labeled", "unlabeled", "test"):
        path = folder / name
        params[name] = path if path.exists() else None
    return open_images({**params, **changes}, None)


def said(folder, **changes):
    return describe(opened(folder, **changes).facts())


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["1", "2", "10"],
            "Labels of 3 classes, in the order of integers: 1 2, 2 2, 1",
        ),
        (["0", "1", "2"], "Labels of 3 classes: 0 2, 1 2, 2 2"),
        (["1", "10", "x"], "Labels of 3 classes: 1 2, 10 2, x 2"),
    ],
)
def test_the_order_of_classes_is_said(tmp_path, names, words):
    for seed, name in enumerate(names):
        write(tmp_path / "labeled" / name, 2, seed)
    write(tmp_path / "unlabeled", 3, 9)
    assert words in "\n".join(said(tmp_path))
