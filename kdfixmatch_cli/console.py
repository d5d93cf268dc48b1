"""Where commands print, and what the user typed."""

import shlex
import sys
from pathlib import Path

from rich.console import Console


def new_console(quiet: bool = False) -> Console:
    """A console that prints names of files and classes as they are."""
    return Console(
        quiet=quiet, soft_wrap=True, highlight=False, markup=False, emoji=False
    )


def command_line() -> str:
    """The command that the user typed, for the record."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
