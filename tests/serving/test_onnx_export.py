"""The ONNX file of networks of every kind, as onnxruntime runs it."""

import json
import sys

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from PIL import Image

from kdfixmatch_keras import backbones
from kdfixmatch_keras.serving import onnx_export
from kdfixmatch_keras.serving.export import export_network

pytestmark = pytest.mark.tensorflow

NAMES = ["crack", "Kratzer ü", "傷", "", "dent"]
# The types that a client sees, whatever the network computes in.
OUTPUTS = {
    "probabilities": ("tensor(float)", ["n", 5]),
    "class_id": ("tensor(int32)", ["n"]),
    "class_name": ("tensor(string)", ["n"]),
}


def random_images(count, shape, seed=0):
    """Noise of another colour and contrast in each image."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(40, 215, (count, 1, 1, shape[-1]))
    spread = rng.uniform(0, 40, (count, 1, 1, 1))
    images = mean + spread * rng.standard_normal((count, *shape))
    return images.clip(0, 255).astype(np.uint8)


def build(backbone, shape, policy="float32"):
    """An untrained network whose answers depend on the image all the same."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    network = backbones.build_network(backbone, shape, 5, weights=None, seed=0)
    keras.config.set_dtype_policy(previous)
    images = random_images(128, shape)
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    # The statistics of the batch norm become those of the images.
    network(images, training=True)
    logits = network.get_layer("logits")
    outputs = network.predict(images, verbose=0)
    logits.kernel.assign(logits.kernel / outputs.std(axis=0).max())
    logits.bias.assign(-outputs.mean(axis=0) / outputs.std(axis=0).max())
    return network


def probabilities(network, images):
    logits = network.predict(images, verbose=0).astype("float32")
    return np.asarray(keras.ops.softmax(logits))


def run(path, images):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(node.name, node.type) for node in session.get_inputs()] == [
        ("images", "tensor(uint8)")
    ]
    assert {
        node.name: (node.type, node.shape) for node in session.get_outputs()
    } == OUTPUTS
    answers = session.run(list(OUTPUTS), {"images": images})
    return dict(zip(OUTPUTS, answers, strict=True))


def check(network, path, atol):
    shape = network.input_shape[1:]
    for count in (1, 5):
        images = random_images(count, shape, seed=count)
        expected = probabilities(network, images)
        answer = run(path, images)
        np.testing.assert_allclose(answer["probabilities"], expected, atol=atol)
        index = answer["probabilities"].argmax(axis=1)
        np.testing.assert_array_equal(answer["class_id"], index)
        assert list(answer["class_name"]) == [NAMES[i] for i in index]
    # The comparison would say little if all images had the same answer.
    assert expected.std(axis=0).max() > 0.01


@pytest.mark.parametrize(
    ("backbone", "shape", "atol"),
    [
        ("small_cnn", (8, 8, 1), 1e-5),
        ("small_cnn", (32, 24, 3), 1e-5),
        ("wide_resnet_28_2", (16, 16, 1), 1e-5),
        ("wide_resnet_28_2", (16, 16, 3), 1e-5),
        # 81 convolutions: TensorFlow itself is 1e-5 from the same in float64.
        ("efficientnetb0", (32, 32, 3), 1e-4),
    ],
)
def test_agrees_with_the_network(tmp_path, backbone, shape, atol):
    network = build(backbone, shape)
    export_network(network, NAMES, tmp_path / "model.onnx", "onnx")
    check(network, tmp_path / "model.onnx", atol)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


# A translation of MobileNetV2 in float16 is not even valid ONNX.
@pytest.mark.parametrize(
    ("backbone", "policy"),
    [
        ("small_cnn", "mixed_float16"),
        ("small_cnn", "mixed_bfloat16"),
        ("mobilenetv2", "mixed_float16"),
    ],
)
def test_half_precision_is_written_in_float32(tmp_path, backbone, policy):
    shape = (8, 8, 3)
    network = build(backbone, shape, policy)
    same = build(backbone, shape)
    same.set_weights(network.get_weights())
    export_network(network, NAMES, tmp_path / "model.onnx", "onnx")
    check(same, tmp_path / "model.onnx", atol=1e-4)
    if backbone == "small_cnn":
        # Eight bits are left of a bfloat16, eleven of a float16.
        atol = 0.05 if policy == "mixed_bfloat16" else 0.01
        check(network, tmp_path / "model.onnx", atol)
    assert network.get_layer("embedding").compute_dtype == policy.removeprefix("mixed_")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "size", [(16, 20), (17, 20), (64, 64), (11, 9), (7, 90), (16, 40), (1, 300)]
)
def test_resizes_as_pillow_and_tensorflow_do(tmp_path, channels, size):
    """A network that returns pixels shows them to within rounding."""
    inputs = keras.Input((16, 20, channels), dtype="uint8")
    levels = keras.layers.Rescaling(1 / 32)(inputs)
    network = keras.Model(inputs, keras.layers.Flatten()(levels))
    names = [str(index) for index in range(16 * 20 * channels)]
    export_network(network, names, tmp_path / "model.onnx", "onnx")

    images = random_images(4, (*size, channels))
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (answer,) = session.run(["probabilities"], {"images": images})
    # Of a softmax, logarithms are the logits up to a constant for each image.
    pixels = 32 * np.log(answer)

    def difference(expected):
        off = pixels - np.asarray(expected, dtype="float64").reshape(len(images), -1)
        return abs(off - np.median(off, axis=1, keepdims=True)).max()

    served = tf.image.resize(images, (16, 20), antialias=True)
    assert difference(tf.clip_by_value(tf.round(served), 0.0, 255.0)) < 1.01
    pillow = [
        Image.fromarray(image.squeeze(-1) if channels == 1 else image).resize(
            (20, 16), Image.Resampling.BILINEAR
        )
        for image in images
    ]
    assert difference([np.asarray(image) for image in pillow]) < 1.01
    if size == (16, 20):
        assert difference(images) < 0.01


def test_metadata_names_all_classes(tmp_path):
    export_network(
        build("small_cnn", (8, 8, 3)), NAMES, tmp_path / "model.onnx", "onnx"
    )
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties["class_names"]) == NAMES
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 18


def test_a_network_of_custom_layers_in_half_precision(tmp_path):
    """They need not be registered: the copy is made of classes, not of names."""

    class Doubled(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    def backbone(shape):
        inner = keras.Sequential([keras.Input(shape), Doubled()])
        inputs = keras.Input(shape)
        features = keras.layers.TimeDistributed(keras.layers.Dense(4))(inner(inputs))
        return keras.Model(inputs, features)

    network = build(backbone, (8, 8, 3), "mixed_float16")
    export_network(network, NAMES, tmp_path / "model.onnx", "onnx")
    check(network, tmp_path / "model.onnx", atol=0.01)


@pytest.mark.parametrize("package", ["onnx", "tf2onnx", "tensorflow"])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package):
    network = build("small_cnn", (8, 8, 3))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r'pip install "kdfixmatch-keras\[onnx\]"'):
        export_network(network, NAMES, tmp_path / "new" / "model.onnx", "onnx")
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_an_export_that_fails(tmp_path, monkeypatch):
    network = build("small_cnn", (8, 8, 3))

    def fail(*args, **options):
        raise onnx.checker.ValidationError("made up")

    monkeypatch.setattr(onnx.checker, "check_model", fail)
    with pytest.raises(onnx.checker.ValidationError):
        export_network(network, NAMES, tmp_path / "new" / "model.onnx", "onnx")
    assert not list(tmp_path.iterdir())


def test_refuses_files_that_exist_or_are_called_otherwise(tmp_path):
    network = build("small_cnn", (8, 8, 3))
    (tmp_path / "photo.onnx").write_bytes(b"precious")
    with pytest.raises(ValueError, match="`path` must be a new file. Received: path="):
        export_network(network, NAMES, tmp_path / "photo.onnx", "onnx")
    for name in ("model", "model.pb", "model.onnx.zip"):
        with pytest.raises(ValueError, match="`path` must end in .onnx. Received: pa"):
            export_network(network, NAMES, tmp_path / name, "onnx")
    assert (tmp_path / "photo.onnx").read_bytes() == b"precious"
    assert [entry.name for entry in tmp_path.iterdir()] == ["photo.onnx"]


def test_a_function_in_half_precision_is_computed_in_float32():
    factor = 2.0

    def backbone(shape):
        inputs = keras.Input(shape)
        x = keras.layers.Lambda(lambda x: x * factor)(inputs)
        return keras.Model(inputs, keras.layers.Conv2D(4, 3)(x))

    network = build(backbone, (8, 8, 3), "mixed_float16")
    images = random_images(4, (8, 8, 3))
    copy = onnx_export._in_float32(network)
    assert {layer.compute_dtype for layer in copy.layers[1:]} == {"float32"}
    found, expected = (probabilities(model, images) for model in (copy, network))
    np.testing.assert_allclose(found, expected, atol=1e-2)
