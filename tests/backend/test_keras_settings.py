"""Nothing depends on what Keras is set to globally."""

import contextlib

import keras
import numpy as np
import pytest

from kdfixmatch_keras import FixMatch, KDFixMatch, backbones, report
from kdfixmatch_keras.backend.keras_settings import usual_settings
from kdfixmatch_keras.baselines import LabelSpreading, LinearProbe
from kdfixmatch_keras.sources import labeled_source, unlabeled_source
from tests.untraced import untraced

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")

CHANGES = [
    {"image_data_format": "channels_first"},
    {"floatx": "float16"},
    {"floatx": "float64"},
    {"dtype_policy": "float16"},
    {"dtype_policy": "mixed_bfloat16"},
    {"epsilon": 1e-2},
    {"max_epochs": 1, "max_steps_per_epoch": 1},
]
ODD = {
    **{"image_data_format": "channels_first", "floatx": "float16", "epsilon": 1e-2},
    **{"max_epochs": 1, "max_steps_per_epoch": 1, "dtype_policy": "float16"},
}


@contextlib.contextmanager
def set_to(**changes):
    """Keras with other settings, which must be what they were at the end."""
    before = {name: getattr(keras.config, name)() for name in changes}
    try:
        for name, value in changes.items():
            getattr(keras.config, f"set_{name}")(value)
        yield
        for name, value in changes.items():
            found = getattr(keras.config, name)()
            assert getattr(found, "name", found) == value
    finally:
        for name, value in before.items():
            getattr(keras.config, f"set_{name}")(value)


def colored():
    labels = np.arange(24, dtype=np.int32) % 3
    images = np.random.default_rng(0).integers(0, 120, (24, 8, 8, 3), np.uint8)
    images[np.arange(24), :, :, labels] += 100
    return images, labels


def train(images, labels):
    """A model, and what came out: history, predictions and what was measured."""
    model = KDFixMatch(
        **{"backbone": "small_cnn", "weights": None, "embedding_dim": 8},
        **{"batch_size": 6, "unlabeled_ratio": 2, "clustering": "kmeans"},
        **{"tau_select": 0.0, "threshold": "freematch", "seed": 0},
        **{"distribution_alignment": True, "optimizer": "adam"},
    )
    data, test = ((images[:12], labels[:12]), images), (images[12:], labels[12:])
    length = {"epochs": 2, "outer_epochs": 1, "steps_per_epoch": 1, "verbose": 0}
    with untraced():
        history = model.fit(*data, validation_data=test, **length)
    found = {f"{stage} {n}": v for stage, h in history.items() for n, v in h.items()}
    # Several batches, which a cap on steps would make one.
    found["probabilities"] = model.predict(images, batch_size=8)
    found |= model.evaluate(*test, batch_size=8)
    found["by the network"] = model.inner.predict(images, batch_size=8, verbose=0)
    return model, found


def test_a_model_is_the_same_whatever_keras_is_set_to(tmp_path):
    images, labels = colored()
    _, usual = train(images, labels)
    with set_to(**ODD):
        model, found = train(images, labels)
        model.save(tmp_path / "model.zip")
        found["loaded"] = KDFixMatch.load(tmp_path / "model.zip").predict(images)
        contents = report.collect(
            model,
            labeled_source((images[:12], labels[:12])),
            unlabeled_source(images),
            labeled_source((images[12:], labels[12:])),
        )
    usual["loaded"] = usual["probabilities"]
    assert found.keys() == usual.keys()
    for name, expected in usual.items():
        np.testing.assert_array_equal(found[name], expected, err_msg=name)
    assert contents["test"]["inner"]["accuracy"] == pytest.approx(usual["accuracy"])


def fitted(kind):
    images, labels = colored()
    # Other than that of the images: the network resizes them.
    sizes = {"sizes": (16,)} if kind is LinearProbe else {"size": 16}
    model = kind("small_cnn", weights=None, seed=0, **sizes)
    model.fit((images[:12], labels[:12]), images, verbose=0)
    return model, model.predict(images)


@pytest.mark.parametrize("kind", [LinearProbe, LabelSpreading])
def test_frozen_features_are_the_same(kind):
    _, expected = fitted(kind)
    with set_to(**ODD):
        _, found = fitted(kind)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.tensorflow
def test_an_exported_model_is_the_same(tmp_path):
    import tensorflow as tf

    images, _ = colored()
    model, expected = fitted(LinearProbe)
    with set_to(**ODD):
        model.export(tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    answer = served.signatures["serving_default"](images=tf.constant(images))
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)


def logits(backbone, **changes):
    """What a network computes that is made under settings."""
    images, _ = colored()
    with set_to(**changes):
        network = backbones.build_network(
            backbone, (8, 8, 3), 3, weights=None, embedding_dim=4, seed=0
        )
    # A policy that is set is asked for, where networks are made one by one.
    policy = changes.get("dtype_policy", "float32")
    assert network.get_layer("embedding").dtype_policy.name == policy
    return keras.ops.convert_to_numpy(network(images[:2]))


def test_a_network_is_the_same(tiny_backbone):
    for changes in CHANGES:
        found, expected = logits(tiny_backbone, **changes), logits(tiny_backbone)
        if "dtype_policy" not in changes:
            np.testing.assert_array_equal(found, expected, err_msg=str(changes))


def test_a_network_of_keras_applications_is_the_same():
    # It pads by hand.
    changes = {name: ODD[name] for name in ("image_data_format", "floatx", "epsilon")}
    np.testing.assert_array_equal(
        logits("mobilenetv2", **changes), logits("mobilenetv2")
    )


def test_a_network_is_trained_on_alike(tiny_student, tiny_images):
    images, labels = tiny_images

    def trained():
        network = FixMatch(tiny_student(), seed=0)
        network.compile("adam")
        with untraced():
            history = network.fit(images, labels, 8, 2, 0, shuffle=False).history
        logs = network.train_on_batch(images[:8], labels[:8], return_dict=True)
        evaluated = network.evaluate(images, labels, batch_size=4, verbose=0)
        return [*history["loss"], *map(float, logs.values()), *evaluated]

    expected = trained()
    with set_to(**{**ODD, "dtype_policy": "float32"}):
        assert trained() == expected


def test_the_settings_of_the_user_are_put_back_after_an_error():
    with set_to(**ODD), contextlib.suppress(KeyError), usual_settings():
        assert keras.config.image_data_format() == "channels_last"
        raise KeyError
