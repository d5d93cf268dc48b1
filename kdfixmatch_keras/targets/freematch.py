"""FreeMatch's threshold."""

from typing import Any

import keras
from keras import ops

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.targets.moving_average import follow
from kdfixmatch_keras.targets.threshold import AveragingThreshold


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class FreeMatchThreshold(AveragingThreshold):
    """Lets the threshold follow the network's own confidence, class by class.

    With the moving averages `tau_t` of the mean of `max p` and `p~` of the mean of
    `p`, the weight is 1 where `max p >= tau_t * p~(c) / max p~`, `c = argmax p`. As
    in the authors' code, a batch counts towards the averages that weigh it.

    The fairness term compares `p~` and the average `h~` of the histogram of `c` with
    the mean `p_bar` and histogram `h_bar` of the student's predictions on the strong
    views that count, each quotient normalised to sum to 1, and 0 where its
    denominator is:

    `fairness_weight * sum_c (p~ / h~)(c) * log((p_bar / h_bar)(c) + 1e-12)`

    It is the published loss with its published sign: negative, and smaller the
    *farther* the two lie apart. Without an image that counts it is 0.

    Args:
        num_classes: `K`, at least 2.
        decay: Decay of the averages per batch, in [0, 1), after the warm-up.
        fairness_weight: Weight of the fairness term, at least 0.
        **kwargs: As in `Threshold`.

    Reference:
        - [Wang et al., 2023](https://arxiv.org/abs/2205.07246), section 4
    """

    def __init__(
        self,
        num_classes: int,
        decay: float = 0.999,
        fairness_weight: float = 0.01,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, decay, **kwargs)
        self.fairness_weight = validation.check_non_negative(
            "fairness_weight", fairness_weight
        )
        uniform = 1 / self.num_classes
        self.confidence = self.add_average("confidence", uniform)
        self.distribution = self.add_average("distribution", uniform, (num_classes,))
        self.histogram = self.add_average("histogram", uniform, (num_classes,))

    def call(self, probabilities: Any, index: Any, training: bool = False) -> Any:
        """Weights 0 or 1; see `Threshold.call`. `index` is not used."""
        self.check_probabilities(probabilities)
        confidence = ops.max(probabilities, axis=-1)
        labels = ops.argmax(probabilities, axis=-1)
        if training:
            decay = self.next_decay()
            follow(self.confidence, ops.mean(confidence), decay)
            follow(self.distribution, ops.mean(probabilities, axis=0), decay)
            votes = ops.one_hot(labels, self.num_classes, dtype="float32")
            follow(self.histogram, ops.mean(votes, axis=0), decay)
        share = self.distribution / ops.max(self.distribution)
        threshold = self.confidence * ops.take(share, labels)
        return ops.cast(confidence >= threshold, "float32")

    def auxiliary_loss(self, strong_logits: Any, weights: Any) -> Any:
        """The fairness term, a float32 scalar; see `Threshold.auxiliary_loss`."""
        counts = ops.expand_dims(weights > 0, -1)
        logits = ops.cast(strong_logits, "float32")
        # `where` before the softmax too: a masked infinity must not become a NaN.
        logits = ops.where(counts, logits, 0.0)
        mask = ops.cast(counts, "float32")
        votes = ops.one_hot(
            ops.argmax(logits, axis=-1), self.num_classes, dtype="float32"
        )
        # Sums in place of means: the quotients are normalised.
        strong = _normalized_quotient(
            ops.sum(mask * ops.softmax(logits, axis=-1), axis=0),
            ops.sum(mask * votes, axis=0),
        )
        average = _normalized_quotient(
            ops.convert_to_tensor(self.distribution),
            ops.convert_to_tensor(self.histogram),
        )
        loss = ops.sum(average * ops.log(strong + 1e-12))
        return self.fairness_weight * ops.where(ops.any(counts), loss, 0.0)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "fairness_weight": self.fairness_weight}


def _normalized_quotient(numerator: Any, denominator: Any) -> Any:
    """`numerator / denominator`, 0 where that divides by 0, with the sum 1 (or 0)."""
    known = denominator > 0
    quotient = numerator / ops.where(known, denominator, 1.0)
    quotient = ops.where(known, quotient, 0.0)
    total = ops.sum(quotient)
    return quotient / ops.where(total > 0, total, 1.0)
