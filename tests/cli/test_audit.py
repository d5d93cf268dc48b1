"""`kdfixmatch audit`: what it writes of folders with faults."""

import csv
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from kdfixmatch_cli.app import app

COLORS = {"blue": (60, 60, 200), "red": (200, 60, 60)}


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """labeled/, unlabeled/ and test/, with a fault of each kind but for groups."""
    rng = np.random.default_rng(0)

    def write(folder, name, count):
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            small = rng.normal(COLORS[name], 40, (5, 5, 3)).clip(0, 255)
            image = Image.fromarray(small.astype("uint8"))
            image = image.resize((40, 40), Image.Resampling.BICUBIC)
            image.save(folder / f"{name}{number}.png")

    for name in COLORS:
        write(tmp_path / "labeled" / name, name, 10)
        write(tmp_path / "test" / name, name, 2)
        write(tmp_path / "unlabeled", name, 5)
    labeled, unlabeled = tmp_path / "labeled", tmp_path / "unlabeled"
    (labeled / "red" / "red9.png").rename(labeled / "blue" / "in truth red.png")
    shutil.copy(labeled / "red" / "red1.png", labeled / "blue" / "both.png")
    shutil.copy(unlabeled / "red0.png", tmp_path / "test" / "red" / "leak.png")
    with Image.open(labeled / "blue" / "blue0.png") as image:
        image.save(tmp_path / "test" / "blue" / "again.jpg", quality=80)
    Image.new("RGB", (40, 40), (9, 9, 9)).save(unlabeled / "dark.png")
    Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).save(
        unlabeled / "icon.png"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments):
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["audit", *arguments])


SETS = ("--labeled", "labeled", "--unlabeled", "unlabeled", "--test", "test")


def test_a_row_for_each_fault(photos):
    result = invoke(*SETS)
    assert result.exit_code == 0, result.output
    with open("findings.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {
        (row["code"], row["set"], row["file"], row["other_set"], row["other_file"])
        for row in rows
        if row["code"] != "KD104"
    }
    assert found == {
        ("KD101", "labeled", "red/red1.png", "labeled", "blue/both.png"),
        ("KD102", "unlabeled", "red0.png", "test", "red/leak.png"),
        ("KD103", "test", "blue/again.jpg", "labeled", "blue/blue0.png"),
        ("KD105", "unlabeled", "dark.png", "", ""),
        ("KD106", "unlabeled", "icon.png", "", ""),
    }
    doubtful = {row["file"]: row for row in rows if row["code"] == "KD104"}
    row = doubtful["blue/in truth red.png"]
    assert (row["label"], row["text"][:14]) == ("blue", "looks like red")
    assert all(name.startswith("red/") for name in row["neighbors"].split("; "))
    assert "near copy" in result.output and "none" in result.output
    assert f"Wrote findings.csv: {len(rows)} findings" in result.output


def test_nothing_is_written_where_something_is_wrong(photos):
    for arguments, words in (
        (("--unlabeled", "unlabeled"), "`--labeled` or `--labels` must be given"),
        ((*SETS, "--backbone", "small_cnn", "--weights", "none"), "`--backbone` must"),
        ((*SETS, "--image-size", "big"), "`--image-size` must be a number"),
        ((*SETS, "--output", "findings.xlsx"), "`--output` must"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 1, arguments
        assert words in result.output
    assert not list(photos.glob("*.csv"))
