"""Pages and bands beside those that are read are counted and named, or refused."""

import io

import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras.sources import FolderSource
from kdfixmatch_keras.sources.file_reading import try_files
from kdfixmatch_keras.sources.image_decoding import read_header, read_pixels

RNG = np.random.default_rng(0)


def random(bands=3, shape=(5, 7)):
    return RNG.integers(0, 256, (*shape, bands), np.uint8)


def notes(folder, **options):
    """What is said of a folder, which is the same where only headers are read."""
    found = FolderSource(folder, **options).notes
    if not any("transparency" in note for note in found):
        assert FolderSource(folder, read_once=True, **options).notes == found
    return found


@pytest.mark.parametrize("order, is_big", [("<", False), ("<", True), (">", False)])
def test_pages_of_a_tiff(tmp_path, written, order, is_big):
    first = random()
    pages = [written.Page(pixels, 2) for pixels in (first, random(), random())]
    (tmp_path / "a.tif").write_bytes(written.tiff(pages, order, is_big))
    np.testing.assert_array_equal(FolderSource(tmp_path)[[0]][0], first)
    file = tmp_path / "a.tif"
    assert notes(tmp_path) == [f"1 file has 3 pages, the first is read ({file})"]
    (tmp_path / "b.tif").write_bytes(written.tiff(pages[:2], order, is_big))
    assert notes(tmp_path) == [
        f"2 files have 2 to 3 pages, the first of each is read (such as {file})"
    ]


def test_pages_of_a_stack_of_imagej(tmp_path):
    """Which lists the first alone, where all are too large for the list."""
    words = "ImageJ=1.54f\nimages=50\nslices=50\n"
    Image.fromarray(random()).save(tmp_path / "a.tif", tiffinfo={270: words})
    (note,) = notes(tmp_path)
    assert note.startswith("1 file has 50 pages, the first is read (")


def test_smaller_copies_of_a_page_are_no_pages(tmp_path, written):
    page = written.Page(random(), 2)
    small = written.Page(random(shape=(2, 3)), 2, subfile=1)
    mask = written.Page(random(1), 1, subfile=4)
    (tmp_path / "a.tif").write_bytes(written.tiff([page, small, mask]))
    assert notes(tmp_path) == []


def test_a_thumbnail_is_not_taken_for_the_image(tmp_path, written):
    """As in the raw files of cameras, of which it is the first page."""
    small = written.Page(random(), 2, subfile=1)
    page = written.Page(random(shape=(20, 30)), 2)
    (tmp_path / "a.tif").write_bytes(written.tiff([small, page]))
    with pytest.raises(ValueError, match=r"a\.tif \(its first page is a thumbnail"):
        FolderSource(tmp_path)
    # Of which there is nothing else.
    (tmp_path / "a.tif").write_bytes(written.tiff([small]))
    np.testing.assert_array_equal(FolderSource(tmp_path)[[0]][0], small.pixels)


@pytest.mark.parametrize("damage", ["loop", "beyond", "cut"])
def test_a_damaged_list_of_pages_ends(tmp_path, written, damage):
    page = written.Page(random(), 2)
    file = bytearray(written.tiff([page, page]))
    fields = int.from_bytes(file[8:10], "little")
    following = 10 + 12 * fields
    place = {"loop": 8, "beyond": 1 << 30, "cut": len(file) - 3}[damage]
    file[following : following + 4] = place.to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(file)
    np.testing.assert_array_equal(FolderSource(tmp_path)[[0]][0], page.pixels)
    assert notes(tmp_path) == []


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_frames_of_an_animation(tmp_path, name):
    frames = [Image.fromarray(random(shape=(16, 16))) for _ in range(4)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    (note,) = notes(tmp_path)
    assert note.startswith("1 file has 4 frames, the first is read (")


def test_pictures_of_a_photograph(tmp_path):
    frames = [Image.fromarray(random(shape=(16, 16))) for _ in range(2)]
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    (note,) = notes(tmp_path)
    assert note.startswith("1 file has 2 pictures, the main one is read (")


@pytest.mark.parametrize("between", [b"", b"\r\n", b"\0" * 100])
def test_frames_of_a_webcam(tmp_path, between):
    picture, frames = Image.fromarray(random(shape=(16, 16))), []
    for quality in (90, 80, 70):
        picture.save(tmp_path / "frame.jpg", quality=quality)
        frames.append((tmp_path / "frame.jpg").read_bytes())
    assert notes(tmp_path) == []
    (tmp_path / "frame.jpg").write_bytes(between.join(frames) + between)
    (note,) = notes(tmp_path)
    assert note.startswith("1 file has 3 pictures, the main one is read (")


@pytest.mark.parametrize(
    "interpretation, bands, extra, expected",
    [
        (2, 4, (), "1 file has 4 bands, the first 3 are read as red, green and blue"),
        (2, 4, (0,), "1 file has 4 bands, the first 3 are read as red, green and blue"),
        (2, 6, (0, 0, 0), "1 file has 6 bands, the first 3 are read as red"),
        (2, 5, (2, 0), "1 file has 5 bands, the first 3 are read as red"),
        (2, 4, (2,), "1 file has transparency, which is dropped"),
        (1, 2, (2,), "1 file has transparency, which is dropped"),
        (1, 2, (0,), "1 file has 2 bands, the first is read as gray"),
        (5, 5, (0,), "1 file has 5 bands, the first 4 are read as inks"),
    ],
)
def test_bands_that_are_not_read(
    tmp_path, written, interpretation, bands, extra, expected
):
    pixels = random(bands)
    page = written.Page(pixels, interpretation, extra)
    (tmp_path / "a.tif").write_bytes(written.tiff([page]))
    if interpretation != 5:
        shown = pixels[..., : 3 if interpretation == 2 else 1]
        np.testing.assert_array_equal(FolderSource(tmp_path)[[0]][0], shown)
    assert notes(tmp_path)[0].startswith(expected)


@pytest.mark.parametrize(
    "interpretation, bands, dtype, expected",
    [
        (1, 5, np.uint8, "a TIFF with 5 bands of 8 bits, of a kind that is not read"),
        (1, 3, np.uint16, "a TIFF with 3 bands of 16 bits"),
        (1, 4, np.float32, "a floating-point TIFF with 4 bands of 32 bits"),
        (2, 3, np.int16, "a signed TIFF with 3 bands of 16 bits"),
    ],
)
def test_bands_that_cannot_be_read(
    tmp_path, written, interpretation, bands, dtype, expected
):
    page = written.Page(random(bands).astype(dtype), interpretation)
    (tmp_path / "a.tif").write_bytes(written.tiff([page]))
    with pytest.raises(ValueError, match=rf"a\.tif \({expected}.*; save 1 or 3 of the"):
        FolderSource(tmp_path)


def test_opaque_pixels_lose_nothing(tmp_path):
    pixels = random(4)
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert notes(tmp_path) == []
    pixels[0, 0, 3] = 254
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert len(notes(tmp_path)) == 1


def test_what_else_is_changed_is_said(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(random(shape=(16, 16)))
    picture.save(tmp_path / "a.jpg", exif=exif)
    picture.save(tmp_path / "b.jpg", exif=exif)
    picture.convert("CMYK").save(tmp_path / "c.jpg")
    source = FolderSource(tmp_path, channels=1)
    assert [note.rpartition(" (")[0] for note in source.notes] == [
        "1 file has printers' colours (CMYK), read as RGB",
        "2 files are turned upright, as their EXIF orientation says",
        "3 files have colour, which is read as gray",
    ]


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP"])
def test_damaged_pages_do_not_change_the_first(tmp_path, kind):
    """However a file is cut: its first page is read as it was, or it is refused."""
    buffer = io.BytesIO()
    frames = [Image.fromarray(random(shape=(16, 16))) for _ in range(3)]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    whole = buffer.getvalue()
    (tmp_path / "a.gif").write_bytes(whole)
    expected = read_pixels(tmp_path / "a.gif")
    files = []
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        files.append(tmp_path / f"{length}.gif")
        files[-1].write_bytes(whole[:length])
    for _, pixels, failure in try_files(read_pixels, files):
        assert failure if pixels is None else np.array_equal(pixels, expected)
    for _, header, failure in try_files(read_header, files):
        assert failure if header is None else header.size == (16, 16)
