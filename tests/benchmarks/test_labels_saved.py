"""The benchmark of how many labels suggestions save."""

import json
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PUBLISHED = BENCHMARKS / "results" / "labels_saved"


@pytest.fixture
def labels_saved(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import labels_saved

    return labels_saved


def heaps(count, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    return (np.eye(8)[labels] + rng.normal(0, 0.2, (count, 8))).astype(
        "float32"
    ), labels


@pytest.fixture
def arrays():
    (z, y), (z_test, y_test) = heaps(400, 0), heaps(100, 1)
    return {"z": z, "y": y, "z_test": z_test, "y_test": y_test}


@pytest.mark.parametrize("strategy", ["typical", "doubtful", "mixed", "random"])
def test_labels_step_by_step_and_never_looks_at_other_labels(
    labels_saved, arrays, strategy, monkeypatch
):
    asked = []

    def suggested(arrays, strategy, knobs, suggest=labels_saved._suggested):
        hidden = arrays["y"].copy()
        others = np.setdiff1d(np.arange(len(hidden)), knobs["labeled"])
        hidden[others] = 99
        found = suggest({**arrays, "y": hidden}, strategy, knobs)
        np.testing.assert_array_equal(found, suggest(arrays, strategy, knobs))
        asked.append((len(knobs["labeled"]), knobs["count"]))
        return found

    monkeypatch.setattr(labels_saved, "STEPS", (10, 20, 40))
    monkeypatch.setattr(labels_saved, "_suggested", suggested)
    cells = labels_saved.labeled(arrays, strategy, seed=0)
    assert asked == [(0, 10), (10, 10), (20, 20)]
    assert [cell["labels"] for cell in cells] == [10, 20, 40]
    assert all(cell["accuracy"] > 0.9 for cell in cells[1:])
    assert cells[-1]["classes"] == 4


def test_of_one_class_the_probe_knows_that_class(labels_saved, arrays):
    rows = np.flatnonzero(arrays["y"] == 2)[:10]
    assert labels_saved._accuracy(arrays, rows, seed=0) == 0.25


def cells_of(accuracy):
    return [
        {"data": "digits", "strategy": strategy, "seed": seed, "labels": labels}
        | {"accuracy": accuracy(strategy, labels) + (seed - 1) / 100, "classes": 4}
        for strategy in ("random", "mixed")
        for seed in range(3)
        for labels in (10, 20, 40, 80, 160)
    ]


def test_tells_how_many_labels_are_enough(labels_saved):
    share = {10: 0.3, 20: 0.4, 40: 0.5, 80: 0.6, 160: 0.7}
    cells = cells_of(lambda s, n: share[n] + 0.15 * (s == "mixed"))
    # Half a doubling beyond 20, where it has 55 %, to the 60 % of 80 at random.
    assert labels_saved._enough(cells, "digits", "mixed") == "28"
    assert labels_saved._enough(cells, "digits", "random") == "80"
    assert labels_saved._figure(cells, "digits", "random", 40) == "50.0 ± 1.0"
    assert "`mixed` reaches what" in labels_saved._verdict(cells, "digits")
    cells = cells_of(lambda s, n: share[n] - 0.25 * (s == "mixed"))
    assert labels_saved._enough(cells, "digits", "mixed") == "more than 160"
    assert "does not reach what" in labels_saved._verdict(cells, "digits")
    # Of a strategy that was not measured, nothing is said.
    assert labels_saved._enough(cells, "digits", "typical") == ""
    assert labels_saved._verdict(cells, "cifar10") == ""


def test_the_page_is_that_of_the_published_cells(labels_saved, tmp_path):
    content = json.loads((PUBLISHED / labels_saved.RESULTS).read_text())
    labels_saved.summarize(content, tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert page == (PUBLISHED / "README.md").read_text()
    seeds = {cell["seed"] for cell in content["cells"]}
    assert max(seeds) < 100
