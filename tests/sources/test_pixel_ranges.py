"""Pixels that are not uint8 are refused with the code that makes them so."""

import re

import numpy as np
import pytest

from kdfixmatch_keras.sources import labeled_source, unlabeled_source

# 2 x 64 gray levels, among them the darkest and the brightest.
RIGHT = np.linspace(0, 255, 384).round().astype(np.uint8).reshape(2, 8, 8, 3)
# What users have in place of them, and how far it may be off when it is converted.
GIVEN = {
    "unit": ((RIGHT / 255).astype("float32"), 0),
    "unit, in half precision": ((RIGHT / 255).astype("float16"), 1),
    "unit, resized beyond its range": (RIGHT / 255 * 1.02, 6),
    "bytes in floats": (RIGHT.astype("float32"), 0),
    "bytes in floats, not whole": (np.minimum(RIGHT + 0.4, 255), 0),
    "bytes in floats, resized beyond their range": (RIGHT * 1.06 - 4.0, 12),
    "symmetric": ((RIGHT / 127.5 - 1).astype("float32"), 0),
    "16 levels in floats": ((RIGHT // 17).astype("float64"), 17),
    "16 bits in floats": (RIGHT.astype("float32") * 257, 0),
    "8 bits in uint16": (RIGHT.astype("uint16"), 0),
    "10 bits in uint16": (RIGHT.astype("uint16") * 4 + 3, 0),
    "12 bits in uint16": (RIGHT.astype("uint16") * 16 + 15, 0),
    "16 bits": (RIGHT.astype("uint16") * 257, 0),
    "bytes in int64": (RIGHT.astype("int64"), 0),
    "16 levels in int32": ((RIGHT // 17).astype("int32"), 17),
    "signed bytes": ((RIGHT.astype("int16") - 128).astype("int8"), 0),
    "booleans": (RIGHT > 127, 128),
    "zeros and ones": ((RIGHT > 127).astype("int8"), 128),
}


ONE_PIXEL = RIGHT / 255
ONE_PIXEL[0, 0, 0] = 255


def refusal(make, data):
    with pytest.raises(ValueError, match="must hold uint8 images") as caught:
        make(data)
    return str(caught.value)


def codes(message):
    """What stands between backquotes, but for the name of the argument."""
    return re.findall("`(.*?)`", message)[1:]


@pytest.mark.parametrize("name", GIVEN)
def test_the_code_for_arrays_gives_the_right_pixels(name):
    images, tolerance = GIVEN[name]
    first, *_ = codes(refusal(unlabeled_source, images))
    converted = eval(first, {"images": images})
    assert converted.dtype == np.uint8
    off = np.abs(converted.astype(int) - RIGHT.astype(int)).max()
    assert off <= tolerance
    np.testing.assert_array_equal(
        unlabeled_source(converted)[[0, 1]], converted.astype(np.uint8)
    )


@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", ["images", "pairs", "dicts"])
@pytest.mark.parametrize("name", GIVEN)
def test_the_code_for_data_sets_does_what_that_for_arrays_does(name, kind):
    import tensorflow as tf

    images, _ = GIVEN[name]
    expected = eval(codes(refusal(unlabeled_source, images))[0], {"images": images})
    labels = np.array([0, 1])
    make = unlabeled_source if kind == "images" else labeled_source
    elements = {
        "images": images,
        "pairs": (images, labels),
        "dicts": {"image": images, "label": labels},
    }[kind]
    dataset = tf.data.Dataset.from_tensor_slices(elements)
    first, *_ = codes(refusal(make, dataset))
    source = make(eval(f"dataset{first}", {"dataset": dataset, "tf": tf}))
    if kind != "images":
        assert source.labels.tolist() == [0, 1]
        source = source.images
    np.testing.assert_array_equal(source[[0, 1]], expected)


@pytest.mark.tensorflow
def test_what_keras_reads_of_a_folder(tmp_path):
    """Floats in [0, 255], of which the first images are dark."""
    import keras
    import tensorflow as tf
    from PIL import Image

    for number, name in enumerate(["cat", "dog"]):
        (tmp_path / name).mkdir()
        Image.fromarray(RIGHT[number] // (1 if number else 255)).save(
            tmp_path / name / "0.png"
        )
    dataset = keras.utils.image_dataset_from_directory(
        tmp_path, image_size=(8, 8), shuffle=False, batch_size=1, verbose=0
    )
    message = refusal(labeled_source, dataset)
    assert "dtype=float32, pixels from 0 to 255" in message
    (code,) = codes(message)
    assert "255" not in code
    data = labeled_source(eval(f"dataset{code}", {"dataset": dataset, "tf": tf}))
    np.testing.assert_array_equal(data.images[[1]][0], RIGHT[1])


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (RIGHT / 255 * 4.7 - 2.1, "as if a mean had been subtracted"),
        (RIGHT - np.float32(110), "as if a mean had been subtracted"),
        (RIGHT * 1e5, "no range of pixels that is known"),
        (RIGHT.astype("int32") - 99, "as if a mean had been subtracted"),
        (np.zeros_like(RIGHT, "float32"), "those in [0, 255] by `images.round()"),
        (np.zeros_like(RIGHT, "uint16"), 'those in [0, 255] by `images.astype("uint8'),
        (RIGHT.astype("uint16") * 15, "those in [0, 65535] by `(images // 256)"),
        # One image, or one pixel, of another range than the rest.
        (RIGHT / [[[[255]]], [[[1]]]], "Some images are in [0, 1], 1 of 2: bring all"),
        (ONE_PIXEL, "Some images are in [0, 1], 1 of 2: bring all to one range bef"),
        (RIGHT / 255 - 0.5, "Pixels in [-0.5, 0.5] are converted"),
        (np.where(RIGHT > 9, np.nan, RIGHT), "float64 with NaN or infinity. Find"),
        (np.where(RIGHT > 9, np.inf, RIGHT), "float64 with NaN or infinity. Find"),
        (np.array(["a.jpg", "b.jpg"]), "such as 'a.jpg'. Names of files are"),
        (np.array(["a.jpg", None], object), "`images.tolist()`"),
    ],
)
def test_what_is_said_of_others(images, words):
    assert words in refusal(unlabeled_source, images)


def test_images_of_one_channel_are_looked_at_too():
    message = refusal(unlabeled_source, RIGHT[..., 0].astype("float32"))
    assert codes(message) == ['images.round().clip(0, 255).astype("uint8")']
