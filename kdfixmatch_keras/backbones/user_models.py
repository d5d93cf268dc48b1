"""Models of a user's own, and callables that make one."""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import keras

from kdfixmatch_keras.backbones.family import Family
from kdfixmatch_keras.backbones.preprocessing import Preprocessing
from kdfixmatch_keras.backbones.weights import set_weights


class UserModels(Family):
    """Every `keras.Model`, and every callable `(input_shape) -> keras.Model`."""

    def takes(self, backbone: Any) -> bool:
        """See `Family`."""
        return callable(backbone)

    def check(self, backbone: Any, weights: Any) -> None:
        """See `Family`.

        Raises:
            TypeError: A callable does not take one argument.
        """
        if not isinstance(backbone, keras.Model) and not _takes_one(backbone):
            raise TypeError(
                "`backbone` must take one argument, the input shape. Received: "
                f"backbone={backbone!r}, which takes {signature(backbone)}"
            )
        super().check(backbone, weights)

    def features(
        self, images: Any, backbone: Any, weights: Any, size: Sequence[int] | None
    ) -> Any:
        """See `Family`.

        Raises:
            TypeError: A callable returns no model.
            ValueError: The model does not fit the images.
        """
        channels = images.shape[-1]
        x = Preprocessing("tf", channels, size, name="preprocessing")(images)
        if isinstance(backbone, keras.Model):
            body = keras.models.clone_model(backbone)
            set_weights(body, backbone.get_weights())
            return _applied(body, x)
        body = backbone(x.shape[1:])
        if not isinstance(body, keras.Model):
            raise TypeError(
                "`backbone` must return a keras.Model for an input shape. "
                f"Received: {body!r}"
            )
        return _applied(body, x)


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
