"""Contents decide what an image is; what is passed over is counted by kind."""

import io
import unicodedata

import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras.sources import FolderSource, labeled_source, split_folder
from kdfixmatch_keras.sources.file_kinds import (
    FORMATS,
    kind_of,
    passed_over_line,
)
from kdfixmatch_keras.sources.image_files import search_folder
from kdfixmatch_keras.training.data import check_apart


def encoded(kind, value=200):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value, value, value)).save(buffer, kind)
    return buffer.getvalue()


# The first bytes of files that this package cannot write.
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
AVIF = b"\0\0\0\x1cftypavif\0\0\0\0mif1avifmiaf"
TWELVE_BITS = b"\xff\xd8\xff\xc0\0\x0b\x0c\0\x08\0\x08\1\1\x11\0\xff\xd9"
FILM = b"\0\0\0\x18ftypmp42\0\0\0\0mp41isom"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "photo", "a.img", "scan.1"])
def test_an_image_is_one_whatever_its_name(tmp_path, kind, name):
    (tmp_path / name).write_bytes(encoded(kind, 200))
    source = FolderSource(tmp_path)
    assert source.names == [name] and source.notes == []
    np.testing.assert_allclose(source[[0]], 200, atol=1)


@pytest.mark.parametrize(
    "head, kind",
    [
        (HEIC, "HEIC"),
        (AVIF, "AVIF"),
        (FILM, "film"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "raw of a camera"),
        (b"P5\n4 4\n255\n", "PPM"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"BMW is a car", ""),
        (b"RIFF\0\0\0\0WAVE", ""),
        (b"", ""),
    ],
)
def test_kinds_by_their_first_bytes(head, kind):
    assert kind_of(head) == kind


def make(folder):
    """A folder as users have them, with two images that are theirs."""
    files = {
        "a.jpg": encoded("JPEG"),
        "b.jfif": encoded("JPEG"),
        "c.heic": HEIC,
        "d.HEIC": HEIC,
        "e.ppm": encoded("PPM"),
        "notes.txt": b"text",
        "README": b"text",
        "Thumbs.db": b"\xd0\xcf\x11\xe0",
        "raw.nef": encoded("TIFF"),
        "film.thm": encoded("JPEG"),
        "._a.jpg": b"\0\5\x16\7",
        ".thumbnails/a.jpg": encoded("JPEG"),
        "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg": encoded("JPEG"),
        "sub/@eaDir/b.jpg": encoded("JPEG"),
        "#recycle/old.jpg": encoded("JPEG"),
        "__MACOSX/._a.jpg": encoded("JPEG"),
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_what_is_passed_over_is_counted_by_kind(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    source = FolderSource(make(tmp_path))
    assert source.names == ["a.jpg", "b.jfif"]
    assert source.passed_over == {
        "HEIC": 2,
        "PPM": 1,
        ".txt": 1,
        "without extension": 1,
        ".db": 1,
        "raw of a camera": 1,
        "thumbnail": 1,
        "hidden": 2,
        "folder @eaDir": 2,
        "folder #recycle": 1,
        "folder __MACOSX": 1,
    }
    (note,) = source.notes
    assert note.startswith("passed over: 2 HEIC, 2 folder @eaDir, 2 hidden, 1 .db")


def test_a_folder_of_another_kind_says_so(tmp_path):
    (tmp_path / "a.ppm").write_bytes(encoded("PPM"))
    message = "at least one image.*are read. Received:.*was passed over: 1 PPM$"
    with pytest.raises(ValueError, match=message):
        FolderSource(tmp_path)
    for name in ("x", "y"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    (tmp_path / "photos" / "x" / "a.png").write_bytes(encoded("PNG"))
    (tmp_path / "photos" / "y" / "a.ppm").write_bytes(encoded("PPM"))
    message = r"no image of y\. .*Passed over in the folder: 1 PPM\."
    with pytest.raises(ValueError, match=message):
        labeled_source(tmp_path / "photos")


def test_other_kinds_are_named_where_they_are_asked_for(tmp_path):
    for content, expected in [
        (encoded("PPM"), "PPM; JPEG, PNG, BMP, GIF, WebP and TIFF are read"),
        (AVIF, "AVIF; JPEG, PNG"),
        (b"text", "not an image: JPEG, PNG"),
        (TWELVE_BITS, "a damaged JPEG, or one of 12 bits"),
        (b"II*\0\x08\0\0\0", "a TIFF that is damaged"),
    ]:
        (tmp_path / "a.jpg").write_bytes(content)
        with pytest.raises(ValueError, match=rf"a\.jpg \({expected}"):
            FolderSource(tmp_path)


def test_files_without_extension_of_a_csv_file(tmp_path):
    for number, name in enumerate(["img1", "img2", "img3", "img4"]):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(encoded("PNG", 200 + number))
    (tmp_path / "photos" / "notes").write_text("text")
    (tmp_path / "labels.csv").write_text("file,label\nimg1,x\nimg3,y\n")
    labeled, unlabeled = split_folder(
        tmp_path / "photos", tmp_path / "labels.csv", allow_single=True
    )
    assert labeled.images.names == ["img1", "img3"]
    assert unlabeled.names == ["img2", "img4"]
    assert unlabeled[[0, 1]][:, 0, 0, 0].tolist() == [201, 203]
    assert unlabeled.passed_over == {"without extension": 1}


# Names of classes, by folder and by CSV file


def labeled_folder(folder, names):
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "a.png").write_bytes(encoded("PNG"))
    return folder


def labels_file(folder, names):
    lines = ["file,label"]
    for number, name in enumerate([*names, None]):
        (folder / "photos").mkdir(parents=True, exist_ok=True)
        (folder / "photos" / f"{number}.png").write_bytes(encoded("PNG"))
        lines += [] if name is None else [f"{number}.png,{name}"]
    (folder / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "labels.csv"


COMPOSED = unicodedata.normalize("NFC", "grün")
DECOMPOSED = unicodedata.normalize("NFD", "grün")


@pytest.mark.parametrize(
    "names, words",
    [
        (["Cat", "cat"], r"in one way\. Received: 'Cat'.* and 'cat'"),
        (["cat ", "dog"], r"without spaces around.* 'cat '"),
        ([" cat", "dog"], r"without spaces around.* ' cat'"),
        ([COMPOSED, DECOMPOSED], r"in one way.*('gr\\xfcn'|'gru\\u0308n').* and "),
        (["hot  dog", "hot dog"], r"in one way.*'hot  dog'.* and 'hot dog'"),
        (["hot\u00a0dog", "hot dog"], r"in one way.*'hot\\xa0dog'"),
        (["cat\u200b", "cat"], r"in one way.*'cat\\u200b'"),
        (["\uff23at", "Cat"], r"in one way.*'\\uff23at'"),
        (["a\tb", "c"], "control characters"),
    ],
)
def test_class_names_are_checked_alike(tmp_path, names, words):
    folder = labeled_folder(tmp_path / "labeled", names)
    with pytest.raises(ValueError, match=f"`labeled` must .*{words}"):
        labeled_source(folder)
    path = labels_file(tmp_path / "csv", names)
    words = words.replace("without spaces around", "spaces around")
    with pytest.raises(ValueError, match=f"`labels_file` must .*{words}"):
        split_folder(tmp_path / "csv" / "photos", path, allow_single=True)


def test_names_that_differ_are_taken(tmp_path):
    names = ["Maße", "Masse", "cat", "cats", "hot dog", "hotdog"]
    data = labeled_source(labeled_folder(tmp_path / "labeled", names))
    assert sorted(data.class_names) == sorted(names)
    path = labels_file(tmp_path / "csv", names)
    data, _ = split_folder(tmp_path / "csv" / "photos", path, allow_single=True)
    assert sorted(data.class_names) == sorted(names)


def test_a_test_folder_in_another_spelling_says_what_differs(tmp_path):
    folder = labeled_folder(tmp_path / "test", [DECOMPOSED])
    message = r"also .*'gru\\u0308n' is not 'gr\\xfcn'; rename it"
    with pytest.raises(ValueError, match=message):
        labeled_source(folder, class_names=[COMPOSED, "red"])


def test_folders_of_a_file_server_are_no_classes(tmp_path):
    folder = labeled_folder(tmp_path, ["cat", "dog", "@eaDir", ".thumbnails"])
    data = labeled_source(folder)
    assert data.class_names == ["cat", "dog"] and len(data.images) == 2
    assert data.images.passed_over == {"folder @eaDir": 1, "hidden": 1}
    # As many files as one finds by hand.
    assert search_folder(folder).files == data.images.files


@pytest.mark.parametrize("names", [["train", "test"], ["Train", "Val"], ["unlabeled"]])
def test_parts_of_a_data_set_are_no_classes(tmp_path, names):
    folder = labeled_folder(tmp_path / "photos", [*names, "labeled"])
    with pytest.raises(ValueError, match="look like the parts of a data set"):
        labeled_source(folder)
    folder = labeled_folder(tmp_path / "more", [*names, "cat"])
    if names == ["unlabeled"]:
        with pytest.raises(ValueError, match="sub-folder unlabeled, which is none"):
            labeled_source(folder)
    else:
        assert len(labeled_source(folder).class_names) == len(names) + 1


def test_other_images_inside_of_the_labeled_ones(tmp_path):
    folder = labeled_folder(tmp_path / "labeled", ["cat", "dog", "unlabeled"])
    (tmp_path / "link").symlink_to(folder / "unlabeled")
    for inside in (folder / "unlabeled", str(tmp_path / "link"), folder / "cat"):
        message = "`unlabeled` must not lie in the folder of `labeled`.*Move it"
        with pytest.raises(ValueError, match=message):
            check_apart("labeled", str(folder), unlabeled=inside)
    check_apart("labeled", folder / "cat", unlabeled=folder, validation_data=None)
    check_apart("labeled", folder, unlabeled=folder)
    check_apart("labeled", folder, unlabeled=tmp_path / "labeled-2")


# HEIC, of which the package is an extra


def test_heic_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "a.heic").write_bytes(HEIC)
    (tmp_path / "b.png").write_bytes(encoded("PNG"))
    source = FolderSource(tmp_path)
    remedy = 'pip install "kdfixmatch-keras[heic]" reads HEIC'
    assert source.notes == [f"passed over: 1 HEIC ({remedy})"]
    assert passed_over_line({".txt": 3}) == "3 .txt"
    # Telephones write it under the name of JPEG, too.
    (tmp_path / "c.jpg").write_bytes(HEIC)
    with pytest.raises(ValueError, match=r"c\.jpg \(HEIC; pip install"):
        FolderSource(tmp_path)


@pytest.mark.parametrize("name", ["a.heic", "a.jpg", "photo"])
def test_heic_is_read_upright_with_its_package(tmp_path, name):
    import pillow_heif

    # Others may have registered it, as imageio does.
    Image.init()
    registered = set(Image.OPEN)
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32, :48] = [200, 40, 40]
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(pixels)
    heif = pillow_heif.from_pillow(picture)
    heif.save(tmp_path / name, quality=-1, exif=exif.tobytes(), chroma=444)
    source = FolderSource(tmp_path)
    expected = np.rot90(pixels, -1)
    assert source.image_shape == (96, 64, 3)
    np.testing.assert_allclose(source[[0]][0].astype(int), expected, atol=12)
    # What is cut short is refused, and nothing was registered with Pillow.
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-200])
    with pytest.raises(ValueError, match="1 that cannot be read"):
        FolderSource(tmp_path)
    assert set(Image.OPEN) == registered
