import importlib.util
import shutil

import keras
import numpy as np
import pytest
from keras import ops

from kdfixmatch_keras import backbones, baselines
from kdfixmatch_keras.backbones.keras_hub import HubFeatures
from tests.exported import check_exported
from tests.untraced import untraced

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted:UserWarning")

SHAPE = (8, 12, 3)


@pytest.fixture(scope="module")
def hub():
    import keras_hub

    return keras_hub


def transformer(hub, kind, side=16, **changes):
    patches = {"patch_size": 8, "num_layers": 1, "hidden_dim": 8, "num_heads": 2}
    shape = {"image_shape": (side, side, 3)}
    own = {
        "ViTBackbone": {"mlp_dim": 16},
        "DeiTBackbone": {"intermediate_dim": 16},
        "DINOV2Backbone": {
            "intermediate_dim": 16,
            "position_embedding_shape": (24, 24, 3),
        },
        "DINOV3Backbone": {"intermediate_dim": 16, "num_register_tokens": 2},
        "SigLIPVisionEncoder": {"intermediate_dim": 16},
        "CLIPVisionEncoder": {"intermediate_dim": 16},
    }
    kind_class = getattr(hub.models, kind)
    return kind_class(**{**patches, **shape, **own[kind], **changes})


def resnet(hub, **changes):
    return hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64],
        stackwise_num_blocks=[1],
        stackwise_num_strides=[1],
        block_type="basic_block",
        **changes,
    )


def hgnet(hub):
    return hub.models.HGNetV2Backbone(
        depths=[1, 1],
        embedding_size=4,
        hidden_sizes=[8, 8],
        stem_channels=[3, 4, 4],
        hidden_act="relu",
        use_learnable_affine_block=False,
        stackwise_stage_filters=[[4, 4, 8, 1, 1, 3], [8, 4, 8, 1, 1, 3]],
        apply_downsample=[False, True],
        use_lightweight_conv_block=[False, False],
    )


def siglip(hub):
    """Of images and text."""
    text = hub.models.SigLIPTextEncoder(
        vocabulary_size=8,
        embedding_dim=8,
        hidden_dim=8,
        num_layers=1,
        num_heads=2,
        intermediate_dim=16,
    )
    return hub.models.SigLIPBackbone(transformer(hub, "SigLIPVisionEncoder"), text)


def trained(model):
    """The model with weights that it does not start with."""
    rng = np.random.default_rng(0)
    model.set_weights(
        [
            w + rng.uniform(0.1, 0.3, w.shape).astype(w.dtype)
            for w in model.get_weights()
        ]
    )
    return model


def images(n=2, shape=SHAPE):
    return np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)


def features_of(backbone, size=None, **arguments):
    network = backbones.build_features(backbone, SHAPE, size=size, **arguments)
    return network, ops.convert_to_numpy(network(images()))


def seen(network):
    """What the network of KerasHub itself is given."""
    layer = network.get_layer("backbone")
    pixels = keras.Model(network.input, layer.input)(images())
    return layer.body, pixels


def mean(outputs):
    return ops.convert_to_numpy(outputs).mean((1, 2))


def first(outputs):
    return ops.convert_to_numpy(outputs)[:, 0]


@pytest.mark.parametrize(
    "make, size, vector",
    [
        (resnet, (32, 48), mean),
        (hgnet, (32, 48), lambda maps: mean(maps["stage2"])),
        # Its position embeddings are for images of one size.
        (lambda hub: transformer(hub, "ViTBackbone"), (16, 16), first),
        (
            lambda hub: transformer(hub, "ViTBackbone", use_class_token=False),
            (16, 16),
            lambda tokens: ops.convert_to_numpy(tokens).mean(1),
        ),
        (lambda hub: transformer(hub, "DeiTBackbone"), (16, 16), first),
        (lambda hub: transformer(hub, "CLIPVisionEncoder"), (16, 16), first),
        (
            lambda hub: transformer(hub, "SigLIPVisionEncoder"),
            (16, 16),
            ops.convert_to_numpy,
        ),
        (siglip, (16, 16), ops.convert_to_numpy),
        # In squares of as many pixels, as position embeddings can be interpolated.
        (lambda hub: transformer(hub, "DINOV2Backbone"), (40, 40), first),
        (lambda hub: transformer(hub, "DINOV3Backbone"), (40, 40), first),
    ],
)
def test_every_kind_gives_a_vector(hub, make, size, vector):
    model = make(hub)
    network, features = features_of(model)
    body, pixels = seen(network)
    assert tuple(pixels.shape) == (2, *size, 3)
    given = {next(iter(body.input)): pixels} if isinstance(body.input, dict) else pixels
    np.testing.assert_allclose(features, vector(body(given)), rtol=1e-5, atol=1e-6)
    # A copy of the network with its weights.
    own = getattr(model, "vision_encoder", model)
    assert body is not own
    for copied, weight in zip(body.weights, own.weights, strict=True):
        if "interpolated" not in weight.name:
            np.testing.assert_array_equal(copied, weight)


def test_what_takes_text_is_refused(hub):
    text = siglip(hub).text_encoder
    with pytest.raises(ValueError, match="`backbone` must be a network that takes im"):
        features_of(text)


@pytest.fixture(scope="module")
def vit_folder(hub, tmp_path_factory):
    """A preset, and what says which pixels it expects."""
    folder = tmp_path_factory.mktemp("vit")
    trained(transformer(hub, "ViTBackbone")).save_to_preset(folder)
    hub.layers.ViTImageConverter(
        image_size=(16, 16), scale=[0.01, 0.02, 0.03], offset=[-1, -2, -3]
    ).save_to_preset(folder)
    return folder


def test_a_preset_says_which_pixels_it_expects(hub, vit_folder):
    backbone = f"hub:{vit_folder}"
    network, features = features_of(backbone)
    body, pixels = seen(network)
    resized = ops.image.resize(images().astype("float32"), (16, 16))
    np.testing.assert_allclose(
        ops.convert_to_numpy(pixels),
        ops.convert_to_numpy(resized) * [0.01, 0.02, 0.03] - [1, 2, 3],
        rtol=1e-5,
        atol=1e-5,
    )
    preset = hub.models.Backbone.from_preset(str(vit_folder))
    np.testing.assert_allclose(features, first(preset(pixels)), rtol=1e-5, atol=1e-6)
    assert backbones.is_pretrained(backbone, "imagenet")
    assert backbones.build_network(backbone, SHAPE, 3).losses == []
    # What the user says comes first.
    network, _ = features_of(backbone, pixels="caffe")
    assert network.get_layer("preprocessing").pixels == "caffe"


def test_without_weights_a_preset_is_an_architecture(vit_folder):
    backbone = f"hub:{vit_folder}"
    _, pretrained = features_of(backbone)
    _, found = features_of(backbone, weights=None, seed=0)
    _, again = features_of(backbone, weights=None, seed=0)
    np.testing.assert_array_equal(found, again)
    assert not np.allclose(found, pretrained)
    assert not backbones.is_pretrained(backbone, None)
    assert backbones.build_network(backbone, SHAPE, 3, weights=None).losses != []


def test_trained_networks_are_asked_for_their_pixels(hub, tmp_path):
    model = resnet(hub)
    assert features_of(model)[0].get_layer("preprocessing").pixels == "tf"
    with pytest.raises(ValueError, match="`pixels` must be given"):
        features_of(trained(model))
    model.save_to_preset(tmp_path / "preset")
    for backbone in (model, f"hub:{tmp_path / 'preset'}"):
        with pytest.raises(ValueError, match="`pixels` must be given"):
            features_of(backbone)
        network, _ = features_of(backbone, pixels="torch")
        # Small images are enlarged for what was trained on larger ones.
        preprocessing = network.get_layer("preprocessing")
        assert preprocessing.pixels == "torch"
        assert preprocessing.output.shape == (None, 96, 144, 3)
        body, _ = seen(network)
        (norm, *_) = (
            layer
            for layer in body._flatten_layers()
            if isinstance(layer, keras.layers.BatchNormalization)
        )
        assert not norm.trainable
        copy = keras.models.clone_model(network)
        copied = copy.get_layer("backbone").body.get_layer(norm.name)
        assert not copied.trainable


@pytest.fixture(scope="module")
def dino_folder(hub, tmp_path_factory):
    """Its position embeddings are interpolated, its images in a dictionary."""
    folder = tmp_path_factory.mktemp("dino")
    trained(transformer(hub, "DINOV2Backbone", dropout_rate=0.1)).save_to_preset(folder)
    return folder


def stop(epoch, logs=None):
    raise KeyboardInterrupt


def test_a_run_is_stopped_gone_on_with_and_saved(dino_folder, tmp_path, tiny_images):
    pixels, labels = tiny_images
    preset = tmp_path / "preset"
    shutil.copytree(dino_folder, preset)

    def fit(run_dir=None, callbacks=None):
        model = baselines.Supervised(
            f"hub:{preset}", pixels="torch", embedding_dim=4, batch_size=4, seed=0
        )
        with untraced():
            model.fit(
                *((pixels, labels), pixels),
                epochs=2,
                steps_per_epoch=1,
                callbacks=callbacks,
                verbose=0,
                run_dir=run_dir,
            )
        return model.network

    whole = fit()
    stopping = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
    with pytest.raises(KeyboardInterrupt):
        fit(
            tmp_path / "run",
            [keras.callbacks.LambdaCallback(on_epoch_begin=lambda e, _: e and stop(e))],
        )
    network = fit(tmp_path / "run")
    for one, other in zip(network.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)

    expected = network.predict(pixels, verbose=0)
    network.save(tmp_path / "network.keras")
    (preset / "config.json").write_text((preset / "config.json").read_text() + " ")
    with pytest.raises(ValueError, match="training with other backbone"):
        fit(tmp_path / "run", [stopping])
    # What it was made of is not needed.
    shutil.rmtree(preset)
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded.predict(pixels, verbose=0), expected)
    assert loaded.student.count_params() == network.student.count_params()
    count = len(loaded.student.trainable_weights)
    assert count == len(network.student.trainable_weights)


@pytest.mark.tensorflow
@pytest.mark.parametrize("format", ["tf_saved_model", "onnx"])
def test_an_exported_network_predicts_the_same(dino_folder, tmp_path, format):
    network = backbones.build_network(
        f"hub:{dino_folder}", SHAPE, 3, pixels="torch", embedding_dim=4, seed=0
    )
    check_exported(network, images(), tmp_path, format)


def test_in_mixed_precision_it_computes_in_half(vit_folder, mixed_precision):
    network, features = features_of(f"hub:{vit_folder}")
    assert network.get_layer("backbone").body.compute_dtype == "float16"
    assert features.dtype == np.float16
    assert np.isfinite(features).all()


def test_without_kerashub_the_remedy_is_named(monkeypatch, vit_folder):
    network, _ = features_of(f"hub:{vit_folder}")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "kdfixmatch-keras\[hub\]"'):
        backbones.check_backbone(f"hub:{vit_folder}", "imagenet")
    with pytest.raises(ImportError, match=r'pip install "kdfixmatch-keras\[hub\]"'):
        HubFeatures.from_config(network.get_layer("backbone").get_config())


def test_a_preset_that_does_not_load_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RuntimeError, match="(?s)could not be loaded .*the folder of a"):
        features_of(f"hub:{tmp_path}")
