"""A network that a CPU can train in minutes."""

from typing import Any

from keras import layers

from kdfixmatch_keras.backbones.convolution import convolution


def small_cnn(x: Any) -> Any:
    """Three stages of two convolutions, for images of 8 to 64 pixels on a CPU.

    The first convolution halves images of 32 pixels and more: a quarter of the work,
    so that a CPU affords four times the steps.
    """
    strides = 2 if min(x.shape[1:3]) >= 32 else 1
    for stage, filters in enumerate((32, 64, 128)):
        if stage > 0 and min(x.shape[1:3]) >= 4:
            x = layers.MaxPooling2D(2)(x)
        for _ in range(2):
            x = convolution(x, filters, strides=strides)
            strides = 1
            x = layers.BatchNormalization(momentum=0.9)(x)
            x = layers.LeakyReLU(0.1)(x)
    return x
