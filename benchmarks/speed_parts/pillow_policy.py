"""FixMatch's strong augmentation written for Pillow, on all cores.

Two of 14 operations for each image, then a gray square. It imports neither Keras nor
TensorFlow, which every process would have to wait for.
"""

import math
import multiprocessing
import random
from collections.abc import Callable
from multiprocessing.sharedctypes import RawArray
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

GRAY = (128, 128, 128)
_memory: dict[str, Any] = {}


class PillowPolicy:
    """A pool of processes that augment one batch again and again.

    Pixels go to the processes and come back through shared memory, which is the least
    that a training would need. A context manager.

    Args:
        images: uint8 `(n, side, side, 3)`.
        processes: How many.
    """

    def __init__(self, images: Any, processes: int) -> None:
        self.shape = images.shape
        # A fork would copy the locks of TensorFlow's threads.
        context = multiprocessing.get_context("spawn")
        self._result = RawArray("B", images.size)
        source = RawArray("B", images.size)
        np.frombuffer(source, np.uint8)[:] = images.ravel()
        self._pool = context.Pool(
            processes, _remember, (source, self._result, images.shape)
        )
        # Several shares for each process, as images take unlike times.
        bounds = np.linspace(0, len(images), 4 * processes + 1).astype(int).tolist()
        self._shares = list(zip(bounds, bounds[1:], strict=False))

    def __enter__(self) -> "PillowPolicy":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.terminate()
        self._pool.join()

    def __call__(self) -> Any:
        """Augments the batch; returns uint8 images of its shape."""
        self._pool.map(_augment_share, self._shares, chunksize=1)
        return np.frombuffer(self._result, np.uint8).reshape(self.shape)


def augment(image: Image.Image) -> Image.Image:
    """Two operations and a gray square, drawn by `random`."""
    for _ in range(2):
        image = random.choice(OPERATIONS)(image)
    width, height = image.size
    half = random.uniform(0.0, 0.25) * width
    x, y = random.uniform(0, width), random.uniform(0, height)
    square = (x - half, y - half, x + half, y + half)
    ImageDraw.Draw(image).rectangle(square, fill=GRAY)
    return image


def _remember(source: Any, result: Any, shape: tuple[int, ...]) -> None:
    """Makes the shared images known to a process."""
    for name, array in (("source", source), ("result", result)):
        _memory[name] = np.frombuffer(array, np.uint8).reshape(shape)


def _augment_share(share: tuple[int, int]) -> None:
    for index in range(*share):
        image = Image.fromarray(_memory["source"][index])
        _memory["result"][index] = np.asarray(augment(image))


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, fillcolor=GRAY)


def _rotate(image: Image.Image) -> Image.Image:
    return image.rotate(random.uniform(-30, 30), fillcolor=GRAY)


def _enhance(kind: Any) -> Callable[[Image.Image], Image.Image]:
    def apply(image: Image.Image) -> Image.Image:
        enhanced: Image.Image = kind(image).enhance(random.uniform(0.05, 0.95))
        return enhanced

    return apply


def _fraction() -> float:
    return random.uniform(-0.3, 0.3)


OPERATIONS: tuple[Callable[[Image.Image], Image.Image], ...] = (
    lambda image: image.copy(),
    ImageOps.autocontrast,
    ImageOps.equalize,
    _rotate,
    lambda image: ImageOps.solarize(image, math.ceil(random.uniform(0, 256))),
    _enhance(ImageEnhance.Color),
    _enhance(ImageEnhance.Contrast),
    _enhance(ImageEnhance.Brightness),
    _enhance(ImageEnhance.Sharpness),
    lambda image: _affine(image, 1, _fraction(), 0, 0, 1, 0),
    lambda image: _affine(image, 1, 0, 0, _fraction(), 1, 0),
    lambda image: _affine(image, 1, 0, _fraction() * image.width, 0, 1, 0),
    lambda image: _affine(image, 1, 0, 0, 0, 1, _fraction() * image.height),
    lambda image: ImageOps.posterize(image, random.randint(4, 8)),
)
