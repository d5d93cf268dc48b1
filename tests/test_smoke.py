"""The main job, from a folder of images to a served model; `make check` runs this."""

import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from kdfixmatch_cli.app import app
from kdfixmatch_keras import KDFixMatch

COLORS = {"blue": 2, "green": 1, "red": 0}


def write_photos(folder, count, seed):
    """As many noisy photographs of each colour; their names tell nothing."""
    random = np.random.default_rng(seed)
    for color, channel in COLORS.items():
        place = folder / color if folder.name != "unlabeled" else folder
        place.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = random.integers(0, 100, (12, 12, 3), np.uint8)
            pixels[..., channel] += 120
            Image.fromarray(pixels).save(place / f"{number * 3 + channel}.png")


def run(*words):
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(w) for w in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.smoke
@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")
def test_from_a_folder_of_images_to_a_served_model(tmp_path):
    import tensorflow as tf

    for number, (name, count) in enumerate(
        {"labeled": 3, "unlabeled": 16, "test": 4}.items()
    ):
        write_photos(tmp_path / name, count, number)
    folder = tmp_path / "run"
    run(
        *("train", "--labeled", tmp_path / "labeled", "--test", tmp_path / "test"),
        *("--unlabeled", tmp_path / "unlabeled", "--output", folder, "--seed", 0),
        *("--backbone", "small_cnn", "--weights", "none", "--no-supervised"),
        *("--optimizer", "adam", "--learning-rate", 0.003, "--epochs", 4),
        *("--steps-per-epoch", 8, "--batch-size", 6, "--unlabeled-ratio", 2),
        *("--tau-select", 0.5, "--clustering", "kmeans", "--weak-augmentation", "none"),
    )
    model = KDFixMatch.load(folder / "model")
    losses = model.history["outer"]["supervised_loss"]
    losses += model.history["inner"]["supervised_loss"]
    assert losses[-1] < losses[0] / 2
    measured = json.loads(
        run("evaluate", folder, "--data", tmp_path / "test", "--json")
    )
    assert measured["accuracy"] > 0.9

    run("predict", folder, tmp_path / "unlabeled", "--output", tmp_path / "found.csv")
    with open(tmp_path / "found.csv", encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 48
    run("export", folder, "--output", tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served")).signatures["serve_bytes"]
    files = [tmp_path / "unlabeled" / f"{number}.png" for number in range(48)]
    answer = served(encoded=tf.constant([file.read_bytes() for file in files]))
    names = [name.decode() for name in answer["class_name"].numpy()]
    expected = {row["file"].rpartition("/")[2]: row["class"] for row in found}
    assert names == [expected[file.name] for file in files]
    probabilities = model.predict(tmp_path / "unlabeled")
    by_name = sorted(range(48), key=lambda number: f"{number}.png")
    np.testing.assert_allclose(
        answer["probabilities"].numpy()[by_name], probabilities, atol=1e-5
    )
    assert keras.backend.backend() == "tensorflow"
