"""The FixMatch network: student, teacher, and the loss of one training step."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kdfixmatch_keras import augmentation, losses, targets
from kdfixmatch_keras.augmentation import own_layers
from kdfixmatch_keras.augmentation.pixels import to_uint8
from kdfixmatch_keras.augmentation.weak import check_images
from kdfixmatch_keras.backbones.build import check_same_weights, check_student
from kdfixmatch_keras.backbones.weights import set_weights
from kdfixmatch_keras.backend.own_objects import cloned
from kdfixmatch_keras.backend.whole_batch_model import WholeBatchModel
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.targets.distribution_alignment import DistributionAlignment
from kdfixmatch_keras.targets.moving_average import warmed_up_decay
from kdfixmatch_keras.targets.top_class_share import TopClassShare

TEACHERS = ("ema", "shared")
# What saved models may hold, and what changes nothing but how they were trained.
OBSOLETE_ARGUMENTS = ("strong_views",)


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class FixMatch(WholeBatchModel):
    """Trains a classifier on labeled and unlabeled images.

    One class serves both stages of KD-FixMatch. The outer network sees no trusted
    labels; the inner network sees some, and a robust loss. With `q` the teacher's
    probabilities on the weak view of an unlabeled image, the target of its strong view
    is (Heuristic 1 of the paper)

    * `argmax q` where `max q >= tau`: the network's own confident label wins;
    * the trusted label otherwise, where there is one;
    * none otherwise: the image does not contribute.

    The loss is `cross_entropy(labeled) + lambda_u * unlabeled`, where `unlabeled` is
    the sum of `unlabeled_loss` over the images that have a target, divided by the
    number of *all* unlabeled images in the batch. Where there is no trusted label,
    `threshold` can replace `max q >= tau` by a rule that moves with the training.

    The teacher is an exponential moving average of the student, batch-norm moments
    included, or it would be evaluated on statistics that it never produced. Its decay
    is warmed up, `min(ema_decay, (1 + t) / (10 + t))`, or a short run would never
    forget its random start. Evaluation, prediction and export use the teacher.

    A training batch is a dictionary and a vector of labels:

    * `"labeled"`: uint8 `(B, H, W, C)`, the labeled images;
    * `"trusted"`: int32 `(M,)`, the trusted label of each unlabeled image or -1;
    * `"unlabeled"`: uint8 `(M, H, W, C)`;
    * `"unlabeled_index"`: int32 `(M,)`, the images' positions in their source;
    * labels: int32 `(B,)`.

    A batch without the three unlabeled entries trains on the labels alone. `evaluate`
    and `predict` take plain uint8 images `(n, H, W, C)` and give float32 probabilities.

    Args:
        student: Functional `keras.Model` from uint8 images to float32 logits `(n, K)`,
            with a layer named `"embedding"`; see `backbones.build_network`.
        tau: Confidence from which the network's own label is used, in [0, 1].
        lambda_u: Weight of the unlabeled term, at least 0.
        unlabeled_loss: Name in `kdfixmatch_keras.losses` or a `keras.losses.Loss`
            on integer targets and logits.
        teacher: Where targets come from: `"ema"`, or `"shared"`, the student itself, as
            in the first FixMatch. Both keep the average for evaluation.
        ema_decay: Decay of the average per step, in [0, 1).
        weak_augmentation: Name or Keras layer; see `kdfixmatch_keras.augmentation`.
        strong_augmentation: Name or Keras layer, applied to a weak view.
        class_distribution: Frequencies of the `K` classes, towards which the targets
            are aligned (`DistributionAlignment`), or None.
        threshold: Whose own labels count: `"fixed"` (those of confidence `tau`),
            `"flexmatch"`, `"freematch"`, `"softmatch"` or a layer; see `thresholds`. It
            judges the aligned targets.
        num_unlabeled: Number `N` of unlabeled images, of each of which `"flexmatch"`
            remembers something.
        seed: Integer that fixes the augmentations, or None.
        **kwargs: `name` and `dtype` of the model. `dtype` must be the policy of the
            student, or mixed_float16 would train without loss scaling.

    Raises:
        ValueError: An argument is out of range or a name is unknown.
        TypeError: `student` is not a `keras.Model`.

    Reference:
        - [Sohn et al., 2020](https://arxiv.org/abs/2001.07685), equations 3 and 4
        - [Wang et al., 2023](https://arxiv.org/abs/2309.05826), Heuristic 1
    """

    # How often a teacher sees an unlabeled image in a step.
    teacher_passes = 1
    # Whether it starts from trained weights, which choose the optimizer.
    is_pretrained = False

    def __init__(
        self,
        student: Any,
        *,
        tau: float = 0.95,
        lambda_u: float = 1.0,
        unlabeled_loss: Any = "ce",
        teacher: str = "ema",
        ema_decay: float = 0.999,
        weak_augmentation: Any = "flip_shift",
        strong_augmentation: Any = "randaugment",
        class_distribution: Sequence[float] | None = None,
        threshold: Any = "fixed",
        num_unlabeled: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_student(student, self.dtype_policy.name)
        self.tau = validation.check_fraction("tau", tau)
        self.lambda_u = validation.check_non_negative("lambda_u", lambda_u)
        self.ema_decay = validation.check_number("ema_decay", ema_decay, 0, 1, "[0, 1)")
        self.target_source = validation.check_choice("teacher", teacher, TEACHERS)
        self.seed = validation.check_seed(seed)
        self.unlabeled_loss = losses.get(unlabeled_loss, argument="unlabeled_loss")
        self.weak_augmentation = augmentation.get_weak(
            weak_augmentation, validation.derive_seed(seed, "weak")
        )
        self.strong_augmentation = augmentation.get_strong(
            strong_augmentation, validation.derive_seed(seed, "strong")
        )
        num_classes = student.output_shape[-1]
        self.alignment = DistributionAlignment.of_classes(
            class_distribution, num_classes
        )
        self.num_unlabeled = validation.check_count("num_unlabeled", num_unlabeled)
        self.threshold = targets.get(
            threshold,
            tau=self.tau,
            num_classes=num_classes,
            num_unlabeled=num_unlabeled,
        )

        self.student = student
        self.teacher = cloned(student, "student")
        self.teacher.name = f"{student.name}_teacher"
        # Through numpy: JAX would otherwise share the buffers of both networks.
        set_weights(self.teacher, student.get_weights())
        self.teacher.trainable = False
        self.num_updates = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="t"
        )

        self.unlabeled_loss_tracker = self.tracked_mean("unlabeled_loss")
        self.mask_rate = self.tracked_mean("mask_rate")
        self.trusted_share = self.tracked_mean("trusted_share")
        self.top_class_share = self.tracked(TopClassShare(num_classes))
        self.built = True

    def image_logits(self, images: Any, training: bool) -> Any:
        """Logits `(n, K)` of uint8 images `(n, H, W, C)`.

        They are those of the teacher, or, in training mode, of the student on a weak
        view.
        """
        # Keras would cast floats in [0, 1] to black.
        check_images(images)
        if training:
            return self.student(self.weak_view(images, training), training=True)
        return self.teacher(images, training=False)

    def call_batch(self, inputs: dict[str, Any], training: bool) -> dict[str, Any]:
        """What the networks say of a training batch.

        Returns:
            float32 logits of the student, `"labeled"` `(B, K)` and `"strong"` `(M, K)`;
            `"target"` `(M, K)`, logits without gradient; and `"weight"` `(M,)`, how
            much each target counts.
        """
        labeled = self.weak_view(inputs["labeled"], training)
        if "unlabeled" not in inputs:
            return {"labeled": self.student(labeled, training=training)}
        weak = self.weak_view(inputs["unlabeled"], training)
        strong = self.strong_view(inputs["unlabeled"], training)
        # One forward pass, so that batch norm sees one population.
        is_shared = self.target_source == "shared"
        seen = [labeled, strong, weak] if is_shared else [labeled, strong]
        logits = self.student(ops.concatenate(seen, axis=0), training=training)
        first = ops.shape(labeled)[0]
        second = first + ops.shape(strong)[0]
        target = logits[second:] if is_shared else self.teacher(weak, training=False)

        def judge(target: Any, index: Any) -> tuple[Any, Any]:
            if self.alignment is not None:
                target = self.alignment(target, training=training)
            probabilities = self.probabilities(target)
            return target, self.threshold(probabilities, index, training=training)

        # What alignment and threshold remember is to follow the whole batch.
        target, weight = self.with_whole_batch(
            judge, ops.stop_gradient(target), inputs["unlabeled_index"]
        )
        return {
            "labeled": logits[:first],
            "strong": logits[first:second],
            "target": target,
            "weight": weight,
        }

    def weak_view(self, images: Any, training: bool) -> Any:
        """`alpha(images)`, uint8 `(n, H, W, C)`."""
        # Some layers of Keras write into what they are given on PyTorch.
        views = self.weak_augmentation(ops.copy(images), training=training)
        return to_uint8(views, images, "weak_augmentation")

    def strong_view(self, images: Any, training: bool) -> Any:
        """`A(images)`, uint8 `(n, H, W, C)`: a weak view, strongly augmented."""
        weak = self.weak_view(images, training)
        views = self.strong_augmentation(weak, training=training)
        return to_uint8(views, images, "strong_augmentation")

    def targets(self, logits: Any, weight: Any, trusted: Any) -> tuple[Any, Any, Any]:
        """Heuristic 1: the target of each unlabeled image, and how much it counts.

        A trusted image counts whatever the threshold makes of it: by its own label from
        confidence `tau` on, by the trusted one below it.

        Args:
            logits: Float `(M, K)`, the teacher's logits on the weak views.
            weight: float32 `(M,)` in [0, 1], how much the label that they name counts.
            trusted: int32 `(M,)`, trusted labels, -1 where there is none.

        Returns:
            `labels`, int32 `(M,)` in [0, K), meaningless where the weight is 0;
            `weight`, float32 `(M,)` in [0, 1], 1 for trusted images; `from_trusted`,
            bool `(M,)`, True where the target is the trusted label.
        """
        probabilities = self.probabilities(logits)
        own = ops.cast(ops.argmax(probabilities, axis=-1), "int32")
        unsure = ops.max(probabilities, axis=-1) < self.tau
        is_trusted = trusted >= 0
        from_trusted = ops.logical_and(is_trusted, unsure)
        labels = ops.where(from_trusted, ops.cast(trusted, "int32"), own)
        return labels, ops.where(is_trusted, 1.0, weight), from_trusted

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Computes the scalar loss and updates the metrics that belong to it."""
        if not self.is_batch(x):
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        loss = self.mean_loss(self._supervised_loss, y, y_pred["labeled"])
        self.accuracy.update_state(y, y_pred["labeled"])
        self.supervised_loss_tracker.update_state(loss)
        if "strong" in y_pred:
            labels, weight, from_trusted = self.targets(
                y_pred["target"], y_pred["weight"], x["trusted"]
            )
            values = losses.per_sample(self.unlabeled_loss, labels, y_pred["strong"])
            # `where`, or a masked infinity would become a NaN.
            unlabeled = ops.mean(ops.where(weight > 0.0, weight * values, 0.0))
            loss = loss + self.lambda_u * unlabeled
            loss = loss + self.threshold.auxiliary_loss(
                self.whole_batch(y_pred["strong"]), self.whole_batch(y_pred["weight"])
            )
            self.unlabeled_loss_tracker.update_state(unlabeled)
            self.mask_rate.update_state(ops.mean(weight))
            self.trusted_share.update_state(
                ops.cast(from_trusted, "float32"), sample_weight=weight
            )
            self.top_class_share.update_state(labels, sample_weight=weight)
        return self.with_penalties(loss)

    def penalties(self) -> list[Any]:
        """The L2 penalties of the student."""
        return list(self.student.losses)

    def statistics(self) -> list[Any]:
        """The batch-norm moments of the student."""
        return list(self.student.non_trainable_weights)

    def after_step(self) -> None:
        """Moves the teacher towards the student: the exponential moving average."""
        self.num_updates.assign(self.num_updates + 1)
        decay = warmed_up_decay(self.ema_decay, self.num_updates)
        for student, teacher in zip(
            self.student.weights, self.teacher.weights, strict=True
        ):
            latest = ops.cast(student, "float32")
            distance = latest - ops.cast(teacher, "float32")
            # In this form, neither weights that do not change nor a decay of 0 round.
            teacher.assign(latest - distance * decay)

    def start_from(self, other: "FixMatch", share: float = 1.0) -> None:
        """Moves student and teacher towards the weights of the teacher of `other`.

        Args:
            other: Network of the same shape.
            share: How far, in [0, 1]: 1 copies the weights of `other`, 0 keeps those
                of this student.

        Raises:
            TypeError: `other` is no network.
            ValueError: `other` is of another shape, or `share` out of range.
        """
        share = validation.check_fraction("share", share)
        check_same_weights("other", student_of("other", other), self.student)
        weights = [
            share * theirs + (1.0 - share) * own
            for theirs, own in zip(
                other.teacher.get_weights(), self.student.get_weights(), strict=True
            )
        ]
        set_weights(self.student, weights)
        set_weights(self.teacher, weights)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, serialised."""
        parts = ("student", "unlabeled_loss", *own_layers.AUGMENTATIONS, "threshold")
        return {
            **super().get_config(),
            **dict(own_layers.saved({name: getattr(self, name) for name in parts})),
            "tau": self.tau,
            "lambda_u": self.lambda_u,
            "teacher": self.target_source,
            "ema_decay": self.ema_decay,
            "class_distribution": self.alignment and self.alignment.target_distribution,
            "num_unlabeled": self.num_unlabeled,
            "seed": self.seed,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "FixMatch":
        """Builds the network that `get_config` describes."""
        known = {n: v for n, v in config.items() if n not in OBSOLETE_ARGUMENTS}
        return cls(**dict(own_layers.loaded(known, custom_objects)))


def student_of(argument: str, network: Any) -> keras.Model:
    """The student of what a user passed, or a TypeError."""
    if not isinstance(network, FixMatch):
        raise TypeError(
            f"`{argument}` must be a FixMatch network. "
            f"Received: {argument} of type {type(network).__name__}"
        )
    return network.student
