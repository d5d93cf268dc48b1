"""What the networks of this package are made of."""

from typing import Any

import keras
from keras import layers

# FixMatch decays weights by 5e-4 through the gradient; Keras does not halve the square.
L2_PENALTY = 2.5e-4


def fan_out() -> keras.initializers.Initializer:
    """What kernels start from in the references: normal, of variance 2 / fan-out.

    One for each layer, or kernels of one shape would all be the same.
    """
    return keras.initializers.VarianceScaling(
        2.0, mode="fan_out", distribution="untruncated_normal"
    )


def convolution(
    x: Any,
    filters: int,
    *,
    size: int = 3,
    strides: int = 1,
    initializer: Any = "he_normal",
) -> Any:
    """A convolution without bias, with the L2 penalty of FixMatch on its kernel."""
    return layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=initializer,
        kernel_regularizer=keras.regularizers.L2(L2_PENALTY),
    )(x)
