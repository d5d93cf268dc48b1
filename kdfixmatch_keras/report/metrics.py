"""How good predictions are, where the classes are known."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdfixmatch_keras.checks import array_validation, validation

CALIBRATION_BINS = 15


def evaluate_predictions(
    probabilities: Any, labels: Any, class_names: Sequence[str]
) -> dict[str, Any]:
    """Compares predictions with the truth, in words that JSON knows.

    Args:
        probabilities: Class probabilities, float `(n, K)`, n at least 1. The first of
            the largest is the class predicted.
        labels: True classes, integers `(n,)` in [0, K).
        class_names: Names of the K classes.

    Returns:
        A dictionary of

        - `"accuracy"`: share of the predictions that are right;
        - `"expected_calibration_error"`: see the function of that name;
        - `"per_class"`: for each class a dictionary of `"class"` (its name),
          `"precision"`, `"recall"`, `"f1"` and `"support"` (how many images are of
          it). A share of nothing, such as the precision of a class that is never
          predicted, is None;
        - `"confusion_matrix"`: a list for each true class of how often each class
          was predicted.

    Raises:
        ValueError: The arguments do not belong together, or there is no image.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    matrix, truth = _check(probabilities, labels)
    num_classes = matrix.shape[1]
    class_names = validation.check_names("class_names", class_names, num_classes)
    predicted = matrix.argmax(axis=1)
    classes = np.arange(num_classes)
    columns = precision_recall_fscore_support(
        truth, predicted, labels=classes, zero_division=np.nan
    )
    per_class = [
        {
            "class": name,
            "precision": _number(precision),
            "recall": _number(recall),
            "f1": _number(f1),
            "support": int(support),
        }
        for name, precision, recall, f1, support in zip(
            class_names, *columns, strict=True
        )
    ]
    return {
        "accuracy": float((predicted == truth).mean()),
        "expected_calibration_error": expected_calibration_error(matrix, truth),
        "per_class": per_class,
        "confusion_matrix": confusion_matrix(truth, predicted, labels=classes).tolist(),
    }


def expected_calibration_error(
    probabilities: Any, labels: Any, num_bins: int = CALIBRATION_BINS
) -> float:
    """How far confidence is from accuracy, in [0, 1]; 0 is best.

    The predictions are sorted into bins of equal width by their confidence. The error
    is the mean over the bins of |accuracy - mean confidence|, weighted by size.

    Args:
        probabilities: Class probabilities, float `(n, K)`, n at least 1.
        labels: True classes, integers `(n,)` in [0, K).
        num_bins: Number of bins in (0, 1], at least 1.

    Raises:
        ValueError: The arguments do not belong together, or there is no image.

    Reference:
        - [Guo et al., 2017](https://arxiv.org/abs/1706.04599), equation 3
    """
    num_bins = validation.check_integer("num_bins", num_bins, 1)
    matrix, truth = _check(probabilities, labels)
    confidence = matrix.max(axis=1)
    gap = (matrix.argmax(axis=1) == truth) - confidence
    bins = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    # |sum of gaps| is the size of the bin times |accuracy - mean confidence|.
    return float(np.abs(np.bincount(bins, gap, num_bins)).sum() / len(truth))


def _check(
    probabilities: Any, labels: Any
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    array_validation.check_probabilities("probabilities", probabilities)
    matrix = np.asarray(probabilities).astype(np.float64)
    truth = array_validation.check_array("labels", labels, "integers")
    if truth.shape != matrix.shape[:1] or truth.dtype.kind not in "iu":
        raise ValueError(
            f"`labels` must be integers of shape {matrix.shape[:1]}, one for each row "
            f"of `probabilities`. Received: labels.shape={truth.shape}, "
            f"dtype={truth.dtype}"
        )
    if not 0 <= truth.min() <= truth.max() < matrix.shape[1]:
        raise ValueError(
            f"`labels` must be in [0, {matrix.shape[1]}). Received: labels from "
            f"{truth.min()} to {truth.max()}"
        )
    return matrix, truth.astype(np.int64)


def _number(share: float) -> float | None:
    return None if np.isnan(share) else float(share)
