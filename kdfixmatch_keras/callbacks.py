"""A user's callbacks in a training of two stages."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from kdfixmatch_keras import validation

STAGES = ("outer", "inner")


def check(callbacks: Any) -> list[Any] | dict[str, list[Any]]:
    """Returns callbacks as a list, or as lists by stage.

    Raises:
        TypeError: `callbacks` is not None, a list of Keras callbacks or a dictionary
            of such lists.
        ValueError: A key is no stage.
    """
    if not isinstance(callbacks, Mapping):
        return validation.check_callbacks(callbacks)
    for stage in callbacks:
        validation.check_choice("callbacks", stage, STAGES)
    return {
        stage: validation.check_callbacks(of_stage)
        for stage, of_stage in callbacks.items()
    }


@contextlib.contextmanager
def for_stage(
    callbacks: list[Any] | dict[str, list[Any]], stage: str, append: bool
) -> Iterator[list[Any]]:
    """Gives the callbacks of one stage.

    Those of Keras that would write over what they wrote in the stage before do not:
    `CSVLogger` goes on in its file, and `TensorBoard` writes into a sub-folder of its
    own for each stage.

    Args:
        callbacks: What `check` returned.
        stage: `"outer"` or `"inner"`.
        append: Whether a part of this training has been logged before.

    Yields:
        Callbacks for `keras.Model.fit`.
    """
    if isinstance(callbacks, dict):
        yield callbacks.get(stage, [])
        return
    with contextlib.ExitStack() as stack:
        for callback in callbacks:
            if isinstance(callback, keras.callbacks.CSVLogger) and append:
                stack.enter_context(_changed(callback, "append", True))
            if isinstance(callback, keras.callbacks.TensorBoard):
                log_dir = os.path.join(callback.log_dir, stage)
                stack.enter_context(_changed(callback, "log_dir", log_dir))
        yield callbacks


@contextlib.contextmanager
def _changed(thing: Any, attribute: str, value: Any) -> Iterator[None]:
    previous = getattr(thing, attribute)
    setattr(thing, attribute, value)
    try:
        yield
    finally:
        setattr(thing, attribute, previous)
