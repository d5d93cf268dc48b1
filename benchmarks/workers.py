"""Processes of their own for what a benchmark does."""

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, wait
from typing import Any

# A fork would copy the locks of TensorFlow's threads.
CONTEXT = multiprocessing.get_context("spawn")
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
_starting = threading.Lock()


def process(threads: int | None = None) -> ProcessPoolExecutor:
    """Starts a process, which calls what is submitted to it one after the other.

    Args:
        threads: How many it computes with; None for the choice of its libraries.
    """
    started = ProcessPoolExecutor(1, CONTEXT, end_with_parent)
    with _starting:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        if threads is not None:
            # Libraries read it when they are loaded.
            os.environ |= dict.fromkeys(_THREADS, str(threads))
        started.submit(int)
    return started


def result(
    process: Executor,
    function: Callable[..., Any],
    *arguments: Any,
    within: float | None = None,
) -> Any:
    """What a function returns there, which is not None; None if it fails.

    Whatever the error is, it is printed: what other calls give is worth having. A
    function that takes longer than `within` seconds is ended, with all processes that
    this one has started.
    """
    try:
        submitted = process.submit(function, *arguments)
        if not wait([submitted], within).not_done:
            return submitted.result()
    except Exception:
        traceback.print_exc()
        return None
    for child in multiprocessing.active_children():
        child.terminate()
    print(f"Ended, as it took more than {within:.0f} s", flush=True)
    return None


def end_with_parent() -> None:
    """Has this process end when the one that started it does, in whatever way."""

    def end() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end, daemon=True).start()
