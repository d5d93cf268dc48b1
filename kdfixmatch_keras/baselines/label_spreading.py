"""Labels that spread among neighbours in the frozen features of a backbone."""

from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from kdfixmatch_keras.baselines import frozen_features
from kdfixmatch_keras.baselines.baseline import Baseline
from kdfixmatch_keras.checks import memory, validation
from kdfixmatch_keras.classifier import Settings
from kdfixmatch_keras.fixmatch import FixMatch
from kdfixmatch_keras.sources import ImageSource, LabeledImages, SubsetSource
from kdfixmatch_keras.training.session import Session

NEIGHBORS = 15
ALPHA = 0.8
# It shrinks what is missing by `ALPHA` a step, and so ends long before.
_MAX_STEPS = 1000
# Images whose features are in memory at once where new ones are predicted.
_PREDICTED_AT_ONCE = 1 << 13
# As Keras clips probabilities in a cross-entropy.
_SMALLEST = 1e-7


class LabelSpreading(Baseline):
    """Spreads the labels among neighbours in frozen features, without any training.

    Labeled and unlabeled images are joined to their 15 nearest neighbours by the
    features of the backbone, scaled to unit length. scikit-learn's `LabelSpreading`
    (kernel `"knn"`, alpha 0.8) hands the labels on from neighbour to neighbour until
    nothing changes. A new image gets the mean of its neighbours' probabilities; where
    no label has reached any of them, all classes are as probable.

    There is no network: `export` refuses, and what predicts keeps the features of all
    images, `N * D * 4` bytes. 100,000 unlabeled images are within reach.

    `fit` takes the arguments of the other methods: epochs, steps, callbacks and
    `validation_data` are not used. Of the arguments of `ImageClassifier`, those about
    training have no effect.

    Args:
        backbone: See `ImageClassifier`.
        size: Size in which the backbone sees the images, in pixels of their shorter
            side; the network resizes them. A `keras.Model` for images of one size gets
            them in that one.
        **settings: The other arguments of `ImageClassifier`.

    Attributes:
        network: None.
        history: Empty.
        pseudo_labels: int32 `(N,)`, the label that reached each unlabeled image, -1
            where none did; or None before `fit`.

    Reference:
        - Zhou et al., 2004, "Learning with Local and Global Consistency"
    """

    measured = ()

    def __init__(
        self,
        backbone: Any = "efficientnetb0",
        *,
        size: int = 96,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(backbone, **settings)
        self.size = validation.check_integer("size", size, 1)
        self._forget()

    def _forget(self) -> None:
        self.pseudo_labels: NDArray[np.int32] | None = None
        self._model: Any = None
        self._spreading: Any = None

    def _fit(self, training: Session) -> Any:
        from sklearn.semi_supervised import LabelSpreading as Spreading

        self._forget()
        labeled, unlabeled = training.data.labeled, training.data.unlabeled
        training.plan.say(f"Label spreading: {training.data}")
        shape, seed = labeled.images.image_shape, frozen_features.seed_of(training)
        (size,) = frozen_features.input_sizes(self.backbone, shape, [self.size])
        self._model = frozen_features.join(
            {size: frozen_features.build(self, shape, size, seed)}
        )
        training.image_passes += len(labeled.images) + len(unlabeled)
        verbose = training.plan.verbose
        with memory.needed_for(
            f"Spreading labels among {len(unlabeled):,} images",
            "Fewer unlabeled images, or a backbone of fewer features, need less.",
        ):
            features = np.concatenate(
                [
                    self._embed(images, verbose=verbose)
                    for images in (labeled.images, unlabeled)
                ]
            )
            labels = np.full(len(features), -1, "int32")
            labels[: len(labeled.labels)] = labeled.labels
            spreading = Spreading(
                kernel="knn",
                n_neighbors=min(NEIGHBORS, len(features)),
                alpha=ALPHA,
                max_iter=_MAX_STEPS,
            ).fit(features, labels)
        reached = spreading.label_distributions_.any(axis=1)
        found = np.where(reached, spreading.transduction_, -1).astype("int32")
        self.pseudo_labels = found[len(labeled.labels) :]
        self._spreading = spreading

    def _embed(
        self, images: ImageSource, batch_size: int = 32, verbose: Any = 0
    ) -> NDArray[np.float32]:
        found = frozen_features.embed(self._model, images, batch_size, verbose)
        (features,) = found.values()
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        scaled: NDArray[np.float32] = features / np.maximum(lengths, 1e-12)
        return scaled

    def _evaluated(
        self, data: LabeledImages, batch_size: int, verbose: Any
    ) -> dict[str, float]:
        found = self._probabilities(data.images, batch_size, verbose)
        of_truth = found[np.arange(len(found)), data.labels]
        return {
            "loss": float(-np.log(np.clip(of_truth, _SMALLEST, 1 - _SMALLEST)).mean()),
            "accuracy": float((found.argmax(axis=1) == data.labels).mean()),
        }

    @property
    def serving_network(self) -> FixMatch:
        """There is none.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(
            "LabelSpreading has no network to export: it compares an image with all "
            "those that it was given. Export a `LinearProbe`, or what another method "
            "has trained."
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)` of the images that it has been fitted on.

        Raises:
            RuntimeError: It is not fitted.
        """
        if self._spreading is None:
            raise RuntimeError("This LabelSpreading is not fitted. Call `fit` first.")
        shape: tuple[int, int, int] = self._model.input_shape[1:]
        return shape

    def _probabilities(
        self, source: ImageSource, batch_size: int, verbose: Any
    ) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(source), _PREDICTED_AT_ONCE):
            rows = np.arange(start, min(start + _PREDICTED_AT_ONCE, len(source)))
            features = self._embed(SubsetSource(source, rows), batch_size, verbose)
            # Where no label has reached a neighbour, 0 is divided by 0.
            with np.errstate(invalid="ignore"):
                found = self._spreading.predict_proba(features)
            found = np.where(np.isnan(found), 1 / found.shape[1], found)
            parts.append(found.astype(np.float32))
        return np.concatenate(parts)
