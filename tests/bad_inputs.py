"""What the tables of bad inputs share, a `test_bad_inputs.py` for each room.

A row is what is called, how, the error it raises and a part of its message that tells
one cause from another. `g` has the prepared folders and the trained model; `{here}`
stands for the folder. Every row is also asked whether the message has the form of the
house, and whether all files are what they were.
"""

import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras import (
    FixMatch,
    KDFixMatch,
    TrustedSet,
    TrustedSetBuilder,
    backbones,
    baselines,
    report,
    sources,
    thresholds,
)
from kdfixmatch_keras.clustering import deep_embedded_clustering
from kdfixmatch_keras.report.run_folder import RunFolder
from kdfixmatch_keras.training import batches
from tests.untraced import untraced

NAN, INFINITY = math.nan, math.inf
CLASSES = ("blue", "green", "red")
LABELS = np.arange(12, dtype=np.int32) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
PROBABILITIES = np.eye(3)[LABELS] * 0.9 + 0.1 / 3
EMBEDDINGS = np.random.default_rng(1).normal(size=(12, 2))


# What the rows call


def backbone(input_shape):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Conv2D(4, 3, strides=2)(inputs))


SETTINGS = {
    "backbone": backbone,
    "weights": None,
    "embedding_dim": 4,
    "batch_size": 3,
    "unlabeled_ratio": 2,
    "clustering": None,
    "tau_select": 0.0,
    "seed": 0,
}


def new_model(**changes):
    return KDFixMatch(**{**SETTINGS, **changes})


def fit(labeled=(IMAGES, LABELS), unlabeled=IMAGES, model=None, **changes):
    length = {"epochs": 1, "outer_epochs": 1, "steps_per_epoch": 1, "verbose": 0}
    with untraced():
        return (model or new_model()).fit(labeled, unlabeled, **{**length, **changes})


def fit_baseline(**changes):
    model = baselines.Supervised("small_cnn", weights=None)
    length = {"epochs": 1, "steps_per_epoch": 1, "verbose": 0}
    with untraced():
        return model.fit((IMAGES, LABELS), IMAGES, **{**length, **changes})


def dataset(arrays=IMAGES):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays)


def array_source():
    return sources.ArraySource(IMAGES)


def labeled_images(**changes):
    parts = {"images": array_source(), "labels": LABELS, "class_names": CLASSES}
    return sources.LabeledImages(**{**parts, **changes})


def build(probabilities=PROBABILITIES, embeddings=EMBEDDINGS, clusters=None):
    found = (
        None if clusters is None else SimpleNamespace(fit_predict=lambda z: clusters)
    )
    return TrustedSetBuilder(clustering=found).build(probabilities, embeddings)


def trusted_set(**changes):
    parts = {
        "pseudo_labels": [0, 1],
        "confidence": [0.9, 0.9],
        "cluster": [0, 1],
        "trusted": [True, False],
        "tau_select": 0.8,
        "num_classes": 2,
    }
    return TrustedSet(**{**parts, **changes})


def dec(**changes):
    return deep_embedded_clustering.DeepEmbeddedClustering(3, **changes)


def network(network_class=FixMatch, classes=3, **options):
    student = backbones.build_network(
        backbone, (8, 8, 3), classes, weights=None, embedding_dim=4
    )
    return network_class(student, **options)


def build_network(backbone=backbone, input_shape=(8, 8, 3), classes=3, **options):
    return backbones.build_network(
        backbone, input_shape, classes, **{"weights": None, **options}
    )


def fixmatch_batches(**changes):
    numbers = {"batch_size": 2, "unlabeled_ratio": 2, "steps_per_epoch": 1, "seed": 0}
    return batches.FixMatchBatches(
        labeled_images(), array_source(), **{**numbers, **changes}
    )


def threshold(name, **changes):
    sizes = {"tau": 0.9, "num_classes": 3, "num_unlabeled": 12}
    return thresholds.get(name, **{**sizes, **changes})


def threes(rows=4):
    return np.full((rows, 3), 1 / 3, "float32")


INTEGER = "`{0}` must be an integer of at least {1}. Received: {0}={2}"


def integer(name, minimum, value):
    return INTEGER.format(name, minimum, value)


def of_rows(rows):
    """The parametrization of `test_bad_input` by a table."""
    return pytest.mark.parametrize(
        ("call", "error", "words"),
        [
            pytest.param(call, error, words, id=f"{name}-{number}", marks=needs(call))
            for number, (name, call, error, words) in enumerate(rows)
        ],
    )


def needs(call):
    """The markers of a row: `dataset` makes a `tf.data.Dataset`."""
    return [pytest.mark.tensorflow] if "dataset" in call.__code__.co_names else []


def check_refusal(given, call, error, words):
    """Checks that a call raises an error in the form of the house, changing nothing."""
    before = contents(given.here)
    with pytest.raises(error) as caught:
        call(given)
    message = str(caught.value)
    assert type(caught.value) is error, message
    assert words.format(here=given.here) in message
    # One who has not called `fit` has given nothing.
    if error is not RuntimeError:
        assert " must " in message and "Received: " in message
    assert contents(given.here) == before


def contents(folder):
    """All files of a folder, by path."""
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


# What the rows are given


def write_images(folder, count, seed):
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")


def prepare(folder):
    """Fills a folder with images, other things and a finished run; a trained model."""
    for number, name in enumerate(CLASSES):
        write_images(folder / "labeled" / name, 2, number)
    write_images(folder / "other_classes" / "yellow", 1, 3)
    write_images(folder / "unlabeled", 3, 4)
    (folder / "empty").mkdir()
    (folder / "other").mkdir()
    (folder / "other" / "note.txt").write_text("mine")
    (folder / "file").write_text("mine\n")

    # Not a callable backbone: that of a saved model must be one that can be named.
    model = new_model(backbone="small_cnn")
    fit(labeled_images(class_names=list(CLASSES)), model=model)
    run = RunFolder(folder / "run")
    run.write_facts({"command": "kdfixmatch train", "finished": "today"})
    run.write_results(model)
    run.write_report(report.collect(model, labeled_images(), array_source()))
    return model
