"""Giving a network weights."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers


def set_weights(network: keras.Model, weights: Sequence[Any]) -> None:
    """Gives a network weights that it also computes with.

    `keras.layers.Normalization`, which EfficientNet begins with, computes with copies
    of its weights, and `keras.Model.set_weights` leaves these as they were.

    Args:
        network: Built model.
        weights: Arrays, as `get_weights` of a model like it returns them.

    Raises:
        ValueError: They are not as many, or not of its shapes.
    """
    count = len(network.weights)
    if len(weights) != count:
        raise ValueError(
            f"`weights` must be {count} arrays, one for each weight of the network. "
            f"Received: {len(weights)} arrays"
        )
    network.set_weights(weights)
    # `layers` leaves out those of models inside the model.
    for layer in network._flatten_layers():
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()
