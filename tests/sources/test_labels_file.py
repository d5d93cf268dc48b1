"""A CSV file of labels: what it names is labeled, and nothing is guessed."""

import os

import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras.sources import split_folder

NAMES = ["a.png", "b c.png", "sub/d.png", "é.png", "x,y.png", "e.png", "f.png"]


@pytest.fixture
def photos(tmp_path):
    """Images whose pixels all have 20 times their position in `NAMES` as value."""
    folder = tmp_path / "photos"
    for value, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), 20 * value, np.uint8)).save(folder / name)
    return folder


def write(photos, text, encoding="utf-8"):
    path = photos.parent / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


GOOD = 'file,label\nb c.png,ok\nsub/d.png,bad\né.png,ok\n"x,y.png",bad\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_named_files_are_labeled_and_all_others_are_not(photos, encoding, newline):
    path = write(photos, GOOD.replace("\n", newline), encoding)
    labeled, unlabeled = split_folder(photos, path)
    assert labeled.class_names == ["bad", "ok"]
    # Image by image: its value tells its position in NAMES.
    values = labeled.images[np.arange(4)][:, 0, 0, 0].tolist()
    assert [NAMES[value // 20] for value in values] == NAMES[1:5]
    assert labeled.labels.tolist() == [1, 0, 1, 0]
    assert unlabeled.names == ["a.png", "e.png", "f.png"]
    assert unlabeled[np.arange(3)][:, 0, 0, 0].tolist() == [0, 100, 120]


def test_absolute_paths_and_blank_lines(photos):
    text = f"file,label\n{photos / 'a.png'},x\n\nb c.png,x\ne.png,y\nf.png,y\n"
    labeled, unlabeled = split_folder(photos, write(photos, text))
    assert labeled.labels.tolist() == [0, 0, 1, 1]
    assert unlabeled.names == ["sub/d.png", "x,y.png", "é.png"]


@pytest.mark.parametrize("blank", ["", ",", "  ", '" ", '])
def test_rows_of_blank_cells_are_left_out(photos, blank):
    labeled, _ = split_folder(photos, write(photos, f"{GOOD}{blank}\n"))
    assert len(labeled.images) == 4


def test_a_relative_folder_and_absolute_paths(photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    text = f"file,label\n{photos / 'a.png'},x\nb c.png,x\ne.png,y\nf.png,y\n"
    labeled, unlabeled = split_folder("photos", write(photos, text))
    assert labeled.images.names == ["a.png", "b c.png", "e.png", "f.png"]
    assert labeled.images[np.arange(4)][:, 0, 0, 0].tolist() == [0, 20, 100, 120]
    assert unlabeled.names == ["sub/d.png", "x,y.png", "é.png"]


def test_a_tilde_is_a_plain_character(photos, monkeypatch):
    monkeypatch.setenv("HOME", str(photos))
    (photos / "~").mkdir()
    Image.new("L", (4, 4), 50).save(photos / "~" / "g.png")
    labeled, _ = split_folder(photos, write(photos, GOOD + "~/g.png,ok\n"))
    assert labeled.images[[4]][0, 0, 0, 0] == 50
    with pytest.raises(ValueError, match="'~/a.png' in line 6 .*is not there"):
        split_folder(photos, write(photos, GOOD + "~/a.png,ok\n"))


def test_a_labeled_image_outside_the_folder(photos, tmp_path):
    other = tmp_path / "other.png"
    Image.fromarray(np.full((4, 4), 99, np.uint8)).save(other)
    text = f"file,label\n{other},x\na.png,x\ne.png,y\nf.png,y\n"
    labeled, _ = split_folder(photos, write(photos, text))
    assert labeled.images[[0]][0, 0, 0, 0] == 99


def test_unreadable_images_are_skipped_with_their_labels(photos):
    (photos / "a.png").write_bytes(b"")
    (photos / "b c.png").write_bytes(b"")
    labeled, unlabeled = split_folder(photos, write(photos, GOOD), on_error="skip")
    assert labeled.labels.tolist() == [0, 1, 0]
    assert labeled.images[np.arange(3)][:, 0, 0, 0].tolist() == [40, 60, 80]
    assert [file.name for file in labeled.images.skipped] == ["b c.png"]
    assert unlabeled.names == ["e.png", "f.png"]
    (photos / "é.png").write_bytes(b"")
    with pytest.raises(ValueError, match="no image of ok"):
        split_folder(photos, write(photos, GOOD), on_error="skip")


def test_a_link_to_a_labeled_image_is_not_unlabeled(photos):
    os.symlink(photos / "b c.png", photos / "link.png")
    _, unlabeled = split_folder(photos, write(photos, GOOD))
    assert "link.png" not in unlabeled.names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns file,label.*Received: an empty line"),
        ("file;label\na.png;x\n", "columns file,label.*Received: file;label.*semico"),
        ('"file";"label"\n"a.png";"x"\n', "by semicolons: save it with commas"),
        ("sep=,\nfile,label\n", "Received: sep=,.*Leave out its first line"),
        ("file\tlabel\na.png\tx\n", "separated by tabs: save it with commas"),
        ("file|label\na.png|x\n", "separated by vertical bars"),
        (GOOD + "a.png;x\n", "Received: 1 in line 6 .*separated by semicolons"),
        ("file,label,split\na.png,x,1\n", "file,label,split.*Leave out the other col"),
        (",file,label\n0,a.png,x\n", "first column has no name: .*`index=False`"),
        ("label,file\nx,a.png\n", "Received: label,file.*Exchange the columns"),
        ("File, Label\na.png,x\n", "Received: File, Label.*in lower case"),
        ("name,label\na.png,x\n", "Received: name,label.*columns file and label"),
        ("a.png,x\nb c.png,y\n", "Received: a.png,x.*no header: put file,label abo"),
        ("file,label\n", r"at least two classes.*0 line\(s\)"),
        ("file,label\na.png,x\ne.png,x\n", "at least two classes"),
        (
            "file,label\na.png,none of these\ne.png,None_of_these\n",
            r"0 label\(s\) in .*, and 2 of 'none of these', which is no class",
        ),
        (GOOD + "gone.png,ok\n", "'gone.png' in line 6 .*is not there"),
        # The cause, and what was meant.
        (GOOD + "A.PNG,ok\n", r"'A.PNG' in line 6 .* there\. Did you mean 'a\.png'\?"),
        (GOOD + "Sub/D.png,ok\n", r"there\. Did you mean 'sub/d\.png'\?"),
        (GOOD + "sub\\d.png,ok\n", r"Write slashes .*Did you mean 'sub/d\.png'\?"),
        (GOOD + "photos/a.png,ok\n", r"Paths start in .*/photos\. .*mean 'a\.png'\?"),
        (GOOD + "/home/anna/photos/sub/d.png,ok\n", r"Paths start.*'sub/d\.png'\?"),
        (GOOD + "C:\\img\\a.png,ok\n", r"slashes .* Paths start .*mean 'a\.png'\?"),
        (GOOD + "d.png,ok\n", r"Paths start .*Did you mean 'sub/d\.png'\?"),
        (GOOD + "a.jpg,ok\n", r"Did you mean 'a\.png'\?"),
        (GOOD + "a,ok\n", r"Did you mean 'a\.png'\?"),
        (GOOD + " a.png,ok\n", r"' a.png' in .*Did you mean 'a\.png'\?"),
        (GOOD + "e\u0301.png,ok\n", "Did you mean 'é.png'?"),
        (GOOD + "b_c.png,ok\n", "Did you mean 'b c.png'?"),
        (GOOD + "a" * 300 + ",ok\n", "'a{300}' in line 6 .*is not there"),
        (GOOD + "a" * 300 + "/b.png,ok\n", "in line 6 .*is not there"),
        (GOOD + "a.png,OK\n", r"in one way.*'ok' for .*b c\.png and 'OK' for .*a\.png"),
        (
            GOOD + "a.png,\u00e9\ne.png,e\u0301\n",
            r"in one way.*'\\xe9' for .*a\.png and 'e\\u0301' for .*e\.png",
        ),
        (GOOD + 'a.png,"o\nk"\n', r"control.*class 'o\\nk' in line 7"),
        (GOOD + "a.png,o\tk\n", r"control.*class 'o\\tk' in line 6"),
        (GOOD + "sub,ok\n", "'sub' in line 6 .*is a folder"),
        (GOOD + ",ok\n", "'' in line 6"),
        (GOOD + "b c.png,ok\n", "b c.png in lines 2 and 6"),
        (GOOD + "./b c.png,bad\n", "b c.png in lines 2 and 6"),
        (GOOD + "a.png,okk\n", r"'okk' for .*a\.png alone, where 'ok' was perhaps"),
        (GOOD + "a.png,\n", "'' for a.png in line 6.*Leave out"),
        (GOOD + "a.png,nan\ne.png,nan\n", "'nan' for a.png in line 6.*Leave out"),
        (GOOD + "a.png,Unlabeled\n", "'Unlabeled' for a.png in line 6.*Leave out"),
        (GOOD + "a.png, ok\n", "' ok' for a.png in line 6"),
        (GOOD + "a.png\n", "Received: 1 in line 6"),
        (GOOD + "x,y.png,ok\n", "Received: 3 in line 6.*double quotes"),
        (GOOD + '"a.png,ok\n', "CSV file.*line"),
        (GOOD + "a.png,x\ne.png,x\nf.png,x\n", "all 7 are labeled"),
    ],
)
def test_refused(photos, text, message):
    with pytest.raises(ValueError, match=message) as info:
        split_folder(photos, write(photos, text))
    assert "\n" not in str(info.value)


def test_files_of_one_name_are_all_named(photos):
    (photos / "other").mkdir()
    Image.new("L", (4, 4), 50).save(photos / "other" / "d.png")
    with pytest.raises(ValueError, match="mean 'other/d.png' or 'sub/d.png'?"):
        split_folder(photos, write(photos, GOOD + "D.png,ok\n"))
    with pytest.raises(ValueError, match=r"mean 'other/d\.png'\?"):
        split_folder(photos, write(photos, GOOD + "Other/d.png,ok\n"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04\x14\0\x06\0rest of it", "a spreadsheet: save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a spreadsheet: save it as CSV"),
        (GOOD.encode("utf-16"), "a file in UTF-16: save it again"),
        (GOOD.encode("utf-16-le"), "a file in UTF-16: save it again"),
    ],
)
def test_what_is_no_text_is_named(photos, content, words):
    path = write(photos, "")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"must be a CSV file in UTF-8.*{words}"):
        split_folder(photos, path)


def test_labels_used_once_can_be_allowed(photos):
    path = write(photos, "file,label\na.png,x\ne.png,y\n")
    with pytest.raises(ValueError, match="and 1 more used once"):
        split_folder(photos, path)
    labeled, _ = split_folder(photos, path, allow_single=True)
    assert labeled.class_names == ["x", "y"]


def test_not_utf8(photos):
    with pytest.raises(ValueError, match="in UTF-8.*at byte"):
        split_folder(photos, write(photos, GOOD, "latin-1"))


def test_labels_that_case_folding_would_merge(photos):
    text = "file,label\na.png,Maße\nb c.png,Maße\ne.png,Masse\nf.png,Masse\n"
    labeled, _ = split_folder(photos, write(photos, text))
    assert labeled.class_names == ["Masse", "Maße"]


def test_a_labels_file_of_nobody(photos):
    with pytest.raises(ValueError, match="must be a CSV file.*no such file"):
        split_folder(photos, "~nobody_of_this_name/labels.csv")


def test_a_labels_file_whose_name_is_not_utf8(photos):
    path = write(photos, GOOD)
    try:
        path = path.rename(photos.parent / os.fsdecode(b"caf\xe9.csv"))
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(ValueError, match="whose path is valid UTF-8") as info:
        split_folder(photos, path)
    assert str(info.value).isprintable()


@pytest.mark.parametrize(("name", "found"), [("no.csv", "no such"), (".", "a folder")])
def test_no_such_file(photos, name, found):
    with pytest.raises(ValueError, match=f"`--labels` must be a CSV file.*{found}"):
        split_folder(photos, photos / name, file_argument="--labels")
