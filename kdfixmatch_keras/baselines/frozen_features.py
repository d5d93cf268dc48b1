"""Frozen features of a backbone, of images in several sizes at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras import backbones
from kdfixmatch_keras.backbones.precision import dtype_policy
from kdfixmatch_keras.backend import devices
from kdfixmatch_keras.checks import memory, validation
from kdfixmatch_keras.classifier import ImageClassifier
from kdfixmatch_keras.serving import prediction
from kdfixmatch_keras.sources import ImageSource
from kdfixmatch_keras.training.session import Session

# In pixels; those that the published comparisons of pretrained networks use.
SIZES = (64, 96, 224)
# Images in a forward pass: of 224 pixels, more fill gigabytes.
BATCH_SIZE = 32


def check_sizes(name: str, sizes: Any) -> tuple[int, ...]:
    """Returns sizes in pixels in ascending order, each once.

    Raises:
        ValueError: They are not one or more positive integers in a list or tuple.
    """
    if not isinstance(sizes, list | tuple) or not sizes:
        raise ValueError(
            f"`{name}` must be a list of sizes in pixels, at least one. Received: "
            f"{name}={sizes!r}"
        )
    return tuple(sorted({validation.check_integer(name, size, 1) for size in sizes}))


def input_sizes(
    backbone: Any, image_shape: tuple[int, int, int], sides: Sequence[int]
) -> list[tuple[int, int]]:
    """The sizes in which a backbone sees images, their proportions kept.

    Args:
        backbone: See `backbones.build_network`.
        image_shape: `(H, W, C)` of the images.
        sides: Pixels of the shorter side.

    Returns:
        `(height, width)` for each; of a `keras.Model` for images of one size, that one.
    """
    shape = getattr(backbone, "input_shape", None)
    if isinstance(shape, tuple) and len(shape) == 4 and None not in shape[1:3]:
        return [(int(shape[1]), int(shape[2]))]
    height, width = image_shape[:2]
    shorter = min(height, width)
    return [
        (round(height * side / shorter), round(width * side / shorter))
        for side in sides
    ]


def seed_of(training: Session) -> int:
    """The seed of a training, drawn where it has none."""
    if training.seed is not None:
        return training.seed
    return int(np.random.default_rng().integers(2**31))


def build(
    classifier: ImageClassifier,
    image_shape: tuple[int, int, int],
    size: tuple[int, int],
    seed: int,
) -> keras.Model:
    """The backbone of a classifier, without a head, for images resized to `size`.

    Args:
        classifier: What has the arguments.
        image_shape: `(H, W, C)` of the uint8 images.
        size: `(height, width)` to which the network resizes them.
        seed: Seed of the initial weights, where these are random.

    Returns:
        Functional model from uint8 `(n, H, W, C)` to float features `(n, D)`.
    """
    with dtype_policy(classifier.mixed_precision):
        return backbones.build_features(
            classifier.backbone,
            image_shape,
            weights=classifier.weights,
            pretrained=classifier.pretrained,
            pixels=classifier.pixels,
            size=size,
            seed=seed,
            name=f"features_{in_words(size)}",
        )


def join(models: Mapping[tuple[int, int], keras.Model]) -> keras.Model:
    """One model of several for the same images, which so reads each image once.

    It can be a large file, whose decoding takes as long as a network does.

    Args:
        models: What `build` returned, by size.

    Returns:
        Model from uint8 `(n, H, W, C)` to a dictionary of features `(n, D)`, by size in
        words.
    """
    (shape, *_) = (model.input_shape[1:] for model in models.values())
    inputs = keras.Input(shape, dtype="uint8", name="images")
    return devices.functional_model(
        inputs, {in_words(size): model(inputs) for size, model in models.items()}
    )


def embed(
    model: keras.Model,
    images: ImageSource,
    batch_size: int = BATCH_SIZE,
    verbose: Any = 0,
) -> dict[str, np.ndarray]:
    """The features of images in each size.

    Args:
        model: What `join` returned.
        images: Source of `n` images.
        batch_size: Images in a forward pass.
        verbose: As in `keras.Model.predict`.

    Returns:
        float32 arrays `(n, D)`, by size in words.

    Raises:
        MemoryError: They do not fit into memory.
    """
    dimensions = sum(output.shape[-1] for output in model.outputs)
    with memory.needed_for(
        f"Embedding {len(images):,} images in {dimensions:,} dimensions",
        "A smaller size, or a backbone of fewer features, needs less.",
    ):
        found = prediction.predict(model, images, batch_size, verbose)
        return {name: np.asarray(z, dtype=np.float32) for name, z in found.items()}


def of_images(
    classifier: ImageClassifier,
    images: ImageSource,
    side: int,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """The features of images in one size.

    Args:
        classifier: What has the arguments of the backbone.
        images: Source of `n` images.
        side: Pixels of the shorter side, in which the backbone sees them.
        batch_size: Images in a forward pass.

    Returns:
        float32 `(n, D)`.

    Raises:
        MemoryError: They do not fit into memory.
    """
    shape = images.image_shape
    (size,) = input_sizes(classifier.backbone, shape, [side])
    model = join({size: build(classifier, shape, size, seed=0)})
    (found,) = embed(model, images, batch_size).values()
    return found


def predict(network: Any, images: ImageSource, verbose: Any = 0) -> np.ndarray:
    """Class probabilities, float32 `(n, K)`, of images by a `FixMatch` network."""
    return np.asarray(prediction.predict(network, images, BATCH_SIZE, verbose))


def in_words(size: tuple[int, int]) -> str:
    """A size in pixels, such as 96 or 96x128."""
    height, width = size
    return f"{height}" if height == width else f"{height}x{width}"
