"""FixMatch's strong augmentation written for Pillow, on all cores.

Two of 14 operations for each image, then a gray square. It imports neither Keras nor
TensorFlow, which every process would have to wait for.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from multiprocessing.sharedctypes import RawArray
from random import choice, randint, uniform
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from workers import CONTEXT

GRAY = (128, 128, 128)
_memory: dict[str, Any] = {}


@contextlib.contextmanager
def pillow_policy(images: Any, processes: int) -> Iterator[Callable[[], Any]]:
    """Gives a function that augments one batch in several processes, and returns it.

    Pixels, uint8 `(n, side, side, 3)`, go to the processes and come back through shared
    memory, which is the least that a training would need.
    """
    source, result = RawArray("B", images.size), RawArray("B", images.size)
    np.frombuffer(source, np.uint8)[:] = images.ravel()
    # Several shares for each process, as images take unlike times.
    bounds = np.linspace(0, len(images), 4 * processes + 1).astype(int).tolist()
    with CONTEXT.Pool(processes, _remember, (source, result, images.shape)) as pool:

        def augment_all() -> Any:
            pool.map(_augment_share, list(pairwise(bounds)), chunksize=1)
            return np.frombuffer(result, np.uint8).reshape(images.shape)

        yield augment_all


def _remember(source: Any, result: Any, shape: tuple[int, ...]) -> None:
    """Makes the shared images known to a process."""
    for name, array in (("source", source), ("result", result)):
        _memory[name] = np.frombuffer(array, np.uint8).reshape(shape)


def _augment_share(share: tuple[int, int]) -> None:
    for index in range(*share):
        image = Image.fromarray(_memory["source"][index])
        _memory["result"][index] = np.asarray(augment(image))


def augment(image: Image.Image) -> Image.Image:
    """Two operations and a gray square, drawn by `random`."""
    for _ in range(2):
        image = choice(OPERATIONS)(image)
    width, height = image.size
    half = uniform(0.0, 0.25) * width
    x, y = uniform(0, width), uniform(0, height)
    square = (x - half, y - half, x + half, y + half)
    ImageDraw.Draw(image).rectangle(square, fill=GRAY)
    return image


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, fillcolor=GRAY)


def _enhance(kind: Any) -> Callable[[Image.Image], Image.Image]:
    return lambda image: kind(image).enhance(uniform(0.05, 0.95))


def _part() -> float:
    return uniform(-0.3, 0.3)


OPERATIONS: tuple[Callable[[Image.Image], Image.Image], ...] = (
    lambda image: image.copy(),
    ImageOps.autocontrast,
    ImageOps.equalize,
    lambda image: image.rotate(uniform(-30, 30), fillcolor=GRAY),
    lambda image: ImageOps.solarize(image, math.ceil(uniform(0, 256))),
    _enhance(ImageEnhance.Color),
    _enhance(ImageEnhance.Contrast),
    _enhance(ImageEnhance.Brightness),
    _enhance(ImageEnhance.Sharpness),
    lambda image: _affine(image, 1, _part(), 0, 0, 1, 0),
    lambda image: _affine(image, 1, 0, 0, _part(), 1, 0),
    lambda image: _affine(image, 1, 0, _part() * image.width, 0, 1, 0),
    lambda image: _affine(image, 1, 0, 0, 0, 1, _part() * image.height),
    lambda image: ImageOps.posterize(image, randint(4, 8)),
)
