"""What is exported, as a server sees it: without Keras and without this package."""

import io
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kdfixmatch_keras import KDFixMatch
from kdfixmatch_keras.sources.intensity import IntensityRange

pytestmark = [
    pytest.mark.tensorflow,
    # Two steps make no good network; what a weak trusted set says is tested elsewhere.
    pytest.mark.filterwarnings("ignore:.*trusted:UserWarning"),
]

SIDE = 16


def smooth_images(count, side=SIDE, seed=0):
    """Colour gradients with some texture: what JPEG and resizing are made for."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 255, (count, 2, 2, 3))
    axis = np.linspace(0, 1, side)
    weights = np.stack([1 - axis, axis])
    images = np.einsum("nabc,ar,bs->nrsc", corners, weights, weights)
    images += rng.normal(0, 4, images.shape)
    return images.clip(0, 255).astype("uint8")


def convolution(input_shape):
    return keras.Sequential(
        [
            keras.layers.Input(input_shape),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
        ]
    )


def train(channels=3, **changes):
    """A network whose probabilities depend on the pixels after a few steps."""
    images = smooth_images(24)[..., :channels]
    # The left half brighter or darker than the right half.
    halves = images.astype(int).reshape(24, SIDE, 2, -1).sum(axis=(1, 3))
    labels = (halves[:, 0] > halves[:, 1]).astype(int)
    settings = {
        "backbone": convolution,
        "embedding_dim": 8,
        "clustering": "kmeans",
        "tau_select": 0.0,
        "weak_augmentation": "none",
        "strong_augmentation": keras.layers.Identity(),
        "optimizer": keras.optimizers.Adam(0.01),
        "batch_size": 8,
        "unlabeled_ratio": 1,
        "seed": 0,
    }
    model = KDFixMatch(**{**settings, **changes})
    model.fit((images, labels), images, epochs=1, steps_per_epoch=20, verbose=0)
    spread = model.predict(smooth_images(20, seed=1)[..., :channels])[:, 0]
    assert spread.max() - spread.min() > 0.05
    return model


@pytest.fixture(scope="module")
def model():
    return train()


@pytest.fixture(scope="module")
def saved_model(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "saved_model"
    model.export(path)
    return path


@pytest.fixture(scope="module")
def signatures(saved_model):
    loaded = tf.saved_model.load(str(saved_model))
    # The signatures do not keep their variables alive.
    return {"loaded": loaded, **loaded.signatures}


def encoded(image, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def serve_bytes(signatures, files):
    return signatures["serve_bytes"](encoded=tf.constant(files))


@pytest.fixture(scope="module")
def onnx_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    model.export(path, format="onnx")
    return path


# Arguments: the export, a folder to exchange arrays in. `None` in `sys.modules` makes
# an import fail.
WITH_TENSORFLOW_ALONE = """
import sys
sys.modules["keras"] = sys.modules["kdfixmatch_keras"] = None
import numpy as np
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
images = np.load(sys.argv[2] + "/images.npy")
answer = loaded.signatures["serving_default"](images=tf.constant(images))
names = [name.decode() for name in answer["class_name"].numpy()]
np.save(sys.argv[2] + "/probabilities.npy", answer["probabilities"])
np.save(sys.argv[2] + "/names.npy", np.array(names))
"""
WITH_ONNXRUNTIME_ALONE = """
import sys
for name in ("keras", "kdfixmatch_keras", "tensorflow", "onnx", "tf2onnx"):
    sys.modules[name] = None
import numpy as np
import onnxruntime
providers = ["CPUExecutionProvider"]
session = onnxruntime.InferenceSession(sys.argv[1], providers=providers)
images = np.load(sys.argv[2] + "/images.npy")
outputs = ["probabilities", "class_name"]
probabilities, names = session.run(outputs, {"images": images})
np.save(sys.argv[2] + "/probabilities.npy", probabilities)
np.save(sys.argv[2] + "/names.npy", np.array(list(names)))
"""


def test_16_bit_files_are_scaled_as_those_of_training(
    model, signatures, tmp_path, written, monkeypatch
):
    rng = np.random.default_rng(0)
    files = {}
    for bands in (1, 3, 4):
        pixels = rng.integers(0, 4096, (SIDE, SIDE, bands)).astype(np.uint16)
        files[f"{bands}.png"] = written.png(pixels)
    files["5.jpg"] = encoded(smooth_images(1)[0], "JPEG")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(model, "intensity_range", IntensityRange(0, 4095))
    model.export(tmp_path / "saved_model")
    served = tf.saved_model.load(str(tmp_path / "saved_model"))
    expected = model.predict(tmp_path)
    answer = served.signatures["serve_bytes"](encoded=tf.constant(list(files.values())))
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    # Brighter than those of training, or there were none.
    bright = written.png(np.full((SIDE, SIDE, 1), 5000, np.uint16))
    with pytest.raises(tf.errors.InvalidArgumentError, match="beyond their intens"):
        served.signatures["serve_bytes"](encoded=tf.constant([bright]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="of training had 8 bits"):
        serve_bytes(signatures, [files["1.png"]])


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"text"])
def test_what_is_no_image_is_refused(signatures, content):
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="empty|Invalid PNG|image f"
    ):
        serve_bytes(signatures, [content])


@pytest.mark.parametrize(
    ("program", "export"),
    [
        (WITH_TENSORFLOW_ALONE, "saved_model"),
        (WITH_ONNXRUNTIME_ALONE, "onnx_file"),
    ],
    ids=["tensorflow", "onnxruntime"],
)
def test_a_process_with_nothing_else_agrees(model, request, tmp_path, program, export):
    images = smooth_images(9, seed=2)
    np.save(tmp_path / "images.npy", images)
    path = request.getfixturevalue(export)
    result = subprocess.run(
        [sys.executable, "-c", program, str(path), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert result.returncode == 0, result.stderr
    answer = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(answer, model.predict(images), atol=1e-5)
    assert list(np.load(tmp_path / "names.npy")) == [
        model.class_names[index] for index in answer.argmax(axis=1)
    ]
    model.save(tmp_path / "model.zip")
    loaded = KDFixMatch.load(tmp_path / "model.zip")
    np.testing.assert_allclose(answer, loaded.predict(images), atol=1e-5)


def test_a_loaded_model_exports_the_same(model, signatures, tmp_path):
    model.save(tmp_path / "model.zip")
    KDFixMatch.load(tmp_path / "model.zip").export(tmp_path / "again")
    images = tf.constant(smooth_images(5, seed=2))
    again = tf.saved_model.load(str(tmp_path / "again"))
    np.testing.assert_allclose(
        again.signatures["serving_default"](images=images)["probabilities"],
        signatures["serving_default"](images=images)["probabilities"],
        atol=1e-5,
    )


def test_answers_are_named_and_typed(model, signatures):
    images = smooth_images(7, seed=3)
    for signature in ("serving_default", "serve_bytes"):
        answer = (
            signatures[signature](images=tf.constant(images))
            if signature == "serving_default"
            else serve_bytes(signatures, [encoded(image, "PNG") for image in images])
        )
        assert {name: tensor.dtype for name, tensor in answer.items()} == {
            "probabilities": tf.float32,
            "class_id": tf.int32,
            "class_name": tf.string,
        }
        expected = model.predict(images)
        np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
        np.testing.assert_array_equal(answer["class_id"], expected.argmax(axis=1))
        assert [name.decode() for name in answer["class_name"].numpy()] == [
            model.class_names[index] for index in expected.argmax(axis=1)
        ]
    _, inputs = signatures["serving_default"].structured_input_signature
    assert inputs["images"].dtype == tf.uint8
    assert inputs["images"].shape.as_list() == [None, None, None, 3]
    _, inputs = signatures["serve_bytes"].structured_input_signature
    assert inputs["encoded"].dtype == tf.string


def test_class_names_are_those_of_the_folders(tmp_path):
    images = smooth_images(8)
    for index, image in enumerate(images):
        folder = tmp_path / "labeled" / ("crack", "Kratzer ü")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index}.png")
    model = KDFixMatch(
        backbone=convolution,
        clustering="kmeans",
        tau_select=0.0,
        batch_size=4,
        unlabeled_ratio=1,
        weak_augmentation="none",
        strong_augmentation=keras.layers.Identity(),
        seed=0,
    )
    model.fit(tmp_path / "labeled", images, epochs=1, steps_per_epoch=1, verbose=0)
    model.export(tmp_path / "export")
    loaded = tf.saved_model.load(str(tmp_path / "export"))
    answer = loaded.signatures["serving_default"](images=tf.constant(images))
    expected = np.array(["Kratzer ü", "crack"])[model.predict(images).argmax(axis=1)]
    assert [name.decode() for name in answer["class_name"].numpy()] == list(expected)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 90, "subsampling": "4:2:0"}),
        ("JPEG", {"quality": 90, "subsampling": "4:4:4", "progressive": True}),
        ("PNG", {}),
    ],
)
def test_bytes_are_decoded_as_pillow_does(model, signatures, kind, options):
    files = [encoded(image, kind, **options) for image in smooth_images(6, seed=4)]
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])
    answer = serve_bytes(signatures, files)
    np.testing.assert_allclose(
        answer["probabilities"], model.predict(decoded), atol=1e-5
    )


def unusual_images():
    """Arrays of a gray image, and of one with transparency."""
    gray = smooth_images(1, seed=5)[0, ..., 0]
    alpha = np.linspace(0, 255, SIDE * SIDE).astype("uint8").reshape(SIDE, SIDE, 1)
    return {
        "gray": gray,
        "RGBA": np.concatenate([smooth_images(1, seed=6)[0], alpha], axis=-1),
    }


@pytest.mark.parametrize("name", unusual_images())
def test_unusual_png_bytes_agree_with_the_folder(model, signatures, tmp_path, name):
    file = encoded(unusual_images()[name], "PNG")
    (tmp_path / "image.png").write_bytes(file)
    np.testing.assert_allclose(
        serve_bytes(signatures, [file])["probabilities"],
        model.predict(tmp_path),
        atol=1e-5,
    )


def test_bytes_of_many_sizes_are_resized_as_a_folder_is(model, signatures, tmp_path):
    files = []
    for index, side in enumerate((SIDE, 24, 40, 11, 64)):
        files.append(encoded(smooth_images(1, side, seed=index)[0], "PNG"))
        (tmp_path / f"{index}.png").write_bytes(files[-1])
    np.testing.assert_allclose(
        serve_bytes(signatures, files)["probabilities"],
        model.predict(tmp_path),
        atol=0.02,
    )


def test_arrays_of_another_size_are_resized(model, signatures):
    images = smooth_images(3, side=40, seed=7)
    answer = signatures["serving_default"](images=tf.constant(images))
    np.testing.assert_allclose(
        answer["probabilities"], model.predict(images), atol=0.02
    )


def test_mixed_precision_serves_float32(tmp_path):
    model = train(channels=1, mixed_precision=True)
    model.export(tmp_path / "export")
    images = smooth_images(6, seed=8)[..., :1]
    loaded = tf.saved_model.load(str(tmp_path / "export"))
    answers = [
        loaded.signatures["serving_default"](images=tf.constant(images)),
        loaded.signatures["serve_bytes"](
            encoded=tf.constant([encoded(image[..., 0], "PNG") for image in images])
        ),
    ]
    for answer in answers:
        assert answer["probabilities"].dtype == tf.float32
        assert answer["class_id"].dtype == tf.int32
        assert answer["class_name"].dtype == tf.string
        np.testing.assert_allclose(
            answer["probabilities"], model.predict(images), atol=1e-5
        )


def test_refuses_a_folder_that_holds_something(model, tmp_path):
    (tmp_path / "photo.png").write_bytes(b"precious")
    for path in (tmp_path, tmp_path / "photo.png"):
        with pytest.raises(ValueError, match="new or an empty folder"):
            model.export(path)
    assert (tmp_path / "photo.png").read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [tmp_path / "photo.png"]


def test_accepts_an_empty_folder_and_missing_parents(model, tmp_path):
    for path in (tmp_path / "empty", tmp_path / "new" / "folder"):
        if path.name == "empty":
            path.mkdir()
        model.export(str(path))
        assert (path / "saved_model.pb").is_file()
    assert {entry.name for entry in tmp_path.iterdir()} == {"empty", "new"}


def test_unknown_format_suggests_the_known_one(model, tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'tf_saved_model'"):
        model.export(tmp_path / "export", format="saved_model")
    assert not list(tmp_path.iterdir())
