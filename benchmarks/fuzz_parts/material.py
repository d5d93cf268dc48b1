"""Tiny trainings, whose folders are damaged."""

import dataclasses
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras import KDFixMatch, TrustedSet
from kdfixmatch_keras.report.run_folder import RunFolder, to_json
from kdfixmatch_keras.storage.integrity import sealed, unsealed
from kdfixmatch_keras.training.run_state import RunState

EPOCHS, OUTER_EPOCHS, STEPS = 3, 2, 1
COLORS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])

# What `make` writes.
RUN, OTHER_RUN = "run", "other run"
ARCHIVE, OTHER_ARCHIVE = "model.zip", "other.zip"
STATE, OTHER_STATE = "state", "other state"
RESULT = "result.npz"


def squares(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy squares in three colours, uint8 (n, 8, 8, 3), and their classes."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = COLORS[labels][:, None, None] + generator.normal(0, 25, (count, 8, 8, 3))
    return images.clip(0, 255).astype(np.uint8), labels


def new_model(seed: int = 0) -> KDFixMatch:
    """A small model, not yet trained."""
    return KDFixMatch(
        backbone="small_cnn",
        weights=None,
        embedding_dim=4,
        clustering="kmeans",
        tau_select=0.34,
        optimizer="adam",
        batch_size=3,
        unlabeled_ratio=2,
        seed=seed,
    )


def train(model: KDFixMatch, run_dir: Path | None = None, **options: Any) -> KDFixMatch:
    """Trains for a few steps."""
    model.fit(
        squares(6, 0),
        squares(24, 1)[0],
        epochs=EPOCHS,
        outer_epochs=OUTER_EPOCHS,
        steps_per_epoch=STEPS,
        run_dir=run_dir,
        verbose=0,
        **options,
    )
    return model


def bits(model: KDFixMatch) -> dict[str, Any]:
    """All that two trainings with the same bits have in common."""
    found = {
        f"{name} {number}": keras.ops.convert_to_numpy(variable)
        for name in ("outer", "inner")
        for number, variable in enumerate(getattr(model, name).variables)
    }
    trusted = model.trusted_set
    found["trusted"] = trusted.dense_labels()
    found["confidence"] = trusted.confidence
    found["cluster"] = trusted.cluster
    found["history"] = np.array(json.dumps(model.history))
    return found


def make(folder: Path) -> None:
    """Writes a run, an archive and the state of a training, and others like them."""
    model = _train(folder / STATE)
    np.savez(folder / RESULT, **bits(model))
    model.class_names = ["rot", "grün", "blue"]
    _write(model, folder / RUN, folder / ARCHIVE)
    _alter_state(folder / STATE, folder / OTHER_STATE)
    other = KDFixMatch.load(folder / ARCHIVE)
    for variable in other.inner.student.trainable_variables:
        variable.assign(variable + 1)
    other.class_names = ["blue", "rot", "grün"]
    other.tau = 0.5
    _write(other, folder / OTHER_RUN, folder / OTHER_ARCHIVE)


def _write(model: KDFixMatch, run: Path, archive: Path) -> None:
    model.save(archive)
    written = RunFolder(run)
    facts = {"command": "a command", "finished": "today", "tau": model.tau}
    written.write_facts(facts)
    written.write_results(model)
    report = to_json(sealed({"accuracy": 0.9, "tau": model.tau}, "report.json"))
    (run / "report.json").write_text(report, encoding="utf-8")


def _train(state: Path) -> KDFixMatch:
    """Trains to the end, and copies the state as a kill would leave it."""
    with tempfile.TemporaryDirectory() as run_dir:

        def copy(epoch: int, logs: Any) -> None:
            if epoch == EPOCHS - 1:
                shutil.copytree(run_dir, state)

        callback = keras.callbacks.LambdaCallback(on_epoch_begin=copy)
        callbacks = {"inner": [callback]}
        return train(new_model(), Path(run_dir), callbacks=callbacks)


def _alter_state(state: Path, other: Path) -> None:
    """Copies a state as if it were that of a training with another seed."""
    name = "identity.json"
    identity = unsealed(json.loads((state / name).read_text()), name)
    identity["seed"] += 1
    other.mkdir()
    (other / name).write_text(json.dumps(sealed(identity, name)))
    training = sealed(identity, name)["sha256"]
    for path in state.glob("fixmatch_*.npz"):
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        facts = {**json.loads(arrays.pop("facts").tobytes()), "training": training}
        altered: dict[str, Any] = {name: old + 1 for name, old in arrays.items()}
        altered["facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        np.savez(other / path.name, **altered)
    trusted = TrustedSet.load(state / "trusted.npz")
    RunState(other, 1, False, training).save_trusted_set(
        dataclasses.replace(trusted, pseudo_labels=trusted.pseudo_labels[::-1])
    )
