"""How much the pseudo-label of each unlabeled image counts.

A threshold is a layer that turns the teacher's probabilities on a batch of weak views
into weights in [0, 1], and that may add a term to the loss. With `m = max p` and
`c = argmax p` of one image:

| name | class | weight |
|---|---|---|
| `"fixed"` | `FixedThreshold` | 1 where `m >= tau` |
| `"flexmatch"` | `FlexMatchThreshold` | 1 where `m >= tau * beta(c) / (2 - beta(c))` |
| `"freematch"` | `FreeMatchThreshold` | 1 where `m >= tau_t * p~(c) / max p~` |
| `"softmatch"` | `SoftMatchThreshold` | falls smoothly where `m` is below its mean |

What a threshold learns lies in its weights, so that it is saved and resumed with the
model. Every moving average here has the decay of `moving_average.warmed_up_decay`,
not a fixed one as published: a short run would never forget the start. Arguments out
of range raise a `ValueError`.
"""

import math
from typing import Any

import keras
from keras import ops

from kdfixmatch_keras import validation
from kdfixmatch_keras.moving_average import follow, warmed_up_decay

NAMES = ("fixed", "flexmatch", "freematch", "softmatch")


class Threshold(keras.layers.Layer):
    """Base of the thresholds: subclasses implement `call`.

    Args:
        **kwargs: As in `keras.layers.Layer`, without `dtype`, which is float32.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.built = True

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


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class FixedThreshold(Threshold):
    """One threshold for all images at all times: 1 where `max p >= tau`.

    Args:
        tau: Confidence, in [0, 1].
        **kwargs: As in `Threshold`.

    Reference:
        - [Sohn et al., 2020](https://arxiv.org/abs/2001.07685), equation 4
    """

    def __init__(self, tau: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tau = validation.check_fraction("tau", tau)

    def call(self, probabilities: Any, index: Any, training: bool = False) -> Any:
        """Weights 0 or 1; see `Threshold.call`. `index` is not used."""
        self.check_probabilities(probabilities)
        return ops.cast(ops.max(probabilities, axis=-1) >= self.tau, "float32")

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "tau": self.tau}


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


class _AveragingThreshold(Threshold):
    """Base of the thresholds that follow moving averages over the batches."""

    def __init__(self, num_classes: int, decay: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = validation.check_integer("num_classes", num_classes, 2)
        self.decay = validation.check_number("decay", decay, 0, 1, "[0, 1)")
        self.num_updates = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="t"
        )

    def _add_average(self, name: str, start: float, shape: tuple[int, ...] = ()) -> Any:
        constant = keras.initializers.Constant(start)
        return self.add_weight(shape, constant, trainable=False, name=name)

    def _next_decay(self) -> Any:
        self.num_updates.assign(self.num_updates + 1)
        return warmed_up_decay(self.decay, self.num_updates)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        own = {"num_classes": self.num_classes, "decay": self.decay}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class FreeMatchThreshold(_AveragingThreshold):
    """Lets the threshold follow the network's own confidence, class by class.

    With the moving averages `tau_t` of the mean of `max p` and `p~` of the mean of
    `p`, the weight is 1 where `max p >= tau_t * p~(c) / max p~`, `c = argmax p`. As
    in the authors' code, a batch counts towards the averages that weigh it.

    The fairness term compares `p~` and the average `h~` of the histogram of `c` with
    the mean `p_bar` and histogram `h_bar` of the student's predictions on the strong
    views that count, each quotient normalised to sum to 1, and 0 where its
    denominator is:

    `fairness_weight * sum_c (p~ / h~)(c) * log((p_bar / h_bar)(c) + 1e-12)`

    It is the published loss with its published sign: negative, and smaller the
    *farther* the two lie apart. Without an image that counts it is 0.

    Args:
        num_classes: `K`, at least 2.
        decay: Decay of the averages per batch, in [0, 1), after the warm-up.
        fairness_weight: Weight of the fairness term, at least 0.
        **kwargs: As in `Threshold`.

    Reference:
        - [Wang et al., 2023](https://arxiv.org/abs/2205.07246), section 4
    """

    def __init__(
        self,
        num_classes: int,
        decay: float = 0.999,
        fairness_weight: float = 0.01,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, decay, **kwargs)
        self.fairness_weight = validation.check_non_negative(
            "fairness_weight", fairness_weight
        )
        uniform = 1 / self.num_classes
        self.confidence = self._add_average("confidence", uniform)
        self.distribution = self._add_average("distribution", uniform, (num_classes,))
        self.histogram = self._add_average("histogram", uniform, (num_classes,))

    def call(self, probabilities: Any, index: Any, training: bool = False) -> Any:
        """Weights 0 or 1; see `Threshold.call`. `index` is not used."""
        self.check_probabilities(probabilities)
        confidence = ops.max(probabilities, axis=-1)
        labels = ops.argmax(probabilities, axis=-1)
        if training:
            decay = self._next_decay()
            follow(self.confidence, ops.mean(confidence), decay)
            follow(self.distribution, ops.mean(probabilities, axis=0), decay)
            votes = ops.one_hot(labels, self.num_classes)
            follow(self.histogram, ops.mean(votes, axis=0), decay)
        share = self.distribution / ops.max(self.distribution)
        threshold = self.confidence * ops.take(share, labels)
        return ops.cast(confidence >= threshold, "float32")

    def auxiliary_loss(self, strong_logits: Any, weights: Any) -> Any:
        """The fairness term, a float32 scalar; see `Threshold.auxiliary_loss`."""
        counts = ops.expand_dims(weights > 0, -1)
        logits = ops.cast(strong_logits, "float32")
        # `where` before the softmax too: a masked infinity must not become a NaN.
        logits = ops.where(counts, logits, 0.0)
        mask = ops.cast(counts, "float32")
        votes = ops.one_hot(ops.argmax(logits, axis=-1), self.num_classes)
        # Sums in place of means: the quotients are normalised.
        strong = _normalized_quotient(
            ops.sum(mask * ops.softmax(logits, axis=-1), axis=0),
            ops.sum(mask * votes, axis=0),
        )
        average = _normalized_quotient(
            ops.convert_to_tensor(self.distribution),
            ops.convert_to_tensor(self.histogram),
        )
        loss = ops.sum(average * ops.log(strong + 1e-12))
        return self.fairness_weight * ops.where(ops.any(counts), loss, 0.0)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "fairness_weight": self.fairness_weight}


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class SoftMatchThreshold(_AveragingThreshold):
    """Weighs an image by a Gaussian of how far its confidence lies below average.

    With `p~` a moving average of the mean of `p`, `m` is the largest of `p / p~`,
    normalised: a class that is predicted too often counts less (uniform alignment;
    it decides about the weight only, the label remains `argmax p`). With the moving
    averages `mu` and `var` of the mean and the variance of `m`, the weight is

    `exp(-min(m - mu, 0)**2 * num_sigmas**2 / (2 * var))`

    and so exactly 1 where `m >= mu`. As in the authors' USB code, `mu` and `var` are
    those of the aligned `m`, the variance is the unbiased one (0 for a single image),
    and a batch counts towards the averages that weigh it.

    Args:
        num_classes: `K`, at least 2.
        num_sigmas: How steeply the weight falls, above 0: one standard deviation
            below `mu` it is `exp(-num_sigmas**2 / 2)`.
        decay: Decay of the averages per batch, in [0, 1), after the warm-up.
        **kwargs: As in `Threshold`.

    Reference:
        - [Chen et al., 2023](https://arxiv.org/abs/2301.10921), section 3
    """

    def __init__(
        self,
        num_classes: int,
        num_sigmas: float = 2.0,
        decay: float = 0.999,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, decay, **kwargs)
        self.num_sigmas = validation.check_number(
            "num_sigmas", num_sigmas, 0, math.inf, "(0, infinity)"
        )
        uniform = 1 / self.num_classes
        self.distribution = self._add_average("distribution", uniform, (num_classes,))
        self.mean = self._add_average("mean", uniform)
        self.variance = self._add_average("variance", 1.0)

    def call(self, probabilities: Any, index: Any, training: bool = False) -> Any:
        """Weights in (0, 1]; see `Threshold.call`. `index` is not used."""
        self.check_probabilities(probabilities)
        decay = self._next_decay() if training else None
        if training:
            follow(self.distribution, ops.mean(probabilities, axis=0), decay)
        # A class that is never predicted must not be lifted without bound.
        aligned = probabilities / ops.maximum(self.distribution, 1e-6)
        confidence = ops.max(aligned, axis=-1) / ops.sum(aligned, axis=-1)
        if training:
            mean = ops.mean(confidence)
            degrees = ops.maximum(ops.shape(confidence)[0] - 1, 1)
            squares = ops.sum(ops.square(confidence - mean))
            follow(self.mean, mean, decay)
            follow(self.variance, squares / ops.cast(degrees, "float32"), decay)
        below = ops.minimum(confidence - self.mean, 0.0)
        # Images of one and the same confidence leave no variance to divide by.
        variance = ops.maximum(self.variance, 1e-12)
        return ops.exp(-ops.square(below * self.num_sigmas) / (2.0 * variance))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "num_sigmas": self.num_sigmas}


def _normalized_quotient(numerator: Any, denominator: Any) -> Any:
    """`numerator / denominator`, 0 where that divides by 0, with the sum 1 (or 0)."""
    known = denominator > 0
    quotient = numerator / ops.where(known, denominator, 1.0)
    quotient = ops.where(known, quotient, 0.0)
    total = ops.sum(quotient)
    return quotient / ops.where(total > 0, total, 1.0)


def check(threshold: Any, tau: float, argument: str = "threshold") -> Any:
    """Returns `threshold` if `get` would accept it; see there for the errors."""
    if not isinstance(threshold, keras.layers.Layer):
        get(threshold, tau=tau, num_classes=2, num_unlabeled=1, argument=argument)
    elif not callable(getattr(threshold, "auxiliary_loss", None)):
        raise TypeError(
            f"`{argument}` must have a method `auxiliary_loss`, as "
            f"`thresholds.Threshold` has. Received: {argument}={threshold!r}"
        )
    return threshold


def get(
    threshold: Any,
    *,
    tau: float,
    num_classes: int,
    num_unlabeled: int | None,
    argument: str = "threshold",
) -> Any:
    """Returns the threshold of a name, with its default parameters.

    Args:
        threshold: A name in `NAMES`, or a layer with the interface of `Threshold`,
            returned as it is.
        tau: Confidence of `"fixed"` and `"flexmatch"`, in [0, 1].
        num_classes: `K`, at least 2.
        num_unlabeled: Number of unlabeled images. Only `"flexmatch"` needs it.
        argument: Name of the argument, for the messages.

    Raises:
        ValueError: There is no threshold of that name, `num_unlabeled` is missing, or
            an argument is out of range.
        TypeError: `threshold` is a layer without `auxiliary_loss`.
    """
    if isinstance(threshold, keras.layers.Layer):
        check(threshold, tau, argument)
        for name, size in (
            ("num_classes", num_classes),
            ("num_unlabeled", num_unlabeled),
        ):
            own = getattr(threshold, name, size)
            if size is not None and own != size:
                raise ValueError(
                    f"`{argument}` must be made for the data: {name}={size}. "
                    f"Received: a layer with {name}={own}"
                )
        return threshold
    validation.check_choice(argument, threshold, NAMES, "a `thresholds.Threshold`")
    if threshold == "fixed":
        return FixedThreshold(tau)
    if threshold == "freematch":
        return FreeMatchThreshold(num_classes)
    if threshold == "softmatch":
        return SoftMatchThreshold(num_classes)
    if num_unlabeled is None:
        raise ValueError(
            "`num_unlabeled` must be the number of unlabeled images: "
            "threshold='flexmatch' remembers a class for each. Received: "
            "num_unlabeled=None"
        )
    return FlexMatchThreshold(tau, num_classes, num_unlabeled)
