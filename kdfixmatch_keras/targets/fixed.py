"""FixMatch's threshold."""

from typing import Any

import keras
from keras import ops

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.targets.threshold import Threshold


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class FixedThreshold(Threshold):
    """One threshold for all images at all times: 1 where `max p >= tau`.

    Args:
        tau: Confidence, in [0, 1].
        **kwargs: As in `Threshold`.

    Reference:
        - [Sohn et al., 2020](https://arxiv.org/abs/2001.07685), equation 4
    """

    def __init__(self, tau: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tau = validation.check_fraction("tau", tau)

    @classmethod
    def for_data(
        cls, *, tau: float, num_classes: int, num_unlabeled: int | None
    ) -> "Threshold":
        """The threshold with its default parameters; see `thresholds.get`."""
        return cls(tau)

    def call(self, probabilities: Any, index: Any, training: bool = False) -> Any:
        """Weights 0 or 1; see `Threshold.call`. `index` is not used."""
        self.check_probabilities(probabilities)
        return ops.cast(ops.max(probabilities, axis=-1) >= self.tau, "float32")

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "tau": self.tau}
