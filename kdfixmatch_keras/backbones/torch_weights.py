"""Reading the arrays of a file of PyTorch without PyTorch.

Such a file is a pickle, which could run anything. So it is read by an unpickler that
knows nothing but how arrays are described, and only if it is the very file that is
expected.
"""

import hashlib
import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_MAGIC_NUMBER, _VERSION = 0x1950A86A20F9469CFC6C, 1001


class _Array(NamedTuple):
    storage: tuple[str, str]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_arrays(path: Path, sha256: str) -> dict[str, np.ndarray]:
    """Reads a state dictionary that PyTorch before 1.6 wrote.

    Args:
        path: The file.
        sha256: Checksum that the file must have, in hexadecimal digits.

    Returns:
        Arrays by their names in PyTorch, float32 or int64.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is another file, or holds something else.
    """
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(
            f"`path` must be a file with the SHA-256 {sha256}. Received: {path}, whose "
            f"is {found}; it was damaged or exchanged. Install its package again."
        )
    try:
        return _arrays(content)
    # An unpickler raises whatever a damaged file makes of it.
    except Exception as error:
        raise ValueError(
            "`path` must be a state dictionary of arrays, as PyTorch before 1.6 wrote "
            f"it. Received: {path} ({error})"
        ) from error


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    file = io.BytesIO(content)
    magic_number, version = (_Unpickler(file).load() for _ in range(2))
    if (magic_number, version) != (_MAGIC_NUMBER, _VERSION):
        raise ValueError(f"format {magic_number}, {version}")
    _Unpickler(file).load()  # Of the machine that wrote it.
    described, keys = (_Unpickler(file).load() for _ in range(2))
    dtypes = {key: np.dtype(dtype) for (key, dtype), *_ in described.values()}
    storages = {}
    for key in keys:
        (count,) = np.frombuffer(file.read(8), "<i8")
        storages[key] = file.read(count * dtypes[key].itemsize)
    arrays = {}
    for name, ((key, _), offset, shape, strides) in described.items():
        size = dtypes[key].itemsize
        # It refuses what lies outside of the storage.
        arrays[name] = np.ndarray(
            shape,
            dtypes[key],
            storages[key],
            offset * size,
            [stride * size for stride in strides],
        )
    return arrays


class _Unpickler(pickle.Unpickler):
    """Knows descriptions of arrays; of whatever else a pickle asks for, it has none."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch", "FloatStorage"): "<f4",
            ("torch", "LongStorage"): "<i8",
            # Made anew, as a pickle can change what it is given.
            ("torch._utils", "_rebuild_tensor_v2"): lambda *parts: _Array(*parts[:4]),
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return known[module, name]

    def persistent_load(self, description: Any) -> tuple[str, str]:
        """The key of a storage, in which arrays lie, and the type of its numbers."""
        _, dtype, key, *_ = description
        return str(key), str(dtype)
