"""Errors as a user of a command line wants them: a sentence and an exit code."""

import contextlib
import functools
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import typer

UNUSABLE, INTERRUPTED = 1, 130

# What a user can do something about; its message says what.
_EXPECTED = (ValueError, TypeError, RuntimeError, ImportError, OSError)

# Remedies in the words of Python, and those of a command line.
_REMEDIES = {
    "image_size=(height, width)": "--image-size",
    "on_error='skip'": "--on-error skip",
    "or start over.": "or start over with --restart.",
    "weights=<path of a weights file>": "--weights <path of a weights file>",
    "weights=None": "--weights none",
}
# Arguments that are called otherwise on a command line.
_OPTIONS = {"path": "output", "run_dir": "output"}


def reported(command: Callable[..., None]) -> Callable[..., None]:
    """Makes a command print its errors in a line, or with a traceback for `debug`.

    Args:
        command: Function with a boolean keyword argument `debug`.
    """

    @functools.wraps(command)
    def wrapper(**options: Any) -> None:
        if options["debug"]:
            command(**options)
            return
        translate = functools.partial(_translate, names=set(options))

        def show_warning(message: Any, *_: Any, **__: Any) -> None:
            say(f"Warning: {translate(message)}")

        with warnings.catch_warnings(), _ending_as_if_interrupted():
            warnings.showwarning = show_warning
            warnings.simplefilter("default", UserWarning)
            try:
                _import_silently()
                command(**options)
            except KeyboardInterrupt:
                say("Interrupted.")
                raise typer.Exit(INTERRUPTED) from None
            except (typer.Exit, typer.Abort):
                raise
            except _EXPECTED as error:
                say(f"Error: {translate(error) or type(error).__name__}")
                raise typer.Exit(UNUSABLE) from None
            # Whatever else it is, a user should not have to read a traceback;
            # `--debug` shows it to those who want to report it.
            except Exception as error:
                say(f"Error: {type(error).__name__}: {translate(error)}")
                if _is_out_of_memory(error):
                    say("A smaller --batch-size or --image-size needs less memory.")
                else:
                    say("This should not happen; --debug shows where it did.")
                raise typer.Exit(UNUSABLE) from None

    return wrapper


def say(line: str) -> None:
    """Prints a line to the standard error stream."""
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _ending_as_if_interrupted() -> Iterator[None]:
    """Lets a process that is asked to end clean up behind it."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _import_silently() -> None:
    """Imports Keras without what TensorFlow then writes about itself.

    It writes to the file descriptor, whatever its log level, before and after it looks
    for a GPU.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            import keras

            keras.distribution.list_devices()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _is_out_of_memory(error: Exception) -> bool:
    # That of TensorFlow is told by its name, as TensorFlow may not be there.
    return isinstance(error, MemoryError) or "ResourceExhausted" in type(error).__name__


def _translate(message: Any, names: set[str]) -> str:
    """A message in one line, with the options of a command as they are typed."""
    line = re.sub(r"\s*\n\s*", " ", str(message)).strip()
    for python, typed in _REMEDIES.items():
        if typed.split()[-1].lstrip("-").rstrip(".") != "restart" or "restart" in names:
            line = line.replace(python, typed)

    def option(match: re.Match[str]) -> str:
        name = _OPTIONS.get(match[1], match[1])
        return f"`--{name.replace('_', '-')}`" if name in names else match[0]

    return re.sub(r"`(\w+)`", option, line)
