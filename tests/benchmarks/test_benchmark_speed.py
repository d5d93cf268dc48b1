"""Each part of the speed benchmark measures something, and the page says what."""

import argparse
import functools
import json
import os
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.untraced import untraced

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "speed.py"
COMMITTED = [
    path
    for name in ("speed.json", "gpu.json")
    for path in sorted((ROOT / "benchmarks" / "results").glob(f"*/{name}"))
]

STEP = {
    "backbone": "small_cnn",
    "side": 8,
    "batch_size": 2,
    "unlabeled_ratio": 2,
    "steps": 1,
    "repeats": 2,
}

OPTIONS = functools.partial(
    argparse.Namespace,
    quick=False,
    repeats=None,
    networks=None,
    data_dir=None,
)


@pytest.fixture
def scripts(monkeypatch):
    """Lets a test import the modules of the benchmark, as the script finds them."""
    monkeypatch.syspath_prepend(SCRIPT.parent)


@pytest.fixture
def make_page(scripts):
    """The page of the results of some parts."""
    from speed_parts.page import page

    def make(notes="", **results):
        made_by = {"command": "COMMAND", "commit": "0", "machine": {}, "seconds": 1}
        parts = {name: {**made_by, "results": found} for name, found in results.items()}
        return page({"parts": parts}, notes)

    return make


def row_of(text, title):
    lines = [line for line in text.splitlines() if line.startswith(f"| {title} |")]
    assert len(lines) == 1
    return [cell.strip() for cell in lines[0].split("|")[2:-1]]


@pytest.mark.tensorflow
def test_a_part_can_be_measured_again_and_the_page_be_written_anew(
    scripts, tmp_path, monkeypatch, capsys
):
    import speed

    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(*arguments):
        command = [str(SCRIPT), *arguments, "--output", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", command)
        return speed.main()

    assert run("--parts", "startup", "--repeats", "1") == 0
    page = (tmp_path / "README.md").read_text()
    assert "| `kdfixmatch --help` |" in page and page in capsys.readouterr().out
    content = json.loads((tmp_path / "speed.json").read_text())
    assert content["parts"]["startup"]["machine"]["cores"] >= 1
    content["parts"]["startup"]["results"][0]["seconds"]["help"] = [1234.5]
    (tmp_path / "speed.json").write_text(json.dumps(content))
    (tmp_path / "notes.md").write_text("## startup\n\nIt has to be said.\n")
    assert run("--parts") == 0
    page = (tmp_path / "README.md").read_text()
    assert "1234.50" in page and "It has to be said." in page


def test_networks_are_compared_with_the_first(make_page):
    names = ["efficientnet_lite0", "efficientnet_lite2"]
    seconds = dict(zip(names, ([1.28, 1.28], [2.56, 3.84]), strict=True))
    found = {"side": 96, "batch": 64, "networks": names, "seconds": seconds}
    text = make_page(backbones=[found | {"parameters": dict.fromkeys(names, 1234)}])
    row = row_of(text, "`efficientnet_lite2`")
    assert row == ["1,234", "50.00", "2.50 (2.00 to 3.00)"]


@pytest.mark.tensorflow
def test_the_features_of_networks_are_timed(scripts):
    from speed_parts import backbones

    names = ["small_cnn", "wide_resnet_28_2"]
    found = backbones.measure({"side": 8, "networks": names, "repeats": 2, "least": 0})
    assert {len(found["seconds"][name]) for name in names} == {2}
    assert found["parameters"]["wide_resnet_28_2"] > found["parameters"]["small_cnn"]


@pytest.mark.tensorflow
def test_a_job_that_fails_takes_no_other_with_it(scripts, capsys):
    import speed

    assert speed.measured("startup", {}) is None
    found = speed.measured("startup", {"repeats": 1})
    assert set(found["result"]["seconds"]) >= {"keras"}
    assert "KeyError: 'repeats'" in capsys.readouterr().err


def test_a_process_that_ends_before_its_time_has_found_nothing_more(scripts):
    import workers

    with workers.process() as process:
        assert workers.result(process, os.abort) is None
        assert workers.result(process, int) is None


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_part_replaces_an_earlier_one_where_something_was_found(
    scripts, monkeypatch, tmp_path, succeeds
):
    import speed

    def measured(part, job):
        found = {"result": {**job, "seconds": {}, "refused": "no"}, "machine": {}}
        is_found = succeeds and job["what"] == "labeling"
        return {**found, "seconds": 1.0} if is_found else None

    monkeypatch.setattr(speed, "measured", measured)
    arguments = ["speed.py", "--parts", "trusted", "--quick", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    earlier = {"command": "EARLIER", "machine": {}, "seconds": 2.0, "results": []}
    (tmp_path / "speed.json").write_text(json.dumps({"parts": {"trusted": earlier}}))
    assert speed.main() == 1
    kept = json.loads((tmp_path / "speed.json").read_text())["parts"]["trusted"]
    if not succeeds:
        assert kept == earlier
        return
    assert [result["what"] for result in kept["results"]] == ["labeling"]
    assert "--parts trusted --quick" in kept["command"]
    assert kept["seconds"] == 1.0


@pytest.mark.tensorflow
def test_a_step_and_its_profile(scripts, make_page, tiny_backbone):
    import speed
    from speed_parts import page, step

    job = {**STEP, "backbone": tiny_backbone, "levels": list(page.PROFILE)}
    found = step.measure(job)
    seconds = found["seconds"]
    assert set(seconds) == {*page.PROFILE, "fit", "batches"}
    assert all(len(times) == 2 and min(times) > 0 for times in seconds.values())
    text = make_page(step=[{**STEP, **found}], profile=[{**STEP, **found}])
    efficiency = np.median(np.array(seconds["bare"]) / seconds["fit"])
    assert row_of(text, "`small_cnn`, 8 px")[4].startswith(f"{efficiency:.2f}")
    student = 1000 * np.median(seconds["student"])
    assert row_of(text, "student forward and backward") == [f"{student:+.1f}"]
    (quick,) = speed.jobs("profile", OPTIONS(quick=True))
    levels = {name: [1.0, 1.0] for name in ("batches", *quick["levels"])}
    levels |= {"strong": [3.0, 3.0], "average": [4.0, 4.0], "fit": [9.0, 9.0]}
    text = make_page(profile=[{**STEP, "seconds": levels}])
    assert row_of(text, "moving average") == ["+1000.0"]
    assert "| metrics |" not in text


@pytest.mark.tensorflow
def test_trials(scripts, make_page, tiny_backbone):
    from speed_parts import trials

    found = trials.measure({**STEP, "backbone": tiny_backbone})
    assert all(
        len(times) == 2 and min(times) > 0 for times in found["seconds"].values()
    )
    found["seconds"] |= {"student": [1.0, 2.0], "mixed_bfloat16": [0.5, 1.5]}
    text = make_page(trials=[{**STEP, **found}])
    assert row_of(text, "student's pass in mixed_bfloat16") == ["0.62 (0.50 to 0.75)"]
    # Without oneDNN, TensorFlow has no such convolution on a CPU.
    found["seconds"].pop("channels_first", None)
    text = make_page(trials=[{**STEP, **found}])
    assert row_of(text, "channels before pixels") == ["not measured"]


@pytest.mark.tensorflow
def test_steps_of_one_execution_are_as_many_as_one_by_one(scripts, tiny_backbone):
    from speed_parts import trials

    network, batches = trials.new_network({**STEP, "backbone": tiny_backbone})
    executions = trials.executions(network, batches)
    counts = []
    for name in ("single", "together"):
        before = int(network.num_updates)
        executions[name]()
        counts.append(int(network.num_updates) - before)
    assert counts == [trials.STEPS_PER_EXECUTION] * 2


@pytest.mark.tensorflow
def test_the_levels_of_a_step_do_what_they_are_called(scripts, tiny_student):
    from speed_parts.levels import Levels

    from kdfixmatch_keras import FixMatch

    network = FixMatch(tiny_student(), seed=0)
    network.compile(optimizer=keras.optimizers.SGD(0.1))
    network.optimizer.build(network.trainable_variables)
    batch = {
        "labeled": np.zeros((2, 8, 8, 3), np.uint8),
        "trusted": np.full(4, -1, np.int32),
        "unlabeled": np.ones((4, 8, 8, 3), np.uint8),
        "unlabeled_index": np.arange(4, dtype=np.int32),
    }
    levels = Levels(network, (batch, np.array([0, 1], np.int32)), steps=2)

    def states_of(metrics):
        return [variable.numpy().tolist() for m in metrics for variable in m.variables]

    def changed(level):
        weights = network.student.trainable_variables[0].numpy()
        average = network.teacher.weights[0].numpy()
        counts = states_of(network.metrics)
        levels.compiled(level)
        return (
            not np.array_equal(weights, network.student.trainable_variables[0].numpy()),
            not np.array_equal(average, network.teacher.weights[0].numpy()),
            counts != states_of(network.metrics),
        )

    assert changed("bare") == (False, False, False)
    assert changed("losses") == (False, False, False)
    assert changed("optimizer") == (True, False, False)
    assert changed("average") == (True, True, False)
    assert changed("metrics") == (True, True, True)


@pytest.mark.keras_cv
def test_augmentations(scripts, make_page):
    from speed_parts import augmentation

    job = {"side": 32, "batch_size": 14, "repeats": 1, "least": 0.0}
    found = augmentation.measure(job)
    assert set(found["seconds"]) == {"ours", "keras_cv", "keras_layer", "pillow"}
    found["seconds"] = {"ours": [2.0], "keras_cv": [9.0]}
    found["seconds"] |= {"keras_layer": [8.0], "pillow": [5.0]}
    text = make_page(augmentation=[{**job, **found}])
    assert row_of(text, "32 px")[4:] == [
        "Pillow, all cores",
        "2.50",
        "≥ 3",
        "**not met**",
    ]


def test_pillow_augments_each_image_in_its_place(scripts):
    from speed_parts.pillow_policy import pillow_policy

    images = np.repeat(np.arange(40, 240, 2, dtype=np.uint8), 16 * 16 * 3)
    images = images.reshape(100, 16, 16, 3)
    with pillow_policy(images, 2) as augment:
        first, second = augment().copy(), augment()
    assert first.shape == images.shape
    assert not np.array_equal(first, second)
    # Most operations leave a flat image as it is, up to its border and the square.
    assert np.mean(np.median(first, axis=(1, 2)) == images[:, 0, 0]) > 0.2


@pytest.mark.tensorflow
@pytest.mark.parametrize("what", ["labeling", "kmeans"])
def test_trusted_sets(scripts, make_page, what):
    from speed_parts import trusted

    job = {"what": what, "count": 300, "repeats": 2}
    found = trusted.measure(job)
    assert {len(times) for times in found["seconds"].values()} == {2}
    memory = found["memory"]
    assert 0 < memory["import"] <= memory["peak"]
    text = make_page(trusted=[{**job, **found}])
    assert f"| {memory['peak'] / 1e9:.2f} (" in text


def test_a_clustering_may_refuse_and_a_million_samples_have_a_bar(scripts, make_page):
    from speed_parts import trusted

    from kdfixmatch_keras import clustering

    refused = {
        "what": "spectral",
        "count": clustering.spectral.SPECTRAL_SAMPLE_LIMIT * 2,
    }
    refused |= trusted.measure({**refused, "repeats": 1})
    seconds = {"ours": [2.0], "reference": [1.0]}
    memory = {"import": 0.5e9, "peak": 2.6e9}
    small = {"what": "dec", "count": 100_000, "seconds": seconds, "memory": memory}
    large = {**small, "count": 1_000_000, "seconds": {**seconds, "ours": [22.0]}}
    text = make_page(trusted=[refused, small, large])
    assert "Use clustering='kmeans'" in text
    assert "| DEC | 100,000 | 2.0 | 1.0 | 2.00 | ≤ 5 | met |  | 2.60 (2.10) |" in text
    assert (
        "| DEC | 1,000,000 | 22.0 | 1.0 | 22.00 | ≤ 5 | **not met** | 11.0, "
        "**not met** | 2.60 (2.10), **not met** |" in text
    )


@pytest.mark.tensorflow
def test_a_whole_job(scripts, make_page, monkeypatch, tiny_backbone):
    from speed_parts import whole

    tiny = {**whole.PRESETS["digits"], "backbone": tiny_backbone}
    monkeypatch.setitem(whole.PRESETS, "digits", tiny)

    job = {"data": "digits", "data_dir": None, "labels": 10, "seed": 1}
    job["settings"] = {"epochs": 3, "steps_per_epoch": 1}
    job["methods"] = ["fixmatch", "kdfixmatch", "short_outer"]
    with untraced():
        found = whole.measure(job)
    seconds = found["kdfixmatch"]["seconds"]
    assert sum(seconds[name] for name in whole.STAGES) <= seconds["whole"]
    assert len(found["fixmatch"]["curve"]) == 3
    assert found["short_outer"]["seconds"].keys() == seconds.keys()
    found["fixmatch"] = {
        "seconds": {"whole": 10.0},
        "accuracy": 0.8,
        "curve": [[5.0, 0.7], [10.0, 0.8]],
    }
    found["kdfixmatch"] |= {"accuracy": 0.9, "curve": [[9.0, 0.7], [11.0, 0.85]]}
    text = make_page(whole=[{**job, **found}])
    assert row_of(text, "KD-FixMatch until FixMatch's accuracy") == [
        "1.10 (1.10)",
        "≤ 1",
        "**not met**",
    ]
    assert row_of(text, "FixMatch until FixMatch's accuracy")[0] == "1.00 (1.00)"
    assert row_of(text, "accuracy of KD-FixMatch, %") == [
        "90.0 (90.0)",
        "not lower",
        "met",
    ]
    assert row_of(text, "accuracy of FixMatch, %")[0] == "80.0 (80.0)"


@pytest.mark.tensorflow
def test_reading(scripts, make_page):
    from speed_parts import reading

    job = {"images": 40, "side": 24, "image_size": 16, "backbone": "small_cnn"}
    found = reading.measure({**job, "repeats": 1})
    names = {"decoding", "forward", "opening", "reading", "predicting"}
    assert set(found["seconds"]) == names
    found["seconds"] |= {"decoding": [1.0], "forward": [3.0], "predicting": [2.0]}
    text = make_page(reading=[{**job, **found}])
    assert row_of(text, "`kdfixmatch predict`") == ["10", "20", "2.00"]


def test_a_quick_look_measures_every_part(scripts):
    import speed
    from speed_parts import page

    template = Path(page.__file__).with_name("page.md.jinja").read_text()
    assert all(f'{{% if "{part}" in parts %}}' in template for part in speed.PARTS)
    quick = {part: speed.jobs(part, OPTIONS(quick=True)) for part in speed.PARTS}
    assert all(quick.values())
    options = OPTIONS(data_dir="images")
    full = {part: speed.jobs(part, options) for part in speed.PARTS}
    assert max(job["count"] for job in full["trusted"]) == 1_000_000
    assert {job["data"] for job in full["whole"]} == {"digits", "cifar10"}
    assert "short_outer" in full["whole"][0]["methods"]
    (job,) = speed.jobs("step", OPTIONS(networks=["small_cnn:32"], repeats=2))
    assert (job["backbone"], job["repeats"]) == ("small_cnn", 2)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_the_committed_page_is_that_of_the_committed_figures(scripts, path):
    if path.name == "gpu.json":
        from gpu import text_of as page
    else:
        from speed_parts.page import page

    notes = path.with_name("notes.md")
    said = [notes.read_text()] if notes.exists() else []
    text = page(json.loads(path.read_text()), *said)
    assert path.with_name("README.md").read_text() == text
