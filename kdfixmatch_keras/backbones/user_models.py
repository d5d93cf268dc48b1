"""Models of a user's own, and callables that make one."""

import warnings
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import keras

from kdfixmatch_keras.backbones.family import Choice, Family, freeze_batch_norm
from kdfixmatch_keras.backbones.preprocessing import Preprocessing
from kdfixmatch_keras.backbones.trained_models import expected_pixels, is_trained
from kdfixmatch_keras.backbones.weights import set_weights
from kdfixmatch_keras.backend.own_objects import check_cloned, cloned


class UserModels(Family):
    """Every `keras.Model`, and every callable `(input_shape) -> keras.Model`."""

    def takes(self, backbone: Any) -> bool:
        """See `Family`."""
        return callable(backbone)

    def check(self, choice: Choice) -> None:
        """See `Family`.

        Raises:
            TypeError: A callable does not take one argument.
            ValueError: A model has the channels first, or layers of which no others can
                be made.
        """
        backbone = choice.backbone
        if not isinstance(backbone, keras.Model) and not _takes_one(backbone):
            raise TypeError(
                "`backbone` must take one argument, the input shape. Received: "
                f"backbone={backbone!r}, which takes {signature(backbone)}"
            )
        if isinstance(backbone, keras.Model):
            _check_channels(backbone)
            check_cloned(backbone, "backbone")
        super().check(choice)

    def check_known(self, choice: Choice) -> None:
        """Checks that the pixels of a trained model are known.

        Raises:
            ValueError: They are not.

        Warns:
            UserWarning: Others are said than the model seems to expect.
        """
        if isinstance(choice.backbone, keras.Model):
            known = known_pixels(choice)
            seen = expected_pixels(choice.backbone)
            if seen not in (None, known):
                warnings.warn(
                    f"`pixels` is {known!r}, but {choice.backbone.name!r} seems to be "
                    f"made for {seen!r}, by its name or by what comes before its first "
                    "weights. It gets what you say.",
                    stacklevel=5,
                )

    def is_pretrained(self, choice: Choice) -> bool:
        """See `Family`. Where it is not said, a callable makes untrained models."""
        if choice.pretrained is not None:
            return bool(choice.pretrained)
        return isinstance(choice.backbone, keras.Model) and is_trained(choice.backbone)

    def features(
        self, images: Any, choice: Choice, size: Sequence[int] | None = None
    ) -> Any:
        """See `Family`.

        Raises:
            TypeError: A callable returns no model.
            ValueError: The model does not fit the images, or what it was trained on is
                not known.
        """
        channels = images.shape[-1]
        if not isinstance(choice.backbone, keras.Model):
            body = _made(choice, (*(size or images.shape[1:3]), channels))
            choice = choice._replace(backbone=body)
        else:
            body = _copy(choice.backbone)
        _check_channels(body)
        pixels = known_pixels(choice)
        if self.is_pretrained(choice):
            freeze_batch_norm(body)
        x = Preprocessing(pixels, channels, size, name="preprocessing")(images)
        return _applied(body, x)


def _made(choice: Choice, shape: tuple[int, ...]) -> keras.Model:
    """The model that a callable makes for pixels of a shape."""
    body = choice.backbone(shape)
    if not isinstance(body, keras.Model):
        raise TypeError(
            "`backbone` must return a keras.Model for an input shape. "
            f"Received: {body!r}"
        )
    # Its optimizer has been chosen by now.
    if choice.pretrained is None and is_trained(body):
        raise ValueError(
            "`pretrained` must be given for a callable that returns a trained model: "
            "True to train it on with small learning rates, False to train it like a "
            f"new one. Received: pretrained=None, backbone={choice.backbone!r}"
        )
    # It may return the same model each time, whose weights networks must not share.
    return _copy(body) if choice.pretrained else body


def _copy(model: keras.Model) -> keras.Model:
    copy = cloned(model, "backbone")
    set_weights(copy, model.get_weights())
    return copy


def known_pixels(choice: Choice) -> str:
    """The range of pixels that a model gets.

    Raises:
        ValueError: It is trained, and its range is not known.
    """
    pixels = choice.pixels or expected_pixels(choice.backbone)
    if pixels is None and UserModels().is_pretrained(choice):
        raise no_pixels(choice)
    return pixels or "tf"


def no_pixels(choice: Choice) -> ValueError:
    """The error of a trained network that does not say what pixels it expects."""
    return ValueError(
        "`pixels` must be given for a trained network of which it cannot be seen: the "
        'range it was trained on, "tf" ([-1, 1]), "raw" ([0, 255]), "unit_interval" '
        '([0, 1]), "torch" or "caffe". Received: pixels=None, '
        f"backbone={choice.backbone!r}"
    )


def _check_channels(model: keras.Model) -> None:
    """Refuses channels first, over which a feature map would be averaged.

    Raises:
        ValueError: The model takes or gives them so.
    """
    taken: Any = getattr(model, "input_shape", None)
    first = isinstance(taken, tuple) and len(taken) == 4 and taken[1] in (1, 3)
    if first and taken[3] not in (1, 3, None) or _gives_channels_first(model):
        raise ValueError(
            "`backbone` must take pixels, and give a feature map, with the channels "
            f"last. Received: {model.name!r}, built for channels first. Build it after "
            "keras.config.set_image_data_format('channels_last'), or pass a callable "
            "that builds it."
        )


def _gives_channels_first(model: keras.Model) -> bool:
    """Whether a feature map comes from a layer that has the channels first."""
    given = getattr(model, "output_shape", None)
    if not isinstance(given, tuple) or len(given) != 4:
        return False
    operations = getattr(model, "operations", model.layers)
    # Those that know nothing of channels pass them on, but for what moves axes.
    for operation in reversed(operations):
        if isinstance(operation, keras.layers.Permute | keras.layers.Reshape):
            return False
        if isinstance(operation, keras.Model):
            return _gives_channels_first(operation)
        data_format = getattr(operation, "data_format", None)
        if data_format is not None:
            return bool(data_format == "channels_first")
    return False


def _takes_one(backbone: Callable[..., Any]) -> bool:
    try:
        signature(backbone).bind(())
    except TypeError:
        return False
    except ValueError:  # Of what is written in C there may be no signature.
        pass
    return True


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
