"""Bad inputs of `audit`."""

import numpy as np

from kdfixmatch_keras import audit
from kdfixmatch_keras.sources import ArraySource, LabeledImages
from tests.bad_inputs import (
    EMBEDDINGS,
    IMAGES,
    LABELS,
    NAN,
    check_refusal,
    integer,
    of_rows,
)

Z, Y = EMBEDDINGS, LABELS
LABELED = LabeledImages(ArraySource(IMAGES), LABELS, ["a", "b", "c"])

ROWS = [
    (
        "audit.near_copies",
        lambda g: audit.near_copies(IMAGES),
        ValueError,
        "`thumbnails` must have 2 dimensions",
    ),
    (
        "audit.doubtful_labels",
        lambda g: audit.doubtful_labels(Z[:-1], Y),
        ValueError,
        "`features` and `labels` must have a row for each of the same images. "
        "Received: 11 and 12 rows",
    ),
    (
        "audit.doubtful_labels",
        lambda g: audit.doubtful_labels(Z, np.eye(3)[Y]),
        ValueError,
        "`labels` must hold one integer label an image",
    ),
    (
        "audit.split_classes",
        lambda g: audit.split_classes(np.where(Z > 0, NAN, Z), Y),
        ValueError,
        "`features` must",
    ),
    (
        "audit.split_classes",
        lambda g: audit.split_classes(Z, Y, seed=-1),
        ValueError,
        integer("seed", 0, -1),
    ),
    (
        "audit.audit",
        lambda g: audit.audit(LABELED, None, None, Z[:3]),
        ValueError,
        "Received: 3 and 12 rows",
    ),
]


@of_rows(ROWS)
def test_bad_input(given, call, error, words):
    check_refusal(given, call, error, words)
