"""RandAugment and Cutout of this package against what else there is."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from measuring import cores, rounds

from kdfixmatch_keras import augmentation
from speed_parts.pillow_policy import pillow_policy


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Augments a batch in memory: `"seconds"` of each alternative in each repeat."""
    side = job["side"]
    shape = (job["batch_size"], side, side, 3)
    # Smooth, as the histograms of photographs are.
    small = np.random.default_rng(0).integers(0, 256, (shape[0], 8, 8, 3), np.uint8)
    resized = tf.image.resize(small, (side, side)).numpy().astype(np.uint8)
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    keras_layer = keras.layers.RandAugment(value_range=(0, 255), num_ops=2)
    with pillow_policy(resized, cores()) as pillow:
        alternatives: dict[str, Callable[[], Any]] = {
            # As `fit` compiles them: neither rival goes through XLA.
            "ours": _compiled(augmentation.get_strong("randaugment"), resized, on_gpu),
            "keras_cv": _compiled(augmentation.get_strong("keras_cv"), resized, False),
            "keras_layer": _compiled(keras_layer, resized, False),
            "pillow": pillow,
        }
        return {"seconds": rounds(alternatives, job["repeats"], job["least"])}


def _compiled(layer: Any, images: Any, jit_compile: bool) -> Callable[[], Any]:
    on_device = tf.convert_to_tensor(images)
    augment = tf.function(partial(layer, training=True), jit_compile=jit_compile)
    # One pixel, so that a device has computed them and none is copied.
    return lambda: augment(on_device)[0, 0, 0, 0].numpy()
