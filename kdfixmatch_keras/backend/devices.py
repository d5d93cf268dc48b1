"""Many devices: what a training on some of them has to do other than on one.

The devices are those of the engines that exist: under
`tf.distribute.MirroredStrategy` each of them has a replica of the step, which sees its
part of a batch and reduces where the whole counts; under
`keras.distribution.DataParallel` the step is that of one device, on arrays that lie on
many, and a process gives its rows of a batch. On one device, what is here returns what
it is given.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras

from kdfixmatch_keras import backend

# keras publishes no type information, so a tensor of any backend is `Any`.
Tensor = Any


@dataclass(frozen=True)
class Sharing:
    """How a batch is shared out.

    Attributes:
        devices: Devices that each take a part of equal size.
        processes: Processes that each read the rows of their own devices.
        process: Number of this process, from 0.
    """

    devices: int = 1
    processes: int = 1
    process: int = 0

    def padded(self, count: int) -> int:
        """The least number of rows from `count` on that all devices share evenly."""
        return -(-count // self.devices) * self.devices

    def own(self, rows: Any) -> Any:
        """The rows of a batch that this process reads, of an array or a list."""
        share = len(rows) // self.processes
        return rows[self.process * share : (self.process + 1) * share]


ONE_DEVICE = Sharing()


def sharing(model: Any = None) -> Sharing:
    """How batches are shared out.

    Args:
        model: A Keras model, which TensorFlow binds to the devices that it was made
            for; None for what is made next.
    """
    if backend.is_tensorflow():
        strategy = _strategy() if model is None else model.distribute_strategy
        return Sharing(strategy.num_replicas_in_sync)
    if backend.name() == "jax":
        distribution = keras.distribution.distribution()
        if distribution is not None:
            import jax

            devices = math.prod(distribution.device_mesh.shape)
            return Sharing(devices, jax.process_count(), jax.process_index())
    return ONE_DEVICE


def check(batch_size: int) -> None:
    """Checks that a training can run on the devices that it would run on.

    Args:
        batch_size: Labeled images in a batch.

    Raises:
        RuntimeError: They are shared in a way that is not known.
        ValueError: They cannot share a batch evenly.
    """
    if backend.is_tensorflow():
        import tensorflow as tf

        strategy = _strategy()
        known = (tf.distribute.MirroredStrategy, tf.distribute.OneDeviceStrategy)
        # That for several hosts is no subclass, and the default one is private.
        if tf.distribute.has_strategy() and not isinstance(strategy, known):
            raise RuntimeError(
                f"tf.distribute.{type(strategy).__name__} cannot train this: use "
                "MirroredStrategy for the GPUs of one host; several hosts need JAX."
            )
    distribution = keras.distribution.distribution()
    if distribution is not None and not (
        backend.name() == "jax"
        and isinstance(distribution, keras.distribution.DataParallel)
    ):
        raise RuntimeError(
            f"keras.distribution.{type(distribution).__name__} cannot train this on "
            f"{backend.name()}: use keras.distribution.DataParallel on JAX, or "
            "tf.distribute.MirroredStrategy on TensorFlow."
        )
    devices = sharing().devices
    if batch_size % devices:
        raise ValueError(
            f"`batch_size` must be a multiple of {devices}, the number of devices that "
            f"share a batch. Received: batch_size={batch_size}"
        )


def check_replicas(precision: str, optimizer: Any) -> None:
    """Checks what Keras computes otherwise on several devices of TensorFlow.

    It looks for an overflow on the first device alone, and clips the gradients of each
    before it adds them up.

    Args:
        precision: Dtype policy of the networks.
        optimizer: Keras optimizer, or what makes one.

    Raises:
        ValueError: One of these is asked for.
    """
    if not has_replicas():
        return
    if precision == "mixed_float16":
        raise ValueError(
            "`mixed_precision` must not be mixed_float16 on several devices of "
            "TensorFlow, where Keras misses an overflow. Pass False or "
            "'mixed_bfloat16'."
        )
    clips = ("clipnorm", "clipvalue", "global_clipnorm")
    clipping = [name for name in clips if getattr(optimizer, name, None) is not None]
    if clipping:
        raise ValueError(
            "`optimizer` must not clip gradients on several devices of TensorFlow, "
            f"where Keras clips the part of each. Received: {clipping[0]}="
            f"{getattr(optimizer, clipping[0])!r}"
        )


def has_replicas() -> bool:
    """Whether what is made next is on several devices of TensorFlow."""
    return backend.is_tensorflow() and sharing().devices > 1


def replicas_here() -> int:
    """In how many replicas the step runs that this is called from; 1 outside."""
    if not backend.is_tensorflow():
        return 1
    import tensorflow as tf

    if tf.distribute.in_cross_replica_context():
        return 1
    return int(_strategy().num_replicas_in_sync)


def part_of_loss(loss: Tensor) -> Tensor:
    """What a replica adds to the loss of a whole batch, which is a mean.

    Args:
        loss: Mean over the rows of this replica.
    """
    replicas = replicas_here()
    return loss if replicas == 1 else loss / replicas


def whole_loss(part: Tensor) -> Tensor:
    """The mean over the rows of this replica, of what a `keras.losses.Loss` made."""
    replicas = replicas_here()
    return part if replicas == 1 else part * replicas


def whole_batch(rows: Tensor) -> Tensor:
    """The rows of all replicas in order, with gradient, given those of this one."""
    if replicas_here() == 1:
        return rows
    import tensorflow as tf

    whole = tf.distribute.get_replica_context().all_gather(rows, axis=0)
    # What it forgets but of the number of rows.
    whole.set_shape([None, *rows.shape[1:]])
    return whole


def own_rows(whole: Tensor, rows: Tensor) -> Tensor:
    """Those of `whole_batch(rows)` that are `rows` of this replica."""
    if replicas_here() == 1:
        return whole
    import tensorflow as tf

    count = tf.shape(rows)[0]
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return whole[replica * count : (replica + 1) * count]


def make_equal(variables: list[Any]) -> None:
    """Replaces variables that differ from replica to replica by their mean.

    Each replica has batch statistics of its own, and so have its moving averages.
    """
    if replicas_here() == 1 or not variables:
        return
    import tensorflow as tf

    means = tf.distribute.get_replica_context().all_reduce(
        tf.distribute.ReduceOp.MEAN, [variable.value + 0 for variable in variables]
    )
    for variable, mean in zip(variables, means, strict=True):
        variable.assign(mean)


def known_everywhere(outputs: Any) -> Any:
    """Has every process know all of what a step of JAX returns.

    Args:
        outputs: Tensors with a row for each of a batch, in whatever structure.
    """
    if sharing().processes == 1:
        return outputs
    mesh = keras.distribution.distribution().device_mesh

    def replicated(tensor: Tensor) -> Tensor:
        layout = keras.distribution.TensorLayout([None] * tensor.ndim, mesh)
        return keras.distribution.distribute_tensor(tensor, layout)

    return keras.tree.map_structure(replicated, outputs)


class _KnownEverywhere(keras.Model):
    def predict_step(self, *args: Any) -> Any:
        return known_everywhere(super().predict_step(*args))


def functional_model(*args: Any, **kwargs: Any) -> keras.Model:
    """A functional `keras.Model` whose predictions every process gets."""
    # One that every program can load, wherever it does.
    kind = _KnownEverywhere if sharing().processes > 1 else keras.Model
    return kind(*args, **kwargs)


@contextlib.contextmanager
def shared_by_us() -> Iterator[None]:
    """Has Keras take the batches of a process for the rows of its own devices."""
    if sharing().processes == 1:
        yield
        return
    distribution = keras.distribution.distribution()
    previous = distribution.auto_shard_dataset
    distribution.auto_shard_dataset = False
    try:
        yield
    finally:
        distribution.auto_shard_dataset = previous


@contextlib.contextmanager
def whole_state(variables: list[Any]) -> Iterator[bool]:
    """Has metrics be those of all replicas, which each count their own rows.

    Args:
        variables: Of metrics, all of them sums.

    Yields:
        Whether there are several replicas.
    """
    if replicas_here() == 1:
        yield False
        return
    import tensorflow as tf

    sums = tf.distribute.get_replica_context().all_reduce(
        tf.distribute.ReduceOp.SUM, [variable.value + 0 for variable in variables]
    )
    with keras.StatelessScope(list(zip(variables, sums, strict=True))):
        yield True


def on_one(function: Callable[[], Any]) -> Any:
    """Calls a function that is to know of one device only, and returns its result."""
    if sharing().devices == 1:
        return function()
    if backend.is_tensorflow():
        # A strategy is that of its thread, and can be left in no other way.
        with ThreadPoolExecutor(1) as other:
            return other.submit(function).result()
    with _no_distribution():
        return function()


@contextlib.contextmanager
def _no_distribution() -> Iterator[None]:
    previous = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(previous)


def _strategy() -> Any:
    import tensorflow as tf

    return tf.distribute.get_strategy()
