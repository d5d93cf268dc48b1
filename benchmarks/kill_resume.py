"""Whether a training that is killed again and again ends as if it had not been.

python benchmarks/kill_resume.py --kills 50

trains KD-FixMatch in a process of its own, kills it (SIGKILL) at random moments of its
three steps, starts it again until it ends, and compares it with one that nobody killed,
bit by bit. Where one ends before there were enough kills, the next begins with another
seed. About ten seconds a kill on two cores.
"""

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import keras
import numpy as np
import tiny
import workers

from kdfixmatch_keras.training.plan import Plan

Bits = dict[str, Any]
# More batches in one life of a process, and it would end after few kills.
MAX_BATCHES = 10
SELECTION = "the trusted set"
STEPS_OF_TRAINING = ("the outer network", SELECTION, "the inner network")
# How often a training is killed in each; the selection would stay out of reach else.
ONCE = dict.fromkeys(STEPS_OF_TRAINING, 1)
OFTEN = {**dict.fromkeys(STEPS_OF_TRAINING, sys.maxsize), SELECTION: 4}


def main() -> int:
    """Kills until it was enough, and says how often and where."""
    options = parse()
    moments = Random(options.seed)
    most, enough = (ONCE, 3) if options.each_step else (OFTEN, options.kills)
    kills: Counter[str] = Counter()
    trainings = differing = 0
    while kills.total() < enough:
        with tempfile.TemporaryDirectory() as folder:
            found, same = compare(Path(folder), trainings, moments, most)
        print(f"training {trainings}: {'same bits' if same else 'DIFFERENT'}")
        trainings += 1
        differing += not same
        kills += found
    stages = ", ".join(f"{count} in {stage}" for stage, count in kills.items())
    print(f"{kills.total()} kills ({stages}) of {trainings} trainings;", end=" ")
    print(f"{differing} ended unlike the training that was not killed")
    return min(differing, 1)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line, that of this process unless another is given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--each-step", action="store_true", help="and no more")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    return parser.parse_args(arguments)


def compare(
    folder: Path, seed: int, moments: Random, most: dict[str, int]
) -> tuple[Counter[str], bool]:
    """Trains without and with kills; says where there were some, and if both agree."""
    undisturbed = start(folder / "whole", seed)
    kills: Counter[str] = Counter()
    result = None
    while result is None:
        stages = [stage for stage in STEPS_OF_TRAINING if kills[stage] < most[stage]]
        stage, result = end(*start(folder / "killed", seed), moments, stages)
        if result is None:
            kills[stage] += 1
            print(f"training {seed}: a kill in {stage}", flush=True)
    whole = end(*undisturbed, moments, [])[1] or {}
    same = whole.keys() == result.keys()
    return kills, same and all(np.array_equal(whole[n], result[n]) for n in result)


def start(run_dir: Path, seed: int) -> tuple[SpawnProcess, Connection]:
    """Starts a training that goes on in a folder, and gives what it tells."""
    told, telling = workers.CONTEXT.Pipe(duplex=False)
    process = workers.CONTEXT.Process(target=train, args=(run_dir, seed, telling))
    process.start()
    # The training has the only one left: when it ends, there is nothing more to hear.
    telling.close()
    return process, told


def end(
    process: SpawnProcess, told: Connection, moments: Random, stages: Sequence[str]
) -> tuple[str, Bits | None]:
    """Waits for a training, and kills it at a random moment of one of some stages.

    Returns:
        What it did at last, and what it ended with, or None.
    """
    left = moments.randrange(MAX_BATCHES)
    stage, result = "the start", None
    with contextlib.suppress(EOFError, OSError):
        while True:
            heard = told.recv()
            if isinstance(heard, dict):
                result = heard
                continue
            stage = heard
            left -= stage in stages
            if stage in stages and (left < 0 or stage == SELECTION):
                # Also in the middle of a batch, or while a checkpoint is written; and
                # in the clustering, which takes a second or two.
                time.sleep(moments.uniform(0, 1.0 if stage == SELECTION else 0.1))
                process.kill()
                # It may have come further before it was killed.
                stages = ()
    process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"A training failed: exit status {process.exitcode}")
    return stage, result


def train(run_dir: Path, seed: int, telling: Connection) -> None:
    """Trains to the end, and tells each step and then all that must be equal."""
    workers.end_with_parent()

    def tell(stage: str) -> keras.callbacks.Callback:
        return keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: telling.send(f"the {stage} network")
        )

    def say(plan: Plan, line: str) -> None:
        if line.startswith("Trusted set"):
            telling.send(SELECTION)

    callbacks = {stage: [tell(stage)] for stage in ("outer", "inner")}
    lengths = {"epochs": 10, "outer_epochs": 6, "steps_per_epoch": 6}
    with mock.patch.object(Plan, "say", say):
        model = tiny.train(run_dir, callbacks, seed, **lengths)
    telling.send(tiny.bits(model))


if __name__ == "__main__":
    sys.exit(main())
