"""Bad inputs of `augmentation`."""

import pytest

from kdfixmatch_keras import augmentation
from tests.bad_inputs import IMAGES, check_refusal, integer, of_rows

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")

ROWS = [
    (
        "augmentation.get_weak",
        lambda g: augmentation.get_weak("shift", seed=-1),
        ValueError,
        integer("seed", 0, -1),
    ),
    (
        "augmentation.get_strong",
        lambda g: augmentation.get_strong("rand_augment"),
        ValueError,
        "Received: strong_augmentation='rand_augment'. Did you mean 'randaugment'?",
    ),
    (
        "augmentation.FlipAndShift",
        lambda g: augmentation.FlipAndShift(max_shift="far"),
        ValueError,
        "`max_shift` must be in [0, 0.5]. Received: max_shift='far'",
    ),
    (
        "augmentation.FlipAndShift",
        lambda g: augmentation.FlipAndShift(flip="no"),
        TypeError,
        "`flip` must be True or False. Received: flip='no'",
    ),
    (
        "augmentation.FlipAndShift",
        lambda g: augmentation.FlipAndShift()(IMAGES / 255),
        ValueError,
        "`images` must be uint8. Received: images.dtype=float32",
    ),
    (
        "augmentation.RandAugment",
        lambda g: augmentation.RandAugment(num_ops=True),
        ValueError,
        integer("num_ops", 1, True),
    ),
    (
        "augmentation.RandAugment",
        lambda g: augmentation.RandAugment(probability=1.5),
        ValueError,
        "`probability` must be in [0, 1]. Received: probability=1.5",
    ),
    (
        "augmentation.RandAugment",
        lambda g: augmentation.RandAugment()(IMAGES[..., :2]),
        ValueError,
        "`images` must have one of (1, 3) channels. Received: images.shape=(12, 8, 8, "
        "2)",
    ),
    (
        "augmentation.Cutout",
        lambda g: augmentation.Cutout(fill_value=256),
        ValueError,
        "`fill_value` must be an integer in [0, 255]. Received: fill_value=256",
    ),
    (
        "augmentation.Cutout",
        lambda g: augmentation.Cutout()(IMAGES[0]),
        ValueError,
        "`images` must be of shape (n, height, width, channels) with a fixed height",
    ),
]


@of_rows(ROWS)
def test_bad_input(given, call, error, words):
    check_refusal(given, call, error, words)
