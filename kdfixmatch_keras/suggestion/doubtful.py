"""Images of whose class a classifier is not sure, spread over what there is."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdfixmatch_keras.checks import array_validation
from kdfixmatch_keras.suggestion.pool import Pool, Rows, squared_distances

# How many times as many doubtful images as are wanted are spread over clusters.
CANDIDATES = 10
# Of an image without any doubt, which counts where there are no others.
_LEAST_WEIGHT = 1e-6


def doubtful(
    features: Any,
    probabilities: Any,
    *,
    count: int = 24,
    disagreement: Any = None,
    labeled: Any = (),
    excluded: Any = (),
    seed: int = 0,
) -> Rows:
    """Suggests images whose class is the most doubtful, of many kinds.

    Of the ten times `count` most doubtful images, weighted by their doubt, the features
    are clustered into `count` clusters, and of each the image nearest to the centre is
    taken: the most doubtful ones alone would be much alike.

    Args:
        features: Features of N images, `(N, D)`; see `typical`.
        probabilities: Class probabilities of the same images, `(N, K)`.
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
        - [Zhdanov, 2019](https://arxiv.org/abs/1901.05954)
    """
    pool = Pool(features, count, labeled, excluded, seed)
    doubts = doubts_of(pool, probabilities, disagreement)
    choose_doubtful(pool, doubts, pool.count)
    return pool.chosen()


def doubt(probabilities: Any, *, disagreement: Any = None) -> NDArray[np.float32]:
    """How doubtful the class of each image is.

    It is 1 - margin * (1 - disagreement), the margin being the difference of the two
    largest probabilities: a classifier that is sure, while all others contradict it,
    is as doubtful as one that finds two classes equally probable.

    Args:
        probabilities: Class probabilities, `(N, K)`.
        disagreement: Share of other opinions that name another class, `(N,)` in [0, 1];
            None for none. See the function `disagreement`.

    Returns:
        float32 `(N,)` in [0, 1].

    Raises:
        ValueError: An argument is not as above.

    Reference:
        - Scheffer, Decomain and Wrobel, 2001, "Active Hidden Markov Models for
          Information Extraction"
    """
    matrix = array_validation.check_probabilities("probabilities", probabilities)
    two = np.partition(matrix, -2, axis=1)[:, -2:]
    margin = np.clip(two[:, 1] - two[:, 0], 0, 1)
    if disagreement is not None:
        margin = margin * (1 - _check_shares(disagreement, len(matrix)))
    found: NDArray[np.float32] = (1 - margin).astype(np.float32)
    return found


def disagreement(guesses: Any, others: Sequence[Any]) -> NDArray[np.float32]:
    """Which share of other opinions contradicts the guess of each image.

    Args:
        guesses: Class of each image, integers `(N,)` of at least 0.
        others: Other opinions, each integers `(N,)`, such as the class that another
            network or the cluster names; -1 where there is none.

    Returns:
        float32 `(N,)` in [0, 1]; 0 where there is no other opinion.

    Raises:
        ValueError: An array is not as above.
    """
    own = _check_labels("guesses", guesses, None, 0)
    if not isinstance(others, Sequence) or isinstance(others, str):
        raise ValueError(
            "`others` must be a list of arrays of integers. Received: others of type "
            f"{type(others).__name__}"
        )
    against = np.zeros(len(own), np.float32)
    known = np.zeros(len(own), np.float32)
    for number, other in enumerate(others):
        labels = _check_labels(f"others[{number}]", other, len(own), -1)
        known += labels >= 0
        against += (labels >= 0) & (labels != own)
    found: NDArray[np.float32] = (against / np.maximum(known, 1)).astype(np.float32)
    return found


def doubts_of(pool: Pool, probabilities: Any, disagreement: Any) -> NDArray[np.float32]:
    """The doubts about the images of a pool.

    Raises:
        ValueError: There is not one row for each of them.
    """
    doubts = doubt(probabilities, disagreement=disagreement)
    if len(doubts) != len(pool.points):
        raise ValueError(
            "`features` and `probabilities` must have a row for each of the same "
            f"images. Received: {len(pool.points)} and {len(doubts)} rows"
        )
    return doubts


def choose_doubtful(pool: Pool, doubts: NDArray[np.float32], count: int) -> None:
    """Chooses at most `count` doubtful images of a pool."""
    count = min(count, pool.missing)
    goal = pool.missing - count
    while pool.missing > goal and len(pool.free):
        wanted = pool.missing - goal
        free = pool.free
        order = np.argsort(-doubts[free], kind="stable")
        rows = free[order[: CANDIDATES * wanted]]
        weights = np.maximum(doubts[rows], _LEAST_WEIGHT)
        clusters, centres = pool.clusters(rows, wanted, weights)
        # The rows are in the order of their doubts.
        numbers = dict.fromkeys(clusters.tolist())
        groups = (
            _nearest_first(pool, rows[clusters == number], centres[number])
            for number in numbers
        )
        pool.choose_in_turn(groups, wanted)


def _nearest_first(
    pool: Pool, rows: Rows, centre: NDArray[np.float32]
) -> Iterator[int]:
    centre = centre[None].astype(np.float32)
    squares = squared_distances(pool.points[rows], centre)[:, 0]
    yield from rows[np.argsort(squares, kind="stable")].tolist()


def _check_shares(value: Any, size: int) -> NDArray[np.float32]:
    shares = array_validation.check_array("disagreement", value)
    if shares.shape != (size,) or not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(
            f"`disagreement` must be numbers in [0, 1] of shape ({size},), one for "
            f"each image. Received: disagreement.shape={shares.shape}"
            + (f" from {shares.min()} to {shares.max()}" if shares.size else "")
        )
    return shares.astype(np.float32)


def _check_labels(name: str, value: Any, size: int | None, low: int) -> NDArray[Any]:
    labels = array_validation.check_array(name, value, "integers, one for each image")
    wanted = labels.shape[:1] if size is None else (size,)
    is_right = labels.ndim == 1 and labels.shape == wanted and labels.size > 0
    if not is_right or labels.dtype.kind not in "iu" or labels.min() < low:
        shape = "(N,)" if size is None else f"({size},)"
        raise ValueError(
            f"`{name}` must be integers of at least {low} of shape {shape}. Received: "
            f"{name}.shape={labels.shape}, dtype={labels.dtype}"
            + (f", from {labels.min()}" if labels.size else "")
        )
    return labels
