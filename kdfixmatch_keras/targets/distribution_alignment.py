"""Distribution alignment: a remedy for classes that swallow one another."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kdfixmatch_keras.checks import array_validation, validation
from kdfixmatch_keras.targets.moving_average import follow, warmed_up_decay


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class DistributionAlignment(keras.layers.Layer):
    """Pulls predictions on unlabeled images towards the frequencies of the classes.

    Probabilities `q` become `q * p_target / p_model`, normalised, with `p_model` a
    moving average of the mean of `q` over past batches. A class that is predicted too
    often needs more evidence, one that has died out needs less.

    Args:
        target_distribution: `p_target`, `K` positive numbers that sum to 1.
        decay: Decay of the moving average per batch, in [0, 1), after a warm-up
            (`targets.moving_average`).
        **kwargs: As in `keras.layers.Layer`.

    Raises:
        ValueError: `target_distribution` is not a distribution.

    Reference:
        - [Berthelot et al., 2020](https://arxiv.org/abs/1911.09785), section 3.1
    """

    def __init__(
        self, target_distribution: Sequence[float], decay: float = 0.999, **kwargs: Any
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        target = array_validation.check_array(
            "target_distribution", target_distribution, "K positive numbers"
        ).astype("float32")
        if target.ndim != 1 or not (target > 0).all() or abs(target.sum() - 1) > 1e-3:
            raise ValueError(
                "`target_distribution` must be K positive numbers that sum to 1. "
                f"Received: target_distribution={target_distribution!r}"
            )
        self.target_distribution = [float(share) for share in target]
        self.decay = validation.check_number("decay", decay, 0, 1, "[0, 1)")
        size = len(target)
        self.model_distribution = self.add_weight(
            shape=(size,),
            initializer=keras.initializers.Constant(1 / size),
            trainable=False,
            name="model_distribution",
        )
        self.num_updates = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="t"
        )
        self.built = True

    @classmethod
    def of_classes(
        cls, class_distribution: Sequence[float] | None, num_classes: int
    ) -> "DistributionAlignment | None":
        """The alignment of a network of `num_classes`, None where there is none.

        Raises:
            ValueError: `class_distribution` is no distribution of as many classes.
        """
        if class_distribution is None:
            return None
        alignment = cls(class_distribution)
        if len(alignment.target_distribution) != num_classes:
            raise ValueError(
                f"`class_distribution` must have {num_classes} numbers, one for each "
                f"class. Received: {class_distribution!r}"
            )
        return alignment

    def call(self, logits: Any, training: bool = False) -> Any:
        """Aligns logits `(n, K)`; in training the batch counts towards `p_model`.

        Returns:
            float32 logits `(n, K)`, whose softmax is the aligned distribution.

        Raises:
            ValueError: The logits are of another number of classes.
        """
        size = len(self.target_distribution)
        if len(logits.shape) != 2 or logits.shape[-1] != size:
            raise ValueError(
                f"`logits` must be of shape (n, {size}), a column for each number of "
                f"`target_distribution`. Received: logits.shape={tuple(logits.shape)}"
            )
        logits = ops.cast(logits, "float32")
        if training:
            self.num_updates.assign(self.num_updates + 1)
            decay = warmed_up_decay(self.decay, self.num_updates)
            batch = ops.mean(ops.softmax(logits, axis=-1), axis=0)
            follow(self.model_distribution, batch, decay)
        target = ops.convert_to_tensor(self.target_distribution, "float32")
        # A class that is never predicted must not be lifted without bound.
        model = ops.maximum(self.model_distribution, 1e-6)
        return logits + ops.log(target) - ops.log(model)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        config = super().get_config()
        del config["dtype"]
        return {
            **config,
            "target_distribution": self.target_distribution,
            "decay": self.decay,
        }
