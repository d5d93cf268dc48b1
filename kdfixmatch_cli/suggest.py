"""`kdfixmatch suggest`: which images to label next, as a CSV file."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdfixmatch_cli.console import new_console
from kdfixmatch_cli.output import check_file
from kdfixmatch_cli.suggest_images import SuggestImages, given_to
from kdfixmatch_cli.suggest_sight import Seen, seen_by_backbone, seen_by_run
from kdfixmatch_keras import suggestion
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.checks.paths import check_table
from kdfixmatch_keras.sources.folder_source import ON_ERROR
from kdfixmatch_keras.storage.files import written_aside

COLUMNS = ["file", "reason", "guess", "confidence"]


def suggest(params: Mapping[str, Any]) -> None:
    """Chooses images to label next, and writes a row for each."""
    console = new_console(params["quiet"])
    strategy, output = params["strategy"], params["output"]
    validation.check_choice("strategy", strategy, suggestion.STRATEGIES)
    validation.check_choice("on_error", params["on_error"], ON_ERROR)
    check_table("--output", output)
    check_file(output, [",".join(COLUMNS)])
    given = given_to(params)
    if params["run"] is None:
        images, seen = seen_by_backbone(params, given, console)
    else:
        images, seen = seen_by_run(params, given, console)
    typical, doubtful = _chosen(params, images, seen)
    reasons = ["random" if strategy == "random" else "typical"] * len(typical)
    if seen.probabilities is not None:
        reasons += [_doubt(seen, seen.probabilities[row], row) for row in doubtful]
    _write(output, images, seen, [*typical, *doubtful], reasons)
    console.print(
        f"Wrote {output}: {len(reasons):,} of {len(images.pool):,} images"
        + (
            f", {len(typical):,} typical and {len(doubtful):,} doubtful"
            if strategy == "mixed"
            else ""
        )
    )


def _chosen(
    params: Mapping[str, Any], images: SuggestImages, seen: Seen
) -> tuple[list[int], list[int]]:
    """Rows of the images to label: typical ones or any, and doubtful ones."""
    labeled = np.array(sorted(images.labels), np.int64)
    knobs: dict[str, Any] = {
        "count": params["count"],
        "labeled": labeled,
        # What is for test and has a label too is nothing to learn from.
        "excluded": np.setdiff1d(seen.excluded, labeled),
        "seed": params["seed"],
    }
    strategy = params["strategy"]
    if strategy == "random":
        return suggestion.at_random(seen.features, **knobs).tolist(), []
    if strategy == "typical":
        return suggestion.typical(seen.features, **knobs).tolist(), []
    if seen.probabilities is not None:
        knobs["disagreement"] = suggestion.disagreement(
            seen.probabilities.argmax(axis=1), list(seen.opinions.values())
        )
    both = (seen.features, seen.probabilities)
    if strategy == "doubtful":
        return [], suggestion.doubtful(*both, **knobs).tolist()
    typical, doubtful = suggestion.mixed_parts(*both, **knobs)
    return typical.tolist(), doubtful.tolist()


def _doubt(seen: Seen, probabilities: NDArray[np.float32], row: int) -> str:
    """Why an image is doubtful, in words."""
    best, second = np.argsort(-probabilities, kind="stable")[:2]
    names = seen.class_names
    words = [f"doubtful: {names[best]} or {names[second]}"]
    words += [
        f"{who}: {names[labels[row]]}"
        for who, labels in seen.opinions.items()
        if labels[row] not in (-1, best)
    ]
    return "; ".join(words)


def _write(
    output: Path,
    images: SuggestImages,
    seen: Seen,
    rows: list[int],
    reasons: list[str],
) -> None:
    names = images.pool.names or []
    with (
        written_aside(output) as aside,
        open(aside, "w", newline="", encoding="utf-8") as opened,
    ):
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row, reason in zip(rows, reasons, strict=True):
            guess = ["", ""]
            if seen.probabilities is not None:
                best = int(seen.probabilities[row].argmax())
                confidence = seen.probabilities[row, best]
                guess = [seen.class_names[best], f"{confidence:.6f}"]
            writer.writerow([names[row], reason, *guess])
