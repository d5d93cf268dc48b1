"""What a benchmark ran on, and which commit of the code it measured."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any


def commit() -> str | None:
    """The commit of the code, with a mark if it has been changed since."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    folder = Path(__file__).parent
    try:
        found = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except OSError:
        return None
    return found.stdout.strip() or None


def cores() -> int:
    """How many cores this process may use, which can be fewer than there are."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def facts() -> dict[str, Any]:
    """Processor, memory, accelerators and versions."""
    packages = ("keras", "tensorflow", "numpy", "scikit-learn", "pillow")
    return {
        "cores": cores(),
        "processor": _processor(),
        "memory_gib": _memory_gib(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "accelerators": _accelerators(),
    }


def _processor() -> str:
    """The model of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return models[0] if models else platform.processor() or platform.machine()


def _memory_gib() -> int | None:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None
    return round(size / 2**30)


def _accelerators() -> list[str]:
    """The models of the devices where TensorFlow knows them, else their names."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return [str(name) for name in keras.distribution.list_devices("gpu")]
    import tensorflow as tf

    details = tf.config.experimental.get_device_details
    return [
        details(device).get("device_name", device.name)
        for device in tf.config.list_physical_devices("GPU")
    ]
