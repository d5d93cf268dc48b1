"""A user's callbacks in a training of one network, or of several in turn."""

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import keras

from kdfixmatch_keras.backend.own_objects import is_complete, rate_of
from kdfixmatch_keras.checks import validation

STAGES = ("outer", "inner")
_MONITORING = (
    keras.callbacks.EarlyStopping,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.ReduceLROnPlateau,
)
_SETTING_RATES = (
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ReduceLROnPlateau,
)
# Which way is better, where Keras does not know: of metrics that are not compiled it
# knows none but "loss".
_MODES = {
    "accuracy": "max",
    "loss": "min",
    "supervised_loss": "min",
    "unlabeled_loss": "min",
}


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


def check_use(
    callbacks: list[Any] | dict[str, list[Any]],
    optimizer: Any,
    metrics: Collection[str],
    *,
    has_validation: bool,
) -> None:
    """Checks that Keras's callbacks find what they need, which they look for too late.

    Args:
        callbacks: What `check` returned.
        optimizer: That of the classifier, or None.
        metrics: Names of what is measured of every network while it is trained.
        has_validation: Whether there are images to evaluate on after each epoch.

    Raises:
        ValueError: One would fail after epochs, or do nothing.
    """
    known = set(metrics)
    if has_validation:
        known |= {"val_loss", "val_accuracy"}
    lists = callbacks.values() if isinstance(callbacks, dict) else [callbacks]
    for together in lists:
        found = set(known)
        if any(isinstance(c, _SETTING_RATES) for c in together):
            found.add("learning_rate")
        # Others may add to what is measured.
        is_all = all(map(is_complete, together))
        for callback in together:
            _check_fits(callback, optimizer)
            if isinstance(callback, _MONITORING):
                _check_monitor(callback, found, is_all, has_validation)


def _check_fits(callback: Any, optimizer: Any) -> None:
    name = type(callback).__name__
    if isinstance(callback, keras.callbacks.BackupAndRestore):
        raise ValueError(
            "`callbacks` must not restore a training: it would take the state of one "
            f"network for that of another. Received: {name}. Pass run_dir=<folder>, "
            "which goes on to the same bits."
        )
    follows = optimizer is None or rate_of(optimizer) is not None
    if isinstance(callback, _SETTING_RATES) and follows:
        raise ValueError(
            "`callbacks` must not set the learning rate where it follows a schedule, "
            f"as that of the default optimizer does. Received: {name}. Pass an "
            "`optimizer` with a number: keras.optimizers.SGD(0.03, momentum=0.9, "
            "nesterov=True), or for a pretrained network keras.optimizers.AdamW(3e-4)."
        )
    is_average = isinstance(callback, keras.callbacks.SwapEMAWeights)
    if is_average and not getattr(optimizer, "use_ema", False):
        raise ValueError(
            "`callbacks` must not swap averages that the optimizer does not have. "
            f"Received: {name}. Pass an `optimizer` with use_ema=True; what is "
            "evaluated is an average already, that of `ema_decay`."
        )


def _check_monitor(
    callback: Any, known: Collection[str], is_all: bool, has_validation: bool
) -> None:
    name = f"{type(callback).__name__}(monitor={callback.monitor!r})"
    is_checkpoint = isinstance(callback, keras.callbacks.ModelCheckpoint)
    if is_checkpoint:
        _check_file_name(callback, known, is_all)
        if not callback.save_best_only:
            return
    if is_all and callback.monitor not in known:
        remedy = f"Monitor one of {', '.join(sorted(known))}."
        if callback.monitor.startswith("val_") and not has_validation:
            remedy = "Pass validation_data, or monitor='loss'."
        raise ValueError(
            f"`callbacks` must monitor what is measured. Received: {name}. {remedy}"
        )
    if callback.mode == "auto" and _mode_of(callback) is None:
        raise ValueError(
            "`callbacks` must tell whether more is better where that is not known. "
            f"Received: {name}. Pass mode='max' or mode='min' to it."
        )


def _check_file_name(callback: Any, known: Collection[str], is_all: bool) -> None:
    """Names the file of an epoch; what it has of others may come of other callbacks."""
    try:
        callback.filepath.format(epoch=1, batch=1, **dict.fromkeys(known, 0.5))
    except (KeyError, IndexError) as error:
        if is_all:
            raise ValueError(
                "`callbacks` must name files after what is measured. Received: "
                f"ModelCheckpoint({callback.filepath!r}), and no {error}. There is "
                f"epoch, {', '.join(sorted(known))}."
            ) from error


def _mode_of(callback: Any) -> str | None:
    return _MODES.get(callback.monitor.removeprefix("val_"))


@contextlib.contextmanager
def for_stage(
    callbacks: list[Any] | dict[str, list[Any]], stage: str | None, append: bool
) -> Iterator[list[Any]]:
    """Gives the callbacks of one stage.

    Those of Keras that serve both stages and would lose what they kept of the first do
    not: `CSVLogger` goes on in its file, and `TensorBoard` writes into a sub-folder of
    its own for each stage. `ModelCheckpoint` forgets how good the other network was.
    `History` has that of the last network. What monitors is told whether more is
    better.

    Args:
        callbacks: What `check` returned.
        stage: `"outer"` or `"inner"`; None for a method without stages.
        append: Whether a part of this training has been logged before.

    Yields:
        Callbacks for `keras.Model.fit`.
    """
    chosen, others = callbacks, [] if stage is None else callbacks
    if isinstance(callbacks, dict):
        chosen = callbacks.get(str(stage), [])
        others = [
            c for s, of_stage in callbacks.items() if s != stage for c in of_stage
        ]
    with contextlib.ExitStack() as stack:
        for callback in chosen:
            in_both = any(callback is other for other in others)
            if isinstance(callback, _MONITORING) and callback.mode == "auto":
                # Of others, one that saves each epoch does not ask.
                mode = _mode_of(callback) or "min"
                stack.enter_context(_changed(callback, "mode", mode))
            if isinstance(callback, keras.callbacks.History):
                callback.history = {}
            is_logger = isinstance(callback, keras.callbacks.CSVLogger)
            if is_logger and append and stage is not None:
                stack.enter_context(_changed(callback, "append", True))
            if isinstance(callback, keras.callbacks.TensorBoard) and in_both and stage:
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
