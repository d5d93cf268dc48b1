"""Whether a training that is killed again and again ends as if it had not been.

python benchmarks/kill_resume.py --kills 50

trains KD-FixMatch in a process of its own, kills it (SIGKILL) at random moments of its
three steps, starts the same command again until it ends, and compares weights of both
networks, optimizers, trusted set and history with those of a training that nobody
killed, bit by bit. Where the training ends before there were enough kills, the next
begins with another seed. About ten seconds a kill on two cores, most of them to import
TensorFlow.

With --each-step, a single training is killed once in each of its steps.
"""

import argparse
import io
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

EPOCHS, OUTER_EPOCHS, STEPS = 10, 6, 6
# More batches in one life of a process, and it would end after few kills.
MAX_BATCHES = 10
SELECTION = "the trusted set"
STEPS_OF_TRAINING = ("the outer network", SELECTION, "the inner network")
# The selection is passed once, and few random moments hit it.
KILLS_IN_SELECTION = 4
COLORS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])


def main() -> int:
    """Kills until it was enough, and says how often and where."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--each-step", action="store_true", help="and no more")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--train", nargs=3, metavar=("RUN", "RESULT", "SEED"))
    options = parser.parse_args()
    if options.train:
        run, result, seed = options.train
        train(Path(run), Path(result), int(seed))
        return 0
    moments = random.Random(options.seed)
    kills: Counter[str] = Counter()
    trainings = differing = 0
    enough = len(STEPS_OF_TRAINING) if options.each_step else options.kills
    while kills.total() < enough:
        with tempfile.TemporaryDirectory() as folder:
            differing += compare(
                Path(folder), trainings, moments, kills, options.each_step
            )
        trainings += 1
    stages = ", ".join(f"{count} in {stage}" for stage, count in kills.items())
    print(
        f"{kills.total()} kills ({stages}) of {trainings} trainings; {differing} ended "
        "unlike the training that was not killed"
    )
    return min(differing, 1)


def compare(
    folder: Path,
    seed: int,
    moments: random.Random,
    kills: Counter[str],
    each_step_once: bool,
) -> int:
    """Trains once without and once with kills; returns 1 if the results differ."""
    whole, killed = folder / "whole.npz", folder / "killed.npz"
    undisturbed = start(folder / "whole", whole, seed)
    began = time.monotonic()
    here: Counter[str] = Counter()
    while not killed.exists():
        if each_step_once:
            stages = [stage for stage in STEPS_OF_TRAINING if not here[stage]][:1]
        else:
            stages = [
                stage
                for stage in STEPS_OF_TRAINING
                if stage != SELECTION or here[stage] < KILLS_IN_SELECTION
            ]
        stage = watch(start(folder / "killed", killed, seed), moments, stages)
        if stage is not None:
            here[stage] += 1
            kills[stage] += 1
            print(f"kill {kills.total()} in {stage}", flush=True)
    _, errors = undisturbed.communicate()
    if not whole.exists():
        raise RuntimeError(errors)
    same = equal(whole, killed)
    print(
        f"training {seed}: {'same bits' if same else 'DIFFERENT'} after "
        f"{time.monotonic() - began:.0f} s",
        flush=True,
    )
    return 0 if same else 1


def start(run: Path, result: Path, seed: int) -> subprocess.Popen[str]:
    """Starts a training that goes on in the folder `run`."""
    arguments = [str(run), str(result), str(seed)]
    command = [sys.executable, __file__, "--train", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def watch(
    process: subprocess.Popen[str], moments: random.Random, stages: Sequence[str]
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


def train(run: Path, result: Path, seed: int) -> None:
    """Trains to the end and writes all that must be equal."""
    import keras

    from kdfixmatch_keras import KDFixMatch

    def tell(stage: str) -> keras.callbacks.Callback:
        def print_batch(batch: int, logs: Any) -> None:
            print("batch", stage, flush=True)

        return keras.callbacks.LambdaCallback(on_train_batch_end=print_batch)

    model = KDFixMatch(
        backbone="small_cnn",
        weights=None,
        embedding_dim=16,
        tau_select=0.4,
        distribution_alignment=True,
        optimizer="adam",
        batch_size=8,
        unlabeled_ratio=3,
        seed=seed,
    )
    model.fit(
        squares(12, 0),
        squares(300, 1)[0],
        validation_data=squares(60, 2),
        epochs=EPOCHS,
        outer_epochs=OUTER_EPOCHS,
        steps_per_epoch=STEPS,
        callbacks={stage: [tell(stage)] for stage in ("outer", "inner")},
        verbose=2,
        run_dir=run,
    )
    arrays = {
        f"{name}_{number}": keras.ops.convert_to_numpy(variable)
        for name, network in (("outer", model.outer), ("inner", model.inner))
        for number, variable in enumerate(
            [*network.variables, *network.optimizer.variables]
        )
    }
    trusted = model.trusted_set
    with open(result.with_suffix(".part"), "wb") as file:
        np.savez(
            file,
            history=json.dumps(model.history),
            labels=trusted.dense_labels(),
            confidence=trusted.confidence,
            cluster=trusted.cluster,
            **arrays,
        )
    result.with_suffix(".part").rename(result)


def squares(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy squares in three colours, and their classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = COLORS[labels][:, None, None] + rng.normal(0, 60, (count, 8, 8, 3))
    return images.clip(0, 255).astype(np.uint8), labels


def equal(first: Path, second: Path) -> bool:
    """Whether two results are the same, bit by bit."""
    with np.load(first) as one, np.load(second) as other:
        return one.files == other.files and all(
            np.array_equal(one[name], other[name]) for name in one.files
        )


if __name__ == "__main__":
    sys.exit(main())
