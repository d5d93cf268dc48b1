"""How much training fits into a time, and that a run keeps what it came to."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdfixmatch_keras import KDFixMatch
from kdfixmatch_keras.training import timing
from kdfixmatch_keras.training.timing import Costs, Length, NetworkCosts

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(missing from|trusted samples):UserWarning"
)

RNG = np.random.default_rng(0)
LABELED = (RNG.integers(0, 256, (8, 8, 8, 3), np.uint8), np.arange(8) % 2)
UNLABELED = RNG.integers(0, 256, (30, 8, 8, 3), np.uint8)
# Seconds of start, step, labeled step, start of a prediction, and predicting an
# image; pixels of an image.
NETWORK = NetworkCosts(1.0, 0.5, 0.1, 0.2, 0.01, 64)
COSTS = Costs(NETWORK, NETWORK, clustering=2.0)


def new_model(**changes):
    arguments = {
        "backbone": "small_cnn",
        "embedding_dim": 4,
        "clustering": "kmeans",
        "tau_select": 0.0,
        "batch_size": 4,
        "unlabeled_ratio": 2,
        "strong_augmentation": keras.layers.Identity(),
        "weak_augmentation": "none",
        "optimizer": "sgd",
        "seed": 0,
        **changes,
    }
    return KDFixMatch(**arguments)


@pytest.fixture(scope="module")
def data():
    images, labels = LABELED
    return new_model().load_data(LABELED, UNLABELED, (255 - images, labels))


def test_a_training_costs_the_sum_of_its_parts(data):
    found = COSTS.seconds(Length(4, 2, 10), data)
    training = 2 * 1.0 + (4 + 2) * 10 * 0.5
    evaluating = 2 * 0.2 + (4 + 2) * 8 * 0.01
    labeling = 0.2 + 30 * 0.01
    assert found == pytest.approx(training + evaluating + labeling + 2.0)
    more = COSTS.seconds(Length(4, 2, 10), data, supervised=True)
    assert more - found == pytest.approx(1.0 + 4 * 10 * 0.1 + 0.2 + 4 * 8 * 0.01)
    # Without an outer network, which was trained before.
    less = COSTS.seconds(Length(4, 0, 10), data)
    assert found - less == pytest.approx(1.0 + 2 * 10 * 0.5 + 0.2 + 2 * 8 * 0.01)


@settings(max_examples=200, deadline=None)
@given(
    minutes=st.floats(1, 600),
    step=st.floats(0.001, 0.5),
    prediction=st.floats(1e-5, 0.1),
    supervised=st.booleans(),
    with_outer=st.booleans(),
)
def test_what_is_planned_fits_and_uses_the_time(
    data, minutes, step, prediction, supervised, with_outer
):
    outer = NetworkCosts(1.0, 2 * step, step / 3, 0.5, 2 * prediction, 64)
    inner = NetworkCosts(1.0, step, step / 5, 0.5, prediction, 64)
    costs = Costs(outer, inner, 1.0)
    options = {"supervised": supervised, "outer": with_outer}
    length = costs.length_within(minutes, data, **options)
    seconds = costs.seconds(length, data, supervised=supervised)
    assert 0.85 < seconds / (60 * minutes) < 1 + 1e-9
    assert length.outer_epochs == (length.epochs // 2 if with_outer else 0)


def test_where_evaluating_is_dear_there_are_few_epochs(data):
    cheap = COSTS.length_within(10, data)
    assert cheap.epochs == timing.EPOCHS
    dear = replace(NETWORK, prediction=2.0)
    assert Costs(dear, dear, 2.0).length_within(10, data).epochs == 2


def test_too_little_time_is_refused_with_what_is_needed(data):
    with pytest.raises(ValueError, match="`minutes` must be at least 0.11 .*=0.05"):
        COSTS.length_within(0.05, data)


@pytest.fixture(scope="module")
def given_outer():
    model = new_model()
    model.fit(LABELED, UNLABELED, epochs=1, steps_per_epoch=1, verbose=0)
    return model.outer


def test_with_a_given_outer_network_a_run_goes_on_too(
    given_outer, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(timing, "measure", lambda model, data, **options: COSTS)
    options = {"minutes": 0.21, "outer": given_outer, "run_dir": tmp_path / "run"}
    history = new_model().fit(LABELED, UNLABELED, **options)
    assert "outer_epochs" not in capsys.readouterr().out
    again = new_model().fit(LABELED, UNLABELED, **{**options, "minutes": 3})
    assert again == history
    assert "Going on with the plan that it began with" in capsys.readouterr().out


def test_measuring_leaves_a_clustering_of_ones_own_alone(data):
    class Counting:
        calls = 0

        def fit_predict(self, embeddings):
            self.calls += 1
            return np.zeros(len(embeddings), int)

    model = new_model(clustering=Counting())
    timing.measure(model, data)
    assert model.clustering.calls == 0


def test_parts_are_measured(data):
    costs = timing.measure(new_model(), data, supervised=True)
    network = costs.outer
    assert network == costs.inner
    assert network.step > 0 and network.labeled_step > 0
    assert network.prediction > 0 and costs.clustering > 0
    assert network.start >= 0
    assert network.pixels == 64


def test_minutes_come_to_steps_which_a_run_keeps(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(timing, "measure", lambda model, data, **options: COSTS)
    model, again, same = (new_model() for _ in range(3))
    options = {"run_dir": tmp_path / "run", "verbose": 0}
    history = model.fit(LABELED, UNLABELED, minutes=0.21, **{**options, "verbose": 2})
    said = capsys.readouterr().out
    assert len(history["inner"]["loss"]) == 2 and len(history["outer"]["loss"]) == 1
    assert "epochs=2, outer_epochs=1, steps_per_epoch=5" in said

    # On a machine that is twice as slow, and by the numbers that were said.
    slow = replace(COSTS, outer=replace(NETWORK, step=1.0))
    monkeypatch.setattr(timing, "measure", lambda model, data, **options: slow)
    assert again.fit(LABELED, UNLABELED, minutes=0.21, **options) == history
    said_length = {"epochs": 2, "outer_epochs": 1, "steps_per_epoch": 5}
    assert same.fit(LABELED, UNLABELED, **said_length, verbose=0) == history
    for own, other in zip(
        model.inner.get_weights(), same.inner.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(own, other)
