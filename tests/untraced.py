"""Trainings of a few steps without the time that tracing a step takes."""

import contextlib
import functools

import keras
import pytest

from kdfixmatch_keras import FixMatch


@contextlib.contextmanager
def untraced():
    """Networks that are trained meanwhile do each step operation by operation.

    On TensorFlow, where tracing a step takes as long as doing a dozen of them. What a
    step computes is the same.
    """
    with pytest.MonkeyPatch.context() as patched:
        if keras.backend.backend() == "tensorflow":
            for method in (FixMatch.fit, FixMatch.train_on_batch):
                patched.setattr(FixMatch, method.__name__, _eager(method))
        yield


def _eager(method):
    @functools.wraps(method)
    def train(network, *arguments, **options):
        network.run_eagerly = True
        try:
            return method(network, *arguments, **options)
        finally:
            network.run_eagerly = False

    return train
