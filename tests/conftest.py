import keras
import numpy as np
import pytest

from kdfixmatch_keras import backbones


@pytest.fixture
def tiny_images():
    """24 uint8 images of 8 x 8 pixels and their three classes: red, green or blue."""
    labels = np.arange(24, dtype=np.int32) % 3
    images = np.random.default_rng(0).integers(0, 120, (24, 8, 8, 3), np.uint8)
    images[np.arange(24), :, :, labels] += 100
    return images, labels


@pytest.fixture
def tiny_backbone():
    """A callable backbone of one convolution and one batch norm."""

    def build(input_shape):
        inputs = keras.Input(input_shape)
        x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False)(inputs)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        return keras.Model(inputs, keras.layers.ReLU()(x))

    return build


@pytest.fixture
def tiny_student(tiny_backbone):
    """A builder of students for `tiny_images`."""

    def build(backbone=tiny_backbone, seed=0):
        return backbones.build_network(
            backbone, (8, 8, 3), 3, embedding_dim=8, seed=seed
        )

    return build


@pytest.fixture
def mixed_precision():
    """The global policy mixed_float16, for one test."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(policy)
