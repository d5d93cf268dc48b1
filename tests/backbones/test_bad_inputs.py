"""Bad inputs of `backbones`."""

import keras
import pytest

from kdfixmatch_keras import backbones
from tests.bad_inputs import build_network, check_refusal, integer, of_rows

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")


def trained_model():
    biases = keras.initializers.RandomNormal(seed=0)
    layer = keras.layers.Conv2D(4, 3, bias_initializer=biases)
    return keras.Sequential([keras.Input((8, 8, 3)), layer])


def check_backbone(backbone="efficientnetb0", weights=None, **arguments):
    backbones.check_backbone(backbone, weights, **arguments)


CHOICE_ROWS = [
    (
        {"pretrained": "yes"},
        TypeError,
        "`pretrained` must be True, False or None. Received: pretrained='yes'",
    ),
    (
        {"pixels": "torhc"},
        ValueError,
        "Received: pixels='torhc'. Did you mean 'torch'?",
    ),
    (
        {"pixels": "raw"},
        ValueError,
        "`pixels` must be None for backbone='efficientnetb0', which gets those that it "
        "expects. Received: pixels='raw'",
    ),
    (
        {"pretrained": True},
        ValueError,
        "`pretrained` must be None or False for backbone='efficientnetb0' with "
        "weights=None, which starts from random weights. Received: pretrained=True",
    ),
    (
        {"backbone": "small_cnn", "weights": "imagenet", "pretrained": True},
        ValueError,
        "`pretrained` must be None or False for backbone='small_cnn' with "
        "weights='imagenet', which starts from random weights",
    ),
    (
        {"weights": "imagenet", "pretrained": False},
        ValueError,
        "`pretrained` must be None or True for backbone='efficientnetb0' with "
        "weights='imagenet', which starts from these weights",
    ),
]
HUB_ROWS = [
    (
        {"backbone": "hub:"},
        ValueError,
        '`backbone` must be "hub:" and the name of a preset, or a folder that '
        "`save_to_preset` of a KerasHub backbone wrote. Received: backbone='hub:'",
    ),
    (
        {"backbone": "hub:./no/folder"},
        ValueError,
        "Received: backbone='hub:./no/folder', where there is no config.json",
    ),
    (
        {"backbone": "hub:vit", "weights": "vit.weights.h5"},
        ValueError,
        '`weights` must be "imagenet", which stands for those of the preset, or None',
    ),
    (
        {"backbone": "hub:vit", "pretrained": True},
        ValueError,
        "`pretrained` must be None or False for backbone='hub:vit' with weights=None",
    ),
    (
        {"backbone": "hub:vit", "pixels": "RGB"},
        ValueError,
        "`pixels` must be one of 'tf', 'raw'",
    ),
]
ROWS = [
    (
        "backbones.Preprocessing",
        lambda g: backbones.Preprocessing("unit_intervals", 3),
        ValueError,
        "Received: pixels='unit_intervals'. Did you mean 'unit_interval'?",
    ),
    (
        "backbones.Preprocessing",
        lambda g: backbones.Preprocessing("tf", 0),
        ValueError,
        integer("channels", 1, 0),
    ),
    (
        "backbones.Preprocessing",
        lambda g: backbones.Preprocessing("tf", 3, (8, 0)),
        ValueError,
        "`size` must be two positive integers, (height, width), or None for the size "
        "of the data. Received: size=(8, 0)",
    ),
    (
        "backbones.build_features",
        lambda g: backbones.build_features("small_cnn", (8, 8, 3), size=8),
        ValueError,
        "`size` must be two positive integers, (height, width)",
    ),
    (
        "backbones.check_backbone",
        lambda g: backbones.check_backbone("small_cnn", g.here / "file"),
        ValueError,
        '`weights` must be None or "imagenet" (which then has no effect) for a '
        "backbone "
        "that is not in keras.applications",
    ),
    (
        "backbones.is_pretrained",
        lambda g: backbones.is_pretrained("efficientnet0", None),
        ValueError,
        "Received: backbone='efficientnet0'. Did you mean 'efficientnet",
    ),
    *(
        ("backbones.check_backbone", lambda g, c=choice: check_backbone(**c), *refusal)
        for choice, *refusal in CHOICE_ROWS + HUB_ROWS
    ),
    (
        "backbones.build_network",
        lambda g: build_network(trained_model()),
        ValueError,
        "`pixels` must be given for a trained network of which it cannot be seen: the "
        'range it was trained on, "tf" ([-1, 1])',
    ),
    (
        "backbones.build_network",
        lambda g: build_network(lambda shape: trained_model()),
        ValueError,
        "`pretrained` must be given for a callable that returns a trained model: True "
        "to train it on",
    ),
    (
        "backbones.build_network",
        lambda g: build_network(classes=1),
        ValueError,
        integer("num_classes", 2, 1),
    ),
    (
        "backbones.build_network",
        lambda g: build_network(input_shape=(8, 8)),
        ValueError,
        "`input_shape` must be (height, width, channels) of the images, with 1 or 3 "
        "channels. Received: input_shape=(8, 8)",
    ),
    (
        "backbones.build_network",
        lambda g: build_network(embedding_dim=0),
        ValueError,
        integer("embedding_dim", 1, 0),
    ),
    (
        "backbones.build_network",
        lambda g: build_network(
            keras.Model(inputs := keras.Input((8, 8, 3)), [inputs, inputs])
        ),
        ValueError,
        "`backbone` must have one output. Received: a model with 2, in a list",
    ),
    (
        "backbones.build_network",
        lambda g: build_network("mobilenetv2", (32, 32, 3), weights=g.here / "file"),
        ValueError,
        "`weights` must be a file of weights of mobilenetv2 without its top. Received: "
        "weights='{here}/file'",
    ),
    (
        "backbones.set_weights",
        lambda g: backbones.set_weights(build_network(), []),
        ValueError,
        "arrays, one for each weight of the network. Received: 0 arrays",
    ),
    (
        "backbones.seeded",
        lambda g: backbones.seeded("x").__enter__(),
        ValueError,
        integer("seed", 0, "'x'"),
    ),
]


@of_rows(ROWS)
def test_bad_input(given, call, error, words):
    check_refusal(given, call, error, words)
