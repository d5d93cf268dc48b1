"""What methods have in common that label images between two trainings."""

import warnings
from typing import Any, Unpack

import numpy as np

from kdfixmatch_keras import fixmatch
from kdfixmatch_keras.baselines.baseline import Baseline
from kdfixmatch_keras.classifier import Settings
from kdfixmatch_keras.training.session import Session


class PseudoLabeling(Baseline):
    """Trains networks in turn, each on the labels that the one before it gave.

    Args:
        backbone: See `ImageClassifier`.
        **settings: The other arguments of `ImageClassifier`.

    Attributes:
        networks: `{stage: FixMatch}`, in the order of training.
        pseudo_labels: int32 `(N,)`, what the last network learned: the label of each
            unlabeled image, -1 where it was left out. None before `fit`.
    """

    def __init__(
        self, backbone: Any = "efficientnetb0", **settings: Unpack[Settings]
    ) -> None:
        super().__init__(backbone, **settings)
        self.networks: dict[str, fixmatch.FixMatch] = {}
        self.pseudo_labels: Any = None

    def _train_stage(
        self,
        stage: str,
        network: fixmatch.FixMatch,
        training: Session,
        labels: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> None:
        """Trains a network on the labels, and on those of the unlabeled images `rows`.

        Args:
            stage: Its name in `history` and `networks`.
            network: What is trained.
            training: The training.
            labels: int32 `(N,)`, labels of the unlabeled images.
            rows: int64 `(n,)`, which unlabeled images are used, repeats allowed.
        """
        if labels is None or rows is None or not len(rows):
            rows = trusted_labels = None
        else:
            trusted_labels = labels[rows]
        self.history[stage] = training.fit(
            network,
            training.plan.epochs,
            rows=rows,
            trusted_labels=trusted_labels,
            labels_only=rows is None,
        )
        self.networks[stage] = network

    def _pseudo_label(
        self, network: fixmatch.FixMatch, training: Session, threshold: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels all unlabeled images, as they are.

        Args:
            network: What labels them.
            training: The training.
            threshold: Name of the argument with the least confidence of a label.

        Returns:
            Labels, int32 `(N,)`, -1 below the threshold; and confidences `(N,)`.
        """
        probabilities, _embeddings = training.label(network)
        if not np.isfinite(probabilities).all():
            raise RuntimeError(
                f"Network {network.name!r} labels images with NaN. It has diverged: "
                "lower the learning rate."
            )
        confidence = probabilities.max(axis=1)
        least = getattr(self, threshold)
        labels = np.where(confidence >= least, probabilities.argmax(axis=1), -1)
        if labels.max() < 0:
            warnings.warn(
                f"No pseudo-label of {network.name!r} has a confidence of at least "
                f"{threshold}={least}; the highest is {confidence.max():.3f}. The next "
                f"network trains on the labeled images alone. Lower `{threshold}` or "
                "train for longer.",
                UserWarning,
                # The caller of `fit`.
                stacklevel=4,
            )
        return labels.astype("int32"), confidence
