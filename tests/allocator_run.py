"""What `kdfixmatch_keras/allocator.py` does to a process, as a process of its own.

In that of the tests, the heap is full of holes which large blocks fit into.
"""

import contextlib
import ctypes
import importlib.util
import json
import os
import resource
import sys
from pathlib import Path

BYTES = 48 << 20
ROUNDS = 8


def load_alone():
    """The module, without the package and all that it imports."""
    path = Path(__file__).parents[1] / "kdfixmatch_keras" / "allocator.py"
    spec = importlib.util.spec_from_file_location("allocator", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


freed_memory_kept = load_alone().freed_memory_kept


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


def once():
    with freed_memory_kept():
        pages_cleared()
        inside, held = pages_cleared(), resident()
    return {
        "inside": inside,
        "blocks_handed_back": (held - resident()) / BYTES,
        "afterwards": pages_cleared(),
    }


def nested():
    with freed_memory_kept():
        with freed_memory_kept():
            pages_cleared()
        return {"inside": pages_cleared()}


def chosen():
    os.environ["MALLOC_TRIM_THRESHOLD_"] = "1000000"
    with freed_memory_kept():
        return {"inside": pages_cleared()}


def error():
    with contextlib.suppress(KeyError), freed_memory_kept():
        raise KeyError
    return {"afterwards": pages_cleared()}


if __name__ == "__main__":
    outside = pages_cleared()
    found = {"once": once, "nested": nested, "chosen": chosen, "error": error}
    print(json.dumps({"outside": outside, "rounds": ROUNDS, **found[sys.argv[1]]()}))
