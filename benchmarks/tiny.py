"""Tiny trainings, and what two of them with the same bits share."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras import KDFixMatch

COLORS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])


def squares(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy squares in three colours, uint8 `(n, 8, 8, 3)`, and their classes."""
    labels = np.arange(count) % 3
    noise = np.random.default_rng(seed).normal(0, 60, (count, 8, 8, 3))
    images = COLORS[labels][:, None, None] + noise
    return images.clip(0, 255).astype(np.uint8), labels


def train(run_dir: Path, callbacks: Any, seed: int = 0, **lengths: Any) -> KDFixMatch:
    """Trains a small model, or goes on; `lengths` are arguments of `fit`."""
    model = KDFixMatch(
        "small_cnn",
        weights=None,
        embedding_dim=16,
        tau_select=0.4,
        distribution_alignment=True,
        optimizer="adam",
        batch_size=8,
        unlabeled_ratio=3,
        seed=seed,
    )
    images = squares(12, 0), squares(300, 1)[0]
    model.fit(*images, callbacks=callbacks, run_dir=run_dir, verbose=0, **lengths)
    return model


def arrays(variables: Any) -> list[np.ndarray]:
    """The values of variables."""
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def bits(model: KDFixMatch) -> dict[str, Any]:
    """Weights of both networks, optimizers, trusted set and history."""
    found = {f"trusted {name}": x for name, x in vars(model.trusted_set).items()}
    found["history"] = np.array(json.dumps(model.history))
    for name in ("outer", "inner"):
        network = getattr(model, name)
        values = arrays([*network.variables, *network.optimizer.variables])
        found |= {f"{name} {number}": value for number, value in enumerate(values)}
    return found
