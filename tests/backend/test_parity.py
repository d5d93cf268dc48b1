"""TensorFlow, JAX and PyTorch compute the same, and read what the others wrote.

Each runs `parity_run.py` in an environment of its own: the Python that
KDFIXMATCH_TENSORFLOW_PYTHON, KDFIXMATCH_JAX_PYTHON or KDFIXMATCH_TORCH_PYTHON names,
else that of `.venv`, `.venv-jax` or `.venv-torch` beside the package.
"""

import csv
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.backend import parity_run
from tests.backend.parity_run import CASES

pytestmark = pytest.mark.parity

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = {"tensorflow": ".venv", "jax": ".venv-jax", "torch": ".venv-torch"}
OTHERS = ("jax", "torch")
LIMIT = 1e-4


def variable_of(backend):
    return f"KDFIXMATCH_{backend.upper()}_PYTHON"


def python_of(backend):
    default = ROOT / ENVIRONMENTS[backend] / "bin" / "python"
    return os.environ.get(variable_of(backend), str(default))


@pytest.fixture(scope="module", autouse=True)
def environments():
    missing = [b for b in ENVIRONMENTS if not Path(python_of(b)).is_file()]
    assert not missing, f"no Python for {missing}; see the head of this module"


def start(backend, log, *arguments, **variables):
    """Starts the script with the Python of a backend; what it says is in a log."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # There is a process for each backend, and they would wait for one another.
        "OMP_NUM_THREADS": "1",
        variable_of("tensorflow"): python_of("tensorflow"),
        **variables,
    }
    with open(log, "w") as output:
        return subprocess.Popen(
            [python_of(backend), parity_run.__file__, *map(str, arguments)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def on_each(folder, parts, **variables):
    """Has each backend do its parts at once, in a process for each."""
    logs = {backend: folder / f"{backend}_{parts[backend][0]}.log" for backend in parts}
    processes = {
        backend: start(backend, log, folder, *parts[backend], **variables)
        for backend, log in logs.items()
    }
    failed = [backend for backend, process in processes.items() if process.wait()]
    assert not failed, "\n".join(logs[backend].read_text() for backend in failed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What all backends have written who computed, saved and read the same.

    In a first process each computes and saves; in a second one it reads what the others
    saved, and a run that JAX trained on `photos`.
    """
    folder = tmp_path_factory.mktemp("parity")
    rng = np.random.default_rng(0)
    for index in range(18):
        part = f"labeled/{'ab'[index % 2]}" if index < 6 else "unlabeled"
        (folder / "photos" / part).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        pixels[..., 2 * (index % 2)] //= 4
        Image.fromarray(pixels).save(folder / "photos" / part / f"{index}.png")
    alone = ["forward", "save", "steps"]
    first = dict.fromkeys(ENVIRONMENTS, alone) | {"jax": ["train_run", *alone]}
    on_each(folder, first)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    command = [python_of("tensorflow"), "-c", where]
    packages = subprocess.run(command, check=True, capture_output=True, text=True)
    second = {"tensorflow": ["load", "read_run"]}
    second |= dict.fromkeys(OTHERS, ["load", "read_run", "datasets"])
    on_each(folder, second, KDFIXMATCH_TENSORFLOW_PACKAGES=packages.stdout.strip())
    return folder


def written(part, folder):
    """`{backend: {name: array}}` of what a part of `parity_run.py` has written."""
    return {
        backend: dict(np.load(folder / f"{backend}_{part}.npz"))
        for backend in ENVIRONMENTS
    }


@pytest.fixture(scope="module")
def trained(folder):
    """What came of ten steps."""
    return written("steps", folder)


@pytest.fixture(scope="module")
def passed(folder):
    """What came of one pass forward."""
    return written("forward", folder)


def of_case(arrays, *case):
    prefix = "/".join(case) + "/"
    return {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_ten_steps_are_the_same(trained, case, backend):
    """All losses and metrics of each step, and in the end every variable."""
    expected = of_case(trained["tensorflow"], *case)
    found = of_case(trained[backend], *case)
    assert found.keys() == expected.keys()
    assert {name.split("/")[0] for name in found} >= {"logs", "student", "teacher"}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=LIMIT, err_msg=name)


def test_the_steps_have_something_to_differ_in(trained):
    """Some images have a target and some do not, and labels of both kinds count."""
    for case in CASES:
        found = of_case(trained["tensorflow"], *case)
        assert len(found["logs/loss"]) == 10
        assert found["logs/mask_rate"].min() < 0.95, case
        assert found["logs/unlabeled_loss"].max() > 0.1, case
        if case[-1] == "inner":
            assert 0.05 < found["logs/trusted_share"].max() < 1.0, case


@pytest.mark.parametrize("backend", OTHERS)
def test_small_cnn_has_the_same_losses_in_its_first_step(trained, backend):
    """In float32, where its later steps may part."""
    expected = of_case(trained["tensorflow"], "first")
    found = of_case(trained[backend], "first")
    assert found.keys() == expected.keys() != set()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=LIMIT, err_msg=name)


@pytest.mark.parametrize("backend", OTHERS)
def test_a_wide_resnet_predicts_the_same(passed, backend):
    """Its logits: with weights at random, probabilities are next to 0 and 1."""
    expected = passed["tensorflow"]["logits"]
    assert expected.std(axis=0).max() > 1.0
    limit = LIMIT * np.abs(expected).max()
    np.testing.assert_allclose(passed[backend]["logits"], expected, rtol=0, atol=limit)


@pytest.mark.parametrize("backend", OTHERS)
def test_strong_views_of_the_same_draws_are_the_same(passed, backend):
    """But for a pixel that rounding moves by a gray level, or across an edge."""
    expected = passed["tensorflow"]["randaugment"]
    assert (expected != passed["tensorflow"]["pixels"]).mean() > 0.5
    assert (passed[backend]["randaugment"] != expected).any(axis=-1).mean() < 1e-3


@pytest.mark.parametrize("reader", ENVIRONMENTS)
@pytest.mark.parametrize("writer", ENVIRONMENTS)
def test_a_saved_model_predicts_the_same(folder, writer, reader):
    saved = np.load(folder / f"{writer}_saved.npy")
    assert saved.std(axis=0).max() > 1e-3
    loaded = np.load(folder / f"{writer}_in_{reader}.npy")
    np.testing.assert_allclose(loaded, saved, rtol=0, atol=1e-5)


@pytest.mark.parametrize("writer", ENVIRONMENTS)
def test_an_exported_model_predicts_the_same(folder, writer):
    np.testing.assert_allclose(
        np.load(folder / f"{writer}_served.npy"),
        np.load(folder / f"{writer}_saved.npy"),
        rtol=0,
        atol=1e-5,
    )


def test_tf_data_is_read_as_arrays_are(folder):
    """Where TensorFlow is installed beside the backend."""
    for backend in OTHERS:
        found = dict(np.load(folder / f"{backend}_datasets.npz"))
        arrays, datasets = of_case(found, "arrays"), of_case(found, "datasets")
        assert arrays.keys() == {"loss", "predictions", "accuracy"}
        assert arrays["predictions"].std(axis=0).max() > 1e-3
        for name, value in arrays.items():
            np.testing.assert_array_equal(datasets[name], value, err_msg=name)


def test_the_folder_of_a_run_is_read_on_another_backend(folder):
    def rows(backend):
        with open(folder / f"{backend}.csv", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    expected = rows("jax")
    for backend in ("tensorflow", "torch"):
        html = (folder / f"{backend}.html").read_text(encoding="utf-8")
        assert "<html" in html
        found = rows(backend)
        assert [row["file"] for row in found] == [row["file"] for row in expected]
        np.testing.assert_allclose(
            [float(row["confidence"]) for row in found],
            [float(row["confidence"]) for row in expected],
            rtol=0,
            atol=1e-5,
        )
