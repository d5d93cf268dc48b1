"""Images as the page shows them."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from kdfixmatch_web.image_folder import ImageFolder
from kdfixmatch_web.pictures import Pictures, UnreadableImage


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (40, 20), "red").save(folder / "first.png")
    return folder


def pictures_of(folder, **options):
    return Pictures(ImageFolder(folder), folder.parent / "kept", **options)


def opened(picture):
    return Image.open(io.BytesIO(picture.data))


def kept(folder):
    return [path for path in (folder.parent / "kept").rglob("*") if path.is_file()]


def test_small_images_are_shown_bit_by_bit_and_large_ones_small(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "noise.png")
    Image.new("RGB", (4000, 1000)).save(folder / "large.jpg")
    pictures = pictures_of(folder)
    assert (np.asarray(opened(pictures.get("noise.png", "small"))) == pixels).all()
    assert opened(pictures.get("large.jpg", "small")).size == (192, 48)
    assert opened(pictures.get("large.jpg", "large")).size == (1280, 320)
    assert opened(pictures.get("large.jpg", "full")).size == (4000, 1000)
    assert pictures.get("large.jpg", "large").media_type == "image/jpeg"


def test_images_are_turned_as_a_training_sees_them(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (40, 20)).save(folder / "turned.jpg", exif=exif)
    shown = opened(pictures_of(folder).get("turned.jpg", "large"))
    assert shown.size == (20, 40)
    assert 0x0112 not in shown.getexif()


def write_deep(folder, name, brightest):
    ramp = np.linspace(0, brightest, 64 * 64).reshape(64, 64)
    Image.fromarray(ramp.astype(np.uint16)).save(folder / name)


def test_images_of_16_bits_are_shown_on_the_scale_of_those_seen(folder):
    write_deep(folder, "camera.png", 4095)
    write_deep(folder, "bright.png", 65535)
    pictures = pictures_of(folder)
    shown = np.asarray(opened(pictures.get("camera.png", "small")))
    assert shown.min() == 0 and shown.max() == 255
    # One that is brighter than those before.
    shown = np.asarray(opened(pictures.get("bright.png", "small")))
    assert shown.max() == 255 and len(np.unique(shown)) > 200
    assert np.asarray(opened(pictures.get("camera.png", "small"))).max() == 15
    # Also where that of one of them was kept by a server before.
    write_deep(folder, "dark.png", 1000)
    pictures = pictures_of(folder)
    for name, brightest in (("camera.png", 255), ("dark.png", 62)):
        shown = np.asarray(opened(pictures.get(name, "small")))
        assert shown.max() == pytest.approx(brightest, abs=2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"\x89PNG\r\n\x1a\n", "a damaged PNG"),
        (b"<svg onload='alert(1)'/>", "not an image"),
    ],
)
def test_what_cannot_be_read_is_told(folder, content, reason):
    (folder / "broken.png").write_bytes(content)
    with pytest.raises(UnreadableImage, match=reason):
        pictures_of(folder).get("broken.png", "small")
    assert kept(folder) == []


def test_pictures_are_kept_until_the_file_changes(folder):
    pictures = pictures_of(folder)
    first = pictures.get("first.png", "small")
    (one,) = kept(folder)
    one.write_bytes(b"\x89PNG kept")
    assert pictures_of(folder).get("first.png", "small").data == b"\x89PNG kept"
    Image.new("RGB", (41, 20), "blue").save(folder / "first.png")
    assert opened(pictures.get("first.png", "small")).size == (41, 20)
    assert pictures.get("first.png", "full").data != first.data
    assert len(kept(folder)) == 2


def test_nothing_is_kept_of_a_file_that_goes_and_comes(folder, monkeypatch):
    pictures = pictures_of(folder)
    stat = os.stat

    def gone(path):
        # The next who asks finds it again.
        monkeypatch.setattr(os, "stat", stat)
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "stat", gone)
    assert opened(pictures.get("first.png", "small")).size == (40, 20)
    assert os.stat is stat and kept(folder) == []


def test_no_more_is_kept_than_there_is_room_for(folder):
    for number in range(6):
        Image.new("L", (400, 400)).save(folder / f"{number}.png")
    pictures = pictures_of(folder, cache_bytes=2000)
    size = len(pictures.get("0.png", "small").data)
    for name in sorted(pictures._images.names):
        pictures.get(name, "small")
    pictures._sweep()
    assert 0 < sum(path.stat().st_size for path in kept(folder)) <= 2000
    assert 7 * size > 2000


def test_a_full_disk_keeps_nothing_and_shows_all(folder, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    assert opened(pictures_of(folder).get("first.png", "large")).size == (40, 20)
