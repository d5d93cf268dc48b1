"""Images for test that are labeled ones measure nothing, and are not counted."""

import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras.sources import (
    ArraySource,
    LabeledImages,
    SubsetSource,
    labeled_source,
)
from kdfixmatch_keras.sources.copies import warn_of_contradictions, without_copies
from kdfixmatch_keras.training.data import open_data

CLASSES = ["cat", "dog"]


def noise(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3), np.uint8)


def labeled(images):
    return LabeledImages(ArraySource(images), np.arange(len(images)) % 2, CLASSES)


def write(folder, images, extension="png"):
    for number, image in enumerate(images):
        path = folder / CLASSES[number % 2] / f"{number}.{extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


def with_copies(count, copies):
    """Images of which the first few are those of `noise(8, 0)`."""
    images = noise(count, 1)
    images[:copies] = noise(8, 0)[:copies]
    return images


@pytest.mark.parametrize(("count", "copies"), [(20, 2), (10, 1), (40, 3)])
def test_few_copies_are_left_out_and_counted(count, copies):
    test = labeled(with_copies(count, copies))
    words = f"Left out {copies} of the {count} images of `test`: their content is that"
    with pytest.warns(UserWarning, match=words):
        found = without_copies(test, labeled(noise(8, 0)), "test")
    rows = np.arange(copies, count)
    assert found.labels.tolist() == test.labels[copies:].tolist()
    assert found.class_names == CLASSES
    np.testing.assert_array_equal(found.images[np.arange(len(rows))], test.images[rows])


@pytest.mark.parametrize(("count", "copies"), [(8, 8), (9, 1), (29, 3)])
def test_more_than_a_tenth_are_refused(count, copies):
    words = f"`test` must hold .* measures nothing. Received: {copies} of {count} with"
    with pytest.raises(ValueError, match=words):
        without_copies(
            labeled(with_copies(count, copies)), labeled(noise(8, 0)), "test"
        )


def test_images_that_differ_in_one_pixel_are_no_copies():
    images = noise(8, 0)
    images[:, 0, 0, 0] ^= 1
    test = labeled(images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert without_copies(test, labeled(noise(8, 0)), "test") is test


def test_what_is_alike_among_the_test_images_stays():
    images = np.repeat(noise(2, 1), 5, axis=0)
    test = labeled(images)
    assert without_copies(test, labeled(noise(8, 0)), "test") is test


@pytest.mark.parametrize("copied", ["files", "other names", "another format", "links"])
def test_copies_of_files_whatever_they_are_called(tmp_path, copied):
    folder, test = write(tmp_path / "labeled", noise(8, 0)), tmp_path / "test"
    if copied == "files":
        shutil.copytree(folder, test)
    elif copied == "another format":
        write(test, noise(8, 0), "bmp")
    else:
        for file in folder.rglob("*.png"):
            path = test / file.parent.name / f"x{file.name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if copied == "links":
                path.symlink_to(file)
            else:
                shutil.copy(file, path)
    with pytest.raises(ValueError, match=r"8 of 8 with .* such as cat/\w*0\.\w+\. Rem"):
        open_data(folder, noise(9, 3), test)


def test_sizes_and_channels_are_those_of_the_training(tmp_path):
    """The same picture in gray, where gray is what is learned."""
    images = noise(8, 0)
    folder = write(tmp_path / "labeled", images)
    gray = [np.asarray(Image.fromarray(image).convert("L")) for image in images]
    small = labeled_source(folder, (3, 3), 1)
    with pytest.raises(ValueError, match="8 of 8"):
        without_copies(
            labeled_source((np.stack(gray), [0, 1] * 4), (3, 3)), small, "test"
        )


def test_files_are_decoded_for_it_once(tmp_path, monkeypatch):
    folder = write(tmp_path / "labeled", noise(8, 0))
    other = write(tmp_path / "test", with_copies(30, 2))
    data, test = labeled_source(folder), labeled_source(other)
    with pytest.warns(UserWarning, match="Left out 2 of the 30"):
        found = without_copies(test, data, "test")

    def fail(indices):
        raise AssertionError("read again")

    for source in (data.images, test.images):
        monkeypatch.setattr(source, "_read", fail)
    assert without_copies(found, data, "test") is found
    source = SubsetSource(test.images, [1, *range(5, 30)])
    part = LabeledImages(source, np.zeros(26, np.int32), CLASSES)
    with pytest.warns(UserWarning, match="Left out 1 of the 26"):
        without_copies(part, data, "test")


def test_arrays_that_were_changed_are_looked_at_again():
    images = noise(8, 1)
    test, data = labeled(images), labeled(noise(8, 0))
    assert without_copies(test, data, "test") is test
    images[:] = noise(8, 0)
    with pytest.raises(ValueError, match="8 of 8"):
        without_copies(test, data, "test")


@pytest.mark.tensorflow
def test_a_fit_measures_on_the_others():
    import tensorflow as tf

    test = with_copies(30, 2)
    dataset = tf.data.Dataset.from_tensor_slices((test, np.arange(30) % 2))
    with pytest.warns(
        UserWarning, match="Left out 2 of the 30 images of `validation_d"
    ):
        data = open_data((noise(8, 0), np.arange(8) % 2), noise(9, 3), dataset)
    assert len(data.validation.images) == 28


def test_images_with_two_labels_are_told(tmp_path):
    images = noise(6, 0)
    data = open_data(write(tmp_path / "a", images), noise(3, 1))
    assert len(data.labeled.images) == 6
    # Of one label, copies contradict nothing.
    images[2], images[5], images[3] = images[0], images[0], images[1]
    words = "1 with the pixels of another .*, such as image 5 as 1 and image 0 as 0"
    with pytest.warns(UserWarning, match=words):
        open_data((images, np.arange(6) % 2), noise(3, 1))
    with pytest.warns(UserWarning, match=r"such as dog.5.png as dog and cat.0.png as"):
        open_data(write(tmp_path / "b", images), noise(3, 1))


def test_contradictions_are_told_once_of_a_source():
    """A command opens the images of several trainings, and tells what it found."""
    images = noise(6, 0)
    images[5] = images[0]
    source = labeled(images)
    with pytest.warns(UserWarning, match="`--labeled` should label an image once"):
        warn_of_contradictions(source, "--labeled")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_data(source, noise(3, 1))
    # Of other labels, nothing was told; nor where the warning was an error.
    other = replace(source, labels=1 - source.labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="image 5 as cat"):
            open_data(other, noise(3, 1))
    with pytest.warns(UserWarning, match="`labeled` should label an image once"):
        open_data(other, noise(3, 1))


@pytest.mark.parametrize("is_folder", [False, True])
def test_links_from_class_to_class_are_refused(tmp_path, is_folder):
    folder = write(tmp_path / "a", noise(6, 0))
    there = folder / "cat" / ("" if is_folder else "2.png")
    link = folder / ("kitten" if is_folder else "dog/2.png")
    link.symlink_to(there)
    words = "must have each image in one class. Received: (kitten|dog/2.png) and cat"
    with pytest.raises(ValueError, match=words):
        labeled_source(folder)
    # Within a class, one of both counts.
    link.unlink()
    (folder / "cat" / "link").symlink_to(there)
    assert len(labeled_source(folder).images) == 6


def scene(seed, size=(40, 40)):
    """A smooth picture, as photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize("change", ["JPEG", "half the size", "gray", "other"])
def test_copies_in_another_format_or_size_are_told(tmp_path, change):
    for number in range(6):
        for part, seed in (("labeled", number), ("test", 50 + number)):
            path = tmp_path / part / CLASSES[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            scene(seed).save(path)
    path = tmp_path / "test" / "cat" / "copy.jpg"
    picture = scene(99 if change == "other" else 0)
    if change == "half the size":
        picture = picture.resize((20, 20))
    picture.convert("L" if change == "gray" else "RGB").save(path, quality=80)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        folders = (str(tmp_path / "labeled"), noise(3, 1), str(tmp_path / "test"))
        data = open_data(*folders, image_size=(24, 24))
    said = [str(warning.message) for warning in caught]
    assert len(data.validation.images) == 7
    if change == "other":
        assert said == []
    else:
        (words,) = said
        assert "1 of 7 that look like labeled ones, such as cat/copy.jpg." in words
        # Once, of what is opened again.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            open_data(data.labeled, data.unlabeled, data.validation)
