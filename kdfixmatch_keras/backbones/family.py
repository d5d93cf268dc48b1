"""What `build` asks of each family of networks."""

import abc
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from keras import layers


class Family(abc.ABC):
    """Networks that are made alike, chosen by a name or an object of the user's.

    Attributes:
        has_weights: Whether `weights` apply to these networks, which are pretrained
            with them.
        has_penalty: Whether FixMatch's L2 penalty is on the layers after them.
    """

    has_weights = False
    has_penalty = True

    def names(self) -> Collection[str]:
        """Names by which a user chooses one of these networks."""
        return ()

    def takes(self, backbone: Any) -> bool:
        """Whether `backbone` is one of these networks."""
        return isinstance(backbone, str) and backbone in self.names()

    def check(self, backbone: Any, weights: Any) -> None:
        """Checks `weights` for a `backbone` of this family, without building it.

        Raises:
            ImportError: A package that has the weights is not installed.
            ValueError: `weights` do not exist or do not apply.
        """
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
                f"Received: weights={weights!r}, backbone={backbone!r}"
            )

    def is_pretrained(self, backbone: Any, weights: Any) -> bool:
        """Whether a `backbone` of this family starts from trained weights."""
        return self.has_weights and weights is not None

    @abc.abstractmethod
    def features(
        self, images: Any, backbone: Any, weights: Any, size: Sequence[int] | None
    ) -> Any:
        """What a checked `backbone` makes of raw images.

        Args:
            images: Keras tensor, uint8 `(n, H, W, C)`.
            backbone: The name or object.
            weights: What the network starts from.
            size: `(H, W)` in which the network sees the images; None for their own, or
                the smallest that it takes.

        Returns:
            Keras tensor, a feature map `(n, H', W', D)` or vectors `(n, D)`.
        """


def freeze_batch_norm(body: Any) -> None:
    """Keeps the batch norm of a trained network as it is, whatever it sees."""
    # `layers` leaves out those of models inside the model.
    for layer in body._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False


def wrong_file(backbone: str, weights: Any, error: Exception) -> ValueError:
    """The error of a file that does not hold the weights of a network."""
    return ValueError(
        f"`weights` must be a file of weights of {backbone} without its top. "
        f"Received: weights={str(weights)!r} ({error})"
    )
