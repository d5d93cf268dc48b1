"""The methods KD-FixMatch is compared with, on images of three colours."""

import contextlib
import copy
import dataclasses
import random

import keras
import numpy as np
import pytest

from kdfixmatch_keras import KDFixMatch
from kdfixmatch_keras.baselines import (
    FixMatch,
    MeanTeacher,
    MeanTeacherNetwork,
    NoisyStudent,
    NoisyStudentNetwork,
    PseudoLabelNetwork,
    SelfTraining,
    Supervised,
)
from kdfixmatch_keras.baselines.noisy_student import balanced_rows
from kdfixmatch_keras.sources import SubsetSource
from kdfixmatch_keras.training.batches import passes_per_batch
from kdfixmatch_keras.training.plan import Plan
from kdfixmatch_keras.training.watch import TrainingDiverged
from tests.untraced import untraced

METHODS = [Supervised, SelfTraining, NoisyStudent, MeanTeacher, FixMatch]
FIRST_DECAY = 2 / 11  # of the teacher's average, in its first step
few_labels = pytest.mark.filterwarnings("ignore:No pseudo-label:UserWarning")


@pytest.fixture
def new_model(tiny_backbone):
    """A builder of classifiers that train in a second."""

    def build(kind, **changes):
        settings = {
            "backbone": tiny_backbone,
            "embedding_dim": 8,
            "weak_augmentation": "none",
            "strong_augmentation": keras.layers.Identity(),
            "batch_size": 6,
            "unlabeled_ratio": 2,
            "optimizer": keras.optimizers.Adam(0.02),
            "seed": 0,
        }
        return kind(**{**settings, **changes})

    return build


@pytest.fixture
def fit(tiny_images):
    """Trains on six labeled images and on the 24, the labeled among them."""

    def fit_model(model, traced=False, **changes):
        images, labels = tiny_images
        options = {"epochs": 1, "steps_per_epoch": 2, "verbose": 0, **changes}
        with contextlib.nullcontext() if traced else untraced():
            return model.fit((images[:6], labels[:6]), images, **options)

    return fit_model


@pytest.fixture
def batch(tiny_images):
    """A training batch of 4 labeled and 8 pseudo-labeled images, and its labels."""
    images, labels = tiny_images
    x = {
        "labeled": images[:4],
        "unlabeled": images[4:12],
        "trusted": labels[4:12],
        "unlabeled_index": np.arange(8, dtype="int32"),
    }
    return x, labels[:4]


@pytest.fixture
def new_network(tiny_student):
    """A builder of networks for `batch`, whose views are the images themselves."""

    def build(kind, **changes):
        settings = {
            "weak_augmentation": "none",
            "strong_augmentation": keras.layers.Identity(),
            "seed": 0,
        }
        return kind(tiny_student(), **{**settings, **changes})

    return build


@keras.saving.register_keras_serializable(package="test_baselines")
class Inverted(keras.layers.Layer):
    def call(self, images):
        return 255 - images


class Flickering(keras.layers.Layer):
    """Adds another brightness each time it is called, training or not."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.draws = keras.random.SeedGenerator(0)

    def call(self, images):
        offset = keras.random.randint((), 0, 30, seed=self.draws)
        return images // 2 + keras.ops.cast(offset, images.dtype)


def recording(kind):
    """A subclass of a method that keeps what each of its networks is trained on."""

    class Recording(kind):
        @contextlib.contextmanager
        def training(self, *arguments, **options):
            self.stages, self.starts = [], []
            with super().training(*arguments, **options) as session:
                session.fit = self.recorded(session)
                yield session

        def recorded(self, session):
            fit = session.fit

            def recorded_fit(network, epochs, rows=None, **options):
                data = session.data
                if rows is not None:
                    unlabeled = SubsetSource(data.unlabeled, rows)
                    data = dataclasses.replace(data, unlabeled=unlabeled)
                self.stages.append((network, data, options))
                self.starts.append(weights_of(network.student))
                return fit(network, epochs, rows=rows, **options)

            return recorded_fit

    return Recording


def weights_of(network):
    return [np.array(weight) for weight in network.get_weights()]


def equal_weights(first, second):
    return all(
        np.array_equal(one, other) for one, other in zip(first, second, strict=True)
    )


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def cross_entropy(labels, logits):
    return -np.log(softmax(logits)[np.arange(len(labels)), labels]).mean()


def arrays(tensors):
    """A tensor, or a structure of them, as NumPy has it."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, tensors)


def penalties(network):
    return float(sum(arrays(network.student.losses)))


# All methods


@few_labels
@pytest.mark.parametrize("kind", METHODS)
def test_learns_and_a_seed_fixes_everything(kind, new_model, fit, tiny_images):
    images, labels = tiny_images
    runs = []
    for global_seed in (1, 2):
        random.seed(global_seed)
        keras.utils.set_random_seed(global_seed)
        model = new_model(kind)
        found = fit(model, traced=True, epochs=2, steps_per_epoch=12)
        assert found is model.history
        runs.append(model)
    first, second = runs
    assert first.history == second.history
    assert equal_weights(weights_of(first.network), weights_of(second.network))

    stages = first.history
    for history in stages.values() if "loss" not in stages else [stages]:
        assert history["loss"][1] < history["loss"][0]
        assert history["supervised_loss"][1] < history["supervised_loss"][0]
    result = first.evaluate(images, labels)
    assert result["accuracy"] > 0.8
    probabilities = first.predict(images)
    assert probabilities.shape == (24, 3)
    np.testing.assert_allclose(
        first.network.predict(images, verbose=0), probabilities, atol=1e-6
    )
    assert first.class_names == ["0", "1", "2"]


class Interrupted(keras.callbacks.Callback):
    """Ends the last of the trainings of a method."""

    def __init__(self, trainings):
        super().__init__()
        self.left = trainings

    def on_epoch_end(self, epoch, logs=None):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", METHODS)
def test_a_model_stays_until_the_next_is_trained(kind, new_model, fit, tiny_images):
    images, labels = tiny_images
    model = new_model(kind, tau=0.0)
    fit(model)
    before, probabilities = vars(model).copy(), model.predict(images)
    history = copy.deepcopy(model.history)
    trainings = len(getattr(model, "networks", [0]))
    with pytest.raises(KeyboardInterrupt):
        fit(model, callbacks=[Interrupted(trainings)])
    assert vars(model) == before
    assert model.history == history
    np.testing.assert_array_equal(model.predict(images), probabilities)


@pytest.mark.parametrize("kind", METHODS)
def test_metrics_cost_and_callbacks_of_each_network(kind, new_model, fit, tiny_images):
    epochs_seen = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: epochs_seen.append(epoch)
    )
    model = new_model(kind, tau=0.0)
    model.image_passes = 7
    # Without steps, an epoch is one pass over the 24 images, however many are used.
    fit(
        model,
        epochs=2,
        steps_per_epoch=None,
        validation_data=(255 - tiny_images[0], tiny_images[1]),
        callbacks=[callback],
    )
    alone = {"loss", "accuracy", "supervised_loss", "val_loss", "val_accuracy"}
    both = alone | {"unlabeled_loss"}
    metrics, passes = {
        # A student's image counts three times, for the way back.
        Supervised: (alone, 4 * 3 * 6),
        SelfTraining: (
            {"supervised": alone, "student": both},
            4 * 3 * 6 + 24 + 4 * 3 * (6 + 12),
        ),
        NoisyStudent: (
            {"supervised": alone, "student_1": both, "student_2": both},
            4 * 3 * 6 + 2 * (24 + 4 * 3 * (6 + 12)),
        ),
        MeanTeacher: (both, 4 * (3 * (6 + 12) + 12)),
        FixMatch: (
            both | {"mask_rate", "trusted_share", "top_class_share"},
            4 * (3 * (6 + 12) + 12),
        ),
    }[kind]
    networks = [model.network]
    if isinstance(metrics, dict):
        assert list(model.networks) == list(model.history) == list(metrics)
        assert model.network is model.networks[list(metrics)[-1]]
        networks = list(model.networks.values())
        assert {name: set(h) for name, h in model.history.items()} == metrics
    else:
        assert set(model.history) == metrics
    assert [int(network.num_updates) for network in networks] == [4] * len(networks)
    assert epochs_seen == [0, 1] * len(networks)
    # Those of this `fit` alone.
    assert model.image_passes == passes


@pytest.mark.parametrize("kind", METHODS)
def test_use_before_fit_is_refused(kind, new_model, tiny_images, tmp_path):
    images, labels = tiny_images
    model = new_model(kind)
    for use in (
        lambda: model.predict(images),
        lambda: model.evaluate(images, labels),
        lambda: model.export(tmp_path / "export"),
    ):
        with pytest.raises(RuntimeError, match="Call `fit` first"):
            use()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        *((kind, "tau", 1.5) for kind in METHODS),
        (NoisyStudent, "rounds", 0),
        (NoisyStudent, "tau_select", -0.1),
        (NoisyStudent, "images_per_class", 0),
        (NoisyStudent, "dropout", 1.0),
        (MeanTeacher, "consistency_weight", -1),
        (MeanTeacher, "rampup", 1.5),
        (MeanTeacher, "teacher", "shared"),
    ],
)
def test_bad_arguments_are_refused_at_once(kind, name, value, new_model):
    with pytest.raises(ValueError, match=f"`{name}` must be .*{name}={value!r}"):
        new_model(kind, **{name: value})


@pytest.mark.parametrize("kind", METHODS)
def test_bad_fit_arguments_leave_the_model_as_it_was(kind, new_model, fit, tiny_images):
    images, labels = tiny_images
    model = new_model(kind)
    for name in ("epochs", "steps_per_epoch"):
        with pytest.raises(ValueError, match=f"`{name}` must be an integer"):
            fit(model, **{name: 0})
    with pytest.raises(TypeError, match="`callbacks`"):
        fit(model, callbacks=keras.callbacks.Callback())
    with pytest.raises(ValueError, match="`validation_data`"):
        fit(model, validation_data=(images, labels + 1))
    assert model.network is None
    assert model.history == {}


@pytest.mark.filterwarnings("ignore:.*trusted:UserWarning")
def test_fixmatch_is_the_outer_network_of_kdfixmatch(new_model, fit):
    alone = new_model(FixMatch)
    fit(alone)
    both = new_model(KDFixMatch, clustering=None, tau_select=0.0)
    fit(both)
    assert alone.history == both.history["outer"]
    assert equal_weights(weights_of(alone.network), weights_of(both.outer))


# Self-training


def test_self_training_uses_the_first_networks_confident_labels(
    new_model, fit, tiny_images
):
    images, _ = tiny_images
    supervised = new_model(Supervised)
    fit(supervised, steps_per_epoch=6)
    probabilities = supervised.predict(images)
    confidence = probabilities.max(axis=1)
    # Half of the images, none of them close to the threshold.
    tau = float(np.sort(confidence)[11:13].mean())
    model = new_model(recording(SelfTraining), tau=tau)
    fit(model, steps_per_epoch=6)

    assert model.history["supervised"] == supervised.history
    chosen = np.flatnonzero(confidence >= tau)
    assert len(chosen) == 12
    np.testing.assert_array_equal(np.flatnonzero(model.pseudo_labels >= 0), chosen)
    _, data, options = model.stages[1]
    assert len(data.unlabeled) == 12
    np.testing.assert_array_equal(data.unlabeled[np.arange(12)], images[chosen])
    np.testing.assert_array_equal(
        options["trusted_labels"], probabilities[chosen].argmax(axis=1)
    )
    np.testing.assert_array_equal(
        options["trusted_labels"], model.pseudo_labels[chosen]
    )


def test_self_training_starts_the_student_afresh(new_model, fit):
    model = new_model(recording(SelfTraining), tau=0.0)
    fit(model)
    (first, data, _), _ = model.stages
    fresh = new_model(SelfTraining).new_network("student", data, model.seed)
    assert equal_weights(model.starts[1], weights_of(fresh.student))
    assert not equal_weights(model.starts[1], model.starts[0])
    assert type(model.network) is PseudoLabelNetwork
    assert model.network is not first


@pytest.mark.parametrize(
    ("kind", "threshold"), [(SelfTraining, "tau"), (NoisyStudent, "tau_select")]
)
def test_without_a_confident_label_the_student_learns_the_labels_alone(
    kind, threshold, new_model, fit
):
    model = new_model(kind, **{threshold: 1.0})
    with pytest.warns() as caught:
        fit(model)
    told = [m for w in caught if f"Lower `{threshold}`" in (m := str(w.message))]
    assert len(told) == len(model.networks) - 1
    assert f"at least {threshold}=1.0; the highest is 0." in told[0]
    assert "'fixmatch_supervised'" in told[0]
    np.testing.assert_array_equal(model.pseudo_labels, np.full(24, -1))
    assert "unlabeled_loss" not in model.history[list(model.history)[-1]]


def test_a_diverged_network_labels_nothing(new_model, fit):
    model = new_model(SelfTraining, optimizer=keras.optimizers.SGD(float("inf")))
    with pytest.raises(TrainingDiverged, match="the supervised network became nan"):
        fit(model)
    assert model.network is None


@few_labels
def test_labels_that_are_no_numbers_are_refused(new_model, fit, tiny_images):
    images, labels = tiny_images
    model = new_model(SelfTraining)
    fit(model)
    teacher = model.network.teacher
    teacher.set_weights([np.full_like(w, 3e38) for w in teacher.get_weights()])
    data = model.load_data((images[:6], labels[:6]), images)
    with (
        model.training(data, Plan(epochs=1, verbose=0)) as training,
        pytest.raises(RuntimeError, match="lower the learning rate"),
    ):
        model._pseudo_label(model.network, training, "tau")


@pytest.mark.parametrize("kind", [PseudoLabelNetwork, NoisyStudentNetwork])
def test_pseudo_label_loss_is_two_cross_entropies(kind, new_network, batch):
    x, y = batch
    network = new_network(kind, lambda_u=0.5)
    y_pred = network(x, training=False)
    loss = network.compute_loss(x, y, y_pred)
    logits = [
        network.student.predict(x[part], verbose=0) for part in ("labeled", "unlabeled")
    ]
    expected = cross_entropy(y, logits[0]) + 0.5 * cross_entropy(
        x["trusted"], logits[1]
    )
    assert float(arrays(loss)) == pytest.approx(expected + penalties(network), abs=1e-5)


def test_pseudo_labels_are_learned_without_a_teacher(new_network, batch):
    x, y = batch
    network = new_network(PseudoLabelNetwork)
    network.teacher.set_weights(
        [np.full_like(weight, np.nan) for weight in weights_of(network.teacher)]
    )
    loss = network.compute_loss(x, y, network(x, training=True))
    assert np.isfinite(arrays(loss))
    assert passes_per_batch(network, 4, 8) == 3 * 12


# Noisy Student


def slow_balanced_rows(labels, confidence, num_classes, count):
    rows = []
    for class_id in range(num_classes):
        own = [row for row in range(len(labels)) if labels[row] == class_id]
        own.sort(key=lambda row: (-confidence[row], row))
        for position in range(count):
            if own:
                rows.append(own[position % len(own)])
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_balanced_selection_matches_a_slow_reference(seed):
    rng = np.random.default_rng(seed)
    # Class 3 has no image, and confidences tie.
    labels = rng.choice([-1, 0, 1, 2, 4], 40, p=[0.2, 0.5, 0.2, 0.05, 0.05])
    confidence = rng.integers(3, 8, 40).astype("float32") / 8
    for count in (1, 3, 11):
        rows = balanced_rows(labels.astype("int32"), confidence, 5, count)
        assert rows.tolist() == slow_balanced_rows(labels, confidence, 5, count)
        assert rows.dtype == np.int64
        chosen = np.bincount(labels[rows], minlength=5)
        present = np.isin(np.arange(5), labels)
        np.testing.assert_array_equal(chosen, present * count)


def test_balanced_selection_of_nothing_is_empty():
    assert len(balanced_rows(np.full(4, -1, "int32"), np.ones(4), 3, 2)) == 0


def test_noisy_student_labels_each_round_with_the_network_before(
    new_model, fit, tiny_images
):
    images, _ = tiny_images
    model = new_model(recording(NoisyStudent), rounds=3, tau_select=0.0)
    fit(model, steps_per_epoch=4)
    stages = ["supervised", "student_1", "student_2", "student_3"]
    assert list(model.networks) == stages
    assert model.stages[0][2]["labels_only"]
    for before, (network, data, options) in zip(stages, model.stages[1:], strict=False):
        assert network is not model.networks[before]
        probabilities = model.networks[before].predict(images, verbose=0)
        labels = probabilities.argmax(axis=1)
        # 24 images over three classes.
        rows = slow_balanced_rows(labels, probabilities.max(axis=1), 3, 8)
        np.testing.assert_array_equal(options["trusted_labels"], labels[rows])
        np.testing.assert_array_equal(
            data.unlabeled[np.arange(len(rows))], images[rows]
        )
    left_out = np.setdiff1d(np.arange(24), rows)
    np.testing.assert_array_equal(model.pseudo_labels[rows], labels[rows])
    np.testing.assert_array_equal(model.pseudo_labels[left_out], -1)
    # Every student starts afresh, with weights of its own.
    same, data = new_model(NoisyStudent), model.stages[0][1]
    for position, (stage, start) in enumerate(zip(stages, model.starts, strict=True)):
        with same.training(data, Plan(epochs=1, verbose=0)) as training:
            fresh = same._noisy_network(stage, training)
        assert equal_weights(start, weights_of(fresh.student))
        for other in model.starts[position + 1 :]:
            assert not equal_weights(start, other)


def test_images_per_class_can_be_given(new_model, fit):
    model = new_model(
        recording(NoisyStudent), rounds=1, tau_select=0.0, images_per_class=5
    )
    fit(model, steps_per_epoch=6)
    labels = model.stages[1][2]["trusted_labels"]
    counts = np.bincount(labels)
    assert set(counts[counts > 0]) == {5}


def test_noise_meets_the_student_in_training_alone(new_network, batch):
    x, _ = batch
    network = new_network(NoisyStudentNetwork, dropout=0.5)
    first, second = (arrays(network(x, training=True)["labeled"]) for _ in range(2))
    assert not np.allclose(first, second)
    first, second = (arrays(network(x, training=False)["labeled"]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    first, second = (arrays(network(x["labeled"], training=False)) for _ in range(2))
    np.testing.assert_array_equal(first, second)

    quiet = new_network(NoisyStudentNetwork, dropout=0.0)
    plain = new_network(PseudoLabelNetwork)
    np.testing.assert_allclose(
        arrays(quiet(x, training=True)["labeled"]),
        arrays(plain(x, training=True)["labeled"]),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("kind", "inverted"), [(PseudoLabelNetwork, False), (NoisyStudentNetwork, True)]
)
def test_noisy_student_sees_strong_views_and_self_training_weak_ones(
    kind, inverted, new_network, batch
):
    x, _ = batch
    network = new_network(kind, strong_augmentation=Inverted())
    outputs = arrays(network(x, training=False))
    for part, images in (
        ("labeled", x["labeled"]),
        ("student", x["unlabeled"]),
    ):
        seen = 255 - images if inverted else images
        np.testing.assert_allclose(
            outputs[part], network.student.predict(seen, verbose=0), atol=1e-5
        )
    alone = arrays(network({"labeled": x["labeled"]}, training=False))
    np.testing.assert_allclose(alone["labeled"], outputs["labeled"], atol=1e-5)


@pytest.mark.tensorflow
def test_noisy_student_exports_the_network_without_noise(
    new_model, fit, tiny_images, tmp_path
):
    import tensorflow as tf

    images, _ = tiny_images
    model = new_model(NoisyStudent, rounds=1, tau_select=0.0)
    fit(model)
    model.export(tmp_path / "export")
    served = tf.saved_model.load(str(tmp_path / "export")).signatures["serving_default"]
    answer = served(images=tf.constant(images))["probabilities"]
    np.testing.assert_allclose(answer, model.predict(images), atol=1e-5)


# Mean Teacher


def test_consistency_is_the_mean_squared_difference_of_probabilities(
    new_network, batch
):
    x, y = batch
    network = new_network(MeanTeacherNetwork, lambda_u=50.0, rampup_steps=10)
    rng = np.random.default_rng(0)
    network.teacher.set_weights(
        [
            weight + np.abs(rng.normal(0, 0.3, weight.shape))
            for weight in weights_of(network.teacher)
        ]
    )
    student, teacher = (
        softmax(model.predict(x["unlabeled"], verbose=0).astype("float64"))
        for model in (network.student, network.teacher)
    )
    total = sum(
        (student[image, class_id] - teacher[image, class_id]) ** 2
        for image in range(8)
        for class_id in range(3)
    )
    y_pred = network(x, training=False)
    term = network.unlabeled_term(x, y_pred)
    term = float(arrays(term))
    assert term == pytest.approx(total / (8 * 3), rel=1e-4)
    supervised = cross_entropy(y, network.student.predict(x["labeled"], verbose=0))
    loss = network.compute_loss(x, y, y_pred)
    expected = supervised + 50 * np.exp(-5) * term + penalties(network)
    assert float(arrays(loss)) == pytest.approx(expected, rel=1e-4)


def test_student_and_teacher_see_two_views(new_network, batch):
    x, _ = batch
    for weak, equal in (("none", True), (Flickering(), False)):
        network = new_network(
            MeanTeacherNetwork, weak_augmentation=weak, rampup_steps=10
        )
        outputs = arrays(network(x, training=False))
        assert np.allclose(outputs["student"], outputs["teacher"], atol=1e-5) is equal


def test_consistency_weight_is_ramped_up(new_network):
    network = new_network(MeanTeacherNetwork, lambda_u=50.0, rampup_steps=10)
    for step in (0, 1, 5, 9, 10, 11, 1000):
        network.num_updates.assign(step)
        expected = 50 * np.exp(-5 * (1 - min(step / 10, 1)) ** 2)
        assert float(network.unlabeled_weight()) == pytest.approx(expected, rel=1e-5)
    assert float(network.unlabeled_weight()) == 50
    without = new_network(MeanTeacherNetwork, lambda_u=50.0, rampup_steps=0)
    assert float(without.unlabeled_weight()) == 50


def test_ramp_is_a_share_of_all_steps(new_model, fit):
    model = new_model(MeanTeacher, consistency_weight=7.0, rampup=0.5)
    fit(model, epochs=2, steps_per_epoch=3)
    assert model.network.rampup_steps == 3
    assert model.network.lambda_u == 7.0


@pytest.mark.tensorflow
def test_no_gradient_reaches_the_teacher(new_network, batch):
    import tensorflow as tf

    x, _ = batch
    network = new_network(MeanTeacherNetwork, rampup_steps=0)
    student = [weight.value for weight in network.student.trainable_weights]
    teacher = [weight.value for weight in network.teacher.weights]
    with tf.GradientTape() as tape:
        tape.watch(teacher)
        term = network.unlabeled_term(x, network(x, training=True))
    gradients = tape.gradient(term, student + teacher)
    assert all(gradient is None for gradient in gradients[len(student) :])
    assert any(np.any(gradient != 0) for gradient in gradients[: len(student)])


def test_the_teacher_follows_the_student_by_a_moving_average(new_network, batch):
    x, y = batch
    network = new_network(MeanTeacherNetwork, rampup_steps=2)
    before = weights_of(network.teacher)
    network.compile(optimizer=keras.optimizers.SGD(0.1), run_eagerly=True)
    network.train_on_batch(x, y)
    after = weights_of(network.student)
    assert not equal_weights(before, after)
    for old, new, teacher in zip(
        before, after, weights_of(network.teacher), strict=True
    ):
        expected = FIRST_DECAY * old + (1 - FIRST_DECAY) * new
        np.testing.assert_allclose(teacher, expected, atol=1e-6)


# Networks


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (PseudoLabelNetwork, {}),
        (NoisyStudentNetwork, {"dropout": 0.25}),
        (MeanTeacherNetwork, {"rampup_steps": 3}),
    ],
)
def test_a_network_can_be_saved_and_read(kind, options, new_network, batch, tmp_path):
    x, y = batch
    network = new_network(kind, strong_augmentation=Inverted(), **options)
    network.compile(optimizer="sgd", run_eagerly=True)
    network.train_on_batch(x, y)
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert type(loaded) is kind
    assert {name: getattr(loaded, name) for name in options} == options
    assert len(loaded.student.layers) == len(network.student.layers)
    np.testing.assert_array_equal(
        loaded.predict(x["labeled"], verbose=0),
        network.predict(x["labeled"], verbose=0),
    )


@pytest.mark.parametrize("kind", [NoisyStudentNetwork, MeanTeacherNetwork])
def test_mixed_precision_gives_a_finite_float32_loss(
    kind, new_network, batch, mixed_precision
):
    x, y = batch
    options = {"rampup_steps": 0} if kind is MeanTeacherNetwork else {}
    network = new_network(kind, **options)
    y_pred = network(x, training=True)
    assert all(
        keras.backend.standardize_dtype(logits.dtype) == "float32"
        for logits in y_pred.values()
    )
    loss = network.compute_loss(x, y, y_pred)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert np.isfinite(arrays(loss))


class Stop(Exception):
    """Stands for the end of a process."""


@few_labels
def test_a_method_of_several_networks_goes_on_where_it_was_stopped(
    new_model, fit, tmp_path
):
    begun = []

    def stop(epoch, logs):
        begun.append(epoch)
        if len(begun) == 4:
            raise Stop

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_begin=stop)]
    whole = new_model(SelfTraining)
    fit(whole, epochs=2)
    with pytest.raises(Stop):
        fit(new_model(SelfTraining), epochs=2, run_dir=tmp_path, callbacks=callbacks)
    resumed = new_model(SelfTraining)
    fit(resumed, epochs=2, run_dir=tmp_path)
    assert resumed.history == whole.history
    for own, other in zip(
        resumed.network.get_weights(), whole.network.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(own, other)
    with pytest.raises(ValueError, match="other method"):
        fit(new_model(Supervised), epochs=2, run_dir=tmp_path)
