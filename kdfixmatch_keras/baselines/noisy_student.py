"""Noisy Student: rounds of pseudo-labels learned under noise."""

from typing import Any, Unpack

import numpy as np

from kdfixmatch_keras import fixmatch
from kdfixmatch_keras.baselines.noisy_student_network import NoisyStudentNetwork
from kdfixmatch_keras.baselines.pseudo_labeling import PseudoLabeling
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.classifier import Settings
from kdfixmatch_keras.training.session import Session


class NoisyStudent(PseudoLabeling):
    """Trains students under noise, each on the labels that the last one gave.

    1. `"supervised"`: a `NoisyStudentNetwork` on the labeled images.
    2. `"student_1"`, `"student_2"`, ...: a fresh one each on the labeled images and on
       pseudo-labeled ones, which the network before it labeled without noise.

    Each is trained for `epochs` epochs. The noise is the strong augmentation of all
    images and dropout before the logits; stochastic depth is up to the backbone (the
    EfficientNets have it). What the paper leaves open, or does otherwise:

    * A student is as large as its teacher; the paper's may be larger.
    * Labels are hard ones, which the paper finds as good on images like the labeled
      ones, and which are what a batch of this package holds.
    * The terms of labeled and unlabeled images are two means, added with the weight
      `lambda_u`, as in its algorithm.
    * Its balance is `images_per_class` images: the most confident where a class has
      more; where it has fewer, they are repeated in turn, and not at random, the most
      confident first. A class that no image was given stays empty.

    Args:
        backbone: See `ImageClassifier`.
        rounds: Number of students, at least 1.
        tau_select: Least confidence of a pseudo-label, in [0, 1].
        images_per_class: Pseudo-labeled images of each class, repeats included; None
            for the number of unlabeled images over that of classes, rounded up. The
            paper takes 130,000 of 300 million images for each of 1,000 classes.
        dropout: Share of the embedding that is dropped, in [0, 1).
        **settings: The other arguments of `ImageClassifier`; `tau`, `teacher`,
            `threshold` and `distribution_alignment` have no effect.

    Attributes:
        network: The last student, or None before `fit`.
        networks: `{stage: FixMatch}`, in the order of training.
        history: `{stage: {metric: [per epoch]}}`.
        pseudo_labels: int32 `(N,)`, those of the last round, -1 where an image was not
            selected; or None.

    Reference:
        - [Xie et al., 2020](https://arxiv.org/abs/1911.04252)
    """

    measured = ("loss", "accuracy", "supervised_loss")

    def __init__(
        self,
        backbone: Any = "efficientnetb0",
        *,
        rounds: int = 2,
        tau_select: float = 0.3,
        images_per_class: int | None = None,
        dropout: float = 0.5,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(backbone, **settings)
        self.rounds = validation.check_integer("rounds", rounds, 1)
        self.tau_select = validation.check_fraction("tau_select", tau_select)
        self.images_per_class = validation.check_count(
            "images_per_class", images_per_class
        )
        self.dropout = validation.check_number("dropout", dropout, 0, 1, "[0, 1)")

    def _fit(self, training: Session) -> fixmatch.FixMatch:
        self.networks, self.pseudo_labels = {}, None
        network = self._noisy_network("supervised", training)
        self._train_stage("supervised", network, training)
        for round_number in range(1, self.rounds + 1):
            labels, confidence = self._pseudo_label(network, training, "tau_select")
            num_classes = len(training.data.labeled.class_names)
            rows = self._select(labels, confidence, num_classes)
            self.pseudo_labels = np.full_like(labels, -1)
            self.pseudo_labels[rows] = labels[rows]
            stage = f"student_{round_number}"
            network = self._noisy_network(stage, training)
            self._train_stage(stage, network, training, labels, rows)
        return network

    def _noisy_network(self, stage: str, training: Session) -> fixmatch.FixMatch:
        return self.new_network(
            stage,
            training.data,
            training.seed,
            network_class=NoisyStudentNetwork,
            dropout=self.dropout,
        )

    def _select(
        self, labels: np.ndarray, confidence: np.ndarray, num_classes: int
    ) -> np.ndarray:
        count = self.images_per_class or -(-len(labels) // num_classes)
        return balanced_rows(labels, confidence, num_classes, count)


def balanced_rows(
    labels: np.ndarray, confidence: np.ndarray, num_classes: int, count: int
) -> np.ndarray:
    """Chooses as many images of each class: the most confident, repeated as needed.

    Args:
        labels: int32 `(N,)`, -1 for images that must not be chosen.
        confidence: `(N,)`; of equals, the smaller index comes first.
        num_classes: Number `K` of classes.
        count: Images of a class.

    Returns:
        int64 indices, `count` for each class that has an image at all.
    """
    by_confidence = np.argsort(-confidence, kind="stable")
    chosen = []
    for class_id in range(num_classes):
        ranked = by_confidence[labels[by_confidence] == class_id]
        if len(ranked) > 0:
            # `resize` cuts, or starts over from the first.
            chosen.append(np.resize(ranked, count))
    return np.concatenate(chosen) if chosen else np.empty(0, "int64")
