"""What a benchmark ran on, how long something took, and the file that keeps it."""

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

Action = Callable[[], object]


def commit() -> str | None:
    """The commit of the code, with a mark if it has been changed since."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    folder = Path(__file__).parent
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return found.stdout.strip() or None


def cores() -> int:
    """How many cores this process may use, which can be fewer than there are."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def facts() -> dict[str, Any]:
    """Processor, memory, accelerators and versions."""
    import keras

    backend = keras.backend.backend()
    packages = ("keras", backend, "numpy", "scikit-learn", "pillow")
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": cores(),
        "processor": _processor(),
        "memory_gib": round(memory_bytes / 2**30),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "accelerators": _accelerators(backend),
    }


def _processor() -> str:
    """The model of the processor, where the system tells it."""
    path = Path("/proc/cpuinfo")
    found = re.search("model name\\s*: (.+)", path.read_text() if path.exists() else "")
    return found[1] if found else platform.processor() or platform.machine()


def _accelerators(backend: str) -> list[str]:
    """The models of the GPUs, as the backend of Keras tells them."""
    if backend == "jax":
        import jax

        devices = jax.local_devices()
        return [str(x.device_kind) for x in devices if x.platform == "gpu"]
    if backend == "torch":
        import torch

        count = range(torch.cuda.device_count())
        return [str(torch.cuda.get_device_name(number)) for number in count]
    import tensorflow as tf

    details = tf.config.experimental.get_device_details
    devices = tf.config.list_physical_devices("GPU")
    return [details(device).get("device_name", device.name) for device in devices]


def seconds(action: Action, times: int = 1) -> float:
    """How long a call takes, the mean of some."""
    start = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - start) / times


def rounds(
    alternatives: Mapping[str, Action], repeats: int, least: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of each alternative in each of several rounds.

    In a round each is called once, so that what slows the machine down slows all of
    them, and the order turns around from round to round, so that none profits from
    where it stands. What has to be compiled must have been called before.

    Args:
        alternatives: What is called.
        repeats: Number of rounds.
        least: Seconds that each takes in a round at least, called that often.
    """
    names = list(alternatives)
    times = dict.fromkeys(names, 1)
    for name in names if least else ():
        # The first call may compile.
        alternatives[name]()
        times[name] = max(1, round(least / seconds(alternatives[name])))
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            found[name].append(seconds(alternatives[name], times[name]))
        names.reverse()
    return found


def memory(field: str) -> int:
    """Resident memory of this process in bytes, as Linux tells it.

    Args:
        field: `"VmRSS"` for what it has, `"VmHWM"` for the most that it has had.
    """
    # `ru_maxrss` of a process is at first that of the process that started it.
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.findall(rf"{field}:\s*(\d+)", status)[0])


def keep(path: Path, content: dict[str, Any]) -> None:
    """Writes results as JSON; a process that is killed meanwhile leaves the old."""
    temporary = path.with_suffix(".unfinished")
    temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    temporary.replace(path)
