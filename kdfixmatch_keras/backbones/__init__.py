"""Networks: what turns raw pixels into an embedding and logits.

A name, a model or a callable becomes a classifier of raw images, with the embedding in
a layer of that name. A family of networks is a file; `build` looks their names up.
"""

from kdfixmatch_keras.backbones.applications import application_names
from kdfixmatch_keras.backbones.build import (
    build_features,
    build_network,
    check_backbone,
    is_pretrained,
    seeded,
)
from kdfixmatch_keras.backbones.preprocessing import Preprocessing
from kdfixmatch_keras.backbones.weights import set_weights

__all__ = [
    "Preprocessing",
    "application_names",
    "build_features",
    "build_network",
    "check_backbone",
    "is_pretrained",
    "seeded",
    "set_weights",
]
