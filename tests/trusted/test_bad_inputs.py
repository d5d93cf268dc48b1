"""Bad inputs of `trusted`."""

import numpy as np
import pytest

from kdfixmatch_keras import TrustedSet, TrustedSetBuilder
from tests.bad_inputs import (
    EMBEDDINGS,
    INFINITY,
    NAN,
    PROBABILITIES,
    build,
    check_refusal,
    integer,
    of_rows,
    trusted_set,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")

ROWS = [
    (
        "TrustedSetBuilder",
        lambda g: TrustedSetBuilder(1.5),
        ValueError,
        "`tau_select` must be in [0, 1]. Received: tau_select=1.5",
    ),
    (
        "TrustedSetBuilder",
        lambda g: TrustedSetBuilder(num_clusters=1),
        ValueError,
        integer("num_clusters", 2, 1),
    ),
    (
        "TrustedSetBuilder",
        lambda g: TrustedSetBuilder(clustering=None, seed="0"),
        ValueError,
        integer("seed", 0, "'0'"),
    ),
    (
        "TrustedSetBuilder.build",
        lambda g: build(PROBABILITIES * NAN),
        ValueError,
        "`probabilities` must be finite. The network that made them may have diverged: "
        "lower its learning rate. Received: 12 of 12 rows with NaN or infinity",
    ),
    (
        "TrustedSetBuilder.build",
        lambda g: build(np.log(PROBABILITIES)),
        ValueError,
        "`probabilities` must not be negative and must sum to 1 in every row. Apply a "
        "softmax to logits. Received: 12 wrong rows, the first is row 0 with sum",
    ),
    (
        "TrustedSetBuilder.build",
        lambda g: build(PROBABILITIES[0]),
        ValueError,
        "Received: probabilities.shape=(3,)",
    ),
    (
        "TrustedSetBuilder.build",
        lambda g: build([[0.5, 0.5], [1.0]]),
        ValueError,
        "`probabilities` must be numbers, one row per sample. Received: rows of "
        "differing lengths",
    ),
    (
        "TrustedSetBuilder.build",
        lambda g: build("abc"),
        ValueError,
        "`probabilities` must be numbers, one row per sample. Received: "
        "probabilities.shape=(), dtype=<U3",
    ),
    (
        "TrustedSetBuilder.build",
        lambda g: build(PROBABILITIES.astype(complex)),
        ValueError,
        "Received: probabilities.shape=(12, 3), dtype=complex128",
    ),
    (
        "TrustedSetBuilder.build",
        lambda g: build(embeddings=EMBEDDINGS[:-1]),
        ValueError,
        "`probabilities` and `embeddings` must have a row for each of the same "
        "samples. Received: 12 and 11 rows",
    ),
    (
        "TrustedSetBuilder.build",
        lambda g: build(embeddings=EMBEDDINGS * INFINITY),
        ValueError,
        "`embeddings` must be finite",
    ),
    (
        "TrustedSetBuilder.build",
        lambda g: build(clusters=[0.0] * 12),
        ValueError,
        "`clustering.fit_predict` must return an integer of at least -1 for each of "
        "the 12 samples it was given. Received: an array of shape (12,) and dtype "
        "float64",
    ),
    (
        "TrustedSetBuilder.build",
        lambda g: build(clusters=[2**40] * 12),
        ValueError,
        "and dtype int64, from 1099511627776 to 1099511627776",
    ),
    (
        "TrustedSet",
        lambda g: trusted_set(pseudo_labels=[0, 2]),
        ValueError,
        "`pseudo_labels` must be in [0, 2). Received: values from 0 to 2",
    ),
    (
        "TrustedSet",
        lambda g: trusted_set(pseudo_labels=[0.5, 1]),
        ValueError,
        "`pseudo_labels` must be integers that int32 can hold. Received: "
        "dtype=float64, values from 0.5 to 1.0",
    ),
    (
        "TrustedSet",
        lambda g: trusted_set(pseudo_labels=[2**40, 1]),
        ValueError,
        "integers that int32 can hold. Received: dtype=int64, values from 1 to 1099511",
    ),
    (
        "TrustedSet",
        lambda g: trusted_set(confidence=[0.9, NAN]),
        ValueError,
        "`confidence` must be probabilities in [0, 1]. Received: values from nan to "
        "nan",
    ),
    (
        "TrustedSet",
        lambda g: trusted_set(cluster=[0, -2]),
        ValueError,
        "`cluster` must be at least 0, or -1 for none. Received: values from -2",
    ),
    (
        "TrustedSet",
        lambda g: trusted_set(trusted=["no", "no"]),
        ValueError,
        "`trusted` must be numbers. Received: trusted.shape=(2,), dtype=<U2",
    ),
    (
        "TrustedSet",
        lambda g: trusted_set(num_classes=2.5),
        ValueError,
        integer("num_classes", 1, 2.5),
    ),
    (
        "TrustedSet",
        lambda g: trusted_set(cluster=[0]),
        ValueError,
        "`pseudo_labels`, `confidence`, `cluster` and `trusted` must be of one shape "
        "(N,)",
    ),
    (
        "TrustedSet",
        lambda g: trusted_set(cluster=[-1, 0]),
        ValueError,
        "`trusted` must only hold for confident samples in a cluster. Received: 1",
    ),
    (
        "TrustedSet.weakness",
        lambda g: trusted_set().weakness(0),
        ValueError,
        integer("needed", 1, 0),
    ),
    (
        "TrustedSet.audit",
        lambda g: trusted_set().audit([0]),
        ValueError,
        "`true_labels` must be one integer per unlabeled sample, of shape (2,). "
        "Received: true_labels.shape=(1,)",
    ),
    (
        "TrustedSet.audit",
        lambda g: trusted_set().audit([[0], [0, 1]]),
        ValueError,
        "`true_labels` must be integers. Received: rows of differing lengths",
    ),
    (
        "TrustedSet.save",
        lambda g: trusted_set().save(g.here / "other"),
        ValueError,
        "`path` must be a file, new or to replace. Received: path='{here}/other', "
        "which is a folder",
    ),
    (
        "TrustedSet.save",
        lambda g: trusted_set().save(None),
        TypeError,
        "`path` must be a path, a string or a `pathlib.Path`. Received: path=None",
    ),
    (
        "TrustedSet.load",
        lambda g: TrustedSet.load(g.here / "file"),
        ValueError,
        "`path` must be a file that `TrustedSet.save` of this version wrote. Received: "
        "path='{here}/file'",
    ),
    (
        "TrustedSet.load",
        lambda g: TrustedSet.load(0),
        TypeError,
        "`path` must be a path, a string or a `pathlib.Path`. Received: path=0",
    ),
    (
        "TrustedSet.to_csv",
        lambda g: trusted_set().to_csv(g.here / "new.csv", names=["a"]),
        ValueError,
        "`names` must have 2 entries. Received: 1 entries",
    ),
    (
        "TrustedSet.to_csv",
        lambda g: trusted_set().to_csv(g.here / "new.csv", class_names="ab"),
        TypeError,
        "`class_names` must be a list of strings. Received: class_names='ab'",
    ),
    (
        "TrustedSet.to_csv",
        lambda g: trusted_set().to_csv(g.here / "labeled"),
        ValueError,
        "`path` must be a file, new or to replace. Received: path='{here}/labeled'",
    ),
]


@of_rows(ROWS)
def test_bad_input(given, call, error, words):
    check_refusal(given, call, error, words)
