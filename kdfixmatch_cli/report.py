"""`kdfixmatch report`: the page of a run, written again."""

from pathlib import Path

from kdfixmatch_cli.output import check_file
from kdfixmatch_keras import report as reports
from kdfixmatch_keras.run_folder import RunFolder


def report(run: Path, output: Path | None, quiet: bool) -> None:
    """Writes the report of a run as one HTML page."""
    folder = RunFolder.open(run)
    path = folder.report if output is None else check_file(output, "<!doctype html>")
    reports.write(folder.read_report(), path)
    if not quiet:
        print(f"Wrote {path}")
