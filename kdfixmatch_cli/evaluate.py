"""`kdfixmatch evaluate`: how good a trained model is on labeled images."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kdfixmatch_cli.console import new_console
from kdfixmatch_cli.errors import say
from kdfixmatch_cli.images import skipped_files
from kdfixmatch_cli.output import listed
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.report.metrics import evaluate_predictions
from kdfixmatch_keras.report.run_folder import RunFolder, to_json
from kdfixmatch_keras.sources import labeled_source
from kdfixmatch_keras.sources.folder_source import ON_ERROR
from kdfixmatch_keras.sources.labels import NONE_OF_THESE

# A larger matrix fits no terminal.
MAX_MATRIX = 12
MAX_MISTAKES = 20


def evaluate(run: Path, data: Path, on_error: str, as_json: bool) -> None:
    """Prints how good the predictions are."""
    validation.check_choice("on_error", on_error, ON_ERROR)
    model = RunFolder.open(run).load_model()
    height, width, channels = model.serving_network.student.input_shape[1:]
    labeled = labeled_source(
        data,
        (height, width),
        channels,
        model.class_names,
        on_error=on_error,
        intensity_range=model.intensity_range,
        argument="--data",
    )
    skipped = skipped_files(labeled.images)
    if skipped:
        named = listed(f"{file} ({reason})" for file, reason in skipped.items())
        say(f"Warning: left out {len(skipped):,} unreadable files: {named}")
    if labeled.none_of_these is not None:
        say(
            f"Note: left out {len(labeled.none_of_these):,} images, as {NONE_OF_THESE} "
            "is no class"
        )
    for note in labeled.images.notes:
        say(f"Note: {note}")
    results = evaluate_predictions(
        model.predict(labeled.images), labeled.labels, labeled.class_names
    )
    results = {"images": len(labeled.images), **results}
    console = new_console()
    if as_json:
        console.out(_json(results, console.encoding), end="")
    else:
        _print(results, console)


def _json(results: dict[str, Any], encoding: str) -> str:
    """JSON in an encoding, of which the escapes of a stream would make none."""
    text = to_json(results)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(results, indent=2) + "\n"
    return text


def _print(results: dict[str, Any], console: Console) -> None:
    console.print(
        f"Accuracy {results['accuracy']:.1%} of {results['images']:,} images, "
        "expected calibration error "
        f"{results['expected_calibration_error']:.1%}\n"
    )
    table = Table("", "class", title="By class", title_justify="left")
    for column in ("precision", "recall", "F1", "images"):
        table.add_column(column, justify="right")
    for number, row in enumerate(results["per_class"]):
        shares = [_share(row[name]) for name in ("precision", "recall", "f1")]
        table.add_row(str(number), row["class"], *shares, str(row["support"]))
    console.print(table)
    names = [row["class"] for row in results["per_class"]]
    matrix = results["confusion_matrix"]
    if len(names) <= MAX_MATRIX:
        console.print(_matrix(names, matrix))
    else:
        console.print(_mistakes(names, matrix))


def _matrix(names: list[str], matrix: list[list[int]]) -> Table:
    """The confusion matrix, with numbers for the classes to keep it narrow."""
    table = Table(
        "true class",
        title="Confusion matrix: images of each class, by the class predicted",
        title_justify="left",
    )
    for number in range(len(names)):
        table.add_column(str(number), justify="right")
    for number, counts in enumerate(matrix):
        table.add_row(f"{number} {names[number]}", *map(str, counts))
    return table


def _mistakes(names: list[str], matrix: list[list[int]]) -> Table:
    """The most frequent confusions."""
    table = Table(
        "true class", "predicted", title="Most frequent mistakes", title_justify="left"
    )
    table.add_column("images", justify="right")
    mistakes = [
        (count, names[true], names[predicted])
        for true, counts in enumerate(matrix)
        for predicted, count in enumerate(counts)
        if count and predicted != true
    ]
    for count, true, predicted in sorted(mistakes, reverse=True)[:MAX_MISTAKES]:
        table.add_row(true, predicted, str(count))
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
