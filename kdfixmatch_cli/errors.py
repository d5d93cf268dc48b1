"""Errors as a user of a command line wants them: a sentence and an exit code."""

import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import typer

UNUSABLE, INTERRUPTED = 1, 130

# Remedies in the words of Python, and those of a command line.
_REMEDIES = {
    "image_size=(height, width)": "--image-size",
    "weights=<path of a weights file>": "--weights <path of a weights file>",
    "weights=None": "--weights none",
}


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
        warnings.showwarning = _show_warning
        # The package refuses such images by name.
        warnings.filterwarnings("ignore", ".*decompression bomb", Warning)
        try:
            _import_silently()
            command(**options)
        except KeyboardInterrupt:
            say("Interrupted.")
            raise typer.Exit(INTERRUPTED) from None
        except (typer.Exit, typer.Abort):
            raise
        except (ValueError, TypeError, RuntimeError, ImportError, OSError) as error:
            say(f"Error: {_one_line(error) or type(error).__name__}")
            raise typer.Exit(UNUSABLE) from None
        # Whatever else it is, a user should not have to read a traceback; `--debug`
        # shows it to those who want to report it.
        except Exception as error:
            say(f"Error: {type(error).__name__}: {_one_line(error)}")
            say("This should not happen; --debug shows where it did.")
            raise typer.Exit(UNUSABLE) from None

    return wrapper


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


def say(line: str) -> None:
    """Prints a line to the standard error stream."""
    print(line, file=sys.stderr, flush=True)


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    say(f"Warning: {_one_line(message)}")


def _one_line(message: Any) -> str:
    line = " ".join(str(message).split())
    for python, option in _REMEDIES.items():
        line = line.replace(python, option)
    return line
