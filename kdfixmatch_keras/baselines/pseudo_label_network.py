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

    # No teacher sees the images.
    teacher_passes = 0

    def unlabeled_term(self, x: Any, y_pred: Any) -> Any:
        """Mean `unlabeled_loss` of the pseudo-labels, a float32 scalar."""
        return ops.mean(
            losses.per_sample(self.unlabeled_loss, x["trusted"], y_pred["student"])
        )
