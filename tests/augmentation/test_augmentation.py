"""The augmentation does what Pillow, numpy and its docstrings say."""

import keras
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from kdfixmatch_keras.augmentation import (
    OPERATION_NAMES,
    Cutout,
    FlipAndShift,
    RandAugment,
    get_strong,
    get_weak,
    operations,
)
from kdfixmatch_keras.augmentation.weak import flip_and_shift

SHAPES = [(32, 32, 3), (17, 24, 3), (9, 5, 1), (28, 28, 1), (2, 7, 3)]
FACTORS = [0.05, 0.31, 0.5, 0.77, 0.95, 1.0]


def make_images(shape, count=6, seed=0):
    """Random images: noise, a narrow range, a ramp, one level, two levels."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, *shape), dtype=np.uint8)
    images[1] = random.integers(90, 140, shape, dtype=np.uint8)
    images[2] = np.linspace(3, 250, images[2].size).reshape(shape).astype(np.uint8)
    images[3] = 77
    images[4] = np.where(random.random(shape) < 0.9, 20, 220)
    return images


def to_pillow(image):
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def to_array(image):
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def transform(image, *matrix):
    fill = 128 if image.mode == "L" else (128, 128, 128)
    return image.transform(image.size, Image.Transform.AFFINE, matrix, fillcolor=fill)


def rotate(image, degrees):
    return image.rotate(
        degrees, fillcolor=128 if image.mode == "L" else (128, 128, 128)
    )


# For each operation: one magnitude per image, and Pillow's operation.
PILLOW = {
    "identity": (None, lambda image: image),
    "auto_contrast": (None, ImageOps.autocontrast),
    "equalize": (None, ImageOps.equalize),
    "rotate": ([-30.0, -11.7, 0.0, 3.3, 17.9, 29.0], rotate),
    "solarize": ([0.0, 19.5, 100.0, 128.0, 255.5, 256.0], ImageOps.solarize),
    "color": (FACTORS, lambda image, v: ImageEnhance.Color(image).enhance(v)),
    "contrast": (FACTORS, lambda image, v: ImageEnhance.Contrast(image).enhance(v)),
    "brightness": (
        FACTORS,
        lambda image, v: ImageEnhance.Brightness(image).enhance(v),
    ),
    "sharpness": (FACTORS, lambda image, v: ImageEnhance.Sharpness(image).enhance(v)),
    "posterize": ([4, 5, 6, 7, 8, 1], ImageOps.posterize),
    "shear_x": (
        [-0.3, -0.11, 0.0, 0.07, 0.21, 0.29],
        lambda image, v: transform(image, 1, v, 0, 0, 1, 0),
    ),
    "shear_y": (
        [-0.3, -0.11, 0.0, 0.07, 0.21, 0.29],
        lambda image, v: transform(image, 1, 0, 0, v, 1, 0),
    ),
    "translate_x": (
        [-0.3, -0.11, 0.0, 0.07, 0.21, 0.29],
        lambda image, v: transform(image, 1, 0, v * image.size[0], 0, 1, 0),
    ),
    "translate_y": (
        [-0.3, -0.11, 0.0, 0.07, 0.21, 0.29],
        lambda image, v: transform(image, 1, 0, 0, 0, 1, v * image.size[1]),
    ),
}


def test_every_operation_has_a_pillow_counterpart():
    assert sorted(PILLOW) == sorted(OPERATION_NAMES)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", OPERATION_NAMES)
def test_operation_follows_pillow(name, shape):
    magnitudes, reference = PILLOW[name]
    images = make_images(shape)
    expected = np.stack(
        [
            to_array(
                reference(to_pillow(image))
                if magnitudes is None
                else reference(to_pillow(image), magnitudes[index])
            )
            for index, image in enumerate(images)
        ]
    )
    arguments = [] if magnitudes is None else [keras.ops.convert_to_tensor(magnitudes)]
    result = getattr(operations, name)(keras.ops.convert_to_tensor(images), *arguments)
    result = keras.ops.convert_to_numpy(result)
    assert result.dtype == np.uint8
    difference = np.abs(result.astype(int) - expected)
    geometric = name.startswith(("rotate", "shear", "translate"))
    assert difference.max() <= (0 if geometric else 1)


def test_flip_and_shift_follows_numpy():
    images = make_images((9, 12, 3), count=8)
    flipped = np.array([0, 1] * 4, dtype=bool)
    rows = np.array([0, 0, 4, -4, 1, -2, 3, 2], dtype="int32")
    columns = np.array([0, 0, -6, 6, 2, -1, 5, -3], dtype="int32")
    result = keras.ops.convert_to_numpy(
        flip_and_shift(
            *map(keras.ops.convert_to_tensor, (images, flipped, rows, columns))
        )
    )
    for index, image in enumerate(images):
        image = image[:, ::-1] if flipped[index] else image
        padded = np.pad(image, [(8, 8), (8, 8), (0, 0)], mode="reflect")
        top, left = 8 + rows[index], 8 + columns[index]
        np.testing.assert_array_equal(
            result[index], padded[top : top + 9, left : left + 12]
        )


def recover_weak_view(image, view, limit):
    """Finds the (flip, row shift, column shift) that leads to a weak view."""
    height, width = image.shape[:2]
    found = []
    for flip in (False, True):
        source = image[:, ::-1] if flip else image
        padded = np.pad(source, [(limit, limit)] * 2 + [(0, 0)], mode="reflect")
        for row in range(2 * limit + 1):
            for column in range(2 * limit + 1):
                window = padded[row : row + height, column : column + width]
                if np.array_equal(window, view):
                    found.append((flip, row - limit, column - limit))
    return found


@pytest.mark.parametrize("flip", [True, False])
def test_weak_views_cover_all_flips_and_shifts_equally(flip):
    images = np.random.default_rng(0).integers(0, 256, (600, 8, 8, 1), dtype=np.uint8)
    layer = FlipAndShift(flip=flip, max_shift=0.125, seed=3)
    views = keras.ops.convert_to_numpy(layer(images, training=True))
    drawn = [
        recover_weak_view(*pair, limit=1) for pair in zip(images, views, strict=True)
    ]
    assert all(len(choices) == 1 for choices in drawn)
    flips, rows, columns = np.array([choices[0] for choices in drawn]).T
    assert abs(flips.mean() - 0.5 * flip) < 0.1
    for shift in (rows, columns):
        assert sorted(set(shift)) == [-1, 0, 1]
        assert np.all(np.abs(np.bincount(shift + 1) / 600 - 1 / 3) < 0.1)


def drawn_operations(layer, count):
    """The operations of a call, by number: int `(num_ops, count)`."""
    slots, _ = layer._draw(count)
    slots = keras.ops.convert_to_numpy(slots)
    # Which of the shuffled images sits in each slot; the operations have equal shares.
    share = slots.shape[1] // len(OPERATION_NAMES)
    return np.argsort(slots, axis=1)[:, :count] // share


def test_rand_augment_draws_every_operation_for_every_image_equally_often():
    layer = RandAugment(num_ops=2, seed=5)
    draws = np.stack([drawn_operations(layer, 10) for _ in range(1000)])
    assert draws.shape == (1000, 2, 10)
    for drawn in (*draws[:, 0].T, *draws[:, 1].T):
        counts = np.bincount(drawn, minlength=14)
        # 99.99 % quantile of the chi-squared distribution with 13 degrees of freedom.
        assert np.sum((counts - 1000 / 14) ** 2 / (1000 / 14)) < 43
    pairs = np.bincount(draws[:, 0].ravel() * 14 + draws[:, 1].ravel(), minlength=196)
    assert pairs.min() > 0


def test_rand_augment_deals_operations_in_equal_shares():
    drawn = drawn_operations(RandAugment(seed=1), 42)
    for row in drawn:
        assert np.bincount(row, minlength=14).tolist() == [3] * 14


def test_rand_augment_applies_the_operation_that_it_draws():
    images = np.random.default_rng(1).integers(30, 200, (70, 16, 16, 3), dtype=np.uint8)
    drawn = drawn_operations(RandAugment(1, seed=7), 70)[0]
    result = keras.ops.convert_to_numpy(RandAugment(1, seed=7)(images, training=True))
    names = np.array(OPERATION_NAMES)[drawn]
    for image, view, name in zip(images, result, names, strict=True):
        if name == "identity":
            np.testing.assert_array_equal(view, image)
        elif name in ("auto_contrast", "equalize"):
            expected = to_array(PILLOW[name][1](to_pillow(image)))
            assert np.abs(view.astype(int) - expected).max() <= 1
        elif name == "brightness":
            ratio = view.sum() / image.sum()
            assert 0.03 < ratio < 0.96
            assert np.abs(view - ratio * image).max() < 2
        elif name == "posterize":
            assert np.all((image - view >= 0) & (image - view < 16))
        elif name == "solarize":
            assert np.all((view == image) | (view == 255 - image))
        elif name in ("contrast", "color", "sharpness"):
            assert view.astype(float).std() <= image.astype(float).std()
            assert abs(view.mean() - image.mean()) < 12
        else:
            # A geometric operation moves pixels and invents none but gray.
            colors = {tuple(pixel) for pixel in image.reshape(-1, 3)} | {(128,) * 3}
            assert {tuple(pixel) for pixel in view.reshape(-1, 3)} <= colors


@pytest.mark.parametrize("probability", [0.0, 0.5])
def test_rand_augment_leaves_drawn_operations_out(probability, monkeypatch):
    monkeypatch.setattr(
        "kdfixmatch_keras.augmentation.rand_augment._apply_to_shares",
        lambda shares, scale: keras.ops.reshape(shares + 1, (-1, *shares.shape[2:])),
    )
    images = np.full((1000, 2, 2, 1), 10, "uint8")
    layer = RandAugment(2, seed=0, probability=probability)
    views = keras.ops.convert_to_numpy(layer(images, training=True))
    applied = views[:, 0, 0, 0] - 10
    assert (views == views[:, :1, :1]).all()
    counts = np.bincount(applied, minlength=3) / 1000
    expected = [(1 - probability) ** 2, 2 * probability * (1 - probability)]
    np.testing.assert_allclose(counts[:2], expected, atol=0.06)


@pytest.mark.parametrize("count", [1, 5, 14, 15, 97])
def test_rand_augment_keeps_every_image_at_its_position(count, monkeypatch):
    # With operations that change nothing, only a wrong permutation can.
    monkeypatch.setattr(
        "kdfixmatch_keras.augmentation.rand_augment._apply_to_shares",
        lambda shares, scale: keras.ops.reshape(shares, (-1, *shares.shape[2:])),
    )
    images = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    result = RandAugment(num_ops=3, seed=2)(images, training=True)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(result), images)


@pytest.mark.parametrize("count", [1, 14, 20])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("make_layer", [FlipAndShift, RandAugment, Cutout])
def test_layer_changes_images_reproducibly(make_layer, channels, count):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, 12, 10, channels), dtype=np.uint8)
    layer, twin, other = (make_layer(seed=seed) for seed in (1, 1, 2))

    def views(layer):
        # Several calls, as a single image can meet the identity.
        return np.stack(
            [keras.ops.convert_to_numpy(layer(images, training=True)) for _ in range(4)]
        )

    first = views(layer)
    assert first.dtype == np.uint8 and first.shape == (4, *images.shape)
    assert not np.array_equal(first[0], first[1]) or count == 1
    assert np.any(first != images)
    np.testing.assert_array_equal(first, views(twin))
    assert not np.array_equal(first, views(other))
    untouched = keras.ops.convert_to_numpy(layer(images, training=False))
    np.testing.assert_array_equal(untouched, images)


@pytest.mark.parametrize(
    "layer",
    [
        FlipAndShift(flip=False, max_shift=0.25, seed=4),
        RandAugment(num_ops=3, probability=0.5, seed=4),
        Cutout(max_fraction=0.25, fill_value=7, seed=4),
        get_strong("randaugment", seed=4),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layer_survives_serialization(layer):
    config = keras.saving.serialize_keras_object(layer)
    restored = keras.saving.deserialize_keras_object(config)
    assert restored.get_config() == layer.get_config()
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(restored(images, training=True)),
        keras.ops.convert_to_numpy(layer(images, training=True)),
    )


def test_layers_declare_uint8_outputs():
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    outputs = get_strong("randaugment", seed=0)(get_weak("flip_shift", seed=0)(inputs))
    assert outputs.dtype == "uint8"
    assert outputs.shape == (None, 8, 8, 3)


@pytest.mark.tensorflow
@pytest.mark.parametrize("channels", [1, 3])
# Of which the larger goes through XLA on a CPU.
@pytest.mark.parametrize("shape", [(16, 12), (16, 20)])
def test_augmentation_compiles_with_an_unknown_batch_size(channels, shape):
    import tensorflow as tf

    weak, strong = get_weak("flip_shift", seed=0), get_strong("randaugment", seed=0)
    signature = [tf.TensorSpec((None, *shape, channels), tf.uint8)]

    @tf.function(input_signature=signature)
    def augment(images):
        weak_view = weak(images, training=True)
        return weak_view, strong(weak_view, training=True)

    random = np.random.default_rng(0)
    eager_weak, eager_strong = get_weak("flip_shift", 0), get_strong("randaugment", 0)
    for count in (30, 1, 14):
        images = random.integers(0, 256, (count, *shape, channels), dtype=np.uint8)
        weak_view, strong_view = augment(images)
        eager = eager_weak(images, training=True)
        np.testing.assert_array_equal(weak_view, eager)
        eager = eager_strong(eager, training=True).numpy().astype(int)
        # Compilation may fuse float operations: a gray level may round differently.
        difference = np.abs(strong_view.numpy() - eager)
        assert difference.max() <= 1
        assert np.mean(difference > 0) < 0.001


@pytest.mark.tensorflow
def test_augmentation_runs_in_a_pipeline_of_tf_data():
    import tensorflow as tf

    weak, strong = get_weak("flip_shift", seed=0), get_strong("randaugment", seed=0)
    images = np.random.default_rng(0).integers(0, 256, (28, 20, 16, 3), dtype=np.uint8)
    views = tf.data.Dataset.from_tensor_slices(images).batch(14)
    views = views.map(lambda x: strong(weak(x, training=True), training=True))
    views = np.concatenate([batch.numpy() for batch in views])
    assert views.shape == images.shape
    assert np.any(views != images)


@pytest.mark.tensorflow
def test_augmentation_compiles_under_xla():
    import tensorflow as tf

    weak, strong = get_weak("flip_shift", seed=0), get_strong("randaugment", seed=0)
    images = np.random.default_rng(0).integers(0, 256, (15, 8, 8, 3), dtype=np.uint8)

    @tf.function(jit_compile=True)
    def augment(images):
        return strong(weak(images, training=True), training=True)

    views = augment(tf.constant(images)).numpy()
    assert views.shape == images.shape
    assert np.any(views != images)


def test_cutout_covers_a_square_of_at_most_half_the_width():
    images = np.zeros((500, 20, 30, 1), dtype=np.uint8)
    views = keras.ops.convert_to_numpy(Cutout(0.5, seed=0)(images, training=True))
    assert set(np.unique(views)) == {0, 128}
    covered = views[..., 0] == 128
    rows, columns = covered.any(axis=2).sum(axis=1), covered.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(covered.sum(axis=(1, 2)), rows * columns)
    assert rows.max() == 15 and columns.max() == 15
    inner = ~covered[:, [0, -1]].any(axis=(1, 2)) & ~covered[:, :, [0, -1]].any(
        axis=(1, 2)
    )
    # Away from the border the sides differ by what the pixel grid cuts off.
    assert np.abs(rows - columns)[inner].max() <= 1
    # Every pixel is covered at times, the centre more often than a corner.
    frequency = covered.mean(axis=0)
    assert frequency.min() > 0
    assert (
        frequency[8:12, 13:17].mean()
        > 2 * frequency[[0, 0, -1, -1], [0, -1] * 2].mean()
    )


def test_cutout_uses_the_fill_value_and_can_be_empty():
    images = np.full((50, 8, 8, 3), 200, dtype=np.uint8)
    views = keras.ops.convert_to_numpy(Cutout(1.0, 9, seed=0)(images, training=True))
    assert set(np.unique(views)) == {9, 200}
    empty = keras.ops.convert_to_numpy(Cutout(0.0, seed=0)(images, training=True))
    np.testing.assert_array_equal(empty, images)


def test_names_give_the_documented_layers():
    assert get_weak("flip_shift").flip and not get_weak("shift").flip
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    nothing = keras.ops.convert_to_numpy(get_weak("none")(images, training=True))
    np.testing.assert_array_equal(nothing, images)
    strong = get_strong("randaugment", seed=1)
    untouched = keras.ops.convert_to_numpy(strong(images, training=False))
    np.testing.assert_array_equal(untouched, images)
    layers = strong.layers
    assert [type(layer) for layer in layers] == [RandAugment, Cutout]
    seeds = [layer.seed for layer in layers] + [get_weak("shift", seed=1).seed]
    assert len(set(seeds)) == 3
    assert [layer.seed for layer in get_strong("randaugment", seed=1).layers] == seeds[
        :2
    ]
    own = keras.layers.RandomFlip()
    assert get_weak(own) is own and get_strong(own) is own


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: get_weak("flip_shft"), ValueError, "Did you mean 'flip_shift'"),
        (lambda: get_strong("x"), ValueError, "one of 'randaugment', 'keras_cv' or"),
        (lambda: get_weak(None), TypeError, "`weak_augmentation` must be.*=None"),
        (lambda: get_strong(3), TypeError, "`strong_augmentation` must be.*=3"),
        (lambda: get_strong("randaugment", seed=-1), ValueError, "seed=-1"),
        (lambda: get_strong("randaugment", seed=0.5), ValueError, "seed=0.5"),
        (lambda: FlipAndShift(max_shift=0.6), ValueError, "max_shift=0.6"),
        (lambda: RandAugment(num_ops=0), ValueError, "num_ops=0"),
        (lambda: Cutout(max_fraction=1.5), ValueError, "max_fraction=1.5"),
        (lambda: Cutout(fill_value=256), ValueError, "fill_value=256"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("layer", [FlipAndShift(), RandAugment(), Cutout()])
def test_wrong_images_are_refused(layer):
    with pytest.raises(ValueError, match="must be uint8"):
        layer(np.zeros((2, 8, 8, 3), dtype="float32"), training=True)
    with pytest.raises(ValueError, match="must be of shape"):
        layer(np.zeros((8, 8, 3), dtype="uint8"), training=True)


def test_rand_augment_refuses_four_channels():
    with pytest.raises(ValueError, match="channels"):
        RandAugment()(np.zeros((2, 8, 8, 4), dtype="uint8"), training=True)


@pytest.mark.keras_cv
def test_keras_cv_in_half_precision(mixed_precision):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    layer = get_strong("keras_cv", seed=3)
    keras.config.set_dtype_policy("float32")
    twin = get_strong("keras_cv", seed=3)
    np.testing.assert_array_equal(layer(images), twin(images))


@pytest.fixture(scope="module", name="operations")
def keras_cv_operations():
    from kdfixmatch_keras.augmentation.keras_cv_policy import KerasCVPolicy

    return KerasCVPolicy(seed=0).operations


@pytest.mark.keras_cv
class TestKerasCVPolicy:
    """The same policy from KerasCV's layers."""

    def apply(self, operations, name, images):
        views = operations[name](keras.ops.cast(images, "float32"))
        return keras.ops.convert_to_numpy(views)

    def test_operations_are_the_fourteen(self, operations):
        assert sorted(operations) == sorted(OPERATION_NAMES)

    @pytest.mark.parametrize("name", ["identity", "auto_contrast"])
    def test_operation_without_magnitude(self, operations, name):
        images = make_images((17, 24, 3))
        expected = [to_array(PILLOW[name][1](to_pillow(image))) for image in images]
        assert np.abs(self.apply(operations, name, images) - expected).max() <= 1.01

    def test_equalize_spreads_the_gray_levels(self, operations):
        random = np.random.default_rng(0)
        image = random.integers(100, 120, (1, 32, 32, 3), dtype=np.uint8)
        view = self.apply(operations, "equalize", image)[0]
        expected = to_array(ImageOps.equalize(to_pillow(image[0])))
        # KerasCV leaves out the rarest level where Pillow leaves out the brightest.
        assert np.abs(view - expected).max() < 10
        assert view.max() - view.min() > 230

    @pytest.mark.parametrize(
        ("name", "target"),
        [
            ("brightness", lambda image: np.zeros_like(image)),
            (
                "contrast",
                lambda image: np.broadcast_to(image.mean((0, 1)), image.shape),
            ),
            (
                "color",
                lambda image: np.repeat(
                    image @ [[0.2989], [0.587], [0.114]], 3, axis=-1
                ),
            ),
            (
                "sharpness",
                lambda image: to_array(
                    ImageEnhance.Sharpness(to_pillow(image.astype("uint8"))).enhance(0)
                ).astype(float),
            ),
        ],
    )
    def test_blend_is_of_the_named_kind_and_range(self, operations, name, target):
        random = np.random.default_rng(0)
        images = random.integers(20, 230, (100, 12, 12, 3)).astype("float32")
        views = self.apply(operations, name, images)
        factors = []
        for image, view in zip(images, views, strict=True):
            end = target(image)
            direction = image - end
            factor = np.sum((view - end) * direction) / np.sum(direction**2)
            assert np.abs(end + factor * direction - view).max() < 1.1
            factors.append(factor)
        assert 0.03 < min(factors) < 0.2 and 0.8 < max(factors) < 0.97

    def test_solarize_and_posterize(self, operations):
        images = np.tile(
            np.arange(256, dtype=np.uint8)[None, :, None, None], (99, 1, 2, 3)
        )
        solarized = self.apply(operations, "solarize", images)
        inverted = (solarized == 255 - images)[:, :, 0, 0]
        # Above a threshold, and only there, pixels are inverted.
        assert np.all(np.diff(inverted.astype(int), axis=1) >= 0)
        assert np.std(inverted.sum(axis=1)) > 50
        kept = {
            len(np.unique(self.apply(operations, "posterize", images[0])))
            for _ in range(60)
        }
        assert kept == {16, 32, 64, 128, 256}

    @pytest.mark.parametrize(
        "name", ["rotate", "shear_x", "shear_y", "translate_x", "translate_y"]
    )
    def test_geometric_operation_moves_as_named(self, operations, name):
        # The coordinates themselves are the image, so that a view tells the matrix.
        rows, columns = np.mgrid[0:40, 0:40].astype("float32") + 1000.0
        image = np.stack([rows, columns, rows], axis=-1)
        views = self.apply(operations, name, np.tile(image, (60, 1, 1, 1)))
        found = []
        for view in views:
            inside = view[..., 0] >= 1000
            assert np.all(view[~inside] == 128)
            grid = np.stack([columns, rows, np.ones_like(rows) * 1000], axis=-1)[inside]
            fit = np.linalg.lstsq(
                grid - [1000, 1000, 0], view[inside][:, 1::-1] - 1000, rcond=None
            )[0]
            fit[2] *= 1000
            found.append(fit)
        # Row: x weight, y weight, offset; column: source x, source y.
        found = np.array(found)
        limits = {
            "rotate": (found[:, 1, 0], np.sin(np.radians(30))),
            "shear_x": (found[:, 1, 0], 0.3),
            "shear_y": (found[:, 0, 1], 0.3),
            "translate_x": (found[:, 2, 0], 12.0),
            "translate_y": (found[:, 2, 1], 12.0),
        }
        values, limit = limits[name]
        assert -1.05 * limit < values.min() < -0.7 * limit
        assert 0.7 * limit < values.max() < 1.05 * limit
        if name == "rotate":
            np.testing.assert_allclose(found[:, 1, 0], -found[:, 0, 1], atol=0.02)
        else:
            expected = np.tile([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], (60, 1, 1))
            where = {"shear_x": (1, 0), "shear_y": (0, 1)}.get(
                name, (2, int(name == "translate_y"))
            )
            expected[:, where[0], where[1]] = values
            np.testing.assert_allclose(found[:, :2], expected[:, :2], atol=0.05)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_policy_augments_reproducibly(self, channels):
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (20, 16, 12, channels), dtype=np.uint8)
        layer, twin = get_strong("keras_cv", seed=3), get_strong("keras_cv", seed=3)
        first, second = (layer(images, training=True).numpy() for _ in range(2))
        assert first.dtype == np.uint8 and first.shape == images.shape
        assert np.any(first != images, axis=(1, 2, 3)).mean() > 0.8
        assert not np.array_equal(first, second)
        np.testing.assert_array_equal(first, twin(images, training=True))
        np.testing.assert_array_equal(layer(images, training=False), images)
        assert type(layer).from_config(layer.get_config()).seed == layer.seed

    def test_policy_runs_in_a_compiled_step(self):
        import tensorflow as tf

        # Grayscale, because it passes through the color code as well.
        images = np.random.default_rng(0).integers(
            0, 256, (20, 16, 12, 1), dtype=np.uint8
        )
        layer, twin = get_strong("keras_cv", seed=3), get_strong("keras_cv", seed=3)

        @tf.function(input_signature=[tf.TensorSpec((None, 16, 12, 1), tf.uint8)])
        def augment(batch):
            return layer(batch, training=True)

        compiled = augment(images).numpy()
        np.testing.assert_array_equal(compiled, twin(images, training=True))
        assert not np.array_equal(compiled, augment(images))
