"""What KD-FixMatch is compared with, under the same facade."""

from collections.abc import Sequence
from typing import Any

from kdfixmatch_keras import validation
from kdfixmatch_keras.classifier import ImageClassifier
from kdfixmatch_keras.fixmatch import FixMatch


class Supervised(ImageClassifier):
    """Trains on the labels alone: weak augmentation, cross-entropy, averaged weights.

    It takes the arguments of `ImageClassifier`, sees as many labeled images a step as
    FixMatch does, and predicts with the same moving average of its weights.

    Attributes:
        network: `FixMatch`, or None before `fit`.
        history: `{"supervised": {metric: [per epoch]}}`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.network: FixMatch | None = None
        self.history: dict[str, dict[str, list[float]]] = {}

    def fit(
        self,
        labeled: Any,
        unlabeled: Any,
        validation_data: Any = None,
        epochs: int = 100,
        steps_per_epoch: int | None = None,
        callbacks: Sequence[Any] | None = None,
        verbose: Any = "auto",
    ) -> dict[str, dict[str, list[float]]]:
        """Trains on `labeled`; see `KDFixMatch.fit` for the arguments.

        The unlabeled images only set the default of `steps_per_epoch`, so that all
        methods train for equally long.
        """
        epochs = validation.check_integer("epochs", epochs, 1)
        data = self.load_data(labeled, unlabeled, validation_data)
        self.class_names = data.labeled.class_names
        network = self.new_network("supervised", data)
        self.history["supervised"] = self.train(
            network,
            data,
            epochs=epochs,
            steps_per_epoch=self.steps_per_epoch(data, steps_per_epoch),
            labels_only=True,
            callbacks=list(callbacks or ()),
            verbose=verbose,
        )
        self.network = network
        return self.history

    @property
    def serving_network(self) -> FixMatch:
        """The one network."""
        if self.network is None:
            return super().serving_network
        return self.network
