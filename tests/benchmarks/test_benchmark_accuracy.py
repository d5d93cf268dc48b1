"""The accuracy benchmark trains each cell once, and its table says what happened."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.untraced import untraced

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "accuracy.py"


@pytest.fixture
def scripts(monkeypatch):
    """Lets a test import the modules of the benchmark, as the script finds them."""
    monkeypatch.syspath_prepend(SCRIPT.parent)


@pytest.fixture
def results(scripts):
    """The module that keeps cells, and writes table and plot."""
    import results

    return results


@pytest.fixture
def run(scripts, monkeypatch):
    """Runs the script here, what it trains in processes of their own.

    Returns its exit status.
    """
    import accuracy

    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        before = signal.getsignal(signal.SIGTERM)
        try:
            return accuracy.main()
        finally:
            signal.signal(signal.SIGTERM, before)

    return run


@pytest.mark.tensorflow
def test_a_finished_cell_is_never_trained_twice(run, tmp_path, monkeypatch, capsys):
    import workers

    settings = (
        *("--data", "digits", "--labels", "10", "--output", str(tmp_path)),
        *("--epochs", "1", "--steps-per-epoch", "1", "--batch-size", "2"),
        *("--unlabeled-ratio", "3", "--image-size", "9"),
    )
    assert run(*settings, "--methods", "supervised") == 0
    assert "seed 0, supervised:" in capsys.readouterr().out
    first = json.loads((tmp_path / "results.json").read_text())
    assert [cell["method"] for cell in first["cells"]] == ["supervised"]
    cell = first["cells"][0]
    assert (cell["labels"], cell["seed"]) == (10, 0)
    assert cell["image_passes"] == 3 * 2
    assert 0 <= cell["accuracy"] <= 1 and cell["seconds"] > 0
    assert cell["arguments"]["batch_size"] == 2 and len(cell["probe"]) > 2
    assert {"processor", "keras"} <= cell["machine"].keys() and cell["workers"] == 1
    assert (tmp_path / "accuracy.svg").read_text().startswith("<?xml")

    # What the processes of the first run do, without their start.
    monkeypatch.setattr(workers, "process", lambda threads: ThreadPoolExecutor(1))
    with untraced():
        assert run(*settings, "--methods", "supervised", "fixmatch") == 0
    assert "seed 0, supervised:" not in capsys.readouterr().out
    second = json.loads((tmp_path / "results.json").read_text())
    assert {cell["method"] for cell in second["cells"]} == {"supervised", "fixmatch"}
    assert cell in second["cells"]
    table = (tmp_path / "table.md").read_text()
    assert "| FixMatch, equal steps | " in table and "| ms an image |" in table
    assert (
        "--methods fixmatch supervised --backbone small_cnn --weights none "
        "--batch-size 2 --unlabeled-ratio 3 --epochs 1 --outer-epochs 1 "
        "--steps-per-epoch 1 --image-size 9 --output FOLDER"
    ) in second["command"]
    passes = {cell["method"]: cell["image_passes"] for cell in second["cells"]}
    assert passes["fixmatch"] == 3 * (2 + 6) + 6

    before = (tmp_path / "results.json").read_text()
    other = r"cells of other settings \(batch_size: 2 there, 4 here\)"
    with pytest.raises(SystemExit, match=other):
        run(*settings, "--methods", "supervised", "--batch-size", "4")
    assert (tmp_path / "results.json").read_text() == before
    (tmp_path / "table.md").unlink()
    assert run("--summarize", str(tmp_path)) == 0
    assert "| FixMatch, equal steps | " in (tmp_path / "table.md").read_text()


def cell(seed, method="kd_sce", accuracy=0.5, **figures):
    key = {"labels": 10, "seed": seed, "method": method}
    return {**key, "accuracy": accuracy, "seconds": 2.0, "image_passes": 9, **figures}


@pytest.fixture
def settings(scripts):
    """What the cells of one folder share."""
    import accuracy

    arguments = ["--data", "digits", "--labels", "10", "--output", "unused"]
    return accuracy._settings(accuracy.parse(arguments))


def test_a_cell_holds_while_its_method_computes_the_same(results, settings, tmp_path):
    key = {"labels": 10, "seed": 0, "method": "kd_sce"}
    with results.Store(tmp_path, settings) as store:
        # Of a version that had no probes.
        store.add(cell(0))
        assert not store.has([1.0, 2.0], **key)
        store.add(cell(0, accuracy=0.6, probe=[1.0, 2.0]))
    # An argument that is new is no matter, and not that of the folder.
    with results.Store(tmp_path, settings) as store:
        assert [c["accuracy"] for c in store.cells] == [0.6]
        assert store.has([1.0005, 2.0], **key)
        assert not store.has([1.01, 2.0], **key)
        assert not store.has([1.0, 2.0, 0.0], **key)
        assert not store.has([1.0, 2.0], **{**key, "seed": 1})


def test_only_what_computes_something_else_is_missing(results, settings, tmp_path):
    import accuracy

    options = accuracy.parse(
        ["--data", "digits", "--labels", "10", "--seeds", "2", "--output", "unused"]
        + ["--methods", "supervised", "mean_teacher"]
    )
    found = {"supervised": [1.0], "mean_teacher": [1.0]}
    with results.Store(tmp_path, settings) as store:
        for method, probe in (("supervised", [1.0]), ("mean_teacher", [2.0])):
            store.add(cell(0, method, probe=probe))
        groups = accuracy._missing(options, store, found)
    assert [(group["seed"], group["methods"]) for group in groups] == [
        (0, ["mean_teacher"]),
        (1, ["supervised", "mean_teacher"]),
    ]


def test_a_probe_sees_what_changes_a_method_and_nothing_else(scripts):
    import probes
    from methods import METHODS

    task = probes.miniature()
    with untraced():
        found = probes.probe(METHODS["kd_sce"], task)
        again = probes.probe(METHODS["kd_sce"], probes.miniature())
    assert probes.agree(found, again)
    # Trusted labels are among the targets of the first half, and not of the second.
    trusted, *confidences = found[-4:]
    assert confidences == [0.95, 0.95, 0.8]
    with untraced():
        shares = METHODS["kd_sce"].fit(task)[0][0].history["inner"]
    assert 0 < trusted < 100 and shares["trusted_share"][0] > 0
    for options in ({"trusted_until": 1.0}, {"lambda_u": 0.99}, {"ema_decay": 0.1}):
        other = dataclasses.replace(METHODS["kd_sce"], options=options)
        with untraced():
            assert not probes.agree(found, probes.probe(other, task)), options


MACHINE = {
    "processor": "A",
    "python": "3",
    "keras": "3",
    "tensorflow": "2",
    "numpy": "2",
}


@pytest.mark.parametrize(
    ("processor", "new", "holds"),
    [
        ("A", [0.7, 0.8, 0.9], True),
        ("A", [0.7, 0.8, 0.9001], False),
        ("B", [0.75, 0.85, 0.95], True),
        ("B", [0.87, 0.97, 0.97], False),
    ],
)
def test_a_published_cell_is_watched(scripts, capsys, processor, new, holds):
    import watch

    machine = {**MACHINE, "cores": 4}
    old = [0.7, 0.8, 0.9, 0.8, 0.8]
    cells = [
        {"labels": 20, "seed": seed, "method": "supervised", "accuracy": accuracy}
        | {"machine": machine, "workers": 2}
        for seed, accuracy in enumerate(old, start=5)
    ]

    def train(group, threads):
        assert threads == 2 and group["methods"] == ["supervised"]
        found = {"accuracy": new[group["seed"] - 5]}
        yield found | {"machine": {**machine, "processor": processor}}

    content = {"settings": {"from_folder": False}, "cells": cells}
    assert watch.watch(content, train) == (0 if holds else 1)
    said = capsys.readouterr().out
    assert ("the same bits" in said) == (processor == "A")
    assert ("DOES NOT HOLD" in said) != holds
    assert watch.watch({**content, "cells": cells[:2]}, train) == 1


def test_a_machine_without_a_model_promises_no_bits(scripts):
    import platform

    import watch

    machine = {**MACHINE, "processor": platform.machine()}
    assert not watch._same_machine(machine, machine)


def test_a_figure_that_is_no_number_costs_no_other_cell(results, settings, tmp_path):
    with results.Store(tmp_path, settings) as store:
        store.add(cell(0, trusted_share=float("nan")))
        store.add(cell(1))
    cells = json.loads((tmp_path / "results.json").read_text())["cells"]
    assert [c.get("trusted_share", "absent") for c in cells] == [None, "absent"]


def test_two_runs_cannot_write_to_one_folder(results, settings, tmp_path):
    with results.Store(tmp_path, settings) as first:
        with pytest.raises(SystemExit, match="Another process is writing to"):
            results.Store(tmp_path, settings)
        first.add(cell(0))
    with results.Store(tmp_path, settings) as second:
        assert [c["seed"] for c in second.cells] == [0]


STARTS_A_WORKER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import workers
if __name__ == "__main__":
    process = workers.process()
    print(process.submit(os.getpid).result(), flush=True)
    process.submit(time.sleep, 60).result()
"""


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_ends_its_workers(tmp_path, signal_number):
    script = tmp_path / "script.py"
    script.write_text(STARTS_A_WORKER)
    command = [sys.executable, script, SCRIPT.parent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        worker = int(run.stdout.readline())
        os.kill(worker, 0)
        run.send_signal(signal_number)
        # The worker has the other end of the pipe: it is closed when that ends too.
        assert run.stdout.read() == ""
    assert run.returncode == -signal_number


def test_fixmatch_is_beside_kdfixmatch_in_every_table(scripts):
    import accuracy

    def methods(*names):
        arguments = ["--data", "digits", "--labels", "10", "--output", "unused"]
        return accuracy.parse([*arguments, "--methods", *names]).methods

    assert methods("supervised") == ["supervised"]
    both = ["fixmatch", "fixmatch_compute"]
    assert methods("kd_sce") == [*both, "kd_sce"]
    assert methods("filter_none", "fixmatch") == [*both, "filter_none"]
    published = ["fixmatch_published", "fixmatch_published_2x"]
    assert methods("kd_published") == [*published, "kd_published"]


def cells_of(**accuracies):
    return [
        {
            "labels": 10,
            "seed": seed,
            "method": method,
            "accuracy": accuracy,
            "seconds": 2.0,
            "image_passes": 3000,
        }
        for method, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]


@pytest.mark.parametrize(
    "ours, difference, verdict",
    [
        ([0.8, 0.9, 0.9], "+16.7", "won"),
        ([0.6, 0.5, 0.5], "-16.7", "lost"),
        ([0.75, 0.65, 0.7], "+0.0", "level"),
    ],
)
def test_a_lost_cell_is_printed_like_a_won_one(results, ours, difference, verdict):
    cells = cells_of(kd_sce=ours, fixmatch=[0.7, 0.7, 0.7])
    text = results.text_of(cells)
    deviation = 100 * np.std(ours, ddof=1)
    mean = f"{100 * np.mean(ours):.1f} ± {deviation:.1f}"
    assert f"| KD-FixMatch, SCE 1.0/0.1 | {mean} | 3 k | 2 |" in text
    error = f"{deviation / 3**0.5:.1f}"
    pair = "KD-FixMatch, SCE 1.0/0.1 | FixMatch, equal steps"
    assert f"| {pair} | {difference} ± {error} {verdict} |" in text


def test_seeds_are_paired_by_number_and_missing_ones_are_told(results):
    cells = cells_of(kd_sce=[0.9, 0.8, 0.7], fixmatch=[0.5, 0.5])
    cells[-1]["seed"] = 2
    text = results.text_of(cells)
    # Seeds 0 and 2: 40 and 20 points.
    assert "| FixMatch, equal steps | +30.0 ± 10.0 won (n = 2) |" in text
    assert "| FixMatch, equal steps | 50.0 ± 0.0 (n = 2) |" in text


def test_the_plot_of_the_same_cells_is_the_same_file(results, tmp_path):
    cells = cells_of(kd_sce=[0.8, 0.9], fixmatch=[0.7, 0.8], supervised=[0.4])
    plots = [tmp_path / name for name in ("a.svg", "b.svg")]
    for plot in plots:
        results.write_plot(cells, plot)
    assert plots[0].read_bytes() == plots[1].read_bytes()
    # Means and deviations of another set of cells are another picture.
    results.write_plot(cells[1:], plots[1])
    assert plots[0].read_bytes() != plots[1].read_bytes()


def test_a_shared_outer_network_changes_no_figure(results):
    from methods import METHODS, Task

    from kdfixmatch_keras import KDFixMatch, datasets

    task = Task(
        data=datasets.load("digits", 10, 0),
        settings={
            "backbone": "small_cnn",
            "weights": None,
            "batch_size": 2,
            "distribution_alignment": True,
            "weak_augmentation": "none",
            "strong_augmentation": keras.layers.Identity(),
            "seed": 0,
        },
        epochs=2,
        outer_epochs=1,
        steps_per_epoch=2,
    )
    with untraced():
        unsure = METHODS["kd_ce"].train(task)
        result = METHODS["filter_none"].train(task)
        assert len(task.trained) == 1
        model = KDFixMatch(**task.settings, tau_select=0.0, clustering=None)
        task.fit(model, 2)
    assert result["accuracy"] == task.test(model)["accuracy"]
    assert result["image_passes"] == model.image_passes
    assert result["trusted_coverage"] == 1.0
    assert 0 < result["trusted_precision"] < 1
    # No label is confident after two steps; what is nothing's share is not a number.
    assert (unsure["trusted_precision"], unsure["trusted_coverage"]) == (None, 0.0)
    # FixMatch at equal steps is the outer network of a stage as long as the inner one.
    with untraced():
        METHODS["fixmatch"].train(task)
        METHODS["kd_long_outer"].train(task)
    assert len(task.trained) == 2
