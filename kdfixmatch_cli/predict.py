"""`kdfixmatch predict`: any number of images to a CSV file."""

import csv
import glob
import os
from pathlib import Path

from rich.progress import Progress

from kdfixmatch_cli.console import new_console
from kdfixmatch_cli.errors import say
from kdfixmatch_cli.output import check_file, listed
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.checks.paths import check_table
from kdfixmatch_keras.report.run_folder import RunFolder
from kdfixmatch_keras.serving.file_prediction import predict_files
from kdfixmatch_keras.sources.folder_source import ON_ERROR
from kdfixmatch_keras.sources.image_files import EXTENSIONS, find_images
from kdfixmatch_keras.storage.files import written_aside

COLUMNS = ["file", "class", "confidence"]


def predict(
    run: Path,
    images: list[str],
    output: Path,
    all_classes: bool,
    on_error: str,
    batch_size: int,
    quiet: bool,
) -> None:
    """Classifies images and writes a row for each."""
    console = new_console(quiet)
    validation.check_choice("on_error", on_error, ON_ERROR)
    folder = RunFolder.open(run)
    every = probability_columns(folder.read_class_names())
    headers = [",".join(COLUMNS), ",".join([*COLUMNS, *every])]
    check_table("--output", output)
    check_file(output, headers)
    files = find_files(images)
    model = folder.load_model()
    names = model.class_names or []
    failures: dict[Path, str] = {}
    with (
        written_aside(output) as aside,
        open(aside, "w", newline="", encoding="utf-8") as opened,
        Progress(console=console, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("Classifying", total=len(files))
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow([*COLUMNS, *(every if all_classes else [])])
        for batch in predict_files(model.serving_network, files, batch_size):
            failures |= batch.failures
            if failures and on_error == "raise":
                raise ValueError(
                    f"`IMAGES` must be readable. Received: {_named(failures)}. Nothing "
                    "was written; --on-error skip leaves such files out"
                )
            progress.advance(task, len(batch.files) + len(batch.failures))
            for file, row in zip(batch.files, batch.probabilities, strict=True):
                best = int(row.argmax())
                rest = [f"{value:.6f}" for value in row] if all_classes else []
                writer.writerow([file, names[best], f"{row[best]:.6f}", *rest])
        if len(failures) == len(files):
            raise ValueError(
                f"`IMAGES` must hold a readable image. Received: {_named(failures)}"
            )
    if failures:
        say(f"Warning: left out {len(failures):,} unreadable files: {_named(failures)}")
    console.print(f"Wrote {output}: {len(files) - len(failures):,} images")


def probability_columns(class_names: list[str]) -> list[str]:
    """Names of the columns of `--all`, none of which is that of another column."""
    return [f"class {name}" if name in COLUMNS else name for name in class_names]


def _named(failures: dict[Path, str]) -> str:
    return listed(f"{file} ({reason})" for file, reason in failures.items())


def find_files(images: list[str]) -> list[Path]:
    """The files that folders, names and patterns stand for, each once.

    Raises:
        ValueError: One of them stands for nothing.
    """
    files: dict[Path, Path] = {}
    for typed in images:
        path = validation.check_path("IMAGES", typed)
        # As it was typed: a slash at its end says that a pattern is one of folders.
        name = os.path.expanduser(typed)
        matches = [path] if path.exists() or path.is_symlink() else _matches(name)
        found = []
        for match in matches:
            found += find_images(match) if match.is_dir() else [match]
        if not found:
            kind = "a folder without images" if path.is_dir() else "no file or folder"
            raise ValueError(
                "`IMAGES` must be folders, files or patterns of image files (."
                f"{', .'.join(EXTENSIONS)}). Received: {name} ({kind})"
            )
        for file in found:
            files.setdefault(file.resolve(), file)
    return list(files.values())


def _matches(pattern: str) -> list[Path]:
    return [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
