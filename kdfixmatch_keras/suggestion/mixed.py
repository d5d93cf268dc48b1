"""Typical images at first, and more doubtful ones the more labels there are."""

from typing import Any

import numpy as np

from kdfixmatch_keras.suggestion.doubtful import choose_doubtful, doubts_of
from kdfixmatch_keras.suggestion.pool import Pool, Rows
from kdfixmatch_keras.suggestion.typical import choose_typical

# Labels for each class from which on as many doubtful as typical ones are suggested.
EVEN = 50


def mixed(
    features: Any,
    probabilities: Any = None,
    *,
    count: int = 24,
    disagreement: Any = None,
    labeled: Any = (),
    excluded: Any = (),
    seed: int = 0,
) -> Rows:
    """Suggests typical images at first, more doubtful ones the more labels there are.

    Doubts mean little while a classifier has seen a few images of each class. With n
    labels of K classes, n / (n + 50 K) of the suggestions are doubtful, and the others
    typical, which come first.

    Args:
        features: Features of N images, `(N, D)`; see `typical`.
        probabilities: Class probabilities of the same images, `(N, K)`; None where
            there is no classifier yet, and all suggestions are typical.
        count: See `typical`.
        disagreement: `(N,)` in [0, 1]; see `doubt`.
        labeled: See `typical`.
        excluded: See `typical`.
        seed: See `typical`.

    Returns:
        int64 `(count,)`; see `typical`.

    Raises:
        ValueError: An argument is not as above, or arrays differ in length.

    Warns:
        UserWarning: There are fewer than `count`.

    Reference:
        - [Hacohen, Dekel and Weinshall, 2022](https://arxiv.org/abs/2202.02794), for
          what the best choice is with few and with many labels
    """
    parts = mixed_parts(
        features,
        probabilities,
        count=count,
        disagreement=disagreement,
        labeled=labeled,
        excluded=excluded,
        seed=seed,
    )
    return np.concatenate(parts)


def mixed_parts(
    features: Any,
    probabilities: Any = None,
    *,
    count: int = 24,
    disagreement: Any = None,
    labeled: Any = (),
    excluded: Any = (),
    seed: int = 0,
) -> tuple[Rows, Rows]:
    """As `mixed`, the typical and the doubtful suggestions apart.

    Returns:
        int64 rows of the typical and of the doubtful ones.
    """
    pool = Pool(features, count, labeled, excluded, seed)
    num_doubtful = 0
    if probabilities is not None:
        doubts = doubts_of(pool, probabilities, disagreement)
        num_classes = np.shape(probabilities)[1]
        num_labels = len(pool.labeled)
        share = num_labels / (num_labels + EVEN * num_classes)
        num_doubtful = round(share * pool.count)
    elif disagreement is not None:
        raise ValueError(
            "`disagreement` must come with `probabilities`. Received: "
            "probabilities=None"
        )
    if num_doubtful < pool.count:
        choose_typical(pool, pool.count - num_doubtful)
    num_typical = pool.count - pool.missing
    if num_doubtful:
        choose_doubtful(pool, doubts, num_doubtful)
    chosen = pool.chosen()
    return chosen[:num_typical], chosen[num_typical:]
