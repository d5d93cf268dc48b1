"""The tables of a step, of its augmentation and of its profile."""

from statistics import median
from typing import Any

from speed_parts.markdown import (
    NAMES,
    at_least,
    milliseconds,
    network,
    precision,
    ratios,
    spread,
    table,
)
from speed_parts.plan import PROFILE

Results = list[dict[str, Any]]

STEP_BARS, STEP_BAR = {"small_cnn": 0.85}, 0.95
AUGMENTATION_BARS = {32: 3.0, 96: 3.0, 224: 1.0}

_STEP = """\
Images per second of `fit` (source, batches, augmentation, step, metrics, callbacks and
progress bar) over those of the bare networks: the student forward and backward on B +
μB images with cross-entropy as its only loss, and the teacher forward on μB, on
tensors in memory. The optimizer and the moving average are no part of the bare step. μ
= 7; each of the B + μB images counts once."""

_AUGMENTATION = """\
Images per second of two operations for each image and Cutout, on one batch in memory.
KerasCV draws for each image from the same 14 operations. `keras.layers.RandAugment`
draws from others, for all images at once, and its figure is without Cutout. Pillow has
the same 14 operations and Cutout, in as many processes as there are cores, with the
pixels in shared memory."""

_PROFILE = """\
Milliseconds that each part adds to a step which has all of the parts above it: the
median of the differences of each repeat. A part without a line is in the one below it.
Noise can be larger than a small part, which then looks free or less. Drawing a batch
overlaps with the step before."""

_TRIALS = """\
Seconds of what could be done over those of what is done: above 1, it is slower. Batch
norms that are folded into convolutions are timed as if they cost nothing, without
folding them anew after each step. Layouts: one convolution of 32 channels, forward and
backward. Not measured: what TensorFlow cannot compute on that processor."""

_TRIED = {
    "mixed_float16": ("student", "student's pass in mixed_float16"),
    "mixed_bfloat16": ("student", "student's pass in mixed_bfloat16"),
    "xla": ("student", "student's pass through XLA"),
    "folded": ("teacher", "teacher's pass with folded batch norms"),
    "together": ("single", "four steps in one execution"),
    "channels_first": ("channels_last", "channels before pixels"),
}

_PARTS_OF_A_STEP = {
    "student": "student forward and backward",
    "bare": "teacher forward",
    "weak": "weak augmentation",
    "strong": "strong augmentation",
    "losses": "targets and losses",
    "optimizer": "optimizer",
    "average": "moving average",
    "metrics": "metrics",
    "function": "Keras's function and iterator",
    "fit": "source, batches, callbacks",
    "whole": "`fit`, a step",
    "drawn": "drawing a batch, by itself",
}


def step(results: Results) -> str:
    """`fit` against the bare networks."""
    rows = []
    for result in results:
        seconds = result["seconds"]
        shares = ratios(seconds["bare"], seconds["fit"])
        images = result["batch_size"] * (1 + result["unlabeled_ratio"])
        bar = STEP_BARS.get(result["backbone"], STEP_BAR)
        rows.append(
            [
                network(result),
                str(result["batch_size"]),
                milliseconds(seconds["bare"]),
                milliseconds(seconds["fit"]),
                f"{images / median(seconds['fit']):,.0f}",
                spread(shares),
                *at_least(median(shares), bar),
            ]
        )
    header = ["network", "B", "bare, ms a step", "`fit`, ms a step", "`fit`, images/s"]
    return f"{_STEP}\n\n{table([*header, 'efficiency', 'bar', ''], rows)}"


def augmentation(results: Results) -> str:
    """RandAugment and Cutout against the best of the rivals."""
    rivals = ("keras_cv", "keras_layer", "pillow")
    rows = []
    for result in results:
        seconds = result["seconds"]
        speeds = {
            name: result["batch_size"] / median(times)
            for name, times in seconds.items()
        }
        best = max(rivals, key=lambda rival: speeds[rival])
        gains = ratios(seconds[best], seconds["ours"])
        rows.append(
            [
                f"{result['side']} px{precision(result)}",
                *(f"{speeds[name]:,.0f}" for name in ("ours", *rivals)),
                NAMES[best],
                spread(gains),
                *at_least(median(gains), AUGMENTATION_BARS[result["side"]]),
            ]
        )
    header = ["", "ours", *(NAMES[rival] for rival in rivals), "best of them"]
    return (
        f"{_AUGMENTATION}\n\n{table([*header, 'ours over the best', 'bar', ''], rows)}"
    )


def profile(results: Results) -> str:
    """What each part adds to a step."""
    columns = []
    for result in results:
        seconds = result["seconds"]
        below = [0.0] * len(seconds["fit"])
        column = {}
        for name in (*PROFILE, "fit"):
            if name not in seconds:
                continue
            added = [a - b for a, b in zip(seconds[name], below, strict=True)]
            column[name] = f"{1000 * median(added):+.1f}"
            below = seconds[name]
        column["whole"] = milliseconds(seconds["fit"])
        column["drawn"] = f"{1000 * median(seconds['batches']):.2f}"
        columns.append(column)
    rows = [
        [title, *(column[name] for column in columns)]
        for name, title in _PARTS_OF_A_STEP.items()
        if name in columns[0]
    ]
    header = ["", *(f"{network(r)}, B = {r['batch_size']}" for r in results)]
    return f"{_PROFILE}\n\n{table(header, rows)}"


def trials(results: Results) -> str:
    """What could be done over what is done."""
    rows = [
        [
            title,
            *(
                spread(ratios(result["seconds"][name], result["seconds"][base]))
                if name in result["seconds"]
                else "not measured"
                for result in results
            ),
        ]
        for name, (base, title) in _TRIED.items()
    ]
    header = ["", *(f"{network(r)}, B = {r['batch_size']}" for r in results)]
    return f"{_TRIALS}\n\n{table(header, rows)}"
