"""Labels that the other labels contradict."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdfixmatch_keras.baselines import logistic_regression
from kdfixmatch_keras.checks import array_validation, validation
from kdfixmatch_keras.sources.labels import check_classes, integer_labels


@dataclass(frozen=True)
class DoubtfulLabels:
    """What `doubtful_labels` finds, the most doubtful first.

    Attributes:
        rows: int64 `(m,)`, the images.
        proposed: int32 `(m,)`, the classes that they look like.
        given: float32 `(m,)`, the probability of the label that an image has, by a
            classifier of the others.
    """

    rows: NDArray[np.int64]
    proposed: NDArray[np.int32]
    given: NDArray[np.float32]


def doubtful_labels(features: Any, labels: Any, *, seed: int = 0) -> DoubtfulLabels:
    """Finds labels that a classifier of the other labels contradicts.

    A logistic regression on some of the labels gives the others probabilities, so that
    each is judged by classifiers that have not seen it. A label is doubtful where
    another class is as probable as that class is among the images that have it, and the
    label itself is not: confident learning, which allows for classes that are hard.

    A class with a single image has no others to be judged by, and is left out.

    Args:
        features: Frozen features of n labeled images, `(n, D)`.
        labels: Their classes, integers `(n,)` in [0, K).
        seed: Fixes the folds.

    Returns:
        The doubtful ones.

    Raises:
        ValueError: An argument is not as above.

    Reference:
        - [Northcutt, Jiang and Chuang, 2021](https://arxiv.org/abs/1911.00068),
          section 3
    """
    matrix, classes = check_labeled(features, labels, seed)
    probabilities = logistic_regression.held_out(matrix, classes, seed)
    judged = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    if not len(judged):
        none = np.empty(0)
        return DoubtfulLabels(
            none.astype(np.int64), none.astype(np.int32), none.astype(np.float32)
        )
    found, own = probabilities[judged], classes[judged]
    rows = np.arange(len(judged))
    given = found[rows, own]
    # How probable a class is where it is the label; of one that is not judged, never.
    usual = np.full(found.shape[1], np.inf)
    for number in np.unique(own):
        usual[number] = given[own == number].mean()
    reached = np.where(found >= usual, found, -np.inf)
    proposed = reached.argmax(axis=1)
    doubtful = (proposed != own) & (reached[rows, proposed] > given)
    order = np.flatnonzero(doubtful)
    order = order[np.argsort(given[order] - found[order, proposed[order]])]
    return DoubtfulLabels(
        judged[order], proposed[order].astype(np.int32), given[order].astype(np.float32)
    )


def check_labeled(
    features: Any, labels: Any, seed: Any
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Features and labels of the same images.

    Raises:
        ValueError: They are not, or `seed` is no integer of at least 0.
    """
    matrix = array_validation.check_matrix("features", features)
    classes = integer_labels(labels, "labels")
    validation.check_integer("seed", seed, 0)
    if len(classes) != len(matrix):
        raise ValueError(
            "`features` and `labels` must have a row for each of the same images. "
            f"Received: {len(matrix)} and {len(classes)} rows"
        )
    check_classes(classes, None, "labels")
    return matrix, classes.astype(np.int32)
