"""A list of paths stands where a folder does, and keeps its order and its labels."""

import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras.sources import labeled_source, unlabeled_source

VALUES = [40, 80, 120, 160, 200, 240]
# Not the order of their names.
ORDER = [4, 0, 5, 2, 1, 3]
LABELS = np.array([0, 1, 0, 1, 2, 2])


@pytest.fixture
def files(tmp_path):
    """Six files, whose pixels are their `VALUES`, in an order of their own."""
    found = []
    for number in ORDER:
        path = tmp_path / f"{number % 2}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.full((5, 5), VALUES[number], np.uint8)
        Image.fromarray(pixels).save(path)
        found.append(path)
    return found


def values(source):
    return source[np.arange(len(source))][:, 0, 0, 0].tolist()


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("as_text", [False, True])
def test_files_in_their_order(files, kind, as_text):
    paths = kind(str(file) if as_text else file for file in files)
    source = unlabeled_source(paths)
    assert values(source) == [VALUES[number] for number in ORDER]
    assert source.names == [f"{number % 2}/{number}.png" for number in ORDER]
    data = labeled_source((paths, LABELS))
    assert values(data.images) == [VALUES[number] for number in ORDER]
    assert data.labels.tolist() == LABELS.tolist()
    assert data.class_names == ["0", "1", "2"]


def test_a_file_can_be_listed_twice(files):
    files = [files[0], files[1], files[0]]
    source = unlabeled_source(files)
    assert values(source) == [200, 40, 200]
    data = labeled_source((files, [0, 1, 1]))
    assert values(data.images) == [200, 40, 200] and data.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize("read_once", [False, True])
def test_labels_follow_the_files_that_are_left(files, read_once):
    # One that no header betrays, and one that is none.
    files[1].write_bytes(files[1].read_bytes()[:48])
    files[4].write_bytes(b"")
    paths, labels = [*files, files[1], files[2]], [*LABELS.tolist(), 2, 2]
    data = labeled_source((paths, labels), on_error="skip", read_once=read_once)
    kept = [0, 2, 3, 5, 7]
    assert values(data.images) == [VALUES[([*ORDER, 0, 5])[row]] for row in kept]
    assert data.labels.tolist() == [labels[row] for row in kept]
    assert set(data.images.skipped) == {files[1], files[4]}


def test_a_class_that_loses_its_files_is_named(files):
    for row in (4, 5):
        files[row].write_bytes(b"")
    with pytest.raises(ValueError, match="readable image of each class.*image of 2"):
        labeled_source((files, LABELS), on_error="skip")
    # Of validation data, it may.
    names = ["a", "b", "c"]
    data = labeled_source((files, LABELS), class_names=names, on_error="skip")
    assert data.labels.tolist() == [0, 1, 0, 1] and data.class_names == names


def test_the_home_folder_is_found(files, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert values(unlabeled_source(["~/0/4.png", "~/0/0.png"])) == [200, 40]
    assert len(labeled_source((["~/0/4.png", "~/0/0.png"], [0, 1])).images) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda files: (files, LABELS[:5]), r"len\(x\)=6, len\(y\)=5"),
        (lambda files: (files, LABELS * 2), "class(es)? 1, 3 have no labeled image"),
        (lambda files: (files, LABELS / 2), "integer labels"),
        (lambda files: ([*files[:5], files[0].parent], LABELS), r"\(it is a folder\)"),
        (lambda files: ([*files[:5], "gone.png"], LABELS), r"gone.png \(no such file"),
        (lambda files: ([], []), "at least one image"),
        (lambda files: (["", *files[1:]], LABELS), "must be a path"),
    ],
)
def test_refused(files, change, words):
    with pytest.raises(ValueError, match=f"`labeled` .*{words}"):
        labeled_source(change(files))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([np.zeros((5, 5)), np.zeros((5, 5))], r"list of arrays.*np\.stack"),
        ((path for path in ["a.jpg"]), r"generator\. Of paths, pass `sorted\(paths\)`"),
        (["a.jpg", 5], "list of paths.*type=list$"),
    ],
)
def test_other_lists_are_refused_with_what_to_do(data, words):
    with pytest.raises(TypeError, match=words):
        unlabeled_source(data)
