"""Bad inputs of `suggestion`."""

import numpy as np

from kdfixmatch_keras import suggestion
from tests.bad_inputs import (
    EMBEDDINGS,
    NAN,
    PROBABILITIES,
    check_refusal,
    integer,
    of_rows,
)

Z, P = EMBEDDINGS, PROBABILITIES

ROWS = [
    (
        "suggestion.typical",
        lambda g: suggestion.typical(Z, count=13),
        ValueError,
        "`count` must be at most 12, the number of images that are neither labeled nor "
        "excluded. Received: count=13",
    ),
    (
        "suggestion.typical",
        lambda g: suggestion.typical(Z, count=10, labeled=[0, 1], excluded=[1, 2]),
        ValueError,
        "`count` must be at most 9",
    ),
    (
        "suggestion.typical",
        lambda g: suggestion.typical(Z, count=0),
        ValueError,
        integer("count", 1, 0),
    ),
    (
        "suggestion.typical",
        lambda g: suggestion.typical(Z[:, 0], count=2),
        ValueError,
        "`features` must have 2 dimensions",
    ),
    (
        "suggestion.typical",
        lambda g: suggestion.typical(Z * NAN, count=2),
        ValueError,
        "`features` must be finite",
    ),
    (
        "suggestion.typical",
        lambda g: suggestion.typical(Z, count=2, labeled=[12]),
        ValueError,
        "`labeled` must be rows of images in [0, 12). Received: rows from 12 to 12",
    ),
    (
        "suggestion.typical",
        lambda g: suggestion.typical(Z, count=2, labeled=[-1, 3]),
        ValueError,
        "`labeled` must be rows of images in [0, 12). Received: rows from -1 to 3",
    ),
    (
        "suggestion.typical",
        lambda g: suggestion.typical(Z, count=2, labeled=["a.png"]),
        ValueError,
        "`labeled` must be rows of images, a list of them. Received: ",
    ),
    (
        "suggestion.typical",
        lambda g: suggestion.typical(Z, count=2, excluded=np.zeros(12, bool)),
        ValueError,
        "`excluded` must be rows of images, a 1-D array of integers. Received: "
        "excluded.shape=(12,), dtype=bool",
    ),
    (
        "suggestion.typical",
        lambda g: suggestion.typical(Z, count=2, seed=-1),
        ValueError,
        integer("seed", 0, -1),
    ),
    (
        "suggestion.at_random",
        lambda g: suggestion.at_random(Z, count=2, seed=None),
        ValueError,
        integer("seed", 0, None),
    ),
    (
        "suggestion.doubtful",
        lambda g: suggestion.doubtful(Z, P[:5], count=2),
        ValueError,
        "must have a row for each of the same images. Received: 12 and 5 rows",
    ),
    (
        "suggestion.doubtful",
        lambda g: suggestion.doubtful(Z, P * 2, count=2),
        ValueError,
        "`probabilities` must not be negative and must sum to 1 in every row.",
    ),
    (
        "suggestion.mixed",
        lambda g: suggestion.mixed(Z, P, count=2, disagreement=np.full(12, 1.5)),
        ValueError,
        "`disagreement` must be numbers in [0, 1] of shape (12,), one for each image. "
        "Received: disagreement.shape=(12,) from 1.5 to 1.5",
    ),
    (
        "suggestion.mixed",
        lambda g: suggestion.mixed(Z, count=2, disagreement=np.zeros(12)),
        ValueError,
        "`disagreement` must come with `probabilities`. Received: probabilities=None",
    ),
    (
        "suggestion.mixed_parts",
        lambda g: suggestion.mixed_parts(Z, P[:, :1], count=2),
        ValueError,
        "`probabilities` must have 2 dimensions, at least 1 row (one per sample) and "
        "at least 2 columns",
    ),
    (
        "suggestion.doubt",
        lambda g: suggestion.doubt(P, disagreement=[NAN] * 12),
        ValueError,
        "`disagreement` must be numbers in [0, 1]",
    ),
    (
        "suggestion.disagreement",
        lambda g: suggestion.disagreement([0, 1], [[0, 1], [0]]),
        ValueError,
        "`others[1]` must be integers of at least -1 of shape (2,). Received: "
        "others[1].shape=(1,)",
    ),
    (
        "suggestion.disagreement",
        lambda g: suggestion.disagreement([0.5, 1], []),
        ValueError,
        "`guesses` must be integers of at least 0 of shape (N,). Received: ",
    ),
    (
        "suggestion.disagreement",
        lambda g: suggestion.disagreement([0, 1], np.zeros((1, 2), int)),
        ValueError,
        "`others` must be a list of arrays of integers. Received: others of type ndar",
    ),
]


@of_rows(ROWS)
def test_bad_input(given, call, error, words):
    check_refusal(given, call, error, words)
