"""The strong augmentation composed of KerasCV's per-image layers.

An alternative to `RandAugment` and `Cutout` with an independent implementation. It
needs the TensorFlow backend. KerasCV is no longer developed; its last release, 0.9.0,
is what this module is written for.
"""

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from kdfixmatch_keras import backend
from kdfixmatch_keras.augmentation.operations import FILL_VALUE
from kdfixmatch_keras.augmentation.weak import check_images

try:
    import keras_cv
    import tensorflow as tf
except ImportError as error:
    raise ImportError(
        'The augmentation "keras_cv" needs KerasCV and TensorFlow. Install them with '
        '`pip install "kdfixmatch-keras[keras-cv]"`.'
    ) from error

# keras.ops tensors have no common static type across backends.
Tensor = Any

_VALUE_RANGE = (0, 255)


def keras_cv_policy(seed: int | None = None) -> keras.layers.Layer:
    """Returns the strong augmentation of KerasCV's layers.

    Args:
        seed: Non-negative integer, or None for a random seed.

    Returns:
        A `KerasCVPolicy` layer.
    """
    return KerasCVPolicy(seed=seed)


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class KerasCVPolicy(keras.layers.Layer):
    """Draws two of 14 KerasCV operations for every image, then cuts out a square.

    The operations and ranges are those of `RandAugment` and `Cutout`. What differs is
    KerasCV's own: contrast is taken about the mean of each channel, equalize computes
    its step from the rarest gray level, values are not rounded between the two
    operations. The layer does nothing when called with `training=False`. The
    generators are TensorFlow's and are not saved with a model; see `random_state`.

    Args:
        seed: Non-negative integer, or None for a random seed.
        **kwargs: Keyword arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        images: uint8 tensor of shape `(n, height, width, channels)`, with 1 or 3
            channels.
        training: Whether to augment.

    Returns:
        uint8 tensor of the shape of `images`.

    Raises:
        RuntimeError: If the Keras backend is not TensorFlow.
        ValueError: If `images` are not uint8 of rank 4 with 1 or 3 channels.
    """

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Its geometric operations use a kernel that XLA does not have.
        self.supports_jit = False
        backend.check_tensorflow(
            "The augmentation 'keras_cv'", "Use 'randaugment', which runs everywhere."
        )
        self.seed = seed
        seeds = _Seeds(seed)
        self.operations = build_operations(seeds)
        # It makes a layer of its own that has no argument for this.
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")
        try:
            self._choices = keras_cv.layers.RandomAugmentationPipeline(
                list(self.operations.values()),
                augmentations_per_image=2,
                seed=seeds.next(),
                dtype="float32",
            )
        finally:
            keras.config.set_dtype_policy(policy)
        # Names, because TensorFlow refuses scopes that begin with an underscore.
        self._cutout = _SquareCutout(
            name="square_cutout",
            height_factor=0.5,
            width_factor=_Uniform(0.0, 0.5, seeds.next()),
            fill_value=float(FILL_VALUE),
            seed=seeds.next(),
            dtype="float32",
        )

    @property
    def random_state(self) -> list[Any]:
        """The states of all generators, int64 variables of TensorFlow.

        Keras does not know of them: who wants to go on with a training must keep them.
        """
        generators = {id(found): found for found in _generators(self, set())}
        return [generator.state for generator in generators.values()]

    def build(self, input_shape: Any) -> None:
        """Has nothing to do; the layers of KerasCV have no weights."""

    def call(self, images: Tensor, training: bool = True) -> Tensor:
        """Augments a batch; see the class for shapes and dtypes."""
        if not training:
            return images
        check_images(images, channels=(1, 3))
        channels = images.shape[-1]
        # KerasCV's color operations refuse a single channel.
        colored = ops.repeat(images, 3, axis=-1) if channels == 1 else images
        augmented = self._choices(ops.cast(colored, "float32"))
        augmented = self._cutout(augmented)
        augmented = ops.clip(ops.round(augmented[..., :channels]), 0, 255)
        return ops.reshape(ops.cast(augmented, "uint8"), (-1, *tuple(images.shape[1:])))

    def compute_output_spec(self, images: Any, training: bool = True) -> Any:
        """Declares the output: the shape and dtype of the input."""
        return keras.KerasTensor(images.shape, dtype=images.dtype)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Returns `input_shape`."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {**super().get_config(), "seed": self.seed}


class _Seeds:
    """Deals out a different seed at each call, or None throughout."""

    def __init__(self, seed: int | None) -> None:
        self._next = seed

    def next(self) -> int | None:
        if self._next is not None:
            self._next += 1
        return self._next


class _Uniform(keras_cv.core.FactorSampler):
    """Draws magnitudes from a generator of its own.

    KerasCV's own sampler uses TensorFlow's stateful operations, whose sequence in
    eager mode depends on what ran before.
    """

    def __init__(self, low: float, high: float, seed: int | None) -> None:
        self._low, self._high = low, high
        if seed is None:
            self.generator = tf.random.Generator.from_non_deterministic_state()
        else:
            self.generator = tf.random.Generator.from_seed(seed)

    def __call__(self, shape: Any = (), dtype: str = "float32") -> Tensor:
        return self.generator.uniform(shape, self._low, self._high, dtype=dtype)


def _generators(thing: Any, seen: set[int]) -> Iterator[Any]:
    """Finds the generators of a layer, and of what it is made of."""
    if isinstance(thing, tf.random.Generator):
        yield thing
    elif isinstance(thing, keras.layers.Layer | _Uniform | list | tuple):
        if id(thing) not in seen:
            seen.add(id(thing))
            parts = thing if isinstance(thing, list | tuple) else vars(thing).values()
            for part in parts:
                yield from _generators(part, seen)


class _ScaledBrightness(keras_cv.layers.VectorizedBaseImageAugmentationLayer):
    """Multiplies by a factor; KerasCV's RandomBrightness adds a constant."""

    def __init__(self, factor: _Uniform, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._factor = factor

    def get_random_transformation_batch(self, batch_size: Any, **kwargs: Any) -> Tensor:
        return self._factor(shape=(batch_size, 1, 1, 1))

    def augment_images(
        self, images: Tensor, transformations: Tensor, **kwargs: Any
    ) -> Tensor:
        return images * transformations


class _SquareCutout(keras_cv.layers.RandomCutout):
    """Cuts out squares; KerasCV draws height and width independently."""

    def get_random_transformation_batch(
        self, batch_size: Any, images: Tensor, **kwargs: Any
    ) -> Any:
        drawn = super().get_random_transformation_batch(
            batch_size=batch_size, images=images, **kwargs
        )
        return {**drawn, "rectangles_height": drawn["rectangles_width"]}


class _Equalization(keras_cv.layers.Equalization):
    """Converted for graphs: it branches on a tensor, and `fit` traces as is."""

    equalize_channel = tf.autograph.to_graph(
        keras_cv.layers.Equalization.equalize_channel
    )


def build_operations(seeds: Any) -> dict[str, keras.layers.Layer]:
    """Builds the 14 operations, each a KerasCV layer that draws per image.

    Args:
        seeds: Object with a method `next` that returns an integer seed or None.

    Returns:
        The layers by the names of `OPERATION_NAMES`; they take and return float32
        images of shape `(height, width, 3)` or `(n, height, width, 3)`.
    """
    layers = keras_cv.layers

    def common() -> dict[str, Any]:
        # float32 whatever the global policy: float16 would round the magnitudes.
        return {"seed": seeds.next(), "dtype": "float32"}

    def geometric() -> dict[str, Any]:
        return {
            "fill_mode": "constant",
            "fill_value": float(FILL_VALUE),
            "interpolation": "nearest",
            **common(),
        }

    def factor() -> _Uniform:
        return _Uniform(0.05, 0.95, seeds.next())

    contrast = layers.RandomContrast(_VALUE_RANGE, factor=0.5, **common())
    # Its constructor takes a deviation from 1 and no sampler.
    contrast.factor = factor()
    posterizations = [
        layers.Posterization(_VALUE_RANGE, bits=bits, dtype="float32")
        for bits in range(4, 9)
    ]
    return {
        "rotate": layers.RandomRotation(30 / 360, **geometric()),
        "shear_x": layers.RandomShear(
            x_factor=_Uniform(0.0, 0.3, seeds.next()), **geometric()
        ),
        "shear_y": layers.RandomShear(
            y_factor=_Uniform(0.0, 0.3, seeds.next()), **geometric()
        ),
        "translate_x": layers.RandomTranslation(0.0, 0.3, **geometric()),
        "translate_y": layers.RandomTranslation(0.3, 0.0, **geometric()),
        "identity": layers.RandomFlip("horizontal", rate=0.0, **common()),
        "auto_contrast": layers.AutoContrast(_VALUE_RANGE, dtype="float32"),
        "equalize": _Equalization(_VALUE_RANGE, name="equalization", dtype="float32"),
        "solarize": layers.Solarization(
            _VALUE_RANGE,
            threshold_factor=_Uniform(0.0, 256.0, seeds.next()),
            **common(),
        ),
        "color": layers.RandomColorDegeneration(factor(), **common()),
        "contrast": contrast,
        "brightness": _ScaledBrightness(factor(), name="scaled_brightness", **common()),
        "sharpness": layers.RandomSharpness(factor(), _VALUE_RANGE, **common()),
        "posterize": layers.RandomChoice(posterizations, **common()),
    }
