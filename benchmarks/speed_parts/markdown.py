"""Figures and bars of the speed benchmark as Markdown."""

from collections.abc import Sequence
from statistics import median
from typing import Any

NAMES = {
    "small_cnn": "`small_cnn`",
    "wide_resnet_28_2": "WRN-28-2",
    "efficientnetb0": "EfficientNet-B0",
    "keras_cv": "KerasCV",
    "keras_layer": "`keras.layers.RandAugment`",
    "pillow": "Pillow, all cores",
    "kmeans": "k-means",
    "dec": "DEC",
}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; its first column is text and the others are figures."""
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """The ratio of each repeat."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: Sequence[float]) -> str:
    """The median, and the smallest and the largest."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def at_least(value: float, bar: float) -> list[str]:
    """The columns of a bar that is a lower limit."""
    return [f"≥ {bar:g}", "met" if value >= bar else "**not met**"]


def at_most(value: float, bar: float) -> list[str]:
    """The columns of a bar that is an upper limit."""
    return [f"≤ {bar:g}", "met" if value <= bar else "**not met**"]


def judged(met: bool) -> str:
    """What stands after a figure whose bar has no column of its own."""
    return ", met" if met else ", **not met**"


def milliseconds(seconds: Sequence[float]) -> str:
    """The median."""
    return f"{1000 * median(seconds):,.1f}"


def precision(result: dict[str, Any]) -> str:
    """The precision of a row's title, where it is not the usual one."""
    return "" if result["precision"] == "float32" else f", {result['precision']}"


def network(result: dict[str, Any]) -> str:
    """The title of a network's row."""
    name = NAMES.get(result["backbone"], result["backbone"])
    return f"{name}, {result['side']} px{precision(result)}"
