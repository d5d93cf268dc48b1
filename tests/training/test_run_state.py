"""A training that is stopped goes on, and ends with the bits of one that was not."""

import errno
import functools
import io
import json
import os
import shutil

import keras
import numpy as np
import pytest
from sklearn.cluster import KMeans

from kdfixmatch_keras import KDFixMatch, baselines
from kdfixmatch_keras.augmentation import Cutout
from kdfixmatch_keras.storage.files import held
from kdfixmatch_keras.storage.integrity import sealed, unsealed
from kdfixmatch_keras.training import run_state
from kdfixmatch_keras.training.identity import describe
from tests.untraced import untraced

# A few steps make no good network.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(missing from|trusted samples):UserWarning"
)

COLORS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])


def squares(count, seed):
    """Noisy squares in three colours, uint8 (n, 8, 8, 3), and their classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = COLORS[labels][:, None, None] + rng.normal(0, 25, (count, 8, 8, 3))
    return images.clip(0, 255).astype("uint8"), labels


LABELED, TEST = squares(12, 0), squares(9, 2)
UNLABELED = squares(40, 1)[0]


def random_backbone(input_shape):
    """With dropout, whose seed is a state too, and batch norm."""
    return keras.Sequential(
        [
            keras.layers.Input(input_shape),
            keras.layers.Conv2D(8, 3, strides=2, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.2, seed=3),
        ]
    )


def new_model(**changes):
    settings = {
        "backbone": random_backbone,
        "embedding_dim": 8,
        "clustering": "kmeans",
        "tau_select": 0.34,
        "distribution_alignment": True,
        "strong_augmentation": Cutout(seed=4),
        "optimizer": "adam",
        "batch_size": 6,
        "unlabeled_ratio": 2,
        "seed": 0,
        **changes,
    }
    return KDFixMatch(**settings)


def fit(model, run_dir=None, **changes):
    options = {"epochs": 4, "outer_epochs": 3, "steps_per_epoch": 3, "verbose": 0}
    options |= {"validation_data": TEST, "run_dir": run_dir, **changes}
    with untraced():
        model.fit(options.pop("labeled", LABELED), UNLABELED, **options)
    return model


class Stop(Exception):
    """Stands for the end of a process."""


def stop_at(stage, epoch, moment):
    """Callbacks that stop the training of a stage at a moment of an epoch."""

    def stop(at, logs):
        if at == epoch:
            raise Stop

    return {stage: [keras.callbacks.LambdaCallback(**{moment: stop})]}


def state_of(model):
    return [
        keras.ops.convert_to_numpy(variable)
        for network in (model.outer, model.inner)
        for variable in [*network.variables, *network.optimizer.variables]
    ]


def assert_same(first, second):
    assert first.history == second.history
    assert first.image_passes == second.image_passes
    np.testing.assert_array_equal(
        first.trusted_set.confidence, second.trusted_set.confidence
    )
    np.testing.assert_array_equal(
        first.trusted_set.dense_labels(), second.trusted_set.dense_labels()
    )
    for own, other in zip(state_of(first), state_of(second), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.fixture(scope="module")
def uninterrupted():
    return fit(new_model())


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory):
    """The folder of a training that was stopped in the third epoch of the second."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(Stop):
        fit(new_model(), folder, callbacks=stop_at("inner", 2, "on_epoch_begin"))
    return folder


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A copy of its own for each test."""
    shutil.copytree(stopped_once, tmp_path / "run")
    return tmp_path / "run"


def test_stopped_in_every_epoch_and_called_once_more(tmp_path, uninterrupted):
    moments = ["on_epoch_begin", "on_epoch_end"]
    for stage, epochs in (("outer", 3), ("inner", 4)):
        for epoch in range(epochs):
            with pytest.raises(Stop):
                stop = stop_at(stage, epoch, moments[epoch % 2])
                fit(new_model(), tmp_path, callbacks=stop)
    checkpoints = list(tmp_path.glob("fixmatch_*.npz"))
    assert len(checkpoints) == 4
    for _ in range(2):
        assert_same(fit(new_model(), tmp_path), uninterrupted)


@pytest.mark.parametrize(
    "augmentation",
    ["randaugment", pytest.param("keras_cv", marks=pytest.mark.keras_cv)],
)
def test_generators_of_the_policies_go_on(tmp_path, augmentation):
    def train(run_dir=None, callbacks=None):
        model = baselines.FixMatch(
            backbone=random_backbone,
            embedding_dim=8,
            strong_augmentation=augmentation,
            batch_size=6,
            unlabeled_ratio=2,
            seed=0,
        )
        options = {"epochs": 2, "steps_per_epoch": 1, "verbose": 0}
        options |= {"callbacks": callbacks, "run_dir": run_dir}
        with untraced():
            history = model.fit(LABELED, UNLABELED, **options)
        return history, model.network.get_weights()

    with pytest.raises(Stop):
        train(tmp_path, stop_at("outer", 1, "on_epoch_begin")["outer"])
    history, weights = train(tmp_path)
    expected_history, expected_weights = train()
    assert history == expected_history
    for own, expected in zip(weights, expected_weights, strict=True):
        np.testing.assert_array_equal(own, expected)


@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_damaged_checkpoint_falls_back_to_the_one_before(
    stopped, uninterrupted, damage
):
    before, newest = sorted(stopped.glob("fixmatch_inner-*.npz"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "remove":
        # Then the places of the archive's members lie before its beginning.
        del content[:2000]
    newest.write_bytes(content[: len(content) // 2 if damage == "cut" else None])
    with pytest.warns() as caught:
        model = fit(new_model(), stopped)
    assert any("inner-000002.npz is damaged" in str(w.message) for w in caught)
    assert_same(model, uninterrupted)


@pytest.mark.parametrize("facts", [b'{"variables": 0}', b"{}", b"[]", b"\xff"])
def test_checkpoint_of_something_else_is_not_taken(tmp_path, uninterrupted, facts):
    np.savez(
        tmp_path / "fixmatch_inner-000001.npz", facts=np.frombuffer(facts, np.uint8)
    )
    state = run_state.RunState(tmp_path, 0, is_new=False)
    with pytest.warns(UserWarning, match="is damaged"):
        assert state.restore(uninterrupted.inner) == run_state.NOT_STARTED


def test_checkpoint_of_another_network_is_not_taken(stopped, uninterrupted):
    (outer,) = stopped.glob("fixmatch_outer-000003.npz")
    shutil.copy(outer, stopped / "fixmatch_inner-000003.npz")
    with pytest.warns() as caught:
        model = fit(new_model(), stopped)
    assert any("it is of another network" in str(w.message) for w in caught)
    assert_same(model, uninterrupted)


def files_of(folder):
    return {path: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["fixmatch_inner-000002.npz", "trusted.npz"])
def test_file_that_cannot_be_read_for_now_is_not_given_up(
    stopped, uninterrupted, monkeypatch, name
):
    before = files_of(stopped)
    read = io.open

    def read_all_but_one(file, *arguments, **options):
        if str(file).endswith(name):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
        return read(file, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", read_all_but_one)
        patch.setattr("io.open", read_all_but_one)
        with pytest.raises(OSError, match=f"Cannot read .*{name}: Input/output error"):
            fit(new_model(), stopped)
    assert files_of(stopped) == before
    assert_same(fit(new_model(), stopped), uninterrupted)


def test_checkpoint_of_other_shapes_is_refused_and_not_given_up(stopped):
    newest = stopped / "fixmatch_inner-000002.npz"
    with np.load(newest) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["variable_0"] = arrays["variable_0"][..., np.newaxis]
    np.savez(newest, **arrays)
    before = files_of(stopped)
    with pytest.raises(ValueError, match="Another version of Keras or of this package"):
        fit(new_model(), stopped)
    assert files_of(stopped) == before


def test_files_of_another_training_are_not_taken(stopped, uninterrupted, tmp_path):
    other = tmp_path / "other"
    with pytest.raises(Stop):
        stop = stop_at("inner", 1, "on_epoch_begin")
        fit(new_model(seed=1), other, callbacks=stop)
    for name in ("fixmatch_inner-000001.npz", "trusted.npz", "trusted.sha256"):
        shutil.copy(other / name, stopped)
    shutil.copy(other / "fixmatch_inner-000001.npz", stopped / "fixmatch_inner-3.npz")
    with pytest.warns() as caught:
        model = fit(new_model(), stopped)
    messages = [str(w.message) for w in caught]
    assert any("it is of another training" in message for message in messages)
    assert any("selected again" in message for message in messages)
    assert_same(model, uninterrupted)


def test_two_damaged_checkpoints_are_not_in_the_way(stopped, uninterrupted):
    for path in stopped.glob("fixmatch_inner-*.npz"):
        path.write_bytes(b"")
    with pytest.warns() as caught, pytest.raises(Stop):
        fit(new_model(), stopped, callbacks=stop_at("inner", 1, "on_epoch_begin"))
    assert any("goes on from the beginning" in str(w.message) for w in caught)
    (path,) = stopped.glob("fixmatch_inner-*.npz")
    assert path.name == "fixmatch_inner-000001.npz"
    assert_same(fit(new_model(), stopped), uninterrupted)


def test_damaged_trusted_set_is_selected_again(stopped, uninterrupted):
    (stopped / "trusted.npz").write_bytes(b"")
    with pytest.warns() as caught:
        model = fit(new_model(), stopped)
    assert any("selected again" in str(w.message) for w in caught)
    assert_same(model, uninterrupted)


def test_seed_that_was_drawn_is_kept(tmp_path):
    with pytest.raises(Stop):
        fit(
            new_model(seed=None),
            tmp_path,
            callbacks=stop_at("outer", 1, "on_epoch_begin"),
        )
    model = fit(new_model(seed=None), tmp_path)
    assert model.seed is None
    assert_same(model, fit(new_model(seed=model.used_seed)))


def test_files_of_callbacks_go_on(tmp_path, uninterrupted):
    log = tmp_path / "log.csv"
    stop = stop_at("inner", 1, "on_epoch_begin")["inner"]
    logger = keras.callbacks.CSVLogger(log)
    with pytest.raises(Stop):
        fit(new_model(), tmp_path / "run", callbacks={"inner": [logger, *stop]})
    logger.on_train_end()  # Closes the file, as the end of a process does.
    fit(new_model(), tmp_path / "run", callbacks=[keras.callbacks.CSVLogger(log)])
    epochs = [line.split(",")[0] for line in log.read_text().splitlines()[1:]]
    assert epochs == ["0", "1", "2", "3"]


def test_early_stop_is_remembered(tmp_path):
    stopping = keras.callbacks.EarlyStopping(
        "val_accuracy", patience=0, min_delta=2, mode="max"
    )
    first = fit(new_model(), tmp_path, callbacks=[stopping])
    assert [len(first.history[s]["loss"]) for s in ("outer", "inner")] == [2, 2]
    assert_same(fit(new_model(), tmp_path), first)


# What is refused


@pytest.mark.parametrize(
    ("settings", "options", "named"),
    [
        ({"tau": 0.9}, {}, r"other tau \(0.95 there, 0.9 here\)"),
        ({"seed": 1}, {}, r"seed \(0 there, 1 here\)"),
        ({"optimizer": keras.optimizers.SGD(0.1)}, {}, "optimizer"),
        ({"inner_init": "fresh"}, {}, "inner_init"),
        ({"pretrained": True, "pixels": "tf"}, {}, r"pixels \(None there, 'tf' here\)"),
        ({}, {"epochs": 5}, r"epochs \(4 there, 5 here\)"),
        ({}, {"labeled": squares(12, 9)}, "pixels of labeled"),
        ({}, {"labeled": (LABELED[0], LABELED[1][::-1])}, "labels of labeled"),
        ({}, {"labeled": squares(15, 0)}, r"number of labeled \(12 there, 15 here\)"),
        ({}, {"validation_data": None}, r"number of validation_data \(9 there, None"),
    ],
)
def test_another_training_is_refused_and_nothing_is_lost(
    stopped, settings, options, named
):
    before = {path: path.read_bytes() for path in stopped.rglob("*.*")}
    with pytest.raises(ValueError, match=named):
        fit(new_model(**settings), stopped, **options)
    assert {path: path.read_bytes() for path in stopped.rglob("*.*")} == before


def test_something_else_is_refused(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="`run_dir`.*holds something else"):
        fit(new_model(), tmp_path)
    with pytest.raises(ValueError, match="`run_dir`.*holds something else"):
        fit(new_model(), tmp_path / "photo.jpg")


def test_changed_identity_is_refused(stopped):
    known = stopped / "identity.json"
    known.write_text(known.read_text().replace('"seed": 0', '"seed": 3', 1))
    with pytest.raises(ValueError, match=r"identity\.json.*changed or damaged"):
        fit(new_model(), stopped)


@pytest.mark.parametrize("content", ["", "{}", '{"format": 3}', "[]", "\x00"])
def test_identity_that_cannot_be_read(tmp_path, content):
    (tmp_path / "identity.json").write_text(content)
    with pytest.raises(ValueError, match="which it cannot read"):
        fit(new_model(), tmp_path)


def test_state_of_another_seed_is_refused(stopped):
    known = stopped / "identity.json"
    identity = unsealed(json.loads(known.read_text()), known.name)
    known.write_text(json.dumps(sealed({**identity, "seed": 7}, known.name)))
    with pytest.raises(ValueError, match=r"with other seed \(7 there, 0 here\)"):
        fit(new_model(), stopped)


def test_second_process_is_refused(stopped):
    # Locks of this kind are of the opened file, so this one stands for another process.
    with (
        held(stopped),
        pytest.raises(RuntimeError, match="Another process is writing to"),
    ):
        fit(new_model(), stopped)


def test_remains_of_a_kill_while_writing_are_removed(stopped, uninterrupted):
    unfinished = stopped / ".unfinished-abc"
    unfinished.mkdir()
    shutil.copy(stopped / "identity.json", unfinished)
    assert_same(fit(new_model(), stopped), uninterrupted)
    assert not unfinished.exists()


def test_kill_before_the_identity_was_written(tmp_path, uninterrupted):
    (tmp_path / ".unfinished-abc").mkdir(parents=True)
    assert_same(fit(new_model(), tmp_path), uninterrupted)


def test_identity_tells_arguments_apart_and_is_alike_in_every_process():
    def dense(activation):
        return keras.Sequential(
            [
                keras.layers.Input((4,)),
                keras.layers.Dense(2, activation, kernel_initializer="ones"),
            ]
        )

    def build(input_shape, width):
        """Any backbone."""

    class Undescribed(keras.optimizers.schedules.LearningRateSchedule):
        """Without a configuration."""

        def __init__(self, rate):
            self.rate = rate

        def __call__(self, step):
            return self.rate

    class Noise(keras.layers.Layer):
        """An argument of which Keras makes no configuration."""

        def __init__(self, levels):
            super().__init__()
            self.levels = levels

    alike = [
        lambda: dense("relu"),
        lambda: KMeans(3, random_state=np.random.RandomState(0)),
        lambda: KMeans(3, init=np.zeros((3, 200))),
        lambda: keras.layers.RandomFlip(seed=1),
        lambda: keras.optimizers.Adam(0.1),
        lambda: keras.optimizers.SGD(Undescribed(0.1)),
        lambda: keras.optimizers.SGD(lambda: 0.1, momentum=0.9),
        lambda: Noise(np.zeros(3)),
        lambda: keras.layers.Lambda(eval("lambda x: x", {})),
        lambda: keras.layers.Lambda(eval("lambda x: [x - 1]", {})),
        lambda: functools.partial(build, width=2),
        lambda: np.int64(3),
    ]
    unlike = [
        lambda: dense("gelu"),
        lambda: KMeans(3, random_state=np.random.RandomState(1)),
        lambda: KMeans(3, init=np.ones((3, 200))),
        lambda: keras.layers.RandomFlip("vertical", seed=1),
        lambda: keras.optimizers.Adam(0.2),
        lambda: keras.optimizers.SGD(Undescribed(0.2)),
        lambda: keras.optimizers.SGD(lambda: 0.1, momentum=0.8),
        lambda: Noise(np.ones(3)),
        lambda: keras.layers.Lambda(keras.ops.abs),
        lambda: keras.layers.Lambda(eval("lambda x: [x - 2]", {})),
        lambda: functools.partial(build, width=3),
        lambda: np.int64(4),
    ]
    for one, other in zip(alike, unlike, strict=True):
        first, second = describe(one()), describe(one())
        assert json.dumps(first) == json.dumps(second)
        assert " at 0x" not in json.dumps(first)
        assert json.dumps(first) != json.dumps(describe(other()))
    half = keras.layers.Dense(2, dtype="mixed_float16")
    assert describe(half) != describe(keras.layers.Dense(2, dtype="float32"))


def test_identity_says_nothing_of_this_machine(tmp_path):
    fit(new_model(), tmp_path, epochs=1, outer_epochs=1)
    identity = json.loads((tmp_path / "identity.json").read_text())
    assert str(tmp_path) not in json.dumps(identity)
    with run_state.opened(tmp_path, identity["identity"], 0) as state:
        assert not state.is_new
