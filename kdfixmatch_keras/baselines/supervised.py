"""Training on the labels alone."""

from kdfixmatch_keras import fixmatch
from kdfixmatch_keras.baselines.baseline import Baseline
from kdfixmatch_keras.training.session import Session


class Supervised(Baseline):
    """Trains on the labels alone: weak augmentation and cross-entropy.

    It sees as many labeled images a step as FixMatch does, and predicts with the same
    moving average of its weights. The unlabeled images only set the default of
    `steps_per_epoch`, so that all methods train for equally long.

    Of the arguments of `ImageClassifier`, those about unlabeled images have no effect.
    """

    measured = ("loss", "accuracy", "supervised_loss")

    def _fit(self, training: Session) -> fixmatch.FixMatch:
        network = self.new_network("supervised", training.data, training.seed)
        self.history = training.fit(network, training.plan.epochs, labels_only=True)
        return network
