"""The network of Noisy Student: pseudo-labels learned under noise."""

from typing import Any

import keras

from kdfixmatch_keras.backbones.build import check_student
from kdfixmatch_keras.baselines.pseudo_label_network import PseudoLabelNetwork
from kdfixmatch_keras.checks import validation

DROPOUT_LAYER = "dropout_before_logits"


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class NoisyStudentNetwork(PseudoLabelNetwork):
    """A `PseudoLabelNetwork` that sees strong views, through dropout.

    The noise meets all images, labeled or not, in training only: labels and
    predictions come from the whole network on the image as it is.

    Args:
        student: See `FixMatch`. It gets a dropout layer before its logits, unless it
            already has that layer, as one read from a file does.
        dropout: Share of the embedding that is dropped, in [0, 1).
        seed: Integer that fixes augmentation and dropout, or None.
        **kwargs: The other arguments of `FixMatch`.

    Reference:
        - [Xie et al., 2020](https://arxiv.org/abs/1911.04252), algorithm 1
    """

    def __init__(
        self,
        student: Any,
        *,
        dropout: float = 0.5,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        dropout = validation.check_number("dropout", dropout, 0, 1, "[0, 1)")
        check_student(student)
        if DROPOUT_LAYER not in [layer.name for layer in student.layers]:
            student = _with_dropout(
                student, dropout, validation.derive_seed(seed, "dropout")
            )
        super().__init__(student, seed=seed, **kwargs)
        self.dropout = dropout

    def student_view(self, images: Any, training: bool) -> Any:
        """A strong view."""
        return self.strong_view(images, training)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, serialised."""
        return {**super().get_config(), "dropout": self.dropout}


def _with_dropout(student: keras.Model, rate: float, seed: int | None) -> keras.Model:
    """The same network, of the same layers, with dropout between the last two."""
    embedding = student.get_layer("embedding")
    dropout = keras.layers.Dropout(
        rate, seed=seed, dtype=embedding.dtype_policy, name=DROPOUT_LAYER
    )
    logits = student.get_layer("logits")(dropout(embedding.output))
    return keras.Model(student.input, logits, name=student.name)
