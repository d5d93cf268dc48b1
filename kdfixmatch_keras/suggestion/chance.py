"""Images drawn at random, with which the other strategies are to be compared."""

from typing import Any

import numpy as np

from kdfixmatch_keras.suggestion.pool import Pool, Rows


def at_random(
    features: Any,
    *,
    count: int = 24,
    labeled: Any = (),
    excluded: Any = (),
    seed: int = 0,
) -> Rows:
    """Suggests images drawn at random, none of them a near copy of another.

    Args:
        features: Features of N images, `(N, D)`, which tell copies; see `typical`.
        count: See `typical`.
        labeled: See `typical`.
        excluded: See `typical`.
        seed: See `typical`.

    Returns:
        int64 `(count,)`; see `typical`.

    Raises:
        ValueError: An argument is not as above.

    Warns:
        UserWarning: There are fewer than `count`.
    """
    pool = Pool(features, count, labeled, excluded, seed)
    order = np.random.default_rng(pool.seed).permutation(pool.free)
    pool.choose_in_turn([order.tolist()], pool.count)
    return pool.chosen()
