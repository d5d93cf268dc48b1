"""FlexMatch's threshold."""

from typing import Any

import keras
from keras import ops

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.targets.threshold import Threshold


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class FlexMatchThreshold(Threshold):
    """Lowers the threshold of a class in which few images are confident yet.

    A memory holds, for each unlabeled image, the class it was last confidently
    (`max p >= tau`) predicted in, or -1. With `sigma(c)` the number of images
    remembered in class `c` and `unused` the number of -1,

    * `beta(c) = sigma(c) / max(max_c sigma(c), unused)`;
    * the weight is 1 where `max p >= tau * beta(c) / (2 - beta(c))`, `c = argmax p`.

    As published, the thresholds are *low* at first, not high: as long as most images
    are unused, `beta` is near 0 and almost every pseudo-label counts. And as in the
    authors' code, a batch is weighted by the memory before it, then remembered.

    Args:
        tau: Confidence of a class whose `beta` is 1, in [0, 1].
        num_classes: `K`, at least 2.
        num_unlabeled: Number of unlabeled images, at least 1; every index is below it.
        **kwargs: As in `Threshold`.

    Reference:
        - [Zhang et al., 2021](https://arxiv.org/abs/2110.08263), section 3
    """

    def __init__(
        self, tau: float, num_classes: int, num_unlabeled: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.tau = validation.check_fraction("tau", tau)
        self.num_classes = validation.check_integer("num_classes", num_classes, 2)
        self.num_unlabeled = validation.check_integer("num_unlabeled", num_unlabeled, 1)
        self.memory = self.add_weight(
            shape=(self.num_unlabeled,),
            initializer=keras.initializers.Constant(-1),
            dtype="int32",
            trainable=False,
            name="memory",
        )

    @classmethod
    def for_data(
        cls, *, tau: float, num_classes: int, num_unlabeled: int | None
    ) -> "Threshold":
        """The threshold with its default parameters; see `thresholds.get`."""
        if num_unlabeled is None:
            raise ValueError(
                "`num_unlabeled` must be the number of unlabeled images: "
                "threshold='flexmatch' remembers a class for each. Received: "
                "num_unlabeled=None"
            )
        return cls(tau, num_classes, num_unlabeled)

    def call(self, probabilities: Any, index: Any, training: bool = False) -> Any:
        """Weights 0 or 1; see `Threshold.call`.

        Of an image that is twice in the batch, one confident class is remembered.
        """
        self.check_probabilities(probabilities)
        confidence = ops.max(probabilities, axis=-1)
        labels = ops.cast(ops.argmax(probabilities, axis=-1), "int32")
        memory = ops.convert_to_tensor(self.memory)
        counts = ops.segment_sum(
            ops.ones_like(memory), memory + 1, num_segments=self.num_classes + 1
        )
        # The first count is that of the unused images. The largest is at least 1.
        beta = ops.cast(counts[1:], "float32") / ops.cast(ops.max(counts), "float32")
        threshold = self.tau * ops.take(beta / (2.0 - beta), labels)
        if training:
            # The others go to a place that is cut off, not to their own: writing the
            # old class there could undo a confident copy of the image in the batch.
            place = ops.where(confidence >= self.tau, ops.cast(index, "int32") + 1, 0)
            self.memory.assign(
                ops.scatter_update(
                    ops.pad(memory, [[1, 0]]), ops.expand_dims(place, -1), labels
                )[1:]
            )
        return ops.cast(confidence >= threshold, "float32")

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        sizes = {"num_classes": self.num_classes, "num_unlabeled": self.num_unlabeled}
        return {**super().get_config(), "tau": self.tau, **sizes}
