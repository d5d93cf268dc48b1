"""Building a classifier around a backbone, and checking what it is built of."""

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from inspect import signature
from numbers import Integral
from pathlib import Path
from typing import Any

import keras
from keras import layers

from kdfixmatch_keras.backbones import applications
from kdfixmatch_keras.backbones.convolution import L2_PENALTY
from kdfixmatch_keras.backbones.preprocessing import Preprocessing
from kdfixmatch_keras.backbones.small_cnn import small_cnn
from kdfixmatch_keras.backbones.weights import set_weights
from kdfixmatch_keras.backbones.wide_resnet import wide_resnet_28_2
from kdfixmatch_keras.checks import validation

# From pixels in [-1, 1] to a feature map.
OWN_BACKBONES = {"small_cnn": small_cnn, "wide_resnet_28_2": wide_resnet_28_2}


def check_backbone(backbone: Any, weights: Any) -> None:
    """Checks the two arguments that choose a network, without building it.

    Raises:
        TypeError: `backbone` is neither a name, a model nor a callable.
        ValueError: The name is unknown, or `weights` do not exist or do not apply.
    """
    if not isinstance(backbone, str):
        if not callable(backbone):
            raise TypeError(
                "`backbone` must be a name, a keras.Model or a callable "
                f"(input_shape) -> keras.Model. Received: backbone={backbone!r}"
            )
        if not isinstance(backbone, keras.Model) and not _takes_one(backbone):
            raise TypeError(
                "`backbone` must take one argument, the input shape. Received: "
                f"backbone={backbone!r}, which takes {signature(backbone)}"
            )
    else:
        validation.check_choice(
            "backbone", backbone, [*OWN_BACKBONES, *applications.application_names()]
        )
    if weights is None or weights == "imagenet":
        return
    if not isinstance(weights, str | Path) or not Path(weights).is_file():
        raise ValueError(
            '`weights` must be None, "imagenet" or the path of a weights file. '
            f"Received: weights={weights!r}"
        )
    if not _is_application(backbone):
        raise ValueError(
            '`weights` must be None or "imagenet" (which then has no effect) for a '
            "backbone that is not in keras.applications. Received: "
            f"weights={weights!r}, backbone={backbone!r}"
        )


def is_pretrained(backbone: Any, weights: Any) -> bool:
    """Whether the network starts from trained weights.

    Raises:
        TypeError: See `check_backbone`.
        ValueError: See `check_backbone`.
    """
    check_backbone(backbone, None)
    return _is_application(backbone) and weights is not None


def _is_application(backbone: Any) -> bool:
    """Whether a checked `backbone` is the name of a network in `keras.applications`."""
    return isinstance(backbone, str) and backbone not in OWN_BACKBONES


def build_network(
    backbone: Any,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    weights: Any = "imagenet",
    embedding_dim: int | None = 256,
    seed: int | None = None,
    name: str = "student",
) -> keras.Model:
    """Builds a classifier of raw images.

    Args:
        backbone: Lower-case name of a network in `keras.applications`,
            `"small_cnn"`, `"wide_resnet_28_2"`, a `keras.Model`, or a callable
            `(input_shape) -> keras.Model`. A model or callable takes float pixels in
            [-1, 1] of the shape of the data; its output is a vector or a feature map,
            which is then averaged. A model is cloned, with its weights.
        input_shape: `(H, W, C)` of the uint8 images.
        num_classes: Number of classes, `K`.
        weights: None, `"imagenet"` or a file; for networks of `keras.applications`
            only. With weights their batch norm stays frozen.
        embedding_dim: Size of the embedding, a layer before the logits; None for the
            features of the backbone themselves, without a layer, as FixMatch has them.
        seed: Integer that fixes the initial weights; None draws them at random.
        name: Name of the model.

    Returns:
        Functional model from uint8 `(n, H, W, C)` to float32 logits `(n, K)`, whose
        layer `"embedding"` gives the embedding `(n, embedding_dim)`.

    Raises:
        RuntimeError: The ImageNet weights cannot be downloaded.
        TypeError: `backbone` is neither a name, a model nor a callable, or the callable
            returns no model.
        ValueError: An argument is out of range, or the model does not fit the images.
    """
    check_backbone(backbone, weights)
    input_shape = _check_input_shape(input_shape)
    num_classes = validation.check_integer("num_classes", num_classes, 2)
    embedding_dim = validation.check_count("embedding_dim", embedding_dim)
    with seeded(seed):
        inputs = layers.Input(input_shape, dtype="uint8", name="images")
        x = _features(backbone, inputs, weights)
        # A network of `keras.applications` is trained with decoupled weight decay.
        penalty = (
            None if _is_application(backbone) else keras.regularizers.L2(L2_PENALTY)
        )
        if embedding_dim is None:
            x = layers.Identity(name="embedding")(x)
        else:
            x = layers.Dense(
                embedding_dim,
                activation="relu",
                kernel_regularizer=penalty,
                name="embedding",
            )(x)
        logits = layers.Dense(
            num_classes, kernel_regularizer=penalty, dtype="float32", name="logits"
        )(x)
        return keras.Model(inputs, logits, name=name)


def build_features(
    backbone: Any,
    input_shape: tuple[int, int, int],
    *,
    weights: Any = "imagenet",
    size: Sequence[int] | None = None,
    seed: int | None = None,
    name: str = "features",
) -> keras.Model:
    """Builds what turns raw images into the features of a backbone, without a head.

    Args:
        backbone: See `build_network`.
        input_shape: `(H, W, C)` of the uint8 images.
        weights: See `build_network`.
        size: `(H, W)` in which the backbone sees the images; None for their own, or
            the smallest that it accepts.
        seed: Integer that fixes the initial weights; None draws them at random.
        name: Name of the model.

    Returns:
        Functional model from uint8 `(n, H, W, C)` to float features `(n, D)`.

    Raises:
        RuntimeError: See `build_network`.
        TypeError: See `build_network`.
        ValueError: See `build_network`.
    """
    check_backbone(backbone, weights)
    input_shape = _check_input_shape(input_shape)
    with seeded(seed):
        inputs = layers.Input(input_shape, dtype="uint8", name="images")
        return keras.Model(
            inputs, _features(backbone, inputs, weights, size), name=name
        )


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Fixes what Keras draws where it is given no seed, for as long as this is open.

    An initializer or a dropout layer without a seed asks Python's `random` for one.
    The state of `random` is put back afterwards, so nobody else's numbers change.

    Raises:
        ValueError: `seed` is neither None nor an integer of at least 0.
    """
    seed = validation.check_seed(seed)
    if seed is None:
        # Putting the state back would make every such network the same.
        yield
        return
    state = random.getstate()
    try:
        random.seed(seed)
        yield
    finally:
        random.setstate(state)


def check_student(student: Any, policy: str | None = None) -> None:
    """Checks that a model is as `build_network` makes it, and can be a student.

    Args:
        student: What the user passed.
        policy: Name of the dtype policy that it must have; None for any.

    Raises:
        TypeError: It is no `keras.Model`.
        ValueError: It is not functional, has no layer named `"embedding"`, or another
            policy.
    """
    if not isinstance(student, keras.Model):
        raise TypeError(
            "`student` must be a keras.Model, as `backbones.build_network` makes "
            f"it. Received: student={student!r}"
        )
    names = [layer.name for layer in student.layers]
    if "embedding" not in names:
        raise ValueError(
            '`student` must have a layer named "embedding" before its logits. '
            f"Received: layers {names}"
        )
    if not student.built:
        raise ValueError(
            "`student` must be built, as a functional model is. Received: "
            f"student={student!r}"
        )
    own = student.get_layer("embedding").dtype_policy.name
    if policy not in (None, own):
        raise ValueError(
            "`student` must have the dtype policy of this model, or mixed_float16 "
            f"would train without loss scaling. Received: {own!r} and {policy!r}. Pass "
            f"dtype={own!r}."
        )


def check_same_data(argument: str, found: keras.Model, wanted: keras.Model) -> None:
    """Checks that a network is for the same images and classes as another.

    Args:
        argument: Name of the argument, for the message.
        found: The network of the user.
        wanted: The other one.

    Raises:
        ValueError: It is for others.
    """
    there, here = (
        (*network.input_shape[1:], network.output_shape[-1])
        for network in (found, wanted)
    )
    if there != here:
        raise ValueError(
            f"`{argument}` must take images of shape {here[:3]} and know {here[3]} "
            f"classes. Received: {there[:3]} and {there[3]}"
        )


def check_same_weights(
    argument: str,
    found: keras.Model,
    wanted: keras.Model,
    why: str = "its weights are taken over",
    remedy: str = "",
) -> None:
    """Checks that the weights of a network are of the shapes of another's.

    Args:
        argument: Name of the argument, for the message.
        found: The network of the user.
        wanted: The other one.
        why: What needs that, half a sentence.
        remedy: A sentence.

    Raises:
        ValueError: They are of others.
    """
    shapes = [[weight.shape for weight in model.weights] for model in (found, wanted)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"`{argument}` must have the architecture of this network, as {why}. "
            f"Received: weights of other shapes. {remedy}".rstrip(". ")
            + "."
        )


def _features(
    backbone: Any, inputs: Any, weights: Any, size: Sequence[int] | None = None
) -> Any:
    """The features `(n, D)` of a checked backbone, given raw images."""
    channels = inputs.shape[-1]
    if _is_application(backbone):
        x = applications.preprocessed(backbone, inputs, size)
        x = applications.build(backbone, weights, x.shape[1:])(x)
    else:
        x = Preprocessing("tf", channels, size, name="preprocessing")(inputs)
        if isinstance(backbone, str):
            x = OWN_BACKBONES[backbone](x)
        elif isinstance(backbone, keras.Model):
            body = keras.models.clone_model(backbone)
            set_weights(body, backbone.get_weights())
            x = _applied(body, x)
        else:
            body = backbone(x.shape[1:])
            if not isinstance(body, keras.Model):
                raise TypeError(
                    "`backbone` must return a keras.Model for an input shape. "
                    f"Received: {body!r}"
                )
            x = _applied(body, x)
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    if len(x.shape) != 2:
        raise ValueError(
            "`backbone` must return a vector or a feature map for each image. "
            f"Received: an output of shape {tuple(x.shape)}"
        )
    return x


def _takes_one(backbone: Callable[..., Any]) -> bool:
    try:
        signature(backbone).bind(())
    except TypeError:
        return False
    except ValueError:  # Of what is written in C there may be no signature.
        pass
    return True


def _check_input_shape(input_shape: Any) -> tuple[int, int, int]:
    sides = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    whole = all(isinstance(side, Integral) and int(side) > 0 for side in sides)
    if len(sides) != 3 or not whole or sides[-1] not in (1, 3):
        raise ValueError(
            "`input_shape` must be (height, width, channels) of the images, with 1 or "
            f"3 channels. Received: input_shape={input_shape!r}"
        )
    return int(sides[0]), int(sides[1]), int(sides[2])


def _applied(body: keras.Model, x: Any) -> Any:
    """The output of a user's model on the pixels `x`."""
    wanted = getattr(body, "input_shape", None)
    if wanted is not None and (
        not isinstance(wanted, tuple)
        or len(wanted) != len(x.shape)
        or any(w not in (None, own) for w, own in zip(wanted, x.shape, strict=True))
    ):
        raise ValueError(
            f"`backbone` must take pixels of shape {tuple(x.shape[1:])}, that of the "
            f"images. Received: a model of input_shape={wanted}. Pass image_size=(H, "
            "W) to resize the images, or a callable that makes a model for a shape."
        )
    x = body(x)
    if not hasattr(x, "shape"):
        raise ValueError(
            "`backbone` must have one output. Received: a model with "
            f"{len(x)}, in a {type(x).__name__}"
        )
    return x
