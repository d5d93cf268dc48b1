"""`kdfixmatch predict`: any number of images to a CSV file."""

import csv
import glob
import os
from collections import Counter
from pathlib import Path

from rich.progress import Progress

from kdfixmatch_cli.console import new_console
from kdfixmatch_cli.errors import say
from kdfixmatch_cli.output import check_file, listed
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.checks.paths import check_table
from kdfixmatch_keras.report.run_folder import RunFolder
from kdfixmatch_keras.serving.file_prediction import predict_files
from kdfixmatch_keras.sources.file_kinds import READ, passed_over_line
from kdfixmatch_keras.sources.folder_source import ON_ERROR
from kdfixmatch_keras.sources.image_files import search_folder
from kdfixmatch_keras.sources.remarks import Remarks
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
    files, passed_over = find_files(images)
    model = folder.load_model()
    names = model.class_names or []
    failures: dict[Path, str] = {}
    remarks = Remarks()
    with (
        written_aside(output) as aside,
        open(aside, "w", newline="", encoding="utf-8") as opened,
        Progress(console=console, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("Classifying", total=len(files))
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow([*COLUMNS, *(every if all_classes else [])])
        batches = predict_files(
            model.serving_network, files, batch_size, model.intensity_range
        )
        for batch in batches:
            remarks.take(batch.remarks)
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
    others = passed_over_line(passed_over)
    for remark in [*remarks.lines(), *([f"passed over: {others}"] if others else [])]:
        say(f"Note: {remark}")
    console.print(f"Wrote {output}: {len(files) - len(failures):,} images")


def probability_columns(class_names: list[str]) -> list[str]:
    """Names of the columns of `--all`, none of which is that of another column."""
    return [f"class {name}" if name in COLUMNS else name for name in class_names]


def _named(failures: dict[Path, str]) -> str:
    return listed(f"{file} ({reason})" for file, reason in failures.items())


def find_files(images: list[str]) -> tuple[list[Path], Counter[str]]:
    """The files that folders, names and patterns stand for, each once.

    Returns:
        The files, and how many of which kinds are no images in the folders.

    Raises:
        ValueError: One of them stands for nothing.
    """
    files: dict[Path, Path] = {}
    passed_over: Counter[str] = Counter()
    for typed in images:
        path = validation.check_path("IMAGES", typed)
        # As it was typed: a slash at its end says that a pattern is one of folders.
        name = os.path.expanduser(typed)
        matches = [path] if path.exists() or path.is_symlink() else _matches(name)
        found = []
        for match in matches:
            if not match.is_dir():
                found.append(match)
                continue
            inside = search_folder(match)
            found += inside.files
            passed_over += inside.passed_over
        if not found:
            kind = "a folder without images" if path.is_dir() else "no file or folder"
            others = passed_over_line(passed_over)
            raise ValueError(
                f"`IMAGES` must be folders, files or patterns of image files: {READ} "
                f"are read. Received: {name} ({kind}"
                + (f"; passed over: {others})" if others else ")")
            )
        for file in found:
            files.setdefault(file.resolve(), file)
    return list(files.values()), passed_over


def _matches(pattern: str) -> list[Path]:
    return [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
