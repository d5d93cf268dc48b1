"""Self-training: label once, train again."""

import numpy as np

from kdfixmatch_keras import fixmatch
from kdfixmatch_keras.baselines.pseudo_label_network import PseudoLabelNetwork
from kdfixmatch_keras.baselines.pseudo_labeling import PseudoLabeling
from kdfixmatch_keras.training.session import Session


class SelfTraining(PseudoLabeling):
    """Trains on the labels, labels the unlabeled images once, trains anew on both.

    1. `"supervised"`: the network of `Supervised`, bit for bit.
    2. `"student"`: a fresh `PseudoLabelNetwork` on the labeled images and on those
       unlabeled ones whose label has a confidence of at least `tau`; every weak view
       of an image keeps its label.

    Both are trained for `epochs` epochs.

    Args:
        backbone: See `ImageClassifier`.
        **settings: The other arguments of `ImageClassifier`; `teacher`, `threshold`,
            `distribution_alignment` and `strong_augmentation` have no effect.

    Attributes:
        network: The student, or None before `fit`.
        networks: `{"supervised" | "student": FixMatch}`.
        history: `{"supervised" | "student": {metric: [per epoch]}}`.
        pseudo_labels: int32 `(N,)`, -1 where the confidence was below `tau`; or None.

    Reference:
        - Yarowsky, 1995, "Unsupervised Word Sense Disambiguation Rivaling Supervised
          Methods", with one round
        - Lee, 2013, "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning
          Method for Deep Neural Networks", which labels anew in each step
    """

    measured = ("loss", "accuracy", "supervised_loss")

    def _fit(self, training: Session) -> fixmatch.FixMatch:
        self.networks, self.pseudo_labels = {}, None
        first = self.new_network("supervised", training.data, training.seed)
        self._train_stage("supervised", first, training)

        labels, _ = self._pseudo_label(first, training, "tau")
        self.pseudo_labels = labels
        student = self.new_network(
            "student", training.data, training.seed, network_class=PseudoLabelNetwork
        )
        rows = np.flatnonzero(labels >= 0)
        self._train_stage("student", student, training, labels, rows)
        return student
