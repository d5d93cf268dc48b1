"""Several processes, each with devices of its own, that train one network together.

They come from `jax.distributed`, and call the same functions in the same order: what
one of them waits for, the others take part in.
"""

import atexit
import contextlib
import faulthandler
import os
import re
from collections.abc import Iterator, Sequence

import numpy as np

from kdfixmatch_keras.backend import devices

# What JAX, Gloo, NCCL and its coordination service say of a process that is gone.
_SIGNS = (
    "gloo",
    "nccl",
    "connection closed",
    "connection reset",
    "coordination service",
    "heartbeat",
    "unavailable",
    "deadline_exceeded",
)

# JAX raises its status as a ValueError too, where what failed is fetched at once.
_STATUS = re.compile("[A-Z]+(_[A-Z]+)*: ")

# How many seconds a process waits for the others at its end, when it has failed.
_PATIENCE = 5.0

AGAIN = "Start all of them again."
ONE_FOLDER = "`run_dir` must be one folder that all of them see as it is."


def are_several() -> bool:
    """Whether this process trains together with others."""
    return devices.sharing().processes > 1


def is_first() -> bool:
    """Whether this process is the one that writes files."""
    return devices.sharing().process == 0


def of_first(numbers: Sequence[int]) -> list[int]:
    """The integers that the first process calls this with, in every process.

    Args:
        numbers: As many in each process.
    """
    if not are_several():
        return list(numbers)
    from jax.experimental import multihost_utils

    # JAX would make 32 bits of 64.
    sent = np.frombuffer(np.asarray(numbers, np.int64).tobytes(), np.uint8)
    received = np.asarray(multihost_utils.broadcast_one_to_all(sent), np.uint8)
    return [int(number) for number in received.view(np.int64)]


def arrays_of_first(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The arrays that the first process calls this with, in every process.

    Args:
        arrays: As many in each process, of the same shapes and dtypes; integers below
            2**24.
    """
    if not are_several():
        return list(arrays)
    from jax.experimental import multihost_utils

    received = multihost_utils.broadcast_one_to_all(
        # JAX adds them up, which it does not for bool.
        [array.astype(np.float32) for array in arrays]
    )
    return [
        np.asarray(found).astype(array.dtype)
        for found, array in zip(received, arrays, strict=True)
    ]


def check_same(what: str, number: int, remedy: str) -> None:
    """Checks that all processes have found the same.

    Args:
        what: What was found, for the message.
        number: What stands for it, in [0, 2**31).
        remedy: A sentence.

    Raises:
        RuntimeError: They have not. It is raised in all of them.
    """
    if not are_several():
        return
    from jax.experimental import multihost_utils

    found = multihost_utils.process_allgather(np.int32(number)).ravel().tolist()
    if len(set(found)) > 1:
        raise RuntimeError(
            f"The processes of this training have different {what}: {found}. {remedy}"
        )


@contextlib.contextmanager
def ending_after_errors() -> Iterator[None]:
    """Ends this process within seconds of its last line, after any error in it.

    That is what tells the others, which wait for what it does not send.
    """
    try:
        yield
    except BaseException:
        if are_several():
            # JAX's own is registered by now, and those registered later run earlier.
            atexit.unregister(_end_soon)
            atexit.register(_end_soon)
        raise


@contextlib.contextmanager
def ending_together(remedy: str) -> Iterator[None]:
    """Makes a sentence of what JAX raises where another process is gone.

    After any error in it, this process ends as it does after `ending_after_errors`.

    Args:
        remedy: A sentence.

    Raises:
        RuntimeError: One of the others has ended.
    """
    if not are_several():
        yield
        return
    try:
        with ending_after_errors():
            yield
    except Exception as error:
        if not _says_that_another_is_gone(error):
            raise
        raise RuntimeError(
            f"One of the processes of this training has ended. {remedy}"
        ) from error
    # All have taken part in this: an error before it was one of all.
    atexit.unregister(_end_soon)


def _says_that_another_is_gone(error: BaseException) -> bool:
    import jax

    message = str(error)
    of_jax = isinstance(error, jax.errors.JaxRuntimeError) or (
        isinstance(error, ValueError) and _STATUS.match(message) is not None
    )
    return of_jax and any(sign in message.lower() for sign in _SIGNS)


def _end_soon() -> None:
    """Bounds how long JAX waits at the end of this process.

    It waits for minutes for the others to end too, which meanwhile wait for what this
    process does not send them any more.
    """
    # It needs no thread of Python's, which may not be had so late.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    faulthandler.dump_traceback_later(_PATIENCE, exit=True, file=nowhere)
    # That leaves out what Python does last.
    print(end="", flush=True)
