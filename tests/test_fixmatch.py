import contextlib
from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from kdfixmatch_keras import thresholds
from kdfixmatch_keras.fixmatch import FixMatch
from kdfixmatch_keras.serving.prediction import ImageBatches, embedder
from kdfixmatch_keras.sources import ArraySource, LabeledImages
from kdfixmatch_keras.training.batches import FixMatchBatches
from tests.untraced import untraced

LOG_NAMES = {
    "loss",
    "accuracy",
    "supervised_loss",
    "unlabeled_loss",
    "mask_rate",
    "trusted_share",
    "top_class_share",
}


def plain_backbone(input_shape, penalty=0.01):
    """Without batch norm, so that no image influences another's logits."""
    regularizer = keras.regularizers.L2(penalty)
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Conv2D(
                4, 3, activation="tanh", kernel_regularizer=regularizer
            ),
        ]
    )


def without_augmentation(student, **arguments):
    network = FixMatch(
        student,
        **{
            "weak_augmentation": "none",
            "strong_augmentation": keras.layers.Identity(),
            "seed": 0,
            **arguments,
        },
    )
    # With this optimizer, what a weight loses in a step is its gradient.
    network.compile(keras.optimizers.SGD(1.0))
    return network


def batches_of(tiny_images, *, trusted=True, labels_only=False, steps=5):
    images, labels = tiny_images
    return FixMatchBatches(
        LabeledImages(ArraySource(images[:6]), labels[:6], ["r", "g", "b"]),
        None if labels_only else ArraySource(images),
        labels if trusted else None,
        batch_size=6,
        unlabeled_ratio=2,
        steps_per_epoch=steps,
        seed=0,
    )


def batch_of(tiny_images, trusted):
    """Four labeled and eight unlabeled images."""
    images, labels = tiny_images
    x = {
        "labeled": images[:4],
        "trusted": np.array(trusted, np.int32),
        "unlabeled": images[4:12],
        "unlabeled_index": np.arange(4, 12, dtype=np.int32),
    }
    return x, labels[:4]


def fit(network, batches, epochs=1, **arguments):
    callbacks = [batches.epoch_callback(), *arguments.pop("callbacks", [])]
    # Of many steps tracing one takes less time.
    with untraced() if epochs < 3 else contextlib.nullcontext():
        return network.fit(
            batches,
            epochs=epochs,
            shuffle=False,
            callbacks=callbacks,
            verbose=0,
            **arguments,
        ).history


def step_of(network, batch, traced=False):
    """What one training step subtracts from each trainable weight, and its logs."""
    before = [ops.convert_to_numpy(w) for w in network.student.trainable_weights]
    with contextlib.nullcontext() if traced else untraced():
        logs = network.train_on_batch(*batch, return_dict=True)
    after = [ops.convert_to_numpy(w) for w in network.student.trainable_weights]
    return [a - b for a, b in zip(before, after, strict=True)], logs


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def student_probabilities(network, images):
    return softmax(ops.convert_to_numpy(network.student(images)).astype("float64"))


def middle_confidence(confidence):
    """A threshold that half of the images pass, far from any of them."""
    ordered = np.sort(confidence)
    middle = len(ordered) // 2
    return float(ordered[middle - 1 : middle + 1].mean())


def quick(student, **arguments):
    """With augmentation that is cheap to compile."""
    defaults = {
        "weak_augmentation": "none",
        "strong_augmentation": keras.layers.Identity(),
        "seed": 0,
    }
    return FixMatch(student, **{**defaults, **arguments})


def check_training(network, tiny_images):
    before = network.student.get_weights()
    history = fit(network, batches_of(tiny_images), epochs=6)
    for name in ("supervised_loss", "unlabeled_loss", "loss"):
        assert history[name][-1] < 0.7 * history[name][0], name
        assert np.isfinite(history[name]).all()
    for old, new in zip(before, network.student.get_weights(), strict=True):
        assert not np.array_equal(old, new)


def test_training_lowers_both_losses(tiny_student, tiny_images):
    network = FixMatch(tiny_student(), seed=0)
    network.compile(keras.optimizers.Adam(0.01))
    check_training(network, tiny_images)


def test_training_in_mixed_precision_scales_the_loss(
    mixed_precision, tiny_student, tiny_images
):
    network = quick(tiny_student())
    network.compile(keras.optimizers.Adam(0.01))
    assert isinstance(network.optimizer, keras.optimizers.LossScaleOptimizer)
    assert network.dtype_policy.name == "mixed_float16"
    check_training(network, tiny_images)
    assert int(network.optimizer.inner_optimizer.iterations) >= 20
    probabilities = network.predict(tiny_images[0], verbose=0)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


def test_own_confident_labels_train_without_trusted_ones(tiny_student, tiny_images):
    network = quick(tiny_student(), tau=0.5)
    network.compile(keras.optimizers.Adam(0.01))
    history = fit(network, batches_of(tiny_images, trusted=False), epochs=6)
    assert history["mask_rate"][-1] > history["mask_rate"][0]
    assert history["trusted_share"] == [0.0] * 6
    images, labels = tiny_images
    predicted = network.student.predict(images, verbose=0).argmax(-1)
    assert (predicted == labels).mean() > 0.9


class RecordStudent(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(self.model.student.get_weights())

    def on_train_begin(self, logs=None):
        self.weights = []


@pytest.mark.parametrize("ema_decay", [0.3, 0.999])
def test_teacher_is_the_warmed_up_average(tiny_student, tiny_images, ema_decay):
    network = quick(tiny_student(), ema_decay=ema_decay)
    network.compile(keras.optimizers.Adam(0.01))
    average = [w.astype("float64") for w in network.student.get_weights()]
    recorder = RecordStudent()
    fit(network, batches_of(tiny_images), callbacks=[recorder])

    assert len(recorder.weights) == 5
    for t, weights in enumerate(recorder.weights, 1):
        decay = min(ema_decay, (1 + t) / (10 + t))
        average = [
            decay * a + (1 - decay) * w for a, w in zip(average, weights, strict=True)
        ]
    teacher = {w.path: w for w in network.teacher.weights}
    assert sum("moving_variance" in path for path in teacher) == 1
    for expected, weight in zip(average, network.teacher.weights, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(weight), expected, rtol=1e-6, atol=1e-6
        )


def test_a_decay_of_0_makes_the_teacher_the_student(tiny_student, tiny_images):
    network = quick(tiny_student(), ema_decay=0)
    network.compile(keras.optimizers.Adam(0.01))
    fit(network, batches_of(tiny_images))
    for student, teacher in zip(
        network.student.get_weights(), network.teacher.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(teacher, student)


def test_teacher_is_not_trained(tiny_student, tiny_images):
    network = quick(tiny_student())
    network.compile("adam")
    assert network.teacher.trainable_variables == []
    paths = [w.path for w in network.student.trainable_variables]
    assert [w.path for w in network.trainable_variables] == paths
    fit(network, batches_of(tiny_images))
    # Adam: two moments for each weight, the step and the learning rate.
    assert len(network.optimizer.variables) == 2 * len(paths) + 2


def test_heuristic_1(tiny_student):
    network = FixMatch(tiny_student(), tau=0.8)
    probabilities = np.array(
        [
            [0.9, 0.06, 0.04],  # confident, trusted as another class
            [0.05, 0.9, 0.05],  # confident, not trusted
            [0.3, 0.3, 0.4],  # neither confident nor trusted
            [0.5, 0.3, 0.2],  # not confident, trusted
            [0.1, 0.2, 0.7],  # not confident, trusted as class 0
        ]
    )
    trusted = np.array([2, -1, -1, 1, 0], np.int32)
    own_weight = network.threshold(probabilities.astype("float32"), np.arange(5))
    labels, weight, from_trusted = (
        ops.convert_to_numpy(value)
        for value in network.targets(
            np.log(probabilities).astype("float32"), own_weight, trusted
        )
    )
    np.testing.assert_array_equal(weight, [1, 1, 0, 1, 1])
    np.testing.assert_array_equal(labels[weight == 1], [0, 1, 1, 0])
    np.testing.assert_array_equal(from_trusted, [False, False, False, True, True])


def test_a_trusted_image_counts_whatever_the_weight_of_its_own_label(tiny_student):
    network = FixMatch(tiny_student(), tau=0.8)
    probabilities = np.array([[0.6, 0.2, 0.2]] * 3 + [[0.9, 0.05, 0.05]] * 2)
    own_weight = np.array([0.3, 0.3, 1.0, 0.0, 0.5], "float32")
    trusted = np.array([1, -1, 1, 1, -1], np.int32)
    labels, weight, from_trusted = (
        ops.convert_to_numpy(value)
        for value in network.targets(
            np.log(probabilities).astype("float32"), own_weight, trusted
        )
    )
    np.testing.assert_array_equal(labels, [1, 0, 1, 0, 0])
    # From confidence tau on its own label is used, and counts in full.
    np.testing.assert_allclose(weight, [1.0, 0.3, 1.0, 1.0, 0.5])
    np.testing.assert_array_equal(from_trusted, [True, False, True, False, False])


def test_trusted_labels_are_used_from_the_first_step_under_an_adaptive_threshold(
    tiny_student, tiny_images
):
    # FlexMatch lets every label count as long as few images have been confident.
    network = quick(tiny_student(), threshold="flexmatch", num_unlabeled=24)
    network.compile("sgd")
    trusted = [0, 1, 2, -1, -1, 0, 1, -1]
    _, logs = step_of(network, batch_of(tiny_images, trusted))
    assert logs["mask_rate"] == 1.0
    assert logs["trusted_share"] == pytest.approx(5 / 8)


@pytest.mark.parametrize("tau, confident", [(0.0, True), (1.0, False)])
def test_threshold_at_its_ends(tiny_student, tau, confident):
    network = FixMatch(tiny_student(), tau=tau)
    uniform = np.full((2, 3), 1 / 3, "float32")
    weight = ops.convert_to_numpy(network.threshold(uniform, np.arange(2)))
    np.testing.assert_array_equal(weight, [float(confident)] * 2)


@pytest.mark.parametrize("teacher", ["ema", "shared"])
@pytest.mark.parametrize("name", ["ce", "mae"])
def test_step_equals_the_formula(tiny_student, tiny_images, teacher, name):
    x, y = batch = batch_of(tiny_images, [-1, 0, -1, 1, 2, -1, -1, 0])
    student = tiny_student(plain_backbone)
    p = softmax(ops.convert_to_numpy(student(x["labeled"])).astype("float64"))
    q = softmax(ops.convert_to_numpy(student(x["unlabeled"])).astype("float64"))
    tau = middle_confidence(q.max(-1))
    network = without_augmentation(
        student, tau=tau, lambda_u=0.7, teacher=teacher, unlabeled_loss=name
    )
    embedding = keras.Model(student.input, student.get_layer("embedding").output)
    z = ops.convert_to_numpy(embedding(np.concatenate([x["labeled"], x["unlabeled"]])))
    kernel = next(w for w in student.trainable_weights if "conv" in w.path)
    penalty = 0.01 * np.sum(ops.convert_to_numpy(kernel).astype("float64") ** 2)
    dense = [
        student.get_layer(name).get_weights()[0] for name in ("embedding", "logits")
    ]
    penalty += 2.5e-4 * sum(np.sum(weights.astype("float64") ** 2) for weights in dense)

    confident, trusted = q.max(-1) >= tau, x["trusted"]
    mask = confident | (trusted >= 0)
    target = np.where(confident, q.argmax(-1), trusted)
    assert confident.any() and not mask.all()
    one_hot = np.eye(3)[target] * mask[:, None]
    q_target = np.sum(one_hot * q, -1, keepdims=True)
    if name == "ce":
        unlabeled = np.sum(mask * -np.log(np.where(mask, q_target[:, 0], 1))) / 8
        slope = mask[:, None] * q - one_hot
    else:
        unlabeled = np.sum(mask * 2 * (1 - q_target[:, 0])) / 8
        slope = 2 * q_target * (mask[:, None] * q - one_hot)
    supervised = -np.log(p[np.arange(4), y]).mean()

    update, logs = step_of(network, batch, traced=True)

    assert logs["supervised_loss"] == pytest.approx(supervised, rel=1e-5)
    assert logs["unlabeled_loss"] == pytest.approx(unlabeled, rel=1e-5)
    loss = supervised + 0.7 * unlabeled + penalty
    assert logs["loss"] == pytest.approx(loss, rel=1e-5)
    assert logs["mask_rate"] == pytest.approx(mask.mean())
    assert logs["trusted_share"] == pytest.approx(
        (mask & ~confident).sum() / mask.sum()
    )
    assert logs["accuracy"] == pytest.approx((p.argmax(-1) == y).mean())
    # The gradient of the last layer's kernel and bias, written out.
    by_logit = np.concatenate([(p - np.eye(3)[y]) / 4, 0.7 * slope / 8])
    np.testing.assert_allclose(update[-1], by_logit.sum(0), atol=1e-6)
    gradient = z.T @ by_logit + 2 * 2.5e-4 * dense[-1]
    np.testing.assert_allclose(update[-2], gradient, atol=1e-5)


def test_regularisation_of_the_student_is_in_the_gradient(tiny_student, tiny_images):
    batch = batch_of(tiny_images, [-1] * 8)
    updates = []
    for strength in (0.0, 0.01):
        student = tiny_student(partial(plain_backbone, penalty=strength))
        kernel = ops.convert_to_numpy(student.trainable_weights[0])
        updates.append(step_of(without_augmentation(student, tau=1.0), batch)[0])
    difference = updates[1][0] - updates[0][0]
    np.testing.assert_allclose(difference, 2 * 0.01 * kernel, atol=1e-6)


def test_masked_images_have_no_influence(tiny_student, tiny_images):
    images, labels = tiny_images
    student = tiny_student(plain_backbone)
    confidence = softmax(ops.convert_to_numpy(student(images))).max(-1)
    tau = middle_confidence(confidence)
    kept = np.flatnonzero(confidence >= tau)[:4]
    masked = np.flatnonzero(confidence < tau)[:8]
    updates = []
    for others in (masked[:4], masked[4:]):
        index = np.concatenate([kept, others]).astype(np.int32)
        x = {
            "labeled": images[:4],
            "trusted": np.full(8, -1, np.int32),
            "unlabeled": images[index],
            "unlabeled_index": index,
        }
        network = without_augmentation(tiny_student(plain_backbone), tau=tau)
        update, logs = step_of(network, (x, labels[:4]))
        assert logs["mask_rate"] == 0.5
        assert logs["unlabeled_loss"] > 0
        updates.append(update)
    for first, second in zip(*updates, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-7)


@keras.saving.register_keras_serializable(package="test_fixmatch")
class BrokenWhereClassZero(keras.losses.Loss):
    def __init__(self, value, **kwargs):
        super().__init__(**kwargs)
        self.value = value

    def call(self, y_true, y_pred):
        loss = ops.sparse_categorical_crossentropy(
            ops.cast(y_true, "int32"), y_pred, from_logits=True
        )
        return ops.where(y_true == 0, self.value, loss)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_masked_infinity_does_not_leak(tiny_student, tiny_images, value):
    x, y = batch_of(tiny_images, [-1] * 8)
    student = tiny_student(plain_backbone)
    own = ops.convert_to_numpy(student(x["unlabeled"])).argmax(-1)
    # Column order is arbitrary: make sure that class 0 occurs.
    bias = student.get_layer("logits").bias
    bias.assign(np.where(np.arange(3) == 0, 0.0, -0.01))
    if not (own == 0).any():
        logits = ops.convert_to_numpy(student(x["unlabeled"]))
        bias.assign(bias - np.median(logits, 0))
        own = ops.convert_to_numpy(student(x["unlabeled"])).argmax(-1)
    assert (own == 0).any()
    x["trusted"] = np.where(own == 0, -1, own).astype(np.int32)
    weights = student.get_weights()

    broken = without_augmentation(
        student, tau=1.0, unlabeled_loss=BrokenWhereClassZero(value)
    )
    sound_student = tiny_student(plain_backbone)
    sound_student.set_weights(weights)
    sound = without_augmentation(sound_student, tau=1.0)
    update, logs = step_of(broken, (x, y))
    expected, expected_logs = step_of(sound, (x, y))
    assert logs == pytest.approx(expected_logs)
    for got, wanted in zip(update, expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-7)


@keras.saving.register_keras_serializable(package="test_fixmatch")
class CountCalls(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls = []

    def call(self, x, training=False):
        self.calls.append((x.shape[0], bool(training)))
        return x


def counting_backbone(input_shape):
    return keras.Sequential(
        [keras.Input(input_shape), CountCalls(), keras.layers.Conv2D(4, 3)]
    )


def counter(model):
    return next(x for x in model._flatten_layers() if isinstance(x, CountCalls))


@pytest.mark.parametrize(
    "teacher, student_calls, teacher_calls",
    [("ema", [(12, True)], [(8, False)]), ("shared", [(20, True)], [])],
)
def test_one_forward_pass_of_the_student_per_step(
    tiny_student, tiny_images, teacher, student_calls, teacher_calls
):
    network = quick(tiny_student(counting_backbone), teacher=teacher)
    network.compile("sgd", run_eagerly=True)
    batch = batch_of(tiny_images, [-1] * 8)
    network.train_on_batch(*batch)
    counter(network.student).calls.clear()
    counter(network.teacher).calls.clear()
    network.train_on_batch(*batch)
    assert counter(network.student).calls == student_calls
    assert counter(network.teacher).calls == teacher_calls


def test_shared_teacher_labels_with_the_student(tiny_student, tiny_images):
    x, y = batch_of(tiny_images, [-1] * 8)
    rates = {}
    for teacher in ("ema", "shared"):
        network = without_augmentation(
            tiny_student(plain_backbone), tau=0.9, teacher=teacher
        )
        # A sure student and an unsure average.
        sure = network.student.get_weights()
        network.student.set_weights([*sure[:-1], np.array([50.0, 0, 0])])
        rates[teacher] = step_of(network, (x, y))[1]["mask_rate"]
    assert rates == {"ema": 0.0, "shared": 1.0}


@pytest.mark.parametrize("workers", [2, 8])
def test_threads_that_read_batches_change_no_bit(tiny_student, tiny_images, workers):
    trained = []
    for number in (1, workers):
        network = quick(tiny_student(), strong_augmentation="randaugment")
        network.compile(keras.optimizers.Adam(0.01))
        batches = batches_of(tiny_images)
        batches.workers = number
        trained.append((fit(network, batches, epochs=3), network.get_weights()))
    (history, weights), (other_history, other_weights) = trained
    assert history == other_history
    for own, other in zip(weights, other_weights, strict=True):
        np.testing.assert_array_equal(own, other)


def test_logs_of_training_and_validation(tiny_student, tiny_images):
    images, labels = tiny_images
    network = quick(tiny_student())
    network.compile(keras.optimizers.Adam(0.01))
    validation = ImageBatches(ArraySource(images), labels, batch_size=10)
    history = fit(
        network, batches_of(tiny_images), epochs=2, validation_data=validation
    )
    assert set(history) == LOG_NAMES | {"val_loss", "val_accuracy"}
    probabilities = network.predict(images, verbose=0)
    accuracy = (probabilities.argmax(-1) == labels).mean()
    loss = -np.log(probabilities[np.arange(24), labels]).mean()
    assert history["val_accuracy"][-1] == pytest.approx(accuracy)
    assert history["val_loss"][-1] == pytest.approx(loss, rel=1e-4)


def test_the_loss_of_an_evaluation_is_not_clipped(tiny_student, tiny_images):
    images, labels = tiny_images
    network = quick(tiny_student())
    for weight in network.teacher.get_layer("logits").weights:
        weight.assign(weight * 200.0)
    network.compile("sgd")
    logits = ops.convert_to_numpy(network.teacher(images)).astype("float64")
    values = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1))
    values += logits.max(-1) - logits[np.arange(24), labels]
    # That of a probability that is clipped at 1e-7.
    assert values.max() > 17
    for batch_size in (24, 7):
        scores = network.evaluate(
            images, labels, batch_size=batch_size, verbose=0, return_dict=True
        )
        assert scores["loss"] == pytest.approx(values.mean(), rel=1e-5)
    trained = network.train_on_batch(images, labels, return_dict=True)
    assert np.isfinite(trained["loss"])


def test_a_loss_of_ones_own_gets_probabilities(tiny_student, tiny_images):
    images, labels = tiny_images
    network = quick(tiny_student())
    network.compile("sgd", loss="sparse_categorical_crossentropy")
    scores = network.evaluate(images, labels, verbose=0, return_dict=True)
    found = network.predict(images, verbose=0)[np.arange(24), labels]
    penalty = sum(float(ops.convert_to_numpy(x)) for x in network.student.losses)
    assert scores["loss"] == pytest.approx(-np.log(found).mean() + penalty, rel=1e-4)
    history = network.fit(images, labels, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("teacher", ["ema", "shared"])
def test_evaluation_and_prediction_use_the_average(tiny_student, tiny_images, teacher):
    images, labels = tiny_images
    network = quick(tiny_student(), teacher=teacher)
    network.compile("adam")
    fit(network, batches_of(tiny_images))
    probabilities = network.predict(images, verbose=0)
    scores = network.evaluate(images, labels, verbose=0, return_dict=True)
    assert set(scores) == {"loss", "accuracy"}
    assert probabilities.shape == (24, 3)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-6)

    network.student.set_weights([w * np.nan for w in network.student.get_weights()])
    np.testing.assert_array_equal(network.predict(images, verbose=0), probabilities)
    again = network.evaluate(images, labels, verbose=0, return_dict=True)
    assert again == pytest.approx(scores)


def test_embedder_gives_the_teachers_embeddings_and_logits(tiny_student, tiny_images):
    network = FixMatch(tiny_student())
    network.student.set_weights([w * np.nan for w in network.student.get_weights()])
    outputs = embedder(network).predict(tiny_images[0], verbose=0)
    assert outputs["embeddings"].shape == (24, 8)
    np.testing.assert_allclose(
        softmax(outputs["logits"]),
        network.predict(tiny_images[0], verbose=0),
        atol=1e-6,
    )


def test_labels_alone_train(tiny_student, tiny_images):
    network = quick(tiny_student())
    network.compile(keras.optimizers.Adam(0.01))
    before = network.teacher.get_weights()
    history = fit(network, batches_of(tiny_images, labels_only=True), epochs=6)
    assert history["supervised_loss"][-1] < 0.7 * history["supervised_loss"][0]
    assert set(history) == {"loss", "accuracy", "supervised_loss"}
    assert not np.array_equal(before[0], network.teacher.get_weights()[0])


def test_start_from_copies_the_teacher(tiny_student):
    outer = quick(tiny_student(seed=1))
    outer.teacher.set_weights([w + 1 for w in outer.teacher.get_weights()])
    inner = FixMatch(tiny_student(seed=2))
    inner.start_from(outer)
    for network in (inner.student, inner.teacher):
        for got, expected in zip(
            network.get_weights(), outer.teacher.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(got, expected)


def frozen_norm_backbone(input_shape):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(trainable=False),
        ]
    )


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_saved_network_predicts_and_trains_alike(
    request, tmp_path, tiny_student, tiny_images, policy
):
    if policy == "mixed_float16":
        request.getfixturevalue("mixed_precision")
    images, _ = tiny_images
    network = quick(
        tiny_student(frozen_norm_backbone),
        tau=0.6,
        lambda_u=0.5,
        unlabeled_loss="sce",
        ema_decay=0.9,
        # Keras does not store the state of random generators.
        weak_augmentation="none",
        seed=3,
    )
    network.compile(keras.optimizers.Adam(0.01))
    fit(network, batches_of(tiny_images))
    network.save(tmp_path / "network.keras")
    keras.config.set_dtype_policy("float32")
    restored = keras.saving.load_model(tmp_path / "network.keras")

    assert restored.dtype_policy.name == policy
    assert type(restored.optimizer) is type(network.optimizer)
    assert len(restored.trainable_variables) == len(network.trainable_variables)
    for name in ("tau", "lambda_u", "ema_decay", "target_source", "seed"):
        assert getattr(restored, name) == getattr(network, name)
    np.testing.assert_array_equal(
        restored.predict(images, verbose=0), network.predict(images, verbose=0)
    )
    # Training goes on as if nothing had happened.
    for resumed in (network, restored):
        fit(resumed, batches_of(tiny_images), epochs=2, initial_epoch=1)
    for got, expected in zip(restored.weights, network.weights, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(got), ops.convert_to_numpy(expected), atol=1e-6
        )


@pytest.mark.parametrize(
    "weak, strong",
    [
        (keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.1)),
        (keras.layers.RandomTranslation(0.1, 0.1), keras.layers.RandomBrightness(0.2)),
    ],
)
def test_augmentation_layers_of_keras_work(tiny_student, tiny_images, weak, strong):
    network = FixMatch(
        tiny_student(), weak_augmentation=weak, strong_augmentation=strong
    )
    network.compile(keras.optimizers.Adam(0.01))
    check_training(network, tiny_images)


def test_float_augmentation_leaves_the_pixel_range_alone(tiny_student, tiny_images):
    x, _ = batch_of(tiny_images, [-1] * 8)
    # Symmetric images: a flip gives floats, but the same picture.
    for key in ("labeled", "unlabeled"):
        x[key] = np.maximum(x[key], x[key][:, :, ::-1])
    student = tiny_student(plain_backbone)
    flip = keras.layers.RandomFlip("horizontal", seed=0)
    flipped = FixMatch(student, weak_augmentation=flip, strong_augmentation=flip)
    plain = without_augmentation(student)
    outputs, expected = flipped(x, training=True), plain(x, training=True)
    for key in expected:
        np.testing.assert_allclose(
            ops.convert_to_numpy(outputs[key]),
            ops.convert_to_numpy(expected[key]),
            atol=1e-5,
        )


def test_seed_fixes_the_augmentations(tiny_student, tiny_images):
    x, _ = batch_of(tiny_images, [-1] * 8)
    student = tiny_student(plain_backbone)
    logits = [
        ops.convert_to_numpy(FixMatch(student, seed=seed)(x, training=True)["strong"])
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(logits[0], logits[1])
    assert not np.allclose(logits[0], logits[2])


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"tau": 1.5}, ValueError, r"`tau` must be in \[0, 1\].*tau=1.5"),
        ({"tau": float("nan")}, ValueError, "`tau`.*nan"),
        ({"tau": "high"}, ValueError, "`tau`.*'high'"),
        ({"lambda_u": -1}, ValueError, r"`lambda_u` must be in \[0, infinity\).*-1"),
        ({"lambda_u": float("inf")}, ValueError, "`lambda_u`.*inf"),
        ({"ema_decay": 1.0}, ValueError, r"`ema_decay` must be in \[0, 1\).*1.0"),
        ({"teacher": "emma"}, ValueError, "`teacher` .*Did you mean .ema"),
        ({"unlabeled_loss": "scee"}, ValueError, "scee.*Did you mean .sce"),
        ({"unlabeled_loss": 3}, TypeError, "loss=3"),
        ({"weak_augmentation": "flip"}, ValueError, "weak.*flip_shift"),
        ({"strong_augmentation": "randaug"}, ValueError, "mean .randaugment"),
        ({"strong_augmentation": 5}, TypeError, "strong_augmentation=5"),
        ({"threshold": "flex"}, ValueError, "`threshold` .*Did you mean .flexmatch"),
        ({"threshold": "flexmatch"}, ValueError, "`num_unlabeled` must be the number"),
    ],
)
def test_wrong_arguments_are_named(tiny_student, arguments, error, words):
    with pytest.raises(error, match=words):
        FixMatch(tiny_student(), **arguments)


@pytest.mark.parametrize("student", ["small_cnn", None, keras.layers.Dense(3)])
def test_student_must_be_a_model(student):
    with pytest.raises(TypeError, match="`student` must be a keras.Model"):
        FixMatch(student)


def test_a_student_that_cannot_be_trained_or_embedded_is_refused(tiny_student):
    with pytest.raises(ValueError, match="Pass dtype='float32'"):
        FixMatch(tiny_student(), dtype="mixed_float16")
    bare = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match='a layer named "embedding"'):
        FixMatch(bare)
    with pytest.raises(ValueError, match="`class_distribution` must have 3 numbers"):
        FixMatch(tiny_student(), class_distribution=[0.5, 0.5])


def test_targets_are_aligned_with_the_class_distribution(tiny_student, tiny_images):
    network = FixMatch(
        tiny_student(), class_distribution=[0.998, 0.001, 0.001], tau=0.0
    )
    batch = {
        "labeled": tiny_images[0][:4],
        "trusted": np.full(8, -1, "int32"),
        "unlabeled": tiny_images[0][:8],
        "unlabeled_index": np.arange(8, dtype="int32"),
    }
    target = keras.ops.convert_to_numpy(network(batch, training=True)["target"])
    assert (target.argmax(axis=-1) == 0).all()
    assert network.get_config()["class_distribution"][0] == pytest.approx(0.998)


@pytest.mark.parametrize("name", ["flexmatch", "freematch", "softmatch"])
def test_thresholds_weigh_the_loss(tiny_student, tiny_images, name):
    x, y = batch = batch_of(tiny_images, [-1, 2, -1, -1, -1, -1, -1, -1])
    student = tiny_student(plain_backbone)
    logits = ops.convert_to_numpy(student(x["unlabeled"])).astype("float64")
    q = softmax(logits)
    options = {"tau": middle_confidence(q.max(-1)), "threshold": name}
    network = without_augmentation(student, num_unlabeled=24, **options)
    rule = thresholds.get(
        name, tau=options["tau"], num_classes=3, num_unlabeled=network.num_unlabeled
    )
    own = ops.convert_to_numpy(
        rule(q.astype("float32"), x["unlabeled_index"], training=True)
    )
    auxiliary = float(rule.auxiliary_loss(logits.astype("float32"), own))
    trusted = (np.arange(8) == 1) & (q.max(-1) < options["tau"])
    assert trusted.any()
    target, weight = np.where(trusted, 2, q.argmax(-1)), np.where(trusted, 1.0, own)
    unlabeled = np.mean(weight * -np.log(q[np.arange(8), target]))
    penalty = float(ops.convert_to_numpy(sum(student.losses)))

    _, logs = step_of(network, batch)
    assert logs["unlabeled_loss"] == pytest.approx(unlabeled, rel=1e-4)
    assert logs["mask_rate"] == pytest.approx(weight.mean(), rel=1e-4)
    assert logs["loss"] == pytest.approx(
        logs["supervised_loss"] + unlabeled + auxiliary + penalty, rel=1e-4
    )
    assert (auxiliary != 0) == (name == "freematch")


@pytest.mark.parametrize("alignment", [None, [0.5, 0.3, 0.2]])
def test_no_gradient_flows_through_a_target_or_its_weight(
    tiny_student, tiny_images, alignment
):
    x, y = batch = batch_of(tiny_images, [-1] * 8)
    network = without_augmentation(
        tiny_student(plain_backbone),
        teacher="shared",
        threshold="softmatch",
        class_distribution=alignment,
    )
    p = student_probabilities(network, x["labeled"])
    q = student_probabilities(network, x["unlabeled"])
    outputs = network({**x}, training=True)
    target, weight = (ops.convert_to_numpy(outputs[n]) for n in ("target", "weight"))
    assert ((weight > 0) & (weight < 1)).any()
    network = without_augmentation(
        tiny_student(plain_backbone),
        teacher="shared",
        threshold="softmatch",
        class_distribution=alignment,
    )

    update, _ = step_of(network, batch)

    # The bias of the logits, of a loss in which targets and weights are constants.
    slope = weight[:, None] * (q - np.eye(3)[target.argmax(-1)])
    by_logit = np.concatenate([(p - np.eye(3)[y]) / 4, slope / 8])
    np.testing.assert_allclose(update[-1], by_logit.sum(0), atol=1e-6)


def test_the_threshold_judges_aligned_targets(tiny_student, tiny_images):
    x, _ = batch_of(tiny_images, [-1] * 8)
    weights = []
    for distribution in (None, [0.998, 0.001, 0.001]):
        network = quick(tiny_student(), class_distribution=distribution, tau=0.95)
        weights.append(ops.convert_to_numpy(network(x, training=True)["weight"]))
    np.testing.assert_array_equal(weights, [[0.0] * 8, [1.0] * 8])


def test_the_state_of_a_threshold_is_saved(tmp_path, tiny_student, tiny_images):
    network = quick(tiny_student(), tau=0.34, threshold="flexmatch", num_unlabeled=24)
    network.compile("sgd")
    fit(network, batches_of(tiny_images))
    memory = ops.convert_to_numpy(network.threshold.memory)
    assert (memory >= 0).any()
    network.save(tmp_path / "network.keras")
    restored = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(restored.threshold.memory), memory
    )
    fit(restored, batches_of(tiny_images), epochs=2, initial_epoch=1)
