"""What differs between TensorFlow, JAX and PyTorch: nothing else asks for them.

TensorFlow, which is the subject of some modules, is imported where it is needed: Keras
on JAX or PyTorch does without it.
"""

from collections.abc import Iterator
from typing import Any

from kdfixmatch_keras.backend.keras_import import BACKENDS, check_keras, unknown

check_keras()

# What could not be imported before.
import keras  # noqa: E402
import numpy as np  # noqa: E402


def name() -> str:
    """The backend of Keras: `"tensorflow"`, `"jax"` or `"torch"`."""
    found: str = keras.backend.backend()
    return found


# Keras has more, which do not train.
if name() not in BACKENDS:
    raise unknown(name())


def is_tensorflow() -> bool:
    """Whether Keras runs on TensorFlow, and so can write what TensorFlow reads."""
    return name() == "tensorflow"


def is_stateless() -> bool:
    """Whether a training step gets and returns the variables, as on JAX."""
    return name() == "jax"


def device_names() -> list[str]:
    """Names of what the backend computes on, such as `"cpu:0"`."""
    if name() == "torch":
        # Of which `keras.distribution` knows nothing: it computes on one.
        return [str(keras.ops.zeros(()).device)]
    found: list[str] = keras.distribution.list_devices()
    return found


def has_gpu() -> bool:
    """Whether the backend computes on a GPU."""
    return any(device.lower().startswith(("gpu", "cuda")) for device in device_names())


def in_graph_on_cpu() -> bool:
    """Whether TensorFlow is making a graph that no GPU will run."""
    if not is_tensorflow():
        return False
    import tensorflow as tf

    return bool(tf.inside_function() and not tf.config.list_logical_devices("GPU"))


def sync_state(model: keras.Model) -> None:
    """Brings the variables of a model up to date within an epoch, which JAX does not.

    Args:
        model: A model that is being trained.
    """
    sync: Any = getattr(model, "jax_state_sync", None)
    if sync is not None:
        sync()


def feed(batches: keras.utils.PyDataset) -> Any:
    """Gives Keras batches in the form that makes it wait least.

    On TensorFlow, Keras turns a PyDataset into a `tf.data` pipeline with a thread that
    tunes it, and makes two iterators of it for each epoch, one of which it never uses.
    An iterator is not given up before its thread wakes, and the thread sleeps for
    longer and longer: a pause between two epochs, such as an evaluation, takes up to
    twice its time. The pipeline made here has the same batches and no such thread.

    Args:
        batches: The batches of an epoch, all but the last of one size. They are drawn
            one after the other, whatever their `workers`.

    Returns:
        A `tf.data.Dataset` on TensorFlow, `batches` themselves on other backends.
    """
    if not is_tensorflow():
        return batches
    import tensorflow as tf

    def generate() -> Iterator[Any]:
        for step in range(len(batches)):
            yield batches[step]

    def specify(array: np.ndarray) -> Any:
        # The last batch may be a smaller one.
        return tf.TensorSpec((None, *array.shape[1:]), array.dtype)

    signature = tf.nest.map_structure(specify, batches[0])
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    options = tf.data.Options()
    options.autotune.enabled = False
    counted = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
    return counted.prefetch(2).with_options(options)


def check_tensorflow(what: str, remedy: str) -> None:
    """Checks that Keras runs on TensorFlow.

    Args:
        what: What only TensorFlow can do, as the beginning of a sentence.
        remedy: What to do instead, a sentence.

    Raises:
        RuntimeError: It runs on another backend.
    """
    if not is_tensorflow():
        raise RuntimeError(
            f"{what} needs TensorFlow, but Keras runs on {name()}. {remedy}"
        )
