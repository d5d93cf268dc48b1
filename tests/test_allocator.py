import ctypes
import os
import platform

import pytest

from kdfixmatch_keras.allocator import freed_memory_kept

resource = pytest.importorskip("resource")

BYTES = 48 << 20
ROUNDS = 8

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="elsewhere there is nothing to set"
)


@pytest.fixture(autouse=True)
def unchosen(monkeypatch):
    for name in os.environ:
        if name.startswith(("MALLOC_", "GLIBC_TUNABLES")):
            monkeypatch.delenv(name)


def pages_cleared():
    """How often the system gives a page for blocks that are used and freed in turn."""
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(ROUNDS):
        block = library.malloc(BYTES)
        ctypes.memset(block, 1, BYTES)
        library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_what_is_freed_is_used_again_and_handed_back_at_the_end():
    outside = pages_cleared()
    with freed_memory_kept():
        pages_cleared()
        assert pages_cleared() < outside / ROUNDS
        held = resident()
    assert resident() < held - BYTES / 2
    assert pages_cleared() > outside / 2


def test_of_two_uses_at_once_the_last_to_end_hands_it_back():
    outside = pages_cleared()
    with freed_memory_kept():
        with freed_memory_kept():
            pages_cleared()
        assert pages_cleared() < outside / ROUNDS


def test_what_the_user_chose_is_left_alone(monkeypatch):
    outside = pages_cleared()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    with freed_memory_kept():
        assert pages_cleared() > outside / 2


def test_an_error_ends_it_too():
    outside = pages_cleared()
    with pytest.raises(KeyError), freed_memory_kept():
        raise KeyError
    assert pages_cleared() > outside / 2
