"""What KD-FixMatch is compared with, under the same facade."""

from collections.abc import Sequence
from typing import Any

from kdfixmatch_keras import fixmatch, validation
from kdfixmatch_keras.classifier import ImageClassifier


class _SingleNetworkClassifier(ImageClassifier):
    """Trains one network from start to end.

    It takes the arguments of `ImageClassifier`.

    Attributes:
        network: `kdfixmatch_keras.FixMatch`, or None before `fit`.
        history: `{metric: [per epoch]}`.
    """

    name: str
    labels_only: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.network: Any = None
        self.history: dict[str, list[float]] = {}

    def fit(
        self,
        labeled: Any,
        unlabeled: Any,
        validation_data: Any = None,
        epochs: int = 100,
        steps_per_epoch: int | None = None,
        callbacks: Sequence[Any] | None = None,
        verbose: Any = "auto",
    ) -> dict[str, list[float]]:
        """Trains the network; see `KDFixMatch.fit` for the arguments."""
        epochs = validation.check_integer("epochs", epochs, 1)
        steps_per_epoch = validation.check_steps(steps_per_epoch)
        callbacks = validation.check_callbacks(callbacks)
        data = self.load_data(labeled, unlabeled, validation_data)
        self.network = None
        self.class_names = data.labeled.class_names
        network = self.new_network(self.name, data)
        self.history = self.train(
            network,
            data,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            labels_only=self.labels_only,
            callbacks=callbacks,
            verbose=verbose,
        )
        self.network = network
        return self.history

    @property
    def serving_network(self) -> fixmatch.FixMatch:
        """The one network."""
        return super().serving_network if self.network is None else self.network


class Supervised(_SingleNetworkClassifier):
    """Trains on the labels alone: weak augmentation and cross-entropy.

    It sees as many labeled images a step as FixMatch does, and predicts with the same
    moving average of its weights. The unlabeled images only set the default of
    `steps_per_epoch`, so that all methods train for equally long.
    """

    name = "supervised"
    labels_only = True


class FixMatch(_SingleNetworkClassifier):
    """FixMatch by itself: the outer network of `KDFixMatch`, for as long as you like.

    With one seed and one number of steps it is the outer network, bit for bit.

    Reference:
        - [Sohn et al., 2020](https://arxiv.org/abs/2001.07685)
    """

    name = "outer"
    labels_only = False
