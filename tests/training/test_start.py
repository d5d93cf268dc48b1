"""A training that goes on from an earlier one, with more labels or classes."""

import hashlib
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from kdfixmatch_keras import KDFixMatch
from kdfixmatch_keras.sources import ArraySource, LabeledImages
from kdfixmatch_keras.sources.intensity import IntensityRange
from kdfixmatch_keras.training import start
from tests.untraced import untraced

# A few steps make no good network.
pytestmark = pytest.mark.filterwarnings("ignore:.*trusted:UserWarning")

NAMES = ["b", "d", "e"]
MORE = ["a", *NAMES]
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 8, 8, 3), np.uint8)
UNLABELED, OTHERS = PIXELS[:24], PIXELS[20:]


def labeled(names, height=8):
    """Labeled images of classes, in the order that numbers them."""
    labels = np.arange(2 * len(names), dtype=np.int32) % len(names)
    shape = (len(labels), height, 8, 3)
    images = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    return LabeledImages(ArraySource(images), labels, list(names))


def backbone(input_shape):
    """With dropout, which has a seed, and batch norm, which has moments."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, strides=2, use_bias=False)(inputs)
    x = keras.layers.BatchNormalization(momentum=0.5)(x)
    return keras.Model(inputs, keras.layers.Dropout(0.2)(keras.layers.ReLU()(x)))


def new_model(**changes):
    settings = {
        "backbone": backbone,
        "weights": None,
        "embedding_dim": 4,
        "batch_size": 3,
        "unlabeled_ratio": 2,
        "clustering": None,
        "tau_select": 0.0,
        "optimizer": keras.optimizers.SGD(0.1),
        "distribution_alignment": True,
        "seed": 0,
    }
    return KDFixMatch(**{**settings, **changes})


def fit(model, names=NAMES, unlabeled=UNLABELED, **changes):
    options = {"epochs": 2, "outer_epochs": 1, "steps_per_epoch": 2, "verbose": 0}
    with untraced():
        model.fit(labeled(names), unlabeled, **{**options, **changes})
    return model


def untrained(**changes):
    """A model with networks as they are before their training."""
    model = new_model(**changes)
    data = model.load_data(labeled(NAMES), UNLABELED)
    model.outer, model.inner = model.new_outer(data, 0), model.new_inner(data, 0)
    model.class_names = NAMES
    return model


@pytest.fixture(scope="module")
def earlier():
    """A trained model of three classes."""
    return fit(new_model())


@pytest.fixture(scope="module")
def saved(earlier, tmp_path_factory):
    """The same on disk."""
    path = tmp_path_factory.mktemp("saved") / "model.zip"
    earlier.save(path)
    return path


def started(earlier, names, **changes):
    """The networks with which a training begins."""
    model = new_model(seed=7, **changes)
    data = model.load_data(labeled(names), OTHERS)
    known = start.opened(model, earlier, data)
    networks = model.new_outer(data, 7), model.new_inner(data, 7)
    return tuple(known.of(network) for network in networks)


def of_classes(probabilities, names, chosen):
    columns = probabilities[:, [names.index(name) for name in chosen]]
    return columns / columns.sum(axis=1, keepdims=True)


# Added in front, between and behind, and in another order.
@pytest.mark.parametrize(
    "names", [NAMES, ["e", "b", "d"], ["a", "b", "c", "d", "e", "f"]]
)
def test_the_start_predicts_what_the_earlier_networks_did(earlier, names):
    for stage, network in zip(("outer", "inner"), started(earlier, names), strict=True):
        before = getattr(earlier, stage).predict(OTHERS, verbose=0)
        after = network.predict(OTHERS, verbose=0)
        assert after.shape == (len(OTHERS), len(names))
        np.testing.assert_allclose(
            of_classes(after, names, NAMES), before, atol=1e-6, rtol=0
        )
        for own, teacher in zip(
            network.student.get_weights(), network.teacher.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(own, teacher)


def test_rows_of_new_classes_are_those_of_a_fresh_network(earlier):
    model = new_model(seed=7)
    data = model.load_data(labeled(MORE), OTHERS)
    fresh = model.new_inner(data, 7).student.get_layer("logits")
    _, inner = started(earlier, MORE)
    for own, expected in zip(
        inner.student.get_layer("logits").weights, fresh.weights, strict=True
    ):
        own, expected = map(keras.ops.convert_to_numpy, (own, expected))
        np.testing.assert_array_equal(own[..., 0], expected[..., 0])
        assert own.ndim == 1 or not np.array_equal(own[..., 1:], expected[..., 1:])


def test_what_counts_by_image_or_class_starts_anew():
    settings = {"threshold": "flexmatch", "inner_threshold": "softmatch"}
    before = untrained(**settings)
    for network in (before.outer, before.inner):
        for part in (network.threshold, network.alignment):
            for variable in part.variables:
                variable.assign(np.ones(variable.shape))
    model = new_model(seed=7, **settings)
    data = model.load_data(labeled(NAMES), OTHERS)
    known = start.opened(model, before, data)
    for make in (model.new_outer, model.new_inner):
        network, fresh = known.of(make(data, 7)), make(data, 7)
        for part in ("threshold", "alignment"):
            found, expected = (
                [keras.ops.convert_to_numpy(x) for x in getattr(n, part).variables]
                for n in (network, fresh)
            )
            assert found and all(map(np.array_equal, found, expected))
            assert not all(np.all(x == 1) for x in found)


def test_a_training_goes_on_from_it_whatever_its_images_and_seed(earlier, saved):
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    model = new_model(seed=3, optimizer=keras.optimizers.SGD(0.0))
    fit(model, MORE, OTHERS, continue_from=str(saved))
    # Batch norm moves without a rate; this does not.
    for stage in ("outer", "inner"):
        before, after = (
            keras.ops.convert_to_numpy(
                getattr(x, stage).teacher.get_layer("embedding").kernel
            )
            for x in (earlier, model)
        )
        np.testing.assert_allclose(after, before, atol=1e-6, rtol=0)
    assert model.class_names == MORE
    assert model.predict(OTHERS).shape == (20, 4)
    # It has been read and no more.
    assert hashlib.sha256(saved.read_bytes()).hexdigest() == digest


def test_a_model_goes_on_from_itself(earlier, saved):
    model = KDFixMatch.load(saved)
    model.backbone, model.unsaved_arguments = backbone, []
    fit(model, continue_from=model)
    expected = fit(new_model(), continue_from=earlier)
    assert all(map(np.array_equal, weights_of(model), weights_of(expected)))
    assert not any(map(np.array_equal, weights_of(model), weights_of(earlier)))


class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise KeyboardInterrupt


def weights_of(model):
    networks = model.outer.teacher, model.inner.teacher
    return [array for network in networks for array in network.get_weights()]


def test_stopped_and_gone_on_with_it_ends_with_the_same_bits(earlier, saved, tmp_path):
    before = weights_of(earlier)
    whole = fit(new_model(), MORE, continue_from=earlier)
    assert all(map(np.array_equal, weights_of(earlier), before))
    kept = {"continue_from": saved, "run_dir": tmp_path / "run"}
    for stage in ("outer", "inner"):
        with pytest.raises(KeyboardInterrupt):
            fit(new_model(), MORE, callbacks={stage: [Stop()]}, **kept)
    resumed = fit(new_model(), MORE, **kept)
    assert all(map(np.array_equal, weights_of(resumed), weights_of(whole)))
    assert resumed.history == whole.history
    # The run is that of what it started from.
    for other in (None, untrained(seed=5)):
        with pytest.raises(ValueError, match="of a training with other continue_from"):
            fit(new_model(), MORE, **{**kept, "continue_from": other})


def test_a_head_has_the_backbone_of_the_earlier_one():
    settings = {"backbone": backbone((8, 8, 3)), "pretrained": True, "pixels": "tf"}
    settings["finetune"] = "head"
    earlier = untrained(**settings)
    for network in started(earlier, MORE, **settings):
        kernels = [x.student.get_weights()[0] for x in (earlier.inner, network)]
        np.testing.assert_array_equal(*kernels)


# What is refused


def refused(earlier, words, names=NAMES, error=ValueError, folder=None, **changes):
    model = new_model(**changes)
    with pytest.raises(error, match=re.escape(words)):
        fit(model, names, continue_from=earlier, run_dir=folder)
    assert model.inner is None
    assert folder is None or not Path(folder).exists()


def wider(input_shape):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Conv2D(5, 3, strides=2)(inputs))


def without_relu(input_shape):
    """Weights of the same shapes."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, strides=2, use_bias=False)(inputs)
    return keras.Model(inputs, keras.layers.BatchNormalization(momentum=0.5)(x))


def test_a_class_that_is_gone_is_named(saved, tmp_path):
    refused(
        saved,
        "Received: one that knows 'd', and labels of 'b', 'e', 'f'",
        ["b", "e", "f"],
        folder=tmp_path / "run",
    )


def test_labels_that_are_numbers_have_no_names_of_theirs(earlier):
    words = "knows 'b', 'd', 'e', and labels of '0', '1', '2'"
    with pytest.raises(ValueError, match=words):
        new_model().fit((PIXELS[:3], [0, 1, 2]), UNLABELED, continue_from=earlier)


def test_images_of_another_shape_are_named(earlier):
    model = new_model()
    data = model.load_data(labeled(NAMES, 9), np.repeat(OTHERS, 9, 1)[:, :9])
    words = re.escape("image shape ((8, 8, 3) there, (9, 8, 3) here)")
    with pytest.raises(ValueError, match=words):
        start.opened(model, earlier, data)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"embedding_dim": 5}, "a model with other embedding_dim (4 there, 5 here)"),
        ({"backbone": wider}, "weights of other shapes"),
        ({"backbone": without_relu}, "computes something else, as with other `pixels`"),
        ({"pixels": "raw"}, "computes something else, as with other `pixels`"),
    ],
)
def test_what_differs_in_the_network_is_named(earlier, tmp_path, changes, words):
    refused(earlier, words, folder=tmp_path / "run", **changes)


def test_names_of_networks_and_settings_are_compared():
    model = untrained(backbone="small_cnn")
    words = "backbone ('small_cnn' there, 'wide_resnet_28_2' here)"
    refused(model, words, backbone="wide_resnet_28_2")
    model.finetune = "head"
    refused(model, "finetune ('head' there, 'all' here)", backbone="small_cnn")


def test_a_frozen_batch_norm_is_not_one_that_is_trained():
    network = {"backbone": backbone((8, 8, 3)), "pixels": "tf"}
    earlier = untrained(pretrained=True, **network)
    refused(earlier, "pretrained (True there, False here)", pretrained=False, **network)


def test_another_range_of_16_bit_intensities_is_named():
    earlier = untrained()
    earlier.intensity_range = IntensityRange(0, 4095)
    refused(earlier, "range of 16-bit intensities ('0 to 4,095' there, 'None' here)")
