"""What each part of the speed benchmark measures, as jobs, and the processes they have.

It imports nothing heavy: the process that starts the others stays small.
"""

import argparse
from typing import Any

Job = dict[str, Any]
Task = tuple[str, Job]

PARTS = {
    "step": "step",
    "augmentation": "augmentation",
    "trusted": "trusted",
    "whole": "whole",
    "reading": "reading",
    "startup": "startup",
    "profile": "step",
    "trials": "trials",
}
"""The parts, and the module that measures each."""

NETWORKS = (
    "small_cnn:32",
    "wide_resnet_28_2:32",
    "efficientnetb0:32",
    "efficientnetb0:96",
)
BATCH_SIZE, UNLABELED_RATIO = 64, 7
# Seconds that one measurement of a step shall last, and those of a step at B = 64 on
# two cores, from which follows how many steps that are.
_EPOCH_SECONDS = 5.0
_STEP_SECONDS = {
    "small_cnn:32": 0.3,
    "wide_resnet_28_2:32": 4.0,
    "efficientnetb0:32": 1.5,
    "efficientnetb0:96": 6.0,
}
# So small that the big networks fit into a quick look; shares of what does not depend
# on the batch are then too large. EfficientNet-B0 has one side: compiling it takes
# longer than all of its steps.
_QUICK_BATCH_SIZES = {
    "small_cnn:32": 32,
    "wide_resnet_28_2:32": 4,
    "efficientnetb0:32": 8,
}
_QUICK_PROFILE_BATCH_SIZE = 8
PROFILE = (
    "student",
    "bare",
    "weak",
    "strong",
    "losses",
    "optimizer",
    "average",
    "metrics",
    "function",
)
"""The levels of a profiled step, each with one part more than the one before."""

QUICK_PROFILE = ("student", "bare", "strong", "average", "function")
"""Those of a quick look."""

WHOLE = ("fixmatch", "kdfixmatch", "short_outer")
"""The methods of the whole job: KD-FixMatch also with an outer network that is trained
for a quarter of the epochs."""

LABELS = {"digits": 20, "cifar10": 250}


def jobs(part: str, options: argparse.Namespace) -> list[Job]:
    """The jobs of a part.

    Args:
        part: One of `PARTS`.
        options: `quick`, `repeats`, `networks`, `precision` and `data_dir` of the
            command line.
    """
    found: list[Job] = _JOBS[part](options)
    return found


def processes(options: argparse.Namespace) -> list[list[Task]]:
    """The tasks of each process, for the parts that are asked for.

    A quick look has one process alone, as each has to import TensorFlow.
    """
    tasks = [(part, job) for part in options.parts for job in jobs(part, options)]
    return [tasks] if options.quick and tasks else [[task] for task in tasks]


def _repeats(options: argparse.Namespace, full: int, quick: int) -> int:
    return options.repeats or (quick if options.quick else full)


def _step(options: argparse.Namespace) -> list[Job]:
    return [
        _network_job(options, network, precision, ["bare"], _repeats(options, 7, 2))
        for precision in options.precision
        for network in options.networks
        or (_QUICK_BATCH_SIZES if options.quick else NETWORKS)
    ]


def _profile(options: argparse.Namespace) -> list[Job]:
    networks = NETWORKS[:1] if options.quick else NETWORKS
    levels = QUICK_PROFILE if options.quick else PROFILE
    # There are so many that their steps would take longer than the rest.
    repeats = _repeats(options, 3, 2)
    found = [
        _network_job(options, network, precision, list(levels), repeats)
        for precision in options.precision
        for network in options.networks or networks
    ]
    if options.quick:
        for job in found:
            job["batch_size"] = min(job["batch_size"], _QUICK_PROFILE_BATCH_SIZE)
    return found


def _trials(options: argparse.Namespace) -> list[Job]:
    networks = NETWORKS[:1] if options.quick else NETWORKS[:2]
    # A share of the batch, as some of what is tried takes ten times as long.
    return [
        {
            "backbone": backbone,
            "side": int(side),
            "precision": "float32",
            "batch_size": 8 if options.quick else 16,
            "unlabeled_ratio": UNLABELED_RATIO,
            "repeats": _repeats(options, 3, 1),
        }
        for backbone, side in (
            network.split(":") for network in options.networks or networks
        )
    ]


def _network_job(
    options: argparse.Namespace,
    network: str,
    precision: str,
    levels: list[str],
    repeats: int,
) -> Job:
    backbone, side = network.split(":")
    batch_size = BATCH_SIZE
    if options.quick:
        batch_size = _QUICK_BATCH_SIZES.get(network, 4)
        steps = 4 if backbone == "small_cnn" else 2
    else:
        steps = round(_EPOCH_SECONDS / _STEP_SECONDS.get(network, _EPOCH_SECONDS))
    return {
        "backbone": backbone,
        "side": int(side),
        "precision": precision,
        "batch_size": batch_size,
        "unlabeled_ratio": UNLABELED_RATIO,
        # A first batch that nothing waits for is a part of each epoch.
        "steps": options.steps or max(2, steps),
        "repeats": repeats,
        "levels": levels,
    }


def _augmentation(options: argparse.Namespace) -> list[Job]:
    batch_sizes = {32: 448, 96: 448, 224: 112}
    if options.quick:
        batch_sizes = {32: 448, 96: 112, 224: 28}
    return [
        {
            "side": side,
            "batch_size": batch_size,
            "precision": precision,
            "repeats": _repeats(options, 7, 3),
            "least": 0.1 if options.quick else 1.0,
        }
        for precision in options.precision
        for side, batch_size in batch_sizes.items()
    ]


def _trusted(options: argparse.Namespace) -> list[Job]:
    full, some, few = (10_000, 100_000, 1_000_000), (10_000, 100_000), (10_000,)
    if options.quick:
        counts = {"labeling": few, "kmeans": some, "dec": (3_000,), "spectral": few}
    else:
        counts = {"labeling": full, "kmeans": full, "dec": full, "spectral": some}
    return [
        {
            "what": what,
            "count": count,
            # The peak of memory of a process that does more would not be this one's.
            "alone": not options.quick,
            # A million takes so long that noise is a small part of it.
            "repeats": 1 if count > 100_000 else _repeats(options, 3, 1),
        }
        for what, sizes in counts.items()
        for count in sizes
    ]


def _whole(options: argparse.Namespace) -> list[Job]:
    sets = {"digits": None}
    if options.data_dir and not options.quick:
        sets["cifar10"] = options.data_dir
    seeds = _repeats(options, 3, 1)
    return [
        {
            "data": data,
            "data_dir": data_dir,
            "labels": LABELS[data],
            "seed": seed,
            "precision": precision,
            "methods": WHOLE[:2] if options.quick else WHOLE,
            "epochs": 2 if options.quick else None,
            "steps_per_epoch": 15 if options.quick else None,
        }
        for precision in options.precision
        for data, data_dir in sets.items()
        for seed in range(seeds)
    ]


def _reading(options: argparse.Namespace) -> list[Job]:
    return [
        {
            "images": 1_000 if options.quick else 20_000,
            "side": 96,
            "image_size": 32,
            "backbone": "small_cnn",
            "repeats": _repeats(options, 5, 3),
        }
    ]


def _startup(options: argparse.Namespace) -> list[Job]:
    return [{"repeats": _repeats(options, 7, 1)}]


_JOBS: dict[str, Any] = {
    "step": _step,
    "augmentation": _augmentation,
    "trusted": _trusted,
    "whole": _whole,
    "reading": _reading,
    "startup": _startup,
    "profile": _profile,
    "trials": _trials,
}
