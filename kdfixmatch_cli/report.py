"""`kdfixmatch report`: the page of a run, written again."""

from pathlib import Path

from kdfixmatch_cli.console import new_console
from kdfixmatch_cli.output import check_file
from kdfixmatch_keras import report as reports
from kdfixmatch_keras.checks.paths import check_page
from kdfixmatch_keras.report.run_folder import RunFolder


def report(run: Path, output: Path | None, quiet: bool) -> None:
    """Writes the report of a run as one HTML page."""
    folder = RunFolder.open(run)
    contents = folder.read_report()
    path = folder.report
    if output is not None:
        check_page("--output", output)
        path = check_file(output, reports.render(contents).split("\n", 1)[:1])
    reports.write(contents, path)
    new_console(quiet).print(f"Wrote {path}")
