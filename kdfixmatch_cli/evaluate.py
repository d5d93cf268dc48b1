"""`kdfixmatch evaluate`: how good a trained model is on labeled images."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kdfixmatch_cli.errors import say
from kdfixmatch_keras import validation
from kdfixmatch_keras.metrics import evaluate_predictions
from kdfixmatch_keras.run_folder import RunFolder, to_json
from kdfixmatch_keras.sources import FolderSource, labeled_source
from kdfixmatch_keras.sources.folder_source import ON_ERROR


def evaluate(run: Path, data: Path, on_error: str, as_json: bool) -> None:
    """Prints how good the predictions are."""
    validation.check_choice("--on-error", on_error, ON_ERROR)
    model = RunFolder.open(run).load_model()
    height, width, channels = model.serving_network.student.input_shape[1:]
    labeled = labeled_source(
        data,
        (height, width),
        channels,
        model.class_names,
        on_error=on_error,
        argument="--data",
    )
    for file, reason in _skipped(labeled.images).items():
        say(f"Warning: left out {file} ({reason})")
    results = evaluate_predictions(
        model.predict(labeled.images), labeled.labels, labeled.class_names
    )
    results = {"images": len(labeled.images), **results}
    if as_json:
        print(to_json(results), end="")
    else:
        _print(results)


def _skipped(images: Any) -> dict[Path, str]:
    return images.skipped if isinstance(images, FolderSource) else {}


def _print(results: dict[str, Any]) -> None:
    console = Console(highlight=False)
    console.print(
        f"Accuracy {results['accuracy']:.1%} of {results['images']:,} images, "
        "expected calibration error "
        f"{results['expected_calibration_error']:.1%}"
    )
    table = Table("class", title="By class", title_justify="left")
    for column in ("precision", "recall", "f1", "support"):
        table.add_column(column, justify="right")
    for row in results["per_class"]:
        shares = [_share(row[name]) for name in ("precision", "recall", "f1")]
        table.add_row(row["class"], *shares, str(row["support"]))
    console.print(table)
    names = [row["class"] for row in results["per_class"]]
    confusion = Table(
        "true \\ predicted", title="Confusion matrix", title_justify="left"
    )
    for name in names:
        confusion.add_column(name, justify="right")
    for name, counts in zip(names, results["confusion_matrix"], strict=True):
        confusion.add_row(name, *map(str, counts))
    console.print(confusion)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
