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

from kdfixmatch_cli.console import accept_all_characters
from kdfixmatch_web.light_import import import_without_keras

UNUSABLE, INTERRUPTED = 1, 130

# What a user can do something about; its message says what.
_EXPECTED = (ValueError, TypeError, RuntimeError, ImportError, OSError)

# Remedies in the words of Python, and those of a command line.
_REMEDIES = {
    "image_size=(height, width)": "--image-size",
    "on_error='skip'": "--on-error skip",
    "must be None where": "must be left out where",
    "leave `continue_from` out": "leave --continue-from out",
    "or start over.": "or start over with --restart.",
    "weights=<path of a weights file>": "--weights <path of a weights file>",
    "weights=None": "--weights none",
    'backbone="efficientnet_lite0"': "--backbone efficientnet_lite0",
    "mixed_precision=False": "--mixed-precision float32",
    "`distribution_alignment=True`": "--distribution-alignment",
    "assignment='majority'": "--assignment majority",
    "clustering='kmeans'": "--clustering kmeans",
    '`threshold="flexmatch"`': "--threshold flexmatch",
    '`inner_threshold="flexmatch"`': "--inner-threshold flexmatch",
    "pass an `optimizer` with a smaller one.": (
        "pass --optimizer together with a smaller --learning-rate."
    ),
}
# Arguments that are called otherwise on a command line.
_OPTIONS = {"run_dir": "output"}
# Of a command, those that are paths of this machine.
PATHS = (
    *("run", "labeled", "labels", "unlabeled", "test", "data", "output"),
    # Those of `label --import` and `--export`.
    *("continue_from", "taken", "given"),
)


def reported(
    command: Callable[..., None], with_keras: bool = True
) -> Callable[..., None]:
    """Makes a command print its errors in a line, or with a traceback for `debug`.

    Args:
        command: Function with a boolean keyword argument `debug`.
        with_keras: Whether it computes with Keras, whose import takes seconds.
    """

    @functools.wraps(command)
    def wrapper(**options: Any) -> None:
        accept_all_characters()
        if not with_keras:
            import_without_keras()
        if options["debug"]:
            command(**_with_local_paths(options))
            return
        translate = functools.partial(_translate, names=set(options))

        def show_warning(message: Any, *_: Any, **__: Any) -> None:
            say(f"Warning: {translate(message)}")

        with warnings.catch_warnings(), _ending_as_if_interrupted():
            warnings.showwarning = show_warning
            warnings.simplefilter("default", UserWarning)
            # Of files that it could read; the others are named in an error.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            try:
                _prepare(with_keras)
                command(**_with_local_paths(options))
            except KeyboardInterrupt:
                say("Interrupted.")
                raise typer.Exit(INTERRUPTED) from None
            except (typer.Exit, typer.Abort):
                raise
            # Whatever it is, a user should not have to read a traceback; `--debug`
            # shows it to those who want to report it.
            except Exception as error:
                for line in _explain(error, translate):
                    say(line)
                raise typer.Exit(UNUSABLE) from None

    return wrapper


def _with_local_paths(options: dict[str, Any]) -> dict[str, Any]:
    """Options in which `~` is the home directory, as it is not after `--output=`.

    Raises:
        ValueError: One of them is an address, such as `gs://bucket/run`.
    """
    from kdfixmatch_keras.checks.validation import check_path

    return {
        name: check_path(
            "RUN" if name == "run" else f"--{name.replace('_', '-')}", value
        )
        # Text with some versions of Typer.
        if name in PATHS and isinstance(value, str | os.PathLike)
        else value
        for name, value in options.items()
    }


def _explain(error: Exception, translate: Callable[[str], str]) -> list[str]:
    """What to tell of an error: a line, and a second where it says too little."""
    message = translate(_message(error))
    line = f"Error: {message or type(error).__name__}"
    if isinstance(error, ImportError):
        return [line]
    # Here, as `--help` has to do without what the package imports.
    from kdfixmatch_keras.checks.memory import OutOfMemoryError, is_out_of_memory
    from kdfixmatch_keras.storage.files import error_of_disk

    if isinstance(error, OutOfMemoryError) or error_of_disk(error) is not None:
        return [line]
    line_of_class = f"Error: {type(error).__name__}: {message}"
    if is_out_of_memory(error):
        remedy = "A smaller --batch-size or --image-size needs less memory."
        return [line_of_class, remedy]
    if isinstance(error, _EXPECTED):
        return [line]
    return [line_of_class, "This should not happen; --debug shows where it did."]


def _message(error: Exception) -> str:
    """The message of an error, with the last note, as it knows most of the command."""
    message = re.sub(r"^\[Errno \d+\] ", "", str(error))
    return " ".join([message, *getattr(error, "__notes__", [])[-1:]])


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


def _prepare(with_keras: bool) -> None:
    # Commands draw to files. A notebook sets a display for what it starts, which
    # matplotlib may not find here.
    os.environ["MPLBACKEND"] = "agg"
    # Of files that it cannot read, of which the reason is told.
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    if with_keras:
        _import_silently()


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
            from kdfixmatch_keras import backend

            backend.device_names()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _translate(message: Any, names: set[str]) -> str:
    """A message in one line, with the options of a command as they are typed."""
    line = re.sub(r"\s*\n\s*", " ", str(message)).strip()
    for python, typed in _REMEDIES.items():
        # Of a command that lacks it, an option is no remedy.
        used = {name.replace("-", "_") for name in re.findall(r"--([a-z-]+)", typed)}
        if used <= names:
            line = line.replace(python, typed)

    def option(match: re.Match[str]) -> str:
        name = _OPTIONS.get(match[1], match[1])
        return f"`--{name.replace('_', '-')}`" if name in names else match[0]

    return re.sub(r"`(\w+)`", option, line)
