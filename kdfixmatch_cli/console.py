"""Where commands print, and what the user typed."""

import io
import os
import shlex
import sys
from pathlib import Path

from rich.console import Console


class _PatientConsole(Console):
    def on_broken_pipe(self) -> None:
        """Goes on in silence: the files are written for others than who read along."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def accept_all_characters() -> None:
    """Has the standard streams escape what their encoding lacks.

    A name that a terminal cannot show would be an error else, after the files with it
    were written.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def new_console(quiet: bool = False) -> Console:
    """A console that prints names of files and classes as they are."""
    return _PatientConsole(
        quiet=quiet, soft_wrap=True, highlight=False, markup=False, emoji=False
    )


def command_line() -> str:
    """The command that the user typed, for the record."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
