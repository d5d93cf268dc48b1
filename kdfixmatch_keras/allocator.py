"""Keeping the memory that a training step frees for the step that comes next.

Activations of large batches are allocated and freed in each step. The GNU C library
hands blocks of that size back to the system at once, which clears every page when it is
touched again: on virtual machines that has taken as much time as the step itself.
"""

import contextlib
import ctypes
import os
import platform
import threading
from collections.abc import Iterator

_MIB = 1 << 20
# Parameters of `mallopt`, from malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
# No block is mapped by itself where that can be helped, and little is handed back.
_KEEPING = {_MMAP_MAX: 0, _TOP_PAD: 64 * _MIB, _TRIM_THRESHOLD: (1 << 31) - 1}
# The defaults; of the thresholds, what the library raises them to by itself where such
# large blocks are freed.
_USUAL = {
    _MMAP_MAX: 65536,
    _TOP_PAD: _MIB // 8,
    _TRIM_THRESHOLD: 64 * _MIB,
    _MMAP_THRESHOLD: 32 * _MIB,
}
# Variables by which a user has chosen already.
_CHOSEN_BY_USER = ("MALLOC_", "GLIBC_TUNABLES")

_lock = threading.Lock()
_inside = 0


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keeps freed memory in the process, and hands it back at the end.

    Does nothing where the C library is not that of GNU, or where an environment
    variable (`MALLOC_...`, `GLIBC_TUNABLES`) has set its allocator up. The settings
    cannot be read: at the end they are those that the library arrives at by itself
    where large blocks are freed, and not what the process may have chosen by `mallopt`.
    What is allocated meanwhile and kept is handed back when a later use ends.
    """
    global _inside
    library = _gnu_library()
    if library is None:
        yield
        return
    with _lock:
        _inside += 1
        if _inside == 1:
            _set(library, _KEEPING)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _set(library, _USUAL)
                library.malloc_trim(0)


def _gnu_library() -> ctypes.CDLL | None:
    if platform.system() != "Linux" or any(
        name.startswith(_CHOSEN_BY_USER) for name in os.environ
    ):
        return None
    library = ctypes.CDLL(None)
    # Other C libraries have no such functions.
    found = hasattr(library, "mallopt") and hasattr(library, "malloc_trim")
    return library if found else None


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        library.mallopt(parameter, value)
