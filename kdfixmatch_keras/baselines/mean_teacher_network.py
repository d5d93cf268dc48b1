"""The network of Mean Teacher: consistency with an average of itself."""

from typing import Any

import keras
from keras import ops

from kdfixmatch_keras.baselines.unlabeled_term_network import UnlabeledTermNetwork
from kdfixmatch_keras.checks import validation


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class MeanTeacherNetwork(UnlabeledTermNetwork):
    """Trains the student to agree with its own moving average on unlabeled images.

    With `f` the student, `g` the teacher and two independent weak views of an
    unlabeled image, the unlabeled term is the mean over images *and* classes of

        (softmax f(weak_1(u)) - softmax g(weak_2(u)))**2

    without a gradient through the teacher. Its weight in step `t` is

        lambda_u * exp(-5 * (1 - min(t / rampup_steps, 1))**2)

    Args:
        student: See `FixMatch`, as are all others but `rampup_steps`; those about
            thresholds and targets have no effect.
        rampup_steps: Steps until the weight is `lambda_u`; 0 for no ramp.
        **kwargs: As above.

    Reference:
        - [Tarvainen and Valpola, 2017](https://arxiv.org/abs/1703.01780)
    """

    def __init__(self, student: Any, *, rampup_steps: int, **kwargs: Any) -> None:
        super().__init__(student, **kwargs)
        self.rampup_steps = validation.check_integer("rampup_steps", rampup_steps, 0)

    def target_outputs(self, images: Any, training: bool) -> dict[str, Any]:
        """The teacher's logits `(M, K)` on another weak view, without gradient."""
        logits = self.teacher(self.weak_view(images, training), training=False)
        return {"teacher": ops.stop_gradient(logits)}

    def unlabeled_term(self, x: Any, y_pred: Any) -> Any:
        """Mean squared difference of the two probabilities, a float32 scalar."""
        difference = self.probabilities(y_pred["student"]) - self.probabilities(
            y_pred["teacher"]
        )
        return ops.mean(ops.square(difference))

    def unlabeled_weight(self) -> Any:
        """The weight of the unlabeled term in this step."""
        if self.rampup_steps == 0:
            return self.lambda_u
        step = ops.cast(self.num_updates, "float32")
        remaining = 1.0 - ops.minimum(step / self.rampup_steps, 1.0)
        return self.lambda_u * ops.exp(-5.0 * ops.square(remaining))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, serialised."""
        return {**super().get_config(), "rampup_steps": self.rampup_steps}
