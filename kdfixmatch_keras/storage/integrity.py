"""Noticing that a file is damaged, was changed or is none that the package wrote."""

import hashlib
import json
import os
import struct
import zipfile
import zlib
from typing import Any, BinaryIO

# What reading a damaged or foreign archive raises, numpy's `.npz` among them.
DAMAGED = (
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

# Times its size that an archive may unpack to, and how much is no harm in any case. The
# arrays of a trusted set can be constant but for the confidences, which do not shrink.
MAX_EXPANSION = 100
_HARMLESS = 64 << 20

# Name in a sealed dictionary of the digest of the rest.
_SEAL = "sha256"


def check_archive(file: BinaryIO) -> None:
    """Reads all of an archive and compares it with its checksums.

    Args:
        file: A ZIP archive, such as numpy's `.npz`; left at its beginning.

    Raises:
        Exception: One of `DAMAGED`; also for `check_expansion`, before it is unpacked.
    """
    check_expansion(file)
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} in it is damaged")
    file.seek(0)


def check_expansion(file: BinaryIO) -> None:
    """Refuses an archive that unpacks to far more than an honest one of its size.

    Args:
        file: A ZIP archive; left at its beginning.

    Raises:
        Exception: One of `DAMAGED`.
    """
    packed = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > max(MAX_EXPANSION * packed, _HARMLESS):
        raise ValueError(f"its {packed:,} bytes would unpack to {unpacked:,}")
    file.seek(0)


def sealed(content: dict[str, Any], name: str) -> dict[str, Any]:
    """A dictionary of what JSON knows, with a digest by which damage to it shows.

    Args:
        content: The dictionary.
        name: Of its file, which another cannot take the place of.
    """
    # As JSON returns it: tuples are lists, and keys strings.
    content = json.loads(json.dumps(content))
    return {**content, _SEAL: _digest(content, name)}


def unsealed(content: Any, name: str) -> dict[str, Any]:
    """What was sealed under a name.

    Raises:
        ValueError: It was changed since.
    """
    if not isinstance(content, dict):
        raise ValueError(f"it holds {type(content).__name__}, not an object")
    rest = {key: value for key, value in content.items() if key != _SEAL}
    if content.get(_SEAL) != _digest(rest, name):
        raise ValueError("it was changed or damaged after it was written")
    return rest


def _digest(content: dict[str, Any], name: str) -> str:
    text = json.dumps([name, content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
