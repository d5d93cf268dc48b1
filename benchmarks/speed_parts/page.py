"""What the template of the page of the speed benchmark, `page.md.jinja`, calls."""

import tomllib
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy import mean, median
from pages import render, sections

WRITTEN = tomllib.loads(Path(__file__).with_name("speed.toml").read_text())
# The levels of a profiled step, and what each has that the one before has not.
PROFILE: dict[str, str] = WRITTEN["profile"]
BARS: dict[str, Any] = WRITTEN["bars"]

Result = dict[str, Any]
Results = list[Result]
Seconds = Sequence[float]


def page(content: dict[str, Any], notes: str = "") -> str:
    """The page of `speed.json`, with what notes have below a heading `## part`."""
    called: list[Any] = [spread, at_least, at_most, milliseconds, rate, network]
    called += [networks, fastest, memory, growth, by_data, reached, time, accuracies]
    called += [not_lower, profile, versions, median]
    return render(
        Path(__file__).with_name("page.md.jinja"),
        **{function.__name__: function for function in called},
        **{name: WRITTEN[name] for name in ("names", "bars", "trials", "methods")},
        ratios=np.divide,
        sums=np.add,
        parts=content["parts"],
        said=sections(notes),
    )


def versions(facts: dict[str, Any]) -> str:
    """Those of Python and of the packages."""
    names = "Python Keras TensorFlow JAX Torch NumPy scikit-learn Pillow".split()
    known = [name for name in names if name.lower() in facts]
    return ", ".join(f"{name} {facts[name.lower()]}" for name in known)


def spread(values: Seconds) -> str:
    """The median, and the smallest and the largest."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def met(is_met: Any) -> str:
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
    """The peak of the process and what of it is its work."""
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


def by_data(results: Results) -> list[tuple[str, Results]]:
    """The seeds of each data set."""
    groups = groupby(results, lambda r: f"{r['data']}, {r['labels']} labels")
    return [(title, list(found)) for title, found in groups]


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
        mean([result[method]["accuracy"] for result in chosen])
        for method in ("kdfixmatch", "fixmatch")
    )
    return f"not lower | {met(ours >= fixmatch)}"


def profile(results: Results) -> list[tuple[str, tuple[str, ...]]]:
    """What each part adds to a step, in a column for each network."""
    measured = [name for name in PROFILE if name in results[0]["seconds"]]
    titles = [*(PROFILE[name] for name in measured), "source, batches, callbacks"]
    titles += ["`fit`, a step", "drawing a batch, by itself"]
    columns = []
    for result in results:
        seconds = {name: 1000 * np.array(x) for name, x in result["seconds"].items()}
        times = [seconds[name] for name in (*measured, "fit")]
        added = median(np.diff(times, axis=0, prepend=0), axis=1)
        whole, drawn = median(seconds["fit"]), median(seconds["batches"])
        columns.append([*(f"{x:+.1f}" for x in added), f"{whole:,.1f}", f"{drawn:.2f}"])
    return list(zip(titles, zip(*columns, strict=True), strict=True))
