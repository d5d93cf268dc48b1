"""Bad inputs in one table: what each public function, method and command says of them.

A row is what is called, how, the error it raises and a part of its message that tells
one cause from another. Every row is also asked whether the message has the form of the
house, and whether all files are what they were.
"""

import importlib
import inspect
import math
import os
import pkgutil
import shutil
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import kdfixmatch_keras
from kdfixmatch_cli.app import app
from kdfixmatch_keras import (
    FixMatch,
    KDFixMatch,
    TrustedSet,
    TrustedSetBuilder,
    augmentation,
    backbones,
    baselines,
    batches,
    checkpoints,
    clustering,
    datasets,
    deep_embedded_clustering,
    distribution_alignment,
    export,
    losses,
    metrics,
    optimizers,
    plots,
    prediction,
    report,
    sources,
    thresholds,
)
from kdfixmatch_keras.run_folder import RunFolder

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")

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
    return (model or new_model()).fit(labeled, unlabeled, **{**length, **changes})


def fit_baseline(**changes):
    model = baselines.Supervised("small_cnn", weights=None)
    length = {"epochs": 1, "steps_per_epoch": 1, "verbose": 0}
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


# The table: what is called, how, with what error, and what the message says.
# `g` has the prepared folders and the trained model; `{here}` stands for the folder.

INTEGER = "`{0}` must be an integer of at least {1}. Received: {0}={2}"


def integer(name, minimum, value):
    return INTEGER.format(name, minimum, value)


CONSTRUCTOR_ROWS = [
    ("embedding_dim", 0, integer("embedding_dim", 1, 0)),
    ("embedding_dim", "8", integer("embedding_dim", 1, "'8'")),
    ("tau", 1.5, "`tau` must be in [0, 1]. Received: tau=1.5"),
    ("tau", "0.9", "`tau` must be in [0, 1]. Received: tau='0.9'"),
    ("tau", True, "`tau` must be in [0, 1]. Received: tau=True"),
    ("tau_select", NAN, "`tau_select` must be in [0, 1]. Received: tau_select=nan"),
    ("tau_inner", -0.1, "`tau_inner` must be in [0, 1]. Received: tau_inner=-0.1"),
    (
        "lambda_u",
        INFINITY,
        "`lambda_u` must be in [0, infinity). Received: lambda_u=inf",
    ),
    ("batch_size", True, integer("batch_size", 1, True)),
    ("batch_size", 2.5, integer("batch_size", 1, 2.5)),
    ("unlabeled_ratio", 0, integer("unlabeled_ratio", 1, 0)),
    ("clusters_per_class", 1.5, integer("clusters_per_class", 1, 1.5)),
    (
        "trusted_until",
        2,
        "`trusted_until` must be in [0, 1]. Received: trusted_until=2",
    ),
    ("ema_decay", 1.0, "`ema_decay` must be in [0, 1). Received: ema_decay=1.0"),
    ("seed", -1, integer("seed", 0, -1)),
    ("seed", 1.5, integer("seed", 0, 1.5)),
    (
        "image_size",
        8,
        "`image_size` must be two positive integers, (height, width), or None for the "
        "size of the data. Received: image_size=8",
    ),
    ("image_size", (8.0, 8), "Received: image_size=(8.0, 8)"),
    (
        "weights",
        "gone.h5",
        '`weights` must be None, "imagenet" or the path of a weights',
    ),
    ("unlabeled_loss", "scce", "Received: unlabeled_loss='scce'. Did you mean 'sce'?"),
    (
        "unlabeled_loss",
        keras.losses.MeanSquaredError(),
        "`unlabeled_loss` must take integer labels (n,) and logits (n, K) and give one "
        "value per sample",
    ),
    ("clustering", "kmean", "or an object with `fit_predict`. Received: clustering="),
    (
        "assignment",
        "hungary",
        "`assignment` must be one of 'majority', 'hungarian'. Received: "
        "assignment='hungary'. Did you mean 'hungarian'?",
    ),
    (
        "weak_augmentation",
        "flip-shift",
        "`weak_augmentation` must be one of 'flip_shift', 'shift', 'none' or a "
        "`keras.layers.Layer`. Received: weak_augmentation='flip-shift'. Did you mean "
        "'flip_shift'?",
    ),
    (
        "teacher",
        None,
        "`teacher` must be one of 'ema', 'shared'. Received: teacher=None",
    ),
    ("threshold", "flex", "Received: threshold='flex'. Did you mean 'flexmatch'?"),
    ("inner_threshold", 0.9, "`inner_threshold` must be one of 'fixed', 'flexmatch'"),
    ("inner_init", "shrink", "Received: inner_init='shrink'. Did you mean 'shrunk'?"),
    (
        "mixed_precision",
        "float16",
        "`mixed_precision` must be one of 'auto', 'float32'",
    ),
    ("optimizer", "adm", "a Keras optimizer. Received: optimizer='adm'. Did you mean"),
    (
        "backbone",
        "smal_cnn",
        "Received: backbone='smal_cnn'. Did you mean 'small_cnn'?",
    ),
]

TYPE_ROWS = [
    (
        "distribution_alignment",
        "no",
        "`distribution_alignment` must be True or False. Received: "
        "distribution_alignment='no'",
    ),
    (
        "clustering",
        clustering.KMeans,
        "`clustering` must be a name or an object with `fit_predict(z)`. Pass an "
        "object rather than its class. Received: clustering=<class",
    ),
    (
        "unlabeled_loss",
        losses.CrossEntropy,
        "`unlabeled_loss` must be a name or a `keras.losses.Loss` object. Pass an "
        "object rather than its class",
    ),
    (
        "strong_augmentation",
        None,
        "`strong_augmentation` must be a name or a `keras.layers.Layer`. Received: "
        "strong_augmentation=None",
    ),
    (
        "threshold",
        keras.layers.Dense(2),
        "`threshold` must have a method `auxiliary_loss`, as `thresholds.Threshold` "
        "has",
    ),
    (
        "optimizer",
        keras.optimizers.Adam,
        "`optimizer` must be None, a name or a Keras optimizer. Received: "
        "optimizer=<cl",
    ),
    (
        "backbone",
        5,
        "`backbone` must be a name, a keras.Model or a callable (input_shape) -> "
        "keras.Model. Received: backbone=5",
    ),
    (
        "backbone",
        lambda: None,
        "`backbone` must take one argument, the input shape. Received: backbone=",
    ),
]

FIT_ROWS = [
    (
        lambda g: fit((IMAGES, np.eye(3)[LABELS])),
        ValueError,
        "`labeled` must hold one integer label an image, not one-hot rows. Received: "
        "labels of shape=(12, 3). Convert an array with `y.argmax(axis=-1)`",
    ),
    (
        lambda g: fit((IMAGES, LABELS.astype(float))),
        ValueError,
        "`labeled` must hold integer labels. Received: labels of dtype=float64. "
        "Convert "
        'whole numbers with `y.astype("int64")`.',
    ),
    (
        lambda g: fit((IMAGES, np.array(CLASSES)[LABELS])),
        ValueError,
        "Number class names with `names, y = np.unique(y, return_inverse=True)`",
    ),
    (
        lambda g: fit((IMAGES, LABELS - 1)),
        ValueError,
        "Received: a label of -1. Images without a label belong to the unlabeled data.",
    ),
    (
        lambda g: fit((IMAGES, LABELS * 2)),
        ValueError,
        "Received: labels up to 4, but classes 1, 3 have no labeled image. Renumber",
    ),
    (
        lambda g: fit((IMAGES, LABELS * 0)),
        ValueError,
        "`labeled` must hold images of at least two classes. Received: only the label "
        "0",
    ),
    (
        lambda g: fit((IMAGES, LABELS[:-1])),
        ValueError,
        "`labeled` must hold as many labels as images. Received: len(x)=12, len(y)=11",
    ),
    (
        lambda g: fit((IMAGES / 255, LABELS)),
        ValueError,
        "`labeled` must hold uint8 images. Received: dtype=float64. Pixels in [0, 1] "
        "are "
        'converted by `(images * 255).round().astype("uint8")`.',
    ),
    (
        lambda g: fit((IMAGES.transpose(0, 3, 1, 2), LABELS)),
        ValueError,
        "Received: shape=(12, 3, 8, 8). Move the channels last with `images.transpose",
    ),
    (
        lambda g: fit([IMAGES, LABELS]),
        TypeError,
        "`labeled` must be a tuple (x, y) of arrays, a tf.data.Dataset of (image, "
        "label), the path of a folder with one sub-folder per class, or LabeledImages. "
        "Received: type=list",
    ),
    (
        lambda g: fit("labelled"),
        ValueError,
        "`labeled` must be an existing folder. Received: labeled='labelled' (there is "
        "no such folder)",
    ),
    (
        lambda g: fit(g.here / "file"),
        ValueError,
        "Received: labeled='{here}/file' (it is a file)",
    ),
    (
        lambda g: fit(g.here / "unlabeled"),
        ValueError,
        "which has no sub-folders",
    ),
    (
        lambda g: fit(unlabeled=(IMAGES, LABELS)),
        TypeError,
        "`unlabeled` must be a NumPy array or memmap of images, a tf.data.Dataset of "
        "images, the path of a folder, or an ImageSource. Received: type=tuple of 2",
    ),
    (
        lambda g: fit(unlabeled=IMAGES[:0]),
        ValueError,
        "`unlabeled` must hold at least one image. Received: shape=(0, 8, 8, 3)",
    ),
    (
        lambda g: fit(unlabeled=IMAGES[:, :4]),
        ValueError,
        "`unlabeled` must have images of the shape of `labeled`, (8, 8, 3). Received: "
        "(4, 8, 3). Pass image_size=(H, W) to resize all images to one size.",
    ),
    (
        lambda g: fit(validation_data=(IMAGES, LABELS + 1)),
        ValueError,
        "`validation_data` must hold labels in [0, 3), as there are 3 classes",
    ),
    (
        lambda g: fit(g.here / "labeled", validation_data=g.here / "other_classes"),
        ValueError,
        "`validation_data` must have sub-folders named as the classes ['blue', "
        "'green', 'red']. Received: also yellow",
    ),
    (
        lambda g: fit(validation_data=0.2),
        TypeError,
        "`validation_data` must be a tuple (x, y) of arrays",
    ),
    (lambda g: fit(epochs=0), ValueError, integer("epochs", 1, 0)),
    (lambda g: fit(epochs=True), ValueError, integer("epochs", 1, True)),
    (lambda g: fit(outer_epochs=2.5), ValueError, integer("outer_epochs", 1, 2.5)),
    (
        lambda g: fit(steps_per_epoch="9"),
        ValueError,
        integer("steps_per_epoch", 1, "'9'"),
    ),
    (
        lambda g: fit(callbacks=keras.callbacks.TerminateOnNaN()),
        TypeError,
        "`callbacks` must be a list of Keras callbacks, objects and not their classes. "
        "Received: callbacks=<keras",
    ),
    (
        lambda g: fit(callbacks=[keras.callbacks.TerminateOnNaN]),
        TypeError,
        "objects and not their classes. Received: callbacks=[<class",
    ),
    (
        lambda g: fit(callbacks={"iner": []}),
        ValueError,
        "`callbacks` must be one of 'outer', 'inner'. Received: callbacks='iner'. Did "
        "you mean 'inner'?",
    ),
    (
        lambda g: fit(verbose="loud"),
        ValueError,
        '`verbose` must be "auto", 0 (silent), 1 (a progress bar) or 2 (a line an '
        "epoch)"
        ". Received: verbose='loud'",
    ),
    (
        lambda g: fit(outer=g.model, outer_epochs=None),
        TypeError,
        "`outer` must be a FixMatch network. Received: outer of type KDFixMatch",
    ),
    (
        lambda g: fit(outer=g.model.outer),
        ValueError,
        "`outer_epochs` must be None where `outer` is given, as it is not trained "
        "again",
    ),
    (
        lambda g: fit(outer=network(classes=4), outer_epochs=None),
        ValueError,
        "`outer` must take images of shape (8, 8, 3) and know 3 classes. Received: (8, "
        "8, 3) and 4",
    ),
    (
        lambda g: fit(run_dir=5),
        TypeError,
        "`run_dir` must be a path, a string or a `pathlib.Path`. Received: run_dir=5",
    ),
    (
        lambda g: fit(run_dir=""),
        ValueError,
        "`run_dir` must be a path. Received: run_dir=''",
    ),
    (
        lambda g: fit(run_dir=g.here / "other"),
        ValueError,
        "`run_dir` must be a new or an empty folder, or that of a training to go on "
        "with. Received: run_dir='{here}/other', which holds something else",
    ),
    (
        lambda g: fit(run_dir=g.here / "file" / "run"),
        ValueError,
        "`run_dir` must lie in a folder. Received: {here}/file/run, and {here}/file is "
        "not a folder",
    ),
    (
        lambda g: fit(model=new_model(backbone=lambda shape: 5)),
        TypeError,
        "`backbone` must return a keras.Model for an input shape. Received: 5",
    ),
    (
        lambda g: fit(model=new_model(backbone=backbone((16, 16, 3)))),
        ValueError,
        "`backbone` must take pixels of shape (8, 8, 3), that of the images. Received: "
        "a model of input_shape=(None, 16, 16, 3). Pass image_size=(H, W) to resize",
    ),
    (
        lambda g: fit(
            model=new_model(threshold=thresholds.FlexMatchThreshold(0.9, 3, 7))
        ),
        ValueError,
        "`threshold` must be made for the data: num_unlabeled=12. Received: a layer "
        "with num_unlabeled=7",
    ),
    (
        lambda g: fit(model=new_model(weak_augmentation=keras.layers.Resizing(4, 4))),
        ValueError,
        "`weak_augmentation` must return images of the shape it is given, (8, 8, 3). "
        "Received: (4, 4, 3)",
    ),
]

USE_ROWS = [
    (
        "ImageClassifier.predict",
        lambda g: new_model().predict(IMAGES),
        RuntimeError,
        "This KDFixMatch has no network yet. Call `fit` first, or `load` a saved "
        "model.",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(IMAGES / 255),
        ValueError,
        "`images` must hold uint8 images. Received: dtype=float64. Pixels in [0, 1]",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(IMAGES[0, ..., 0]),
        ValueError,
        "Received: shape=(8, 8). A single image is `image[None]`.",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(list(IMAGES)),
        TypeError,
        "or an ImageSource. Received: type=list",
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(IMAGES, batch_size=0),
        ValueError,
        integer("batch_size", 1, 0),
    ),
    (
        "ImageClassifier.predict",
        lambda g: g.model.predict(IMAGES, verbose=3),
        ValueError,
        "2 (a line an epoch). Received: verbose=3",
    ),
    (
        "ImageClassifier.evaluate",
        lambda g: g.model.evaluate(IMAGES),
        TypeError,
        "`images` must be a tuple (x, y) of arrays",
    ),
    (
        "ImageClassifier.evaluate",
        lambda g: g.model.evaluate(IMAGES, LABELS + 1),
        ValueError,
        "`images` must hold labels in [0, 3), as there are 3 classes. Received: labels "
        "from 1 to 3",
    ),
    (
        "ImageClassifier.evaluate",
        lambda g: g.model.evaluate(g.here / "other_classes"),
        ValueError,
        "`images` must have sub-folders named as the classes",
    ),
    (
        "ImageClassifier.evaluate",
        lambda g: new_model().evaluate(IMAGES, LABELS),
        RuntimeError,
        "Call `fit` first",
    ),
    (
        "ImageClassifier.load_data",
        lambda g: new_model().load_data((IMAGES, LABELS), None),
        TypeError,
        "`unlabeled` must be a NumPy array or memmap of images",
    ),
    (
        "ImageClassifier.export",
        lambda g: new_model().export(g.here / "new"),
        RuntimeError,
        "Call `fit` first",
    ),
    (
        "ImageClassifier.export",
        lambda g: g.model.export(g.here / "new", "tf"),
        ValueError,
        "`format` must be one of 'tf_saved_model', 'onnx'. Received: format='tf'",
    ),
    (
        "ImageClassifier.export",
        lambda g: g.model.export(g.here / "other"),
        ValueError,
        "`path` must be a new or an empty folder. Received: path='{here}/other'",
    ),
    (
        "ImageClassifier.export",
        lambda g: g.model.export(g.here / "model.onnx"),
        ValueError,
        "Received: path='{here}/model.onnx'. Pass format='onnx' for an ONNX file.",
    ),
    (
        "ImageClassifier.export",
        lambda g: g.model.export(g.here / "model", "onnx"),
        ValueError,
        "`path` must end in .onnx. Received: path='{here}/model'",
    ),
    (
        "ImageClassifier.export",
        lambda g: g.model.export(g.here / "file" / "model"),
        ValueError,
        "`path` must lie in a folder. Received: {here}/file/model, and {here}/file is "
        "not a folder",
    ),
    (
        "export.export_network",
        lambda g: export.export_network(g.model.inner, CLASSES, g.here / "new"),
        TypeError,
        "`network` must be a functional keras.Model, such as the `teacher` of a "
        "FixMatch. Received: network of type FixMatch",
    ),
    (
        "export.export_network",
        lambda g: export.export_network(g.model.inner.teacher, ["a"], g.here / "new"),
        ValueError,
        "`class_names` must have 3 entries. Received: 1 entries",
    ),
    (
        "export.export_network",
        lambda g: export.export_network(g.model.inner.teacher, "abc", g.here / "new"),
        TypeError,
        "`class_names` must be a list of strings. Received: class_names='abc'",
    ),
    (
        "export.check_path",
        lambda g: export.check_path(g.here / "new.pb", "onnx", "output"),
        ValueError,
        "`output` must end in .onnx. Received: output='{here}/new.pb'",
    ),
    (
        "KDFixMatch.save",
        lambda g: new_model().save(g.here / "new"),
        RuntimeError,
        "Call `fit` first",
    ),
    (
        "KDFixMatch.save",
        lambda g: g.model.save(g.here / "other"),
        ValueError,
        "`path` must be new, or a saved model to replace. Received: "
        "path='{here}/other', which holds something else",
    ),
    (
        "KDFixMatch.save",
        lambda g: g.model.save(g.here / "file" / "model"),
        ValueError,
        "`path` must lie in a folder. Received: {here}/file/model",
    ),
    (
        "KDFixMatch.load",
        lambda g: KDFixMatch.load(g.here / "gone"),
        ValueError,
        "`path` must be a model that KDFixMatch.save wrote, and unchanged. Received: "
        "path='{here}/gone' (there is no such file or folder)",
    ),
    (
        "KDFixMatch.load",
        lambda g: KDFixMatch.load(None),
        TypeError,
        "`path` must be a path, a string or a `pathlib.Path`. Received: path=None",
    ),
    (
        "checkpoints.save",
        lambda g: checkpoints.save(g.model, 5),
        TypeError,
        "`path` must be a path, a string or a `pathlib.Path`. Received: path=5",
    ),
    (
        "checkpoints.load",
        lambda g: checkpoints.load(KDFixMatch, g.here / "file"),
        ValueError,
        "`path` must be a model that KDFixMatch.save wrote, and unchanged. Received: "
        "path='{here}/file' (File is not a zip file)",
    ),
    (
        "checkpoints.read_settings",
        lambda g: checkpoints.read_settings(g.here / "labeled"),
        ValueError,
        "`path` must be a model that KDFixMatch.save wrote, and unchanged. Received: "
        "path='{here}/labeled' (no SHA256SUMS in it)",
    ),
    (
        "prediction.predict_files",
        lambda g: prediction.predict_files(g.model, [g.here / "file"]),
        TypeError,
        "`network` must be a FixMatch network, such as the `inner` of a KDFixMatch. "
        "Received: network of type KDFixMatch",
    ),
    (
        "prediction.predict_files",
        lambda g: prediction.predict_files(g.model.inner, "photos"),
        TypeError,
        "`files` must be a list of paths. Received: files of type str",
    ),
    (
        "prediction.predict_files",
        lambda g: prediction.predict_files(g.model.inner, [5]),
        TypeError,
        "`files` must be a path, a string or a `pathlib.Path`. Received: files=5",
    ),
    (
        "prediction.predict_files",
        lambda g: prediction.predict_files(g.model.inner, [], batch_size=0),
        ValueError,
        integer("batch_size", 1, 0),
    ),
    (
        "plots.plot_run",
        lambda g: plots.plot_run(new_model(), g.here / "run.png"),
        RuntimeError,
        "`model` must be trained. Call `fit` first.",
    ),
    (
        "plots.plot_run",
        lambda g: plots.plot_run(g.model.inner, g.here / "run.png"),
        TypeError,
        "`model` must be a trained KDFixMatch. Received: model of type FixMatch",
    ),
    (
        "plots.plot_run",
        lambda g: plots.plot_run(g.model, g.here / "run.xyz"),
        ValueError,
        "`path` must end in the suffix of a picture, such as .png, .svg or .pdf. "
        "Received: path='{here}/run.xyz'",
    ),
    (
        "plots.plot_run",
        lambda g: plots.plot_run(g.model, g.here / "a.png", accuracies={"mine": 91}),
        ValueError,
        "`accuracies['mine']` must be in [0, 1]. Received: accuracies['mine']=91",
    ),
    (
        "plots.plot_run",
        lambda g: plots.plot_run(g.model, g.here / "a.png", true_labels=[0]),
        ValueError,
        "`true_labels` must be one integer per unlabeled sample, of shape (12,)",
    ),
    (
        "report.collect",
        lambda g: report.collect(new_model(), labeled_images(), array_source()),
        RuntimeError,
        "`model` must be trained. Call `fit` first.",
    ),
    (
        "report.collect",
        lambda g: report.collect(g.model, (IMAGES, LABELS), array_source()),
        TypeError,
        "`labeled` must be images as `sources.labeled_source` opens them. Received: "
        "labeled of type tuple",
    ),
    (
        "report.collect",
        lambda g: report.collect(
            g.model, labeled_images(), sources.ArraySource(IMAGES[:5])
        ),
        ValueError,
        "`unlabeled` must be the images that the model was trained on, 12 of them. "
        "Received: 5",
    ),
    (
        "report.collect",
        lambda g: report.collect(
            g.model, labeled_images(), array_source(), accuracies=[0.5]
        ),
        TypeError,
        "`accuracies` must be a dictionary of accuracies by method. Received: "
        "accuracies=[0.5]",
    ),
    (
        "report.render",
        lambda g: report.render([]),
        ValueError,
        "`contents` must be what `collect` of this version returned. Received: list",
    ),
    (
        "report.write",
        lambda g: report.write({}, g.here / "report.html"),
        ValueError,
        "`contents` must be what `collect` of this version returned. Received: dict",
    ),
    (
        "report.write",
        lambda g: report.write({}, g.here / "other"),
        ValueError,
        "`path` must be a file, new or to replace. Received: path='{here}/other', "
        "which is a folder",
    ),
]

TRUSTED_SET_ROWS = [
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

LOSS_ROWS = [
    (
        "losses.CrossEntropy",
        lambda g: losses.CrossEntropy(from_logits="no"),
        TypeError,
        "`from_logits` must be True or False. Received: from_logits='no'",
    ),
    (
        "losses.CrossEntropy",
        lambda g: losses.CrossEntropy(reduction="avg"),
        ValueError,
        "`reduction` must be one of 'sum_over_batch_size', 'mean', 'sum'",
    ),
    (
        "losses.SymmetricCrossEntropy",
        lambda g: losses.SymmetricCrossEntropy(alpha=-1),
        ValueError,
        "`alpha` must be in [0, infinity). Received: alpha=-1",
    ),
    (
        "losses.SymmetricCrossEntropy",
        lambda g: losses.SymmetricCrossEntropy(0, 0),
        ValueError,
        "`alpha` or `beta` must be positive: with both at zero nothing is learned. "
        "Received: alpha=0, beta=0",
    ),
    (
        "losses.GeneralizedCrossEntropy",
        lambda g: losses.GeneralizedCrossEntropy(q=0),
        ValueError,
        "`q` must be in (0, 1]. Received: q=0",
    ),
    (
        "losses.MeanAbsoluteError",
        lambda g: losses.MeanAbsoluteError(reduction=0),
        ValueError,
        "Received: reduction=0",
    ),
    (
        "losses.NormalizedCrossEntropy",
        lambda g: losses.NormalizedCrossEntropy(from_logits=None),
        TypeError,
        "`from_logits` must be True or False. Received: from_logits=None",
    ),
    (
        "losses.NormalizedCrossEntropyPlusReverse",
        lambda g: losses.NormalizedCrossEntropyPlusReverse(clip=1),
        ValueError,
        "`clip` must be in (0, 1). Received: clip=1",
    ),
    (
        "losses.CrossEntropy",
        lambda g: losses.CrossEntropy()(np.eye(3), np.eye(3)),
        ValueError,
        "Turn one-hot labels into integers with `argmax(axis=-1)`. Received: "
        "y_true.shape=(3, 3), y_pred.shape=(3, 3)",
    ),
    (
        "losses.CrossEntropy",
        lambda g: losses.CrossEntropy()([0, 1, 2], threes(2)),
        ValueError,
        "`y_true` must hold a label for each row of `y_pred`. Received: "
        "y_true.shape=(3,), y_pred.shape=(2, 3)",
    ),
    (
        "losses.get",
        lambda g: losses.get("sc"),
        ValueError,
        "`loss` must be one of 'ce', 'sce', 'gce', 'mae', 'nce', 'nce_rce' or a "
        "`keras.losses.Loss`. Received: loss='sc'. Did you mean 'sce'?",
    ),
    (
        "losses.get",
        lambda g: losses.get(keras.losses.CategoricalCrossentropy()),
        ValueError,
        "`loss` must take logits. Received: loss=",
    ),
    (
        "losses.per_sample",
        lambda g: losses.per_sample("ce", [0], threes(1)),
        TypeError,
        "`loss` must be a `keras.losses.Loss` object, as `losses.get` makes one of a "
        "name. Received: loss='ce'",
    ),
]

CLUSTERING_ROWS = [
    (
        "clustering.KMeans",
        lambda g: clustering.KMeans(2.0),
        ValueError,
        integer("num_clusters", 2, 2.0),
    ),
    (
        "KMeans.fit_predict",
        lambda g: clustering.KMeans(13).fit_predict(EMBEDDINGS),
        ValueError,
        "`embeddings` must hold at least one sample per cluster: lower `num_clusters` "
        "or give more samples. Received: 12 samples, num_clusters=13",
    ),
    (
        "clustering.SpectralClustering",
        lambda g: clustering.SpectralClustering(3, seed=-1),
        ValueError,
        integer("seed", 0, -1),
    ),
    (
        "SpectralClustering.fit_predict",
        lambda g: clustering.SpectralClustering(3).fit_predict(EMBEDDINGS[:, 0]),
        ValueError,
        "`embeddings` must be of shape (n, d), one row per sample. Received: "
        "embeddings.shape=(12,)",
    ),
    (
        "deep_embedded_clustering.DeepEmbeddedClustering",
        lambda g: dec(hidden_units=5),
        TypeError,
        "`hidden_units` must be a list of widths, such as (256, 128). Received: "
        "hidden_units=5",
    ),
    (
        "deep_embedded_clustering.DeepEmbeddedClustering",
        lambda g: dec(learning_rate=0),
        ValueError,
        "`learning_rate` must be in (0, infinity). Received: learning_rate=0",
    ),
    (
        "DeepEmbeddedClustering.fit_predict",
        lambda g: dec().fit_predict([["a"], ["b"], ["c"]]),
        ValueError,
        "`embeddings` must be numbers of shape (n, d), one row per sample. Received: "
        "embeddings.shape=(3, 1), dtype=<U1",
    ),
    (
        "DeepEmbeddedClustering.transform",
        lambda g: dec().transform(EMBEDDINGS),
        ValueError,
        "`transform` must come after `fit_predict`. Received: a clustering that has "
        "not",
    ),
    (
        "deep_embedded_clustering.check_embeddings",
        lambda g: deep_embedded_clustering.check_embeddings(EMBEDDINGS * NAN, 2),
        ValueError,
        "`embeddings` must be finite",
    ),
    (
        "deep_embedded_clustering.derive_seeds",
        lambda g: deep_embedded_clustering.derive_seeds(1.5, 2),
        ValueError,
        integer("seed", 0, 1.5),
    ),
    (
        "deep_embedded_clustering.soft_assignment",
        lambda g: deep_embedded_clustering.soft_assignment(threes(), threes()[:, :1]),
        ValueError,
        "`h` and `centroids` must be of shape (n, d) and (K, d). Received: h.shape=(4, "
        "3), centroids.shape=(4, 1)",
    ),
    (
        "deep_embedded_clustering.target_distribution",
        lambda g: deep_embedded_clustering.target_distribution(threes()[0]),
        ValueError,
        "`q` must be soft assignments of shape (n, K). Received: q.shape=(3,)",
    ),
    (
        "deep_embedded_clustering.divergence_gradients",
        lambda g: deep_embedded_clustering.divergence_gradients(
            threes(), threes(), threes()
        ),
        ValueError,
        "`p` must have a row for each row of `h` and a column for each centroid. "
        "Received: p.shape=(4, 3), h.shape=(4, 3), centroids.shape=(4, 3)",
    ),
    (
        "clustering.get",
        lambda g: clustering.get("decs", 3),
        ValueError,
        "Received: clustering='decs'. Did you mean 'dec'?",
    ),
    (
        "clustering.get",
        lambda g: clustering.get("kmeans", 1),
        ValueError,
        integer("num_clusters", 2, 1),
    ),
]

LAYER_ROWS = [
    (
        "thresholds.FixedThreshold",
        lambda g: thresholds.FixedThreshold("high"),
        ValueError,
        "`tau` must be in [0, 1]. Received: tau='high'",
    ),
    (
        "thresholds.FlexMatchThreshold",
        lambda g: thresholds.FlexMatchThreshold(0.9, 3, 0),
        ValueError,
        integer("num_unlabeled", 1, 0),
    ),
    (
        "thresholds.FreeMatchThreshold",
        lambda g: thresholds.FreeMatchThreshold(3, fairness_weight=-1),
        ValueError,
        "`fairness_weight` must be in [0, infinity). Received: fairness_weight=-1",
    ),
    (
        "thresholds.SoftMatchThreshold",
        lambda g: thresholds.SoftMatchThreshold(3, num_sigmas=0),
        ValueError,
        "`num_sigmas` must be in (0, infinity). Received: num_sigmas=0",
    ),
    (
        "Threshold.check_probabilities",
        lambda g: threshold("freematch", num_classes=2)(threes(), np.arange(4)),
        ValueError,
        "`probabilities` must be of shape (M, 2), a row for each image. Received: "
        "probabilities.shape=(4, 3)",
    ),
    (
        "thresholds.get",
        lambda g: threshold("fixd"),
        ValueError,
        "Received: threshold='fixd'. Did you mean 'fixed'?",
    ),
    (
        "thresholds.get",
        lambda g: threshold("flexmatch", num_unlabeled=None),
        ValueError,
        "`num_unlabeled` must be the number of unlabeled images: threshold='flexmatch' "
        "remembers a class for each. Received: num_unlabeled=None",
    ),
    (
        "thresholds.check",
        lambda g: thresholds.check("soft", 0.9),
        ValueError,
        "Received: threshold='soft'. Did you mean 'softmatch'?",
    ),
    (
        "augmentation.get_weak",
        lambda g: augmentation.get_weak("shift", seed=-1),
        ValueError,
        integer("seed", 0, -1),
    ),
    (
        "augmentation.get_strong",
        lambda g: augmentation.get_strong("rand_augment"),
        ValueError,
        "Received: strong_augmentation='rand_augment'. Did you mean 'randaugment'?",
    ),
    (
        "augmentation.FlipAndShift",
        lambda g: augmentation.FlipAndShift(max_shift="far"),
        ValueError,
        "`max_shift` must be in [0, 0.5]. Received: max_shift='far'",
    ),
    (
        "augmentation.FlipAndShift",
        lambda g: augmentation.FlipAndShift(flip="no"),
        TypeError,
        "`flip` must be True or False. Received: flip='no'",
    ),
    (
        "augmentation.FlipAndShift",
        lambda g: augmentation.FlipAndShift()(IMAGES / 255),
        ValueError,
        "`images` must be uint8. Received: images.dtype=float32",
    ),
    (
        "augmentation.RandAugment",
        lambda g: augmentation.RandAugment(num_ops=True),
        ValueError,
        integer("num_ops", 1, True),
    ),
    (
        "augmentation.RandAugment",
        lambda g: augmentation.RandAugment()(IMAGES[..., :2]),
        ValueError,
        "`images` must have one of (1, 3) channels. Received: images.shape=(12, 8, 8, "
        "2)",
    ),
    (
        "RandAugment.draw_operations",
        lambda g: augmentation.RandAugment().draw_operations(2.5),
        ValueError,
        integer("count", 1, 2.5),
    ),
    (
        "augmentation.Cutout",
        lambda g: augmentation.Cutout(fill_value=256),
        ValueError,
        "`fill_value` must be an integer in [0, 255]. Received: fill_value=256",
    ),
    (
        "augmentation.Cutout",
        lambda g: augmentation.Cutout()(IMAGES[0]),
        ValueError,
        "`images` must be of shape (n, height, width, channels) with a fixed height",
    ),
    (
        "distribution_alignment.DistributionAlignment",
        lambda g: distribution_alignment.DistributionAlignment([0.5, 0.6]),
        ValueError,
        "`target_distribution` must be K positive numbers that sum to 1. Received: "
        "target_distribution=[0.5, 0.6]",
    ),
    (
        "distribution_alignment.DistributionAlignment",
        lambda g: distribution_alignment.DistributionAlignment("even"),
        ValueError,
        "`target_distribution` must be K positive numbers. Received: "
        "target_distribution",
    ),
    (
        "distribution_alignment.DistributionAlignment",
        lambda g: distribution_alignment.DistributionAlignment([0.5, 0.5])(threes()),
        ValueError,
        "`logits` must be of shape (n, 2), a column for each number of "
        "`target_distribution`. Received: logits.shape=(4, 3)",
    ),
]

NETWORK_ROWS = [
    (
        "FixMatch",
        lambda g: FixMatch("small_cnn"),
        TypeError,
        "`student` must be a keras.Model, as `backbones.build_network` makes it. "
        "Received: student='small_cnn'",
    ),
    (
        "FixMatch",
        lambda g: FixMatch(keras.Sequential([keras.layers.Dense(3)])),
        ValueError,
        '`student` must have a layer named "embedding" before its logits. Received: ',
    ),
    (
        "FixMatch",
        lambda g: network(class_distribution=[0.5, 0.5]),
        ValueError,
        "`class_distribution` must have 3 numbers, one for each class. Received: [0.5, "
        "0.5]",
    ),
    (
        "FixMatch",
        lambda g: network(dtype="mixed_float16"),
        ValueError,
        "Received: 'float32' and 'mixed_float16'. Pass dtype='float32'.",
    ),
    (
        "FixMatch",
        lambda g: network(num_unlabeled=-1),
        ValueError,
        integer("num_unlabeled", 1, -1),
    ),
    (
        "FixMatch",
        lambda g: network()(IMAGES / 255),
        ValueError,
        "`images` must be uint8. Received: images.dtype=float32",
    ),
    (
        "FixMatch.start_from",
        lambda g: network().start_from(network(classes=4)),
        ValueError,
        "`other` must have the architecture of this network, as its weights are taken "
        "over. Received: weights of other shapes",
    ),
    (
        "FixMatch.start_from",
        lambda g: network().start_from(g.model),
        TypeError,
        "`other` must be a FixMatch network. Received: other of type KDFixMatch",
    ),
    (
        "FixMatch.passes_per_batch",
        lambda g: FixMatch.passes_per_batch(2, -1),
        ValueError,
        integer("num_unlabeled", 0, -1),
    ),
    (
        "PseudoLabelNetwork.passes_per_batch",
        lambda g: baselines.PseudoLabelNetwork.passes_per_batch("2", 1),
        ValueError,
        integer("num_labeled", 0, "'2'"),
    ),
    (
        "backbones.Preprocessing",
        lambda g: backbones.Preprocessing("units", 3),
        ValueError,
        "Received: pixels='units'. Did you mean 'unit'?",
    ),
    (
        "backbones.Preprocessing",
        lambda g: backbones.Preprocessing("unit", 0),
        ValueError,
        integer("channels", 1, 0),
    ),
    (
        "backbones.check_backbone",
        lambda g: backbones.check_backbone("small_cnn", g.here / "file"),
        ValueError,
        '`weights` must be None or "imagenet" (which then has no effect) for a '
        "backbone "
        "that is not in keras.applications",
    ),
    (
        "backbones.is_pretrained",
        lambda g: backbones.is_pretrained("efficientnet0", None),
        ValueError,
        "Received: backbone='efficientnet0'. Did you mean 'efficientnet",
    ),
    (
        "backbones.build_network",
        lambda g: build_network(classes=1),
        ValueError,
        integer("num_classes", 2, 1),
    ),
    (
        "backbones.build_network",
        lambda g: build_network(input_shape=(8, 8)),
        ValueError,
        "`input_shape` must be (height, width, channels) of the images, with 1 or 3 "
        "channels. Received: input_shape=(8, 8)",
    ),
    (
        "backbones.build_network",
        lambda g: build_network(embedding_dim=0),
        ValueError,
        integer("embedding_dim", 1, 0),
    ),
    (
        "backbones.build_network",
        lambda g: build_network(
            keras.Model(inputs := keras.Input((8, 8, 3)), [inputs, inputs])
        ),
        ValueError,
        "`backbone` must have one output. Received: a model with 2, in a list",
    ),
    (
        "backbones.build_network",
        lambda g: build_network("mobilenetv2", (32, 32, 3), weights=g.here / "file"),
        ValueError,
        "`weights` must be a file of weights of mobilenetv2 without its top. Received: "
        "weights='{here}/file'",
    ),
    (
        "backbones.set_weights",
        lambda g: backbones.set_weights(build_network(), []),
        ValueError,
        "arrays, one for each weight of the network. Received: 0 arrays",
    ),
    (
        "backbones.seeded",
        lambda g: backbones.seeded("x").__enter__(),
        ValueError,
        integer("seed", 0, "'x'"),
    ),
    (
        "baselines.Supervised",
        lambda g: baselines.Supervised("small_cnn", tau=1.5),
        ValueError,
        "`tau` must be in [0, 1]. Received: tau=1.5",
    ),
    (
        "baselines.FixMatch",
        lambda g: baselines.FixMatch("smal_cnn"),
        ValueError,
        "Received: backbone='smal_cnn'. Did you mean 'small_cnn'?",
    ),
    (
        "baselines.SelfTraining",
        lambda g: baselines.SelfTraining("small_cnn", batch_size=None),
        ValueError,
        integer("batch_size", 1, None),
    ),
    (
        "baselines.MeanTeacher",
        lambda g: baselines.MeanTeacher("small_cnn", teacher="shared"),
        ValueError,
        "`teacher` must be one of 'ema'. Received: teacher='shared'",
    ),
    (
        "baselines.NoisyStudent",
        lambda g: baselines.NoisyStudent("small_cnn", dropout=1),
        ValueError,
        "`dropout` must be in [0, 1). Received: dropout=1",
    ),
    (
        "baselines.MeanTeacherNetwork",
        lambda g: network(baselines.MeanTeacherNetwork, rampup_steps=-1),
        ValueError,
        integer("rampup_steps", 0, -1),
    ),
    (
        "baselines.NoisyStudentNetwork",
        lambda g: baselines.NoisyStudentNetwork(5),
        TypeError,
        "`student` must be a keras.Model, as `backbones.build_network` makes it. "
        "Received: student=5",
    ),
    (
        "baselines.PseudoLabelNetwork",
        lambda g: network(baselines.PseudoLabelNetwork, lambda_u=-1),
        ValueError,
        "`lambda_u` must be in [0, infinity). Received: lambda_u=-1",
    ),
    (
        "Baseline.fit",
        lambda g: fit_baseline(callbacks={"outer": []}),
        TypeError,
        "Received: callbacks={{'outer': []}}",
    ),
    (
        "Baseline.fit",
        lambda g: fit_baseline(run_dir=g.here / "other"),
        ValueError,
        "`run_dir` must be a new or an empty folder",
    ),
    (
        "Baseline.fit",
        lambda g: fit_baseline(verbose=None),
        ValueError,
        "2 (a line an epoch). Received: verbose=None",
    ),
    (
        "optimizers.FixMatchSchedule",
        lambda g: optimizers.FixMatchSchedule(-0.1, 100),
        ValueError,
        "`initial_learning_rate` must be in (0, infinity). Received: "
        "initial_learning_rate=-0.1",
    ),
    (
        "optimizers.build_optimizer",
        lambda g: optimizers.build_optimizer("lossscaleoptimizer", 9, pretrained=False),
        ValueError,
        "`optimizer` must be one of 'adadelta', 'adafactor', 'adagrad', 'adam'",
    ),
    (
        "optimizers.build_optimizer",
        lambda g: optimizers.build_optimizer(None, 0, pretrained=False),
        ValueError,
        integer("num_steps", 1, 0),
    ),
]

SOURCE_ROWS = [
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source((IMAGES, LABELS), class_names="abc"),
        TypeError,
        "`class_names` must be a list of strings. Received: class_names='abc'",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source((IMAGES, LABELS), on_error="ignore"),
        ValueError,
        "`on_error` must be one of 'raise', 'skip'. Received: on_error='ignore'",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source(labeled_images(images=IMAGES)),
        TypeError,
        "`labeled` must hold its images in an ImageSource, as `unlabeled_source` makes "
        "one. Received: LabeledImages whose images are of type=ndarray",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source(labeled_images(class_names=[0, 1, 2])),
        TypeError,
        "`labeled.class_names` must be a list of strings. Received: 0 among them",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source(labeled_images(class_names=["a", "b", "a"])),
        ValueError,
        "`labeled.class_names` must be names that differ. Received: 'a' more than once",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source(dataset()),
        ValueError,
        "`labeled` must be a dataset of (image, label). Received: elements TensorSpec",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source(dataset((IMAGES, np.eye(3)[LABELS]))),
        ValueError,
        "`labeled` must hold one integer label an image, not one-hot rows",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source(dataset({"img": IMAGES, "label": LABELS})),
        ValueError,
        "`labeled` must be a dataset whose dicts have the keys ['image', 'label']. "
        "Received: keys ['img', 'label']",
    ),
    (
        "sources.unlabeled_source",
        lambda g: sources.unlabeled_source(g.here / "gone"),
        ValueError,
        "`unlabeled` must be an existing folder. Received: unlabeled='{here}/gone' "
        "(there is no such folder)",
    ),
    (
        "sources.unlabeled_source",
        lambda g: sources.unlabeled_source(g.here / "empty"),
        ValueError,
        "`unlabeled` must hold at least one image, in a file that ends in .jpg, .jpeg",
    ),
    (
        "sources.unlabeled_source",
        lambda g: sources.unlabeled_source(dataset().repeat()),
        ValueError,
        "Received: a dataset of infinite cardinality. Drop its `.repeat()`, or add "
        "`.take(count)`.",
    ),
    (
        "sources.unlabeled_source",
        lambda g: sources.unlabeled_source(dataset().take(0)),
        ValueError,
        "`unlabeled` must hold at least one image. Received: an empty dataset",
    ),
    (
        "sources.unlabeled_source",
        lambda g: sources.unlabeled_source(dataset((IMAGES, LABELS))),
        ValueError,
        "Received: tuples of 2. Drop the labels with `.map(lambda image, label: "
        "image)`.",
    ),
    (
        "sources.unlabeled_source",
        lambda g: sources.unlabeled_source(array_source(), (4, 4)),
        ValueError,
        "Received: 12 of shape (8, 8, 3). Pass image_size and channels when the source",
    ),
    (
        "sources.spool_dataset",
        lambda g: sources.spool_dataset(IMAGES, False),
        TypeError,
        "`dataset` must be a tf.data.Dataset. Received: type=ndarray",
    ),
    (
        "sources.spool_dataset",
        lambda g: sources.spool_dataset(dataset(), False, memory_bytes=-1),
        ValueError,
        integer("memory_bytes", 0, -1),
    ),
    (
        "sources.ArraySource",
        lambda g: sources.ArraySource(IMAGES.tolist()),
        TypeError,
        "`images` must hold its images in a NumPy array. Received: type=list. Convert "
        "it with `np.asarray`.",
    ),
    (
        "sources.ArraySource",
        lambda g: sources.ArraySource(IMAGES, channels=True),
        ValueError,
        "`channels` must be 1 (grayscale), 3 (RGB) or None for those of the data. "
        "Received: channels=True",
    ),
    (
        "sources.ArraySource",
        lambda g: sources.ArraySource(np.zeros((2, 8, 8, 5), np.uint8)),
        ValueError,
        "Received: shape=(2, 8, 8, 5). Keep the grayscale, RGB or RGBA channels.",
    ),
    (
        "ImageSource.check_indices",
        lambda g: array_source()[3],
        ValueError,
        "`indices` must be a 1-D array of integers; read one image with "
        "source[[index]]",
    ),
    (
        "ImageSource.check_indices",
        lambda g: array_source()[[-1]],
        IndexError,
        "`indices` must be in [0, 12). Received: indices from -1 to -1",
    ),
    (
        "ImageSource.check_indices",
        lambda g: array_source()[[[0], [1, 2]]],
        ValueError,
        "`indices` must be a 1-D array of integers. Received: rows of differing "
        "lengths",
    ),
    (
        "sources.FolderSource",
        lambda g: sources.FolderSource(5),
        TypeError,
        "`folder_or_files` must be the path of a folder, or a list of paths of images. "
        "Received: type=int",
    ),
    (
        "sources.FolderSource",
        lambda g: sources.FolderSource([g.here / "gone.png"]),
        ValueError,
        "Received: 1 that cannot be read: {here}/gone.png (no such file). Repair or "
        "remove them, or leave them out with on_error='skip'.",
    ),
    (
        "sources.FolderSource",
        lambda g: sources.FolderSource(g.here / "unlabeled", cache_bytes="1 GB"),
        ValueError,
        integer("cache_bytes", 0, "'1 GB'"),
    ),
    (
        "sources.FolderSource",
        lambda g: sources.FolderSource(
            [g.here / "unlabeled" / "0.png"], root=g.here / "labeled"
        ),
        ValueError,
        "`root` must be a folder that holds all files. Received: root='{here}/labeled' "
        "and {here}/unlabeled/0.png",
    ),
    (
        "sources.SubsetSource",
        lambda g: sources.SubsetSource(array_source(), [12]),
        IndexError,
        "`indices` must be in [0, 12). Received: indices from 12 to 12",
    ),
    (
        "sources.SubsetSource",
        lambda g: sources.SubsetSource(IMAGES, [0]),
        TypeError,
        "`source` must be an ImageSource, as `unlabeled_source` makes one. Received: "
        "type=ndarray",
    ),
    (
        "sources.split_folder",
        lambda g: sources.split_folder(g.here / "gone", g.here / "file"),
        ValueError,
        "`folder` must be an existing folder. Received: folder='{here}/gone'",
    ),
    (
        "sources.split_folder",
        lambda g: sources.split_folder(g.here / "unlabeled", 5),
        TypeError,
        "`labels_file` must be a path, a string or a `pathlib.Path`. Received: "
        "labels_file=5",
    ),
    (
        "sources.split_folder",
        lambda g: sources.split_folder(
            g.here / "unlabeled", g.here / "file", allow_single="yes"
        ),
        TypeError,
        "`allow_single` must be True or False. Received: allow_single='yes'",
    ),
    (
        "sources.check_image_size",
        lambda g: sources.check_image_size((8, True)),
        ValueError,
        "Received: image_size=(8, True)",
    ),
    (
        "sources.resize",
        lambda g: sources.resize(IMAGES, (4, 4)),
        ValueError,
        "`image` must be one image of shape (h, w, c), with c 1 or 3. Received: "
        "image.shape=(12, 8, 8, 3)",
    ),
    (
        "sources.resize",
        lambda g: sources.resize(IMAGES[0] / 255, (4, 4)),
        ValueError,
        "`image` must hold uint8 images. Received: dtype=float64",
    ),
    (
        "batches.PermutationStream",
        lambda g: batches.PermutationStream(0, (1,)),
        ValueError,
        integer("size", 1, 0),
    ),
    (
        "PermutationStream.take",
        lambda g: batches.PermutationStream(3, (1,)).take(-1, 2),
        ValueError,
        integer("start", 0, -1),
    ),
    (
        "batches.FixMatchBatches",
        lambda g: fixmatch_batches(seed=None),
        ValueError,
        integer("seed", 0, None),
    ),
    (
        "batches.FixMatchBatches",
        lambda g: fixmatch_batches(trusted_labels=np.zeros(3, np.int32)),
        ValueError,
        "`trusted_labels` must be one integer an image, of shape (12,). Received: "
        "trusted_labels.shape=(3,)",
    ),
    (
        "batches.ImageBatches",
        lambda g: batches.ImageBatches(array_source(), LABELS[:3]),
        ValueError,
        "`labels` must be one integer an image, of shape (12,). Received: "
        "labels.shape=(3,)",
    ),
    (
        "batches.predict",
        lambda g: batches.predict(network(), array_source(), batch_size=0),
        ValueError,
        integer("batch_size", 1, 0),
    ),
    (
        "datasets.load",
        lambda g: datasets.load("digit", 20),
        ValueError,
        "or any name for own images in a `data_dir`. Received: name='digit'. Did you "
        "mean 'digits'?",
    ),
    (
        "datasets.load",
        lambda g: datasets.load(["digits"], 20),
        TypeError,
        "`name` must be a string, one of 'digits', 'cifar10'",
    ),
    (
        "datasets.load",
        lambda g: datasets.load("digits", 5),
        ValueError,
        "`num_labels` must be at least 10, one for each class, and at most 1297, the "
        "number of images. Received: num_labels=5",
    ),
    (
        "datasets.load",
        lambda g: datasets.load("mine", 20, data_dir="gone"),
        ValueError,
        "`data_dir` must be a folder that exists. Received: data_dir='gone'",
    ),
    (
        "datasets.draw_labels",
        lambda g: datasets.draw_labels([0, 2], 2, 0, "mine"),
        ValueError,
        "Received: labels up to 2, but class 1 has no labeled image",
    ),
    (
        # A count for each class up to the highest would fill the memory.
        "datasets.draw_labels",
        lambda g: datasets.draw_labels([0, 2**31 - 1], 2, 0, "mine"),
        ValueError,
        "Received: labels up to 2147483647, but classes 1, 2, 3, 4, 5 and 2147483641 "
        "more",
    ),
    (
        "metrics.evaluate_predictions",
        lambda g: metrics.evaluate_predictions(PROBABILITIES, LABELS + 1, CLASSES),
        ValueError,
        "`labels` must be in [0, 3). Received: labels from 1 to 3",
    ),
    (
        "metrics.evaluate_predictions",
        lambda g: metrics.evaluate_predictions(PROBABILITIES, LABELS, "abc"),
        TypeError,
        "`class_names` must be a list of strings. Received: class_names='abc'",
    ),
    (
        "metrics.evaluate_predictions",
        lambda g: metrics.evaluate_predictions(PROBABILITIES * 9, LABELS, CLASSES),
        ValueError,
        "`probabilities` must not be negative and must sum to 1 in every row. Apply a "
        "softmax to logits.",
    ),
    (
        "metrics.expected_calibration_error",
        lambda g: metrics.expected_calibration_error(PROBABILITIES, LABELS, 0),
        ValueError,
        integer("num_bins", 1, 0),
    ),
]

ROWS = [
    *(
        (
            "KDFixMatch",
            lambda g, n=name, v=value: new_model(**{n: v}),
            ValueError,
            words,
        )
        for name, value, words in CONSTRUCTOR_ROWS
    ),
    *(
        ("KDFixMatch", lambda g, n=name, v=value: new_model(**{n: v}), TypeError, words)
        for name, value, words in TYPE_ROWS
    ),
    *(("KDFixMatch.fit", *row) for row in FIT_ROWS),
    *USE_ROWS,
    *TRUSTED_SET_ROWS,
    *LOSS_ROWS,
    *CLUSTERING_ROWS,
    *LAYER_ROWS,
    *NETWORK_ROWS,
    *SOURCE_ROWS,
]

# What is typed behind `kdfixmatch`, the exit code, and what is said.
TRAIN = "train --labeled labeled --unlabeled unlabeled --output new "
TRAIN += "--backbone small_cnn --weights none "
COMMAND_ROWS = [
    ("trian", 2, "No such command 'trian'"),
    ("train --unlabeled unlabeled", 2, "Missing option '--output'"),
    (TRAIN + "--epoch 3", 2, "No such option: --epoch"),
    (TRAIN + "--epochs 0", 2, "Invalid value for '--epochs'"),
    (TRAIN + "--epochs many", 2, "Invalid value for '--epochs'"),
    (TRAIN + "--seed -1", 2, "Invalid value for '--seed'"),
    (TRAIN + "--tau-select nan", 1, "`--tau-select` must be in [0, 1]. Received: "),
    (TRAIN + "--lambda-u -1", 1, "`--lambda-u` must be in [0, infinity). Received: "),
    (TRAIN + "--ema-decay 1", 1, "`--ema-decay` must be in [0, 1). Received: "),
    (TRAIN + "--clustering kmean", 1, "Did you mean 'kmeans'?"),
    (TRAIN + "--unlabeled-loss scce", 1, "Did you mean 'sce'?"),
    (TRAIN + "--image-size 0", 1, "`--image-size` must be a number of pixels, as 96"),
    (
        TRAIN + "--optimizer adam --learning-rate nan",
        1,
        "`--learning-rate` must be above 0 and finite. Received: --learning-rate nan",
    ),
    (
        TRAIN + "--output file",
        1,
        "or that of a run. Received: output='file', which is a",
    ),
    (TRAIN + "--output empty/../file/run", 1, "`--output` must lie in a folder"),
    (
        TRAIN + "--unlabeled file",
        1,
        "`--unlabeled` must be an existing folder. Received",
    ),
    (TRAIN + "--labeled gone --labels l.csv", 1, "must be given, and not both"),
    ("predict run", 2, "Missing argument 'IMAGES"),
    (
        "predict run gone.png --output new.csv",
        1,
        "Received: gone.png (no file or folder)",
    ),
    (
        "predict run unlabeled --output empty",
        1,
        "must be a file. Received: empty, a folde",
    ),
    ("predict run unlabeled --batch-size 0", 2, "Invalid value for '--batch-size'"),
    (
        "predict run unlabeled --on-error no",
        1,
        "`--on-error` must be one of 'raise', 'ski",
    ),
    (
        "predict run file --output new.csv",
        1,
        "`IMAGES` must be readable. Received: file",
    ),
    ("evaluate run", 2, "Missing option '--data'"),
    (
        "evaluate other --data labeled",
        1,
        "a finished run. Received: 'other' (it has no ru",
    ),
    ("evaluate run --data gone", 1, "`--data` must be an existing folder"),
    ("evaluate run --data other_classes", 1, "Received: also yellow"),
    ("export run --output new --format tf", 1, "must be one of 'saved_model', 'onnx'"),
    ("export run --output other", 1, "`--output` must be a new or an empty folder"),
    ("export run --output new.bin --format onnx", 1, "`--output` must end in .onnx"),
    ("export run --output new.onnx", 1, "Pass format='onnx' for an ONNX file."),
    ("report gone", 1, "finished run. Received: 'gone' (there is no such folder)"),
    (
        "report run --output file",
        1,
        "or a file that this command wrote before. Received",
    ),
    ("report run --output file/report.html", 1, "`--output` must lie in a folder"),
    ("trusted file", 1, "finished run. Received: 'file' (it is a file)"),
    ("trusted run --output labeled", 1, "must be a file. Received: labeled, a folder"),
    ("demo --epochs 0", 2, "Invalid value for '--epochs'"),
    ("demo --output other", 1, "which holds something else"),
    ("demo --output run", 1, "Received: run, which holds a run"),
]


# The tests


def write_images(folder, count, seed):
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with images, other things and a finished run, and a trained model."""
    folder = tmp_path_factory.mktemp("prepared")
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
    return SimpleNamespace(folder=folder, model=model)


@pytest.fixture
def given(prepared, tmp_path, monkeypatch):
    """A copy of the prepared folder to work in, and the trained model."""
    here = tmp_path / "here"
    shutil.copytree(prepared.folder, here)
    monkeypatch.chdir(here)
    # What would be written elsewhere by default is written here too.
    monkeypatch.setenv("HOME", str(here))
    return SimpleNamespace(here=here, model=prepared.model)


def contents(folder):
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def in_one_line(text):
    """Text without the boxes and line breaks of a terminal."""
    return " ".join(text.replace("│", " ").split())


def needs(call):
    """The markers of a row: `dataset` makes a `tf.data.Dataset`."""
    return [pytest.mark.tensorflow] if "dataset" in call.__code__.co_names else []


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        pytest.param(call, error, words, id=f"{name}-{number}", marks=needs(call))
        for number, (name, call, error, words) in enumerate(ROWS)
    ],
)
def test_bad_input(given, call, error, words):
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


@pytest.mark.parametrize(("typed", "code", "words"), COMMAND_ROWS)
def test_bad_command(given, typed, code, words):
    before = contents(given.here)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, typed.split())
    assert result.exit_code == code, result.output
    said = in_one_line(result.output)
    assert words in said
    if code == 1:
        assert "Error: " in said and " must " in said and "Received: " in said
    assert "Traceback" not in said
    assert contents(given.here) == before


# Is everything in the table?

PUBLIC = (
    kdfixmatch_keras,
    augmentation,
    backbones,
    baselines,
    batches,
    checkpoints,
    clustering,
    datasets,
    deep_embedded_clustering,
    distribution_alignment,
    export,
    losses,
    metrics,
    optimizers,
    plots,
    prediction,
    report,
    sources,
    thresholds,
)
# No user calls what is in these; it is called by what the table has, which says no
# first. Those of a class that the package exports are found with the package.
INNER = {
    "allocator",
    "array_validation",
    "backend",
    "callbacks",
    "classifier",
    "dense_layers",
    "export_process",
    "files",
    "fixmatch",
    "integrity",
    "kdfixmatch",
    "memory",
    "moving_average",
    "onnx_export",
    "own_code",
    "run_folder",
    "run_identity",
    "run_state",
    "top_class_share",
    "training_watch",
    "trusted_set",
    "trusted_set_builder",
    "validation",
}
# Methods that Keras calls, or a network in its step, with tensors and sizes of their
# own. Where a user can call the layer, its rows are under the name of the class.
CALLED_BY_KERAS = {
    "auxiliary_loss",
    "call",
    "compute_loss",
    "compute_metrics",
    "compute_output_shape",
    "compute_output_spec",
    "from_config",
    "predict_step",
    "probabilities",
    "student_view",
    "target_outputs",
    "targets",
    "test_step",
    "train_step",
    "unlabeled_term",
}
EXCEPTIONS = {
    # Records, which check nothing: what takes them does.
    "datasets.SemiSupervisedData",
    "sources.LabeledImages",
    # Abstract: only subclasses are made, with arguments of their own.
    "sources.ImageSource",
    "thresholds.Threshold",
    # For subclasses: they take what `load_data` and the constructor have checked.
    "ImageClassifier.label",
    "ImageClassifier.new_network",
    "ImageClassifier.steps_of_one_pass",
    "ImageClassifier.train",
    # What `predict_files` gives, and nobody makes.
    "prediction.PredictedBatch",
}


def public_names(module):
    """What a module exports, or, without `__all__`, what is defined there."""
    names = getattr(module, "__all__", None) or [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and getattr(thing, "__module__", None) == module.__name__
    ]
    return [name for name in names if callable(getattr(module, name))]


def takes_arguments(function):
    parameters = list(inspect.signature(function).parameters)
    return bool([name for name in parameters if name not in ("self", "cls")])


def public_methods(kind):
    """Public methods with arguments, named after the class that defines them."""
    found = set()
    for base in kind.__mro__:
        if not base.__module__.startswith("kdfixmatch_keras"):
            continue
        for name, method in vars(base).items():
            function = getattr(method, "__func__", method)
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            if name not in CALLED_BY_KERAS and takes_arguments(function):
                found.add(f"{base.__name__}.{name}")
    return found


def public_api():
    found = set()
    for module in PUBLIC:
        prefix = module.__name__.rpartition(".")[2] + "."
        for name in public_names(module):
            thing = getattr(module, name)
            if inspect.isclass(thing):
                found |= public_methods(thing)
            if takes_arguments(thing):
                found.add(name if module is kdfixmatch_keras else prefix + name)
    return found - EXCEPTIONS


def test_everything_public_is_in_the_table():
    in_table = {row[0] for row in ROWS}
    assert public_api() - in_table == set()
    assert in_table - public_api() == set(), "no such name"


def test_every_module_is_public_or_inner():
    modules = {
        module.name
        for module in pkgutil.iter_modules(kdfixmatch_keras.__path__)
        if not module.name.startswith("_")
    }
    public = {module.__name__.rpartition(".")[2] for module in PUBLIC[1:]}
    assert modules == public | INNER
    for name in INNER:
        importlib.import_module(f"kdfixmatch_keras.{name}")


def test_every_command_is_in_the_table():
    commands = {command.callback.__name__ for command in app.registered_commands}
    typed = {row[0].split()[0] for row in COMMAND_ROWS}
    assert commands <= typed


def test_numpy_numbers_and_paths_of_both_kinds_are_taken(given):
    model = new_model(
        tau=np.float32(0.5),
        batch_size=np.int64(3),
        seed=np.uint8(0),
        image_size=[np.int32(8), 8],
        distribution_alignment=np.bool_(True),
    )
    history = fit(
        os.fspath(given.here / "labeled"),
        given.here / "unlabeled",
        model=model,
        epochs=np.int64(1),
        verbose=np.int64(0),
        run_dir=os.fspath(given.here / "state"),
    )
    assert np.isfinite(history["inner"]["loss"]).all()
    model.save(os.fspath(given.here / "saved"))
    assert KDFixMatch.load(Path(given.here / "saved")).class_names == list(CLASSES)
