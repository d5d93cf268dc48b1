"""Exporting in another process, as JAX and PyTorch need it, and what can go wrong."""

import importlib
import sys

import keras
import numpy as np
import pytest

from kdfixmatch_keras import backbones, backend
from kdfixmatch_keras.serving import export, export_process

FORMATS = [("tf_saved_model", "model"), ("onnx", "model.onnx")]

# A network of code that is a user's own: one class that is not even registered.
OWN_MODULE = """
import keras

class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x

@keras.saving.register_keras_serializable(package="own")
class Shifted(keras.layers.Layer):
    def call(self, x):
        return x + 1.0

@keras.saving.register_keras_serializable(package="own")
def bend(x):
    return keras.ops.tanh(x)

def backbone(shape):
    return keras.Sequential(
        [keras.Input(shape), Doubled(), Shifted(), keras.layers.Conv2D(4, 3),
         keras.layers.Activation(bend)]
    )
"""


def images(count=5):
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)


def build(backbone, policy="float32"):
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    network = backbones.build_network(backbone, (8, 8, 3), 3, seed=0)
    keras.config.set_dtype_policy(previous)
    return network


def served(path, format):
    if format == "onnx":
        import onnxruntime

        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(path, providers=providers)
        return session.run(["probabilities", "class_name"], {"images": images()})
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    answer = loaded.signatures["serving_default"](images=tf.constant(images()))
    return answer["probabilities"].numpy(), [
        name.decode() for name in answer["class_name"].numpy()
    ]


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module of the user's own, found because the program added its folder.

    It has the name of one of this package, which must not take its place.
    """
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "losses.py").write_text(OWN_MODULE)
    monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module("losses")
    del sys.modules["losses"]


@pytest.mark.tensorflow
@pytest.mark.parametrize(("format", "name"), FORMATS)
def test_both_routes_write_the_same(tmp_path, format, name):
    network = build("small_cnn")
    names = ["crack", "Kratzer ü", "傷"]
    (tmp_path / "here").mkdir()
    export.export_network(network, names, tmp_path / "here" / name, format)
    export_process.export_in_process(network, names, tmp_path / "there" / name, format)
    here, there = (
        served(tmp_path / folder / name, format) for folder in ("here", "there")
    )
    np.testing.assert_allclose(there[0], here[0], atol=1e-6)
    assert list(there[1]) == list(here[1])
    assert [entry.name for entry in (tmp_path / "there").iterdir()] == [name]


@pytest.mark.tensorflow
def test_layers_in_a_module_of_the_user_are_found(tmp_path, own_module):
    network = build(own_module.backbone)
    path = tmp_path / "model"
    export_process.export_in_process(network, ["a", "b", "c"], path, "tf_saved_model")
    expected = keras.ops.softmax(network.predict(images(), verbose=0))
    answer, _ = served(path, "tf_saved_model")
    np.testing.assert_allclose(answer, expected, atol=1e-5)


@pytest.mark.tensorflow
def test_layers_of_a_program_are_named_and_nothing_is_written(tmp_path):
    class Tripled(keras.layers.Layer):
        def call(self, x):
            return 3.0 * x

    network = build(lambda shape: keras.Sequential([keras.Input(shape), Tripled()]))
    with pytest.raises(RuntimeError, match="Tripled.*must be registered.*save the mod"):
        export_process.export_in_process(
            network, ["a", "b", "c"], tmp_path / "new" / "model", "tf_saved_model"
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.tensorflow
def test_a_function_that_was_not_registered_is_named(tmp_path, own_module):
    def bent(x):
        return keras.ops.tanh(x)

    network = build(
        lambda shape: keras.Sequential(
            [keras.Input(shape), keras.layers.Dense(4, activation=bent)]
        )
    )
    with pytest.raises(RuntimeError) as caught:
        export_process.export_in_process(
            network, ["a", "b", "c"], tmp_path / "model", "tf_saved_model"
        )
    assert "Could not locate function 'bent'. Layers and" in str(caught.value)
    # Of a network's whole configuration nobody reads an error.
    assert len(str(caught.value)) < 700
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; sys.exit('it broke')", "it broke"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9"),
        ("import sys; sys.exit(3)", "status 3"),
    ],
)
def test_a_process_that_dies_is_an_error(tmp_path, program, message):
    """Whatever it dies of: here, an interpreter that is none."""
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\n{program}\n")
    python.chmod(0o755)
    network = build("small_cnn")
    with pytest.raises(RuntimeError, match=f"KERAS_BACKEND=tensorflow: .*{message}"):
        export_process.export_in_process(
            network,
            ["a", "b", "c"],
            tmp_path / "new" / "model",
            "tf_saved_model",
            str(python),
        )
    assert [entry.name for entry in tmp_path.iterdir()] == ["python"]


@pytest.mark.parametrize(
    ("format", "name", "extra"),
    [("tf_saved_model", "model", "tensorflow"), ("onnx", "model.onnx", "onnx")],
)
def test_without_tensorflow_the_extra_is_named(
    tmp_path, monkeypatch, format, name, extra
):
    network = build("small_cnn")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(
        ImportError, match=rf'pip install "kdfixmatch-keras\[{extra}\]"'
    ):
        export.export_network(network, ["a", "b", "c"], tmp_path / "new" / name, format)
    assert not list(tmp_path.iterdir())


@pytest.mark.tensorflow
def test_another_backend_exports_half_precision_too(tmp_path, monkeypatch):
    network = build("small_cnn", "mixed_bfloat16")
    monkeypatch.setattr(backend, "is_tensorflow", lambda: False)
    export.export_network(network, ["a", "b", "c"], tmp_path / "model")
    expected = keras.ops.softmax(network.predict(images(), verbose=0))
    answer, _ = served(tmp_path / "model", "tf_saved_model")
    np.testing.assert_allclose(answer, expected, atol=1e-5)
