"""Images that became black on their way to uint8 are noticed."""

import warnings

import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras.sources import labeled_source, split_folder, unlabeled_source

LABELS = np.arange(6) % 2
# What is left of pixels in [0, 1] whose dtype alone was changed.
BLACK = (np.random.default_rng(0).random((6, 5, 5, 3)) > 0.9).astype(np.uint8)


def write(folder, images):
    for number, image in enumerate(images):
        path = folder / str(number % 2) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (BLACK, "6 images without a pixel above 1, of 255"),
        (BLACK * 0, "6 images without a pixel above 0, of 255"),
        (BLACK[..., 0], r"become uint8 by `\(images \* 255\)\.round\(\)\.astype"),
    ],
)
def test_black_images_are_refused(tmp_path, images, words):
    folder = write(tmp_path / "images", images)
    lines = [f"{number % 2}/{number}.png,{number % 2}" for number in range(4)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *lines]))
    for read in (
        lambda: unlabeled_source(images),
        lambda: unlabeled_source(folder),
        lambda: labeled_source((images, LABELS)),
        lambda: labeled_source(folder, read_once=True),
        lambda: split_folder(folder, tmp_path / "labels.csv"),
    ):
        with pytest.raises(ValueError, match=" must hold images that are not all bla"):
            read()
    with pytest.raises(ValueError, match=words):
        unlabeled_source(images)
    with pytest.raises(ValueError, match="Save the files with pixels from 0 to 255"):
        unlabeled_source(folder)


@pytest.mark.tensorflow
def test_a_black_dataset_is_refused():
    import tensorflow as tf

    with pytest.raises(ValueError, match="not all black"):
        unlabeled_source(tf.data.Dataset.from_tensor_slices(BLACK))


def test_black_images_are_predicted_with_a_warning():
    with pytest.warns(UserWarning, match="`images` are all black. Received: 6 im"):
        unlabeled_source(BLACK, read_once=True, argument="images")


def test_one_bright_pixel_is_enough():
    images = np.zeros((999, 5, 5), np.uint8)
    images[500, 2, 2] = 17
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unlabeled_source(images)
        unlabeled_source(images[500:], read_once=True)


@pytest.mark.parametrize("share", [2, 8])
def test_images_of_two_ranges_are_told(share):
    """As of floats in [0, 1] among which one image, or one pixel, is in [0, 255]."""
    images = np.ones((8, 5, 5, 3), np.uint8)
    images[::share, 0, 0] = 255
    words = f"{8 - 8 // share} without a pixel above 1, of 8 that were looked at"
    with pytest.warns(UserWarning, match=words):
        unlabeled_source(images)


def test_few_gray_levels_are_told(tmp_path):
    """Digits of scikit-learn have 17."""
    images = BLACK * 16
    with pytest.warns(
        UserWarning, match=r"a pixel above 16, .*`\(images \* \(255 / 16"
    ):
        unlabeled_source(images)
    with pytest.warns(
        UserWarning, match="a pixel above 16, .*: save the files with 16"
    ):
        unlabeled_source(write(tmp_path, images))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unlabeled_source(images, read_once=True)
