"""Every door that takes a path: addresses are refused, `~` is the home directory."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kdfixmatch_cli.app import app
from kdfixmatch_cli.errors import PATHS
from kdfixmatch_cli.predict import find_files
from kdfixmatch_keras import KDFixMatch, TrustedSet, datasets, plots, report, sources
from kdfixmatch_keras.checks.paths import local_path
from kdfixmatch_keras.report.run_folder import RunFolder
from kdfixmatch_keras.serving.file_prediction import predict_files
from kdfixmatch_keras.serving.saving import read_settings
from kdfixmatch_keras.training.plan import Plan
from tests.bad_inputs import (
    CLASSES,
    IMAGES,
    build_network,
    check_refusal,
    contents,
    fit,
    new_model,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")

# What is called with the trained model and a path.
DOORS = {
    "labeled": lambda g, path: fit(path),
    "unlabeled": lambda g, path: fit(unlabeled=path),
    "validation_data": lambda g, path: fit(validation_data=path),
    "run_dir": lambda g, path: fit(run_dir=path),
    "weights": lambda g, path: new_model(backbone="vgg16", weights=path),
    "weights of a network": lambda g, path: build_network("vgg16", weights=path),
    "predict": lambda g, path: g.model.predict(path),
    "evaluate": lambda g, path: g.model.evaluate(path),
    "save": lambda g, path: g.model.save(path),
    "load": lambda g, path: KDFixMatch.load(path),
    "export": lambda g, path: g.model.export(path),
    "onnx": lambda g, path: g.model.export(path, "onnx"),
    "data_dir": lambda g, path: datasets.load("mine", 3, data_dir=path),
    "folder": lambda g, path: sources.FolderSource(path),
    "file": lambda g, path: sources.FolderSource([path]),
    "folder of labels": lambda g, path: sources.split_folder(path, "labels.csv"),
    "labels": lambda g, path: sources.split_folder(g.here / "labeled", path),
    "files": lambda g, path: predict_files(g.model.inner, [path]),
    "trusted set": lambda g, path: g.model.trusted_set.save(path),
    "kept trusted set": lambda g, path: TrustedSet.load(path),
    "table": lambda g, path: g.model.trusted_set.to_csv(path),
    "figure": lambda g, path: plots.plot_run(g.model, path),
    "page": lambda g, path: report.write({}, path),
    "run": lambda g, path: RunFolder.open(path),
    "new run": lambda g, path: RunFolder.check(path),
    "images": lambda g, path: find_files([path]),
}


@pytest.mark.parametrize("door", DOORS)
def test_an_address_is_no_path(given, door):
    for address in ("gs://bucket/model", Path("s3://bucket/model.zip")):
        if door != "images" or isinstance(address, str):
            check_refusal(
                given,
                lambda g, a=address: DOORS[door](g, a),
                ValueError,
                "bucket/model",
            )


@pytest.mark.parametrize(
    "address, words",
    [
        ("gs://b/m.zip", "='gs://b/m.zip', an address. Copy from there or to there wi"),
        (Path("gs://b/m.zip"), "='gs://b/m.zip', an address"),
        ("S3://b", "`aws s3 cp`, or mount it as a folder"),
        ("https://example.com/photos.zip", "with a browser or `curl`"),
        ("abfss://c@a.dfs.core.windows.net/x", "with the tool of that storage"),
        ("user@host:/data", "='user@host://data', an address"),
        ("file:///home/me/x", "Pass '/home/me/x'."),
        ("dbfs:/mnt/x", "Pass '/dbfs/mnt/x'."),
    ],
)
def test_the_message_says_what_to_do_instead(address, words):
    with pytest.raises(ValueError, match="must be a path on this machine") as caught:
        local_path("path", address)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "path", ["C:/photos", "C:\\photos", "a:b", "photos/a://b", "./gs://b", "run 1:2"]
)
def test_a_path_with_a_colon_is_one(path):
    assert local_path("path", path) == Path(path)


def test_the_home_directory_is_read_from_and_written_to(given, monkeypatch):
    elsewhere = given.here / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert Plan(run_dir="~/state").run_dir == given.here / "state"
    data = new_model().load_data("~/labeled", Path("~/unlabeled"))
    assert len(data.unlabeled) == 3
    given.model.save("~/new.zip")
    assert read_settings("~/new.zip")["class_names"] == list(CLASSES)
    trusted = given.model.trusted_set
    trusted.save("~/trusted.npz")
    trusted.to_csv(Path("~/trusted.csv"))
    assert len(TrustedSet.load("~/trusted.npz")) == len(trusted)
    plots.plot_run(given.model, "~/run.png")
    report.write(RunFolder.open("~/run").read_report(), "~/report.html")
    files, _ = find_files(["~/unlabeled/*.png"])
    assert len(files) == 3
    assert len(sources.FolderSource(["~/unlabeled/0.png"])) == 1
    new = ("new.zip", "trusted.npz", "trusted.csv", "run.png", "report.html")
    assert all((given.here / name).exists() for name in new)
    assert contents(elsewhere) == {}


def test_commands_know_the_home_directory(given, monkeypatch):
    (given.here / "elsewhere").mkdir()
    monkeypatch.chdir(given.here / "elsewhere")
    typed = "predict ~/run ~/unlabeled --output=~/new.csv"
    result = CliRunner().invoke(app, typed.split())
    assert result.exit_code == 0, result.output
    assert (given.here / "new.csv").exists()
    assert contents(given.here / "elsewhere") == {}


def test_commands_know_which_of_their_options_are_paths():
    found = {
        name
        for command in app.registered_commands
        for name, parameter in inspect.signature(command.callback).parameters.items()
        if "Path" in str(parameter.annotation)
    }
    assert found == set(PATHS)


@pytest.mark.parametrize("name", ["model.keras", "model.H5", "m.weights.h5", "m.pkl"])
def test_a_model_is_not_named_like_another_file(given, name):
    check_refusal(
        given,
        lambda g: g.model.save(g.here / name),
        ValueError,
        "`path` must end in .zip, or be a folder that is not named like a file. Receiv",
    )
    check_refusal(
        given,
        lambda g: g.model.export(g.here / name),
        ValueError,
        "`path` must be a folder, which is what a SavedModel is, and not named like a",
    )


def test_a_file_for_keras_is_what_the_refusal_says(given):
    with pytest.raises(ValueError, match=r"model.inner.save\('model.keras'\)"):
        given.model.save(given.here / "model.keras")
    with pytest.raises(ValueError, match=r"model.export\('model.onnx', format='onnx'"):
        given.model.save(given.here / "model.onnx")


@pytest.mark.parametrize("name", ["model.ZIP", "model-0.1"])
def test_other_names_are_taken(given, name):
    given.model.save(given.here / name)
    assert (given.here / name).is_file() == name.endswith("ZIP")
    assert read_settings(given.here / name)["class_names"] == list(CLASSES)


def test_a_table_and_a_page_are_called_so(given):
    trusted = given.model.trusted_set
    check_refusal(
        given,
        lambda g: trusted.to_csv(g.here / "trusted.xlsx"),
        ValueError,
        "`path` must be a CSV file, conventionally *.csv. Received: ",
    )
    check_refusal(
        given,
        lambda g: report.write({}, g.here / "report.pdf"),
        ValueError,
        "`path` must end in .html, as the report is a page. Received: ",
    )


def test_the_folder_of_a_run_is_loaded(given):
    loaded = KDFixMatch.load(given.here / "run")
    assert np.array_equal(loaded.predict(IMAGES), given.model.predict(IMAGES))


def test_a_run_that_has_not_ended_says_so(given):
    (given.here / "run" / "model").rename(given.here / "model")
    check_refusal(
        given,
        lambda g: KDFixMatch.load(g.here / "run"),
        ValueError,
        "{here}/run' (a run that has not ended; its command goes on with it)",
    )
