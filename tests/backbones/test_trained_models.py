import keras
import numpy as np
import pytest
from keras import layers, ops

from kdfixmatch_keras import backbones, baselines
from kdfixmatch_keras.backbones.trained_models import expected_pixels, is_trained
from tests.untraced import untraced

SHAPE = (8, 8, 3)


def model_of(*first, name=None):
    inputs = keras.Input(SHAPE)
    x = inputs
    for layer in first:
        x = layer(x)
    x = layers.Conv2D(4, 3, strides=2, use_bias=False)(x)
    return keras.Model(inputs, layers.BatchNormalization()(x), name=name)


def trained_model(*first):
    model = model_of(*first)
    model(np.random.default_rng(0).uniform(0, 255, (4, *SHAPE)), training=True)
    return model


def network_of(backbone, **arguments):
    return backbones.build_network(
        backbone, SHAPE, 3, **{"embedding_dim": 4, "seed": 0, **arguments}
    )


def pixels_of(network):
    return network.get_layer("preprocessing").pixels


def normalization(mean):
    return layers.Normalization(mean=[mean] * 3, variance=[0.1] * 3)


def standardized(images):
    return images / 127.5 - 1.0


@pytest.mark.parametrize(
    "first, expected",
    [
        ([layers.Rescaling(1 / 255)], "raw"),
        ([layers.Rescaling(1 / 127.5, -1)], "raw"),
        ([layers.Rescaling([1 / 58.4, 1 / 57.1, 1 / 57.4], [-2.1, -2, -1.8])], "raw"),
        ([layers.Rescaling(2.0, -1)], "unit_interval"),
        ([layers.Rescaling(127.5, 127.5)], None),
        ([normalization(120.0)], "raw"),
        ([normalization(0.45)], "unit_interval"),
        # Too wide for [0, 1] with such a mean: it may be [-1, 1].
        ([normalization(0.05)], None),
        ([normalization(0.0)], None),
        ([layers.ZeroPadding2D(), layers.Rescaling(1 / 255)], "raw"),
        (
            [keras.Sequential([layers.RandomFlip(seed=0)]), layers.Rescaling(1 / 255)],
            "raw",
        ),
        ([keras.Sequential([layers.Rescaling(1 / 255)])], "raw"),
        # Whatever it is made of, unless it takes any range.
        ([standardized], "raw"),
        ([layers.Lambda(lambda x: x / 255)], "raw"),
        ([layers.RandomFlip(seed=0), lambda x: 2 * x - 1], "unit_interval"),
        ([lambda x: x / ops.max(x)], None),
        ([lambda x: x - 120], None),
        ([standardized, layers.Rescaling(1 / 255)], None),
        ([layers.LayerNormalization(), layers.Rescaling(1 / 255)], None),
        ([lambda x: layers.Rescaling(1 / 255)(x) + layers.Rescaling(2)(x)], None),
        ([], None),
    ],
)
def test_the_first_layers_tell_the_pixels(first, expected):
    model = model_of(*first)
    assert expected_pixels(model) == expected
    outer = keras.Sequential([keras.Input(SHAPE), layers.RandomFlip(seed=0), model])
    assert expected_pixels(outer) == expected


@pytest.mark.parametrize(
    "name, expected",
    [
        ("mobilenet_1.00_224", "tf"),
        ("mobilenetv2_0.35_96", "tf"),
        ("inception_v3", "tf"),
        ("inception_resnet_v2", "tf"),
        ("resnet50", "caffe"),
        ("resnet50v2", "tf"),
        ("vgg16", "caffe"),
        ("densenet121", "torch"),
        ("nasnet_mobile", "tf"),
        # Without the layer with which they begin as a rule.
        ("MobileNetV3Small", None),
        ("efficientnetb0", None),
        ("resnet18", None),
        ("my_vgg16", None),
    ],
)
def test_the_name_of_keras_applications_tells_the_pixels(name, expected):
    assert expected_pixels(model_of(name=name)) == expected
    inner = keras.Sequential([keras.Input(SHAPE), model_of(name=name)])
    assert expected_pixels(inner) == expected


def test_a_network_of_keras_applications_sees_the_contrast_it_was_made_for():
    body = keras.applications.MobileNetV3Small(
        include_top=False, weights=None, input_shape=(32, 32, 3), minimalistic=True
    )
    network = backbones.build_network(body, (32, 32, 3), 3)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    (inner,) = (layer for layer in network.layers if isinstance(layer, keras.Model))
    pixels = keras.Model(network.input, network.get_layer("preprocessing").output)
    rescaled = keras.Model(inner.input, inner.layers[1].output)
    contrast = np.std(ops.convert_to_numpy(rescaled(pixels(images))))
    assert contrast == pytest.approx(images.std() / 127.5, rel=1e-5)


def test_what_was_trained_is_seen():
    model = model_of()
    assert not is_trained(model)
    assert is_trained(trained_model())
    # Of kernels that are drawn, both biases can move by as much.
    dense = layers.Dense(2, kernel_initializer="ones")
    dense = keras.Sequential([keras.Input((3,)), dense])
    assert not is_trained(dense)
    # A bias that starts at another value than zero.
    constant = keras.initializers.Constant(0.3)
    started = layers.Dense(2, bias_initializer=constant)
    assert not is_trained(keras.Sequential([keras.Input((3,)), started]))
    dense.compile("sgd", "mse")
    assert not is_trained(dense)
    dense.fit(np.ones((2, 3)), np.array([[0.0, 1], [0, 1]]), verbose=0)
    assert is_trained(dense)
    copy = keras.models.clone_model(dense)
    copy.set_weights(dense.get_weights())
    assert is_trained(copy)
    without_bias = keras.Sequential(
        [keras.Input((3,)), layers.Dense(2, use_bias=False)]
    )
    without_bias.compile("sgd", "mse")
    without_bias.fit(np.ones((2, 3)), np.ones((2, 2)), verbose=0)
    assert is_trained(without_bias)


def test_a_trained_model_is_trained_on_as_one():
    model = trained_model(layers.Rescaling(1 / 255))
    network = network_of(model)
    assert pixels_of(network) == "raw"
    assert network.losses == []
    (norm,) = (
        layer
        for layer in network._flatten_layers()
        if isinstance(layer, layers.BatchNormalization)
    )
    before = norm.get_weights()
    network(np.zeros((2, *SHAPE), np.uint8), training=True)
    for old, new in zip(before, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    # That of the user is as it was.
    assert all(layer.trainable for layer in model.layers)
    assert backbones.is_pretrained(model, None)
    assert not backbones.is_pretrained(model, None, pretrained=False)
    assert network_of(model, pretrained=False).losses != []


# Of NumPy, about what Keras does with TensorFlow.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_pixels_of_a_trained_model_must_be_known():
    model = trained_model()
    for arguments in ({}, {"pretrained": True}):
        with pytest.raises(ValueError, match="`pixels` must be given for a trained"):
            baselines.Supervised(model, **arguments)
    assert pixels_of(network_of(model, pixels="caffe")) == "caffe"
    # An explicit range is taken, whatever the first layers tell.
    told = trained_model(layers.Rescaling(1 / 255))
    with pytest.warns(UserWarning, match="`pixels` is 'tf', but .* made for 'raw'"):
        assert pixels_of(network_of(told, pixels="tf")) == "tf"
    # One that is not trained learns to live with any.
    assert pixels_of(network_of(model, pretrained=False)) == "tf"
    assert pixels_of(network_of(model_of())) == "tf"


def test_of_what_a_callable_returns_the_pixels_are_found_out_too():
    def fresh(shape):
        return model_of(layers.Rescaling(1 / 255))

    assert pixels_of(network_of(fresh)) == "raw"
    assert network_of(fresh).losses != []
    assert network_of(fresh, pretrained=True).losses == []

    def trained(shape):
        return trained_model()

    with pytest.raises(ValueError, match="`pretrained` must be given for a callable"):
        network_of(trained)
    with pytest.raises(ValueError, match="`pixels` must be given"):
        network_of(trained, pretrained=True)
    network = network_of(trained, pretrained=True, pixels="unit_interval")
    assert pixels_of(network) == "unit_interval"


def test_a_trained_model_gets_small_learning_rates(tiny_images):
    images, labels = tiny_images
    rates = []
    for model in (model_of(), trained_model()):
        classifier = baselines.Supervised(
            model, pixels="tf", embedding_dim=4, batch_size=4, seed=0
        )
        with untraced():
            classifier.fit(
                (images, labels), images, epochs=1, steps_per_epoch=1, verbose=0
            )
        rates.append(float(classifier.network.optimizer.learning_rate))
    assert rates[1] < rates[0] / 10
