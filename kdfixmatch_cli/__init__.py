"""The command `kdfixmatch`.

A package of its own beside `kdfixmatch_keras`, whose import brings Keras: `--help`
must answer at once.
"""

from kdfixmatch_cli.app import main

__all__ = ["main"]
