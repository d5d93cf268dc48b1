"""What the methods that KD-FixMatch is compared with have in common."""

import copy
from collections.abc import Sequence
from typing import Any, Unpack

from kdfixmatch_keras import fixmatch
from kdfixmatch_keras.classifier import ImageClassifier, Settings
from kdfixmatch_keras.training.plan import Plan
from kdfixmatch_keras.training.session import Session


class Baseline(ImageClassifier):
    """A method with the facade of `KDFixMatch`. Subclasses implement `_fit`.

    Args:
        backbone: See `ImageClassifier`.
        **settings: The other arguments of `ImageClassifier`.

    Attributes:
        network: `kdfixmatch_keras.FixMatch`, the network that predicts, or None
            before `fit`.
        history: `{metric: [per epoch]}`; of a method that trains several networks,
            `{stage: {metric: [per epoch]}}`.
    """

    def __init__(
        self, backbone: Any = "efficientnetb0", **settings: Unpack[Settings]
    ) -> None:
        super().__init__(backbone, **settings)
        self.network: Any = None
        self.history: dict[str, Any] = {}

    def fit(
        self,
        labeled: Any,
        unlabeled: Any,
        validation_data: Any = None,
        epochs: int = 100,
        steps_per_epoch: int | None = None,
        callbacks: Sequence[Any] | None = None,
        verbose: Any = "auto",
        run_dir: Any = None,
        on_error: str = "raise",
    ) -> dict[str, Any]:
        """Trains anew; see `KDFixMatch.fit` for the arguments.

        Every network is trained for `epochs` epochs of `steps_per_epoch` steps; None
        stands for one pass over *all* unlabeled images, however many a method uses.

        Returns:
            `history`.
        """
        plan = Plan(epochs, steps_per_epoch, callbacks, verbose, run_dir)
        self.check_training(plan, validation_data)
        data = self.load_data(labeled, unlabeled, validation_data, on_error)
        with self.training(data, plan) as training:
            # What was trained before stays until this has ended.
            trained = copy.copy(self)
            trained.history = {}
            trained.network = trained._fit(training)
            vars(self).update(vars(trained))
        return self.history

    def _fit(self, training: Session) -> fixmatch.FixMatch:
        """Trains for `training.plan.epochs`, fills `history`.

        Returns:
            The network that predicts.
        """
        raise NotImplementedError

    @property
    def serving_network(self) -> fixmatch.FixMatch:
        """`network`, the last one trained."""
        return super().serving_network if self.network is None else self.network
