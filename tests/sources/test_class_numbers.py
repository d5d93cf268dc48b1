"""Classes that are called by integers are numbered by them, and not mixed up."""

import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras.sources import (
    LabeledImages,
    labeled_source,
    split_folder,
    unlabeled_source,
)

MONTHS = [str(month) for month in range(1, 13)]


def write(folder, names):
    """Two images of each class, whose pixels tell its place in `names`."""
    for place, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(2):
            pixels = np.full((5, 5), 20 + 10 * place + number, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def write_labels(folder, names):
    lines = [f"{name}/{number}.png,{name}" for name in names for number in range(2)]
    Image.new("L", (5, 5), 200).save(folder / "unlabeled.png")
    path = folder.parent / "labels.csv"
    path.write_text("\n".join(["file,label", *lines]), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "names",
    [
        MONTHS,
        [str(number) for number in range(11)],
        ["-2", "-1", "0", "10"],
        ["08", "9", "10", "0100"],
        ["2", "10", "1000"],
        # As pandas writes a column in which a number was missing.
        ["0.0", "2.0", "10.0"],
        # Not integers all of them: sorted as text.
        ["1", "10", "2", "other"],
        ["1.5", "10", "9"],
        ["10", "²", "９"],
    ],
)
def test_integers_are_in_the_order_of_integers(tmp_path, names):
    folder = write(tmp_path / "photos", names)
    labeled = labeled_source(folder)
    assert labeled.class_names == names
    values = labeled.images[np.arange(2 * len(names))][:, 0, 0, 0]
    np.testing.assert_array_equal((values - 20) // 10, labeled.labels)
    labeled, _ = split_folder(folder, write_labels(folder, names))
    assert labeled.class_names == names
    values = labeled.images[np.arange(2 * len(names))][:, 0, 0, 0]
    np.testing.assert_array_equal((values - 20) // 10, labeled.labels)


@pytest.mark.parametrize("names", [["1", "01", "2"], ["7", "007"], ["0", "0.0"]])
def test_one_integer_in_two_ways_is_refused(tmp_path, names):
    folder = write(tmp_path / "photos", names)
    with pytest.raises(ValueError, match="'0.*' and '.*', which are one integer"):
        labeled_source(folder)
    with pytest.raises(ValueError, match="'0.*' and '.*', which are one integer"):
        split_folder(folder, write_labels(folder, names))
    # As codes, not as integers, they differ.
    assert len(labeled_source(write(tmp_path / "codes", [*names, "x"])).class_names)


IMAGES = np.full((6, 5, 5), 90, np.uint8)
NUMBERED = sorted(f"class_{number}" for number in range(11))


@pytest.mark.parametrize(
    ("names", "labels", "words"),
    [
        (MONTHS, [0, 1, 2, 3, 4, 5], "the label 1, while the class named 1 has the nu"),
        (MONTHS, [7, 8, 9, 10, 11, 12], "the label 7, while the class named 7 has th"),
        (MONTHS, [12] * 6, "the label 12, while the class named 12 has the number 11"),
        (["0", "2", "4"], [0, 1, 2, 0, 1, 2], "the class named 2 has the number 1"),
        (["1", "2", "x"], [0, 1, 2, 0, 1, 2], "the class named 1 has the number 0"),
        (["1", "0"], [0, 1, 0, 1, 0, 1], "the label 0, while the class named 0 has"),
        (NUMBERED, [0, 1, 2, 0, 1, 2], "2, which is 'class_10' .* and 'class_2' as th"),
        (sorted(f"{n} star" for n in (1, 2, 10)), [2] * 6, "'2 star' .* '10 star'"),
    ],
)
def test_names_that_are_other_integers_than_labels_are_refused(names, labels, words):
    with pytest.raises(ValueError, match=words):
        labeled_source((IMAGES, labels), class_names=names)
    # What it says helps: labels of these are numbers.
    source = unlabeled_source(IMAGES)
    numbers = [number % len(names) for number in labels]
    data = LabeledImages(source, np.array(numbers), list(names))
    assert labeled_source(data, class_names=names).labels.tolist() == numbers


@pytest.mark.tensorflow
def test_labels_of_a_dataset_are_looked_at_too():
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, [1, 2, 3, 4, 5, 6]))
    dataset = dataset.map(lambda image, label: (image[..., None], label))
    with pytest.raises(ValueError, match="names of others"):
        labeled_source(dataset, class_names=MONTHS)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["0", "1", "2"], [0, 1, 2, 0, 1, 2]),
        (["00", "01", "02"], [0, 1, 2, 0, 1, 2]),
        # No label is the name of any class.
        (["2019", "2020", "2021"], [0, 1, 2, 0, 1, 2]),
        (MONTHS, [0] * 6),
        (NUMBERED, [0, 1, 0, 1, 0, 1]),
        (["class_1", "class_2", "class_3"], [0, 1, 2, 0, 1, 2]),
        (["n02", "n10", "n99"], [0, 1, 2, 0, 1, 2]),
        (["cat", "dog", "2"], [0, 1, 2, 0, 1, 2]),
    ],
)
def test_labels_that_mean_one_thing_are_taken(names, labels):
    data = labeled_source((IMAGES, labels), class_names=names)
    assert data.labels.tolist() == labels
