"""The FixMatch network: student, teacher, and the loss of one training step."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kdfixmatch_keras import (
    augmentation,
    backend,
    losses,
    thresholds,
    validation,
)
from kdfixmatch_keras.augmentation.pixels import to_uint8
from kdfixmatch_keras.augmentation.weak import check_images
from kdfixmatch_keras.backbones import set_weights
from kdfixmatch_keras.backend import devices
from kdfixmatch_keras.distribution_alignment import DistributionAlignment
from kdfixmatch_keras.moving_average import warmed_up_decay
from kdfixmatch_keras.top_class_share import TopClassShare

TEACHERS = ("ema", "shared")
STRONG_VIEWS = ("all", "targeted")


def check_student(student: Any) -> None:
    """Checks that a model can be the student of a network.

    Raises:
        TypeError: It is no `keras.Model`.
        ValueError: It is not functional, or has no layer named `"embedding"`.
    """
    if not isinstance(student, keras.Model):
        raise TypeError(
            "`student` must be a keras.Model, as `backbones.build_network` makes "
            f"it. Received: student={student!r}"
        )
    names = [layer.name for layer in student.layers]
    if "embedding" not in names:
        raise ValueError(
            '`student` must have a layer named "embedding" before its logits. '
            f"Received: layers {names}"
        )
    if not student.built:
        raise ValueError(
            "`student` must be built, as a functional model is. Received: "
            f"student={student!r}"
        )


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class FixMatch(keras.Model):
    """Trains a classifier on labeled and unlabeled images.

    One class serves both stages of KD-FixMatch. The outer network sees no trusted
    labels; the inner network sees some, and a robust loss.

    With `q` the teacher's probabilities on the weak view of an unlabeled image,
    the target of its strong view is (Heuristic 1 of the paper)

    * `argmax q` where `max q >= tau`: the network's own confident label wins;
    * the trusted label otherwise, where there is one;
    * none otherwise: the image does not contribute.

    The loss is `cross_entropy(labeled) + lambda_u * unlabeled`, where `unlabeled`
    is the sum of `unlabeled_loss` over the images that have a target, divided by
    the number of *all* unlabeled images in the batch.

    Where there is no trusted label, `threshold` can replace `max q >= tau` by a rule
    that moves with the training, or by a weight in [0, 1]
    (`kdfixmatch_keras.thresholds`).

    The teacher is an exponential moving average of the student, batch-norm moments
    included: an average of weights with the moments of another network would be
    evaluated on statistics it never produced. Its decay is warmed up,
    `min(ema_decay, (1 + t) / (10 + t))`, or a short run would never forget its
    random start. Evaluation, prediction and export use the teacher.

    A training batch is a dictionary and a vector of labels:

    * `"labeled"`: uint8 `(B, H, W, C)`, the labeled images;
    * `"trusted"`: int32 `(M,)`, the trusted label of each unlabeled image or -1;
    * `"unlabeled"`: uint8 `(M, H, W, C)`;
    * `"unlabeled_index"`: int32 `(M,)`, the images' positions in their source;
    * labels: int32 `(B,)`.

    A batch without the three unlabeled entries trains on the labels alone.
    `evaluate` and `predict` take plain uint8 images `(n, H, W, C)`; the output is
    float32 probabilities `(n, K)`.

    Args:
        student: Functional `keras.Model` from uint8 images to float32 logits
            `(n, K)`, with the embedding in a layer named `"embedding"`; see
            `kdfixmatch_keras.backbones.build_network`.
        tau: Confidence from which the network's own label is used, in [0, 1].
        lambda_u: Weight of the unlabeled term, at least 0.
        unlabeled_loss: Name in `kdfixmatch_keras.losses` or a `keras.losses.Loss`
            on integer targets and logits.
        teacher: Where targets come from: `"ema"`, or `"shared"`, the student
            itself without a gradient, as in the first FixMatch. Both keep the
            average for evaluation.
        ema_decay: Decay of the average per step, in [0, 1).
        weak_augmentation: Name or Keras layer; see `kdfixmatch_keras.augmentation`.
        strong_augmentation: Name or Keras layer, applied to a weak view.
        class_distribution: Frequencies of the `K` classes, towards which the targets
            are aligned (`DistributionAlignment`), or None.
        threshold: Whose own labels count: `"fixed"` (those of confidence `tau`),
            `"flexmatch"`, `"freematch"`, `"softmatch"` or a layer; see
            `kdfixmatch_keras.thresholds`. It judges the aligned targets.
        num_unlabeled: Number `N` of unlabeled images, for `"flexmatch"`, which
            remembers something of each.
        strong_views: Which unlabeled images the student sees in training: `"all"`, as
            published, or `"targeted"`, those that have a target. The others add nothing
            to the loss, only to the statistics of batch norm: without batch norm, the
            gradient is the same for less work. Needs an `"ema"` teacher and a backend
            that takes batches of any size, TensorFlow without XLA or PyTorch.
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
        strong_views: str = "all",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_student(student)
        policy = student.get_layer("embedding").dtype_policy.name
        if policy != self.dtype_policy.name:
            raise ValueError(
                "`student` must have the dtype policy of this model, or mixed_float16 "
                f"would train without loss scaling. Received: {policy!r} and "
                f"{self.dtype_policy.name!r}. Pass dtype={policy!r}."
            )
        self.tau = validation.check_fraction("tau", tau)
        self.lambda_u = validation.check_non_negative("lambda_u", lambda_u)
        self.ema_decay = validation.check_number("ema_decay", ema_decay, 0, 1, "[0, 1)")
        self.target_source = validation.check_choice("teacher", teacher, TEACHERS)
        self.strong_views = check_strong_views(strong_views, self.target_source)
        # How many images have a target is not known before the step.
        self.supports_jit = strong_views == "all"
        self.seed = validation.check_seed(seed)
        self.unlabeled_loss = losses.get(unlabeled_loss, argument="unlabeled_loss")
        self.weak_augmentation = augmentation.get_weak(
            weak_augmentation, validation.derive_seed(seed, "weak")
        )
        self.strong_augmentation = augmentation.get_strong(
            strong_augmentation, validation.derive_seed(seed, "strong")
        )
        self.alignment = (
            None
            if class_distribution is None
            else DistributionAlignment(class_distribution)
        )
        num_classes = student.output_shape[-1]
        if self.alignment and len(self.alignment.target_distribution) != num_classes:
            raise ValueError(
                f"`class_distribution` must have {num_classes} numbers, one for each "
                f"class. Received: {class_distribution!r}"
            )
        if num_unlabeled is not None:
            num_unlabeled = validation.check_integer("num_unlabeled", num_unlabeled, 1)
        self.num_unlabeled = num_unlabeled
        self.threshold = thresholds.get(
            threshold,
            tau=self.tau,
            num_classes=num_classes,
            num_unlabeled=num_unlabeled,
        )

        self.student = student
        self.teacher = keras.models.clone_model(student)
        self.teacher.name = f"{student.name}_teacher"
        # Through numpy: JAX would otherwise share the buffers of both networks.
        set_weights(self.teacher, student.get_weights())
        self.teacher.trainable = False
        self.num_updates = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="t"
        )

        self._supervised_loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True
        )
        self._probability_loss = keras.losses.SparseCategoricalCrossentropy()
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        self.supervised_loss_tracker = keras.metrics.Mean(name="supervised_loss")
        self.unlabeled_loss_tracker = keras.metrics.Mean(name="unlabeled_loss")
        self.mask_rate = keras.metrics.Mean(name="mask_rate")
        self.trusted_share = keras.metrics.Mean(name="trusted_share")
        self.top_class_share = TopClassShare(num_classes)
        self._trackers = [
            self.supervised_loss_tracker,
            self.unlabeled_loss_tracker,
            self.mask_rate,
            self.trusted_share,
            self.top_class_share,
        ]
        self._in_training = False
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns teacher probabilities, or a training batch's logits.

        Args:
            inputs: uint8 images `(n, H, W, C)`, or a training batch.
            training: Whether the augmentations and batch norm are in training mode.

        Returns:
            For images, float32 probabilities `(n, K)`: of the teacher, or, in training
            mode, of the student on a weak view. For a batch, a dictionary of float32
            logits: `"labeled"` `(B, K)`, `"strong"` `(M, K)` of the student, and
            `"target"` `(M, K)` without gradient; and of `"weight"`, float32 `(M,)` in
            [0, 1], how much each target counts.
        """
        if not isinstance(inputs, dict):
            # Keras would cast floats in [0, 1] to black.
            check_images(inputs)
            if training:
                weak = self._weak_view(inputs, training)
                return self.probabilities(self.student(weak, training=True))
            return self.probabilities(self.teacher(inputs, training=False))

        labeled = self._weak_view(inputs["labeled"], training)
        if "unlabeled" not in inputs:
            return {"labeled": self.student(labeled, training=training)}
        weak = self._weak_view(inputs["unlabeled"], training)
        strong = self._strong_view(inputs["unlabeled"], training)
        num_labeled, num_unlabeled = ops.shape(labeled)[0], ops.shape(strong)[0]
        # One forward pass, so that batch norm sees one population.
        if self.target_source == "shared":
            logits = self.student(
                ops.concatenate([labeled, strong, weak], axis=0), training=training
            )
            strong_logits = logits[num_labeled : num_labeled + num_unlabeled]
            target, weight = self._judged(
                logits[num_labeled + num_unlabeled :], inputs, training
            )
        else:
            target, weight = self._judged(
                self.teacher(weak, training=False), inputs, training
            )
            if self.strong_views == "targeted":
                _, counts, _ = self.targets(target, weight, inputs["trusted"])
                rows = ops.nonzero(counts > 0.0)[0]
                strong = ops.take(strong, rows, axis=0)
            logits = self.student(
                ops.concatenate([labeled, strong], axis=0), training=training
            )
            strong_logits = logits[num_labeled:]
            if self.strong_views == "targeted":
                strong_logits = ops.scatter(
                    ops.expand_dims(rows, -1), strong_logits, ops.shape(target)
                )
        return {
            "labeled": logits[:num_labeled],
            "strong": strong_logits,
            "target": target,
            "weight": weight,
        }

    def _judged(self, logits: Any, inputs: Any, training: bool) -> tuple[Any, Any]:
        """The targets' logits `(M, K)`, aligned, and how much each counts, `(M,)`."""
        # What they remember is to follow the whole batch.
        target = devices.whole_batch(ops.stop_gradient(logits))
        index = devices.whole_batch(inputs["unlabeled_index"])
        if self.alignment is not None:
            target = self.alignment(target, training=training)
        weight = self.threshold(self.probabilities(target), index, training=training)
        return devices.own_rows(target, logits), devices.own_rows(weight, logits)

    @staticmethod
    def probabilities(logits: Any) -> Any:
        """Softmax in float32 whatever the precision of `logits` `(n, K)`."""
        return ops.softmax(ops.cast(logits, "float32"), axis=-1)

    def _weak_view(self, images: Any, training: bool) -> Any:
        views = self.weak_augmentation(images, training=training)
        return to_uint8(views, images, "weak_augmentation")

    def _strong_view(self, images: Any, training: bool) -> Any:
        weak = self._weak_view(images, training)
        views = self.strong_augmentation(weak, training=training)
        return to_uint8(views, images, "strong_augmentation")

    def targets(self, logits: Any, weight: Any, trusted: Any) -> tuple[Any, Any, Any]:
        """Heuristic 1: the target of each unlabeled image, and how much it counts.

        Args:
            logits: Float `(M, K)`, the teacher's logits on the weak views.
            weight: float32 `(M,)` in [0, 1], how much the label that they name counts.
            trusted: int32 `(M,)`, trusted labels, -1 where there is none. One takes the
                place of an own label of less confidence than `tau`, whatever its
                weight: an adaptive threshold lets nearly all of them count at first.

        Returns:
            `labels`, int32 `(M,)` in [0, K), meaningless where the weight is 0;
            `weight`, float32 `(M,)` in [0, 1], 1 for trusted labels; `from_trusted`,
            bool `(M,)`, True where the target is the trusted label.
        """
        probabilities = self.probabilities(logits)
        own = ops.cast(ops.argmax(probabilities, axis=-1), "int32")
        unsure = ops.max(probabilities, axis=-1) < self.tau
        from_trusted = ops.logical_and(trusted >= 0, unsure)
        labels = ops.where(from_trusted, ops.cast(trusted, "int32"), own)
        return labels, ops.where(from_trusted, 1.0, weight), from_trusted

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Computes the scalar loss and updates the metrics that belong to it."""
        if not isinstance(x, dict):
            if self.compiled and self.loss is not None:
                # A user's own, given to `compile`.
                self.accuracy.update_state(y, y_pred, sample_weight)
                return super().compute_loss(x, y, y_pred, sample_weight, training)
            if self._may_be_padded(sample_weight, training):
                return self._loss_without_padding(y, y_pred)
            self.accuracy.update_state(y, y_pred, sample_weight)
            loss = devices.whole_loss(self._probability_loss(y, y_pred, sample_weight))
            return devices.part_of_loss(self._regularized(loss) if training else loss)

        supervised = devices.whole_loss(self._supervised_loss(y, y_pred["labeled"]))
        self.accuracy.update_state(y, y_pred["labeled"])
        self.supervised_loss_tracker.update_state(supervised)
        loss = supervised
        if "strong" in y_pred:
            labels, weight, from_trusted = self.targets(
                y_pred["target"], y_pred["weight"], x["trusted"]
            )
            values = losses.per_sample(self.unlabeled_loss, labels, y_pred["strong"])
            # `where`, or a masked infinity would become a NaN.
            values = ops.where(weight > 0.0, weight * values, 0.0)
            unlabeled = ops.mean(values)
            loss = loss + self.lambda_u * unlabeled
            loss = loss + self.threshold.auxiliary_loss(
                devices.whole_batch(y_pred["strong"]),
                devices.whole_batch(y_pred["weight"]),
            )
            self.unlabeled_loss_tracker.update_state(unlabeled)
            self.mask_rate.update_state(ops.mean(weight))
            self.trusted_share.update_state(
                ops.cast(from_trusted, "float32"), sample_weight=weight
            )
            self.top_class_share.update_state(labels, sample_weight=weight)
        return devices.part_of_loss(self._regularized(loss))

    def _may_be_padded(self, sample_weight: Any, training: bool) -> bool:
        """Whether images of label -1 make a batch one that all devices share evenly."""
        own_loss = self.compiled and self.loss is not None
        if training or own_loss or sample_weight is not None:
            return False
        return devices.sharing(self).devices > 1

    def _loss_without_padding(self, y: Any, y_pred: Any) -> Any:
        """The loss in evaluation of the images that have a label."""
        labels = ops.reshape(ops.cast(y, "int32"), (-1,))
        known = ops.cast(labels >= 0, "float32")
        labels = ops.maximum(labels, 0)
        values = losses.per_sample(self._probability_loss, labels, y_pred)
        count = ops.sum(known)
        loss = ops.sum(known * values) / ops.maximum(count, 1.0)
        self.accuracy.update_state(labels, y_pred, sample_weight=known)
        # Keras's own counts the images of a batch, with those that pad it.
        self.supervised_loss_tracker.update_state(loss, sample_weight=count)
        return devices.part_of_loss(loss)

    def _regularized(self, loss: Any) -> Any:
        for regularization in self.student.losses:
            loss = loss + ops.cast(regularization, loss.dtype)
        return loss

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Returns the metrics, in evaluation only those that mean something there."""
        if not isinstance(x, dict):
            # With those that a user compiled, which are of probabilities.
            results = super().compute_metrics(x, y, y_pred, sample_weight)
            with devices.whole_state(self.metrics_variables) as differs:
                if differs:
                    results = self.get_metrics_result()
                if self._may_be_padded(sample_weight, self._in_training):
                    results["loss"] = self.supervised_loss_tracker.result()
            hidden = {metric.name for metric in self._trackers}
            return {k: value for k, value in results.items() if k not in hidden}
        trackers = self._trackers if "unlabeled" in x else self._trackers[:1]
        metrics = [self._loss_tracker, self.accuracy, *trackers]
        with devices.whole_state(self.metrics_variables):
            return {metric.name: metric.result() for metric in metrics}

    def train_step(self, *args: Any) -> Any:
        """One step of Keras's own trainer, after which the teacher follows."""
        self._in_training = True
        if not backend.is_stateless():
            logs = super().train_step(*args)
            devices.make_equal(self.student.non_trainable_weights)
            self._update_teacher()
            return logs
        logs, (trainable, non_trainable, optimizer, metrics) = super().train_step(*args)
        mapping = [
            *zip(self.trainable_variables, trainable, strict=True),
            *zip(self.non_trainable_variables, non_trainable, strict=True),
        ]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            self._update_teacher()
        non_trainable = [
            scope.get_current_value(variable)
            for variable in self.non_trainable_variables
        ]
        return logs, (trainable, non_trainable, optimizer, metrics)

    def test_step(self, *args: Any) -> Any:
        """The step of Keras's own trainer."""
        self._in_training = False
        return super().test_step(*args)

    def predict_step(self, *args: Any) -> Any:
        """The step of Keras's own trainer; every process gets all that it returns."""
        return devices.known_everywhere(super().predict_step(*args))

    def _update_teacher(self) -> None:
        self.num_updates.assign(self.num_updates + 1)
        decay = warmed_up_decay(self.ema_decay, self.num_updates)
        for student, teacher in zip(
            self.student.weights, self.teacher.weights, strict=True
        ):
            latest = ops.cast(student, "float32")
            distance = latest - ops.cast(teacher, "float32")
            # In this form, neither weights that do not change nor a decay of 0 round.
            teacher.assign(latest - distance * decay)

    @staticmethod
    def passes_per_batch(num_labeled: int, num_unlabeled: int) -> int:
        """What a batch costs, in images that go forward through a network.

        A student's images count three times, as the way back costs about two ways
        forward; a teacher's count once.
        """
        validation.check_integer("num_labeled", num_labeled, 0)
        validation.check_integer("num_unlabeled", num_unlabeled, 0)
        return 3 * (num_labeled + num_unlabeled) + num_unlabeled

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
        if not isinstance(other, FixMatch):
            raise TypeError(
                "`other` must be a FixMatch network. "
                f"Received: other of type {type(other).__name__}"
            )
        shapes = [
            [tuple(weight.shape) for weight in network.student.weights]
            for network in (other, self)
        ]
        if shapes[0] != shapes[1]:
            raise ValueError(
                "`other` must have the architecture of this network, as its weights "
                "are taken over. Received: weights of other shapes"
            )
        weights = [
            share * theirs + (1.0 - share) * own
            for theirs, own in zip(
                other.teacher.get_weights(), self.student.get_weights(), strict=True
            )
        ]
        set_weights(self.student, weights)
        set_weights(self.teacher, weights)

    def embedder(self) -> keras.Model:
        """The teacher as a model from uint8 images to embeddings and logits."""
        # One that every program can load, wherever it does.
        several = devices.sharing().processes > 1
        kind = _KnownEverywhere if several else keras.Model
        return kind(
            self.teacher.input,
            {
                "embeddings": self.teacher.get_layer("embedding").output,
                "logits": self.teacher.output,
            },
            name="embedder",
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, serialised."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "student": serialize(self.student),
            "tau": self.tau,
            "lambda_u": self.lambda_u,
            "unlabeled_loss": serialize(self.unlabeled_loss),
            "teacher": self.target_source,
            "ema_decay": self.ema_decay,
            "weak_augmentation": serialize(self.weak_augmentation),
            "strong_augmentation": serialize(self.strong_augmentation),
            "class_distribution": None
            if self.alignment is None
            else self.alignment.target_distribution,
            "threshold": serialize(self.threshold),
            "num_unlabeled": self.num_unlabeled,
            "strong_views": self.strong_views,
            "seed": self.seed,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "FixMatch":
        """Builds the network that `get_config` describes."""
        config = dict(config)
        for key in (
            "student",
            "unlabeled_loss",
            "weak_augmentation",
            "strong_augmentation",
            "threshold",
            "dtype",
        ):
            if isinstance(config.get(key), dict):
                config[key] = keras.saving.deserialize_keras_object(
                    config[key], custom_objects=custom_objects
                )
        return cls(**config)


class _KnownEverywhere(keras.Model):
    """A functional model whose predictions every process gets."""

    def predict_step(self, *args: Any) -> Any:
        """The step of Keras's own trainer."""
        return devices.known_everywhere(super().predict_step(*args))


def check_strong_views(strong_views: Any, teacher: str) -> str:
    """Returns `strong_views` if this backend and kind of teacher can do it.

    Raises:
        ValueError: It is unknown, or they cannot.
    """
    validation.check_choice("strong_views", strong_views, STRONG_VIEWS)
    if strong_views == "targeted" and teacher == "shared":
        raise ValueError(
            "`strong_views` must be 'all' with teacher='shared', whose targets come "
            "from the same pass. Received: strong_views='targeted'"
        )
    if strong_views == "targeted" and not backend.has_dynamic_shapes():
        raise ValueError(
            "`strong_views` must be 'all' on JAX, which compiles batches of one size. "
            "Received: strong_views='targeted'"
        )
    return str(strong_views)
