"""Copies of layers, models and optimizers, those of a user's own among them.

Keras copies by way of a configuration. One that lacks something gives an error from
deep inside Keras or, worse, another object. What has no state needs no copy: it is
shared.
"""

import contextlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

# Modules whose configurations are complete.
_COMPLETE = ("keras", "kdfixmatch_keras", "keras_hub", "keras_cv")
# Characters of an error that are passed on.
_LONGEST = 200
_REMEDY = "Its `get_config` must return every argument of its constructor."


def copied_optimizer(optimizer: Any) -> Any:
    """An optimizer like another, without its state.

    A schedule of the learning rate, or a function that returns it, is shared.

    Raises:
        ValueError: Its configuration does not describe it.
    """
    rate = rate_of(optimizer)
    try:
        with constant_rate(optimizer, 0.0):
            copy = type(optimizer).from_config(optimizer.get_config())
        if rate is not None:
            copy.learning_rate = rate
        _check_alike(optimizer, copy)
    # Whatever a class of a user's own raises.
    except Exception as error:
        raise _not_described("optimizer", optimizer, error) from error
    _exclude_alike(_innermost(optimizer), _innermost(copy))
    return copy


def rate_of(optimizer: Any) -> Any:
    """The schedule or function of the learning rate; None where it is a number."""
    rate = getattr(_innermost(optimizer), "_learning_rate", None)
    return rate if callable(rate) and not isinstance(rate, keras.Variable) else None


def is_described(rate: Any) -> bool:
    """Whether a schedule of the learning rate has a configuration."""
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return False
    try:
        rate.get_config()
    except NotImplementedError:
        return False
    return True


@contextlib.contextmanager
def constant_rate(optimizer: Any, number: float) -> Iterator[None]:
    """Has the rate of an optimizer be a constant for as long as it is described.

    A schedule would be asked for a configuration, and a function has none. What is a
    number already stays.
    """
    rate, own = rate_of(optimizer), _innermost(optimizer)
    if rate is None:
        yield
        return
    # A schedule too: a number would be a variable more.
    schedule = keras.optimizers.schedules.ExponentialDecay
    own._learning_rate = schedule(number, decay_steps=1, decay_rate=1.0)
    try:
        yield
    finally:
        own._learning_rate = rate


def _innermost(optimizer: Any) -> Any:
    # Of a `LossScaleOptimizer`.
    return getattr(optimizer, "inner_optimizer", optimizer)


def _exclude_alike(optimizer: Any, copy: Any) -> None:
    """Takes over what has no weight decay, of which a configuration says nothing."""
    if getattr(optimizer, "_exclude_from_weight_decay", None):
        raise ValueError(
            "`optimizer` must not exclude variables from weight decay by "
            "`exclude_from_weight_decay(var_list=...)`, as those of its networks are "
            f"others. Received: {_named(optimizer)}. Pass var_names=... to it."
        )
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    if pattern is not None:
        copy.exclude_from_weight_decay(var_names=[pattern.pattern])


def copied_layer(layer: Any, argument: str, *, weights: bool = True) -> Any:
    """A layer like another, that shares no state with it.

    Args:
        layer: The layer, which may be a model or hold other layers.
        argument: Name that error messages give to it.
        weights: Whether it gets the same weights, or those that layers start with.

    Raises:
        ValueError: Its configuration does not describe it, and it has a state.
    """
    if type(layer) is keras.layers.Lambda:
        # It has no state, and of its function a configuration keeps the code alone.
        return layer
    if is_composed(layer):
        return _cloned_by_layer(layer, argument, weights)
    if type(layer) is keras.layers.Pipeline:
        parts = [copied_layer(part, argument, weights=weights) for part in layer.layers]
        return keras.layers.Pipeline(parts, name=layer.name)
    classes = {type(part).__name__: type(part) for part in layer._flatten_layers()}
    try:
        with keras.saving.custom_object_scope(classes):
            copy = type(layer).from_config(layer.get_config())
        _check_alike(layer, copy)
        if weights and layer.weights:
            _give_weights(copy, layer)
        return copy
    # Whatever a class of a user's own raises.
    except Exception as error:
        if _has_no_state(layer):
            return layer
        raise _not_described(argument, layer, error) from error


def cloned(model: Any, argument: str) -> Any:
    """A model like another, with the weights that its layers start with.

    Raises:
        ValueError: The configuration of a layer does not describe it.
    """
    try:
        clone = keras.models.clone_model(model)
    # Whatever a class of a user's own raises.
    except Exception as error:
        if not is_composed(model):
            raise _not_described(argument, model, error) from error
        clone = _cloned_by_layer(model, argument, weights=False)
    for own, copy in zip(model._flatten_layers(), clone._flatten_layers(), strict=True):
        if own is not copy and not is_complete(own):
            try:
                _check_alike(own, copy)
            except ValueError as error:
                raise _not_described(argument, own, error) from error
    return clone


def check_cloned(model: Any, argument: str) -> None:
    """Checks that a model can be cloned, without making the layers that Keras knows.

    Raises:
        ValueError: The configuration of a layer does not describe it.
    """
    if not is_composed(model):
        cloned(model, argument)
        return
    for layer in model._flatten_layers():
        if layer is not model and not is_complete(layer):
            copied_layer(layer, argument, weights=False)


def cause_of(error: Exception) -> str:
    """What an error says, without what Keras puts around it."""
    text = re.sub(r"\x1b\[\d+m", "", str(error))
    text = re.sub(r"Exception encountered when calling \S+\(\)\.", "", text)
    for before in ("Exception encountered: ", "Error encountered:"):
        text = text.split(before)[-1]
    for after in (
        "Arguments received by",
        ". Please",
        ". Make sure",
        "You can attempt",
    ):
        text = text.split(after)[0]
    text = " ".join(text.split()).rstrip(".")
    return text[:_LONGEST] or type(error).__name__


def is_composed(layer: Any) -> bool:
    """Whether a layer is a model that is known layer by layer."""
    # Keras makes one of them of a `keras.Model` of inputs and outputs.
    return isinstance(layer, keras.Sequential) or hasattr(layer, "operations")


def is_complete(layer: Any) -> bool:
    """Whether the class of a layer is one of a library, which describes itself."""
    return _is_of_a_library(type(layer))


def _is_of_a_library(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _COMPLETE


def _cloned_by_layer(model: Any, argument: str, weights: bool) -> Any:
    def copied(layer: Any) -> Any:
        return copied_layer(layer, argument, weights=weights)

    return keras.models.clone_model(model, clone_function=copied)


def _has_no_state(layer: Any) -> bool:
    """Whether a layer has no variables, nor will have any when it is built."""
    return not layer.variables and all(
        part.built or type(part).build is keras.layers.Layer.build
        for part in layer._flatten_layers()
    )


def _give_weights(copy: Any, layer: Any) -> None:
    config = layer.get_build_config()
    if not copy.built and config:
        copy.build_from_config(config)
    copy.set_weights(layer.get_weights())
    for part in copy._flatten_layers():
        # It computes with copies of its weights.
        if isinstance(part, keras.layers.Normalization):
            part.finalize_state()


def _check_alike(thing: Any, copy: Any) -> None:
    """Compares what two objects keep of the arguments of their constructor."""
    for name, value in kept_arguments(thing):
        other = vars(copy).get(name)
        if not _is_same(value, other):
            raise ValueError(f"a copy has {name}={other!r} in place of {value!r}")


def kept_arguments(thing: Any) -> Iterator[tuple[str, Any]]:
    """What an object of a user's own class keeps of its constructor's arguments."""
    for kind in type(thing).__mro__:
        if "__init__" not in vars(kind) or _is_of_a_library(kind):
            continue
        for argument in inspect.signature(vars(kind)["__init__"]).parameters:
            for name in (argument, f"_{argument}"):
                if name in vars(thing):
                    yield name, vars(thing)[name]


def _is_same(value: Any, other: Any) -> bool:
    if isinstance(value, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(value, other)
    if isinstance(value, list | tuple):
        return (
            isinstance(other, list | tuple)
            and len(value) == len(other)
            and all(map(_is_same, value, other))
        )
    # Of other objects a copy has copies.
    simple = isinstance(value, str | int | float | bool | None)
    return not simple or bool(value == other or value != value)


def _not_described(argument: str, thing: Any, error: Exception) -> ValueError:
    return ValueError(
        f"`{argument}` must be something that can be made again, as each network gets "
        f"its own. Received: {_named(thing)} ({cause_of(error)}). {_REMEDY}"
    )


def _named(thing: Any) -> str:
    kind = type(thing)
    return f"{kind.__module__}.{kind.__qualname__}"
