"""Building a classifier around a backbone, and checking what it is built of."""

import contextlib
import random
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any

import keras
from keras import layers

from kdfixmatch_keras.backbones.applications import Applications
from kdfixmatch_keras.backbones.convolution import L2_PENALTY
from kdfixmatch_keras.backbones.efficientnet_lite import EfficientNetLite
from kdfixmatch_keras.backbones.family import Choice, Family, local_weights
from kdfixmatch_keras.backbones.keras_hub import HubModels, HubPresets
from kdfixmatch_keras.backbones.own_networks import OwnNetworks
from kdfixmatch_keras.backbones.user_models import UserModels
from kdfixmatch_keras.backend.keras_settings import usual_settings
from kdfixmatch_keras.checks import validation

# The first that takes a backbone makes it.
FAMILIES = (
    OwnNetworks(),
    EfficientNetLite(),
    Applications(),
    HubPresets(),
    HubModels(),
    UserModels(),
)


def check_backbone(
    backbone: Any,
    weights: Any,
    pretrained: bool | None = None,
    pixels: str | None = None,
    argument: str = "backbone",
) -> None:
    """Checks the arguments that choose a network, without building it.

    Args:
        backbone: See `build_network`.
        weights: See `build_network`.
        pretrained: See `build_network`.
        pixels: See `build_network`.
        argument: Name that error messages give to `backbone`.

    Raises:
        ImportError: A package that has the weights is not installed.
        TypeError: `backbone` is neither a name, a model nor a callable, or `pretrained`
            neither None, True nor False.
        ValueError: A name is unknown, `weights` do not exist or do not apply, or an
            argument contradicts what is known of the network.
    """
    choice = Choice(backbone, local_weights(weights), pretrained, pixels)
    _family_of(backbone, argument).check(choice)


def is_pretrained(backbone: Any, weights: Any, pretrained: bool | None = None) -> bool:
    """Whether the network starts from trained weights.

    Args:
        backbone: See `build_network`.
        weights: See `build_network`.
        pretrained: What the user says of it, or None.

    Raises:
        TypeError: `backbone` is neither a name, a model nor a callable.
        ValueError: The name is unknown.
    """
    family = _family_of(backbone)
    return family.is_pretrained(Choice(backbone, weights, pretrained))


def _family_of(backbone: Any, argument: str = "backbone") -> Family:
    for family in FAMILIES:
        if family.takes(backbone):
            return family
    if isinstance(backbone, str):
        names = [name for family in FAMILIES for name in family.names()]
        otherwise = '"hub:<preset or folder>", a network of KerasHub'
        validation.check_choice(argument, backbone, names, otherwise)
    raise TypeError(
        f"`{argument}` must be a name, a keras.Model or a callable "
        f"(input_shape) -> keras.Model. Received: {argument}={backbone!r}"
    )


@usual_settings()
def build_network(
    backbone: Any,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    weights: Any = "imagenet",
    pretrained: bool | None = None,
    pixels: str | None = None,
    embedding_dim: int | None = 256,
    seed: int | None = None,
    name: str = "student",
) -> keras.Model:
    """Builds a classifier of raw images.

    Args:
        backbone: Lower-case name of a network in `keras.applications`,
            `"efficientnet_lite0"` (or 1, 2), `"small_cnn"`, `"wide_resnet_28_2"`,
            `"hub:<preset or folder>"` or a `keras_hub.models.Backbone`, see
            `backbones.keras_hub`; another `keras.Model`, or a callable `(input_shape)
            -> keras.Model`. These take float pixels of the shape of the data; their
            output is a vector or a feature map, which is then averaged. A model is
            cloned, with its weights.
        input_shape: `(H, W, C)` of the uint8 images.
        num_classes: Number of classes, `K`.
        weights: None, `"imagenet"` or a file; for networks of `keras.applications`
            and EfficientNet-Lite only. With weights their batch norm stays frozen. Of a
            preset of KerasHub, `"imagenet"` stands for its own weights.
        pretrained: Whether a model of your own starts from trained weights: its batch
            norm stays frozen then, and no L2 penalty is on the layers after it. None
            finds out: a model is trained if its optimizer has made steps, or if a bias,
            a shift or a moving mean in it holds different values, which all start
            alike. What a callable returns must not look so unless this is given.
        pixels: Range of the pixels that a model of your own expects: `"tf"`, [-1, 1];
            `"raw"`, [0, 255]; `"unit_interval"`, [0, 1]; `"torch"`, ImageNet mean 0 and
            deviation 1; `"caffe"`, blue-green-red with the ImageNet mean subtracted.
            None finds out: a `Rescaling` or `Normalization` at its beginning tells, or
            the name that `keras.applications` gave it. Where neither does, it is `"tf"`
            for an untrained model, and must be given for a trained one.
        embedding_dim: Size of the embedding, a layer before the logits; None for the
            features of the backbone themselves, without a layer, as FixMatch has them.
        seed: Integer that fixes the initial weights; None draws them at random.
        name: Name of the model.

    Returns:
        Functional model from uint8 `(n, H, W, C)` to float32 logits `(n, K)`, whose
        layer `"embedding"` gives the embedding `(n, embedding_dim)`.

    Raises:
        ImportError: The package with the ImageNet weights, or KerasHub, is not
            installed.
        RuntimeError: The ImageNet weights or a preset cannot be loaded.
        TypeError: `backbone` is neither a name, a model nor a callable, or the callable
            returns no model; `pretrained` is neither None, True nor False.
        ValueError: An argument is out of range, or the model does not fit the images.
    """
    choice = Choice(backbone, local_weights(weights), pretrained, pixels)
    check_backbone(*choice)
    input_shape = _check_input_shape(input_shape)
    num_classes = validation.check_integer("num_classes", num_classes, 2)
    embedding_dim = validation.check_count("embedding_dim", embedding_dim)
    with seeded(seed):
        inputs = layers.Input(input_shape, dtype="uint8", name="images")
        x = _features(inputs, choice)
        has_penalty = _family_of(backbone).has_penalty(choice)
        penalty = keras.regularizers.L2(L2_PENALTY) if has_penalty else None
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
        network = keras.Model(inputs, logits, name=name)
        if seed is not None:
            _give_seeds(network)
        return network


@usual_settings()
def build_features(
    backbone: Any,
    input_shape: tuple[int, int, int],
    *,
    weights: Any = "imagenet",
    pretrained: bool | None = None,
    pixels: str | None = None,
    size: Sequence[int] | None = None,
    seed: int | None = None,
    name: str = "features",
) -> keras.Model:
    """Builds what turns raw images into the features of a backbone, without a head.

    Args:
        backbone: See `build_network`.
        input_shape: `(H, W, C)` of the uint8 images.
        weights: See `build_network`.
        pretrained: See `build_network`.
        pixels: See `build_network`.
        size: `(H, W)` in which the backbone sees the images; None for their own, or
            the smallest that it accepts.
        seed: Integer that fixes the initial weights; None draws them at random.
        name: Name of the model.

    Returns:
        Functional model from uint8 `(n, H, W, C)` to float features `(n, D)`.

    Raises:
        ImportError: See `build_network`.
        RuntimeError: See `build_network`.
        TypeError: See `build_network`.
        ValueError: See `build_network`.
    """
    choice = Choice(backbone, local_weights(weights), pretrained, pixels)
    check_backbone(*choice)
    input_shape = _check_input_shape(input_shape)
    with seeded(seed):
        inputs = layers.Input(input_shape, dtype="uint8", name="images")
        return keras.Model(inputs, _features(inputs, choice, size), name=name)


def _give_seeds(network: keras.Model) -> None:
    """Gives dropout that has no seed one, within `seeded`.

    Without, Keras on PyTorch draws from a generator that is no state of the network.
    """
    for layer in network._flatten_layers():
        generator = getattr(layer, "seed_generator", None)
        if generator is not None and getattr(layer, "seed", 0) is None:
            layer.seed = random.randrange(2**31)
            # Its state, which `seeded` has fixed, stays as it is.
            generator._initial_seed = layer.seed


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


def backbone_of(network: keras.Model) -> keras.Model:
    """What comes before the embedding of a network that `build_network` made."""
    return keras.Model(network.input, network.get_layer("embedding").input)


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


def _features(inputs: Any, choice: Choice, size: Sequence[int] | None = None) -> Any:
    """The features `(n, D)` of a checked choice, given raw images."""
    x = _family_of(choice.backbone).features(inputs, choice, size)
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    if len(x.shape) != 2:
        raise ValueError(
            "`backbone` must return a vector or a feature map for each image. "
            f"Received: an output of shape {tuple(x.shape)}"
        )
    return x


def _check_input_shape(input_shape: Any) -> tuple[int, int, int]:
    sides = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    whole = all(isinstance(side, Integral) and int(side) > 0 for side in sides)
    if len(sides) != 3 or not whole or sides[-1] not in (1, 3):
        raise ValueError(
            "`input_shape` must be (height, width, channels) of the images, with 1 or "
            f"3 channels. Received: input_shape={input_shape!r}"
        )
    return int(sides[0]), int(sides[1]), int(sides[2])
