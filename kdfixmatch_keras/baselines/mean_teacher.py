"""Mean Teacher: consistency with an average of the network itself."""

from typing import Any, Unpack

from kdfixmatch_keras import fixmatch
from kdfixmatch_keras.baselines.baseline import Baseline
from kdfixmatch_keras.baselines.mean_teacher_network import MeanTeacherNetwork
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.classifier import Settings
from kdfixmatch_keras.training.session import Session


class MeanTeacher(Baseline):
    """Trains a student to agree with the moving average of its own weights.

    `MeanTeacherNetwork` gives the loss. Where the publications differ:

    * The squared error is a mean over classes, and the weight 50 reached after 40 % of
      the steps, as in the code of FixMatch and in TorchSSL; the first code has weight
      100 and the same mean.
    * The ramp is `exp(-5 (1 - t)**2)`, as in the paper; the other two have a line.
    * The error is that of the unlabeled images, as in the code of FixMatch; the paper
      takes the labeled ones as well.
    * The teacher normalises with its average of the moments, as everywhere in this
      package; the first code, and that of FixMatch, with those of the batch.

    Args:
        backbone: See `ImageClassifier`.
        consistency_weight: Weight of the squared error after the ramp, at least 0. It
            takes the place of `lambda_u`.
        rampup: Share of all steps in which the weight rises, in [0, 1].
        **settings: The other arguments of `ImageClassifier`. `teacher` must be `"ema"`.
            `lambda_u`, `tau`, `threshold`, `distribution_alignment`
            and `strong_augmentation` have no effect.

    Reference:
        - [Tarvainen and Valpola, 2017](https://arxiv.org/abs/1703.01780)
        - [Code of FixMatch](https://github.com/google-research/fixmatch),
          `mean_teacher.py`
    """

    measured = ("loss", "accuracy", "supervised_loss", "unlabeled_loss")

    def __init__(
        self,
        backbone: Any = "efficientnetb0",
        *,
        consistency_weight: float = 50.0,
        rampup: float = 0.4,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(backbone, **settings)
        validation.check_choice("teacher", self.teacher, ["ema"])
        self.consistency_weight = validation.check_non_negative(
            "consistency_weight", consistency_weight
        )
        self.rampup = validation.check_fraction("rampup", rampup)

    def _fit(self, training: Session) -> fixmatch.FixMatch:
        num_steps = training.plan.epochs * training.steps_per_epoch
        network = self.new_network(
            "mean_teacher",
            training.data,
            training.seed,
            network_class=MeanTeacherNetwork,
            lambda_u=self.consistency_weight,
            rampup_steps=round(self.rampup * num_steps),
            threshold="fixed",
            class_distribution=None,
        )
        self.history = training.fit(network, training.plan.epochs)
        return network
