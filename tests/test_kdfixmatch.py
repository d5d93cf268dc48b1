"""KDFixMatch as a user sees it, on coloured squares that any network tells apart."""

import random

import keras
import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras import KDFixMatch, thresholds
from kdfixmatch_keras.baselines import FixMatch
from tests.untraced import untraced

COLORS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])
# What `FixMatch` and `KDFixMatch` have in common, of what `quick_model` sets.
SHARED = (
    "backbone",
    "embedding_dim",
    "weak_augmentation",
    "strong_augmentation",
    "batch_size",
    "unlabeled_ratio",
    "optimizer",
    "seed",
)
# A few steps make no good network; what a weak trusted set says is tested elsewhere.
weak_trusted_set = pytest.mark.filterwarnings("ignore:.*trusted:UserWarning")


def squares(count, seed, side=8):
    """Noisy squares in three colours, uint8 (n, side, side, 3), and their classes."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(3), rng.integers(0, 3, count - 3)])
    noise = rng.normal(0, 25, (count, side, side, 3))
    images = COLORS[labels][:, None, None] + noise
    return images.clip(0, 255).astype("uint8"), labels


def convolution(input_shape):
    return keras.Sequential(
        [
            keras.layers.Input(input_shape),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
        ]
    )


def quick_model(**changes):
    """A model that trains in seconds and still learns the colours."""
    settings = {
        "backbone": convolution,
        "embedding_dim": 16,
        "clustering": "kmeans",
        "weak_augmentation": "none",
        "strong_augmentation": keras.layers.Identity(),
        "batch_size": 8,
        "unlabeled_ratio": 2,
        "optimizer": keras.optimizers.Adam(0.01),
        # Most tests reason about `tau`.
        "inner_threshold": "fixed",
        "seed": 0,
    }
    return KDFixMatch(**{**settings, **changes})


def fit_once(model, labeled=None, unlabeled=None, **changes):
    options = {"epochs": 1, "steps_per_epoch": 2, "verbose": 0, **changes}
    labeled = squares(12, 0) if labeled is None else labeled
    unlabeled = squares(40, 1)[0] if unlabeled is None else unlabeled
    with untraced():
        return model.fit(labeled, unlabeled, **options)


def same_trusted_set(first, second):
    return (
        np.array_equal(first.dense_labels(), second.dense_labels())
        and np.array_equal(first.confidence, second.confidence)
        and np.array_equal(first.cluster, second.cluster)
    )


def write_folder(folder, images, names=None):
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        name = f"{index:04}.png" if names is None else names[index]
        Image.fromarray(image).save(folder / name)
    return folder


def write_labeled_folder(folder, images, labels):
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        write_folder(folder / "abc"[label], [image], [f"{index:04}.png"])
    return folder


@pytest.fixture(scope="module")
def trained():
    """A model trained to the end, and the true classes of its unlabeled images.

    The unlabeled images are more than two batches of prediction.
    """
    unlabeled, truth = squares(600, 1)
    model = quick_model(tau_select=0.5)
    model.fit(
        squares(12, 0),
        unlabeled,
        validation_data=squares(20, 2),
        epochs=3,
        outer_epochs=2,
        steps_per_epoch=15,
        verbose=0,
    )
    return model, unlabeled, truth


# What comes out


def test_default_augmentation_and_own_backbone_learn_separable_images():
    unlabeled, truth = squares(300, 1)
    model = quick_model(
        backbone="small_cnn",
        weak_augmentation="flip_shift",
        strong_augmentation="randaugment",
        inner_threshold="flexmatch",
        optimizer=None,
        tau_select=0.5,
    )
    model.fit(squares(12, 0), unlabeled, epochs=2, steps_per_epoch=15, verbose=0)
    assert model.evaluate(*squares(100, 3))["accuracy"] > 0.95
    assert model.trusted_set.audit(truth)["precision"] > 0.95


def test_history_has_both_stages_by_epoch(trained):
    model, _, _ = trained
    assert list(model.history) == ["outer", "inner"]
    for stage, epochs in (("outer", 2), ("inner", 3)):
        history = model.history[stage]
        assert {
            "loss",
            "accuracy",
            "supervised_loss",
            "unlabeled_loss",
            "mask_rate",
            "trusted_share",
            "val_loss",
            "val_accuracy",
        } <= set(history)
        assert all(len(values) == epochs for values in history.values())
        assert all(type(v) is float for values in history.values() for v in values)
        assert history["supervised_loss"][-1] < history["supervised_loss"][0]
        assert history["val_accuracy"][-1] > 0.95
    # Trusted labels reach the inner network, and only that.
    assert max(model.history["outer"]["trusted_share"]) == 0
    assert max(model.history["inner"]["trusted_share"]) > 0


def test_trusted_indices_are_those_of_the_unlabeled_images(trained):
    model, unlabeled, truth = trained
    trusted = model.trusted_set
    assert trusted.num_unlabeled == len(unlabeled)
    assert len(trusted) > 500
    # A number within a batch of prediction would stay below 256.
    assert trusted.indices.max() > 512
    np.testing.assert_array_equal(np.unique(trusted.indices), trusted.indices)
    assert np.mean(truth[trusted.indices] == trusted.labels) > 0.98
    assert trusted.audit(truth)["precision"] > 0.98
    # From the pixels alone: the brightest channel is the class.
    brightest = unlabeled[trusted.indices].mean(axis=(1, 2)).argmax(axis=1)
    assert np.mean(brightest == trusted.labels) > 0.98


def test_trusted_set_holds_the_outer_networks_own_predictions(trained):
    model, unlabeled, _ = trained
    probabilities = model.outer.predict(unlabeled, verbose=0)
    np.testing.assert_allclose(
        model.trusted_set.confidence, probabilities.max(axis=1), atol=1e-5
    )
    np.testing.assert_array_equal(
        model.trusted_set.pseudo_labels, probabilities.argmax(axis=1)
    )


def test_predicts_from_array_and_folder_alike(trained, tmp_path):
    model, _, _ = trained
    images, labels = squares(20, 4)
    from_array = model.predict(images)
    assert from_array.shape == (20, 3)
    assert from_array.dtype == np.float32
    np.testing.assert_allclose(from_array.sum(axis=1), 1, atol=1e-5)
    assert np.mean(from_array.argmax(axis=1) == labels) > 0.9
    folder = write_folder(tmp_path / "images", images)
    np.testing.assert_array_equal(model.predict(folder), from_array)
    np.testing.assert_array_equal(model.predict(str(folder)), from_array)
    np.testing.assert_allclose(
        model.predict(images, batch_size=7), from_array, atol=1e-6
    )


def test_evaluates_as_it_predicts(trained):
    model, _, _ = trained
    images, labels = squares(20, 4)
    result = model.evaluate(images, labels)
    assert set(result) == {"loss", "accuracy"}
    probabilities = model.predict(images)
    assert result["accuracy"] == pytest.approx(
        np.mean(probabilities.argmax(axis=1) == labels)
    )
    chosen = probabilities[np.arange(20), labels]
    assert result["loss"] == pytest.approx(-np.log(chosen).mean(), abs=1e-5)


@pytest.mark.tensorflow
def test_predicts_and_evaluates_a_dataset_as_its_arrays(trained):
    import tensorflow as tf

    model, _, _ = trained
    images, labels = squares(20, 4)
    dataset = tf.data.Dataset.from_tensor_slices(images)
    for data in (dataset, dataset.batch(8)):
        np.testing.assert_array_equal(model.predict(data), model.predict(images))
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(6)
    assert model.evaluate(dataset) == pytest.approx(
        model.evaluate(images, labels), abs=1e-5
    )


def test_predict_resizes_and_converts_to_the_training_images(trained):
    model, _, _ = trained
    images, _ = squares(6, 4, side=16)
    assert model.predict(images).shape == (6, 3)
    assert model.predict(images[..., 0]).shape == (6, 3)


def test_use_before_fit_is_refused(tmp_path):
    images, labels = squares(3, 0)
    model = quick_model()
    for use in (
        lambda: model.predict(images),
        lambda: model.evaluate(images, labels),
        lambda: model.export(tmp_path / "export"),
    ):
        with pytest.raises(RuntimeError, match="Call `fit` first"):
            use()
    assert not list(tmp_path.iterdir())


def test_save_before_fit_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="Call `fit` first"):
        quick_model().save(tmp_path / "model.zip")
    assert not list(tmp_path.iterdir())


# The same again


def run_with_seed(seed, global_seed):
    random.seed(global_seed)
    np.random.seed(global_seed)
    keras.utils.set_random_seed(global_seed)
    model = quick_model(
        seed=seed,
        clustering="dec",
        tau_select=0.0,
        weak_augmentation="flip_shift",
        strong_augmentation="randaugment",
    )
    fit_once(model)
    return model


@weak_trusted_set
def test_a_seed_fixes_everything_whatever_the_global_random_state():
    first, second = run_with_seed(5, global_seed=1), run_with_seed(5, global_seed=2)
    for network in ("outer", "inner"):
        for role in ("student", "teacher"):
            weights = zip(
                getattr(getattr(first, network), role).get_weights(),
                getattr(getattr(second, network), role).get_weights(),
                strict=True,
            )
            assert all(np.array_equal(one, other) for one, other in weights)
    assert same_trusted_set(first.trusted_set, second.trusted_set)
    assert first.history == second.history


@weak_trusted_set
def test_other_seeds_differ_and_so_do_the_stages():
    first, other = (quick_model(seed=seed, tau_select=0.0) for seed in (5, 6))
    for model in (first, other):
        keras.utils.set_random_seed(1)
        fit_once(model)
    kernels = [
        model_network.student.get_weights()[0]
        for model_network in (first.outer, first.inner, other.outer, other.inner)
    ]
    for position, kernel in enumerate(kernels):
        for another in kernels[position + 1 :]:
            assert not np.allclose(kernel, another)


# What goes in


def in_order_of_classes(count, side=8):
    """Squares in the order in which a labeled folder gives its files."""
    images, labels = squares(count, 0, side)
    order = np.argsort(labels, kind="stable")
    return images[order], labels[order]


def three_forms(tf, images, labels, unlabeled, folder):
    return {
        "array": ((images, labels), unlabeled),
        "dataset": (
            tf.data.Dataset.from_tensor_slices((images, labels)).batch(4),
            tf.data.Dataset.from_tensor_slices(unlabeled),
        ),
        "folder": (
            write_labeled_folder(folder / "labeled", images, labels),
            write_folder(folder / "unlabeled", unlabeled),
        ),
    }


@weak_trusted_set
@pytest.mark.tensorflow
def test_arrays_datasets_and_folders_give_the_same_run(tmp_path):
    import tensorflow as tf

    images, labels = in_order_of_classes(9)
    unlabeled, _ = squares(40, 1)
    forms = three_forms(tf, images, labels, unlabeled, tmp_path)
    models = {}
    for form, (labeled_form, unlabeled_form) in forms.items():
        models[form] = quick_model(tau_select=0.0)
        fit_once(models[form], labeled_form, unlabeled_form)
    for form in ("dataset", "folder"):
        assert models[form].history == models["array"].history
        assert same_trusted_set(models[form].trusted_set, models["array"].trusted_set)
        np.testing.assert_array_equal(
            models[form].predict(unlabeled), models["array"].predict(unlabeled)
        )
    assert len(models["array"].trusted_set) > 0
    assert models["array"].class_names == ["0", "1", "2"]
    assert models["folder"].class_names == ["a", "b", "c"]
    names = models["folder"].unlabeled_names
    assert names == sorted(names) and len(names) == len(
        models["array"].trusted_set.trusted
    )


@weak_trusted_set
@pytest.mark.tensorflow
def test_efficientnet_trains_from_arrays_datasets_and_folders(tmp_path):
    import tensorflow as tf

    images, labels = in_order_of_classes(6, side=32)
    unlabeled, _ = squares(12, 1, side=32)
    trusted_sets = {}
    for form, (labeled_form, unlabeled_form) in three_forms(
        tf, images, labels, unlabeled, tmp_path
    ).items():
        model = quick_model(
            backbone="efficientnetb0",
            weights=None,
            batch_size=4,
            optimizer=None,
            tau_select=0.0,
        )
        fit_once(model, labeled_form, unlabeled_form, steps_per_epoch=1)
        trusted_sets[form] = model.trusted_set
    assert len(trusted_sets["array"]) > 0
    assert same_trusted_set(trusted_sets["dataset"], trusted_sets["array"])
    assert same_trusted_set(trusted_sets["folder"], trusted_sets["array"])


@weak_trusted_set
def test_image_size_brings_a_folder_of_many_sizes_to_one(tmp_path):
    images, labels = squares(6, 0, side=12)
    labeled = write_labeled_folder(tmp_path / "labeled", images, np.sort(labels))
    unlabeled = tmp_path / "unlabeled"
    for count, side in enumerate((8, 10, 16)):
        names = [f"{count}_{i}.png" for i in range(4)]
        write_folder(unlabeled, squares(4, count, side)[0], names)
    model = quick_model(image_size=(9, 8), tau_select=0.0)
    fit_once(model, labeled, unlabeled)
    assert model.inner.student.input_shape == (None, 9, 8, 3)
    assert model.trusted_set.num_unlabeled == 12
    assert model.predict(unlabeled).shape == (12, 3)


X, Y = squares(12, 0)
U = squares(20, 1)[0]
NAN = X.astype("float32")
NAN[3, 0, 0, 0] = np.nan

BAD_DATA = {
    "labeled of rank 2": ((X[:, :, 0, 0], Y), U, ValueError, "shape (N, H, W)"),
    "unlabeled of rank 2": ((X, Y), U[:, :, 0, 0], ValueError, "`unlabeled`"),
    "one image": ((X, Y), U[0, :, :, 0], ValueError, "A single image"),
    "channels first": ((X.transpose(0, 3, 1, 2), Y), U, ValueError, "channels last"),
    "float": ((X / 255, Y), U, ValueError, "(images * 255)"),
    "integers": ((X.astype("int64"), Y), U, ValueError, 'astype("uint8")'),
    "unlabeled float": ((X, Y), U / 255, ValueError, "`unlabeled` must hold uint8"),
    "NaN": ((NAN, Y), U, ValueError, "with NaN"),
    "negative label": ((X, Y - 1), U, ValueError, "a label of -1"),
    "missing class": ((X, Y * 2), U, ValueError, "class"),
    "float labels": ((X, Y.astype("float32")), U, ValueError, "integer labels"),
    "text labels": ((X, np.array(list("abc"))[Y]), U, ValueError, "np.unique"),
    "one-hot": ((X, np.eye(3, dtype=int)[Y]), U, ValueError, "argmax"),
    "one class": ((X, Y * 0), U, ValueError, "at least two classes"),
    "fewer labels": ((X, Y[:-1]), U, ValueError, "len(x)=12, len(y)=11"),
    "no labels": (X, U, TypeError, "tuple (x, y)"),
    "no labeled images": ((X[:0], Y[:0]), U, ValueError, "at least one image"),
    "no unlabeled images": ((X, Y), U[:0], ValueError, "at least one image"),
    "unlabeled of a list": ((X, Y), list(U), TypeError, "`unlabeled`"),
    "other size": ((X, Y), U[:, :6], ValueError, "image_size=(H, W)"),
    "no folder": ((X, Y), "no/such/folder", ValueError, "no such folder"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_refused_before_training(case):
    labeled, unlabeled, error, message = BAD_DATA[case]
    model = quick_model()
    with pytest.raises(error) as caught:
        model.fit(labeled, unlabeled, epochs=1, verbose=0)
    assert message in str(caught.value)
    assert model.outer is None
    assert model.history == {}


def test_bad_folders_are_refused_before_training(tmp_path):
    flat = write_folder(tmp_path / "flat", X)
    labeled = write_labeled_folder(tmp_path / "labeled", X, Y)
    broken = write_folder(tmp_path / "broken", U)
    (broken / "0007.png").write_bytes(b"no image")
    empty = tmp_path / "empty"
    empty.mkdir()
    model = quick_model()
    for labeled_folder, unlabeled_folder, message in (
        (flat, U, "no sub-folders"),
        (labeled, empty, "at least one image"),
        (labeled, broken, "0007.png"),
    ):
        with pytest.raises(ValueError) as caught:
            model.fit(labeled_folder, unlabeled_folder, epochs=1, verbose=0)
        assert message in str(caught.value)
        assert model.outer is None


def test_bad_validation_data_is_refused_before_training():
    model = quick_model()
    for data, message in (
        ((X, Y + 1), "labels in [0, 3)"),
        ((X[:, :6], Y), "image_size=(H, W)"),
    ):
        with pytest.raises(ValueError) as caught:
            fit_once(model, validation_data=data)
        assert "`validation_data`" in str(caught.value)
        assert message in str(caught.value)
        assert model.outer is None


@pytest.mark.parametrize("name", ["epochs", "outer_epochs", "steps_per_epoch"])
@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_bad_length_is_refused_before_training(name, value):
    model = quick_model()
    with pytest.raises(ValueError, match=f"`{name}` must be an integer of at least 1"):
        fit_once(model, **{name: value})
    assert model.outer is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *((n, v, n) for n in ("tau", "tau_select", "tau_inner") for v in (-0.1, 1.5)),
        ("ema_decay", 1.0, "[0, 1)"),
        ("lambda_u", -1, "lambda_u"),
        ("embedding_dim", 0, "at least 1"),
        ("batch_size", 0, "at least 1"),
        ("unlabeled_ratio", 0, "at least 1"),
        ("seed", -1, "at least 0"),
        ("image_size", 32, "(height, width)"),
        ("weights", "no/such/file", "path of a weights file"),
        ("backbone", "eficientnetb0", "efficientnetb0"),
        ("clustering", "kmean", "Did you mean 'kmeans'"),
        ("unlabeled_loss", "sc", "sce"),
        ("weak_augmentation", "flipshift", "Did you mean 'flip_shift'"),
        ("strong_augmentation", "rand_augment", "Did you mean 'randaugment'"),
        ("teacher", "emma", "Did you mean 'ema'"),
        ("threshold", "freemach", "Did you mean 'freematch'"),
        ("inner_threshold", "softmach", "`inner_threshold` must be one of"),
        ("assignment", "majorty", "Did you mean 'majority'"),
        ("clusters_per_class", 0, "at least 1"),
        ("trusted_until", 1.5, "trusted_until=1.5"),
        ("inner_init", "outter", "Did you mean 'outer'"),
        ("mixed_precision", "mixed_float_16", "Did you mean 'mixed_float16'"),
        ("optimizer", "adamm", "adamm"),
    ],
)
def test_bad_arguments_are_refused_at_once(name, value, message):
    with pytest.raises(ValueError) as caught:
        quick_model(**{name: value})
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["backbone", "clustering", "unlabeled_loss"])
def test_arguments_of_another_kind_are_refused_at_once(name):
    with pytest.raises(TypeError, match=name if name != "unlabeled_loss" else "loss"):
        quick_model(**{name: 7})


# Options


@weak_trusted_set
@pytest.mark.parametrize("inner_init, share", [("fresh", 0), ("shrunk", 0.5)])
def test_inner_network_starts_from_a_share_of_the_outer_one(inner_init, share):
    still = keras.optimizers.SGD(0.0)
    model = quick_model(inner_init=inner_init, tau_select=0.0, optimizer=still)
    fit_once(model, steps_per_epoch=1)
    data = model.load_data(squares(12, 0), squares(40, 1)[0])
    fresh = model.new_network("inner", data, model.seed)
    for start, own, outer in zip(
        model.inner.student.get_weights(),
        fresh.student.get_weights(),
        model.outer.student.get_weights(),
        strict=True,
    ):
        np.testing.assert_allclose(start, share * outer + (1 - share) * own, atol=1e-6)


@weak_trusted_set
def test_an_outer_network_trained_before_is_taken_as_it_is():
    whole = quick_model(tau_select=0.0)
    fit_once(whole)
    outer = FixMatch(**{k: getattr(whole, k) for k in SHARED})
    fit_once(outer)
    model = quick_model(tau_select=0.0)
    history = fit_once(model, outer=outer.network)
    assert model.outer is outer.network
    assert history["outer"] == {}
    assert history["inner"] == whole.history["inner"]
    np.testing.assert_array_equal(model.predict(U), whole.predict(U))
    # The passes of the outer network are counted where it was trained.
    assert outer.image_passes + model.image_passes == whole.image_passes


def test_an_outer_network_that_does_not_fit_is_refused(trained):
    model = quick_model()
    with pytest.raises(TypeError, match="`outer` must be a FixMatch network"):
        fit_once(model, outer=trained[0])
    with pytest.raises(ValueError, match=r"shape \(9, 9, 3\) and know 3 classes"):
        fit_once(
            model,
            labeled=squares(12, 0, side=9),
            unlabeled=squares(20, 1, side=9)[0],
            outer=trained[0].outer,
        )
    with pytest.raises(ValueError, match="`outer_epochs` must be None"):
        fit_once(model, outer=trained[0].outer, outer_epochs=3)
    other = quick_model(embedding_dim=4)
    with pytest.raises(ValueError, match="`outer` must have the architecture"):
        fit_once(other, outer=trained[0].outer)
    assert model.outer is None and other.outer is None


def test_a_fresh_inner_network_may_differ_from_the_outer_one(trained):
    model = quick_model(embedding_dim=4, inner_init="fresh", tau_select=0.5)
    fit_once(model, outer=trained[0].outer)
    assert model.inner.student.get_layer("embedding").units == 4


@weak_trusted_set
def test_a_large_network_teaches_a_small_one(tmp_path):
    model = quick_model(
        outer_backbone="small_cnn", inner_init="fresh", tau_select=0.0, optimizer=None
    )
    fit_once(model)
    outer, inner = model.outer.student, model.inner.student
    assert outer.count_params() > 10 * inner.count_params()
    assert len(model.trusted_set.pseudo_labels) == 40
    model.save(tmp_path / "saved")
    loaded = KDFixMatch.load(tmp_path / "saved")
    assert loaded.outer_backbone == "small_cnn"
    np.testing.assert_array_equal(loaded.predict(U), model.predict(U))
    np.testing.assert_array_equal(
        loaded.outer.predict(U, verbose=0), model.outer.predict(U, verbose=0)
    )


def test_each_network_has_the_optimizer_of_what_it_starts_from():
    model = quick_model(
        outer_backbone="efficientnet_lite0", inner_init="fresh", optimizer=None
    )
    data = model.load_data(squares(12, 0), squares(40, 1)[0])
    assert model.new_outer(data, 0).is_pretrained
    assert not model.new_inner(data, 0).is_pretrained


@weak_trusted_set
def test_a_fit_counts_its_image_passes():
    model = quick_model(tau_select=0.0)
    fit_once(model, epochs=3, outer_epochs=2)
    # 8 labeled and 16 unlabeled images to train on in each of 2 * 5 steps, which count
    # three times, 16 for the teacher, and 40 to label at the end.
    assert model.image_passes == 10 * (3 * (8 + 16) + 16) + 40
    fit_once(model)
    assert model.image_passes == 4 * (3 * (8 + 16) + 16) + 40


@weak_trusted_set
def test_the_outer_network_is_trained_half_as_long_unless_told_otherwise():
    model = quick_model(tau_select=0.0)
    history = fit_once(model, epochs=3)
    assert [len(history[stage]["loss"]) for stage in ("outer", "inner")] == [2, 3]


@weak_trusted_set
@pytest.mark.parametrize("until, shares", [(0.5, [1, 0]), (1.0, [1, 1]), (0.0, [0, 0])])
def test_trusted_labels_stand_in_until_their_time_is_over(until, shares):
    # No label of the inner network's own counts, so every target is a trusted one.
    model = quick_model(
        tau_select=0.0, tau_inner=1.0, clustering=None, trusted_until=until
    )
    history = fit_once(model, epochs=2)["inner"]
    assert history["mask_rate"] == shares
    assert history["trusted_share"] == shares


@weak_trusted_set
def test_without_a_clustering_every_confident_label_is_trusted():
    model = quick_model(tau_select=0.0, clustering=None)
    fit_once(model)
    np.testing.assert_array_equal(
        model.trusted_set.dense_labels(),
        model.outer.predict(squares(40, 1)[0], verbose=0).argmax(axis=1),
    )


@weak_trusted_set
@pytest.mark.parametrize("assignment", ["majority", "hungarian"])
def test_the_assignment_reaches_the_filter(assignment):
    class OneCluster:
        def fit_predict(self, z):
            return np.arange(len(z)) % 6

    model = quick_model(tau_select=0.0, clustering=OneCluster(), assignment=assignment)
    fit_once(model)
    named = len(np.unique(model.trusted_set.cluster[model.trusted_set.indices]))
    assert named <= 3 if assignment == "hungarian" else named == 6


@weak_trusted_set
def test_a_class_can_have_several_clusters():
    model = quick_model(
        tau_select=0.0,
        clustering="kmeans",
        assignment="majority",
        clusters_per_class=4,
    )
    fit_once(model)
    assert len(np.unique(model.trusted_set.cluster)) == 12


@weak_trusted_set
@pytest.mark.parametrize("name", ["flexmatch", "freematch", "softmatch"])
def test_thresholds_by_name_serve_both_networks(name):
    model = quick_model(
        tau_select=0.0, tau=0.3, tau_inner=0.3, threshold=name, inner_threshold=name
    )
    fit_once(model)
    rules = model.outer.threshold, model.inner.threshold
    assert rules[0] is not rules[1]
    assert type(rules[0]).__name__.lower() == f"{name}threshold"
    for rule in rules:
        state = [keras.ops.convert_to_numpy(w) for w in rule.weights]
        start = [keras.ops.convert_to_numpy(w) for w in new_rule(name).weights]
        assert any((a != b).any() for a, b in zip(state, start, strict=True))


@weak_trusted_set
def test_the_inner_network_can_have_a_threshold_of_its_own():
    model = quick_model(
        tau_select=0.0, inner_threshold=thresholds.SoftMatchThreshold(3, 1.5)
    )
    fit_once(model)
    assert isinstance(model.outer.threshold, thresholds.FixedThreshold)
    assert model.inner.threshold.num_sigmas == 1.5
    # A copy: fitting again must not start from what was learned before.
    assert model.inner.threshold is not model.inner_threshold


def new_rule(name):
    return thresholds.get(name, tau=0.95, num_classes=3, num_unlabeled=40)


@weak_trusted_set
def test_inner_network_can_start_from_the_outer_one():
    frozen = quick_model(
        inner_init="outer", tau_select=0.0, optimizer=keras.optimizers.SGD(0.0)
    )
    fit_once(frozen, steps_per_epoch=1)
    images = squares(10, 3)[0]
    np.testing.assert_allclose(
        frozen.inner.predict(images, verbose=0),
        frozen.outer.predict(images, verbose=0),
        atol=1e-6,
    )


@weak_trusted_set
def test_callbacks_are_called_in_both_stages():
    seen = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, "val_accuracy" in logs))
    )
    model = quick_model(tau_select=0.0)
    fit_once(
        model,
        epochs=2,
        outer_epochs=1,
        callbacks=[callback],
        validation_data=squares(6, 2),
    )
    assert seen == [(0, True), (0, True), (1, True)]


@weak_trusted_set
def test_callbacks_of_one_stage():
    seen = {"outer": [], "inner": []}
    callbacks = {
        stage: [
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs, s=stage: seen[s].append(epoch)
            )
        ]
        for stage in seen
    }
    model = quick_model(tau_select=0.0)
    fit_once(model, epochs=2, outer_epochs=1, callbacks=callbacks)
    assert seen == {"outer": [0], "inner": [0, 1]}
    with pytest.raises(ValueError, match="Did you mean 'inner'"):
        fit_once(model, callbacks={"iner": []})
    for wrong in (keras.callbacks.TerminateOnNaN(), ["csv"]):
        with pytest.raises(TypeError, match="list of Keras callbacks"):
            fit_once(model, callbacks={"inner": wrong})


@weak_trusted_set
@pytest.mark.parametrize("as_dictionary", [False, True])
def test_best_checkpoint_is_that_of_the_inner_network(tmp_path, as_dictionary):
    # The outer network cannot be beaten: it has another objective.
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.weights.h5",
        "mask_rate",
        save_best_only=True,
        save_weights_only=True,
        mode="min",
    )
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    callbacks = [checkpoint, log]
    if as_dictionary:
        callbacks = {"outer": callbacks, "inner": callbacks}
    model = quick_model(tau_select=0.0, tau=1.0, tau_inner=0.0)
    fit_once(model, epochs=2, outer_epochs=1, callbacks=callbacks)
    assert model.history["outer"]["mask_rate"] == [0.0]
    assert checkpoint.best is None
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4
    saved = quick_model(tau_select=0.0, tau=1.0, tau_inner=0.0)
    fit_once(saved, epochs=1, outer_epochs=1)
    saved.inner.load_weights(tmp_path / "best.weights.h5")
    assert any(
        not np.array_equal(one, other)
        for one, other in zip(
            saved.inner.get_weights(), model.outer.get_weights(), strict=True
        )
    )


@weak_trusted_set
@pytest.mark.tensorflow
def test_files_of_keras_callbacks_hold_both_stages(tmp_path):
    import tensorflow as tf

    log, events = tmp_path / "log.csv", tmp_path / "events"
    log.write_text("of an older run\n")
    logger = keras.callbacks.CSVLogger(log)
    board = keras.callbacks.TensorBoard(events)
    model = quick_model(tau_select=0.0)
    fit_once(model, epochs=3, outer_epochs=2, callbacks=[logger, board])
    header, *rows = log.read_text().splitlines()
    assert header.startswith("epoch,accuracy,")
    assert [row.split(",")[0] for row in rows] == ["0", "1", "0", "1", "2"]
    written = [float(row.split(",")[header.split(",").index("loss")]) for row in rows]
    assert written == pytest.approx(
        model.history["outer"]["loss"] + model.history["inner"]["loss"]
    )
    for stage, epochs in (("outer", 2), ("inner", 3)):
        (file,) = (events / stage / "train").glob("events*")
        tags = [
            value.tag
            for event in tf.compat.v1.train.summary_iterator(str(file))
            for value in event.summary.value
        ]
        assert tags.count("epoch_loss") == epochs
    # The callbacks are the user's: the next training must not inherit anything.
    assert not logger.append
    assert board.log_dir == str(events)


@weak_trusted_set
def test_early_stopping_starts_anew_in_each_stage():
    stopping = keras.callbacks.EarlyStopping("val_accuracy", patience=1, min_delta=2)
    model = quick_model(tau_select=0.0)
    history = fit_once(
        model,
        epochs=9,
        outer_epochs=9,
        callbacks=[stopping],
        validation_data=squares(6, 2),
    )
    assert [len(history[stage]["loss"]) for stage in ("outer", "inner")] == [2, 2]


def test_inner_network_can_be_tuned_further_as_any_keras_model(trained, tmp_path):
    # A copy: other tests use the same model.
    trained[0].save(tmp_path / "model.zip")
    model = KDFixMatch.load(tmp_path / "model.zip")
    images, labels = squares(60, 5)
    wrong = (labels + 1) % 3
    before = model.predict(images)
    assert (before.argmax(axis=1) == labels).mean() > 0.9
    model.inner.ema_decay = 0.0
    model.inner.compile(
        optimizer=keras.optimizers.Adam(0.005),
        metrics=[keras.metrics.SparseTopKCategoricalAccuracy(k=2, name="top_2")],
    )
    history = model.inner.fit(
        images, wrong, validation_split=0.1, epochs=60, batch_size=20, verbose=0
    ).history
    assert set(history) == {
        *("loss", "accuracy", "top_2", "val_loss", "val_accuracy", "val_top_2")
    }
    assert history["loss"][-1] < history["loss"][0] / 2
    assert history["top_2"][-1] > 0.9
    assert (model.predict(images).argmax(axis=1) == wrong).mean() > 0.9
    # A loss of the user's own takes the place of cross-entropy.
    model.inner.compile("sgd", loss=lambda y_true, y_pred: 7.0 + 0.0 * y_pred[:, 0])
    assert model.inner.evaluate(images, wrong, verbose=0)[0] == pytest.approx(7, abs=1)


@weak_trusted_set
def test_silence_one_line_a_stage_and_fit_again_starts_anew(capfd):
    model = quick_model(tau_select=0.0)
    fit_once(model)
    first = model.predict(U)
    model.evaluate(*squares(5, 2))
    assert capfd.readouterr().out == ""

    fit_once(model, verbose=2)
    output = capfd.readouterr().out
    assert "12 labeled and 40 unlabeled images, 3 classes" in output
    assert "40 of 40 labels are confident" in output
    assert f"{len(model.trusted_set)} of them are trusted" in output
    assert "Inner network" in output
    assert output.count("supervised_loss") == 2
    np.testing.assert_array_equal(model.predict(U), first)


class Interrupted(keras.callbacks.Callback):
    """What a user does who has waited for long enough."""

    def on_epoch_end(self, epoch, logs=None):
        raise KeyboardInterrupt


class NotToBeClustered:
    def fit_predict(self, z):
        raise MemoryError("too many")


@weak_trusted_set
@pytest.mark.parametrize("at", ["outer", "clustering", "inner"])
def test_a_model_stays_until_the_next_is_trained(at, tmp_path):
    model = quick_model(clustering=None, tau_select=0.0)
    # Whose names are to stay, too.
    fit_once(model, unlabeled=write_folder(tmp_path, squares(40, 1)[0]))
    before = vars(model).copy()
    history = {stage: dict(h) for stage, h in model.history.items()}
    probabilities = model.predict(squares(20, 3)[0])
    # Of other classes, so that a mixture of both would show.
    images, labels = squares(12, 4)
    labels = np.concatenate([labels[:8], [3] * 4])
    callbacks = None
    if at == "clustering":
        model.clustering = before["clustering"] = NotToBeClustered()
    else:
        callbacks = {at: [Interrupted()]}
    with pytest.raises((KeyboardInterrupt, MemoryError)):
        fit_once(model, (images, labels), callbacks=callbacks)
    assert vars(model) == before
    assert model.history == history
    assert model.class_names == ["0", "1", "2"]
    np.testing.assert_array_equal(model.predict(squares(20, 3)[0]), probabilities)


@weak_trusted_set
def test_what_the_first_training_got_to_is_kept():
    model = quick_model()
    with pytest.raises(KeyboardInterrupt):
        fit_once(model, callbacks={"inner": [Interrupted()]})
    assert model.inner is None
    history = fit_once(model, outer=model.outer, epochs=1)
    assert history["outer"] == {} and len(history["inner"]["loss"]) == 1


def test_empty_trusted_set_warns_and_the_inner_network_still_trains():
    model = quick_model(tau_select=1.0)
    with pytest.warns() as caught:
        fit_once(model)
    (message,) = (text for w in caught if "tau_select" in (text := str(w.message)))
    assert "trusted set is empty" in message
    assert "Lower `tau_select`" in message
    assert len(model.trusted_set) == 0
    assert model.history["inner"]["trusted_share"] == [0.0]
    assert model.predict(U).shape == (20, 3)


@weak_trusted_set
def test_mixed_precision_trains_and_predicts_float32():
    before = keras.config.dtype_policy()
    model = quick_model(mixed_precision=True, tau_select=0.0)
    fit_once(model)
    assert keras.config.dtype_policy() == before
    assert model.inner.student.get_layer("embedding").compute_dtype == "float16"
    probabilities = model.predict(U)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


class FirstAndRest:
    """A clustering of the user's own: the first three samples, and all others."""

    def fit_predict(self, z):
        return (np.arange(len(z)) >= 3).astype(int)


class HalfSquared(keras.losses.Loss):
    def call(self, y_true, y_pred):
        target = keras.ops.one_hot(keras.ops.cast(y_true, "int32"), y_pred.shape[-1])
        difference = keras.ops.softmax(y_pred) - target
        return keras.ops.sum(keras.ops.square(difference), axis=-1) / 2


class Inverted(keras.layers.Layer):
    def call(self, images):
        return 255 - images


@weak_trusted_set
def test_objects_of_the_users_own():
    model = quick_model(
        tau_select=0.0,
        clustering=FirstAndRest(),
        unlabeled_loss=HalfSquared(),
        weak_augmentation=keras.layers.RandomFlip(seed=1),
        strong_augmentation=Inverted(),
    )
    fit_once(model)
    np.testing.assert_array_equal(model.trusted_set.cluster, np.arange(40) >= 3)
    # Every target has a loss of at most 1.
    assert 0 < model.history["inner"]["unlabeled_loss"][0] <= 1
