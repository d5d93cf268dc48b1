"""Labels on the disk, whatever happens to the process that keeps them."""

import contextlib
import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdfixmatch_keras.sources.labels import NONE_OF_THESE
from kdfixmatch_keras.sources.labels_file import read_labels_file
from kdfixmatch_web.image_folder import NOT_UTF_8, OUTSIDE, ImageFolder
from kdfixmatch_web.label_store import Change, Conflict, LabelStore

NAMES = ["a.png", "b.png", 'c, "d".png', "sub/ü.png", "=e.png", "f\nf.png"]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_bytes(b"not opened")
    return folder


@pytest.fixture
def images(photos):
    return ImageFolder(photos)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.csv"


def rows(path):
    with open(path, newline="", encoding="utf-8-sig") as file:
        header, *found = csv.reader(file, strict=True)
    assert header == ["file", "label"]
    assert len({name for name, _ in found}) == len(found)
    return {name: label for name, label in found}


def test_labels_are_in_the_file_that_a_training_reads(photos, images, path):
    store = LabelStore(path, images)
    assert not path.exists()
    labels = {}
    for number, name in enumerate(NAMES):
        labels[name] = ["cat", "weiß, rot"][number % 2]
        store.change([Change(name, labels[name])])
        assert rows(path) == labels
    files, found = read_labels_file(path, photos)
    assert dict(zip(files, found, strict=True)) == {
        photos / name: label for name, label in labels.items()
    }
    assert LabelStore(path, images).labels() == labels


def test_taking_back_and_changing_are_as_durable(images, path):
    store = LabelStore(path, images)
    store.change([Change("a.png", "cat"), Change("b.png", "cat")])
    store.change([Change("a.png", "dog", "cat")])
    store.change([Change("b.png", None, "cat")])
    assert rows(path) == {"a.png": "dog"}
    assert store.counts() == {"dog": 1}
    store.change([Change("a.png", None, "dog")])
    assert rows(path) == {} and store.counts() == {}
    store.change([Change("b.png", NONE_OF_THESE)])
    assert rows(path) == {"b.png": NONE_OF_THESE}


def test_nobody_overwrites_what_another_said(images, path):
    store = LabelStore(path, images)
    store.change([Change("a.png", "cat")])
    before = path.read_bytes()
    with pytest.raises(Conflict) as caught:
        store.change([Change("b.png", "dog"), Change("a.png", "dog")])
    assert caught.value.labels == {"a.png": "cat"}
    assert path.read_bytes() == before and store.get("b.png") is None
    # The same again, of which the answer was lost, is no conflict and no second line.
    store.change([Change("a.png", "cat")])
    assert path.read_bytes() == before
    # Taken back twice.
    store.change([Change("a.png", None, "cat")])
    store.change([Change("a.png", None, "cat")])
    with pytest.raises(Conflict):
        store.change([Change("a.png", "dog", "cat")])


def test_what_others_write_is_read_before_the_next_label(images, path):
    store = LabelStore(path, images)
    store.change([Change("a.png", "cat")])
    path.write_text("file,label\na.png,dog\nb.png,dog")
    assert store.refresh() and not store.refresh()
    with pytest.raises(Conflict):
        store.change([Change("b.png", "cat")])
    # Their last line had no end.
    store.change([Change("=e.png", "cat")])
    assert rows(path) == {"a.png": "dog", "b.png": "dog", "=e.png": "cat"}
    path.unlink()
    with pytest.raises(ValueError, match="must stay where it is. Received: "):
        store.change([Change("sub/ü.png", "cat")])
    assert store.get("a.png") == "dog"


def replaced(path, text):
    path.with_name("saved.csv").write_text(text)
    path.with_name("saved.csv").replace(path)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_what_others_write_during_a_label_is_kept(
    images, path, monkeypatch, is_replaced
):
    store = LabelStore(path, images)
    store.change([Change("a.png", "cat")])
    fsync, theirs = os.fsync, "file,label\na.png,cat\nb.png,dog\n"

    def slow(descriptor):
        monkeypatch.setattr(os, "fsync", fsync)
        if is_replaced:
            replaced(path, theirs)
        else:
            with open(path, "a") as file:
                file.write("b.png,dog\n")

    monkeypatch.setattr(os, "fsync", slow)
    store.change([Change("=e.png", "cat")])
    everything = {"a.png": "cat", "b.png": "dog", "=e.png": "cat"}
    assert rows(path) == store.labels() == everything
    store.change([Change("a.png", "dog", "cat")])
    assert rows(path) == everything | {"a.png": "dog"}


def test_a_file_that_goes_during_a_label_is_missed(images, path, monkeypatch):
    store = LabelStore(path, images)
    store.change([Change("a.png", "cat")])
    monkeypatch.setattr(os, "fsync", lambda descriptor: path.unlink())
    with pytest.raises(ValueError, match="must stay where it is"):
        store.change([Change("b.png", "cat")])
    assert store.labels() == {"a.png": "cat", "b.png": "cat"}


def test_files_elsewhere_have_labels_and_are_none_of_the_images(images, path):
    (path.parent / "other.png").write_bytes(b"not opened")
    path.write_text(f"file,label\na.png,cat\n{path.parent}/other.png,cat\n")
    store = LabelStore(path, images)
    assert len(store) == 1 and store.counts() == {"cat": 2}
    store.change([Change("b.png", "cat"), Change("a.png", None, "cat")])
    assert len(store) == 1
    assert rows(path) == {f"{path.parent}/other.png": "cat", "b.png": "cat"}


def test_a_file_of_a_user_is_taken_as_it_is(photos, images, path):
    path.write_text(f"\ufefffile,label\r\n./a.png,cat\r\n{photos}/b.png,cat\r\n")
    path.chmod(0o660)
    path.with_name("link.csv").symlink_to(path)
    store = LabelStore(path.with_name("link.csv"), images)
    assert store.labels() == {"a.png": "cat", "b.png": "cat"}
    store.change([Change("b.png", "dog", "cat")])
    assert path.with_name("link.csv").is_symlink()
    assert path.stat().st_mode & 0o777 == 0o660
    assert LabelStore(path, images).labels() == {"a.png": "cat", "b.png": "dog"}
    empty = path.with_name("empty.csv")
    empty.touch()
    LabelStore(empty, images).change([Change("a.png", "cat")])
    assert rows(empty) == {"a.png": "cat"}


@pytest.mark.parametrize("typed", [".", "../photos", "../photos/", "sub/..", "../link"])
def test_a_folder_has_the_same_names_however_it_is_typed(
    photos, images, path, monkeypatch, typed
):
    (photos.parent / "link").symlink_to(photos)
    monkeypatch.chdir(photos)
    others = ImageFolder(Path(typed))
    assert others.names == images.names
    LabelStore(path, others).change([Change("sub/ü.png", "cat")])
    assert rows(path) == {"sub/ü.png": "cat"}
    assert LabelStore(path, others).get("sub/ü.png") == "cat"
    assert others.file("sub/ü.png").samefile(photos / "sub" / "ü.png")
    assert others.name_of(photos / "sub" / "ü.png") == "sub/ü.png"


@pytest.mark.parametrize("kept", range(1, len('"b.png","dog"')))
def test_a_line_without_its_end_was_never_answered(images, path, kept):
    whole = 'file,label\n"a.png","cat"\n'
    path.write_text(whole + '"b.png","dog"'[:kept])
    store = LabelStore(path, images)
    assert store.labels() == {"a.png": "cat"}
    assert path.read_text() == whole


@pytest.mark.parametrize(
    "text",
    [
        # As spreadsheets write names with commas, without a line break at the end.
        'file,label\nb.png,dog\n"c, ""d"".png",cat',
        'file,label\r\n"b.png","dog"',
        # No files of labels, which are refused as they are.
        'file;label\n"b.png";"dog"',
        'file\n"b.png"',
    ],
)
def test_the_last_line_of_others_may_lack_its_end(images, path, text):
    path.write_text(text)
    with contextlib.suppress(ValueError):
        assert LabelStore(path, images).labels()["b.png"] == "dog"
    assert path.read_bytes() == text.encode()


def test_a_line_that_ends_within_a_name_of_two_lines_is_cut(images, path):
    path.write_text('file,label\n"a.png","cat"\n"f\n')
    assert LabelStore(path, images).labels() == {"a.png": "cat"}


def test_a_full_disk_leaves_the_file_as_it_was(images, path, monkeypatch):
    store = LabelStore(path, images)
    store.change([Change("a.png", "cat")])
    before = path.read_bytes()
    write = os.write

    def half(descriptor, data):
        if len(data) < 8:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="Cannot write .*: no space left on device"):
        store.change([Change("b.png", "cat")])
    monkeypatch.undo()
    assert path.read_bytes() == before and store.get("b.png") is None


def test_links_that_lead_out_of_the_folder_are_no_images(photos, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"secret")
    (outside / "other.png").write_bytes(b"secret")
    (photos / "link.png").symlink_to(outside / "secret.png")
    (photos / "linked").symlink_to(outside)
    (photos / "inside.png").symlink_to(photos / "sub" / "ü.png")
    (photos / os.fsdecode(b"\xff.png")).write_bytes(b"")
    images = ImageFolder(photos)
    assert images.left_out == {OUTSIDE: 2, NOT_UTF_8: 1}
    # One image, whichever of its names is written.
    assert "inside.png" in images and "sub/ü.png" not in images
    assert images.name_of(photos / "sub" / "ü.png") == "inside.png"
    for name in ("link.png", "linked/other.png", "../outside/secret.png", "/etc/x"):
        with pytest.raises(KeyError):
            images.file(name)
    # One that becomes such a link later is not opened either.
    (photos / "a.png").unlink()
    (photos / "a.png").symlink_to(outside / "secret.png")
    with pytest.raises(KeyError):
        images.file("a.png")


def test_a_killed_process_loses_and_doubles_nothing(tmp_path):
    script = Path(__file__).with_name("killed_labels.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path, "30"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "30 kills" in done.stdout
