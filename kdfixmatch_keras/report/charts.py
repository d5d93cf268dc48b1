"""The geometry of charts that the page draws as SVG.

Coordinates are those of a chart 360 wide, which is about the width of a phone, so that
text drawn in it stays legible. Colours are the style sheet's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 38, 10, 10, 30
# More would run into a thick line.
MAX_DOTS = 40


@dataclass(frozen=True)
class Tick:
    """A mark of an axis: where it is, and what it says."""

    position: float
    label: str


@dataclass(frozen=True)
class Curve:
    """A curve of a line chart.

    Attributes:
        name: Name of what it shows, which is its style as well.
        path: The `d` of an SVG path.
        dots: Points `(x, y)` to mark.
        words: What it shows, for those who cannot see it.
    """

    name: str
    path: str
    dots: list[tuple[float, float]]
    words: str


@dataclass(frozen=True)
class LineChart:
    """Curves over epochs."""

    title: str
    curves: list[Curve]
    x_ticks: list[Tick]
    y_ticks: list[Tick]

    @property
    def words(self) -> str:
        """What the chart shows, for those who cannot see it."""
        return f"{self.title} by epoch. " + " ".join(
            curve.words for curve in self.curves
        )


def line_chart(
    title: str, series: Mapping[str, Sequence[float | None]], *, percent: bool = False
) -> LineChart | None:
    """Lays out one curve for each series.

    Args:
        title: What is drawn.
        series: A value for each epoch by name; None leaves a gap.
        percent: Whether the values are shares, whose axis goes from 0 to 1.

    Returns:
        The chart, or None if there is nothing to draw.
    """
    series = {
        name: values
        for name, values in series.items()
        if any(value is not None for value in values)
    }
    if not series:
        return None
    length = max(map(len, series.values()))
    highest = max(value or 0.0 for values in series.values() for value in values)
    top = 1.0 if percent else highest or 1.0
    # A single epoch stands in the middle.
    first, last = (1, length) if length > 1 else (0, 2)

    def x_of(epoch: float) -> float:
        return round(LEFT + (epoch - first) / (last - first) * _inner_width(), 1)

    def y_of(value: float) -> float:
        return round(HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM), 1)

    curves = []
    for name, values in series.items():
        points = [
            None if value is None else (x_of(epoch), y_of(value))
            for epoch, value in enumerate(values, 1)
        ]
        path, pen_up = "", True
        for point in points:
            if point is not None:
                path += f"{'M' if pen_up else 'L'}{point[0]:g} {point[1]:g}"
            pen_up = point is None
        dots = [point for point in points if point is not None]
        known = [value for value in values if value is not None]
        ends = [shown(value, percent) for value in (known[0], known[-1])]
        epochs_ = "epoch" if len(values) == 1 else "epochs"
        words = f"{name}: from {ends[0]} to {ends[1]} in {len(values)} {epochs_}."
        curves.append(
            Curve(name, path, dots if len(values) <= MAX_DOTS else dots[-1:], words)
        )
    epochs = sorted({1.0, *ticks(length, whole=True)[1:]})
    return LineChart(
        title,
        curves,
        [Tick(x_of(epoch), f"{epoch:g}") for epoch in epochs],
        [Tick(y_of(value), shown(value, percent)) for value in ticks(top, whole=False)],
    )


@dataclass(frozen=True)
class Bar:
    """A bar from `y` down to the axis."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Histogram:
    """Stacked bars over [0, 1] with thresholds.

    Attributes:
        bars: The bars by name, those of the first name at the bottom.
        thresholds: Where vertical lines stand, and what they say.
    """

    bars: dict[str, list[Bar]]
    thresholds: list[Tick]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def histogram(
    edges: Sequence[float],
    counts: Mapping[str, Sequence[int]],
    thresholds: Mapping[str, float],
) -> Histogram:
    """Lays out counts in bins of [0, 1], stacked in their order.

    Args:
        edges: Edges of the bins, ascending from 0 to 1.
        counts: Number in each bin, by name.
        thresholds: Values to mark, by name.
    """
    highest = max(map(sum, zip(*counts.values(), strict=True)))
    top = max(highest, 1)
    # Above the bars, a line of text for each threshold.
    ceiling = TOP + 14 * len(thresholds)

    def x_of(value: float) -> float:
        return round(LEFT + value * _inner_width(), 1)

    def y_of(count: float) -> float:
        return round(HEIGHT - BOTTOM - count / top * (HEIGHT - BOTTOM - ceiling), 1)

    bars: dict[str, list[Bar]] = {name: [] for name in counts}
    for position, (left, right) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        below = 0
        for name, values in counts.items():
            if values[position]:
                low, high = y_of(below), y_of(below + values[position])
                # A handful among a million is still to be seen.
                height = max(low - high, 0.75)
                width = round(x_of(right) - x_of(left) - 1.5, 1)
                bars[name].append(
                    Bar(x_of(left) + 0.75, round(low - height, 2), width, height)
                )
            below += values[position]
    return Histogram(
        bars,
        # The name of a threshold stands to its left: no line to the left of it, which
        # starts lower, runs through the name.
        [
            Tick(x_of(value), f"{name} {value:g}")
            for name, value in sorted(thresholds.items(), key=lambda item: -item[1])
        ],
        [Tick(x_of(value), f"{value:g}") for value in (0, 0.2, 0.4, 0.6, 0.8, 1)],
        [Tick(y_of(value), short(value)) for value in ticks(top, whole=True)],
    )


def ticks(top: float, *, whole: bool) -> list[float]:
    """Round numbers from 0 to about `top`, five of them or so."""
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10], integer=whole)
    return [float(tick) for tick in locator.tick_values(0, top) if tick <= top * 1.001]


def shown(value: float, percent: bool) -> str:
    """A number as an axis says it."""
    return f"{100 * value:.3g}%" if percent else f"{value:.3g}"


def short(count: float) -> str:
    """A count as an axis says it: 1200 as 1.2k."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:g}{unit}"
    return f"{count:g}"


def _inner_width() -> int:
    return WIDTH - LEFT - RIGHT
