"""What a training says that diverges, collapses or learns nothing."""

import json
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from kdfixmatch_keras import FixMatch, KDFixMatch, backbones, baselines
from kdfixmatch_keras.sources import ArraySource, LabeledImages
from kdfixmatch_keras.targets.top_class_share import TopClassShare
from kdfixmatch_keras.training.watch import (
    TrainingDiverged,
    TrainingWatch,
    swallowing_limit,
)
from tests.untraced import untraced

COLORS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])
LABELS = np.arange(12) % 3
PIXELS = np.broadcast_to(COLORS[LABELS][:, None, None], (12, 8, 8, 3))
LABELED = (PIXELS.astype("uint8"), LABELS)
UNLABELED = np.random.default_rng(0).integers(0, 255, (40, 8, 8, 3), np.uint8)

weak_trusted_set = pytest.mark.filterwarnings("ignore:.*trusted:UserWarning")


def dense(input_shape):
    return keras.Sequential([keras.layers.Input(input_shape), keras.layers.Flatten()])


def new_model(method=KDFixMatch, **changes):
    settings = {
        "backbone": dense,
        "embedding_dim": 4,
        "weak_augmentation": "none",
        "strong_augmentation": keras.layers.Identity(),
        "optimizer": keras.optimizers.SGD(0.001),
        "batch_size": 6,
        "unlabeled_ratio": 2,
        "seed": 0,
        **changes,
    }
    if method is KDFixMatch:
        settings = {"clustering": None, "tau_select": 0.0, **settings}
    return method(**settings)


def fit(model, **options):
    options = {"epochs": 2, "steps_per_epoch": 3, "verbose": 0, **options}
    with untraced():
        return model.fit(LABELED, UNLABELED, **options)


@keras.saving.register_keras_serializable(package="test_training_watch")
class Exploding(keras.optimizers.schedules.LearningRateSchedule):
    """A small rate for some steps, then another."""

    def __init__(self, after, rate):
        self.after, self.rate = after, rate

    def __call__(self, step):
        return ops.where(step < self.after, 0.001, self.rate)

    def get_config(self):
        return {"after": self.after, "rate": self.rate}


def messages(caught, word):
    return [text for w in caught if word in (text := str(w.message))]


# Divergence


def test_a_loss_that_is_no_number_stops_with_step_and_cause(tmp_path):
    # The fifth step's rate; the sixth step is the first to see what it did.
    optimizer = keras.optimizers.SGD(Exploding(4, 1e30))
    model = new_model(baselines.FixMatch, optimizer=optimizer)
    with pytest.raises(TrainingDiverged) as caught:
        fit(model, epochs=3, run_dir=tmp_path)
    message = str(caught.value)
    assert "The loss of the outer network became" in message
    assert "in step 6 (step 3 of epoch 2)" in message
    assert "the learning rate, 1e+30 in this step, is too high" in message
    assert "`optimizer` with a smaller one" in message
    # What had been good is there still, and what became of it can be looked at.
    assert [path.name for path in sorted(tmp_path.glob("*.npz"))] == [
        "fixmatch_outer-000001.npz",
        "fixmatch_outer-diverged.npz",
    ]
    assert str(tmp_path / "fixmatch_outer-diverged.npz") in message
    with np.load(tmp_path / "fixmatch_outer-diverged.npz") as archive:
        facts = json.loads(archive["facts"].tobytes())
        arrays = [archive[f"variable_{n}"] for n in range(len(facts["paths"]))]
    assert "became" in facts["diverged"]
    assert len(arrays) == facts["variables"]
    assert not all(np.isfinite(array).all() for array in arrays)
    # Started again, it goes on from the epoch before and comes to the same end.
    with pytest.raises(TrainingDiverged, match=r"in step 6 \(step 3 of epoch 2\)"):
        fit(model, epochs=3, run_dir=tmp_path)


def test_weights_are_looked_at_before_they_are_kept(tmp_path):
    # The rate of the last step of the epoch, whose loss was still finite.
    optimizer = keras.optimizers.SGD(Exploding(2, np.inf))
    model = new_model(baselines.FixMatch, optimizer=optimizer)
    with pytest.raises(TrainingDiverged) as caught:
        fit(model, run_dir=tmp_path)
    assert "A weight of the outer network is NaN or infinite in epoch 1" in str(
        caught.value
    )
    assert not list(tmp_path.glob("*-0*.npz"))
    assert caught.value.network.name == "fixmatch_outer"


def test_a_teacher_that_a_callback_damaged_is_told_at_the_end():
    class Damaging(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kernel = self.model.teacher.weights[0]
            kernel.assign(kernel * np.nan)

    with pytest.raises(TrainingDiverged) as caught:
        fit(new_model(baselines.FixMatch), epochs=1, callbacks=[Damaging()])
    assert "A weight of the outer network is NaN or infinite after epoch 1" in str(
        caught.value
    )


def test_damaged_weights_are_told_before_the_first_step():
    def damaged(input_shape):
        model = keras.Sequential([dense(input_shape), keras.layers.Dense(4)])
        model.layers[-1].set_weights([np.full((192, 4), np.nan), np.zeros(4)])
        return model

    with pytest.raises(TrainingDiverged) as caught:
        fit(new_model(baselines.Supervised, backbone=damaged))
    assert "before its first step" in str(caught.value)
    assert "The weights that it starts from are damaged" in str(caught.value)


@keras.saving.register_keras_serializable(package="test_training_watch")
class Undefined(keras.losses.Loss):
    """0 / 0 for every image."""

    def call(self, y_true, y_pred):
        return ops.sum(y_pred, axis=-1) * np.nan


@weak_trusted_set
def test_a_loss_of_the_users_own_is_named():
    model = new_model(unlabeled_loss=Undefined())
    with pytest.raises(TrainingDiverged) as caught:
        fit(model)
    message = str(caught.value)
    assert "The loss of the inner network became nan in step 1" in message
    assert "look at `unlabeled_loss`, Undefined here" in message
    # What was done is not lost.
    assert model.outer is not None
    assert model.trusted_set is not None


def test_half_precision_is_named_as_a_cause():
    optimizer = keras.optimizers.SGD(1e30)
    model = new_model(baselines.Supervised, optimizer=optimizer, mixed_precision=True)
    with pytest.raises(TrainingDiverged, match="train with mixed_precision=False"):
        fit(model)


# Nothing learned


@weak_trusted_set
def test_no_targets_for_an_epoch_is_told_once_a_stage():
    model = new_model(
        tau=1.0, tau_inner=1.0, inner_threshold="fixed", trusted_until=0.0
    )
    with pytest.warns() as caught:
        fit(model, epochs=3, outer_epochs=3)
    outer, inner = messages(caught, "no unlabeled image had a target")
    assert outer.startswith("In epoch 2 ")
    assert "the outer network was never confident enough" in outer
    assert (
        'Lower `tau`, train longer, or let the threshold adapt: `threshold="' in outer
    )
    assert "Lower `tau_inner`" in inner
    assert '`inner_threshold="flexmatch"`' in inner


@weak_trusted_set
def test_labels_no_better_than_chance_are_not_trusted_silently():
    # A rate of 0 learns nothing, and all images alike cannot be told apart.
    model = new_model(optimizer=keras.optimizers.SGD(0.0))
    same = np.full((12, 8, 8, 3), 100, "uint8")
    with pytest.warns() as caught:
        model.fit((same, LABELS), UNLABELED, epochs=1, steps_per_epoch=2, verbose=0)
    outer, inner = messages(caught, "At its end")
    assert outer.startswith(
        "At its end the outer network has 33% of the labeled images"
    )
    assert "no label that it gives can be trusted" in outer
    assert "the inner network" in inner


def test_signs_of_the_last_epoch_are_told_when_a_callback_ends_the_training():
    stopping = keras.callbacks.EarlyStopping("loss", patience=0, min_delta=9)
    model = new_model(baselines.FixMatch, tau=1.0, optimizer=keras.optimizers.SGD(0.0))
    with pytest.warns() as caught:
        fit(model, epochs=30, callbacks=[stopping])
    assert len(model.history["loss"]) < 5
    assert messages(caught, "At its end")
    assert messages(caught, "no unlabeled image had a target")


def test_a_disk_that_is_full_does_not_hide_what_happened():
    def keep(network, facts):
        raise OSError(28, "Cannot write it: no space left on device.")

    watch = watch_of(keep=keep)
    watch.set_params({"steps": 3})
    with pytest.raises(TrainingDiverged) as caught:
        watch.on_train_batch_end(1, {"loss": np.nan})
    assert "became nan in step 2" in str(caught.value)
    assert "could not be kept ([Errno 28] Cannot write it" in str(caught.value)


# Of how Keras reads a tensor of PyTorch, which `pytest.warns` would tell once more.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_who_has_a_threshold_that_adapts_is_not_told_to_take_one():
    watch = watch_of(threshold="flexmatch")
    with pytest.warns(UserWarning, match="Lower `tau`, or train longer.$"):
        watch.on_epoch_begin(1)
        watch.on_epoch_end(1, logs_of(mask_rate=0.0))


def watch_of(name="outer", keep=None, threshold="fixed"):
    student = backbones.build_network(dense, (8, 8, 3), 3, embedding_dim=4, seed=0)
    network = FixMatch(
        student, name=f"fixmatch_{name}", threshold=threshold, num_unlabeled=40
    )
    network.compile("sgd")
    labeled = LabeledImages(
        ArraySource(LABELED[0]), LABELS.astype("int32"), list("abc")
    )
    return TrainingWatch(network, labeled, keep)


def logs_of(**changes):
    return {"loss": 1.0, "accuracy": 1.0, "mask_rate": 0.5, **changes}


def end_epochs(watch, *logs, first=0):
    for epoch, of_epoch in enumerate(logs, first):
        watch.on_epoch_begin(epoch)
        watch.on_epoch_end(epoch, of_epoch)


def test_one_class_for_most_targets_is_told():
    watch = watch_of()
    collapsed = logs_of(top_class_share=0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        # What is easy comes first.
        end_epochs(watch, collapsed, logs_of(top_class_share=0.4), collapsed)
    with pytest.warns() as caught:
        end_epochs(watch, collapsed, collapsed, first=3)
    (told,) = messages(caught, "named one class")
    assert told.startswith(
        "In epoch 4 90% of the targets of unlabeled images named one"
    )
    assert "33% are of the most frequent class" in told
    assert "`distribution_alignment=True`" in told


def test_a_collapse_in_the_last_epoch_is_told():
    watch = watch_of("inner")
    with pytest.warns() as caught:
        watch.on_epoch_end(0, logs_of(top_class_share=0.9))
        watch.on_train_end()
    assert messages(caught, "The inner network may take other classes")


def test_a_frequent_class_is_no_collapse():
    assert swallowing_limit(0.6) > 0.75
    assert swallowing_limit(0.1) == pytest.approx(0.3)
    assert swallowing_limit(0.001) == pytest.approx(0.101)


@pytest.mark.parametrize("method", [baselines.FixMatch, baselines.Supervised])
def test_a_training_that_learns_says_nothing(method):
    unlabeled = LABELED[0].repeat(4, axis=0) + np.arange(48, dtype="uint8").reshape(
        -1, 1, 1, 1
    )
    model = new_model(method, tau=0.5, optimizer=keras.optimizers.Adam(0.01))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        history = model.fit(LABELED, unlabeled, epochs=4, steps_per_epoch=20, verbose=0)
    assert history["accuracy"][-1] > 0.9


def test_share_of_the_top_class_by_hand():
    metric = TopClassShare(3)
    assert float(metric.result()) == 0.0
    metric.update_state([0, 1, 1, 2])
    metric.update_state([0, 2], sample_weight=[0.0, 0.5])
    assert float(metric.result()) == pytest.approx(2 / 4.5)
    metric.reset_state()
    metric.update_state([2])
    assert float(metric.result()) == 1.0
