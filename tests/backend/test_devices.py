"""A training on several devices is that on one, and what cannot be one is refused."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest

from kdfixmatch_keras import KDFixMatch, backend, baselines
from kdfixmatch_keras.backend import devices
from kdfixmatch_keras.classifier import resolve_precision
from tests.backend import device_runs

SCRIPT = Path(device_runs.__file__)
RUNS = {
    "flexmatch": {
        "settings": {
            "clustering": "dec",
            "tau": 0.37,
            "tau_select": 0.36,
            "tau_inner": 0.9,
        },
        "fit": {"outer_epochs": 2},
    },
    "adaptive": {
        "settings": {
            "threshold": "freematch",
            "inner_threshold": "softmatch",
            "distribution_alignment": True,
        },
        "only": "trained",
    },
    "mean_teacher": {"settings": {"method": "MeanTeacher"}, "only": "trained"},
    "batch_norm": {
        "settings": {"method": "FixMatch", "batch_norm": True},
        "fit": {"epochs": 1, "steps_per_epoch": 1},
    },
    "uneven": {"settings": {"method": "FixMatch", "batch_size": 3}},
    "half": {
        "settings": {"method": "FixMatch", "mixed_precision": True},
        "fit": {"epochs": 1},
    },
    "clipped": {
        "settings": {"method": "FixMatch", "clipnorm": 0.1},
        "fit": {"epochs": 1},
    },
}
# Those that are compared between one process and two.
IN_PROCESSES = ("flexmatch", "batch_norm", "clipped")
AUGMENTED = {
    "settings": {
        "backbone": "small_cnn",
        "weak_augmentation": "flip_shift",
        "strong_augmentation": "randaugment",
    },
    "fit": {"epochs": 1, "steps_per_epoch": 2},
    "only": "predicted",
}
# That goes on after a kill, and the same without one.
STOPPED = {
    "settings": {"batch_norm": True},
    "fit": {"outer_epochs": 2},
    "only": "trained",
}
BACKENDS = [
    pytest.param("tensorflow", marks=pytest.mark.tensorflow),
    pytest.param("jax", marks=pytest.mark.jax),
]


class Found(NamedTuple):
    """What processes of one backend did, with one device and with two.

    Attributes:
        backend: Its name.
        runs: What came of each of `RUNS` on one device and on two, by name.
        folder: Where that of two devices wrote those runs, and more: "stopped", which
            goes on where a process was killed, "whole", and "augmented".
        said: What the one that was killed and that of two devices said.
    """

    backend: str
    runs: dict
    folder: Path
    said: list


@pytest.fixture(scope="module", params=BACKENDS)
def found(request, tmp_path_factory):
    """One process for all runs on one device, and one for those on two.

    Before the latter another is killed, whose training it goes on with.
    """
    backend = request.param
    one, two = (tmp_path_factory.mktemp(f"devices_{count}") for count in (1, 2))
    fit = STOPPED["fit"] | {"run_dir": str(tmp_path_factory.mktemp("run") / "run")}
    stopped = {"stopped": STOPPED | {"fit": fit}}
    kept = "exported" if backend == "tensorflow" else "saved"
    more = {"whole": STOPPED, "augmented": {**AUGMENTED, "kept": kept}}
    on_one = start(backend, 1, one, json.dumps(RUNS))
    killed = start(backend, 2, two, json.dumps(stopped), KILLED_IN="inner")
    said = [killed.communicate()[0]]
    assert killed.returncode == -signal.SIGKILL, said
    assert not list(two.iterdir())
    # In a process of its own layers are called as in the one that was killed.
    on_two = start(backend, 2, two, json.dumps(stopped | RUNS | more))
    said.append(on_two.communicate()[0])
    said_on_one = on_one.communicate()[0]
    assert len(list(one.iterdir())) == len(RUNS), said_on_one
    assert {path.stem for path in two.glob("*.npz")} == {*stopped, *RUNS, *more}, said
    runs = {name: [load(folder, name) for folder in (one, two)] for name in RUNS}
    return Found(backend, runs, two, said)


def start(backend, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, arguments)],
        env=os.environ | {"KERAS_BACKEND": backend} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def assert_close(one, two):
    assert one.keys() == two.keys()
    for name, expected in one.items():
        np.testing.assert_allclose(
            two[name], expected, rtol=1e-5, atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("name", ["flexmatch", "adaptive", "mean_teacher"])
def test_two_devices_do_what_one_does(found, name):
    one, two = found.runs[name]
    assert "error" not in one, one
    # It is no test of thresholds where all images count, or none.
    if name == "flexmatch":
        assert 0 < one["outer_mask_rate"].mean() < 1
        assert len(set(one["trusted"])) > 1
    assert_close(one, two)


def test_batch_norm_sees_the_part_of_each_device_on_tensorflow_and_the_whole_on_jax(
    found,
):
    one, two = found.runs["batch_norm"]
    mean, variance = (
        next(name for name in one if name.endswith(kind))
        for kind in ("moving_mean", "moving_variance")
    )
    np.testing.assert_allclose(one[mean], two[mean], atol=1e-5)
    if found.backend == "jax":
        assert_close(one, two)
    else:
        # The mean of variances within parts leaves out the variance between them.
        assert (two[variance] < one[variance]).all()
        assert (two[variance] > 0.5 * one[variance]).all()


def test_a_batch_that_devices_cannot_share_evenly_is_refused(found):
    one, two = found.runs["uneven"]
    assert "error" not in one
    assert "`batch_size` must be a multiple of 2" in str(two["error"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("half", "must not be mixed_float16 on several devices"),
        ("clipped", "Received: clipnorm=0.1"),
    ],
)
def test_what_devices_of_tensorflow_are_refused_those_of_jax_do_as_one(
    found, name, message
):
    one, two = found.runs[name]
    assert "error" not in one, one
    if found.backend == "tensorflow":
        assert message in str(two["error"])
    elif name == "half":
        # Sums of halves that are rounded apart.
        assert one.keys() == two.keys()
        for key in one:
            np.testing.assert_allclose(two[key], one[key], atol=1e-2, err_msg=key)
    else:
        assert_close(one, two)


@pytest.mark.parametrize("strategy", ["MultiWorkerMirrored", "Mirrored"])
@pytest.mark.tensorflow
def test_of_the_strategies_of_tensorflow_only_those_for_one_host_are_taken(strategy):
    import tensorflow as tf

    with getattr(tf.distribute, f"{strategy}Strategy")().scope():
        if strategy == "Mirrored":
            devices.check(batch_size=4)
        else:
            with pytest.raises(RuntimeError, match="several hosts need JAX"):
                devices.check(batch_size=4)


@pytest.mark.jax
def test_of_the_distributions_of_keras_only_that_of_data_is_taken():
    mesh = keras.distribution.DeviceMesh(
        (1,), ["batch"], keras.distribution.list_devices()[:1]
    )
    layout = keras.distribution.LayoutMap(mesh)
    with (
        keras.distribution.ModelParallel(layout_map=layout).scope(),
        pytest.raises(RuntimeError, match="use keras.distribution.DataParallel"),
    ):
        devices.check(batch_size=4)


def run_together(folder, runs, ending=None):
    """Two processes with a device each; what they said, and what came of the runs.

    The second has the environment variable `ending`, for its inner network.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []
    for number in range(2):
        (folder / str(number)).mkdir(parents=True)
        # Both get the same time-outs.
        environment = {ending: "" if number == 0 else "inner"} if ending else {}
        devices_of_it = f"{number}/2@{port}"
        arguments = devices_of_it, folder / str(number), json.dumps(runs)
        running.append(start("jax", *arguments, **environment))
    said = [process.communicate(timeout=300)[0] for process in running]
    return said, [
        {name: load(folder / str(number), name) for name in runs} for number in range(2)
    ]


def load(folder, name):
    file = folder / f"{name}.npz"
    return dict(np.load(file)) if file.exists() else {}


@pytest.fixture(scope="module")
def on_one(tmp_path_factory):
    """What comes of some runs in one process, by name."""
    folder = tmp_path_factory.mktemp("one_process")
    runs = {name: RUNS[name] for name in IN_PROCESSES}
    said = start("jax", 1, folder, json.dumps(runs)).communicate()[0]
    found = {name: load(folder, name) for name in runs}
    for arrays in found.values():
        assert arrays and "error" not in arrays, said
        del arrays["predicted_outside"]
    return found


@pytest.fixture(scope="module")
def in_two(tmp_path_factory):
    """The folder of two processes, what they said, and what came of runs in each."""
    runs = {name: RUNS[name] for name in IN_PROCESSES}
    runs["unseeded"] = {"settings": {"method": "FixMatch", "seed": None}}
    runs["uneven"] = RUNS["uneven"]
    runs["augmented"] = {**AUGMENTED, "kept": "saved"}
    folder = tmp_path_factory.mktemp("two_processes")
    return folder, *run_together(folder, runs)


@pytest.mark.jax
def test_two_processes_do_what_one_does(on_one, in_two):
    _, said, (first, second) = in_two
    assert first["flexmatch"] and second["flexmatch"], said
    for name, expected in on_one.items():
        assert_close(expected, first[name])
    for name in (*IN_PROCESSES, "unseeded"):
        assert first[name].keys() == second[name].keys()
        for key, value in first[name].items():
            np.testing.assert_array_equal(value, second[name][key], err_msg=key)


@pytest.mark.jax
def test_a_batch_that_processes_cannot_share_evenly_is_refused(in_two):
    for found in in_two[-1]:
        assert "`batch_size` must be a multiple of 2" in str(found["uneven"]["error"])


@pytest.mark.jax
def test_what_two_processes_trained_with_the_default_augmentation_is_saved(in_two):
    folder, said, (live, _) = in_two
    assert "predicted" in live["augmented"], said
    images, _ = device_runs.images(41, 2)
    saved = KDFixMatch.load(folder / "0" / "augmented_saved")
    predicted = saved.predict(images, batch_size=16)
    assert predicted.std() > 1e-3
    np.testing.assert_allclose(
        predicted, live["augmented"]["predicted"], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("ending", ["KILLED_IN", "RAISES_IN"])
@pytest.mark.jax
def test_a_process_that_ends_ends_the_other_and_both_go_on(on_one, tmp_path, ending):
    run = RUNS["flexmatch"]
    fit = run["fit"] | {"run_dir": str(tmp_path / "run")}
    runs = {"flexmatch": run | {"fit": fit}}
    said, (first, second) = run_together(tmp_path / "ended", runs, ending)
    if ending == "KILLED_IN":
        assert second["flexmatch"] == {}
    else:
        assert str(second["flexmatch"]["error"]) == "A callback of one's own."
    assert "error" in first["flexmatch"], said
    message = str(first["flexmatch"]["error"])
    assert message.startswith("One of the processes of this training has ended")
    assert "it goes on from the last epoch that `run_dir` keeps" in message
    kept = sorted(path.name for path in (tmp_path / "run").glob("*_inner-*"))
    assert kept == ["fixmatch_inner-000001.npz"]

    said, found = run_together(tmp_path / "resumed", runs)
    for of_process in found:
        assert of_process["flexmatch"], said
        # Of the inner network only the second was left.
        assert of_process["flexmatch"].pop("epochs").tolist() == [1]
        expected = {k: v for k, v in on_one["flexmatch"].items() if k != "epochs"}
        assert_close(expected, of_process["flexmatch"])


@pytest.mark.jax
def test_a_process_that_cannot_read_its_images_ends_the_other(tmp_path):
    runs = {"flexmatch": RUNS["flexmatch"]}
    said, (first, second) = run_together(tmp_path, runs, "CANNOT_READ_IN")
    assert "`labeled` must" in str(second["flexmatch"]["error"]), said
    assert str(first["flexmatch"]["error"]).startswith(
        "One of the processes of this training has ended. Start all of them again"
    ), said


def test_devices_with_batch_norm_go_on_with_the_same_bits(found):
    one, two = load(found.folder, "whole"), load(found.folder, "stopped")
    assert "error" not in one and one.keys() == two.keys(), found.said
    assert one.pop("epochs").tolist() == [0, 1, 0, 1]
    # Of the inner network only the second was left.
    assert two.pop("epochs").tolist() == [1]
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], err_msg=name)


def test_what_devices_trained_with_the_default_augmentation_is_saved(found):
    live = load(found.folder, "augmented")
    assert "predicted" in live, (found.said, live)
    images, _ = device_runs.images(41, 2)
    saved = KDFixMatch.load(found.folder / "augmented_saved")
    predictions = [saved.predict(images, batch_size=16)]
    if found.backend == "tensorflow":
        import tensorflow as tf

        archive = tf.saved_model.load(str(found.folder / "augmented_exported"))
        served = archive.signatures["serving_default"](images=tf.constant(images))
        predictions.append(served["probabilities"])
    assert live["predicted"].std() > 1e-3
    for predicted in predictions:
        np.testing.assert_allclose(predicted, live["predicted"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixed_precision": True}, "must not be mixed_float16 on several devices"),
        ({"optimizer": keras.optimizers.Adam(clipnorm=1.0)}, "Received: clipnorm=1.0"),
    ],
)
def test_what_keras_computes_otherwise_on_replicas_is_refused(
    tiny_backbone, tiny_images, monkeypatch, settings, message
):
    images, labels = tiny_images
    model = baselines.Supervised(tiny_backbone, weights=None, **settings)
    monkeypatch.setattr(devices, "has_replicas", lambda: True)
    with pytest.raises(ValueError, match=message):
        model.fit((images, labels), images, epochs=1, verbose=0)


def test_on_replicas_a_gpu_trains_in_full_precision(monkeypatch):
    monkeypatch.setattr(backend, "has_gpu", lambda: True)
    assert resolve_precision("auto") == "mixed_float16"
    monkeypatch.setattr(devices, "has_replicas", lambda: True)
    assert resolve_precision("auto") == "float32"


def test_a_loss_of_ones_own_needs_images_that_devices_share_evenly(
    tiny_backbone, tiny_images, monkeypatch
):
    images, labels = tiny_images
    model = baselines.Supervised(tiny_backbone, weights=None, embedding_dim=8, seed=0)
    model.fit((images, labels), images, epochs=1, steps_per_epoch=1, verbose=0)
    model.network.compile(loss="sparse_categorical_crossentropy")
    monkeypatch.setattr(devices, "sharing", lambda network: devices.Sharing(5))
    with pytest.raises(ValueError, match="multiple of 5.*Received: 24 images"):
        model.evaluate(images, labels)
