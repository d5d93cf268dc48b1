"""`kdfixmatch predict`: any number of images to a CSV file."""

import csv
import glob
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from kdfixmatch_cli.errors import say
from kdfixmatch_cli.images import MAX_SKIPPED
from kdfixmatch_cli.output import check_file
from kdfixmatch_keras import validation
from kdfixmatch_keras.files import written_aside
from kdfixmatch_keras.prediction import predict_files
from kdfixmatch_keras.run_folder import RunFolder
from kdfixmatch_keras.sources.folder_source import ON_ERROR
from kdfixmatch_keras.sources.image_files import EXTENSIONS, find_images

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
    console = Console(quiet=quiet, soft_wrap=True, highlight=False)
    validation.check_choice("--on-error", on_error, ON_ERROR)
    check_file(output, ",".join(COLUMNS))
    folder = RunFolder.open(run)
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
        writer = csv.writer(opened)
        writer.writerow([*COLUMNS, *(names if all_classes else [])])
        for batch in predict_files(model.serving_network, files, batch_size):
            failures |= batch.failures
            progress.advance(task, len(batch.files) + len(batch.failures))
            for file, row in zip(batch.files, batch.probabilities, strict=True):
                best = int(row.argmax())
                every = [f"{value:.6f}" for value in row] if all_classes else []
                writer.writerow([file, names[best], f"{row[best]:.6f}", *every])
        if failures and (on_error == "raise" or len(failures) == len(files)):
            raise ValueError(
                f"`IMAGES` must be readable. Received: {_named(failures, 5)}. Nothing "
                "was written; --on-error skip leaves such files out"
            )
    if failures:
        say(f"Warning: left out, as they cannot be read: {_named(failures)}")
    console.print(
        f"Wrote {output}: {len(files) - len(failures):,} images", markup=False
    )


def _named(failures: dict[Path, str], count: int = MAX_SKIPPED) -> str:
    named = [f"{file} ({reason})" for file, reason in failures.items()]
    more = f" and {len(named) - count:,} more" if len(named) > count else ""
    return f"{len(named):,} that cannot be: {', '.join(named[:count])}{more}"


def find_files(images: list[str]) -> list[Path]:
    """The files that folders, names and patterns stand for, each once.

    Raises:
        ValueError: One of them stands for nothing.
    """
    files: dict[Path, Any] = {}
    for name in images:
        path = Path(name).expanduser()
        matches = [path] if path.exists() else _matches(str(path))
        found = []
        for match in matches:
            found += find_images(match) if match.is_dir() else [match]
        if not found:
            kind = "a folder without images" if path.is_dir() else "no file or folder"
            raise ValueError(
                "`IMAGES` must be folders, files or patterns of image files (."
                f"{', .'.join(EXTENSIONS)}). Received: {name} ({kind})"
            )
        files |= dict.fromkeys(found)
    return list(files)


def _matches(pattern: str) -> list[Path]:
    return [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
