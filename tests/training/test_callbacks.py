"""Keras's callbacks work, or are refused before a training."""

import keras
import numpy as np
import pytest

from kdfixmatch_keras import KDFixMatch, baselines
from kdfixmatch_keras.training.callbacks import check_use, for_stage
from kdfixmatch_keras.training.plan import Plan
from tests.bad_inputs import IMAGES, LABELS, SETTINGS
from tests.untraced import untraced

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")

ALL = KDFixMatch.measured
EARLY, SAVING = keras.callbacks.EarlyStopping, keras.callbacks.ModelCheckpoint
PLATEAU = keras.callbacks.ReduceLROnPlateau


class Measuring(keras.callbacks.Callback):
    """Adds to what is measured."""

    def on_epoch_end(self, epoch, logs=None):
        logs["f1"] = 0.5


def rate(epoch, rate):
    return 0.1


@pytest.mark.parametrize(
    "callback, words",
    [
        (PLATEAU(), "Received: ReduceLROnPlateau. Pass an `optimizer` with a number"),
        (
            keras.callbacks.LearningRateScheduler(rate),
            "Received: LearningRateScheduler. Pass an `optimizer` with a number: keras",
        ),
        (EARLY(), "EarlyStopping(monitor='val_loss'). Pass validation_data, or"),
        (EARLY("val_accuracy"), "Pass validation_data, or monitor='loss'"),
        (EARLY("acc"), "Monitor one of accuracy, loss, mask_rate, supervised_loss,"),
        (EARLY("mask_rate"), "EarlyStopping(monitor='mask_rate'). Pass mode='max' or"),
        (SAVING("a.keras", save_best_only=True), "ModelCheckpoint(monitor='val_loss')"),
        (SAVING("a-{val_loss:.2f}.keras"), "and no 'val_loss'. There is epoch, acc"),
        (keras.callbacks.BackupAndRestore("backup"), "Pass run_dir=<folder>"),
        (keras.callbacks.SwapEMAWeights(), "Pass an `optimizer` with use_ema=True"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.parametrize("as_stage", [False, True])
def test_what_would_fail_or_do_nothing_is_refused(callback, words, as_stage):
    callbacks = {"inner": [callback]} if as_stage else [callback]
    with pytest.raises(ValueError, match="`callbacks` must .* Received: ") as caught:
        check_use(callbacks, None, ALL, has_validation=False)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.Adam(lambda: 0.1),
        keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 9)),
    ],
    ids=["function", "schedule"],
)
def test_a_rate_that_is_no_number_cannot_be_set(optimizer):
    with pytest.raises(ValueError, match="must not set the learning rate where it"):
        check_use([PLATEAU("loss")], optimizer, ALL, has_validation=False)


@pytest.mark.parametrize(
    "callbacks",
    [
        [PLATEAU("loss"), keras.callbacks.LearningRateScheduler(rate)],
        [EARLY("loss"), EARLY("accuracy"), EARLY("mask_rate", mode="max")],
        # It saves each epoch, whatever it does not find.
        [SAVING("{epoch}-{loss:.2f}.keras")],
        # What another may measure.
        [Measuring(), EARLY("f1", mode="max"), SAVING("{epoch}-{f1:.2f}.keras")],
        [PLATEAU("loss"), SAVING("{epoch}-{learning_rate:.1e}.keras")],
        [keras.callbacks.CSVLogger("a.csv"), keras.callbacks.TerminateOnNaN()],
    ],
    ids=lambda callbacks: "-".join(type(callback).__name__ for callback in callbacks),
)
def test_what_works_is_taken(callbacks):
    check_use(callbacks, "adam", ALL, has_validation=False)


def test_with_validation_data_more_is_measured():
    for monitor in ("val_loss", "val_accuracy"):
        check_use([EARLY(monitor)], None, ALL, has_validation=True)
    averaging = keras.optimizers.Adam(use_ema=True)
    swap = [keras.callbacks.SwapEMAWeights()]
    check_use(swap, averaging, ALL, has_validation=True)


@pytest.mark.parametrize("stage", [None, "inner"])
@pytest.mark.parametrize(
    "monitor, mode", [("val_accuracy", "max"), ("supervised_loss", "min")]
)
def test_what_is_better_is_known_for_as_long_as_a_training(stage, monitor, mode):
    callback = EARLY(monitor)
    with for_stage([callback], stage, append=False):
        assert callback.mode == mode
    assert callback.mode == "auto"


def trained(callbacks, **changes):
    """The history of a training of four epochs on the labels alone."""
    names = ("backbone", "weights", "embedding_dim", "batch_size")
    settings = {name: SETTINGS[name] for name in names}
    model = baselines.Supervised(**settings, **changes)
    length = {"epochs": 4, "steps_per_epoch": 1, "verbose": 0}
    with untraced():
        return model.fit(
            *((IMAGES, LABELS), IMAGES, (IMAGES[:, ::-1], LABELS)),
            **{"callbacks": callbacks, **length},
        )


def test_early_stopping_watches_the_accuracy():
    # By so much it cannot rise.
    history = trained([EARLY("val_accuracy", patience=1, min_delta=2)])
    assert len(history["loss"]) == 2


def test_a_rate_that_is_a_number_is_set():
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / 2**epoch)
    history = trained([scheduler], optimizer=keras.optimizers.SGD(1.0))
    rates = [0.1, 0.05, 0.025, 0.0125]
    np.testing.assert_allclose(history["learning_rate"], rates, rtol=1e-6)


def test_a_history_is_that_of_the_last_network():
    recorded = keras.callbacks.History()
    for _ in range(2):
        history = trained([recorded])
        assert recorded.history == history
        assert len(history["loss"]) == 4


@pytest.mark.parametrize("kind", [baselines.Supervised, baselines.SelfTraining])
def test_of_labels_alone_less_is_measured(kind):
    model = kind("small_cnn", weights=None)
    with pytest.raises(ValueError, match="Monitor one of accuracy, loss, supervised_l"):
        model.fit(None, None, callbacks=[EARLY("unlabeled_loss", mode="min")])


@pytest.mark.parametrize("kind", [baselines.LinearProbe, baselines.LabelSpreading])
def test_methods_that_train_no_network_call_none(kind):
    kind("small_cnn", weights=None).check_training(Plan(callbacks=[EARLY()]), None)
