"""A linear classifier on the frozen features of a backbone."""

import warnings
from collections.abc import Sequence
from typing import Any, Unpack

import keras
import numpy as np
from keras import layers

from kdfixmatch_keras import backbones, fixmatch
from kdfixmatch_keras.backbones.precision import dtype_policy
from kdfixmatch_keras.baselines import frozen_features, logistic_regression
from kdfixmatch_keras.baselines.baseline import Baseline
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.classifier import Settings
from kdfixmatch_keras.sources import ImageSource
from kdfixmatch_keras.training.optimizers import build_optimizer
from kdfixmatch_keras.training.session import Session

Arrays = dict[str, np.ndarray]
_COLUMNS = ("size", "C", "accuracy", "cross_entropy")


class LinearProbe(Baseline):
    """Logistic regression on frozen features: what one would try before all else.

    The features of the backbone, with the weights that it starts from, are standardised
    and classified by scikit-learn's multinomial logistic regression. The size in which
    the backbone sees the images and the strength `C` of the regression are those of the
    best accuracy in a stratified cross-validation on the labels, with five folds or as
    many as the smallest class has images, repeated five times for 100 labels or fewer;
    the standardisation is part of each fit. Of equals the smaller size is taken, and
    then the lower cross-entropy. The only image of a class is never held out. Where no
    class has two images nothing can be compared, and the largest size and `C=0.01` are
    taken, with a warning.

    What is fitted becomes a network as the other methods train it: uint8 images,
    features, a layer `"embedding"` (the standardised features), float32 logits.

    With random weights it means little. `fit` takes the arguments of the other methods:
    unlabeled images, epochs, steps and callbacks are not used, and the images of
    `validation_data` are predicted once and choose nothing. Of the arguments of
    `ImageClassifier`, those about training have no effect.

    Args:
        backbone: See `ImageClassifier`.
        sizes: Sizes to choose from, in pixels of the shorter side of an image; the
            network resizes the images. A `keras.Model` for images of one size gets them
            in that one.
        **settings: The other arguments of `ImageClassifier`.

    Attributes:
        network: `kdfixmatch_keras.FixMatch`, or None before `fit`.
        history: The cross-validation, a list each with an entry for each setting tried:
            `"size"` (of the shorter side), `"C"`, `"accuracy"` (share of the images
            held out that are recognised) and `"cross_entropy"` (their mean, in nats).
            The lists are empty where nothing could be compared.
        used_size: `(height, width)` that was chosen, or None before `fit`.
        used_C: The strength that was chosen, or None before `fit`.
        cross_validated_accuracy: That of the choice, in [0, 1], or None. The best of
            several, it is a little too high.
        validation_source: The images of `validation_data`, or None.
        validation_probabilities: float32 `(n, K)`, their class probabilities, or None.

    Reference:
        - [Kornblith et al., 2019](https://arxiv.org/abs/1805.08974)
    """

    measured = ()

    def __init__(
        self,
        backbone: Any = "efficientnetb0",
        *,
        sizes: Sequence[int] = frozen_features.SIZES,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(backbone, **settings)
        self.sizes = frozen_features.check_sizes("sizes", sizes)
        self._forget()

    def _forget(self) -> None:
        self.used_size: tuple[int, int] | None = None
        self.used_C: float | None = None
        self.cross_validated_accuracy: float | None = None
        self.validation_source: ImageSource | None = None
        self.validation_probabilities: np.ndarray | None = None

    def predict(
        self,
        images: Any,
        batch_size: int = frozen_features.BATCH_SIZE,
        verbose: Any = 0,
        on_error: str = "raise",
    ) -> np.ndarray:
        """Class probabilities of images; see `ImageClassifier.predict`.

        By default fewer in a forward pass than there, as the network enlarges them.
        """
        return super().predict(images, batch_size, verbose, on_error)

    def evaluate(
        self,
        images: Any,
        labels: Any = None,
        batch_size: int = frozen_features.BATCH_SIZE,
        verbose: Any = 0,
        on_error: str = "raise",
    ) -> dict[str, float]:
        """Loss and accuracy on labeled images; see `ImageClassifier.evaluate`.

        By default fewer in a forward pass than there, as the network enlarges them.
        """
        return super().evaluate(images, labels, batch_size, verbose, on_error)

    def _fit(self, training: Session) -> fixmatch.FixMatch:
        self._forget()
        data, seed = training.data, frozen_features.seed_of(training)
        shape = data.labeled.images.image_shape
        sizes = frozen_features.input_sizes(self.backbone, shape, self.sizes)
        training.image_passes += len(sizes) * len(data.labeled.images)
        found = training.once(
            "linear_probe", lambda: self._search(training, sizes, seed)
        )
        self.history = {name: found[name].tolist() for name in _COLUMNS}
        height, width = found["used_size"].tolist()
        self.used_size, self.used_C = (height, width), float(found["used_C"])
        if self.history["accuracy"]:
            self.cross_validated_accuracy = max(self.history["accuracy"])

        network = self._network(found, shape, (height, width), seed)
        # As after a training: it can be evaluated, saved, and trained on.
        network.is_pretrained = backbones.is_pretrained(
            self.backbone, self.weights, self.pretrained
        )
        network.compile(
            build_optimizer(self.optimizer, 1, pretrained=network.is_pretrained)
        )
        network.optimizer.build(network.trainable_variables)
        if data.validation is not None:
            images = data.validation.images
            predicted = training.once(
                "linear_probe_validation",
                lambda: {
                    "probabilities": frozen_features.predict(
                        network, images, training.plan.verbose
                    )
                },
            )
            self.validation_source = images
            self.validation_probabilities = predicted["probabilities"]
        return network

    def _search(
        self, training: Session, sizes: list[tuple[int, int]], seed: int
    ) -> Arrays:
        """Chooses size and strength, and fits all labels with them.

        Returns:
            The columns of `history`, what was chosen, and a `LinearClassifier`.
        """
        images, labels = training.data.labeled.images, training.data.labeled.labels
        words = [frozen_features.in_words(size) for size in sizes]
        training.plan.say(
            f"Linear probe: {training.data}, in {', '.join(words)} pixels"
        )
        model = frozen_features.join(
            {
                size: frozen_features.build(self, images.image_shape, size, seed)
                for size in sizes
            }
        )
        found = frozen_features.embed(model, images, verbose=training.plan.verbose)
        features = dict(zip(sizes, (found[word] for word in words), strict=True))
        folds = logistic_regression.fold_rows(
            labels, validation.derive_seed(seed, "folds") or 0
        )
        rows = [
            (min(size), score.strength, score.accuracy, score.cross_entropy)
            for size in sizes
            if folds
            for score in logistic_regression.cross_validate(
                features[size], labels, folds
            )
        ]
        side, strength = min(sizes[-1]), logistic_regression.DEFAULT_STRENGTH
        if folds:
            side, strength, *_ = min(rows, key=lambda row: (-row[2], row[0], row[3]))
        else:
            warnings.warn(
                "No class has two labeled images, so that nothing can be "
                f"cross-validated: the linear probe takes the largest size, {side} "
                f"pixels, and C={strength}.",
                UserWarning,
                # The caller of `fit`.
                stacklevel=6,
            )
        used_size = next(size for size in sizes if min(size) == side)
        classifier = logistic_regression.fit(features[used_size], labels, strength)
        columns = zip(*rows, strict=True) if rows else [()] * len(_COLUMNS)
        return {
            **{name: np.array(c) for name, c in zip(_COLUMNS, columns, strict=True)},
            "used_size": np.array(used_size),
            "used_C": np.array(strength),
            **vars(classifier),
        }

    def _network(
        self,
        found: Arrays,
        shape: tuple[int, int, int],
        size: tuple[int, int],
        seed: int,
    ) -> fixmatch.FixMatch:
        """What was fitted, as layers after the features."""
        features = frozen_features.build(self, shape, size, seed)
        with dtype_policy(self.mixed_precision) as policy:
            x = layers.Normalization(
                mean=found["mean"].astype(np.float32),
                variance=np.square(found["scale"]).astype(np.float32),
                name="embedding",
            )(features.output)
            dense = layers.Dense(len(found["bias"]), dtype="float32", name="logits")
            student = keras.Model(features.input, dense(x), name="linear_probe")
            dense.set_weights([found["kernel"], found["bias"]])
            return fixmatch.FixMatch(
                student, seed=seed, name="fixmatch_linear_probe", dtype=policy
            )
