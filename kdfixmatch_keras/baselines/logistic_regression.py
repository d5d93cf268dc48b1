"""Logistic regression on features, its strength chosen by cross-validation."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from kdfixmatch_keras.checks import array_validation

# scikit-learn's `C`, the inverse of the weight of the L2 penalty.
STRENGTHS = tuple(float(f"1e{exponent}") for exponent in range(-5, 2))
# Where nothing can be cross-validated: the middle of them.
DEFAULT_STRENGTH = 0.01
# In trials with 10 to 160 labels, as good as what cross-validation chose, and better
# with the fewest.
GUESS_STRENGTH = 0.1
MAX_FOLDS = 5
# Of fewer than a hundred labels another split chooses another size: they are split five
# times, and fewer times the more there are.
MAX_REPEATS, REPEATED_LABELS = 5, 500
# One that has not converged by then is a classifier like another; its score tells.
MAX_STEPS = 1000

Folds = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass(frozen=True)
class Score:
    """What cross-validation says of one strength.

    Attributes:
        strength: scikit-learn's `C`.
        accuracy: Share of the held-out images that are recognised.
        cross_entropy: Of the held-out images, the mean in nats.
    """

    strength: float
    accuracy: float
    cross_entropy: float


@dataclass(frozen=True)
class LinearClassifier:
    """A fitted classifier: softmax((x - mean) / scale @ kernel + bias).

    Attributes:
        mean: float64 `(D,)`.
        scale: float64 `(D,)`, above 0.
        kernel: float64 `(D, K)`.
        bias: float64 `(K,)`.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    kernel: NDArray[np.float64]
    bias: NDArray[np.float64]

    def log_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logarithms of the class probabilities, `(n, K)`, of features `(n, D)`."""
        from scipy.special import log_softmax

        found: NDArray[np.float64] = log_softmax(
            (features - self.mean) / self.scale @ self.kernel + self.bias, axis=1
        )
        return found


def fit(
    features: NDArray[np.float32], labels: NDArray[np.int32], strength: float
) -> LinearClassifier:
    """Fits scikit-learn's multinomial logistic regression to standardised features.

    Args:
        features: float32 `(n, D)`.
        labels: int32 `(n,)` in [0, K), each class at least once.
        strength: scikit-learn's `C`.
    """
    # Threads of a linear algebra library add in an order of their own.
    with threadpool_limits(1):
        return _fit(features, labels, strength)


def guess(
    features: NDArray[np.float32],
    labeled: NDArray[np.int64],
    labels: NDArray[np.int32],
) -> NDArray[np.float32]:
    """Class probabilities of all images by a classifier of those that have a label.

    Its strength is fixed: a handful of labels cannot choose one.

    Args:
        features: float32 `(N, D)`.
        labeled: Rows of the n labeled images.
        labels: int32 `(n,)` in [0, K), each of at least two classes at least once.

    Returns:
        float32 `(N, K)`.
    """
    classifier = fit(features[labeled], labels, GUESS_STRENGTH)
    found = np.empty((len(features), len(classifier.bias)), np.float32)
    for part in array_validation.stretches(len(features)):
        found[part] = np.exp(classifier.log_probabilities(features[part]))
    return found


def fold_rows(labels: NDArray[np.int32], seed: int) -> Folds:
    """Stratified folds: pairs of the rows to fit and of those held out.

    There are five, or as many as the smallest class has images; a few labels are split
    anew several times. An image that is the only one of its class is in all fits and
    never held out, as a class that was not seen cannot be recognised.

    Args:
        labels: int32 `(n,)`.
        seed: Fixes which image is in which fold.

    Returns:
        The folds; none where no class has two images.
    """
    from sklearn.model_selection import RepeatedStratifiedKFold

    counts = np.bincount(labels)
    is_alone = counts[labels] == 1
    alone, others = np.flatnonzero(is_alone), np.flatnonzero(~is_alone)
    if not len(others):
        return []
    splitter = RepeatedStratifiedKFold(
        n_splits=min(MAX_FOLDS, int(counts[counts > 1].min())),
        n_repeats=min(MAX_REPEATS, max(1, REPEATED_LABELS // len(labels))),
        random_state=seed,
    )
    return [
        (np.concatenate([others[fitted], alone]), others[held_out])
        for fitted, held_out in splitter.split(others, labels[others])
    ]


def cross_validate(
    features: NDArray[np.float32], labels: NDArray[np.int32], folds: Folds
) -> list[Score]:
    """Scores each strength on rows that took no part in its fit.

    The standardisation is part of the fit: it does not know the rows held out.

    Args:
        features: float32 `(n, D)`.
        labels: int32 `(n,)` in [0, K), each class at least once in each fit.
        folds: What `fold_rows` returned.

    Returns:
        A score for each of `STRENGTHS`.
    """
    with threadpool_limits(1):
        return [_score(features, labels, folds, strength) for strength in STRENGTHS]


def best_strength(
    features: NDArray[np.float32], labels: NDArray[np.int32], folds: Folds
) -> float:
    """The strength that recognises most of what was held out.

    Args:
        features: float32 `(n, D)`.
        labels: int32 `(n,)` in [0, K), each class at least once in each fit.
        folds: What `fold_rows` returned; the default strength where there are none.
    """
    if not folds:
        return DEFAULT_STRENGTH
    scores = cross_validate(features, labels, folds)
    best = min(scores, key=lambda score: (-score.accuracy, score.cross_entropy))
    return best.strength


def held_out(
    features: NDArray[np.float32], labels: NDArray[np.int32], seed: int
) -> NDArray[np.float64]:
    """Class probabilities of each image by classifiers of the other images alone.

    Their strength is the one that recognises most of what was held out.

    Args:
        features: float32 `(n, D)`.
        labels: int32 `(n,)` in [0, K), each class at least once.
        seed: Fixes the folds.

    Returns:
        float64 `(n, K)`, means over the repeats of the folds; NaN for an image that is
        the only one of its class.
    """
    folds = fold_rows(labels, seed)
    total = np.zeros((len(labels), int(labels.max()) + 1))
    times = np.zeros((len(labels), 1))
    strength = best_strength(features, labels, folds)
    for fitted, rows in folds:
        classifier = fit(features[fitted], labels[fitted], strength)
        total[rows] += np.exp(classifier.log_probabilities(features[rows]))
        times[rows] += 1
    return np.divide(total, times, np.full_like(total, np.nan), where=times > 0)


def _score(
    features: NDArray[np.float32],
    labels: NDArray[np.int32],
    folds: Folds,
    strength: float,
) -> Score:
    hits, losses = [], []
    for fitted, held_out in folds:
        classifier = _fit(features[fitted], labels[fitted], strength)
        logs = classifier.log_probabilities(features[held_out])
        truth = labels[held_out]
        hits.append(logs.argmax(axis=1) == truth)
        losses.append(-logs[np.arange(len(truth)), truth])
    accuracy, cross_entropy = (
        float(np.concatenate(values).mean()) for values in (hits, losses)
    )
    return Score(strength, accuracy, cross_entropy)


def _fit(
    features: NDArray[np.float32], labels: NDArray[np.int32], strength: float
) -> LinearClassifier:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, max_iter=MAX_STEPS)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        scaler, regression = pipeline.fit(features.astype(np.float64), labels)
    kernel, bias = regression.coef_.T, regression.intercept_
    if kernel.shape[1] == 1:
        # Of two classes scikit-learn has the difference of the logits alone.
        halves = np.array([-0.5, 0.5])
        kernel, bias = kernel * halves, bias * halves
    return LinearClassifier(scaler.mean_, scaler.scale_, kernel, bias)
