"""The metric that shows a network collapse onto one class."""

from typing import Any

import keras
from keras import ops


class TopClassShare(keras.metrics.Metric):
    """Share of the targets that name the class which most of them name.

    Args:
        num_classes: Number `K` of classes.
        name: Name of the metric.
    """

    def __init__(self, num_classes: int, name: str = "top_class_share") -> None:
        super().__init__(name=name, dtype="float32")
        self.counts = self.add_variable((num_classes,), "zeros", name="counts")

    def update_state(self, labels: Any, sample_weight: Any = None) -> None:
        """Counts targets.

        Args:
            labels: int32 `(n,)` in [0, K).
            sample_weight: Float `(n,)`, how much each counts; None for 1.
        """
        counted = ops.one_hot(labels, self.counts.shape[0], dtype="float32")
        if sample_weight is not None:
            counted = counted * ops.expand_dims(sample_weight, -1)
        self.counts.assign_add(ops.sum(counted, axis=0))

    def result(self) -> Any:
        """The share in [1 / K, 1], float32 scalar; 0 if there was no target."""
        return ops.divide_no_nan(ops.max(self.counts), ops.sum(self.counts))
