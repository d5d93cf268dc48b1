"""A full disk, a folder that cannot be written, a kill, and too little memory.

Nothing is lost by them: what was there before is there, or what replaces it, whole; and
an error names the place, the cause and what helps.
"""

import contextlib
import dataclasses
import errno
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from kdfixmatch_cli.app import app
from kdfixmatch_keras import KDFixMatch, TrustedSetBuilder, report
from kdfixmatch_keras.checks.memory import is_out_of_memory
from kdfixmatch_keras.clustering import KMeans
from kdfixmatch_keras.plots import plot_run
from kdfixmatch_keras.report.run_folder import RunFolder
from kdfixmatch_keras.sources import ArraySource, LabeledImages
from kdfixmatch_keras.sources.dataset_source import spool_dataset
from kdfixmatch_keras.storage.files import (
    UNFINISHED,
    held,
    remove_remains,
    standing,
    writing,
    written_aside,
)
from kdfixmatch_keras.training.plan import Plan
from kdfixmatch_keras.training.run_state import RunState, opened
from tests.cli.test_cli import invoke, write_images
from tests.training.test_run_state import (
    LABELED,
    UNLABELED,
    Stop,
    assert_same,
    fit,
    new_model,
    stop_at,
)
from tests.untraced import untraced

# A few steps make no good network.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(missing from|trusted samples|None of the):UserWarning"
)

CAUSES = {
    errno.ENOSPC: "no space left on device. Free space there, or choose another folder",
    errno.EACCES: "permission denied. Choose a folder that you may write to",
    errno.EROFS: "read-only file system. Choose another folder",
    errno.EFBIG: "file too large. Choose a file system that takes larger files",
}


# The disk: what Python asks of it is heard by an audit hook, before it is done

_listener = None


def _hook(event, arguments):
    if _listener is not None:
        _listener(event, arguments)


sys.addaudithook(_hook)

MAKING = ("open", "os.mkdir", "os.rename")
REMOVING = ("os.remove", "os.rmdir")
_FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@contextlib.contextmanager
def listening(folder, heard, events=MAKING + REMOVING):
    """Calls `heard(path)` before anything is made, moved or removed in a folder."""
    global _listener

    def listen(event, arguments):
        global _listener
        if event not in events or not isinstance(arguments[0], str | os.PathLike):
            return
        path = os.fspath(arguments[0])
        if not path.startswith(f"{folder}{os.sep}"):
            return
        if event == "open" and not arguments[2] & _FOR_WRITING:
            return
        if event == "os.mkdir" and os.path.isdir(path):  # Any disk says so.
            return
        # What is heard may use the disk itself.
        _listener = None
        try:
            heard(path)
        finally:
            _listener = listen

    _listener = listen
    try:
        yield
    finally:
        _listener = None


@contextlib.contextmanager
def refusing(folder, number, nth, lasting=False):
    """The disk refuses the nth demand, or all from it on; yields which were refused."""
    count, refused = 0, []

    def refuse(path):
        nonlocal count
        count += 1
        # Also when the same is tried again.
        if count == nth or path in refused or (lasting and count > nth):
            refused.append(path)
            raise OSError(number, os.strerror(number), path)

    events = MAKING + REMOVING if lasting else MAKING
    with listening(folder, refuse, events):
        yield refused


@contextlib.contextmanager
def unsynced(monkeypatch, nth):
    """The disk is full when the nth file or folder is synced with it."""
    sync, count, refused = os.fsync, 0, []

    def refuse(descriptor):
        nonlocal count
        count += 1
        if count == nth:
            refused.append(nth)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        yield refused


@contextlib.contextmanager
def files_up_to(size):
    """No file can grow above a size in bytes, whoever writes it, C++ included."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def tree(path):
    """Contents by name of a file or of all files in a folder; {} if there is none."""
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
        return {str(file.relative_to(path)): file.read_bytes() for file in files}
    return {"": path.read_bytes()} if path.exists() else {}


def remains(folder):
    return [p for p in folder.rglob(".*") if p.name.startswith((UNFINISHED, "."))]


def said(caught):
    """What a user reads: the message with its notes."""
    return " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


# The places that write: a new one is a line


class Place(NamedTuple):
    """Something that is written.

    Attributes:
        name: Name of the file or folder.
        write: Writes it, called with what `things` holds and its path.
        replaces: Whether it may be there already.
    """

    name: str
    write: object
    replaces: bool = True


class Things(NamedTuple):
    model: KDFixMatch
    contents: dict
    run: RunFolder


def save_state(things, path):
    RunState(path.parent, 0, is_new=True).save(things.model.inner, 1, {}, False)


def save_identity(things, path):
    path.unlink(missing_ok=True)
    with opened(path.parent, {"tau": 0.9}, 0):
        pass


def command(*arguments):
    """A command of `kdfixmatch` with an --output, whose error is raised again."""

    def write(things, path):
        result = CliRunner().invoke(app, [*arguments, str(things.run.path), *_to(path)])
        if result.exit_code:
            raise CommandFailed(result.output)

    return write


def _to(path):
    return ["--output", str(path), "--quiet"]


class CommandFailed(Exception):
    """What a command printed before it exited with 1."""


PLACES = [
    Place("model", lambda things, path: things.model.save(path)),
    Place("model.zip", lambda things, path: things.model.save(path)),
    Place("trusted.npz", lambda things, path: things.model.trusted_set.save(path)),
    Place("trusted.csv", lambda things, path: things.model.trusted_set.to_csv(path)),
    Place("fixmatch_inner-000001.npz", save_state),
    Place("identity.json", save_identity, replaces=False),
    Place("run.png", lambda things, path: plot_run(things.model, path)),
    Place("report.html", lambda things, path: report.write(things.contents, path)),
    Place(
        "run.json", lambda things, path: RunFolder(path.parent).write_facts({"a": 1})
    ),
    Place("by-report.html", command("report")),
    Place("by-trusted.csv", command("trusted")),
]
TENSORFLOW_PLACES = [
    Place("served", lambda things, path: things.model.export(path), replaces=False),
    Place(
        "model.onnx",
        lambda things, path: things.model.export(path, "onnx"),
        replaces=False,
    ),
]


def each(places):
    return pytest.mark.parametrize(
        "place",
        [
            pytest.param(
                place,
                id=place.name,
                marks=[pytest.mark.tensorflow] if place in TENSORFLOW_PLACES else [],
            )
            for place in places
        ],
    )


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    model = fit(new_model())
    run = RunFolder(tmp_path_factory.mktemp("run"))
    labels = LabeledImages(ArraySource(LABELED[0]), LABELED[1], model.class_names)
    contents = report.collect(model, labels, ArraySource(UNLABELED))
    run.write_facts({"command": "train", "finished": "today"})
    run.write_results(model)
    run.write_report(contents)
    return Things(model, contents, run)


def prepared(place, things, folder):
    """The path of a place, with something at it if it can be replaced."""
    path = folder / place.name
    if place.replaces:
        place.write(things, path)
    return path


def attempts(place, things, path, fault):
    """Writes with ever later faults until there is none; yields what was raised."""
    for nth in range(1, 100):
        with contextlib.ExitStack() as stack:
            refused = stack.enter_context(fault(nth))
            try:
                place.write(things, path)
            except (OSError, CommandFailed) as error:
                raised = error
            else:
                assert not refused
                return
        yield raised
    raise AssertionError("It never succeeded")


def check_error(error, number, path):
    assert f"Cannot write {path.parent}" in str(error)
    assert UNFINISHED not in str(error)
    assert CAUSES[number] in str(error)
    if isinstance(error, CommandFailed):
        (line,) = str(error).splitlines()
        assert line.startswith("Error: Cannot write")
    else:
        assert error.errno == number
        assert type(error) is type(OSError(number, ""))


@each(PLACES + TENSORFLOW_PLACES)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_whatever_the_disk_refuses_nothing_is_lost(place, number, things, tmp_path):
    path = prepared(place, things, tmp_path)
    before = tree(path)

    errors = 0
    for error in attempts(
        place, things, path, lambda nth: refusing(tmp_path, number, nth)
    ):
        check_error(error, number, path)
        assert tree(path) == before
        assert remains(tmp_path) == []
        errors += 1
    assert errors >= 2
    assert tree(path)
    assert remains(tmp_path) == []


@each(PLACES + TENSORFLOW_PLACES)
def test_a_full_disk_loses_nothing(place, things, tmp_path):
    for name in ("disk", "another"):
        (tmp_path / name).mkdir()
    another = prepared(place._replace(replaces=True), things, tmp_path / "another")
    largest = max(map(len, tree(another).values()))
    path = prepared(place, things, tmp_path / "disk")
    before = tree(path)

    for size in (0, largest // 2, largest - 1):
        with pytest.raises((OSError, CommandFailed)) as caught, files_up_to(size):
            place.write(things, path)
        check_error(caught.value, errno.EFBIG, path)
        assert tree(path) == before
        assert remains(path.parent) == []
    place.write(things, path)
    assert tree(path)


@each(PLACES + TENSORFLOW_PLACES)
def test_a_kill_at_any_moment_leaves_the_old_or_the_new(place, things, tmp_path):
    disk, copies = tmp_path / "disk", tmp_path / "copies"
    disk.mkdir()
    path = prepared(place, things, disk)
    before = tree(path)
    killed = []

    # What lies on the disk at a moment is what a process leaves that is killed then.
    def copy(changed):
        killed.append(copies / str(len(killed)) / place.name)
        shutil.copytree(disk, killed[-1].parent)

    with listening(disk, copy):
        place.write(things, path)
    after = tree(path)
    assert len(killed) >= 3
    for left in killed:
        assert tree(standing(left)) in (before, after)
        if place.replaces or tree(left) == {}:
            place.write(things, left)
        assert tree(left)
        assert standing(left) == left


@each([place for place in PLACES if place.name == "model"])
def test_a_model_loads_whenever_its_writer_was_killed(place, things, tmp_path):
    path = prepared(place, things, tmp_path)
    loaded = []

    def load(changed):
        if not path.exists():
            loaded.append(KDFixMatch.load(path))

    with listening(tmp_path, load):
        place.write(things, path)
    assert loaded
    np.testing.assert_array_equal(
        loaded[0].predict(UNLABELED), things.model.predict(UNLABELED)
    )


def test_a_disk_that_stays_read_only_leaves_the_old_or_the_new(things, tmp_path):
    place = PLACES[0]
    path = prepared(place, things, tmp_path)
    before = tree(path)
    for nth in range(1, 100):
        with refusing(tmp_path, errno.EROFS, nth, lasting=True) as refused:
            # It does without what comes last, the removal of the old one.
            with contextlib.suppress(OSError):
                place.write(things, path)
        left = tree(standing(path))
        assert left == before or left.keys() == before.keys()
        if not refused:
            break
    assert nth > 5
    assert standing(path) == path


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_not_yet_on_the_disk_is_not_moved(kind, tmp_path, monkeypatch):
    path = tmp_path / "result"

    def write(text):
        with written_aside(path) as aside:
            if kind == "folder":
                aside.mkdir()
                aside /= "part"
            aside.write_text(text)

    write("old")
    for nth in range(1, 10):
        with unsynced(monkeypatch, nth) as refused:
            if nth == (3 if kind == "folder" else 2):
                # That of the folder it was moved to, and the last one.
                break
            with pytest.raises(OSError, match="Cannot write .*result: no space left"):
                write("new")
        assert refused
        assert list(tree(path).values()) == [b"old"]
    write("new")
    assert list(tree(path).values()) == [b"new"]
    assert remains(tmp_path) == []


def test_only_errors_of_the_disk_get_other_words(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, written_aside(tmp_path / "new"):
        (tmp_path / "an image.png").read_bytes()
    assert "Cannot write" not in str(caught.value)
    with pytest.raises(ValueError, match="^wrong$"), written_aside(tmp_path / "new"):
        raise ValueError("wrong")


def test_a_disk_that_is_full_elsewhere_is_not_blamed_on_the_path(tmp_path):
    elsewhere = tmp_path / "elsewhere" / "spool"
    with pytest.raises(OSError) as caught, writing(tmp_path / "logs"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(elsewhere))
    assert str(elsewhere) in str(caught.value)
    assert "logs" not in str(caught.value)
    with pytest.raises(OSError, match="Cannot write .*logs: no space left"):
        with writing(tmp_path / "logs"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EACCES])
def test_a_folder_that_cannot_be_locked(number, tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match=f"Cannot write {tmp_path}: .*Choose ") as caught:
        with held(tmp_path):
            pass
    assert caught.value.errno == number


def test_a_folder_that_cannot_be_opened_to_be_locked(tmp_path):
    with pytest.raises(OSError, match="Cannot write .*gone: no such file"):
        with held(tmp_path / "gone"):
            pass


def test_remains_that_go_meanwhile_are_no_error(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{UNFINISHED}{name}" / "part").mkdir(parents=True)

    def remove_all(path):
        for folder in tmp_path.iterdir():
            shutil.rmtree(folder)

    with listening(tmp_path, remove_all, events=("os.rmdir",)):
        remove_remains(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_cannot_be_set_aside(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.write_facts({"a": 1})
    before = tree(run.path)
    with (
        pytest.raises(PermissionError, match="Cannot write .*run: permission denied"),
        refusing(tmp_path, errno.EACCES, 1),
    ):
        run.set_aside()
    assert tree(run.path) == before


@pytest.mark.tensorflow
@pytest.mark.parametrize("size", [0, 1000])
def test_the_temporary_file_of_a_dataset(size, tmp_path, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    images = tf.data.Dataset.from_tensor_slices(UNLABELED)
    with (
        pytest.raises(OSError, match=f"Cannot write {tmp_path}: .*TMPDIR"),
        files_up_to(size),
    ):
        spool_dataset(images, labeled=False, memory_bytes=1000)
    assert list(tmp_path.iterdir()) == []


# Training


@contextlib.contextmanager
def refusing_file(folder, name, number):
    """The disk does not take a file of some name."""

    def refuse(path):
        if Path(path).name == name:
            raise OSError(number, os.strerror(number), path)

    with listening(folder, refuse, events=("open",)):
        yield


@contextlib.contextmanager
def no_memory_to_cluster(monkeypatch):
    def fit_predict(self, z):
        np.empty(1 << 60, np.uint8)

    with monkeypatch.context() as patched:
        patched.setattr("sklearn.cluster.KMeans.fit_predict", fit_predict)
        yield


def test_a_training_goes_on_after_every_fault(tmp_path, monkeypatch, things):
    trained = []
    count = {
        stage: [
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs, stage=stage: trained.append(
                    (stage, epoch)
                )
            )
        ]
        for stage in ("outer", "inner")
    }

    def fail(fault):
        before = tree(tmp_path)
        trained.clear()
        with pytest.raises((OSError, MemoryError)) as caught, fault:
            fit(new_model(), tmp_path, callbacks=count)
        assert remains(tmp_path) == []
        # Of what was there, at most the checkpoint before the last two went.
        after = tree(tmp_path)
        assert len(before.keys() - after.keys()) <= 1
        assert all(after[name] == before[name] for name in before.keys() & after.keys())
        return said(caught)

    for name, number, epochs in (
        ("identity.json", errno.EROFS, []),
        ("fixmatch_outer-000002.npz", errno.ENOSPC, [("outer", 0), ("outer", 1)]),
        ("trusted.npz", errno.EACCES, [("outer", 1), ("outer", 2)]),
    ):
        words = fail(refusing_file(tmp_path, name, number))
        assert f"Cannot write {tmp_path / name}: {CAUSES[number]}" in words
        assert ("intact" in words) == (name != "identity.json")
        assert trained == epochs

    words = fail(no_memory_to_cluster(monkeypatch))
    assert "Clustering 40 samples of 8 dimensions" in words
    assert "with the same `run_dir`, `fit` goes on from the last" in words
    assert trained == []

    for name, number, epochs in (
        ("fixmatch_inner-000003.npz", errno.ENOSPC, [0, 1, 2]),
        ("fixmatch_inner-000004.npz", errno.ENOSPC, [2, 3]),
    ):
        words = fail(refusing_file(tmp_path, name, number))
        assert f"Cannot write {tmp_path / name}: {CAUSES[number]}" in words
        assert trained == [("inner", epoch) for epoch in epochs]
    assert_same(fit(new_model(), tmp_path), things.model)


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path):
    stop = stop_at("outer", 0, "on_epoch_begin")
    with pytest.raises(Stop):
        fit(new_model(), tmp_path / "run", callbacks=stop)
    before = tree(tmp_path)
    with (
        pytest.raises(OSError, match=r"Cannot write .*/run: read-only file system"),
        refusing(tmp_path, errno.EROFS, 1, lasting=True),
    ):
        fit(new_model(), tmp_path / "run", callbacks=stop)
    with (
        pytest.raises(PermissionError, match=r"Cannot write .*/new: permission denied"),
        refusing(tmp_path, errno.EACCES, 1),
    ):
        fit(new_model(), tmp_path / "new", callbacks=stop)
    assert tree(tmp_path) == before


# Memory


class Greedy:
    """A clustering that needs more memory than there is."""

    def __init__(self, need):
        self.need = need

    def fit_predict(self, z):
        self.need()


def of_pytorch():
    raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")


def of_jax():
    raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")


def of_numpy():
    np.empty(1 << 60, np.uint8)


def test_a_clustering_without_memory_is_called_as_the_user_called_it(monkeypatch):
    monkeypatch.setattr(KMeans, "fit_predict", lambda self, z: of_numpy())
    with pytest.raises(MemoryError, match="of 5 dimensions with clustering='kmeans'"):
        TrustedSetBuilder(clustering="kmeans").build(
            np.tile(np.eye(3, dtype="float32"), (20, 1)), np.zeros((60, 5), "float32")
        )


@pytest.mark.parametrize("need", [of_pytorch, of_jax, of_numpy])
def test_a_clustering_without_memory_says_what_needs_less(need):
    probabilities = np.tile(np.eye(3, dtype="float32"), (20, 1))
    embeddings = np.zeros((60, 5), "float32")
    builder = TrustedSetBuilder(clustering=Greedy(need))
    with pytest.raises(MemoryError) as caught:
        builder.build(probabilities, embeddings)
    message = str(caught.value)
    assert "Clustering 60 samples of 5 dimensions with clustering=" in message
    assert "Greedy" in message
    for remedy in ("clustering='kmeans'", "`tau_select`", "`embedding_dim`"):
        assert remedy in message


def test_labeling_without_memory_says_what_needs_less(things):
    class Images(ArraySource):
        def __getitem__(self, indices):
            raise MemoryError

    model = things.model
    data = model.load_data(LABELED, UNLABELED, None)
    data = dataclasses.replace(data, unlabeled=Images(UNLABELED))
    with (
        model.training(data, Plan(epochs=1, verbose=0)) as training,
        pytest.raises(MemoryError, match="Labeling 40 images .*`embedding_dim`"),
    ):
        training.label(model.outer)


@pytest.mark.tensorflow
def test_a_full_disk_of_tensorflow_is_no_lack_of_memory(tmp_path):
    import tensorflow as tf

    full = tf.errors.ResourceExhaustedError(
        None, None, f"{tmp_path}/logs/events.v2; No space left on device"
    )
    assert not is_out_of_memory(full)
    assert is_out_of_memory(tf.errors.ResourceExhaustedError(None, None, "OOM when"))
    with pytest.raises(OSError, match="Cannot write .*logs: no space left"):
        with writing(tmp_path / "logs"):
            raise full


# The command line


def test_train_into_a_place_that_cannot_be_written(tmp_path):
    for part in ("labeled/a", "labeled/b", "unlabeled"):
        write_images(tmp_path / part, "blue", 6, len(part))
    out = tmp_path / "out"
    out.mkdir()
    command = [
        *("train", "--labeled", tmp_path / "labeled", "--output", out / "run"),
        *("--unlabeled", tmp_path / "unlabeled", "--backbone", "small_cnn"),
        *("--weights", "none", "--embedding-dim", "4", "--batch-size", "4"),
        *("--unlabeled-ratio", "1", "--epochs", "1", "--clustering", "kmeans"),
        *("--tau-select", "0", "--seed", "0", "--no-supervised", "--quiet"),
    ]
    with refusing(out, errno.EROFS, 1, lasting=True):
        refused = invoke(*command)
    assert refused.exit_code == 1
    assert refused.output.startswith(f"Error: Cannot write {out}: read-only")
    assert list(out.iterdir()) == []

    checkpoint = out / "run" / "state" / "kdfixmatch" / "fixmatch_outer-000001.npz"
    with untraced(), refusing_file(out, checkpoint.name, errno.ENOSPC):
        failed = invoke(*command)
    assert failed.exit_code == 1
    *_, line = failed.output.splitlines()
    assert line == (
        f"Error: Cannot write {checkpoint}: {CAUSES[errno.ENOSPC]}. "
        "The same command goes on from the last checkpoint."
    )
    assert RunFolder(out / "run").began
    assert remains(out) == []


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["predict"], "predictions.csv"),
        pytest.param(["export"], "served", marks=pytest.mark.tensorflow),
        pytest.param(
            ["export", "--format", "onnx"], "model.onnx", marks=pytest.mark.tensorflow
        ),
    ],
)
def test_commands_on_a_full_disk(arguments, name, things, tmp_path):
    images = tmp_path / "images"
    write_images(images, "blue", 3, 0)
    inputs = [images] if arguments == ["predict"] else []
    path = tmp_path / "out" / name
    path.parent.mkdir()
    arguments = [*arguments, things.run.path, *inputs, "--output", path, "--quiet"]
    for fault, number in (
        (files_up_to(0), errno.EFBIG),
        (refusing(path.parent, errno.EACCES, 1), errno.EACCES),
    ):
        with fault:
            failed = invoke(*arguments)
        assert failed.exit_code == 1
        # JAX may have warned before that it cannot keep what it compiled.
        *_, line = failed.output.splitlines()
        assert line.startswith("Error: Cannot write ")
        assert CAUSES[number] in line
        assert list(path.parent.iterdir()) == []
    done = invoke(*arguments)
    assert done.exit_code == 0, done.output
    assert tree(path)
