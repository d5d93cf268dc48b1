"""The benchmark of GPUs, in sizes for a CPU, on every backend."""

import json
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.untraced import untraced

BACKEND = keras.backend.backend()
STEP = ["--part", "step", "--minutes", "1", "--backends", BACKEND, "--toy"]


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """The script, which writes into a folder of its own."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", BACKEND)
    import gpu

    return gpu


def run(gpu, monkeypatch, folder, *arguments):
    command = ["gpu.py", *arguments, "--output", str(folder)]
    monkeypatch.setattr(sys, "argv", command)
    return gpu.main()


def row_of(text, title):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {title} |")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_a_step_is_measured_on_every_backend(gpu, tiny_backbone):
    (job,) = gpu.jobs(gpu.parse(STEP))
    with untraced():
        found = gpu.measure({**job, "backbone": tiny_backbone}, 0.0, None, cpu=True)
    seconds = found["seconds"]
    names = {"bare", "metrics", "fit", "batches"}
    assert set(seconds) == names | ({"issued"} - {BACKEND == "tensorflow" and "issued"})
    assert all(len(x) == 2 and min(x) > 0 for x in seconds.values())
    text = gpu.text_of({"results": [{**found, "job": job}]})
    cells = row_of(text, "`small_cnn`, 8 px")
    efficiency = np.median(np.divide(seconds["bare"], seconds["fit"]))
    assert cells[0] == BACKEND
    assert cells[6].startswith(f"{efficiency:.2f} (")
    assert f"{keras.__version__}, " in text and "no GPU: this is the CPU" in text


def test_the_bare_networks_learn_nothing_and_the_whole_step_does(gpu, tiny_student):
    from kdfixmatch_keras import FixMatch, backend

    if backend.is_tensorflow():
        from speed_parts.levels import Levels
    else:
        from speed_parts.bare import Levels
    network = FixMatch(tiny_student(), seed=0)
    network.compile(optimizer=keras.optimizers.SGD(0.1))
    network.optimizer.build(network.trainable_variables)
    batch = {
        "labeled": np.zeros((2, 8, 8, 3), np.uint8),
        "trusted": np.full(4, -1, np.int32),
        "unlabeled": np.ones((4, 8, 8, 3), np.uint8),
        "unlabeled_index": np.arange(4, dtype=np.int32),
    }
    levels = Levels(network, (batch, np.array([0, 1], np.int32)), 2)
    before = network.student.get_weights()
    for _ in range(2):
        levels.compiled("bare")()
    weights = [variable.path for variable in network.student.weights]
    trained = {variable.path for variable in network.student.trainable_variables}
    for path, old, new in zip(
        weights, before, network.student.get_weights(), strict=True
    ):
        assert path not in trained or np.array_equal(old, new)
    if backend.is_stateless():
        # Its state is that of the level, not of the network.
        levels.compiled("metrics")()
        assert len(levels.issued) == 1
        return
    levels.compiled("metrics")
    assert int(network.num_updates) == 2


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")
@pytest.mark.parametrize("method", [0, 1])
def test_a_method_is_trained_until_the_time_is_over(
    gpu, method, tiny_backbone, monkeypatch
):
    from kdfixmatch_keras.training import timing

    # Twelve seconds a step, so that few of them fit into the time.
    network = timing.NetworkCosts(0.0, 12.0, 0.0, 0.0, 0.0, 64)
    costs = timing.Costs(network, network, 0.0)
    monkeypatch.setattr(timing, "measure", lambda *_: costs)
    options = gpu.parse(["--part", "accuracy", *STEP[2:]])
    job = gpu.jobs(options)[method]
    assert job["minutes"] == 0.5
    settings = {**job["settings"], "backbone": tiny_backbone}
    with untraced():
        found = gpu.accuracy(
            {**job, "settings": settings}, until=time.time() + 120, data_dir=None
        )
    assert 0 <= found["accuracy"] <= 1
    assert 8 <= found["steps"] <= 10
    assert found["image_passes"] > found["steps"] * 12
    result = {**found, "job": job, "seconds_in_all": 6.0, "commit": "0"}
    result |= {"accuracy": 0.7999, "machine": {"accelerators": ["H100"]}}
    result["machine"] |= {"cores": 1, "processor": "P"}
    text = gpu.text_of({"results": [result]})
    cells = row_of(text, ["KD-FixMatch", "FixMatch"][method])
    assert cells[-3:] == ["80.0", "≥ 80", "**not met**"]
    assert "- H100; 1 cores of P" in text


def test_it_writes_as_it_goes_and_goes_on_with_what_is_missing(
    gpu, monkeypatch, tmp_path, capsys
):
    asked = []
    seconds = {name: [1.0, 2.0] for name in ("bare", "metrics", "fit")}
    machine = {"accelerators": [], "cores": 1, "processor": "P"}

    def measured(job, left, options):
        assert left <= 60
        asked.append(job["precision"])
        kept = tmp_path / "out" / "gpu.json"
        assert not kept.exists() or job not in json.loads(kept.read_text())["results"]
        if asked.count("float32") == 1 and job["precision"] == "float32":
            return None
        return {"job": job, "seconds": seconds, "machine": machine, "commit": "0"}

    monkeypatch.setattr(gpu, "measured", measured)
    written = {**gpu.WRITTEN["toy"]["step"], "precisions": ["mixed_float16", "float32"]}
    monkeypatch.setitem(gpu.WRITTEN["toy"], "step", written)
    out = tmp_path / "out"
    assert run(gpu, monkeypatch, out, *STEP, "--cpu") == 1
    assert f"step {BACKEND} float32 small_cnn" in capsys.readouterr().out
    assert len(json.loads((out / "gpu.json").read_text())["results"]) == 1
    assert run(gpu, monkeypatch, out, *STEP, "--cpu") == 0
    assert asked == ["mixed_float16", "float32", "float32"]
    page = (out / "README.md").read_text()
    assert page.count("| `small_cnn`, 8 px |") == 2
    assert run(gpu, monkeypatch, out, *STEP, "--cpu") == 0
    assert len(asked) == 3


def test_nothing_begins_when_the_time_is_over(gpu, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "measured", lambda *_: pytest.fail("it began"))
    clock = iter([0.0, 61.0])
    monkeypatch.setattr(gpu.time, "time", lambda: next(clock))
    assert run(gpu, monkeypatch, tmp_path, *STEP) == 1


def test_without_a_gpu_the_cpu_is_measured_only_if_that_is_said(gpu):
    (job,) = gpu.jobs(gpu.parse(STEP))
    with pytest.raises(SystemExit, match="finds no GPU here, .*Pass --cpu"):
        gpu.measure(job, 0.0, None, cpu=False)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--part", "accuracy", "--minutes", "8"], "`--data-dir` must be a folder"),
        (
            ["--backends", "tensorflow", "jax", "torch"],
            "`--backends` must be installed",
        ),
        (["--carried", "."], "`--carried` must be a folder that benchmarks/carried.py"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_measured(
    gpu, monkeypatch, tmp_path, arguments, words
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu, "measured", lambda *_: pytest.fail("it began"))
    # Whatever is installed here.
    find = gpu.importlib.util.find_spec
    missing = "torch" if "torch" in arguments else "none"
    monkeypatch.setattr(
        gpu.importlib.util, "find_spec", lambda x: None if x == missing else find(x)
    )
    given = ["--part", "step", "--minutes", "1", "--backends", BACKEND, *arguments]
    with pytest.raises(SystemExit) as caught:
        run(gpu, monkeypatch, tmp_path / "out", *given)
    assert words in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_takes_too_long_is_ended(gpu, capsys):
    import workers

    with workers.process() as process:
        assert workers.result(process, time.sleep, 600, within=0.2) is None
    assert "Ended, as it took more than 0 s" in capsys.readouterr().out


def test_what_was_carried_is_unpacked(gpu, tmp_path):
    import carried

    folder, into = tmp_path / "carried", tmp_path / "into"
    folder.mkdir()
    into.mkdir()
    with zipfile.ZipFile(folder / "lacking-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lacking.py", "IS_THERE = True\n")
        about = "lacking-1.0.dist-info"
        wheel.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: lacking\nVersion: 1.0\n"
        )
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    images = tmp_path / "images"
    for part in ("train", "test"):
        (images / part / "cat").mkdir(parents=True)
        (images / part / "cat" / "0.jpg").write_bytes(b"0")
    archive = folder / "images.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(images / "train", "some/train")
    assert not carried._has_images(archive)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(images, "some")
    assert carried._has_images(archive)
    site, found = carried.unpack(folder, into)
    assert (site / "lacking.py").is_file()
    assert (found / "train" / "cat" / "0.jpg").read_bytes() == b"0"
    assert (found / "test").is_dir()
