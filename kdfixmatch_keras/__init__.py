"""KD-FixMatch: image classification from few labels, in Keras 3."""

# First: where Keras cannot be imported, it says what is missing.
import kdfixmatch_keras.backend  # noqa: F401

# isort: split
from kdfixmatch_keras import (
    augmentation,
    backbones,
    baselines,
    clustering,
    datasets,
    losses,
    thresholds,
)
from kdfixmatch_keras._version import __version__
from kdfixmatch_keras.fixmatch import FixMatch
from kdfixmatch_keras.kdfixmatch import KDFixMatch
from kdfixmatch_keras.trusted.builder import TrustedSetBuilder
from kdfixmatch_keras.trusted.trusted_set import TrustedSet

__all__ = [
    "FixMatch",
    "KDFixMatch",
    "TrustedSet",
    "TrustedSetBuilder",
    "__version__",
    "augmentation",
    "backbones",
    "baselines",
    "clustering",
    "datasets",
    "losses",
    "thresholds",
]
