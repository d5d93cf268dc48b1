"""Linear probe and label spreading: what needs no training."""

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kdfixmatch_keras.baselines import LabelSpreading, LinearProbe, frozen_features
from kdfixmatch_keras.baselines import linear_probe as module
from kdfixmatch_keras.baselines.logistic_regression import fold_rows
from kdfixmatch_keras.sources import ArraySource, ImageSource, LabeledImages


@pytest.fixture
def new_probe(tiny_backbone):
    def build(**changes):
        settings = {"backbone": tiny_backbone, "sizes": (8,), "seed": 0}
        return LinearProbe(**{**settings, **changes})

    return build


@pytest.fixture
def new_spreading(tiny_backbone):
    def build(**changes):
        settings = {"backbone": tiny_backbone, "size": 8, "seed": 0}
        return LabelSpreading(**{**settings, **changes})

    return build


@pytest.fixture
def fit(tiny_images):
    """Fits twelve labeled images, four of each class, and the 24 unlabeled ones."""

    def fit_model(model, count=12, **changes):
        images, labels = tiny_images
        options = {"verbose": 0, **changes}
        return model.fit((images[:count], labels[:count]), images, **options)

    return fit_model


def colors(input_shape):
    """A backbone whose features are the mean of each colour."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))


def hues(degrees):
    """Images of one colour each, whose features are a point of the unit circle."""
    angles = np.deg2rad(degrees)
    pixels = np.full((len(angles), 8, 8, 3), 127, "uint8")
    for channel, part in enumerate((np.cos(angles), np.sin(angles))):
        pixels[..., channel] = (127.5 + 100 * part)[:, None, None].round()
    return pixels


@keras.saving.register_keras_serializable(package="test_frozen_features")
class Stripes(keras.layers.Layer):
    """Tells vertical stripes of one pixel from a flat gray, which half the size is."""

    def call(self, x):
        return keras.ops.mean(keras.ops.abs(x[:, :, 1:] - x[:, :, :-1]), axis=(1, 2))


def stripes(input_shape):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, Stripes()(inputs))


class Counted(ImageSource):
    """Images that know how often each of them was read."""

    def __init__(self, images):
        super().__init__(images.shape[1:], None)
        self.images = images
        self.reads = np.zeros(len(images), int)

    def __len__(self):
        return len(self.images)

    def _read(self, indices):
        np.add.at(self.reads, indices, 1)
        return self.images[indices]


def test_a_model_stays_until_the_next_is_fitted(
    new_probe, new_spreading, fit, tiny_images, monkeypatch
):
    images, _ = tiny_images
    models = [new_probe(), new_spreading()]
    for model in models:
        fit(model)
    before = [vars(model).copy() for model in models]
    probabilities = [model.predict(images) for model in models]

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(frozen_features, "join", fail)
    for model, state, expected in zip(models, before, probabilities, strict=True):
        with pytest.raises(MemoryError):
            fit(model, count=6)
        assert vars(model) == state
        np.testing.assert_array_equal(model.predict(images), expected)


# Linear probe


def test_colours_are_told_apart(new_probe, fit, tiny_images):
    images, labels = tiny_images
    probe = new_probe(backbone=colors)
    history = fit(probe)
    assert probe.history is history
    assert set(history) == {"size", "C", "accuracy", "cross_entropy"}
    assert {len(column) for column in history.values()} == {7}
    assert probe.cross_validated_accuracy == 1.0
    result = probe.evaluate(images, labels)
    assert result["accuracy"] == 1.0
    assert result["loss"] < 0.1
    assert probe.class_names == ["0", "1", "2"]


@pytest.mark.parametrize("classes", [2, 3])
def test_the_network_computes_what_scikit_learn_does(
    new_probe, tiny_images, classes, tmp_path
):
    images, labels = tiny_images
    # Red alone, which tells the class 0 from the others.
    images, labels = images[labels < classes, ..., :1], labels[labels < classes]
    probe = new_probe()
    probe.fit((images[:14], labels[:14]), images, verbose=0)
    student = probe.network.student
    embedding = student.get_layer("embedding")
    inner = keras.Model(student.input, [embedding.input, embedding.output])
    features, standardised = (
        np.asarray(keras.ops.convert_to_numpy(z), dtype=np.float64)
        for z in inner(images)
    )
    pipeline = make_pipeline(
        StandardScaler(), LogisticRegression(C=probe.used_C, max_iter=1000)
    ).fit(features[:14], labels[:14])
    expected = pipeline.predict_proba(features)
    assert 1e-4 < expected.min() < 0.4
    found = probe.predict(images)
    assert found.shape == (len(images), classes) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(standardised, pipeline[0].transform(features), atol=1e-4)
    logits = student.get_layer("logits").output
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    probe.network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), found)


def test_the_size_and_strength_of_the_best_score_are_taken(new_probe):
    rng = np.random.default_rng(0)
    labels = np.arange(20, dtype=np.int32) % 2
    images = rng.integers(120, 136, (20, 8, 8, 1)).astype(np.uint8)
    images[labels == 1, :, ::2] -= 12
    images[labels == 1, :, 1::2] += 12
    probe = new_probe(backbone=stripes, sizes=(4, 8, 16))
    history = probe.fit((images, labels), images, verbose=0)
    best = np.flatnonzero(np.equal(history["accuracy"], max(history["accuracy"])))
    # Halved, the stripes are gone; doubled, they are no better than as they are.
    assert {history["size"][row] for row in best} == {8, 16}
    assert probe.used_size == (8, 8)
    of_size = [row for row in best if history["size"][row] == 8]
    chosen = min(of_size, key=lambda row: history["cross_entropy"][row])
    assert probe.used_C == history["C"][chosen]
    assert probe.cross_validated_accuracy == history["accuracy"][chosen] == 1.0
    halved = np.equal(history["size"], 4)
    assert np.max(np.array(history["accuracy"])[halved]) < 1
    assert probe.network.student.input_shape == (None, 8, 8, 1)


def test_images_keep_their_proportions_and_are_read_once(new_probe):
    labels = np.arange(12, dtype=np.int32) % 2
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 12, 3)).astype("uint8")
    source = Counted(pixels)
    probe = new_probe(sizes=[16, 4, 4])
    assert probe.sizes == (4, 16)
    data = LabeledImages(source, labels, ["a", "b"])
    probe.fit(data, ArraySource(pixels), verbose=0)
    assert probe.used_size in [(4, 6), (16, 24)]
    preprocessing = probe.network.student.get_layer("preprocessing")
    assert preprocessing.output.shape[1:3] == probe.used_size
    assert probe.image_passes == 2 * 12
    alone = Counted(pixels)
    new_probe(sizes=[4]).fit(
        LabeledImages(alone, labels, ["a", "b"]), ArraySource(pixels), verbose=0
    )
    np.testing.assert_array_equal(source.reads, alone.reads)


def test_a_model_for_one_size_gets_its_own(new_probe, fit):
    probe = new_probe(backbone=colors((10, 10, 3)), sizes=(8, 16))
    fit(probe)
    assert probe.used_size == (10, 10)
    assert set(probe.history["size"]) == {10}


def test_a_seed_fixes_everything_and_none_draws_anew(new_probe, fit):
    probes = []
    for global_seed, seed in ((1, 0), (2, 0), (3, None)):
        keras.utils.set_random_seed(global_seed)
        probes.append(new_probe(seed=seed))
        fit(probes[-1])
    first, second, drawn = (p.network.student.get_weights() for p in probes)
    assert probes[0].history == probes[1].history
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(drawn[0], first[0])


def test_nothing_but_the_labels_counts(new_probe, tiny_images):
    images, labels = tiny_images
    called = []
    callback = keras.callbacks.LambdaCallback(on_train_begin=called.append)
    others = 255 - images
    wrong = (others, (labels + 1) % 3)
    probes = []
    for unlabeled, length, validation_data in (
        (images, 1, (others, labels)),
        (255 - images[:3], 5, wrong),
    ):
        probe = new_probe(sizes=(4, 8))
        probe.fit(
            *((images[:12], labels[:12]), unlabeled, validation_data),
            epochs=length,
            steps_per_epoch=length,
            callbacks=[callback],
            verbose=0,
        )
        probes.append(probe)
    first, second = probes
    assert first.history == second.history
    assert first.used_size == second.used_size
    np.testing.assert_array_equal(
        first.validation_probabilities, second.validation_probabilities
    )
    np.testing.assert_array_equal(first.validation_probabilities, first.predict(others))
    assert called == []


def test_folds_are_stratified_and_keep_what_is_alone_in_the_fit():
    labels = np.array([0] * 7 + [1] * 3 + [2], dtype=np.int32)
    folds = fold_rows(labels, seed=0)
    # Three, as of the class 1, and five times, as so few labels are.
    assert len(folds) == 15
    for repeat in range(5):
        held_out = [held for _, held in folds[3 * repeat : 3 * repeat + 3]]
        assert sorted(np.concatenate(held_out).tolist()) == list(range(10))
    for fitted, held in folds:
        assert sorted([*fitted, *held]) == list(range(11))
        assert set(labels[fitted]) == {0, 1, 2}
        assert np.bincount(labels[held], minlength=3)[1] == 1
    for count, expected in ((40, 25), (250, 10), (1000, 5)):
        assert len(fold_rows(np.arange(count, dtype=np.int32) % 2, 0)) == expected
    assert fold_rows(np.arange(4, dtype=np.int32), seed=0) == []


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_one_label_of_a_class_and_one_of_each(new_probe, tiny_images):
    images, labels = tiny_images
    few = [0, 1, 2, 3, 6, 9]  # of the classes 0, 1, 2, 0, 0, 0
    probe = new_probe(backbone=colors)
    probe.fit((images[few], labels[few]), images, verbose=0)
    assert probe.cross_validated_accuracy == 1.0
    assert probe.evaluate(images, labels)["accuracy"] == 1.0

    probe = new_probe(backbone=colors, sizes=(4, 8))
    with pytest.warns(UserWarning, match="No class has two .* size, 8 pixels, and C=0"):
        history = probe.fit((images[:3], labels[:3]), images, verbose=0)
    assert history == {"size": [], "C": [], "accuracy": [], "cross_entropy": []}
    assert probe.cross_validated_accuracy is None
    assert (probe.used_size, probe.used_C) == ((8, 8), 0.01)
    assert probe.evaluate(images, labels)["accuracy"] == 1.0


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_fit_that_is_called_once_more_finds_what_was_kept(
    new_probe, fit, tiny_images, tmp_path, monkeypatch
):
    images, labels = tiny_images
    others = 255 - images
    options = {"run_dir": tmp_path / "state", "validation_data": (others, labels)}
    first = new_probe(seed=None)
    fit(first, **options)
    kept = sorted(path.name for path in (tmp_path / "state").glob("*.npz"))
    assert kept == ["linear_probe.npz", "linear_probe_validation.npz"]

    def fail(*arguments, **keywords):
        raise AssertionError("computed again")

    with monkeypatch.context() as patched:
        patched.setattr(module.frozen_features, "embed", fail)
        patched.setattr(module.frozen_features, "predict", fail)
        again = new_probe(seed=None)
        fit(again, **options)
    for name in ("history", "used_size", "used_C", "image_passes", "used_seed"):
        assert getattr(again, name) == getattr(first, name), name
    for found in (again.validation_probabilities, again.predict(others)):
        np.testing.assert_array_equal(found, first.validation_probabilities)

    path = tmp_path / "state" / "linear_probe.npz"
    path.write_bytes(path.read_bytes()[:-30])
    mended = new_probe(seed=None)
    with pytest.warns(UserWarning, match="linear_probe.npz is damaged .* computed aga"):
        fit(mended, **options)
    assert mended.history == first.history
    np.testing.assert_array_equal(mended.predict(images), first.predict(images))

    with pytest.raises(ValueError, match=r"other sizes \(\[8\] there, \[4\] here\)"):
        fit(new_probe(seed=None, sizes=(4,)), **options)
    # What another training has kept is not taken for that of this one.
    other = {**options, "run_dir": tmp_path / "other"}
    fit(new_probe(seed=1), **other)
    path.write_bytes((tmp_path / "other" / "linear_probe.npz").read_bytes())
    with pytest.warns(UserWarning, match="is not what this training has kept"):
        fit(mended, **options)
    np.testing.assert_array_equal(mended.predict(images), first.predict(images))


def test_half_precision(new_probe, fit, tiny_images):
    images, labels = tiny_images
    probe = new_probe(mixed_precision="mixed_bfloat16", backbone=colors)
    fit(probe)
    assert probe.network.student.get_layer("embedding").compute_dtype == "bfloat16"
    assert probe.evaluate(images, labels)["accuracy"] == 1.0


@pytest.mark.tensorflow
def test_a_probe_is_exported(new_probe, fit, tiny_images, tmp_path):
    import onnxruntime
    import tensorflow as tf

    images, _ = tiny_images
    probe = new_probe(sizes=(12,))
    fit(probe)
    expected = probe.predict(images)
    probe.export(tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served")).signatures["serving_default"]
    answer = served(images=tf.constant(images))["probabilities"]
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    probe.export(tmp_path / "probe.onnx", format="onnx")
    session = onnxruntime.InferenceSession(tmp_path / "probe.onnx")
    (answer,) = session.run(["probabilities"], {"images": images})
    np.testing.assert_allclose(answer, expected, atol=1e-5)


# Label spreading


def test_labels_reach_the_unlabeled_and_new_images(new_spreading):
    labels = np.arange(60, dtype=np.int32) % 3
    images = np.random.default_rng(0).integers(0, 120, (60, 8, 8, 3), np.uint8)
    images[np.arange(60), :, :, labels] += 100
    model = new_spreading(backbone=colors)
    history = model.fit((images[:6], labels[:6]), images, verbose=0)
    assert history == {} == model.history
    np.testing.assert_array_equal(model.pseudo_labels, labels)
    assert model.pseudo_labels.dtype == np.int32
    assert model.image_passes == 6 + 60
    probabilities = model.predict(images[:5], batch_size=2)
    assert probabilities.shape == (5, 3) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    result = model.evaluate(images, labels)
    assert result["accuracy"] == 1.0
    of_truth = model.predict(images)[np.arange(60), labels]
    assert result["loss"] == pytest.approx(-np.log(of_truth).mean(), abs=1e-6)
    assert model.evaluate(images, (labels + 1) % 3)["accuracy"] == 0


def test_unlabeled_images_bridge_what_labels_alone_do_not(new_spreading):
    # Two arcs, each labeled at one end: the other end of the first is nearer to the
    # label of the second.
    degrees = np.concatenate([np.arange(0, 101, 2), np.arange(150, 251, 2)])
    images, truth = hues(degrees), (degrees > 125).astype("int32")
    labeled = [0, 51]
    model = new_spreading(backbone=colors)
    model.fit((images[labeled], truth[labeled]), images, verbose=0)
    np.testing.assert_array_equal(model.pseudo_labels, truth)
    assert model.predict(hues([95, 155])).argmax(axis=1).tolist() == [0, 1]


def test_where_no_label_arrives_all_classes_are_as_probable(new_spreading):
    images = hues(np.repeat([0, 100, 250], 20) + np.arange(60) % 20)
    model = new_spreading(backbone=colors)
    model.fit((images[[0, 20]], np.array([0, 1])), images, verbose=0)
    assert set(model.pseudo_labels[:20]) == {0}
    assert set(model.pseudo_labels[40:]) == {-1}
    np.testing.assert_array_equal(model.predict(images[40:]), np.full((20, 2), 0.5))


def test_label_spreading_is_not_exported(new_spreading, fit, tiny_images, tmp_path):
    images, labels = tiny_images
    model = new_spreading()
    for use in (lambda: model.predict(images), lambda: model.evaluate(images, labels)):
        with pytest.raises(RuntimeError, match="Call `fit` first"):
            use()
    fit(model)
    for format in ("tf_saved_model", "onnx"):
        with pytest.raises(RuntimeError, match="no network to export.*`LinearProbe`"):
            model.export(tmp_path / "export.onnx", format=format)
    assert not list(tmp_path.iterdir())


def test_label_spreading_is_fixed_by_a_seed(new_spreading, fit, tiny_images):
    images, _ = tiny_images
    first, second, drawn = (new_spreading(seed=seed) for seed in (0, 0, None))
    for model in (first, second, drawn):
        fit(model)
    np.testing.assert_array_equal(first.predict(images), second.predict(images))
    assert drawn.pseudo_labels.shape == (24,)


@pytest.mark.parametrize("kind", [LinearProbe, LabelSpreading])
def test_16_bit_files_are_scaled_as_those_of_the_labels(
    kind, tiny_backbone, tmp_path, capsys
):
    draw = np.random.default_rng(0)
    for index in range(4):
        folder = tmp_path / "labeled" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 4096, (8, 8)).astype(np.uint16)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    size = {"sizes": (8,)} if kind is LinearProbe else {"size": 8}
    model = kind(backbone=tiny_backbone, seed=0, **size)
    model.fit(tmp_path / "labeled", tmp_path / "labeled", verbose=2)
    assert "Labeled images: 4 files have 16 bits, their" in capsys.readouterr().out
    dark = (pixels // 8)[None]
    (tmp_path / "new" / "a").mkdir(parents=True)
    Image.fromarray(dark[0]).save(tmp_path / "new" / "a" / "0.png")
    shallow = (dark >> 4).astype(np.uint8)
    found = model.predict(tmp_path / "new")
    np.testing.assert_array_equal(found, model.predict(shallow))
    found = model.evaluate(tmp_path / "new")
    assert found == pytest.approx(model.evaluate(shallow, [0]))


@pytest.mark.parametrize("kind", [LinearProbe, LabelSpreading])
def test_bad_arguments_leave_a_model_as_it_was(kind, tiny_backbone, fit, tiny_images):
    images, labels = tiny_images
    model = kind(tiny_backbone)
    with pytest.raises(ValueError, match="`epochs` must be an integer"):
        fit(model, epochs=0)
    with pytest.raises(ValueError, match="`validation_data`"):
        fit(model, validation_data=(images, labels + 1))
    with pytest.raises(RuntimeError, match="Call `fit` first"):
        model.predict(images)
