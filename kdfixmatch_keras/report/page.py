"""From what `collect` gathered to a page of HTML, without images or Keras."""

from collections import Counter
from pathlib import PurePosixPath
from statistics import median
from typing import Any

import jinja2
from markupsafe import Markup, escape

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.checks.paths import check_page
from kdfixmatch_keras.report import charts, values, warning_signs
from kdfixmatch_keras.report.values import FORMAT
from kdfixmatch_keras.storage.files import written_aside

# Of more classes, tables hold those of which the smallest share is trusted.
MAX_ROWS = 200
MAX_LEGEND = 20
MAP_SIZE = 480
NUM_COLORS = 10

METHODS = {
    "probe": "Linear probe",
    "supervised": "Supervised only",
    "outer": "Outer network",
    "inner": "Inner network",
}
_LOSSES = {"Supervised loss": "supervised_loss", "Unlabeled loss": "unlabeled_loss"}
_SHARES = {
    "Validation accuracy": "val_accuracy",
    "Unlabeled images with a target": "mask_rate",
    "Targets from the trusted set": "trusted_share",
}


def render(contents: dict[str, Any]) -> str:
    """Makes the page of a report.

    The page needs nothing beside it: pictures, charts and style are within, and its
    content security policy keeps it from loading anything. The same contents give the
    same page.

    Args:
        contents: What `collect` returned, or JSON kept of it.

    Returns:
        An HTML document.

    Raises:
        ValueError: `contents` is something else, or of another version.
    """
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise ValueError(
            "`contents` must be what `collect` of this version returned. Received: "
            f"{type(contents).__name__} without format={FORMAT!r}"
        )
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kdfixmatch_keras.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        code=_code,
        file_name=_file_name,
        percent=_percent,
        plural=_plural,
        thousands=_thousands,
    )
    return environment.get_template("report.html").render(
        contents,
        methods=METHODS,
        line_charts=_line_charts(contents["history"]),
        confidence=_confidence(contents["trusted"]),
        passed=warning_signs.passed(contents),
        rows=_rows(contents),
        points=_points(contents["map"]),
        map_size=MAP_SIZE,
        map_labels=_map_labels(contents["map"]),
        num_colors=NUM_COLORS,
        max_legend=MAX_LEGEND,
        max_rows=MAX_ROWS,
    )


def write(contents: dict[str, Any], path: Any) -> None:
    """Writes the page of a report to a file, all of it or nothing.

    Args:
        contents: What `collect` returned, or JSON kept of it.
        path: File to write, `*.html`; replaced if it exists.

    Raises:
        TypeError: `path` is no path.
        ValueError: `contents` is something else, or of another version; or a folder
            stands at `path`, or its ending is that of another format.
    """
    path = validation.check_output_file("path", path)
    check_page("path", path)
    page = render(contents)
    with written_aside(path) as aside:
        aside.write_text(page, encoding="utf-8")


def _code(text: str) -> Markup:
    """Text in which what stands between backticks is code."""
    parts = [
        Markup("<code>{}</code>").format(part) if position % 2 else escape(part)
        for position, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{share:.{digits}%}"


def _file_name(name: str) -> str:
    """What fits below a thumbnail of the name of an image."""
    return values.text(PurePosixPath(name).stem, 11)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _thousands(count: int) -> str:
    return f"{count:,}"


def _line_charts(history: dict[str, Any]) -> list[charts.LineChart]:
    def series(metric: str) -> dict[str, list[float | None]]:
        return {
            stage: metrics[metric]
            for stage, metrics in history.items()
            if metric in metrics
        }

    drawn = [charts.line_chart(title, series(name)) for title, name in _LOSSES.items()]
    for title, name in _SHARES.items():
        shares = series(name)
        if name == "trusted_share":
            # The outer network has no trusted set.
            shares.pop("outer", None)
        drawn.append(charts.line_chart(title, shares, percent=True))
    return [chart for chart in drawn if chart is not None]


def _confidence(trusted: dict[str, Any]) -> charts.Histogram:
    counts = trusted["histogram"]
    return charts.histogram(
        counts["edges"],
        {name: counts[name] for name in ("trusted", "rejected")},
        {name: trusted[name] for name in ("tau_select", "tau_inner")},
    )


def _rows(contents: dict[str, Any]) -> list[dict[str, Any]]:
    """Of each class its name and counts, and how long its bars are."""
    per_class = contents["trusted"]["per_class"]
    longest = max(max(per_class["predicted"]), 1)
    rows = [
        {
            "number": number,
            "name": name,
            **{kind: counts[number] for kind, counts in per_class.items()},
            "predicted_length": round(
                100 * per_class["predicted"][number] / longest, 1
            ),
            "trusted_length": round(100 * per_class["trusted"][number] / longest, 1),
        }
        for number, name in enumerate(contents["class_names"])
    ]
    if len(rows) <= MAX_ROWS:
        return rows
    return sorted(rows, key=lambda row: row["trusted"] / max(row["predicted"], 1))[
        :MAX_ROWS
    ]


def _points(points: dict[str, Any] | None) -> dict[str, list[dict[str, Any]]]:
    """The points of the map by kind, the kind on top last."""
    by_kind: dict[str, list[dict[str, Any]]] = {
        kind: [] for kind in ("rejected", "trusted", "labeled")
    }
    if points is not None:
        columns = (points[name] for name in ("x", "y", "class", "kind", "name"))
        for x, y, number, kind, name in zip(*columns, strict=True):
            by_kind[kind].append(
                {
                    "x": _on_map(x),
                    "y": _on_map(y),
                    "color": number % NUM_COLORS,
                    "number": number,
                    "name": name,
                }
            )
    return by_kind


def _map_labels(points: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Where the number of a class stands: in the middle of its points.

    More numbers than those of the classes with the most points would hide one another.
    """
    if points is None:
        return []
    labels = []
    for number, _ in Counter(points["class"]).most_common(MAX_LEGEND):
        x, y = (
            median(
                value
                for value, of in zip(points[axis], points["class"], strict=True)
                if of == number
            )
            for axis in "xy"
        )
        labels.append({"number": number, "x": _on_map(x), "y": _on_map(y)})
    return labels


def _on_map(value: float) -> float:
    margin = 10
    return round(margin + value * (MAP_SIZE - 2 * margin), 1)
