"""Augmentations of a user's own are tried before a training."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kdfixmatch_keras import baselines
from kdfixmatch_keras.augmentation import get_strong
from kdfixmatch_keras.augmentation.own_layers import check_layer, try_layer
from tests.bad_inputs import IMAGES, LABELS, new_model

PHOTOS = np.clip(
    np.random.default_rng(0).normal(110, 60, (16, 8, 8, 3)), 0, 255
).astype("uint8")
# As scans of digits are: mostly black.
DIGITS = np.where(np.random.default_rng(1).random((16, 8, 8, 1)) < 0.8, 0, 220).astype(
    "uint8"
)


def function(call):
    return layers.Lambda(call)


def floats(x):
    return ops.cast(x, "float32")


def standardized(x):
    x = floats(x)
    mean, variance = ops.moments(x, axes=(1, 2, 3), keepdims=True)
    return (x - mean) / ops.sqrt(variance)


@pytest.mark.parametrize(
    "layer, words",
    [
        (
            keras.Sequential([layers.RandomFlip(), layers.Rescaling(1 / 255)]),
            "which makes pixels from 0 to 1 of those from 0 to 255. Leave out a Resca",
        ),
        (layers.Rescaling(1 / 127.5, -1), "pixels from -1 to 1 of"),
        (function(standardized), "Leave out a Rescaling or a normalization"),
        (function(lambda x: ops.cast(floats(x) / 255, "uint8")), "pixels from 0 to 1"),
        (layers.RandomBrightness(0.2, value_range=(0, 1)), "[0, 255] that keep the co"),
        (function(lambda x: floats(x) * 255), "pixels from 0 to 6.5e+04 of"),
        (function(lambda x: ops.zeros_like(x)), "Constant images teach nothing."),
        (function(lambda x: floats(x) / 0 * 0), "which returns NaN or infinite pixels"),
        (function(lambda x: x[:3]), "which returns 3 images for 16"),
        (function(lambda x: x[:, 1:]), "(8, 8, 3). Received: (7, 8, 3)"),
        (function(lambda x: ops.transpose(x, (0, 3, 1, 2))), "Received: (3, 8, 8)"),
        (function(lambda x: x[..., :1]), "Received: (8, 8, 1)"),
        (function(lambda x: {"images": x}), "Received: a Lambda, which returns a dict"),
        (function(lambda x: 1 / 0), "which raises ZeroDivisionError: division by ze"),
    ],
    ids=lambda value: None if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_what_makes_no_images_is_refused(layer, words):
    with pytest.raises(ValueError, match="`strong_augmentation` must") as caught:
        try_layer("strong_augmentation", layer, PHOTOS)
    assert words in str(caught.value)
    assert " Received: " in str(caught.value)


@pytest.mark.parametrize(
    "layer",
    [
        layers.RandomFlip(),
        layers.RandomBrightness(0.5, seed=1),
        # With others of its operations, some images are one colour.
        layers.RandAugment((0, 255), seed=1),
        function(lambda x: floats(x) + 20 * keras.random.normal(ops.shape(x))),
        layers.Identity(),
        get_strong("randaugment"),
        function(lambda x: 255 - x),
        # Edges, say: images of two levels.
        function(lambda x: ops.where(x > 110, 255, 0)),
        function(lambda x: ops.cast(x, "int32")),
        function(lambda x: floats(x) * 0.3),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("images", [PHOTOS, DIGITS], ids=["photos", "digits"])
# Of PyTorch, about what Keras does with it.
@pytest.mark.filterwarnings("ignore:Tensor.T is deprecated")
def test_what_makes_images_is_taken(layer, images):
    check_layer("weak_augmentation", layer)
    try_layer("weak_augmentation", layer, images)


@pytest.mark.parametrize(
    "layer, words",
    [
        (function(lambda x: floats(x) - 110), "returns 5\\d% of its pixels outside of"),
        (
            function(
                lambda x: ops.where(ops.arange(16)[:, None, None, None] < 6, 0, x)
            ),
            "leaves no contrast in 6 of 16 images",
        ),
        (
            function(lambda x: floats(x) + 0.05 * keras.random.normal(ops.shape(x))),
            "changes pixels by less than they are rounded by: a Lambda may be meant",
        ),
    ],
    ids=["centred", "some constant", "for the unit interval"],
)
# Of NumPy, about what Keras does with PyTorch.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_what_loses_much_warns(layer, words):
    with pytest.warns(UserWarning, match=f"`weak_augmentation` {words}"):
        try_layer("weak_augmentation", layer, PHOTOS)


def test_constant_images_say_nothing():
    try_layer("weak_augmentation", layers.Rescaling(1 / 255), PHOTOS * 0 + 9)


def test_channels_first_are_refused():
    layer = keras.Sequential([layers.RandomFlip(data_format="channels_first")])
    with pytest.raises(ValueError, match="must take images with the channels last"):
        check_layer("weak_augmentation", layer)


class Counting(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.draws = keras.random.SeedGenerator(0)

    def call(self, images):
        noise = keras.random.uniform((), 0, 9, seed=self.draws)
        return floats(images) + noise


def test_the_trial_draws_no_number_of_the_layer():
    layer = Counting()
    before = ops.convert_to_numpy(layer.draws.state)
    try_layer("weak_augmentation", layer, PHOTOS)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.draws.state), before)


@pytest.mark.parametrize("argument", ["weak_augmentation", "strong_augmentation"])
def test_a_training_does_not_begin(argument, tmp_path):
    changes = {argument: layers.Rescaling(1 / 255)}
    settings = {"backbone": "small_cnn", "weights": None, "batch_size": 3}
    for model in (new_model(**changes), baselines.Supervised(**settings, **changes)):
        with pytest.raises(ValueError, match=f"`{argument}` must return pixels in"):
            model.fit((IMAGES, LABELS), IMAGES, run_dir=tmp_path / "run", verbose=0)
    assert list(tmp_path.iterdir()) == []
