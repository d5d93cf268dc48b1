"""The network that FixMatch was published with."""

from typing import Any

from keras import layers

from kdfixmatch_keras.backbones.convolution import convolution, fan_out


def wide_resnet_28_2(x: Any) -> Any:
    """WRN-28-2 as FixMatch trains it: leaky ReLU 0.1, batch-norm momentum 0.999.

    Kernels start normal with variance 2 / fan-out. With `embedding_dim=None` and ten
    classes it is the published network of 1,467,610 parameters.

    Reference:
        - [Zagoruyko and Komodakis, 2016](https://arxiv.org/abs/1605.07146)
    """

    def convolved(y: Any, filters: int, **options: Any) -> Any:
        return convolution(y, filters, initializer=fan_out(), **options)

    def activated(y: Any) -> Any:
        y = layers.BatchNormalization(momentum=0.999)(y)
        return layers.LeakyReLU(0.1)(y)

    x = convolved(x, 16)
    for stage, filters in enumerate((32, 64, 128)):
        for block in range(4):
            strides = 2 if stage > 0 and block == 0 else 1
            y = activated(x)
            # The first block of all activates its shortcut as well.
            shortcut = y if stage == 0 and block == 0 else x
            if shortcut.shape[-1] != filters or strides > 1:
                shortcut = convolved(shortcut, filters, size=1, strides=strides)
            y = convolved(y, filters, strides=strides)
            y = convolved(activated(y), filters)
            x = layers.Add()([shortcut, y])
    return activated(x)
