"""`kdfixmatch trusted`: each unlabeled image, and whether it was trusted."""

import shutil
from pathlib import Path

from kdfixmatch_cli.console import new_console
from kdfixmatch_cli.output import check_file
from kdfixmatch_keras.checks.paths import check_table
from kdfixmatch_keras.report.run_folder import RunFolder
from kdfixmatch_keras.storage.files import written_aside


def trusted(run: Path, output: Path, quiet: bool) -> None:
    """Writes the trusted set as a CSV file."""
    source = RunFolder.open(run).trusted
    with open(source, encoding="utf-8") as file:
        header = file.readline().rstrip("\n")
        num_images = sum(1 for _ in file)
    check_table("--output", output)
    check_file(output, [header])
    with written_aside(output) as aside:
        shutil.copyfile(source, aside)
    new_console(quiet).print(f"Wrote {output}: {num_images:,} unlabeled images")
