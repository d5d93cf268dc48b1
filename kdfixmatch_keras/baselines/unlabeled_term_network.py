"""A network whose loss has another unlabeled term than FixMatch's."""

from typing import Any

from keras import ops

from kdfixmatch_keras.fixmatch import FixMatch


class UnlabeledTermNetwork(FixMatch):
    """Trains on `cross_entropy(labeled) + unlabeled_weight() * unlabeled_term()`.

    Student, teacher, batches, supervised term, penalties and evaluation are those of
    `FixMatch`. Subclasses give the term, and say what the student sees.
    """

    def call_batch(self, inputs: dict[str, Any], training: bool) -> dict[str, Any]:
        """What the networks say of a training batch.

        Returns:
            The student's float32 logits, from one forward pass: `"labeled"` `(B, K)`
            and `"student"` `(M, K)`; and what `target_outputs` adds.
        """
        labeled = self.student_view(inputs["labeled"], training)
        if "unlabeled" not in inputs:
            return {"labeled": self.student(labeled, training=training)}
        views = [labeled, self.student_view(inputs["unlabeled"], training)]
        logits = self.student(ops.concatenate(views, axis=0), training=training)
        num_labeled = ops.shape(labeled)[0]
        return {
            "labeled": logits[:num_labeled],
            "student": logits[num_labeled:],
            **self.target_outputs(inputs["unlabeled"], training),
        }

    def student_view(self, images: Any, training: bool) -> Any:
        """What the student sees of any image."""
        return self.weak_view(images, training)

    def target_outputs(self, images: Any, training: bool) -> dict[str, Any]:
        """What else the term needs to know of the unlabeled images `(M, H, W, C)`."""
        return {}

    def unlabeled_term(self, x: Any, y_pred: Any) -> Any:
        """The float32 scalar of one batch, before its weight.

        Args:
            x: A training batch with unlabeled images; see `FixMatch`.
            y_pred: What `call` returned for it.
        """
        raise NotImplementedError

    def unlabeled_weight(self) -> Any:
        """The weight of the unlabeled term in this step."""
        return self.lambda_u

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Computes the scalar loss and updates the metrics that belong to it."""
        # Without `"strong"`, this is the supervised term and the penalties.
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if self.is_batch(x) and "unlabeled" in x:
            unlabeled = self.unlabeled_term(x, y_pred)
            self.unlabeled_loss_tracker.update_state(unlabeled)
            loss = loss + self.part_of_loss(self.unlabeled_weight() * unlabeled)
        return loss

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Returns the metrics without those of targets that FixMatch selects."""
        results = super().compute_metrics(x, y, y_pred, sample_weight)
        kept = ("loss", "accuracy", "supervised_loss", "unlabeled_loss")
        return {name: value for name, value in results.items() if name in kept}
