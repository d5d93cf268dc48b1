"""What each part of the speed benchmark measures, and the processes for it.

It imports nothing heavy: the process that starts the others stays small.
"""

import argparse
import tomllib
from pathlib import Path
from typing import Any

Job = dict[str, Any]
Task = tuple[str, Job]

WRITTEN = tomllib.loads(Path(__file__).with_name("speed.toml").read_text())
PARTS: dict[str, str] = WRITTEN["parts"]
"""The parts, and the module that measures each."""

PROFILE: dict[str, str] = WRITTEN["profile"]
"""The levels of a profiled step, and what each has that the one before has not."""


def jobs(part: str, options: argparse.Namespace) -> list[Job]:
    """The jobs of a part.

    Args:
        part: One of `PARTS`.
        options: `quick`, `repeats`, `networks` and `data_dir` of the command line.
    """
    found: list[Job] = []
    for job in WRITTEN["quick" if options.quick else "full"][part]:
        if "batch_size" in job and "backbone" in job:
            if options.networks and _name(job) not in options.networks:
                continue
            job = {"levels": list(PROFILE), "unlabeled_ratio": 7, **job}
        repeats = options.repeats or job["repeats"]
        if part == "whole":
            found += _seeds(job, repeats, options.data_dir)
        else:
            # What is measured once takes too long for more.
            found.append({**job, "repeats": min(repeats, job.get("most", repeats))})
    return found


def _name(job: Job) -> str:
    return f"{job['backbone']}:{job['side']}"


NETWORKS = [_name(job) for job in WRITTEN["full"]["step"]]


def _seeds(job: Job, seeds: int, data_dir: str | None) -> list[Job]:
    """A job for each seed, if there are images for it."""
    if job["data"] == "digits":
        data_dir = None
    elif data_dir is None:
        return []
    shared = {name: x for name, x in job.items() if name != "repeats"}
    return [{**shared, "data_dir": data_dir, "seed": seed} for seed in range(seeds)]


def processes(options: argparse.Namespace) -> list[list[Task]]:
    """The tasks of each process, for the parts that are asked for.

    A quick look has one process alone, as each has to import TensorFlow.
    """
    tasks = [(part, job) for part in options.parts for job in jobs(part, options)]
    return [tasks] if options.quick and tasks else [[task] for task in tasks]
