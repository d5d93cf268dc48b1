"""The head alone: features stored once, under the index of the image."""

import shutil

import keras
import numpy as np
import pytest
from keras import layers

from kdfixmatch_keras import KDFixMatch, baselines
from kdfixmatch_keras.backend import devices
from kdfixmatch_keras.training import stored_features, timing
from kdfixmatch_keras.training.plan import Plan
from kdfixmatch_keras.training.stored_features import ChosenView, FeatureStore
from tests.untraced import untraced

# So few steps teach little, and nothing that is tested needs more.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*trusted:UserWarning"),
    pytest.mark.filterwarnings("ignore:At its end:UserWarning"),
    pytest.mark.filterwarnings("ignore:In epoch:UserWarning"),
]


def squares(count, seed):
    """Noisy squares in three colours, and their classes."""
    labels = np.arange(count, dtype=np.int32) % 3
    pixels = np.random.default_rng(seed).integers(0, 160, (count, 8, 8, 3), np.uint8)
    pixels[np.arange(count), :, :, labels] += 60
    return pixels, labels


LABELED, UNLABELED = squares(12, 0), squares(40, 1)[0]


@pytest.fixture(scope="module")
def backbone():
    """A convolution that has learned to see colours."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    model = keras.Model(inputs, layers.Flatten()(layers.Conv2D(3, 3, strides=3)(x)))
    kernel = np.random.default_rng(0).normal(0, 0.1, (3, 3, 3, 3)) + np.eye(3)
    model.set_weights([kernel, np.array([0.1, -0.1, 0.0])])
    return model


def new_model(backbone, kind=KDFixMatch, **changes):
    settings = {
        "pretrained": True,
        "finetune": "head",
        "embedding_dim": 8,
        "optimizer": keras.optimizers.Adam(0.01),
        "weak_augmentation": layers.RandomBrightness(0.02, (0, 255), seed=4),
        "strong_augmentation": layers.RandomBrightness(0.05, (0, 255), seed=4),
        "batch_size": 4,
        "unlabeled_ratio": 2,
        "seed": 0,
    }
    if kind is KDFixMatch:
        settings |= {"tau_select": 0.3, "clustering": "kmeans"}
    return kind(backbone, **{**settings, **changes})


def fit(model, **changes):
    arguments = {"epochs": 2, "steps_per_epoch": 3, "verbose": 0, **changes}
    with untraced():
        return model.fit(LABELED, UNLABELED, **arguments)


def weights_of(model):
    networks = (model.outer, model.inner)
    return [x for network in networks for x in network.get_weights()]


def assert_equal(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def store(backbone, tmp_path):
    model = new_model(backbone)
    data = model.load_data(LABELED, UNLABELED)
    network = model.new_outer(data, 0)
    session = model.new_session(data, Plan(1, 1, None, 0, None))
    found = FeatureStore(tmp_path, network, data, session.once, lambda count: None)
    return found, network


def test_an_image_is_stored_under_its_index_in_each_of_its_views(store):
    found, network = store
    student = network.student
    features = keras.Model(student.input, student.get_layer("embedding").input)
    stored = found.data().unlabeled
    assert stored.image_shape == (stored_features.VIEWS, 12, 1)
    chosen = np.array([31, 2, 17])
    views = found.low + found.step * stored[chosen][..., 0].astype("float32")
    expected = features.predict(UNLABELED[chosen], verbose=0)
    assert (np.abs(views[:, 0] - expected) < found.step).all()
    # The others are of the same image, changed.
    by_distance = np.linalg.norm(views[:, 1:, None] - expected, axis=-1).argmin(-1)
    assert (by_distance == np.arange(3)[:, None]).all()
    for view in range(1, stored_features.VIEWS):
        assert not np.allclose(views[:, view], expected, atol=found.step.max())
    assert len(np.unique(views[:, 2:], axis=1)[0]) == stored_features.STRONG_VIEWS


def test_a_view_is_drawn_from_those_of_its_kind():
    views = np.broadcast_to(np.arange(5, dtype="uint8")[:, None, None], (200, 5, 4, 1))
    layer = ChosenView(2, 3, seed=0)
    drawn = keras.ops.convert_to_numpy(layer(views, training=True))
    assert set(drawn[:, 0, 0, 0]) == {2, 3, 4}
    np.testing.assert_array_equal(drawn[:, 1:], views[:, 1:])
    again = keras.ops.convert_to_numpy(layer(views, training=True))
    assert (drawn != again).any()
    still = keras.ops.convert_to_numpy(layer(views, training=False))
    np.testing.assert_array_equal(still, views)


def test_the_head_learns(backbone):
    model = new_model(backbone, baselines.Supervised)
    history = fit(model, epochs=30, steps_per_epoch=5)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert model.evaluate(*squares(30, 2))["accuracy"] > 0.8


def test_the_backbone_stays(backbone):
    model = new_model(backbone)
    history = fit(model, validation_data=squares(30, 2))
    frozen = backbone.get_weights()
    for network in (model.outer, model.inner):
        for part in (network.student, network.teacher):
            kernel = next(x for x in part.weights if len(x.shape) == 4)
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), frozen[0])
    # What was evaluated were stored features, what predicts has the images.
    found = model.evaluate(*squares(30, 2))
    assert found["accuracy"] == history["inner"]["val_accuracy"][-1]
    assert found["loss"] == pytest.approx(history["inner"]["val_loss"][-1], rel=0.05)
    # Each is seen once in each view, and some once more to know the range.
    assert model.image_passes == stored_features.VIEWS * (40 + 12 + 40 + 30)


def test_a_method_of_several_networks_trains_heads(backbone):
    model = new_model(backbone, baselines.NoisyStudent, rounds=1)
    assert fit(model).keys() == {"supervised", "student_1"}
    kernel = next(x for x in model.network.teacher.weights if len(x.shape) == 4)
    frozen = backbone.get_weights()[0]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), frozen)


class Stop(Exception):
    """A training that is stopped."""


def stopping(epoch):
    def stop(at, logs=None):
        if at == epoch:
            raise Stop

    return {"inner": [keras.callbacks.LambdaCallback(on_epoch_begin=stop)]}


@pytest.fixture(scope="module")
def stopped(backbone, tmp_path_factory):
    """A training, and the folder of one like it that was stopped."""
    whole = new_model(backbone)
    fit(whole)
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Stop):
        fit(new_model(backbone), run_dir=folder, callbacks=stopping(1))
    return whole, folder


@pytest.mark.parametrize("lost", [None, "all", "a bit"])
def test_a_stopped_training_ends_with_the_same_bits(backbone, stopped, tmp_path, lost):
    whole, folder = stopped
    shutil.copytree(folder, tmp_path / "run")
    stored = tmp_path / "run" / "features_unlabeled.npy"
    content = bytearray(stored.read_bytes())
    if lost == "a bit":
        content[-7] ^= 1
        stored.write_bytes(content)
    elif lost == "all":
        stored.unlink()
    before = stored.stat().st_mtime_ns if stored.exists() else None
    again = new_model(backbone)
    fit(again, run_dir=tmp_path / "run")
    assert_equal(weights_of(again), weights_of(whole))
    assert again.history == whole.history
    assert again.image_passes == whole.image_passes
    # Features that are as they were are not computed again.
    assert (stored.stat().st_mtime_ns == before) == (lost is None)


def test_a_saved_model_has_the_head(stopped, tmp_path):
    model, _ = stopped
    model.save(tmp_path / "saved")
    loaded = KDFixMatch.load(tmp_path / "saved")
    assert loaded.finetune == "head"
    np.testing.assert_array_equal(loaded.predict(UNLABELED), model.predict(UNLABELED))


def test_an_outer_network_must_have_the_frozen_backbone(backbone):
    outer = new_model(backbone, baselines.FixMatch)
    fit(outer)
    model = new_model(backbone)
    history = fit(model, outer=outer.network)
    assert history["outer"] == {} and model.outer is outer.network
    trained = new_model(backbone, baselines.FixMatch, finetune="all")
    fit(trained)
    with pytest.raises(ValueError, match="`outer` must have the backbone of this netw"):
        fit(new_model(backbone), outer=trained.network)


def test_there_is_one_store_for_both_networks(backbone):
    with pytest.raises(ValueError, match='`finetune` must be "all" where `outer_back'):
        new_model(backbone, outer_backbone="small_cnn", inner_init="fresh")


def test_minutes_know_what_storing_costs(backbone):
    model = new_model(backbone)
    data = model.load_data(LABELED, UNLABELED, squares(30, 2))
    costs = timing.measure(model, data, supervised=True)
    trained = [fit_on(kind, backbone) for kind in (KDFixMatch, baselines.Supervised)]
    passes = sum(model.image_passes for model in trained)
    assert costs.besides == pytest.approx(passes * costs.outer.prediction)
    assert costs.outer.step > 0


def fit_on(kind, backbone):
    model = new_model(backbone, kind)
    fit(model, validation_data=squares(30, 2), epochs=1, steps_per_epoch=1)
    return model


def partly_random(backbone):
    """What is trained, and a layer that nobody has trained."""

    def build(input_shape):
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, layers.Dense(5)(backbone(inputs)))

    return build


def test_networks_have_one_backbone_whatever_of_it_is_random(backbone):
    model = new_model(partly_random(backbone), pixels="raw")
    history = fit(model, validation_data=squares(30, 2))
    kernels = [
        keras.ops.convert_to_numpy(weight)
        for network in (model.outer, model.inner)
        for part in (network.student, network.teacher)
        for weight in part.weights
        if tuple(weight.shape) == (12, 5)
    ]
    assert len(kernels) == 4
    for kernel in kernels[1:]:
        np.testing.assert_array_equal(kernel, kernels[0])
    loss = model.evaluate(*squares(30, 2))["loss"]
    assert loss == pytest.approx(history["inner"]["val_loss"][-1], rel=0.05)


def test_the_views_are_those_of_this_model(backbone, monkeypatch):
    outer = new_model(backbone, baselines.FixMatch)
    fit(outer)
    made = []
    build = FeatureStore.__init__

    def noted(store, folder, network, *arguments):
        made.append(network)
        build(store, folder, network, *arguments)

    monkeypatch.setattr(FeatureStore, "__init__", noted)
    other = layers.RandomGrayscale(seed=1)
    model = new_model(backbone, strong_augmentation=other)
    fit(model, outer=outer.network)
    (network,) = made
    assert isinstance(network.strong_augmentation, layers.RandomGrayscale)


def test_a_loss_of_ones_own_trains_a_head(backbone):
    class Own(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.losses.sparse_categorical_crossentropy(
                y_true, y_pred, from_logits=True
            )

    assert fit(new_model(backbone, unlabeled_loss=Own()))


def test_a_head_is_trained_on_one_device(backbone, monkeypatch):
    monkeypatch.setattr(devices, "sharing", lambda model=None: devices.Sharing(2))
    with pytest.raises(ValueError, match='`finetune` must be "all" on several devices'):
        fit(new_model(backbone))
