import importlib.metadata
import sys

import keras
import numpy as np
import pytest
import skimage.data
from keras import layers, ops

from kdfixmatch_keras import backbones, baselines
from kdfixmatch_keras.backbones import efficientnet_lite
from kdfixmatch_keras.backbones.efficientnet_lite import read_weights
from tests.exported import check_exported
from tests.untraced import untraced

NAMES = [f"efficientnet_lite{number}" for number in range(3)]
ESPRESSO = 967


@pytest.fixture(scope="module")
def coffee():
    """uint8 (1, 400, 600, 3), a photograph of a cup of espresso."""
    return skimage.data.coffee()[None]


def features_of(name, images, **arguments):
    network = backbones.build_features(name, images.shape[1:], **arguments)
    # JAX compiles it as a whole, which takes less than each of its operations.
    return network.predict(images, verbose=0)


def body_of(name, **arguments):
    network = backbones.build_features(name, (32, 32, 3), **arguments)
    return next(layer for layer in network.layers if isinstance(layer, keras.Model))


def missing(name):
    raise importlib.metadata.PackageNotFoundError(name)


@pytest.mark.parametrize("name", NAMES)
def test_an_espresso_is_named(coffee, name):
    weights = read_weights(name)
    features = features_of(name, coffee, size=(224, 336))
    logits = features @ weights["_fc.weight"].T + weights["_fc.bias"]
    assert logits.argmax() == ESPRESSO
    # What reads the weights has imported nothing of where they lie.
    assert not any("pytorch_model" in module for module in sys.modules)


@pytest.fixture(scope="module")
def network():
    """Lite0 with its weights, for images of 96 pixels."""
    return backbones.build_features("efficientnet_lite0", (96, 96, 3))


def test_features_are_these(coffee, network):
    features = network.predict(coffee[:, 150:246, 200:296], verbose=0)[0]
    assert features.shape == (1280,)
    expected = [0.19325, 0.0, 1.02575, 0.01777, 0.0, 0.0, 0.11765, 1.25536, 2.71617]
    np.testing.assert_allclose(features[:9], expected, atol=1e-3)
    assert features.mean() == pytest.approx(0.71617, abs=1e-4)
    assert features.std() == pytest.approx(1.22213, abs=1e-4)


@pytest.mark.parametrize(
    "name, trainable", list(zip(NAMES, (3_371_008, 4_135_680, 4_811_072), strict=True))
)
def test_sizes_are_those_of_the_literature(name, trainable):
    # 4.7, 5.4 and 6.1 million with the 1,281,000 of the classifier.
    body = body_of(name, weights=None)
    found = sum(int(np.prod(weight.shape)) for weight in body.trainable_weights)
    assert found == trainable
    assert not any("squeeze" in layer.name for layer in body.layers)
    norms = [x for x in body.layers if isinstance(x, layers.BatchNormalization)]
    assert {(norm.epsilon, norm.momentum) for norm in norms} == {(1e-3, 0.99)}


@pytest.mark.parametrize(
    "shape, arguments, size",
    [
        ((8, 8, 1), {}, (96, 96)),
        ((48, 64, 3), {}, (96, 128)),
        ((100, 120, 3), {}, (100, 120)),
        ((8, 16, 3), {"weights": None}, (32, 64)),
        ((48, 64, 3), {"weights": None}, (48, 64)),
        ((8, 8, 3), {"size": (64, 64)}, (64, 64)),
    ],
)
def test_small_images_are_enlarged_in_proportion(monkeypatch, shape, arguments, size):
    # Building them is not the point.
    monkeypatch.setattr(
        efficientnet_lite, "build", lambda choice, shape: layers.Identity()
    )
    network = backbones.build_features("efficientnet_lite0", shape, **arguments)
    assert network.get_layer("preprocessing").output.shape == (None, *size, 3)
    black_and_white = np.zeros((2, *shape), np.uint8)
    black_and_white[1] = 255
    pixels = keras.Model(network.input, network.get_layer("rescaling").output)
    found = ops.convert_to_numpy(pixels(black_and_white))
    np.testing.assert_allclose(found[:, 0, 0, 0], [-127 / 128, 1.0], rtol=1e-6)


def test_with_weights_it_is_pretrained_and_its_batch_norm_frozen(coffee):
    assert backbones.is_pretrained("efficientnet_lite0", "imagenet")
    assert not backbones.is_pretrained("efficientnet_lite0", None)
    network = backbones.build_network(
        "efficientnet_lite0", (32, 32, 3), 5, embedding_dim=8, seed=0
    )
    assert network.losses == []
    body = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    norms = [x for x in body.layers if isinstance(x, layers.BatchNormalization)]
    assert not any(norm.trainable for norm in norms)
    before = body.get_layer("bn0").get_weights()
    network(coffee[:, :32, :32], training=True)
    for old, new in zip(before, body.get_layer("bn0").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_weights_from_a_file_of_keras(monkeypatch, tmp_path):
    stages = efficientnet_lite._STAGES[:2]
    monkeypatch.setattr(efficientnet_lite, "_STAGES", stages)
    body = body_of("efficientnet_lite0", weights=None, seed=1)
    path = tmp_path / "headless.weights.h5"
    body.save_weights(path)
    other = body_of("efficientnet_lite0", weights=path)
    for got, expected in zip(other.get_weights(), body.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert not other.get_layer("bn0").trainable
    monkeypatch.setattr(efficientnet_lite, "_STAGES", stages[:1])
    with pytest.raises(ValueError, match="`weights` must be a file of weights of eff"):
        body_of("efficientnet_lite0", weights=path)


def test_without_the_package_the_remedy_is_named(monkeypatch):
    assert efficientnet_lite.is_installed("efficientnet_lite0")
    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    assert not efficientnet_lite.is_installed("efficientnet_lite0")
    with pytest.raises(ImportError, match=r"kdfixmatch-keras\[pretrained\].*weights=N"):
        backbones.check_backbone("efficientnet_lite0", "imagenet")
    backbones.check_backbone("efficientnet_lite0", None)


def test_an_exchanged_file_of_the_package_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(
        importlib.metadata.PathDistribution,
        "locate_file",
        lambda self, path: tmp_path / "w.pth",
    )
    (tmp_path / "w.pth").write_bytes(b"something else")
    with pytest.raises(ValueError, match="with the SHA-256 .*Install its package"):
        read_weights("efficientnet_lite0")


def test_a_saved_network_needs_no_package(monkeypatch, tmp_path, coffee, network):
    network.save(tmp_path / "network.keras")
    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    loaded = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    images = coffee[:, :96, :96]
    np.testing.assert_array_equal(
        loaded.predict(images, verbose=0), network.predict(images, verbose=0)
    )


def test_a_run_is_stopped_and_gone_on_with(tmp_path, tiny_images):
    images, labels = tiny_images

    def fit(run_dir=None, stop_at=None):
        def stop(epoch, logs):
            if epoch == stop_at:
                raise KeyboardInterrupt

        model = baselines.Supervised(
            "efficientnet_lite0", weights=None, embedding_dim=4, batch_size=4, seed=0
        )
        with untraced():
            model.fit(
                *((images, labels), images),
                epochs=2,
                steps_per_epoch=1,
                callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=stop)],
                verbose=0,
                run_dir=run_dir,
            )
        return model.network

    whole = fit()
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", stop_at=1)
    network = fit(tmp_path / "run")
    for one, other in zip(network.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.tensorflow
@pytest.mark.parametrize("format", ["tf_saved_model", "onnx"])
def test_an_exported_network_predicts_the_same(tmp_path, coffee, format):
    network = backbones.build_network(
        "efficientnet_lite0", (32, 32, 3), 3, embedding_dim=4, seed=0
    )
    check_exported(network, coffee[:, 100:132, 300:332], tmp_path, format)
