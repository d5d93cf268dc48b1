"""Work of other processes: trainings, and what their runs make of the images."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras.report.run_folder import RunFolder, to_json
from kdfixmatch_keras.storage.integrity import sealed
from kdfixmatch_web.image_folder import ImageFolder
from kdfixmatch_web.job import Job
from kdfixmatch_web.label_store import Change, LabelStore
from kdfixmatch_web.labeling import Labeling
from kdfixmatch_web.outlook import Outlook, write_outlook
from kdfixmatch_web.pictures import Pictures
from kdfixmatch_web.scout import Scout
from kdfixmatch_web.suggestions import read_suggestions, write_suggestions
from kdfixmatch_web.trainings import USUAL_SIZE, Trainings, proposed_size, read_run

NAMES = [f"{number}.png" for number in range(6)]
# Of two classes: from sure of the first to sure of the second.
PROBABILITIES = np.array([[p, 1 - p] for p in (1, 0.8, 0.6, 0.45, 0.2, 0)])
EMBEDDINGS = np.array([[np.cos(a), np.sin(a)] for a in np.linspace(0, 1.5, 6)])


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in NAMES:
        Image.new("L", (8, 8)).save(folder / name)
    return ImageFolder(folder)


@pytest.fixture
def labels(tmp_path, images):
    path = tmp_path / "labels.csv"
    path.write_text("file,label\n0.png,cat\n1.png,cat\n2.png,dog\n3.png,dog\n")
    return path


@pytest.fixture
def started(monkeypatch):
    """What would have been started."""
    found = []
    monkeypatch.setattr(Job, "start", lambda self, *arguments: found.append(arguments))
    return found


def write_run(folder, accuracy=None, cross_validated=None, labeled=4, **facts):
    run = RunFolder(folder)
    found = {
        "started": "today",
        "finished": "today",
        "images": {"labeled": labeled},
        "test_accuracy": {} if accuracy is None else {"inner": accuracy},
        **facts,
    }
    run.write_facts(found)
    probe = {"cross_validated_accuracy": cross_validated}
    contents = sealed({"probe": probe}, "report.json")
    (folder / "report.json").write_text(to_json(contents))


MEASURED = "linear probe, cross-validated on the labels"


# A process that outlives its server


FOREVER = "import signal\nprint('going on', flush=True)\nsignal.pause()"


@contextmanager
def endless(job):
    job.start([sys.executable, "-c", FOREVER], {"run": "run-1"})
    try:
        yield
    finally:
        job.stop()
        if job._process is not None:
            job._process.wait(10)


def test_a_job_is_found_again_and_ended_by_another(tmp_path):
    first, second = Job(tmp_path, "training"), Job(tmp_path, "training")
    assert not first.is_running() and first.facts() == {} and first.lines() == []
    with endless(first):
        assert second.is_running()
        assert second.facts()["run"] == "run-1"
        with pytest.raises(RuntimeError, match="is running already"):
            second.start([sys.executable, "-c", ""], {})
        second.stop()
        first._process.wait(10)
        assert not second.is_running() and not first.is_running()


def test_a_number_that_another_process_has_since_is_not_ended(tmp_path):
    with subprocess.Popen([sys.executable, "-c", FOREVER], stdout=-1) as other:
        other.stdout.readline()
        (tmp_path / "training.json").write_text(json.dumps({"pid": other.pid}))
        Job(tmp_path, "training").stop()
        assert other.poll() is None
        other.send_signal(signal.SIGKILL)


# Trainings


def test_a_training_gets_its_own_copy_of_the_labels(tmp_path, images, labels, started):
    options = ["--epochs", "2"]
    trainings = Trainings(tmp_path / "runs", images, tmp_path / "test", options)
    trainings.start(labels, 1.5, 32)
    ((command, facts),) = started
    assert command[1:5] == ["-P", "-m", "kdfixmatch_cli", "train"]
    given = dict(zip(command[5::2], command[6::2], strict=True))
    copy = tmp_path / "runs" / "run-1.csv"
    assert given == {
        "--unlabeled": str(images.root),
        "--labels": str(copy),
        "--output": str(tmp_path / "runs" / "run-1"),
        "--on-error": "skip",
        "--test": str(tmp_path / "test"),
        "--minutes": "1.5",
        "--image-size": "32",
        "--epochs": "2",
    }
    assert facts["run"] == "run-1"
    before = copy.read_bytes()
    LabelStore(labels, images).change([Change("5.png", "dog")])
    assert copy.read_bytes() == before
    # Also after one that was refused before it made its folder.
    trainings.start(labels, None, None)
    assert "--minutes" not in started[1][0] and started[1][1]["run"] == "run-2"
    trainings.start(labels, None, None, tmp_path / "earlier")
    command = started[2][0]
    earlier = command[command.index("--continue-from") + 1]
    assert earlier == str(tmp_path / "earlier") and "--image-size" not in command
    with pytest.raises(ValueError, match="`image_size` must be left out"):
        trainings.start(labels, None, 32, tmp_path / "earlier")


def test_how_far_a_training_is_and_that_it_is_stopped(tmp_path, images, labels):
    labeling = labeling_of(tmp_path, images, labels, seeks=False)
    assert labeling.state()["training"] is None and labeling.training() is None
    job = Job(tmp_path / "runs", "training")
    epochs = "print('outer network, epoch 3/8: loss 0.5, 2 s left', flush=True)\n"
    job.start([sys.executable, "-c", epochs + FOREVER], {"run": "run-1"})
    try:
        while len(job.lines()) < 2:
            assert job.is_running()
        found = labeling.state()["training"]
        assert found["running"] and found["name"] == labeling.training() == "run-1"
        assert found["epochs"] == {"network": "outer", "done": 3, "of": 8}
        labeling.stop()
        job._process.wait(10)
    finally:
        job._process.kill()
    found = labeling.state()["training"]
    assert not found["running"] and found["failed"]
    assert found["lines"][-1] == "It was ended before it was done."
    job.start([sys.executable, "-c", "print('Error: too few')"], {"run": "run-2"})
    job._process.wait(10)
    assert labeling.state()["training"]["lines"] == ["Error: too few"]


def test_what_runs_gave_is_told_by_their_own_measure(tmp_path, images):
    write_run(tmp_path / "run-1", cross_validated=0.5)
    write_run(tmp_path / "run-2", accuracy=0.75, cross_validated=0.5, labeled=8)
    write_run(tmp_path / "run-10")
    (tmp_path / "run-3").mkdir()
    (tmp_path / "run-3" / "run.json").write_text("{")
    RunFolder(tmp_path / "run-4").write_facts({"command": "kdfixmatch train"})
    RunFolder(tmp_path / "run-11").write_facts({"finished": "long ago"})
    runs = Trainings(tmp_path, images, None, []).finished()
    assert [(run.path.name, run.labels, run.accuracy) for run in runs] == [
        ("run-1", 4, 0.5),
        ("run-2", 8, 0.75),
        ("run-10", 4, None),
        ("run-11", 0, None),
    ]
    assert runs[0].measured == MEASURED and runs[1].measured == "test images"


def test_a_size_is_proposed_where_images_need_one(tmp_path, images):
    assert proposed_size(images) is None
    Image.new("L", (8, 9)).save(images.root / "4.png")
    assert proposed_size(images) == USUAL_SIZE
    assert Trainings(tmp_path, images, None, ["--image-size=64"]).image_size is None
    for name in NAMES:
        (images.root / name).write_bytes(b"none")
    assert proposed_size(images) is None


# What a run makes of the images


def test_guesses_doubts_and_likenesses(tmp_path):
    path = tmp_path / "look.npz"
    write_outlook(path, NAMES, ["cat", "dog ü"], PROBABILITIES, EMBEDDINGS * 7)
    outlook = Outlook.read(path)
    assert outlook.class_names == ["cat", "dog ü"]
    assert outlook.guess("1.png").label == "cat"
    assert outlook.guess("3.png").confidence == pytest.approx(0.55)
    assert outlook.guess("gone.png") is None
    assert list(outlook.doubtful())[:2] == ["3.png", "2.png"]
    assert list(outlook.doubtful("dog ü")) == ["3.png", "4.png", "5.png"]
    assert outlook.similar("0.png", ["5.png", "1.png", "0.png", "gone.png"], 2) == [
        "1.png",
        "5.png",
    ]
    assert outlook.similar("gone.png", NAMES, 2) == []
    assert outlook.similar("0.png", [], 2) == []


def labeling_of(tmp_path, images, labels, run=None, seeks=True):
    store = LabelStore(labels, images)
    return Labeling(
        images,
        store,
        Pictures(images, tmp_path / "pictures"),
        Trainings(tmp_path / "runs", images, None, []),
        Scout(tmp_path / "looks", images, store, tmp_path / "test", seeks),
        run,
    )


def files(found):
    return [item["file"] for item in found["items"]]


def test_when_a_run_ends_its_doubts_come_first(tmp_path, images, labels, started):
    labels.write_text("file,label\n5.png,dog\n")
    write_run(tmp_path / "own")
    labeling = labeling_of(tmp_path, images, labels, read_run(tmp_path / "own"))
    assert labeling.state()["run"] == "own"
    assert labeling.state()["runs"] == [
        {"name": "own", "labels": 4, "accuracy": None, "measured": MEASURED}
    ]
    assert files(labeling.queue(0, 9)) == NAMES[:5]
    assert labeling.state()["order"] == 1
    write_run(tmp_path / "runs" / "run-1")
    started.clear()
    assert labeling.state()["run"] == "run-1"
    ((command, facts),) = started
    assert command[1:4] == ["-P", "-m", "kdfixmatch_web.look"]
    assert command[-1] == str(tmp_path / "test")
    looking = {"is_running": lambda: True, "facts": lambda: facts}
    vars(labeling._scout._job).update(looking)
    labels.write_text("file,label\n5.png,dog\n4.png,cat\n")
    labeling.train(None, None, goes_on=True)
    assert str(tmp_path / "runs" / "run-1") in started[-1][0]
    labeling.change([Change("4.png", None, "cat")])
    # One that the run could not read is still asked for.
    (tmp_path / "looks").mkdir()
    output = Path(command[-2])
    suggested = [("1.png", "typical", "cat", 0.8), ("gone.png", "typical", "cat", 1)]
    write_suggestions(output.with_suffix(".csv"), suggested)
    write_outlook(
        *(output, [*NAMES[:4], "gone.png"], ["cat", "dog"]),
        *(PROBABILITIES[:5], EMBEDDINGS[:5]),
    )
    assert labeling.state()["order"] == 2
    queue = labeling.queue(0, 9)
    assert files(queue) == ["1.png", "3.png", "2.png", "0.png", "4.png"]
    assert queue["items"][0]["reason"] == "typical"
    assert queue["items"][1]["guess"] == "dog" and "guess" not in queue["items"][4]
    assert files(labeling.taken_for("cat", 2)) == ["2.png", "1.png"]
    assert labeling.taken_for("cat", 2)["rest"] == 1
    assert files(labeling.labeled_as("dog", 9)) == ["5.png"]
    # The keys of those that were used before stay.
    classes = [known["name"] for known in labeling.state()["classes"]]
    assert classes == ["dog", "cat"]
    labeling.change([Change("3.png", "dog"), Change("0.png", "dog")])
    # Which it takes for a cat.
    assert files(labeling.labeled_as("dog", 2)) == ["0.png", "3.png"]
    assert labeling.labeled_as("dog", 2)["rest"] == 1
    assert files(labeling.similar("2.png")) == ["3.png", "0.png"]
    with pytest.raises(KeyError):
        labeling.similar("../gone.png")


def test_a_look_that_fails_is_told_and_tried_again_by_the_next_command(
    tmp_path, images, labels, monkeypatch
):
    failing = (sys.executable, "-c", "print('Error: no such model')")
    monkeypatch.setattr("kdfixmatch_web.scout.PYTHON", failing)
    write_run(tmp_path / "runs" / "run-1")
    run = read_run(tmp_path / "runs" / "run-1")
    for _ in range(2):
        scout = Scout(tmp_path / "looks", images, LabelStore(labels, images))
        assert not scout.follow(run) and scout.trouble == ""
        process = scout._job._process
        process.wait(10)
        for _ in range(2):
            assert not scout.follow(run)
        assert scout._job._process is process
        assert scout.trouble.endswith("is not known: Error: no such model")
        assert scout.progress() is None and scout.outlook is None


def test_a_look_that_cannot_begin_keeps_nobody_from_labeling(
    tmp_path, images, labels, monkeypatch
):
    def refuse(*arguments):
        raise OSError(28, "Cannot write looks: no space left on device")

    monkeypatch.setattr(Job, "start", refuse)
    labeling = labeling_of(tmp_path, images, labels)
    found = labeling.change([Change("4.png", "cat")])
    assert found["labeled"] == 5
    assert "no space left on device" in found["trouble"]


def test_a_damaged_look_is_told(tmp_path, images, labels, started):
    write_run(tmp_path / "run-1")
    run = read_run(tmp_path / "run-1")
    scout = Scout(tmp_path / "looks", images, LabelStore(labels, images))
    assert not scout.follow(run)
    ((command, _),) = started
    (tmp_path / "looks").mkdir()
    write_suggestions(Path(command[-1]).with_suffix(".csv"), [])
    Path(command[-1]).write_bytes(b"PK\x03\x04 and no more")
    assert not scout.follow(run)
    assert scout.trouble


def more_images(images):
    Image.new("L", (8, 8)).save(images.root / "more.png")
    return ImageFolder(images.root)


def test_before_there_is_a_run_typical_images_come_first(
    tmp_path, images, labels, started
):
    labeling = labeling_of(tmp_path, images, labels)
    assert labeling.state()["order"] == 1
    ((command, _),) = started
    options = command[command.index("suggest") + 1 :]
    given = dict(zip(options[::2], options[1::2], strict=True))
    output = Path(given.pop("--output"))
    assert output.parent == tmp_path / "looks"
    assert given == {
        "--unlabeled": str(images.root),
        # Of two without a label: the other may be one that nobody can suggest.
        "--count": "1",
        "--on-error": "skip",
        "--labels": str(labels),
        "--test": str(tmp_path / "test"),
    }
    output.parent.mkdir()
    output.write_text("file,reason,guess,confidence\n5.png,typical,,\n")
    assert labeling.state()["order"] == 2
    (first, second) = labeling.queue(0, 9)["items"]
    assert first == {"file": "5.png", "label": None, "reason": "typical"}
    assert second == {"file": "4.png", "label": None}
    # When all of them have a label, others are looked for.
    started.clear()
    labeling.state()
    assert started == []
    labeling.change([Change("5.png", "dog")])
    ((command, _),) = started
    assert command[-5] == str(output).replace("-1.csv", "-2.csv")
    # What was found of other images, or for other test images, is not of these.
    store = LabelStore(labels, images)
    for others, test in (
        (images, None),
        (images, tmp_path / "another"),
        (more_images(images), tmp_path / "test"),
    ):
        started.clear()
        assert not Scout(tmp_path / "looks", others, store, test).follow(None)
        assert len(started) == 1
    # Where it is not wanted, nothing is.
    started.clear()
    assert not Scout(tmp_path / "others", images, store, seeks=False).follow(None)
    assert started == []


def test_suggestions_with_a_guess_are_read(tmp_path):
    path = tmp_path / "to_label.csv"
    path.write_text("file,reason,guess,confidence\na.png,doubtful: x or y,x,0.5\n")
    (suggestion,) = read_suggestions(path).values()
    assert suggestion.guess.label == "x" and suggestion.guess.confidence == 0.5
    path.write_text("file,label\n")
    with pytest.raises(ValueError, match="it has the columns file,label"):
        read_suggestions(path)
