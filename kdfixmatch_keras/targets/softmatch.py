"""SoftMatch's threshold."""

import math
from typing import Any

import keras
from keras import ops

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.targets.moving_average import follow
from kdfixmatch_keras.targets.threshold import AveragingThreshold


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class SoftMatchThreshold(AveragingThreshold):
    """Weighs an image by a Gaussian of how far its confidence lies below average.

    With `p~` a moving average of the mean of `p`, `m` is the largest of `p / p~`,
    normalised: a class that is predicted too often counts less (uniform alignment;
    it decides about the weight only, the label remains `argmax p`). With the moving
    averages `mu` and `var` of the mean and the variance of `m`, the weight is

    `exp(-min(m - mu, 0)**2 * num_sigmas**2 / (2 * var))`

    and so exactly 1 where `m >= mu`. As in the authors' USB code, `mu` and `var` are
    those of the aligned `m`, the variance is the unbiased one (0 for a single image),
    and a batch counts towards the averages that weigh it.

    Args:
        num_classes: `K`, at least 2.
        num_sigmas: How steeply the weight falls, above 0: one standard deviation
            below `mu` it is `exp(-num_sigmas**2 / 2)`.
        decay: Decay of the averages per batch, in [0, 1), after the warm-up.
        **kwargs: As in `Threshold`.

    Reference:
        - [Chen et al., 2023](https://arxiv.org/abs/2301.10921), section 3
    """

    def __init__(
        self,
        num_classes: int,
        num_sigmas: float = 2.0,
        decay: float = 0.999,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, decay, **kwargs)
        self.num_sigmas = validation.check_number(
            "num_sigmas", num_sigmas, 0, math.inf, "(0, infinity)"
        )
        uniform = 1 / self.num_classes
        self.distribution = self.add_average("distribution", uniform, (num_classes,))
        self.mean = self.add_average("mean", uniform)
        self.variance = self.add_average("variance", 1.0)

    def call(self, probabilities: Any, index: Any, training: bool = False) -> Any:
        """Weights in (0, 1]; see `Threshold.call`. `index` is not used."""
        self.check_probabilities(probabilities)
        decay = self.next_decay() if training else None
        if training:
            follow(self.distribution, ops.mean(probabilities, axis=0), decay)
        # A class that is never predicted must not be lifted without bound.
        aligned = probabilities / ops.maximum(self.distribution, 1e-6)
        confidence = ops.max(aligned, axis=-1) / ops.sum(aligned, axis=-1)
        if training:
            mean = ops.mean(confidence)
            degrees = ops.maximum(ops.shape(confidence)[0] - 1, 1)
            squares = ops.sum(ops.square(confidence - mean))
            follow(self.mean, mean, decay)
            follow(self.variance, squares / ops.cast(degrees, "float32"), decay)
        below = ops.minimum(confidence - self.mean, 0.0)
        # Images of one and the same confidence leave no variance to divide by.
        variance = ops.maximum(self.variance, 1e-12)
        return ops.exp(-ops.square(below * self.num_sigmas) / (2.0 * variance))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "num_sigmas": self.num_sigmas}
