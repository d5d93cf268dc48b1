"""A user's callbacks in a training of two stages."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from kdfixmatch_keras.checks import validation

STAGES = ("outer", "inner")


def check(callbacks: Any, has_stages: bool = True) -> list[Any] | dict[str, list[Any]]:
    """Returns callbacks as a list, or, of a method with stages, as lists by stage.

    Raises:
        TypeError: `callbacks` is not None, a list of Keras callbacks or a dictionary
            of such lists.
        ValueError: A key is no stage.
    """
    if not has_stages or not isinstance(callbacks, Mapping):
        return validation.check_callbacks(callbacks)
    for stage in callbacks:
        validation.check_choice("callbacks", stage, STAGES)
    return {
        stage: validation.check_callbacks(of_stage)
        for stage, of_stage in callbacks.items()
    }


@contextlib.contextmanager
def for_stage(
    callbacks: list[Any] | dict[str, list[Any]], stage: str | None, append: bool
) -> Iterator[list[Any]]:
    """Gives the callbacks of one stage.

    Those of Keras that serve both stages and would lose what they kept of the first do
    not: `CSVLogger` goes on in its file, and `TensorBoard` writes into a sub-folder of
    its own for each stage. `ModelCheckpoint` forgets how good the other network was.

    Args:
        callbacks: What `check` returned.
        stage: `"outer"` or `"inner"`; None for a method without stages, whose callbacks
            are given as they are.
        append: Whether a part of this training has been logged before.

    Yields:
        Callbacks for `keras.Model.fit`.
    """
    chosen, others = callbacks, callbacks
    if stage is None:
        yield list(callbacks)
        return
    if isinstance(callbacks, dict):
        chosen = callbacks.get(stage, [])
        others = [
            c for s, of_stage in callbacks.items() if s != stage for c in of_stage
        ]
    with contextlib.ExitStack() as stack:
        for callback in chosen:
            in_both = any(callback is other for other in others)
            if isinstance(callback, keras.callbacks.CSVLogger) and append:
                stack.enter_context(_changed(callback, "append", True))
            if isinstance(callback, keras.callbacks.TensorBoard) and in_both:
                log_dir = os.path.join(callback.log_dir, stage)
                stack.enter_context(_changed(callback, "log_dir", log_dir))
            if isinstance(callback, keras.callbacks.ModelCheckpoint) and in_both:
                stack.enter_context(_changed(callback, "best", callback.best))
        yield list(chosen)


@contextlib.contextmanager
def _changed(thing: Any, attribute: str, value: Any) -> Iterator[None]:
    previous = getattr(thing, attribute)
    setattr(thing, attribute, value)
    try:
        yield
    finally:
        setattr(thing, attribute, previous)
