"""Counts of the trusted set, over all unlabeled images."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdfixmatch_keras.trusted.trusted_set import REASONS, TrustedSet

NUM_BINS = 20


def summarise(
    trusted: TrustedSet, tau_inner: float, labels: NDArray[np.int32]
) -> dict[str, Any]:
    """Counts samples by confidence, class and reason.

    Args:
        trusted: The trusted set of N samples in K classes.
        tau_inner: Confidence from which the inner network goes by its own label.
        labels: Classes of the labeled images, int32 `(n,)`.

    Returns:
        A dictionary of `"size"`, `"num_confident"`, `"tau_select"`, `"tau_inner"`;
        `"histogram"`: `"edges"` of the bins of confidence, and in each bin the number
        `"trusted"` and `"rejected"`; `"per_class"`: lists of K numbers `"labeled"`,
        `"predicted"` (by the outer network) and `"trusted"`; `"reasons"`: the number
        of samples by reason.
    """
    bins = np.linspace(0, 1, NUM_BINS + 1)
    # Softmax in float32 can exceed 1 by a rounding.
    confidence = np.clip(trusted.confidence, 0, 1)
    histogram = {
        name: np.histogram(confidence[chosen], bins)[0].tolist()
        for name, chosen in (
            ("trusted", trusted.trusted),
            ("rejected", ~trusted.trusted),
        )
    }
    counts = Counter(trusted.reasons())
    per_class = {
        name: np.bincount(classes, minlength=trusted.num_classes).tolist()
        for name, classes in (
            ("labeled", labels),
            ("predicted", trusted.pseudo_labels),
            ("trusted", trusted.labels),
        )
    }
    return {
        "size": len(trusted),
        "num_confident": trusted.num_confident,
        "tau_select": trusted.tau_select,
        "tau_inner": float(tau_inner),
        "histogram": {"edges": [round(float(edge), 4) for edge in bins], **histogram},
        "per_class": per_class,
        "reasons": {reason: counts[reason] for reason in REASONS},
    }
