"""Whether a training that is killed again and again ends as if it had not been.

python benchmarks/kill_resume.py --kills 50

trains KD-FixMatch in a process of its own, kills it (SIGKILL) at random moments of its
three steps, starts the same command again until it ends, and compares it with one that
nobody killed, bit by bit. Where one ends before there were enough kills, the next
begins with another seed. About ten seconds a kill on two cores.
"""

import argparse
import io
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import workers

# More batches in one life of a process, and it would end after few kills.
MAX_BATCHES = 10
SELECTION = "the trusted set"
STEPS_OF_TRAINING = ("the outer network", SELECTION, "the inner network")
# The selection is passed once, and few random moments hit it.
KILLS_IN_SELECTION = 4


def main() -> int:
    """Kills until it was enough, and says how often and where."""
    if (task := workers.task()) is not None:
        return train(**task)
    options = parse()
    moments = Random(options.seed)
    kills: Counter[str] = Counter()
    trainings = differing = 0
    while kills.total() < (3 if options.each_step else options.kills):
        with tempfile.TemporaryDirectory() as folder:
            found, same = compare(Path(folder), trainings, moments, options.each_step)
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
    folder: Path, seed: int, moments: Random, each_step_once: bool
) -> tuple[Counter[str], bool]:
    """Trains once without and once with kills.

    Returns:
        How often it was killed in which step, and whether the results are the same.
    """
    whole, killed = folder / "whole.npz", folder / "killed.npz"
    undisturbed = start(folder, "whole", seed)
    kills: Counter[str] = Counter()
    while not killed.exists():
        if each_step_once:
            stages = [stage for stage in STEPS_OF_TRAINING if not kills[stage]][:1]
        else:
            is_enough = kills[SELECTION] >= KILLS_IN_SELECTION
            stages = [s for s in STEPS_OF_TRAINING if s != SELECTION or not is_enough]
        stage = watch(start(folder, "killed", seed), moments, stages)
        if stage is not None:
            kills[stage] += 1
            print(f"training {seed}: a kill in {stage}", flush=True)
    _, errors = undisturbed.communicate()
    if not whole.exists():
        raise RuntimeError(errors)
    same = equal(whole, killed)
    print(f"training {seed}: {'same bits' if same else 'DIFFERENT'}", flush=True)
    return kills, same


def start(folder: Path, name: str, seed: int) -> subprocess.Popen[str]:
    """Starts a training that goes on in a folder, and ends with a file beside it."""
    task = {"run": f"{folder / name}", "result": f"{folder / name}.npz", "seed": seed}
    command, pipe = workers.command(__file__, task), subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def watch(
    process: subprocess.Popen[str], moments: Random, stages: Sequence[str]
) -> str | None:
    """Kills a process at a random moment of one of some stages.

    Returns:
        What it did then, or None if it ended before.
    """
    left = moments.randrange(MAX_BATCHES)
    stage = "the start"
    lines = process.stdout or io.StringIO()
    for line in lines:
        stage = told(line) or stage
        left -= line.startswith("batch") and stage in stages
        if stage in stages and (left < 0 or stage == SELECTION):
            # Also in the middle of a batch, or while a checkpoint is written; and in
            # the clustering, which takes a second or two.
            time.sleep(moments.uniform(0, 1.0 if stage == SELECTION else 0.1))
            process.kill()
            break
    # It may have come further before it was killed.
    for line in lines:
        stage = told(line) or stage
    _, errors = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"A training that went on failed: {errors}")
    return None if process.returncode == 0 else stage


def told(line: str) -> str | None:
    """What a process does that prints a line, None if the line does not tell."""
    if line.startswith("Trusted set"):
        return SELECTION
    return f"the {line.split()[1]} network" if line.startswith("batch") else None


def train(run: str, result: str, seed: int) -> int:
    """Trains to the end and writes all that must be equal."""
    import keras
    import tiny

    def tell(stage: str) -> keras.callbacks.Callback:
        return keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: print("batch", stage, flush=True)
        )

    callbacks = {stage: [tell(stage)] for stage in ("outer", "inner")}
    lengths = {"epochs": 10, "outer_epochs": 6, "steps_per_epoch": 6}
    model = tiny.train(Path(run), callbacks, seed, **lengths)
    unfinished = f"{result}.unfinished.npz"
    np.savez(unfinished, **tiny.bits(model))
    Path(unfinished).rename(result)
    return 0


def equal(first: Path, second: Path) -> bool:
    """Whether two results are the same, bit by bit."""
    with np.load(first) as one, np.load(second) as other:
        return one.files == other.files and all(
            np.array_equal(one[name], other[name]) for name in one.files
        )


if __name__ == "__main__":
    sys.exit(main())
