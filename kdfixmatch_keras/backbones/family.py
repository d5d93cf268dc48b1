"""What `build` asks of each family of networks."""

import abc
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import layers

from kdfixmatch_keras.backbones.preprocessing import Preprocessing
from kdfixmatch_keras.checks import validation

# Smallest side in pixels, to which smaller images are enlarged. What was trained on 224
# pixels sees nothing in 32: its last map is then one pixel, with padding all around.
SMALLEST_SIDE, SMALLEST_PRETRAINED_SIDE = 32, 96


class Choice(NamedTuple):
    """The arguments with which a user chooses a network; see `build_network`."""

    backbone: Any
    weights: Any = None
    pretrained: bool | None = None
    pixels: str | None = None


def local_weights(weights: Any) -> Any:
    """`weights` as they are, but for a path, in which `~` is the home directory.

    Raises:
        ValueError: They are an address.
    """
    if weights == "imagenet" or not isinstance(weights, str | os.PathLike):
        return weights
    path = validation.check_path("weights", weights)
    return str(path) if isinstance(weights, str) else path


class Family(abc.ABC):
    """Networks that are made alike, chosen by a name or an object of the user's.

    Attributes:
        has_weights: Whether `weights` apply to these networks, which are pretrained
            with them.
    """

    has_weights = False

    def names(self) -> Collection[str]:
        """Names by which a user chooses one of these networks."""
        return ()

    def takes(self, backbone: Any) -> bool:
        """Whether `backbone` is one of these networks."""
        return isinstance(backbone, str) and backbone in self.names()

    def check(self, choice: Choice) -> None:
        """Checks what is chosen, without building it.

        Raises:
            ImportError: A package that has the weights is not installed.
            TypeError: `pretrained` is neither None, True nor False.
            ValueError: `weights` do not exist or do not apply, or one of the other
                arguments is out of range or contradicts the rest.
        """
        self.check_weights(choice)
        if not isinstance(choice.pretrained, bool | np.bool_ | None):
            raise TypeError(
                "`pretrained` must be True, False or None. Received: pretrained="
                f"{choice.pretrained!r}"
            )
        if choice.pixels is not None:
            validation.check_choice("pixels", choice.pixels, Preprocessing.RANGES)
        self.check_known(choice)

    def check_known(self, choice: Choice) -> None:
        """Checks that nothing contradicts what is known of a network.

        Here of one with a name, of which all is known.

        Raises:
            ValueError: An argument does.
        """
        self.check_pretrained(choice)
        if choice.pixels is not None:
            raise ValueError(
                f"`pixels` must be None for backbone={choice.backbone!r}, which gets "
                f"those that it expects. Received: pixels={choice.pixels!r}"
            )

    def check_pretrained(self, choice: Choice) -> None:
        """Checks that `pretrained` does not contradict `weights`.

        Raises:
            ValueError: It does.
        """
        known = self.is_pretrained(choice._replace(pretrained=None))
        if choice.pretrained not in (None, known):
            start = "random" if choice.weights is None or not known else "these"
            raise ValueError(
                f"`pretrained` must be None or {known} for "
                f"backbone={choice.backbone!r} with weights={choice.weights!r}, which "
                f"starts from {start} weights. Received: pretrained="
                f"{choice.pretrained!r}"
            )

    def is_pretrained(self, choice: Choice) -> bool:
        """Whether what is chosen starts from trained weights."""
        return self.has_weights and choice.weights is not None

    def has_penalty(self, choice: Choice) -> bool:
        """Whether FixMatch's L2 penalty is on the layers after the network."""
        return not self.is_pretrained(choice)

    @abc.abstractmethod
    def features(
        self, images: Any, choice: Choice, size: Sequence[int] | None = None
    ) -> Any:
        """What a network makes of raw images.

        Args:
            images: Keras tensor, uint8 `(n, H, W, C)`.
            choice: What `check` has passed.
            size: `(H, W)` in which the network sees the images; None for their own, or
                the smallest that it takes.

        Returns:
            Keras tensor, a feature map `(n, H', W', D)` or vectors `(n, D)`.
        """

    def check_weights(self, choice: Choice) -> None:
        """Checks that `weights` exist and apply.

        Raises:
            ValueError: They do not.
        """
        weights = choice.weights
        if weights is None or weights == "imagenet":
            return
        if not isinstance(weights, str | Path) or not Path(weights).is_file():
            raise ValueError(
                '`weights` must be None, "imagenet" or the path of a weights file. '
                f"Received: weights={weights!r}"
            )
        if not self.has_weights:
            raise ValueError(
                '`weights` must be None or "imagenet" (which then has no effect) for a '
                "backbone that is not in keras.applications, nor an EfficientNet-Lite. "
                f"Received: weights={weights!r}, backbone={choice.backbone!r}"
            )


def enlarged(size: Sequence[int], smallest: int) -> tuple[int, int]:
    """The size `(H, W)`, or one in its proportion whose sides are not too small."""
    height, width = size
    factor = max(1.0, smallest / min(height, width))
    return round(height * factor), round(width * factor)


def freeze_batch_norm(body: Any) -> None:
    """Keeps the batch norm of a trained network as it is, whatever it sees."""
    # `layers` leaves out those of models inside the model.
    for layer in body._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False


def wrong_file(choice: Choice, error: Exception) -> ValueError:
    """The error of a file that does not hold the weights of a network."""
    return ValueError(
        f"`weights` must be a file of weights of {choice.backbone} without its top. "
        f"Received: weights={str(choice.weights)!r} ({error})"
    )
