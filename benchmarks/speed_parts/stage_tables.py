"""The tables of the trusted set, of the whole job, of reading and of start-up."""

from collections.abc import Sequence
from statistics import mean, median
from typing import Any

from speed_parts.markdown import (
    NAMES,
    at_most,
    judged,
    precision,
    ratios,
    spread,
    table,
)

Results = list[dict[str, Any]]

CLUSTERING_BARS = {"kmeans": 1.3, "dec": 5.0}
MEMORY_BAR_COUNT, MEMORY_BAR_BYTES = 1_000_000, 2.5e9
WHOLE_BAR, REACHING_BAR = 1.5, 1.0

_TRUSTED = f"""\
From probabilities and embeddings of 256 dimensions to a trusted set, nine of ten
samples confident. Reference: scikit-learn's `MiniBatchKMeans` with the best of 20 sets
of first centroids, on the confident embeddings, with all of its threads. Ours is the
same above 20,000 samples, on one thread, and below it is k-means on all samples, with
as many restarts as 50,000 samples allow. Labeling is that of images of
8 x 8 pixels by `small_cnn`, compilation included, and its reference bare forward
passes. Growth: times as long as a tenth of the samples took; bar: at most 10. Memory:
the peak of the process, input arrays included, and in parentheses without what it has
after its imports; bar for {MEMORY_BAR_COUNT:,} samples: the peak at most
{MEMORY_BAR_BYTES / 1e9:g} GB."""

_WHOLE = """\
Seconds of KD-FixMatch and of its stages as multiples of those of FixMatch with as many
steps as the inner network, building and compiling included; the median over seeds,
each of which draws labels, weights, batches and augmentation. Until FixMatch's
accuracy: when the test accuracy at the end of an epoch, for KD-FixMatch of its inner
network, is first that of FixMatch's last weights, as a multiple of FixMatch's whole
time, and in parentheses for each seed. The clock stands still while accuracies are
measured. Accuracies: of the last weights, the mean over seeds and in parentheses each
seed's."""

_READING = """\
Images per second of {images:,} JPEG files of {side} px, for `{backbone}` at
{image_size} px. Bare: Pillow in as many threads as there are cores and, for
predictions, forward passes after it; ours overlaps the two. Resident memory at the
first tenth of a prediction and at its end: {first} and {last} MiB."""

_STAGES = {
    "whole": "KD-FixMatch",
    "outer": "its outer network",
    "labeling": "its labeling",
    "clustering": "its clustering",
    "inner": "its inner network",
}
_METHODS = {
    "kdfixmatch": "KD-FixMatch",
    "short_outer": "KD-FixMatch with a quarter of the epochs for the outer network",
    "fixmatch": "FixMatch",
}
_COMMANDS = {
    "python": "`python -c pass`",
    "keras": "`import keras`",
    "package": "`import kdfixmatch_keras`",
    "help": "`kdfixmatch --help`",
}


def trusted(results: Results) -> str:
    """Time and memory by clustering and number of samples."""
    rows = []
    for result in results:
        what = str(result["what"])
        start = [NAMES.get(what, what), f"{result['count']:,}"]
        if "refused" in result:
            rows.append([*start, "refused", *[""] * 6])
            continue
        seconds = result["seconds"]
        times = ratios(seconds["ours"], seconds["reference"])
        bar = CLUSTERING_BARS.get(what)
        rows.append(
            [
                *start,
                f"{median(seconds['ours']):.1f}",
                f"{median(seconds['reference']):.1f}",
                spread(times),
                *(["", ""] if bar is None else at_most(median(times), bar)),
                _growth(result, results),
                _memory(result),
            ]
        )
    header = ["", "samples", "seconds", "reference", "times the reference", "bar", ""]
    refusals = dict.fromkeys(r["refused"] for r in results if "refused" in r)
    return "\n\n".join(
        [
            _TRUSTED,
            table([*header, "growth", "memory, GB"], rows),
            *(f"Refused: {reason}." for reason in refusals),
        ]
    )


def _memory(result: dict[str, Any]) -> str:
    """The peak of the process and what of it is its work, where it did nothing else."""
    if "memory" not in result:
        return ""
    peak = result["memory"]["peak"]
    own = peak - result["memory"]["import"]
    large = result["count"] >= MEMORY_BAR_COUNT
    judgement = judged(peak <= MEMORY_BAR_BYTES) if large else ""
    return f"{peak / 1e9:.2f} ({own / 1e9:.2f}){judgement}"


def _growth(result: dict[str, Any], results: Results) -> str:
    """How much longer ten times as many samples take, where both were measured."""
    for other in results:
        same = other["what"] == result["what"] and "seconds" in other
        if same and other["count"] * 10 == result["count"]:
            before = median(other["seconds"]["ours"])
            growth = median(result["seconds"]["ours"]) / before
            return f"{growth:.1f}{judged(growth <= 10)}"
    return ""


def whole(results: Results) -> str:
    """KD-FixMatch against FixMatch, by data set."""
    groups: dict[str, Results] = {}
    for result in results:
        title = f"{result['data']}, {result['labels']} labels{precision(result)}"
        groups.setdefault(title, []).append(result)
    blocks = [_WHOLE]
    for title, chosen in groups.items():
        header = [f"{title}, {len(chosen)} seed(s)", "", "bar", ""]
        blocks.append(table(header, _whole_rows(chosen)))
    return "\n\n".join(blocks)


def _whole_rows(chosen: Results) -> list[list[str]]:
    fixmatch = [r["fixmatch"]["seconds"]["whole"] for r in chosen]
    rows = [["FixMatch", f"1 ({median(fixmatch):.1f} s)", "", ""]]
    for stage, title in _STAGES.items():
        seconds = [r["kdfixmatch"]["seconds"][stage] for r in chosen]
        times = ratios(seconds, fixmatch)
        bar = at_most(median(times), WHOLE_BAR) if stage == "whole" else ["", ""]
        rows.append([title, spread(times), *bar])
    methods = {name: title for name, title in _METHODS.items() if name in chosen[0]}
    for method in [name for name in methods if name not in ("kdfixmatch", "fixmatch")]:
        seconds = [r[method]["seconds"]["whole"] for r in chosen]
        rows.append([methods[method], spread(ratios(seconds, fixmatch)), "", ""])
    for method, title in methods.items():
        reached = [_reached(r, method) for r in chosen]
        middle = median(reached)
        bar = at_most(middle, REACHING_BAR) if method == "kdfixmatch" else ["", ""]
        shown = f"{_time(middle)} ({', '.join(map(_time, reached))})"
        rows.append([f"{title} until FixMatch's accuracy", shown, *bar])
    accuracies = {method: [r[method]["accuracy"] for r in chosen] for method in methods}
    for method, title in methods.items():
        ours = accuracies[method]
        bar = ["", ""]
        if method == "kdfixmatch":
            lower = mean(ours) < mean(accuracies["fixmatch"])
            bar = ["not lower", "**not met**" if lower else "met"]
        each = ", ".join(f"{100 * value:.1f}" for value in ours)
        rows.append(
            [f"accuracy of {title}, %", f"{100 * mean(ours):.1f} ({each})", *bar]
        )
    return rows


def _reached(result: dict[str, Any], method: str) -> float:
    """When a method first had FixMatch's last accuracy, in FixMatch's whole time."""
    goal = result["fixmatch"]["curve"][-1][1]
    for seconds, accuracy in result[method]["curve"]:
        if accuracy >= goal:
            return float(seconds / result["fixmatch"]["seconds"]["whole"])
    return float("inf")


def _time(value: float) -> str:
    return "never" if value == float("inf") else f"{value:.2f}"


def reading(results: Results) -> str:
    """Folders and predictions against bare decoding and forward passes."""
    result = results[0]
    seconds, memory = result["seconds"], result["memory"]
    both = [
        sum(pair) for pair in zip(seconds["decoding"], seconds["forward"], strict=True)
    ]
    rows = [
        [
            title,
            f"{result['images'] / median(bare):,.0f}",
            f"{result['images'] / median(seconds[name]):,.0f}",
            spread(ratios(bare, seconds[name])),
        ]
        for name, title, bare in (
            ("opening", "opening a folder into memory", seconds["decoding"]),
            ("reading", "batches of a folder too large for it", seconds["decoding"]),
            ("predicting", "`kdfixmatch predict`", both),
        )
    ]
    about = _READING.format(**result | {"first": memory[0], "last": memory[-1]})
    return f"{about}\n\n{table(['', 'bare', 'ours', 'ours over bare'], rows)}"


def startup(results: Results) -> str:
    """Processes against one that imports Keras."""
    seconds = results[0]["seconds"]
    rows = [
        [title, f"{median(seconds[name]):.2f}", _times(seconds[name], seconds["keras"])]
        for name, title in _COMMANDS.items()
    ]
    return table(["a process that does", "seconds", "times `import keras`"], rows)


def _times(above: Sequence[float], below: Sequence[float]) -> str:
    return spread(ratios(above, below))
