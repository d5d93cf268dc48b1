"""Labeling, clustering and agreement for many samples: time and memory.

Each size and clustering has a process of its own, whose peak of memory is that of the
one thing it does.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from measuring import memory, seconds
from sklearn.cluster import MiniBatchKMeans

from kdfixmatch_keras import TrustedSetBuilder, baselines
from kdfixmatch_keras.serving import prediction
from kdfixmatch_keras.training.plan import Plan

DIMENSIONS, NUM_CLASSES, RESTARTS = 256, 10, 20
SIDE, BATCH = 8, 256
# One in ten samples is not confident, so that the confident ones are not the array
# itself; and one in twenty is labeled wrongly.
UNSURE, WRONG = 0.1, 0.05
_ROWS = 1 << 14
Pair = tuple[Callable[[], Any], Callable[[], Any]]


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Measures one size.

    Returns:
        `"seconds"` of `"ours"` and of the `"reference"` in each repeat, and `"memory"`
        in bytes: the peak after the `"import"` and the `"peak"` after our first work;
        or what a clustering says that has `"refused"` so many samples.
    """
    peaks = {"import": memory("VmHWM")}
    found: dict[str, list[float]] = {"ours": [], "reference": []}
    for _ in range(job["repeats"]):
        if job["what"] == "labeling":
            ours, reference = _labeling(job["count"])
        else:
            ours, reference = _selection(job["what"], job["count"])
        try:
            found["ours"].append(seconds(ours))
        except ValueError as error:
            return {"refused": str(error)}
        peaks.setdefault("peak", memory("VmHWM"))
        found["reference"].append(seconds(reference))
    return {"seconds": found, "memory": peaks}


def _selection(clustering: str, count: int) -> Pair:
    """The selection of a trusted set, and scikit-learn on the confident embeddings."""
    probabilities, embeddings = made_up(count)
    builder = TrustedSetBuilder(clustering=clustering, seed=0)

    def ours() -> None:
        with warnings.catch_warnings():
            # How good the set is does not matter here.
            warnings.simplefilter("ignore", UserWarning)
            # As `KDFixMatch` calls it: the confident embeddings come first then.
            builder.build(probabilities, embeddings, overwrite_embeddings=True)

    def reference() -> None:
        confident = int((probabilities.max(axis=1) >= builder.tau_select).sum())
        MiniBatchKMeans(NUM_CLASSES, n_init=RESTARTS, random_state=0).fit_predict(
            embeddings[:confident]
        )

    return ours, reference


def made_up(count: int) -> tuple[Any, Any]:
    """Probabilities and embeddings `(count, 256)`, float32, of overlapping classes.

    They are written in place, so that no copy is in the peak of memory.
    """
    random = np.random.default_rng(0)
    labels = random.integers(0, NUM_CLASSES, count)
    wrong = random.random(count) < WRONG
    named = np.where(wrong, random.integers(0, NUM_CLASSES, count), labels)
    confidence = np.where(random.random(count) < UNSURE, 0.55, 0.991)
    rest = (1.0 - confidence) / (NUM_CLASSES - 1)
    probabilities = np.empty((count, NUM_CLASSES), np.float32)
    probabilities[:] = rest[:, np.newaxis]
    probabilities[np.arange(count), named] = confidence
    centers = random.normal(0.0, 0.5, (NUM_CLASSES, DIMENSIONS)).astype(np.float32)
    embeddings = np.empty((count, DIMENSIONS), np.float32)
    for start in range(0, count, _ROWS):
        rows = embeddings[start : start + _ROWS]
        random.standard_normal(out=rows, dtype=np.float32)
        rows += centers[labels[start : start + _ROWS]]
        # Embeddings are activations of a ReLU.
        np.maximum(rows, 0.0, out=rows)
    return probabilities, embeddings


def _labeling(count: int) -> Pair:
    """Labeling images of the digits' size, and the same network's bare forward."""
    images = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 1), np.uint8)
    labels = np.arange(100) % NUM_CLASSES
    classifier = baselines.FixMatch(
        "small_cnn", weights=None, embedding_dim=DIMENSIONS, seed=0
    )
    data = classifier.load_data((images[:100], labels), images)
    network = classifier.new_network("outer", data, seed=0)
    embedder = prediction.embedder(network)

    def reference() -> None:
        for _ in range(count // BATCH):
            embedder.predict_on_batch(images[:BATCH])

    session = classifier.new_session(data, Plan(epochs=1, verbose=0))
    return lambda: session.label(network), reference
