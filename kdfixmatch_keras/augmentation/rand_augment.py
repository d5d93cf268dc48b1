"""The strong augmentation: RandAugment with one draw per image, and Cutout."""

from typing import Any

import keras
from keras import ops

from kdfixmatch_keras.augmentation import operations
from kdfixmatch_keras.augmentation.compiled import compiled
from kdfixmatch_keras.augmentation.weak import check_images
from kdfixmatch_keras.checks import validation

# keras.ops tensors have no common static type across backends.
Tensor = Any

# The geometric operations come first and together: they share one affine gather.
OPERATION_NAMES = (
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "identity",
    "auto_contrast",
    "equalize",
    "solarize",
    "color",
    "contrast",
    "brightness",
    "sharpness",
    "posterize",
)

_NUM_OPERATIONS = len(OPERATION_NAMES)
_NUM_GEOMETRIC = 5


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class RandAugment(keras.layers.Layer):
    """Applies randomly drawn operations, drawn anew for every image.

    Each of `num_ops` rounds draws, for every image, one of 14 operations (each with
    probability exactly 1/14) and its magnitude, and applies it with `probability`:

    | operation | magnitude, uniform |
    |---|---|
    | identity, auto-contrast, equalize | none |
    | rotate | -30 to 30 degrees |
    | solarize | threshold 0 to 256 |
    | color, contrast, brightness, sharpness | factor 0.05 to 0.95 |
    | shear x, shear y | slope -0.3 to 0.3 |
    | translate x, translate y | -0.3 to 0.3 of the side |
    | posterize | 4, 5, 6, 7 or 8 bits kept |

    To draw per image and still compute each operation only where it is wanted, a
    random permutation deals the batch out in 14 equal shares; operation `k` works on
    share `k`. All shapes follow from the batch size, so that the layer compiles.
    Within one batch the operations are therefore dealt without replacement: every
    operation is used equally often, up to the remainder of n / 14.

    `keras.layers.RandAugment` differs: it draws one operation for the whole batch.
    The layer does nothing when called with `training=False`.

    FixMatch's text applies every operation that is drawn; the code that its authors
    published leaves each out with probability one half, which is `probability=0.5`.

    Args:
        num_ops: Number of rounds, at least 1.
        seed: Non-negative integer, or None for a random seed.
        probability: Of an operation that was drawn to be applied, in [0, 1].
        **kwargs: Keyword arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        images: uint8 tensor of shape `(n, height, width, channels)`, with 1 or 3
            channels. `n` may be unknown when the call is traced.
        training: Whether to augment.

    Returns:
        uint8 tensor of the shape of `images`; image `i` stays at position `i`.

    Raises:
        ValueError: If `num_ops` is not a positive integer, `probability` not in
            [0, 1], or `images` are not uint8 of rank 4 with 1 or 3 channels.

    Example:
        >>> strong = RandAugment(num_ops=2, seed=0)
        >>> strong(np.zeros((8, 32, 32, 3), "uint8"), training=True).shape
        (8, 32, 32, 3)

    Reference:
        - [RandAugment](https://arxiv.org/abs/1909.13719)
        - [FixMatch](https://arxiv.org/abs/2001.07685), appendix on augmentation
    """

    def __init__(
        self,
        num_ops: int = 2,
        seed: int | None = None,
        *,
        probability: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_ops = validation.check_integer("num_ops", num_ops, 1)
        self.probability = validation.check_fraction("probability", probability)
        self.seed = validation.check_seed(seed)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, images: Tensor, training: bool = True) -> Tensor:
        """Augments a batch; see the class for shapes and dtypes."""
        if not training:
            return images
        check_images(images, channels=(1, 3))
        slots, magnitudes = self._draw(ops.shape(images)[0])
        applied = []
        if self.probability < 1.0:
            draws = keras.random.uniform(
                ops.shape(slots), dtype="float32", seed=self.seed_generator
            )
            applied = [draws < self.probability]
        return compiled(apply_dealt_operations)(images, slots, magnitudes, *applied)

    def _draw(self, count: Any) -> tuple[Tensor, Tensor]:
        """Draws the permutations and magnitudes, each of shape `(num_ops, slots)`."""
        num_slots = -(-count // _NUM_OPERATIONS) * _NUM_OPERATIONS
        draws = keras.random.uniform(
            (2, self.num_ops, num_slots), dtype="float32", seed=self.seed_generator
        )
        return ops.cast(ops.argsort(draws[0], axis=-1), "int32"), draws[1]

    def compute_output_spec(self, images: Any, training: bool = True) -> Any:
        """Declares the output: the shape and dtype of the input."""
        return keras.KerasTensor(images.shape, dtype=images.dtype)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Returns `input_shape`."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "num_ops": self.num_ops,
            "probability": self.probability,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="kdfixmatch_keras")
class Cutout(keras.layers.Layer):
    """Covers a random square of every image with a constant.

    The side of the square is uniform in `[0, max_fraction * width]`, its centre is
    uniform over the image; what reaches over the border is cut off. A pixel is
    covered when its centre lies in the square. The layer does nothing when called
    with `training=False`.

    Args:
        max_fraction: Largest side as a fraction of the width, in `[0, 1]`.
        fill_value: Gray level of the square, integer in `[0, 255]`.
        seed: Non-negative integer, or None for a random seed.
        **kwargs: Keyword arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        images: uint8 tensor of shape `(n, height, width, channels)`.
        training: Whether to augment.

    Returns:
        uint8 tensor of the shape of `images`.

    Raises:
        ValueError: If an argument is outside its range, or `images` are not uint8 of
            rank 4.

    Reference:
        - [Cutout](https://arxiv.org/abs/1708.04552)
        - [FixMatch](https://arxiv.org/abs/2001.07685), appendix on augmentation
    """

    def __init__(
        self,
        max_fraction: float = 0.5,
        fill_value: int = operations.FILL_VALUE,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_fraction = validation.check_fraction("max_fraction", max_fraction)
        self.fill_value = validation.check_integer("fill_value", fill_value, 0, 255)
        self.seed = validation.check_seed(seed)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, images: Tensor, training: bool = True) -> Tensor:
        """Augments a batch; see the class for shapes and dtypes."""
        if not training:
            return images
        check_images(images)
        height, width = images.shape[1:3]
        draws = keras.random.uniform(
            (3, ops.shape(images)[0]), dtype="float32", seed=self.seed_generator
        )
        fill = ops.convert_to_tensor(self.fill_value, dtype="uint8")
        return compiled(cover_squares)(
            images,
            draws[0] * (self.max_fraction * width / 2),
            draws[1] * height,
            draws[2] * width,
            fill,
        )

    def compute_output_spec(self, images: Any, training: bool = True) -> Any:
        """Declares the output: the shape and dtype of the input."""
        return keras.KerasTensor(images.shape, dtype=images.dtype)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Returns `input_shape`."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "max_fraction": self.max_fraction,
            "fill_value": self.fill_value,
            "seed": self.seed,
        }


def cover_squares(
    images: Tensor, half_side: Tensor, row: Tensor, column: Tensor, fill: Tensor
) -> Tensor:
    """Covers a square of each image; what reaches over the border is cut off.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.
        half_side: float32 tensor of shape `(n,)`, half of the side, in pixels.
        row: float32 tensor of shape `(n,)`, centre, in pixels from the top.
        column: float32 tensor of shape `(n,)`, centre, in pixels from the left.
        fill: uint8 scalar, gray level of the squares.

    Returns:
        uint8 tensor of the shape of `images`.
    """
    height, width, channels = images.shape[1:]
    in_rows = _near(row, half_side, height)
    in_columns = _near(column, half_side, width)
    # Channels join the columns: a mask of three axes broadcasts faster.
    in_columns = ops.repeat(in_columns, channels, axis=1)
    covered = ops.bitwise_and(
        ops.expand_dims(in_rows, 2), ops.expand_dims(in_columns, 1)
    )
    flat = ops.reshape(images, (-1, height, width * channels))
    # flat ^ (flat ^ fill) is fill; on a CPU `where` is several times slower.
    change = ops.bitwise_and(ops.bitwise_xor(flat, fill), covered)
    return ops.reshape(ops.bitwise_xor(flat, change), (-1, height, width, channels))


def apply_dealt_operations(
    images: Tensor, slots: Tensor, magnitudes: Tensor, applied: Tensor | None = None
) -> Tensor:
    """Applies rounds of operations to images that were dealt out to slots.

    With m slots in a round, slot `s` belongs to operation `s // (m / 14)` and holds
    image `slots[r, s]`. Indices of n and above fill up the shares: their slots hold
    some image modulo n, and their results are dropped.

    Args:
        images: uint8 tensor of shape `(n, height, width, channels)`.
        slots: int32 tensor of shape `(num_ops, m)`, each row a permutation of m, the
            smallest multiple of 14 that is at least n.
        magnitudes: float32 tensor of shape `(num_ops, m)`, in `[0, 1)`, scaled to
            the range of each operation.
        applied: bool tensor of shape `(num_ops, m)`, False where a slot's operation is
            left out; or None.

    Returns:
        uint8 tensor of the shape of `images`.
    """
    count = ops.shape(images)[0]
    height, width, channels = images.shape[1:]
    slot_of_image = ops.cast(ops.argsort(slots, axis=1), "int32")[:, :count]
    image_of_slot = ops.mod(slots, count)
    current = images
    for index in range(slots.shape[0]):
        source = image_of_slot[index]
        if index > 0:
            # Reads from the slots of the round before, which saves one gather.
            source = ops.take(slot_of_image[index - 1], source, axis=0)
        dealt = ops.take(current, source, axis=0)
        shares = ops.reshape(dealt, (_NUM_OPERATIONS, -1, height, width, channels))
        scale = ops.reshape(magnitudes[index], (_NUM_OPERATIONS, -1))
        current = _apply_to_shares(shares, scale)
        if applied is not None:
            is_applied = ops.reshape(applied[index], (-1, 1, 1, 1))
            current = ops.where(is_applied, current, dealt)
    return ops.take(current, slot_of_image[-1], axis=0)


def _apply_to_shares(shares: Tensor, scale: Tensor) -> Tensor:
    """Applies operation `k` to `shares[k]`; returns the shares as one batch."""
    height, width, channels = shares.shape[2:]
    symmetric = 2.0 * scale - 1.0
    factor = 0.05 + 0.9 * scale
    matrices = ops.concatenate(
        [
            operations.rotation_matrices(30.0 * symmetric[0], height, width),
            operations.shear_x_matrices(0.3 * symmetric[1]),
            operations.shear_y_matrices(0.3 * symmetric[2]),
            operations.translate_x_matrices(0.3 * symmetric[3], width),
            operations.translate_y_matrices(0.3 * symmetric[4], height),
        ],
        axis=0,
    )
    geometric = ops.reshape(shares[:_NUM_GEOMETRIC], (-1, height, width, channels))
    bits = ops.minimum(ops.cast(4.0 + 5.0 * scale[13], "int32"), 8)
    return ops.concatenate(
        [
            operations.affine(geometric, matrices),
            operations.identity(shares[5]),
            operations.auto_contrast(shares[6]),
            operations.equalize(shares[7]),
            operations.solarize(shares[8], 256.0 * scale[8]),
            operations.color(shares[9], factor[9]),
            operations.contrast(shares[10], factor[10]),
            operations.brightness(shares[11], factor[11]),
            operations.sharpness(shares[12], factor[12]),
            operations.posterize(shares[13], bits),
        ],
        axis=0,
    )


def _near(center: Tensor, radius: Tensor, size: int) -> Tensor:
    """Marks the pixel centres within a radius by 255, uint8 `(n, size)`, else 0."""
    positions = ops.arange(size, dtype="float32") + 0.5
    distance = ops.abs(positions - ops.expand_dims(center, 1))
    return ops.cast(ops.less(distance, ops.expand_dims(radius, 1)), "uint8") * 255
