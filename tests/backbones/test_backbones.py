import importlib
import random

import keras
import numpy as np
import pytest
from keras import layers, ops

from kdfixmatch_keras import backbones
from kdfixmatch_keras.backbones import Preprocessing, build_network


def random_images(n, side, channels=3):
    shape = (n, side, side, channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def build(backbone, side=8, channels=3, **arguments):
    arguments = {"weights": None, "embedding_dim": 16, "seed": 0, **arguments}
    return build_network(backbone, (side, side, channels), 5, **arguments)


def check_outputs(network, side, channels):
    assert network.input.dtype == "uint8"
    outputs = [network.get_layer("embedding").output, network.output]
    embeddings, logits = (
        ops.convert_to_numpy(value)
        for value in keras.Model(network.input, outputs)(
            random_images(2, side, channels)
        )
    )
    assert embeddings.shape == (2, 16)
    assert logits.shape == (2, 5)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert not np.allclose(logits[0], logits[1])


def layers_of(network, kind):
    return [layer for layer in network._flatten_layers() if isinstance(layer, kind)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 28, 32, 64])
def test_small_cnn(side, channels):
    check_outputs(build("small_cnn", side, channels), side, channels)


def test_small_cnn_in_mixed_precision(mixed_precision):
    network = build("small_cnn")
    assert layers_of(network, layers.Conv2D)[0].compute_dtype == "float16"
    check_outputs(network, 8, 3)


def test_wide_resnet_is_the_28_2_of_the_literature():
    check_outputs(build("wide_resnet_28_2", 32), 32, 3)
    network = build_network("wide_resnet_28_2", (32, 32, 3), 10, embedding_dim=None)
    trainable = sum(int(np.prod(w.shape)) for w in network.trainable_weights)
    assert trainable == 1_467_610
    assert network.get_layer("embedding").output.shape == (None, 128)
    assert network.get_layer("pool").input.shape == (None, 8, 8, 128)
    # 25 convolutions of three pixels in a row, and three shortcuts of one.
    assert len(layers_of(network, layers.Conv2D)) == 25 + 3
    norms = layers_of(network, layers.BatchNormalization)
    assert {norm.momentum for norm in norms} == {0.999}
    for activation in layers_of(network, layers.LeakyReLU):
        assert float(activation.negative_slope) == pytest.approx(0.1)


def test_wide_resnet_starts_as_the_references_do():
    kernels = [
        layer.kernel for layer in layers_of(build("wide_resnet_28_2", 8), layers.Conv2D)
    ]
    for kernel in kernels:
        size, _, _, filters = kernel.shape
        values = ops.convert_to_numpy(kernel).ravel()
        scaled = values * np.sqrt(size * size * filters / 2)
        assert scaled.std() == pytest.approx(1, abs=3 / np.sqrt(values.size))
    # A truncated normal ends at two deviations.
    assert np.abs(scaled).max() > 3


@pytest.mark.parametrize("name", ["small_cnn", "wide_resnet_28_2"])
def test_l2_penalty_is_on_kernels_only(name):
    network = build(name)
    for weight in network.trainable_weights:
        # Biases and batch norm would show if they were penalised.
        if "kernel" not in weight.path:
            weight.assign(ops.ones(weight.shape))
    kernels = [w for w in network.trainable_weights if "kernel" in w.path]
    assert len(kernels) == len(layers_of(network, layers.Conv2D)) + 2
    squares = sum(np.sum(ops.convert_to_numpy(kernel) ** 2) for kernel in kernels)
    penalty = sum(float(ops.convert_to_numpy(value)) for value in network.losses)
    # Half of 5e-4, because the gradient of a square has a factor of two.
    assert penalty == pytest.approx(2.5e-4 * squares, rel=1e-4)


def test_networks_of_keras_applications_have_no_penalty():
    assert build("mobilenet", 32).losses == []


@pytest.mark.parametrize("side, channels", [(32, 3), (16, 1)])
def test_efficientnet_takes_rgb_and_small_grayscale(side, channels):
    network = build("efficientnetb0", side, channels)
    assert network.get_layer("preprocessing").output.shape == (None, 32, 32, 3)
    check_outputs(network, side, channels)


def test_grayscale_is_repeated_and_enlarged():
    images = random_images(2, 4, 1)
    pixels = ops.convert_to_numpy(Preprocessing("raw", 3, (8, 8))(images))
    assert pixels.shape == (2, 8, 8, 3)
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])
    assert pixels.min() >= images.min() and pixels.max() <= images.max()
    layer = Preprocessing("raw", 3, (8, 8))
    assert layer.compute_output_shape((None, 4, 4, 1)) == (None, 8, 8, 3)


def test_shrunk_images_are_averaged():
    images = np.zeros((1, 8, 8, 1), np.uint8)
    images[:, :, ::2] = 200
    pixels = ops.convert_to_numpy(Preprocessing("raw", 1, (2, 2))(images))
    np.testing.assert_allclose(pixels, 100, atol=20)


def test_preprocessing_survives_serialisation():
    layer = Preprocessing("caffe", 3, (48, 40))
    restored = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )
    images = random_images(2, 32)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(restored(images)), ops.convert_to_numpy(layer(images))
    )


def test_preprocessing_names_the_known_ranges():
    with pytest.raises(ValueError, match="`pixels` .*Did you mean .torch"):
        Preprocessing("torhc", 3)


def test_preprocessing_needs_a_fixed_size():
    with pytest.raises(ValueError, match="fixed height and width"):
        Preprocessing("raw", 3).compute_output_shape((None, None, 32, 3))


@pytest.mark.parametrize("name", sorted(backbones.application_names()))
def test_pixels_are_what_keras_applications_expects(monkeypatch, name):
    builder = backbones.application_names()[name]
    module = importlib.import_module(builder.__module__)

    def bare(include_top, weights, input_shape):
        # The network itself would take seconds to build; its input is the point.
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, layers.GlobalMaxPooling2D()(inputs))

    monkeypatch.setattr(keras.applications, builder.__name__, bare)
    network = build(name, 80)
    images = random_images(2, 80)
    preprocessing = network.get_layer("preprocessing")
    expected = module.preprocess_input(images.astype("float32"))
    np.testing.assert_allclose(
        ops.convert_to_numpy(preprocessing(images)), expected, rtol=1e-4, atol=1e-3
    )


def test_a_trained_network_sees_small_images_enlarged(monkeypatch):
    def bare(include_top, weights, input_shape):
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, layers.GlobalMaxPooling2D()(inputs))

    monkeypatch.setattr(keras.applications, "EfficientNetB0", bare)
    for weights, side, seen in (("imagenet", 32, 96), (None, 32, 32), (None, 8, 32)):
        network = build("efficientnetb0", side, weights=weights)
        shape = network.get_layer("preprocessing").output.shape
        assert shape == (None, seen, seen, 3)


@pytest.mark.parametrize(
    "name, side", [("xception", 71), ("inceptionv3", 75), ("inceptionresnetv2", 75)]
)
def test_images_are_enlarged_to_what_the_network_accepts(monkeypatch, name, side):
    builder = backbones.application_names()[name]
    shapes = []

    def bare(include_top, weights, input_shape):
        shapes.append(input_shape)
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, layers.GlobalMaxPooling2D()(inputs))

    monkeypatch.setattr(keras.applications, builder.__name__, bare)
    build(name, 32)
    assert shapes == [(side, side, 3)]
    with pytest.raises(ValueError, match=str(side)):
        builder(include_top=False, weights=None, input_shape=(side - 1, side - 1, 3))


def check_untouched_by_training(network, model):
    before = model.get_weights()
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(random_images(4, 8), np.arange(4), epochs=2, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_model_is_cloned_with_its_weights(tiny_backbone):
    model = tiny_backbone((8, 8, 3))
    network = build(model)
    check_outputs(network, 8, 3)
    cloned = layers_of(network, layers.Conv2D)[0].get_weights()[0]
    np.testing.assert_array_equal(cloned, model.get_weights()[0])
    check_untouched_by_training(network, model)
    assert not np.array_equal(
        layers_of(network, layers.Conv2D)[0].get_weights()[0], cloned
    )


def test_a_callable_gets_the_shape_and_pixels_from_minus_one_to_one(tiny_backbone):
    shapes = []

    def backbone(input_shape):
        shapes.append(input_shape)
        return tiny_backbone(input_shape)

    network = build(backbone, channels=1)
    assert shapes == [(8, 8, 1)]
    check_outputs(network, 8, 1)
    pixels = network.get_layer("preprocessing")(
        np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    )
    np.testing.assert_allclose(ops.convert_to_numpy(pixels).ravel(), [-1, 1])


def test_a_backbone_may_return_a_vector():
    def backbone(input_shape):
        return keras.Sequential([keras.Input(input_shape), layers.Flatten()])

    network = build(backbone)
    check_outputs(network, 8, 3)
    assert network.get_layer("embedding").input.shape == (None, 192)


@pytest.mark.parametrize("backbone", ["small_cnn", "mobilenet"])
def test_features_are_those_before_the_head(backbone):
    network = build(backbone, 32)
    features = backbones.build_features(backbone, (32, 32, 3), weights=None, seed=0)
    head = network.get_layer("embedding")
    before = keras.Model(network.input, head.input)
    images = random_images(2, 32)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(features(images)), ops.convert_to_numpy(before(images))
    )


def test_features_of_images_of_another_size():
    features = backbones.build_features(
        "mobilenet", (16, 16, 1), weights=None, size=(64, 48), seed=0
    )
    assert features.get_layer("preprocessing").output.shape == (None, 64, 48, 3)
    assert ops.convert_to_numpy(features(random_images(2, 16, 1))).shape == (2, 1024)


def test_a_backbone_must_not_return_anything_else():
    def backbone(input_shape):
        return keras.Sequential([keras.Input(input_shape), layers.Reshape((8, -1))])

    with pytest.raises(ValueError, match=r"`backbone` must return.*\(None, 8, 24\)"):
        build(backbone)


@pytest.mark.parametrize("name", ["small_cnn", "wide_resnet_28_2"])
def test_seed_fixes_the_weights_and_nothing_else(name):
    networks = []
    for python_seed, seed in ((1, 5), (2, 5), (1, 6)):
        random.seed(python_seed)
        state = random.getstate()
        networks.append(build(name, seed=seed).get_weights())
        assert random.getstate() == state
    for first, second in zip(networks[0], networks[1], strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(networks[0][0], networks[2][0])
    # Every layer draws numbers of its own.
    shapes = [w for w in networks[0] if w.ndim == 4]
    same = [w for w in shapes if w.shape == shapes[-1].shape]
    assert len(same) == 1 or not np.array_equal(same[0], same[1])


def test_networks_share_no_weights_of_a_model_that_a_callable_returns(tiny_backbone):
    model = tiny_backbone((8, 8, 3))
    first, second = (
        build(lambda shape: model, pretrained=True, pixels="tf") for _ in range(2)
    )
    check_untouched_by_training(first, model)
    kernel = layers_of(second, layers.Conv2D)[0].get_weights()[0]
    np.testing.assert_array_equal(kernel, model.get_weights()[0])


def test_a_seed_fixes_dropout_that_has_none():
    def backbone(input_shape):
        return keras.Sequential(
            [keras.Input(input_shape), layers.Flatten(), layers.Dropout(0.5)]
        )

    images = random_images(2, 8)
    found = []
    for seed in (5, 5, 6):
        network = build(backbone, seed=seed)
        calls = [ops.convert_to_numpy(network(images, training=True)) for _ in range(2)]
        assert not np.array_equal(*calls)
        found.append(np.stack(calls))
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_without_a_seed_the_weights_differ():
    first, second = (build("small_cnn", seed=None).get_weights() for _ in range(2))
    assert not np.array_equal(first[0], second[0])


def test_weights_from_a_file_keep_batch_norm_frozen(tmp_path):
    headless = keras.applications.MobileNet(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    path = tmp_path / "headless.weights.h5"
    headless.save_weights(path)

    network = build("mobilenet", 16, 1, weights=path)

    body = next(x for x in network.layers if isinstance(x, keras.Model))
    for got, expected in zip(body.get_weights(), headless.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)
    norms = layers_of(network, layers.BatchNormalization)
    before = [norm.get_weights() for norm in norms]
    network(random_images(4, 16, 1), training=True)
    for norm, weights in zip(norms, before, strict=True):
        for old, new in zip(weights, norm.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


def test_batch_norm_is_trained_from_scratch():
    network = build("mobilenet", 32)
    norms = layers_of(network, layers.BatchNormalization)
    assert all(norm.trainable for norm in norms)
    before = [norm.get_weights()[-1] for norm in norms]
    network(random_images(4, 32), training=True)
    for norm, variance in zip(norms, before, strict=True):
        assert not np.array_equal(norm.get_weights()[-1], variance)


def fail_with(monkeypatch, message):
    def builder(include_top, weights, input_shape):
        raise Exception(message)

    monkeypatch.setattr(keras.applications, "MobileNet", builder)


def test_failed_download_names_the_remedy(monkeypatch):
    fail_with(monkeypatch, "URL fetch failure on https://x: None -- unreachable")
    with pytest.raises(RuntimeError, match="mobilenet .*weights=<path.*weights=None"):
        build("mobilenet", weights="imagenet")


def test_other_failures_are_not_taken_for_a_failed_download(monkeypatch):
    fail_with(monkeypatch, "out of memory")
    with pytest.raises(Exception, match="^out of memory$"):
        build("mobilenet", weights="imagenet")


@pytest.mark.parametrize("name", ["small_cnn", "wide_resnet_28_2"])
def test_imagenet_has_no_effect_on_own_networks(name):
    assert not backbones.is_pretrained(name, "imagenet")
    check_outputs(build(name, weights="imagenet"), 8, 3)


@pytest.mark.parametrize(
    "backbone, weights, expected",
    [
        ("efficientnetb0", "imagenet", True),
        ("efficientnetb0", "some.weights.h5", True),
        ("efficientnetb0", None, False),
        ("small_cnn", None, False),
        (lambda shape: None, "imagenet", False),
    ],
)
def test_is_pretrained(backbone, weights, expected):
    assert backbones.is_pretrained(backbone, weights) is expected


@pytest.mark.parametrize(
    "backbone, weights, error, words",
    [
        ("eficientnetb0", None, ValueError, "mean .efficientnetb0"),
        ("EfficientNetB0", None, ValueError, "mean .efficientnetb0"),
        ("smallcnn", None, ValueError, "mean .small_cnn"),
        (3, None, TypeError, "`backbone` must be a name.*backbone=3"),
        (None, None, TypeError, "`backbone` must be a name.*backbone=None"),
        ("mobilenet", "missing.weights.h5", ValueError, "missing.weights.h5"),
        ("mobilenet", 7, ValueError, "`weights` must be None.*weights=7"),
        ("small_cnn", __file__, ValueError, "`weights` must be None.*small_cnn"),
        (lambda shape: None, __file__, ValueError, "`weights` must be None"),
    ],
)
def test_wrong_arguments_are_named(backbone, weights, error, words):
    with pytest.raises(error, match=words):
        build(backbone, weights=weights)


@pytest.mark.parametrize("side, first", [(8, 8), (31, 31), (32, 16), (64, 32)])
def test_small_cnn_halves_larger_images_at_once(side, first):
    network = backbones.build_network("small_cnn", (side, side, 3), 10)
    convolution = next(
        layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)
    )
    assert convolution.output.shape[1:3] == (first, first)
