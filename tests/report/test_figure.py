import copy

import keras
import matplotlib
import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras import KDFixMatch
from kdfixmatch_keras.plots import plot_run
from kdfixmatch_keras.report import fonts
from kdfixmatch_keras.report.fonts import families_for
from tests.untraced import untraced

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted:UserWarning")

IMAGES = np.random.default_rng(0).integers(0, 255, (24, 8, 8, 1), np.uint8)
LABELS = np.arange(24) % 3


def convolution(input_shape):
    return keras.Sequential(
        [keras.layers.Input(input_shape), keras.layers.Conv2D(4, 3, strides=2)]
    )


def new_model():
    return KDFixMatch(
        backbone=convolution,
        embedding_dim=8,
        clustering="kmeans",
        tau_select=0.0,
        weak_augmentation="none",
        strong_augmentation=keras.layers.Identity(),
        batch_size=4,
        unlabeled_ratio=2,
        seed=0,
    )


def trained(epochs=2, **options):
    model = new_model()
    length = {"epochs": epochs, "steps_per_epoch": 2, "verbose": 0}
    with untraced():
        model.fit((IMAGES, LABELS), IMAGES, **length, **options)
    return model


@pytest.fixture(scope="module")
def without_validation():
    return trained()


def assert_is_picture(path):
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert min(pixels.shape) > 400
    # Something was drawn: not one colour, and mostly background.
    assert pixels.min() < 100 < np.median(pixels)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accuracies": {"supervised": 0.5, "FixMatch": 0.7, "KD-FixMatch": 0.9}},
        {"true_labels": LABELS},
        {"accuracies": {"one": 1.0}, "true_labels": list(LABELS)},
    ],
    ids=lambda options: "+".join(options) or "plain",
)
def test_draws_with_and_without_options(without_validation, tmp_path, options):
    path = tmp_path / "figures" / "run.png"
    plot_run(without_validation, path, **options)
    assert_is_picture(path)


def test_draws_validation_accuracy(tmp_path):
    model = trained(validation_data=(255 - IMAGES, LABELS))
    plot_run(model, tmp_path / "run.png")
    assert_is_picture(tmp_path / "run.png")


def test_suffix_chooses_the_format(without_validation, tmp_path):
    plot_run(without_validation, str(tmp_path / "run.svg"))
    assert "<svg" in (tmp_path / "run.svg").read_text()


def test_unknown_format_keeps_the_old_figure(without_validation, tmp_path):
    path = tmp_path / "run.xyz"
    path.write_text("old")
    with pytest.raises(ValueError, match="xyz"):
        plot_run(without_validation, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_without_fit_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="Call `fit` first"):
        plot_run(new_model(), tmp_path / "run.png")
    assert not list(tmp_path.iterdir())


def test_a_run_upon_an_outer_network_trained_before_is_drawn(
    tmp_path, without_validation
):
    model = trained(epochs=1, outer=without_validation.outer)
    plot_run(model, tmp_path / "run.png")
    assert_is_picture(tmp_path / "run.png")


def named(model, *names):
    """The model, its classes called otherwise."""
    other = copy.copy(model)
    other.class_names = list(names)
    return other


@pytest.mark.parametrize(
    "names",
    [
        ("猫", "犬", "鳥"),
        ("قطة", "कुत्ता", "🐦"),
        ("a\nb", "\t", "\udcff"),
        ("$\\frac$", "$5", "a_$x^{$"),
        ("x" * 200, "%", "\\"),
    ],
)
def test_every_name_is_drawn_without_a_word(without_validation, tmp_path, names):
    model = named(without_validation, *names)
    plot_run(model, tmp_path / "run.png", accuracies=dict.fromkeys(names, 0.5))
    assert_is_picture(tmp_path / "run.png")


@matplotlib.rc_context({"svg.fonttype": "none"})
def test_names_are_written_as_they_are(without_validation, tmp_path, monkeypatch):
    names, path = ("$a$", "rot dunkel", "grün"), tmp_path / "run.svg"
    plot_run(named(without_validation, *names), path)
    drawn = path.read_text(encoding="utf-8")
    assert all(f">{name}<" in drawn for name in names)
    # Where no font has a letter of them, the page has the names.
    monkeypatch.setattr(fonts, "families_for", lambda texts: None)
    plot_run(named(without_validation, *names), path)
    drawn = path.read_text(encoding="utf-8")
    assert not any(f">{name}<" in drawn for name in names)
    assert "number of the class" in drawn


def test_a_font_is_found_that_has_the_letters():
    own = families_for(["grün", "кот", "rot dunkel"])
    assert len(own) == 1
    # Letters of a phonetic alphabet, and a modifier, which matplotlib brings.
    assert families_for(["a", "\u1d81"]) == [*own, "STIXGeneral"]
    assert len(families_for(["\u02ef", "\u1d81"])) == 3
    assert families_for(["\U000e0fff"]) is None
