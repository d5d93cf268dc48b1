"""What differs between TensorFlow, JAX and PyTorch: no other module asks for them.

TensorFlow, which is the subject of some modules, is imported where it is needed: Keras
on JAX or PyTorch does without it.
"""

from typing import Any

import keras


def name() -> str:
    """The backend of Keras: `"tensorflow"`, `"jax"` or `"torch"`."""
    found: str = keras.backend.backend()
    return found


def is_stateless() -> bool:
    """Whether a training step gets and returns the variables, as on JAX."""
    return name() == "jax"


def has_dynamic_shapes() -> bool:
    """Whether a step may compute with as many rows as it finds; JAX compiles one."""
    return name() != "jax"


def devices() -> list[str]:
    """Names of what the backend computes on, such as `"cpu:0"`."""
    if name() == "torch":
        # Of which `keras.distribution` knows nothing.
        import torch

        count = torch.cuda.device_count()
        return [f"cuda:{number}" for number in range(count)] or ["cpu"]
    found: list[str] = keras.distribution.list_devices()
    return found


def has_gpu() -> bool:
    """Whether the backend computes on a GPU."""
    return any(device.lower().startswith(("gpu", "cuda")) for device in devices())


def in_graph_on_cpu() -> bool:
    """Whether TensorFlow is making a graph that no GPU will run."""
    if name() != "tensorflow":
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


def check_tensorflow(what: str, remedy: str) -> None:
    """Checks that Keras runs on TensorFlow.

    Args:
        what: What only TensorFlow can do, as the beginning of a sentence.
        remedy: What to do instead, a sentence.

    Raises:
        RuntimeError: It runs on another backend.
    """
    if name() != "tensorflow":
        raise RuntimeError(
            f"{what} needs TensorFlow, but Keras runs on {name()}. {remedy}"
        )
