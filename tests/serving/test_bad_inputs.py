"""Bad inputs of `serving`."""

import pytest

from kdfixmatch_keras import KDFixMatch
from kdfixmatch_keras.serving import (
    export,
    file_prediction,
    prediction,
    saving,
)
from kdfixmatch_keras.sources import IntensityRange
from tests.bad_inputs import (
    CLASSES,
    LABELS,
    array_source,
    check_refusal,
    integer,
    network,
    new_model,
    of_rows,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")

ROWS = [
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
        "export.export_network",
        lambda g: export.export_network(
            g.model.inner.teacher, CLASSES, g.here / "new", intensity_range=(0, 4095)
        ),
        TypeError,
        "`intensity_range` must be None or the IntensityRange of a model",
    ),
    (
        "KDFixMatch",
        lambda g: setattr(new_model(), "intensity_range", (0, 4095)),
        TypeError,
        "Received: intensity_range=(0, 4095). Make one: `sources.IntensityRange(low, ",
    ),
    (
        "KDFixMatch",
        lambda g: setattr(new_model(), "intensity_range", IntensityRange(4095, 0)),
        ValueError,
        "Received: intensity_range=IntensityRange(low=4095, high=0)",
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
        "KDFixMatch.save",
        lambda g: g.model.save("gs://bucket/model.zip"),
        ValueError,
        "`path` must be a path on this machine. Received: path='gs://bucket/model.zip'"
        ", an address. Copy from there or to there with `gcloud storage cp`, or mount",
    ),
    (
        "KDFixMatch.save",
        lambda g: g.model.save(g.here / "model.keras"),
        ValueError,
        "Received: path='{here}/model.keras'. For Keras alone, save the network that",
    ),
    (
        "KDFixMatch.load",
        lambda g: KDFixMatch.load("https://example.com/model.zip"),
        ValueError,
        "`path` must be a path on this machine. Received: path='https://example.com/mo",
    ),
    (
        "ImageClassifier.export",
        lambda g: g.model.export(g.here / "model.zip"),
        ValueError,
        "and not named like a file. Received: path='{here}/model.zip'",
    ),
    (
        "KDFixMatch.load",
        lambda g: KDFixMatch.load(None),
        TypeError,
        "`path` must be a path, a string or a `pathlib.Path`. Received: path=None",
    ),
    (
        "saving.save",
        lambda g: saving.save(g.model, 5),
        TypeError,
        "`path` must be a path, a string or a `pathlib.Path`. Received: path=5",
    ),
    (
        "saving.load",
        lambda g: saving.load(KDFixMatch, g.here / "file"),
        ValueError,
        "`path` must be a model that KDFixMatch.save wrote, and unchanged. Received: "
        "path='{here}/file' (File is not a zip file)",
    ),
    (
        "saving.read_settings",
        lambda g: saving.read_settings(g.here / "labeled"),
        ValueError,
        "`path` must be a model that KDFixMatch.save wrote, and unchanged. Received: "
        "path='{here}/labeled' (no SHA256SUMS in it)",
    ),
    (
        "file_prediction.predict_files",
        lambda g: file_prediction.predict_files(g.model, [g.here / "file"]),
        TypeError,
        "`network` must be a FixMatch network, such as the `inner` of a KDFixMatch. "
        "Received: network of type KDFixMatch",
    ),
    (
        "file_prediction.predict_files",
        lambda g: file_prediction.predict_files(g.model.inner, "photos"),
        TypeError,
        "`files` must be a list of paths. Received: files of type str",
    ),
    (
        "file_prediction.predict_files",
        lambda g: file_prediction.predict_files(g.model.inner, [5]),
        TypeError,
        "`files` must be a path, a string or a `pathlib.Path`. Received: files=5",
    ),
    (
        "file_prediction.predict_files",
        lambda g: file_prediction.predict_files(g.model.inner, [], batch_size=0),
        ValueError,
        integer("batch_size", 1, 0),
    ),
    (
        "file_prediction.predict_files",
        lambda g: file_prediction.predict_files(
            g.model.inner, [], intensity_range="later"
        ),
        TypeError,
        "Received: intensity_range='later'",
    ),
    (
        "prediction.ImageBatches",
        lambda g: prediction.ImageBatches(array_source(), LABELS[:3]),
        ValueError,
        "`labels` must be one integer an image, of shape (12,). Received: "
        "labels.shape=(3,)",
    ),
    (
        "prediction.predict",
        lambda g: prediction.predict(network(), array_source(), batch_size=0),
        ValueError,
        integer("batch_size", 1, 0),
    ),
]


@of_rows(ROWS)
def test_bad_input(given, call, error, words):
    check_refusal(given, call, error, words)
