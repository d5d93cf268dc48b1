"""Telling that memory ran out, whichever library needed it."""

import contextlib
import re
from collections.abc import Iterator

from kdfixmatch_keras.storage.files import error_of_disk

# TensorFlow and JAX, which call a full disk so as well; TensorFlow with no memory left
# on a GPU to copy to; PyTorch with and without a GPU.
_WORDS = re.compile(
    "resource_?exhausted|dst tensor is not initialized|out ?of ?memory|"
    "(not enough|can't allocate|failed to allocate) memory",
    re.IGNORECASE,
)


class OutOfMemoryError(MemoryError):
    """Memory ran out; the message says in what, and what needs less."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, of whatever library, means that memory ran out."""
    if isinstance(error, MemoryError):
        return True
    # Told by their words, as none of these libraries has to be there.
    text = f"{type(error).__name__}: {error}"
    return error_of_disk(error) is None and _WORDS.search(text) is not None


@contextlib.contextmanager
def needed_for(what: str, remedy: str) -> Iterator[None]:
    """Says what memory was needed for where it runs out, and what needs less.

    Args:
        what: What is done meanwhile, as the subject of a sentence.
        remedy: A sentence.

    Raises:
        OutOfMemoryError: Memory ran out.
    """
    try:
        yield
    # Every library has a class of its own for it.
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(f"{what} ran out of memory. {remedy}") from error
