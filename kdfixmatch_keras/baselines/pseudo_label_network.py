"""A network that learns from labels and from pseudo-labels given beforehand."""

from typing import Any

import keras
from keras import ops

from kdfixmatch_keras import losses
from kdfixmatch_keras.baselines.unlabeled_term_network import UnlabeledTermNetwork


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class PseudoLabelNetwork(UnlabeledTermNetwork):
    """Trains on weak views of labeled images and of images with a pseudo-label.

    The loss is `mean CE(y, f(weak(x))) + lambda_u * mean CE(yhat, f(weak(u)))`, in one
    forward pass. A batch is that of `FixMatch`, with the pseudo-labels in `"trusted"`,
    all of them in [0, K). No target is computed, so a step costs one pass an image.

    Args:
        student: See `FixMatch`, as are all others.
        **kwargs: As above.

    Reference:
        - Lee, 2013, "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning
          Method for Deep Neural Networks", equation 15
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns teacher probabilities, or a training batch's logits.

        Args:
            inputs: uint8 images `(n, H, W, C)`, or a training batch.
            training: Whether the augmentations and batch norm are in training mode.

        Returns:
            For images, float32 probabilities `(n, K)` of the teacher. For a batch, a
            dictionary of the student's float32 logits: `"labeled"` `(B, K)` and
            `"pseudo_labeled"` `(M, K)`.
        """
        if not isinstance(inputs, dict):
            return super().call(inputs, training=training)
        labeled = self._view(inputs["labeled"], training)
        if "unlabeled" not in inputs:
            return {"labeled": self.student(labeled, training=training)}
        views = [labeled, self._view(inputs["unlabeled"], training)]
        logits = self.student(ops.concatenate(views, axis=0), training=training)
        num_labeled = ops.shape(labeled)[0]
        return {
            "labeled": logits[:num_labeled],
            "pseudo_labeled": logits[num_labeled:],
        }

    def _view(self, images: Any, training: bool) -> Any:
        """What the student sees of any image."""
        return self._weak_view(images, training)

    def unlabeled_term(self, x: Any, y_pred: Any) -> Any:
        """Mean `unlabeled_loss` of the pseudo-labels, a float32 scalar."""
        return ops.mean(
            losses.per_sample(
                self.unlabeled_loss, x["trusted"], y_pred["pseudo_labeled"]
            )
        )

    def passes_per_batch(self, num_labeled: int, num_unlabeled: int) -> int:
        """What a batch costs; see `FixMatch`. No teacher sees the images."""
        return 3 * (num_labeled + num_unlabeled)
