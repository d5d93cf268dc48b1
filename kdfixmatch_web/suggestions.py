"""Which images are worth a label, and why, as other processes have found."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kdfixmatch_keras.storage.files import written_aside
from kdfixmatch_web.outlook import Guess

# As `kdfixmatch suggest` writes them.
COLUMNS = ["file", "reason", "guess", "confidence"]
# How many are asked for at once.
COUNT = 100


@dataclass(frozen=True)
class Suggestion:
    """Why an image is worth a label.

    Attributes:
        reason: In words.
        guess: What it is taken for, None where nothing guesses yet.
    """

    reason: str
    guess: Guess | None = None


def read_suggestions(path: Path) -> dict[str, Suggestion]:
    """What `kdfixmatch suggest` wrote, by name of the image, the best first.

    Raises:
        ValueError: It is not that.
        OSError: There is no such file.
    """
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, strict=True)
    if header != COLUMNS:
        raise ValueError(f"it has the columns {','.join(header)}")
    return {
        name: Suggestion(reason, Guess(label, float(confidence)) if label else None)
        for name, reason, label, confidence in rows
    }


def write_suggestions(path: Path, rows: Iterable[tuple[str, str, str, float]]) -> None:
    """Writes what `read_suggestions` reads.

    Args:
        path: CSV file to write.
        rows: Name, reason, guess and confidence of each image.
    """
    with (
        written_aside(path) as aside,
        open(aside, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS, *rows])
