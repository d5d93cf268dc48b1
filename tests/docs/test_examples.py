"""Every example runs to its end on made-up data and leaves what it promises."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.untraced import untraced

pytestmark = [
    pytest.mark.tensorflow,
    # What one step leaves to be trusted is little, or one class.
    pytest.mark.filterwarnings("ignore:.*tau_select"),
]

EXAMPLES = Path(__file__).parents[2] / "examples"
# One short epoch of a small network.
TINY = ("--epochs", "1", "--steps-per-epoch", "1", "--batch-size", "2")
TINY += ("--backbone", "small_cnn", "--weights", "none")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs an example as the command line would, and returns what it printed."""

    def run(name, *arguments):
        output = tmp_path / "output"
        command = [f"{name}.py", *arguments, "--output", str(output)]
        monkeypatch.setattr(sys, "argv", command)
        # Where Python itself looks for modules when it runs a script.
        monkeypatch.syspath_prepend(EXAMPLES)
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        with Image.open(output / "run.png") as figure:
            figure.load()
        assert (output / "saved_model" / "saved_model.pb").is_file()
        assert (output / "report.html").is_file() == (name != "digits")
        return capsys.readouterr().out

    return run


@pytest.fixture
def without_tracing():
    with untraced():
        yield


def check_accuracies(printed):
    for network in ("outer network", "inner network"):
        assert re.search(rf"{network}: \d+\.\d%", printed)
    check_trusted_set(printed)


def check_trusted_set(printed):
    right = r"(\d+\.\d% of its labels are right, and )?"
    covers = r"it covers \d+\.\d% of the unlabeled images"
    assert re.search(rf"^Trusted set: {right}{covers}$", printed, re.MULTILINE)


def test_digits(run, without_tracing):
    printed = run("digits", *TINY)
    assert "Test accuracy (%), 20 labels" in printed
    for method in ("supervised", "outer network", "KD-FixMatch"):
        assert re.search(rf"^  {method} +\d+\.\d$", printed, re.MULTILINE)
    check_trusted_set(printed)
    difference = re.search(r"difference to the live model: (\S+)", printed)
    assert float(difference[1]) < 1e-5


def test_solar_cells(run, without_tracing, monkeypatch):
    # Loading the photographs takes as long as all of the rest.
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (600, 16, 16), np.uint8)
    shares = generator.choice([0.0, 1 / 3, 1.0], 600, p=[0.45, 0.05, 0.5])
    monkeypatch.setattr(
        "elpv_dataset.utils.load_dataset", lambda: (images, shares, None)
    )
    printed = run("solar_cells", "--image-size", "16", *TINY)
    sure = int((shares != 1 / 3).sum())
    assert f"{sure - 500} solar cells, 20 of them labeled, and 500 for" in printed
    assert "CC-BY-NC-SA-4.0" in printed
    for method in ("linear probe", "labels alone", "KD-FixMatch"):
        assert re.search(rf"^  {method} +\d+\.\d +\d+\.\d$", printed, re.MULTILINE)
    check_accuracies(printed)


@pytest.mark.parametrize(
    "name, num_labels", [("cifar10", 20), ("cifar100", 100), ("svhn", 10)]
)
def test_downloads(run, made_up_tfds, without_tracing, name, num_labels):
    made_up_tfds()
    check_accuracies(run(name, "--labels", str(num_labels), *TINY))


def test_photographs(run, made_up_tfds, without_tracing):
    made_up_tfds(many_sizes=True)
    printed = run("food101", "--labels", "101", "--image-size", "16", *TINY)
    check_accuracies(printed)


def made_up_folder(tmp_path, classes):
    """A folder with six images of each class to train on and six for test."""
    generator = np.random.default_rng(0)
    for index in range(12 * len(classes)):
        part = ("train", "test")[index % 2]
        folder = tmp_path / "photos" / part / classes[index // 2 % len(classes)]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return str(tmp_path / "photos")


def test_folder_in_place_of_a_download(run, without_tracing, tmp_path):
    photos = made_up_folder(tmp_path, ["cat", "dog", "frog"])
    # Another size than their own, as photographs of many sizes need.
    size = ("--image-size", "20")
    arguments = ("cifar10", "--labels", "6", "--data-dir", photos, *size, *TINY)
    check_accuracies(run(*arguments))
    # A second run replaces what the first has written.
    check_accuracies(run(*arguments))


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "food101"])
def test_defaults_are_the_set_up_of_the_paper(monkeypatch, tmp_path, name):
    import kdfixmatch_keras

    class Seen(Exception):
        """Ends the example where its classifier would be trained."""

    class Recorder(kdfixmatch_keras.KDFixMatch):
        def fit(self, *data, **options):
            raise Seen(self, options)

    folder = made_up_folder(tmp_path, ["cat", "dog"])
    monkeypatch.setattr(kdfixmatch_keras, "KDFixMatch", Recorder)
    monkeypatch.syspath_prepend(EXAMPLES)
    command = [f"{name}.py", "--labels", "4", "--data-dir", folder]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(Seen) as caught:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    model, options = caught.value.args
    assert (model.backbone, model.weights) == ("efficientnetb0", "imagenet")
    assert model.optimizer == "paper"
    assert (model.tau, model.tau_select, model.tau_inner) == (0.95, 0.80, 0.95)
    assert model.unlabeled_loss == "sce"
    assert (model.batch_size, options["epochs"]) == (64, 100)


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_is_short(name):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 80
