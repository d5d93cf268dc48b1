"""Labels of Label Studio, and a folder per class."""

import json

import pytest
from typer.testing import CliRunner

from kdfixmatch_cli.app import app
from kdfixmatch_web.class_folders import check_class_folders, write_class_folders
from kdfixmatch_web.image_folder import ImageFolder
from kdfixmatch_web.label_store import NONE_OF_THESE
from kdfixmatch_web.label_studio import read_tasks, to_tasks

NAMES = ["a.png", "ü 100%+#?.png", "sub/a.png", "sub/b.png", "more/c.png", "c.png"]


@pytest.fixture
def images(tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    return ImageFolder(folder)


def task(address, *choices, key="image", **annotation):
    result = {
        "id": "x",
        "from_name": "kind",
        "to_name": "img",
        "type": "choices",
        "value": {"choices": list(choices)},
    }
    annotations = [{"id": 7, "result": [result], **annotation}] if choices else []
    return {"id": 1, "data": {key: address, "note": "seen"}, "annotations": annotations}


def read(tmp_path, images, tasks):
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(tasks))
    return read_tasks(path, images, "--import")


def test_labels_come_back_as_they_went_out(tmp_path, images):
    labels = {name: f"class {name}" for name in NAMES} | {"a.png": NONE_OF_THESE}
    path = tmp_path / "tasks.json"
    # Label Studio serves no other files.
    path.write_text(to_tasks(labels | {"/elsewhere/d.png": "cat"}, images))
    assert read_tasks(path, images, "--import") == labels
    first = json.loads(path.read_text())[0]
    assert first["data"] == {"image": "/data/local-files/?d=photos/a.png"}


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/local-files/?d=whatever/photos/sub/a.png", "sub/a.png"),
        ("/data/local-files/?d=photos%5Csub%5Cb.png", "sub/b.png"),
        ("/data/upload/12/0a1b2c3d-b.png", "sub/b.png"),
        ("/data/upload/b.png", None),
        ("https://example.com/photos/%C3%BC%20100%25%2B%23%3F.png?x=1", NAMES[1]),
        ("s3://bucket/photos/more/c.png", "more/c.png"),
        ("ü 100%+#?.png", NAMES[1]),
        ("a.png", "a.png"),
        ("/home/me/photos/a.png", "a.png"),
    ],
)
def test_the_image_of_a_task_is_found(tmp_path, images, address, name):
    if name is None:
        with pytest.raises(ValueError, match="of no image of the folder"):
            read(tmp_path, images, [task(address, "cat")])
    else:
        assert read(tmp_path, images, [task(address, "cat")]) == {name: "cat"}


def test_what_is_not_labeled_is_left_out(tmp_path, images):
    tasks = [
        task("gone.png"),
        task("a.png", "cat", was_cancelled=True),
        task("c.png", "cat", key="picture"),
        {"data": {"image": "more/c.png"}, "predictions": [{"result": []}]},
    ]
    assert read(tmp_path, images, tasks) == {"c.png": "cat"}


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ({"a.png": "cat"}, "is no list of tasks"),
        ([{"image": "a.png", "choice": "cat"}], 'Export as "JSON", not "JSON-MIN".'),
        ([task("gone.png", "cat")], "task 1 is of no image of the folder"),
        ([task("../a/b.png", "cat")], "task 1 is of no image"),
        ([task("/data/upload/1/0a1b2c3d-a.png", "cat")], "of a.png and sub/a.png"),
        ([task("a.png", "cat", "dog")], "several labels of a.png: cat, dog"),
        ([task("a.png", "cat"), task("a.png", "dog")], "several labels of a.png"),
        ([{**task("a.png"), "annotations": [{}]}], "another kind of thing"),
        ([{**task("a.png"), "annotations": [1]}], "another kind of thing"),
        ([task("a.png", 1)], "another kind of thing"),
        ([task("http://[", "cat")], "of no image"),
    ],
)
def test_what_cannot_be_taken_in_is_named(tmp_path, images, tasks, words):
    with pytest.raises(ValueError, match="`--import` must be ") as caught:
        read(tmp_path, images, tasks)
    assert words in str(caught.value)


def test_a_folder_per_class_is_what_a_training_reads(tmp_path, images):
    labels = {"a.png": "cat", "sub/a.png": "cat", "sub/b.png": "big dog", "no": "cat"}
    out = tmp_path / "out"
    check_class_folders(out, labels, "--export")
    assert write_class_folders(out, labels, images) == 3
    found = {p.relative_to(out).as_posix(): p.read_text() for p in out.rglob("*.png")}
    assert found == {
        "cat/a.png": "a.png",
        "cat/sub/a.png": "sub/a.png",
        "big dog/sub/b.png": "sub/b.png",
    }
    with pytest.raises(ValueError, match="something else"):
        check_class_folders(out, labels, "--export")


@pytest.mark.parametrize(
    "label", ["../up", "a/b", "a\\b", "..", ".hidden", "@eaDir", "ü" * 100 + "u" * 60]
)
def test_a_class_that_is_no_folder_is_refused(tmp_path, label):
    with pytest.raises(ValueError, match="is no name of a folder of images. Rename it"):
        check_class_folders(tmp_path / "out", {"a.png": label}, "--export")


def invoke(*options):
    base = ("label", "--unlabeled", "photos", "--labels", "labels.csv")
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*base, *options])


def test_the_command_takes_in_and_writes_out(tmp_path, images):
    tasks = [task("a.png", "cat"), task("sub/b.png", "dog")]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    done = invoke("--import", "tasks.json", "--export", "out.json")
    assert done.exit_code == 0, done.output
    written = (tmp_path / "labels.csv").read_text()
    assert written == 'file,label\n"a.png","cat"\n"sub/b.png","dog"\n'
    assert len(json.loads((tmp_path / "out.json").read_text())) == 2
    assert invoke("--export", "out").exit_code == 0
    assert (tmp_path / "out" / "dog" / "sub" / "b.png").is_file()
    # Again, nothing is new; and one that disagrees changes nothing.
    assert invoke("--import", "tasks.json", "--export", "again.json").exit_code == 0
    tasks = [task("c.png", "cat"), task("a.png", "dog")]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    done = invoke("--import", "tasks.json", "--export", "third.json")
    assert done.exit_code == 1
    assert "1 images with another label, such as a.png: 'dog', where" in done.output
    assert (tmp_path / "labels.csv").read_text() == written
    assert not (tmp_path / "third.json").exists()
    (tmp_path / "tasks.json").write_text(json.dumps([task("c.png", "..")]))
    for output in ("out.json", "photos/new", "new"):
        done = invoke("--import", "tasks.json", "--export", output)
        assert done.exit_code == 1 and "`--export` must " in done.output
        assert (tmp_path / "labels.csv").read_text() == written
