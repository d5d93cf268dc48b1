"""What the template of the page of the speed benchmark, `page.md.jinja`, calls."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from pages import render, sections

from speed_parts.plan import PROFILE, WRITTEN

Result = dict[str, Any]
Results = list[Result]
Seconds = Sequence[float]
BARS: dict[str, Any] = WRITTEN["bars"]
_VERSIONS = "Python Keras TensorFlow NumPy scikit-learn Pillow".split()


def page(content: dict[str, Any], notes: str = "") -> str:
    """The page of all parts that have been measured.

    Args:
        content: What `speed.json` holds.
        notes: Text with a heading `## part` before what is said of each part.
    """
    called: list[Any] = [ratios, spread, at_least, at_most, milliseconds, rate, network]
    called += [networks, fastest, memory, growth, by_data, present, reached, time]
    called += [accuracies, not_lower, profile, sums, versions, median]
    return render(
        Path(__file__).with_name("page.md.jinja"),
        **{function.__name__: function for function in called},
        parts=content["parts"],
        said=sections(notes),
        names=WRITTEN["names"],
        bars=BARS,
        trials=WRITTEN["trials"],
    )


def versions(facts: dict[str, Any]) -> str:
    """Those of Python and of the packages."""
    known = [name for name in _VERSIONS if name.lower() in facts]
    return ", ".join(f"{name} {facts[name.lower()]}" for name in known)


def ratios(above: Seconds, below: Seconds) -> list[float]:
    """The ratio of each repeat."""
    return [a / b for a, b in zip(above, below, strict=True)]


def sums(first: Seconds, second: Seconds) -> list[float]:
    """The sum of each repeat."""
    return [a + b for a, b in zip(first, second, strict=True)]


def spread(values: Seconds) -> str:
    """The median, and the smallest and the largest."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def met(is_met: bool) -> str:
    """Whether a figure is as good as it should be."""
    return "met" if is_met else "**not met**"


def at_least(values: Seconds, bar: float) -> str:
    """The two cells of a bar that is a lower limit of the median."""
    return f"≥ {bar:g} | {met(median(values) >= bar)}"


def at_most(values: Seconds, bar: float | None) -> str:
    """The two cells of a bar that is an upper limit of the median, if there is one."""
    return f"≤ {bar:g} | {met(median(values) <= bar)}" if bar else " | "


def milliseconds(seconds: Seconds) -> str:
    """The median."""
    return f"{1000 * median(seconds):,.1f}"


def rate(images: int, seconds: Seconds) -> str:
    """Images per second."""
    return f"{images / median(seconds):,.0f}"


def network(result: Result) -> str:
    """Its name and the side of its images."""
    name = WRITTEN["names"].get(result["backbone"], result["backbone"])
    return f"{name}, {result['side']} px"


def networks(results: Results) -> str:
    """The head of a table with a column for each network."""
    columns = [f" {network(r)}, B = {r['batch_size']} |" for r in results]
    return f"|  |{''.join(columns)}\n| --- |{' ---: |' * len(columns)}"


def fastest(seconds: dict[str, Seconds]) -> str:
    """The best of the rivals."""
    rivals = [name for name in seconds if name != "ours"]
    return min(rivals, key=lambda name: median(seconds[name]))


def memory(result: Result) -> str:
    """The peak of the process and what of it is its work, where it did nothing else."""
    if "memory" not in result:
        return ""
    peak = result["memory"]["peak"]
    text = f"{peak / 1e9:.2f} ({(peak - result['memory']['import']) / 1e9:.2f})"
    is_judged = result["count"] >= BARS["memory_count"]
    return f"{text}, {met(peak <= BARS['memory'])}" if is_judged else text


def growth(result: Result, results: Results) -> str:
    """How much longer ten times as many samples take, where both were measured."""
    for other in results:
        same = other["what"] == result["what"] and "seconds" in other
        if same and other["count"] * 10 == result["count"]:
            before = median(other["seconds"]["ours"])
            times = median(result["seconds"]["ours"]) / before
            return f"{times:.1f}, {met(times <= BARS['growth'])}"
    return ""


def by_data(results: Results) -> dict[str, Results]:
    """The seeds of each data set."""
    groups: dict[str, Results] = {}
    for result in results:
        title = f"{result['data']}, {result['labels']} labels"
        groups.setdefault(title, []).append(result)
    return groups


def present(result: Result) -> dict[str, str]:
    """The methods that were trained, and how they are called."""
    titles = WRITTEN["methods"].items()
    return {method: title for method, title in titles if method in result}


def reached(chosen: Results, method: str) -> list[float]:
    """When it first had FixMatch's last accuracy, in FixMatch's whole time."""
    found = []
    for result in chosen:
        goal = result["fixmatch"]["curve"][-1][1]
        whole = result["fixmatch"]["seconds"]["whole"]
        times = [s / whole for s, value in result[method]["curve"] if value >= goal]
        found.append(min(times, default=float("inf")))
    return found


def time(value: float) -> str:
    """A multiple of FixMatch's time."""
    return "never" if value == float("inf") else f"{value:.2f}"


def accuracies(chosen: Results, method: str) -> str:
    """The mean in %, and that of each seed."""
    values = [100 * result[method]["accuracy"] for result in chosen]
    return f"{mean(values):.1f} ({', '.join(f'{value:.1f}' for value in values)})"


def not_lower(chosen: Results) -> str:
    """The two cells of the bar of KD-FixMatch's accuracy."""
    ours, fixmatch = (
        mean(result[method]["accuracy"] for result in chosen)
        for method in ("kdfixmatch", "fixmatch")
    )
    return f"not lower | {met(ours >= fixmatch)}"


def profile(results: Results) -> list[tuple[str, list[str]]]:
    """What each part adds to a step, in a column for each network."""
    measured = [name for name in PROFILE if name in results[0]["seconds"]]
    columns = []
    for result in results:
        seconds = result["seconds"]
        times = [seconds[name] for name in (*measured, "fit")]
        below = [[0.0] * len(times[0]), *times]
        added = [
            median(a - b for a, b in zip(*pair, strict=True))
            for pair in zip(times, below, strict=False)
        ]
        drawn = f"{1000 * median(seconds['batches']):.2f}"
        whole = milliseconds(seconds["fit"])
        columns.append([*(f"{1000 * value:+.1f}" for value in added), whole, drawn])
    titles = [*(PROFILE[name] for name in measured), "source, batches, callbacks"]
    titles += ["`fit`, a step", "drawing a batch, by itself"]
    rows = zip(*columns, strict=True)
    return [(title, list(row)) for title, row in zip(titles, rows, strict=True)]
