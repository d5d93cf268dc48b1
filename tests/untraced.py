"""Trainings of a few steps without the time that tracing a step takes."""

import contextlib

import keras
import pytest

from kdfixmatch_keras import FixMatch


@contextlib.contextmanager
def untraced():
    """Networks that are trained meanwhile do each step operation by operation.

    On TensorFlow, where tracing a step takes as long as doing a dozen of them. What a
    step computes is the same.
    """
    trained = FixMatch.fit

    def fit(network, *arguments, **options):
        network.run_eagerly = True
        try:
            return trained(network, *arguments, **options)
        finally:
            network.run_eagerly = False

    with pytest.MonkeyPatch.context() as patched:
        if keras.backend.backend() == "tensorflow":
            patched.setattr(FixMatch, "fit", fit)
        yield
