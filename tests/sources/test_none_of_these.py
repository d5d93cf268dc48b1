"""The reserved label of images that are of none of the classes."""

import shutil

import numpy as np
import pytest
from PIL import Image

from kdfixmatch_cli.images import describe, open_images
from kdfixmatch_keras.sources import (
    ArraySource,
    LabeledImages,
    labeled_source,
    split_folder,
)
from kdfixmatch_keras.sources.labels import is_none_of_these
from kdfixmatch_keras.training.data import open_data

SPELLINGS = (
    "none of these",
    "None of these",
    "NONE OF THESE",
    "none_of_these",
    "none-of-these",
    "none  of these",
    "NoneOfThese",
    "none\u2013of\u2013these",
    "n\u200bone of these",
    "\uff4eone of these",
)
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
LABELS = np.arange(12) % 3


@pytest.mark.parametrize("name", SPELLINGS)
def test_it_is_known_however_it_is_spelled(name):
    assert is_none_of_these(name)


@pytest.mark.parametrize("name", ["none", "these", "none of those", "one of these", ""])
def test_other_names_are_those_of_classes(name):
    assert not is_none_of_these(name)


def write(folder, numbers, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.fromarray(IMAGES[number]).save(folder / f"{number}{suffix}")


@pytest.fixture
def photos(tmp_path):
    """pool/ of all images, and labeled/ with two classes and a folder of no class."""
    write(tmp_path / "pool", range(12))
    write(tmp_path / "labeled" / "cat", [0, 1])
    write(tmp_path / "labeled" / "zebra", [2, 3])
    write(tmp_path / "labeled" / "None_of-these", [4, 5, 6])
    return tmp_path


CSV = "file,label\n0.png,cat\n1.png,cat\n2.png,zebra\n3.png,zebra\n"


def numbers(source):
    """Which of the images a source has."""
    return [
        int(np.flatnonzero((IMAGES == image).all(axis=(1, 2, 3)))[0])
        for image in source[np.arange(len(source))]
    ]


def test_a_folder_of_that_name_is_no_class(photos):
    found = labeled_source(photos / "labeled")
    assert found.class_names == ["cat", "zebra"]
    assert sorted(zip(numbers(found.images), found.labels, strict=True)) == [
        (0, 0),
        (1, 0),
        (2, 1),
        (3, 1),
    ]
    assert numbers(found.none_of_these) == [4, 5, 6]
    # Of images for test, too.
    test = labeled_source(photos / "labeled", class_names=["cat", "zebra"])
    assert test.class_names == found.class_names
    assert numbers(test.images) == numbers(found.images)


def test_a_label_of_that_name_is_no_class_and_its_files_are_not_unlabeled(photos):
    (photos / "labels.csv").write_text(
        CSV + "4.png,none of these\n5.png,None-Of_These\n", encoding="utf-8"
    )
    labeled, unlabeled = split_folder(photos / "pool", photos / "labels.csv")
    assert labeled.class_names == ["cat", "zebra"]
    assert numbers(labeled.images) == [0, 1, 2, 3]
    assert labeled.labels.tolist() == [0, 0, 1, 1]
    assert numbers(labeled.none_of_these) == [4, 5]
    assert numbers(unlabeled) == sorted(numbers(unlabeled), key=str)
    assert set(numbers(unlabeled)) == set(range(6, 12))


def test_it_may_be_used_once_and_need_not_be_used(photos):
    (photos / "labels.csv").write_text(CSV + "4.png,none of these\n")
    labeled, _ = split_folder(photos / "pool", photos / "labels.csv")
    assert numbers(labeled.none_of_these) == [4]
    (photos / "labels.csv").write_text(CSV)
    labeled, _ = split_folder(photos / "pool", photos / "labels.csv")
    assert labeled.none_of_these is None


def test_numbers_can_have_that_name_as_their_last(photos):
    names = ["zebra", "cat", "None of these"]
    found = labeled_source(LabeledImages(ArraySource(IMAGES), LABELS, names))
    assert found.class_names == ["zebra", "cat"]
    assert found.labels.tolist() == [0, 1] * 4
    assert numbers(found.images) == np.flatnonzero(LABELS < 2).tolist()
    assert numbers(found.none_of_these) == [2, 5, 8, 11]
    # The numbers of the classes stay, so that arrays for test have the same.
    again = labeled_source(found, class_names=["zebra", "cat"])
    assert again.none_of_these is found.none_of_these
    labels = np.array([0, 1, 1])
    test = labeled_source((IMAGES[:3], labels), class_names=found.class_names)
    assert test.labels.tolist() == [0, 1, 1]


def test_no_training_sees_them(photos):
    for labeled in (
        photos / "labeled",
        LabeledImages(
            ArraySource(IMAGES[:7]),
            np.array([0, 0, 1, 1, 2, 2, 2]),
            ["cat", "zebra", "none of these"],
        ),
    ):
        data = open_data(labeled, photos / "pool")
        assert data.labeled.class_names == ["cat", "zebra"]
        assert set(numbers(data.unlabeled)) == {0, 1, 2, 3, *range(7, 12)}
        assert data.unlabeled.names is not None
        assert numbers(data.labeled.none_of_these) == [4, 5, 6]
        assert "Images of none of the classes, left out: 3" in data.notes()


def test_deep_images_of_no_class_are_on_the_scale_of_the_others(tmp_path):
    ramp = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
    for name in ("a", "b", "none of these", "unlabeled"):
        folder = tmp_path / name if name == "unlabeled" else tmp_path / "labeled" / name
        folder.mkdir(parents=True)
        for number in range(2):
            shift = {"a": 0, "b": 16, "none of these": 32, "unlabeled": 48}[name]
            shifted = np.roll(ramp, shift + number)
            Image.fromarray(shifted).save(folder / f"{number}.png")
    data = open_data(tmp_path / "labeled", tmp_path / "unlabeled")
    none = data.labeled.none_of_these
    assert none.intensity_range == data.intensity_range
    pixels = none[[0, 1]]
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_train_counts_them(photos):
    params = {
        "labeled": photos / "labeled",
        "labels": None,
        "unlabeled": photos / "pool",
        "test": None,
        "on_error": "raise",
        "allow_single": False,
    }
    facts = open_images(params, None).facts()
    assert (facts["labeled"], facts["unlabeled"]) == (4, 9)
    assert facts["none_of_these"] == 3
    said = describe(facts)
    assert "Labels of 2 classes: cat 2, zebra 2" in said
    assert "Left out of those labeled, as none of these is no class: 3" in said
    # What a run said before there were any.
    del facts["none_of_these"], facts["test_none_of_these"]
    assert not any("none of these" in line for line in describe(facts))


def test_contents_count_and_not_names(photos):
    shutil.rmtree(photos / "pool")
    write(photos / "pool", [6], ".bmp")
    write(photos / "pool", [7])
    data = open_data(photos / "labeled", photos / "pool")
    assert numbers(data.unlabeled) == [7]
    (photos / "pool" / "7.png").unlink()
    with pytest.raises(ValueError, match="must hold images that are not labeled 'none"):
        open_data(photos / "labeled", photos / "pool")
