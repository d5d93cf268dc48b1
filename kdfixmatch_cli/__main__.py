"""`python -m kdfixmatch_cli` is `kdfixmatch`."""

from kdfixmatch_cli import main

main()
