import hashlib
import importlib.metadata
import json
import os
import pickle
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras import KDFixMatch, TrustedSet
from kdfixmatch_keras.serving import saving
from kdfixmatch_keras.sources.intensity import IntensityRange
from tests.untraced import untraced

# Two steps make no good network; what a weak trusted set says is tested elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore:.*trusted:UserWarning")

NAMES = ("model.keras.zip", "folder")


def train(images, labels, **changes):
    settings = {
        "backbone": "small_cnn",
        "embedding_dim": 8,
        "clustering": "kmeans",
        "tau": 0.9,
        "tau_select": 0.0,
        "weak_augmentation": "shift",
        "strong_augmentation": keras.layers.Pipeline([keras.layers.Identity()]),
        "unlabeled_loss": "gce",
        "optimizer": keras.optimizers.Adam(0.01),
        "image_size": (8, 8),
        "batch_size": 4,
        "unlabeled_ratio": 2,
        "seed": 0,
    }
    model = KDFixMatch(**{**settings, **changes})
    fit(model, images, labels)
    return model


def fit(model, images, labels):
    with untraced():
        model.fit(
            (images[:6], labels[:6]), images, epochs=1, steps_per_epoch=2, verbose=0
        )


def made_images():
    labels = np.arange(24, dtype=np.int32) % 3
    images = np.random.default_rng(0).integers(0, 120, (24, 8, 8, 3), np.uint8)
    images[np.arange(24), :, :, labels] += 100
    return images, labels


@pytest.fixture(scope="module")
def model():
    return train(*made_images())


@pytest.fixture
def images(tiny_images):
    return tiny_images[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_model_is_the_saved_one(model, images, tmp_path, name):
    path = tmp_path / "new" / name
    model.save(path)
    assert path.is_dir() == (name == "folder")
    loaded = KDFixMatch.load(path)

    np.testing.assert_array_equal(loaded.predict(images), model.predict(images))
    np.testing.assert_array_equal(
        loaded.outer.predict(images, verbose=0), model.outer.predict(images, verbose=0)
    )
    trusted = loaded.trusted_set
    for field in ("pseudo_labels", "confidence", "cluster", "trusted"):
        np.testing.assert_array_equal(
            getattr(trusted, field), getattr(model.trusted_set, field)
        )
    assert trusted.tau_select == model.trusted_set.tau_select
    assert loaded.history == model.history
    assert loaded.class_names == model.class_names
    assert tuple(loaded.image_size) == (8, 8)
    for setting in ("backbone", "tau", "unlabeled_loss", "seed", "embedding_dim"):
        assert getattr(loaded, setting) == getattr(model, setting)
    assert loaded.optimizer.get_config() == model.optimizer.get_config()


def test_a_model_of_16_bit_files_keeps_their_range(tmp_path):
    """What is predicted is scaled as what was learned, and by a loaded model too."""
    images, labels = made_images()
    deep = images.astype(np.uint16) * 14 + 3  # Of 12 bits.
    for name, some in (("labeled", 6), ("unlabeled", 24)):
        for index in range(some):
            folder = tmp_path / name
            folder = folder / "abc"[labels[index]] if name == "labeled" else folder
            folder.mkdir(parents=True, exist_ok=True)
            gray = Image.fromarray(deep[index, ..., 0])
            gray.save(folder / f"{index:02}.png")
    model = KDFixMatch("small_cnn", weights=None, embedding_dim=8, batch_size=4, seed=0)
    with untraced():
        model.fit(
            *(tmp_path / "labeled", tmp_path / "unlabeled"),
            **{"epochs": 1, "steps_per_epoch": 1, "verbose": 0},
        )
    assert model.intensity_range == IntensityRange(0, 4095)
    model.save(tmp_path / "model")
    loaded = KDFixMatch.load(tmp_path / "model")
    assert loaded.intensity_range == model.intensity_range
    # One frame, dark by itself.
    (tmp_path / "new").mkdir()
    dark = deep[0, ..., 0] // 16
    Image.fromarray(dark).save(tmp_path / "new" / "dark.png")
    expected = model.predict((dark >> 4).astype(np.uint8)[None])
    for one in (model, loaded):
        np.testing.assert_array_equal(one.predict(tmp_path / "new"), expected)
        found = one.evaluate(tmp_path / "labeled")
        shallow = (deep[:6, ..., 0] >> 4).astype(np.uint8)
        assert found == pytest.approx(one.evaluate(shallow, labels[:6]))
    loaded.intensity_range = None
    with pytest.raises(ValueError, match="16-bit pixels, where the images of training"):
        loaded.predict(tmp_path / "new")


def test_what_changes_nothing_but_the_training_may_be_in_a_model(
    model, images, tmp_path
):
    model.save(tmp_path / "model")
    settings = tmp_path / "model" / saving.SETTINGS
    content = json.loads(settings.read_text())
    content["arguments"]["strong_views"] = "targeted"
    settings.write_text(json.dumps(content))
    network = tmp_path / "model" / "inner.keras"
    with zipfile.ZipFile(network) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["strong_views"] = "targeted"
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(network, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    (tmp_path / "model" / saving.SUMS).write_text(saving._sums(tmp_path / "model"))
    loaded = KDFixMatch.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(images), model.predict(images))


def test_a_loaded_model_trains_as_the_saved_one_would(model, tiny_images, tmp_path):
    model.save(tmp_path / "model.zip")
    loaded = KDFixMatch.load(tmp_path / "model.zip")
    fit(loaded, *tiny_images)
    np.testing.assert_array_equal(
        loaded.predict(tiny_images[0]), model.predict(tiny_images[0])
    )


def test_a_model_loads_without_the_package_of_its_first_weights(
    model, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(model, "backbone", "efficientnet_lite0")
    model.save(tmp_path / "model")
    path = tmp_path / "gone.pth"
    monkeypatch.setattr(
        importlib.metadata.PathDistribution, "locate_file", lambda self, name: path
    )
    loaded = KDFixMatch.load(tmp_path / "model")
    assert (loaded.backbone, loaded.weights) == ("efficientnet_lite0", "imagenet")
    np.testing.assert_array_equal(loaded.predict(images), model.predict(images))


def test_a_loaded_model_can_be_saved_again(model, images, tmp_path):
    model.save(tmp_path / "first.zip")
    KDFixMatch.load(tmp_path / "first.zip").save(tmp_path / "second")
    again = KDFixMatch.load(tmp_path / "second")
    np.testing.assert_array_equal(again.predict(images), model.predict(images))


def test_nothing_is_pickled(model, images, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("pickle was used")

    for name in ("load", "loads", "dump", "dumps", "Unpickler", "Pickler"):
        monkeypatch.setattr(pickle, name, refuse)
    model.save(tmp_path / "model.zip")
    KDFixMatch.load(tmp_path / "model.zip").predict(images)
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert set(archive.namelist()) == {
            "settings.json",
            "trusted.npz",
            "outer.keras",
            "inner.keras",
            "SHA256SUMS",
        }
        json.loads(archive.read("settings.json"))


@pytest.mark.parametrize("name", NAMES)
def test_replaces_a_saved_model_and_leaves_nothing_else(model, images, tmp_path, name):
    path = tmp_path / name
    model.save(path)
    model.save(path)
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(
        KDFixMatch.load(path).predict(images), model.predict(images)
    )


def test_refuses_to_replace_anything_else(model, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "photo.png").write_bytes(b"precious")
    file = tmp_path / "thesis.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("thesis.tex", "precious")
    text = tmp_path / "notes"
    text.write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    for path in (folder, file, text):
        with pytest.raises(ValueError, match="holds something else"):
            model.save(path)
    assert (folder / "photo.png").read_bytes() == b"precious"
    with zipfile.ZipFile(file) as archive:
        assert archive.read("thesis.tex") == b"precious"
    assert text.read_text() == "precious"
    assert sorted(tmp_path.rglob("*")) == before


def test_loading_something_else_says_so(tmp_path):
    (tmp_path / "text.zip").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("settings.json", "{}")
    (tmp_path / "empty").mkdir()
    for name in ("text.zip", "other.zip", "empty", "missing.zip"):
        with pytest.raises(ValueError, match="model that KDFixMatch.save wrote") as e:
            KDFixMatch.load(tmp_path / name)
        assert name in str(e.value)


def test_a_later_format_is_refused(model, tmp_path):
    model.save(tmp_path / "model")
    settings = tmp_path / "model" / "settings.json"
    content = json.loads(settings.read_text())
    settings.write_text(json.dumps({**content, "format_version": 999}))
    with pytest.raises(ValueError, match="format 999"):
        KDFixMatch.load(tmp_path / "model")


@pytest.mark.parametrize(
    "member", ["settings.json", "trusted.npz", "inner.keras", "SHA256SUMS"]
)
def test_a_flipped_bit_is_refused_by_name(model, tmp_path, member):
    path = tmp_path / "model"
    model.save(path)
    content = bytearray((path / member).read_bytes())
    content[len(content) // 2] ^= 1
    (path / member).write_bytes(content)
    with pytest.raises(ValueError, match="that KDFixMatch.save wrote, and unch") as e:
        KDFixMatch.load(path)
    assert str(path) in str(e.value)
    # JSON may be none that can be read, or other than it was.
    assert member in str(e.value)


def test_settings_that_are_cut_are_refused_by_name(model, tmp_path):
    path = tmp_path / "model"
    model.save(path)
    settings = (path / "settings.json").read_text()
    (path / "settings.json").write_text(settings[:-5])
    with pytest.raises(ValueError, match=r"settings\.json was changed or damaged"):
        KDFixMatch.load(path)


def test_a_changed_setting_is_refused(model, tmp_path):
    path = tmp_path / "model"
    model.save(path)
    settings = (path / "settings.json").read_text()
    (path / "settings.json").write_text(settings.replace('"tau": 0.9', '"tau": 0.8'))
    with pytest.raises(ValueError, match=r"settings\.json was changed"):
        KDFixMatch.load(path)


def test_checksums_are_those_of_sha256sum(model, tmp_path):
    model.save(tmp_path / "model")
    lines = (tmp_path / "model" / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == 4
    for line in lines:
        digest, name = line.split("  ")
        content = (tmp_path / "model" / name).read_bytes()
        assert digest == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("evil", ["../evil", "/evil", "a/../../evil"])
def test_an_archive_cannot_write_elsewhere(model, images, tmp_path, evil):
    path = tmp_path / "folder" / "model.zip"
    model.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(evil, b"evil")
    before = sorted(tmp_path.rglob("*"))
    np.testing.assert_array_equal(
        KDFixMatch.load(path).predict(images), model.predict(images)
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_an_archive_that_explodes_is_refused(model, tmp_path):
    model.save(tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (tmp_path / "model").iterdir():
            bomb = file.name == "trusted.npz"
            archive.writestr(file.name, bytes(50 << 20) if bomb else file.read_bytes())
    with pytest.raises(ValueError, match=r"trusted\.npz would unpack to 52,"):
        KDFixMatch.load(tmp_path / "bomb.zip")


def deflated(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("member", ["trusted.npz", "inner.keras"])
def test_a_member_that_explodes_is_refused(model, tmp_path, member):
    path = tmp_path / "model"
    model.save(path)
    deflated(path / member, zeros=bytes(70 << 20))
    (path / "SHA256SUMS").write_text(saving._sums(path), encoding="utf-8")
    with pytest.raises(ValueError, match="would unpack to 73,400,320") as caught:
        KDFixMatch.load(path)
    assert str(path) in str(caught.value)


def test_a_trusted_set_that_explodes_is_refused(tmp_path):
    deflated(tmp_path / "trusted.npz", zeros=bytes(70 << 20))
    with pytest.raises(ValueError, match="would unpack to 73,400,320"):
        TrustedSet.load(tmp_path / "trusted.npz")


def test_a_large_trusted_set_in_which_nothing_is_trusted_loads(tmp_path):
    count = 1_000_000
    trusted = TrustedSet(
        np.zeros(count, "int32"),
        np.zeros(count, "float32"),
        np.full(count, -1, "int32"),
        np.zeros(count, "bool"),
        tau_select=0.95,
        num_classes=3,
    )
    trusted.save(tmp_path / "trusted.npz")
    assert TrustedSet.load(tmp_path / "trusted.npz").num_unlabeled == count


def out_of_memory_of_pytorch(*args, **kwargs):
    raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")


def out_of_memory_of_numpy(*args, **kwargs):
    np.empty(1 << 60, np.uint8)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(out_of_memory_of_pytorch, RuntimeError), (out_of_memory_of_numpy, MemoryError)],
)
def test_too_little_memory_is_not_blamed_on_the_file(
    model, tmp_path, monkeypatch, fault, kind
):
    model.save(tmp_path / "model")
    monkeypatch.setattr(keras.saving, "load_model", fault)
    with pytest.raises(kind) as caught:
        KDFixMatch.load(tmp_path / "model")
    assert "unchanged" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("broken", [TrustedSet, keras.Model])
def test_a_failed_save_leaves_the_old_model(
    model, images, tmp_path, monkeypatch, name, broken
):
    path = tmp_path / name
    model.save(path)

    def full(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(broken, "save", full)
    with pytest.raises(OSError, match="disk full"):
        model.save(path)
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(
        KDFixMatch.load(path).predict(images), model.predict(images)
    )


class Halves:
    """A clustering of the user's own."""

    def fit_predict(self, z):
        return np.arange(len(z)) % 2


def test_own_code_is_not_saved_but_predicts(tiny_images, tiny_backbone, tmp_path):
    images, labels = tiny_images
    model = train(
        *(images, labels),
        backbone=tiny_backbone,
        pretrained=True,
        pixels="raw",
        clustering=Halves(),
    )
    model.save(tmp_path / "model.zip")
    loaded = KDFixMatch.load(tmp_path / "model.zip")
    np.testing.assert_array_equal(loaded.predict(images), model.predict(images))
    assert (loaded.pretrained, loaded.pixels) == (True, "raw")
    with pytest.raises(RuntimeError, match="backbone, clustering"):
        fit(loaded, images, labels)
    # It stays true after another round.
    loaded.save(tmp_path / "again.zip")
    again = KDFixMatch.load(tmp_path / "again.zip")
    np.testing.assert_array_equal(again.predict(images), model.predict(images))
    with pytest.raises(RuntimeError, match="backbone, clustering"):
        fit(again, images, labels)


@pytest.mark.keras_cv
def test_keras_cv_augmentation_loads_in_a_fresh_process(
    tiny_images, tiny_backbone, tmp_path
):
    images, labels = tiny_images
    model = train(
        images, labels, backbone=tiny_backbone, strong_augmentation="keras_cv"
    )
    model.save(tmp_path / "model.zip")
    np.save(tmp_path / "images.npy", images)
    program = (
        "import sys, numpy as np\n"
        "from kdfixmatch_keras import KDFixMatch\n"
        "folder = sys.argv[1]\n"
        "model = KDFixMatch.load(f'{folder}/model.zip')\n"
        "assert type(model.inner.strong_augmentation).__name__ == 'KerasCVPolicy'\n"
        "images = np.load(f'{folder}/images.npy')\n"
        "np.save(f'{folder}/answer.npy', model.predict(images))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(
        np.load(tmp_path / "answer.npy"), model.predict(images), atol=1e-6
    )


def test_all_networks_normalize_as_the_backbone_does(tiny_images, tmp_path):
    """Of which Keras's own copies, of models and of weights, know nothing."""
    images, labels = tiny_images
    normalization = keras.layers.Normalization()
    normalization.adapt(images / 127.5 - 1.0)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(normalization(inputs))
    model = train(images, labels, backbone=keras.Model(inputs, x), weights=None)
    model.inner.fit(images, labels, epochs=20, verbose=0)
    for network in (model.outer.teacher, model.inner.student, model.inner.teacher):
        (found,) = (
            layer
            for layer in network._flatten_layers()
            if isinstance(layer, keras.layers.Normalization)
        )
        for name in ("mean", "variance"):
            np.testing.assert_array_equal(
                keras.ops.convert_to_numpy(getattr(found, name)),
                keras.ops.convert_to_numpy(getattr(normalization, name)),
            )
    model.save(tmp_path / "model.zip")
    loaded = KDFixMatch.load(tmp_path / "model.zip")
    np.testing.assert_array_equal(loaded.predict(images), model.predict(images))


# Of NumPy, about what Keras does with other backends.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_code_that_is_gone_is_not_needed_to_predict(tiny_images, tmp_path):
    images, labels = tiny_images

    # No program finds what is defined in a function.
    class Darker(keras.layers.Layer):
        def call(self, images):
            return images // 2

    class Falling(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1 * 0.9 ** keras.ops.cast(step, "float32")

        def get_config(self):
            return {}

    model = train(
        *(images, labels),
        weak_augmentation=Darker(),
        strong_augmentation=keras.layers.Lambda(lambda x: 255 - x),
        optimizer=keras.optimizers.SGD(Falling()),
    )
    model.save(tmp_path / "model.zip")
    with pytest.warns(UserWarning) as caught:
        loaded = KDFixMatch.load(tmp_path / "model.zip")
    assert any(
        "without what it was compiled with (Could not locate class 'Falling'). Call "
        "its `compile` before you train it on." in str(warning.message)
        for warning in caught
    )
    # That they are lost is kept.
    loaded.save(tmp_path / "again.zip")
    for found in (loaded, KDFixMatch.load(tmp_path / "again.zip")):
        np.testing.assert_array_equal(found.predict(images), model.predict(images))
        assert found.evaluate(images, labels) == model.evaluate(images, labels)
        with pytest.raises(RuntimeError, match="weak_augmentation, strong_augmentati"):
            fit(found, images, labels)
        with (
            untraced(),
            pytest.raises(RuntimeError, match="without an augmentation of your own"),
        ):
            found.inner.fit(images, labels, verbose=0)
    # On JAX a step that fails takes the weights with it.
    given = KDFixMatch.load(tmp_path / "again.zip").inner
    given.weak_augmentation = Darker()
    with untraced():
        given.fit(images, labels, verbose=0)


class Rising(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that Keras has no configuration of."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate * (1.0 + keras.ops.cast(step, "float32"))


@pytest.mark.parametrize("rate", [Rising(1e-3), lambda: 3e-3], ids=["class", "lambda"])
def test_a_rate_without_a_configuration_is_saved_as_its_last(
    rate, tiny_images, tmp_path
):
    images, labels = tiny_images
    model = train(images, labels, optimizer=keras.optimizers.SGD(rate, momentum=0.9))
    model.save(tmp_path / "model.zip")
    loaded = KDFixMatch.load(tmp_path / "model.zip")
    np.testing.assert_array_equal(loaded.predict(images), model.predict(images))
    optimizers = model.inner.optimizer, loaded.inner.optimizer
    rates = [float(optimizer.learning_rate) for optimizer in optimizers]
    assert rates == pytest.approx([3e-3, 3e-3])
    for own, other in zip(*(o.variables for o in optimizers), strict=True):
        np.testing.assert_array_equal(own, other)
    assert loaded.unsaved_arguments == ["optimizer"]
