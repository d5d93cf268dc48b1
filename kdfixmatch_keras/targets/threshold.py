"""What a threshold is: how much the pseudo-label of each unlabeled image counts."""

from typing import Any

import keras
from keras import ops

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.targets.moving_average import warmed_up_decay


class Threshold(keras.layers.Layer):
    """Base of the thresholds: subclasses implement `call`.

    Args:
        **kwargs: As in `keras.layers.Layer`, without `dtype`, which is float32.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.built = True

    @classmethod
    def for_data(
        cls, *, tau: float, num_classes: int, num_unlabeled: int | None
    ) -> "Threshold":
        """The threshold with its default parameters; see `thresholds.get`."""
        raise NotImplementedError

    def call(self, probabilities: Any, index: Any, training: bool = False) -> Any:
        """Weights of a batch; in training the batch counts towards the state.

        Args:
            probabilities: float32 `(M, K)`, the teacher's on the weak views, without
                gradient.
            index: int32 `(M,)`, the images' positions in their source.
            training: Whether to update the state.

        Returns:
            float32 weights `(M,)` in [0, 1].
        """
        raise NotImplementedError

    def check_probabilities(self, probabilities: Any) -> None:
        """Checks the shape of what `call` is given.

        Raises:
            ValueError: It is not `(M, K)`.
        """
        shape = tuple(probabilities.shape)
        classes = getattr(self, "num_classes", None)
        if len(shape) != 2 or classes not in (None, shape[1]):
            raise ValueError(
                f"`probabilities` must be of shape (M, {classes or 'K'}), a row for "
                f"each image. Received: probabilities.shape={shape}"
            )

    def auxiliary_loss(self, strong_logits: Any, weights: Any) -> Any:
        """The term of this threshold in the loss, after `call` on the same batch.

        Args:
            strong_logits: Float `(M, K)`, the student's on the strong views.
            weights: float32 `(M,)`, what `call` returned.

        Returns:
            float32 scalar, 0 unless a subclass says otherwise.
        """
        return ops.zeros((), "float32")

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        config: dict[str, Any] = super().get_config()
        del config["dtype"]
        return config


class AveragingThreshold(Threshold):
    """Base of the thresholds that follow moving averages over the batches."""

    def __init__(self, num_classes: int, decay: float = 0.999, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = validation.check_integer("num_classes", num_classes, 2)
        self.decay = validation.check_number("decay", decay, 0, 1, "[0, 1)")
        self.num_updates = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="t"
        )

    @classmethod
    def for_data(
        cls, *, tau: float, num_classes: int, num_unlabeled: int | None
    ) -> "Threshold":
        """The threshold with its default parameters; see `thresholds.get`."""
        return cls(num_classes)

    def add_average(self, name: str, start: float, shape: tuple[int, ...] = ()) -> Any:
        """Adds a variable that starts at `start` in each of its places."""
        constant = keras.initializers.Constant(start)
        return self.add_weight(shape, constant, trainable=False, name=name)

    def next_decay(self) -> Any:
        """The decay of the averages in the next batch."""
        self.num_updates.assign(self.num_updates + 1)
        return warmed_up_decay(self.decay, self.num_updates)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        own = {"num_classes": self.num_classes, "decay": self.decay}
        return {**super().get_config(), **own}
