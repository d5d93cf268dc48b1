"""Image files are never trusted: each is decoded right or refused by name."""

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from PIL import Image, ImageFile

from kdfixmatch_keras import FixMatch
from kdfixmatch_keras.backbones import build_network
from kdfixmatch_keras.serving.file_prediction import predict_files
from kdfixmatch_keras.sources import FolderSource
from kdfixmatch_keras.sources.file_reading import try_files
from kdfixmatch_keras.sources.image_decoding import read_header, read_pixels

RNG = np.random.default_rng(0)
# Smooth, so that JPEG keeps it, and like none of its turns.
WIDE = np.stack(
    np.broadcast_arrays(
        np.arange(0, 240, 10, np.uint8)[:, None], np.arange(32, dtype=np.uint8) * 7, 90
    ),
    axis=-1,
).astype(np.uint8)
NOISE = RNG.integers(0, 256, (24, 32, 3), np.uint8)
ORIENTATION = 0x0112
# What a viewer shows of what is stored, by orientation.
UPRIGHT = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}


def read(file):
    """Pixels of a file, of which the header must have told size and colour."""
    ((_, header, _),) = try_files(read_header, [file])
    source = FolderSource([file])

    def read_alone(file):
        return read_pixels(file, intensities=source.intensity_range)

    ((_, pixels, _),) = try_files(read_alone, [file])
    assert pixels.dtype == np.uint8
    assert pixels.shape == (*header.size, 3 if header.has_colour else 1)
    np.testing.assert_array_equal(source[[0]][0], pixels)
    return pixels


def reason(file):
    """Why a file is refused, alike by the source that checks it and the one that reads.

    Its neighbour is left as it is.
    """
    good = file.parent / "good.png"
    Image.fromarray(NOISE).save(good)
    source = FolderSource([file, good], (24, 32), on_error="skip")
    assert source.files == [good]
    np.testing.assert_array_equal(source[[0]], NOISE[None])
    assert list(source.skipped) == [file]
    ((_, pixels, failure),) = try_files(read_pixels, [file])
    assert pixels is None and failure == source.skipped[file]
    return failure


def save(path, pixels, mode=None, **options):
    """Saves pixels, and returns the picture as it is before that."""
    picture = Image.fromarray(pixels)
    picture = picture if mode is None else picture.convert(mode)
    picture.save(path, **options)
    return picture


def with_chunk(png, kind, data):
    """A PNG file with a chunk before its pixels."""
    chunk = struct.pack(">I", len(data)) + kind + data
    chunk += struct.pack(">I", zlib.crc32(kind + data))
    position = png.index(b"IDAT") - 4
    return png[:position] + chunk + png[position:]


def encoded(kind, pixels=NOISE, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("photo.jpg", {"quality": 95, "subsampling": 0}),
        ("photo.png", {}),
        ("photo.webp", {"lossless": True}),
        ("photo.tif", {}),
        ("packed.tif", {"compression": "tiff_lzw"}),
    ],
)
def test_exif_orientation_is_applied(tmp_path, name, options, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    save(tmp_path / name, WIDE, exif=exif, **options)
    pixels = read(tmp_path / name)
    expected = UPRIGHT[orientation](WIDE)
    assert pixels.shape == expected.shape
    atol = 8 if name.endswith("jpg") else 0
    np.testing.assert_allclose(pixels.astype(int), expected, atol=atol)
    gray = read_pixels(tmp_path / name, 1)
    assert gray.shape == (*expected.shape[:2], 1)


@pytest.mark.parametrize("mode", ["L", "I;16", "P", "RGBA"])
def test_orientation_of_every_kind_of_pixels(tmp_path, mode):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    if mode == "I;16":
        picture = Image.fromarray(WIDE[..., 0].astype(np.uint16) << 8)
    else:
        picture = Image.fromarray(WIDE).convert(mode)
    picture.save(tmp_path / "plain.png")
    picture.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(
        read(tmp_path / "turned.png"), np.rot90(read(tmp_path / "plain.png"), -1)
    )


def test_orientation_that_imagemagick_writes(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    text = b"\nexif\n%8d\n%s\n" % (len(block), block.hex().encode())
    data = b"Raw profile type exif\0\0" + zlib.compress(text)
    file = tmp_path / "photo.png"
    file.write_bytes(with_chunk(encoded("PNG"), b"zTXt", data))
    np.testing.assert_array_equal(read(file), np.rot90(NOISE, 2))


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II",
        b"no exif at all",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\0\x36\0\0\0\0\0\0\0",
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_leaves_a_photo_as_it_is(tmp_path, kind, block):
    options = {"lossless": True} if kind == "WEBP" else {}
    file = tmp_path / "photo.jpg"
    file.write_bytes(encoded(kind, WIDE, **options))
    expected = read(file)
    file.write_bytes(encoded(kind, WIDE, exif=b"Exif\0\0" + block, **options))
    np.testing.assert_array_equal(read(file), expected)


def test_predict_turns_as_training_does(tmp_path, tiny_backbone):
    class Recording(FixMatch):
        def predict_on_batch(self, images):
            seen.append(images)
            return super().predict_on_batch(images)

    student = build_network(tiny_backbone, (32, 24, 3), 2, embedding_dim=4, seed=0)
    network, seen = Recording(student), []
    exif = Image.Exif()
    exif[ORIENTATION] = 8
    save(tmp_path / "photo.png", NOISE, exif=exif)
    list(predict_files(network, [tmp_path / "photo.png"]))
    np.testing.assert_array_equal(seen, [FolderSource(tmp_path)[[0]]])
    np.testing.assert_array_equal(seen[0][0], np.rot90(NOISE))


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"], ids=str.lower
)
def test_truncated_files_are_refused_wherever_they_are_cut(tmp_path, kind, monkeypatch):
    # Other code of the user's program may have set it, and may want it kept.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = encoded(kind)
    file = tmp_path / "cut.jpg"
    file.write_bytes(whole)
    expected = read_pixels(file)
    files = []
    for number, length in enumerate(np.linspace(0, len(whole) - 1, 60).astype(int)):
        files.append(tmp_path / f"{number}.jpg")
        files[-1].write_bytes(whole[:length])
    failures = 0
    for _, pixels, failure in try_files(read_pixels, files):
        if pixels is None:
            failures += 1
            assert failure
        else:
            # Cut behind the last pixel.
            np.testing.assert_array_equal(pixels, expected)
    assert failures >= 55
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_truncated_progressive_jpeg_is_refused(tmp_path):
    whole = encoded("JPEG", progressive=True)
    (tmp_path / "cut.jpg").write_bytes(whole[: -len(whole) // 4])
    assert "truncated" in reason(tmp_path / "cut.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("name", ["image.jpg", "image.png", "image.tif"])
def test_the_extension_does_not_matter(tmp_path, kind, name):
    options = {"lossless": True} if kind == "WEBP" else {}
    (tmp_path / name).write_bytes(encoded(kind, **options))
    pixels = read(tmp_path / name)
    if kind not in ("JPEG", "GIF"):
        np.testing.assert_array_equal(pixels, NOISE)


@pytest.mark.parametrize("kind", ["EPS", "JPEG2000", "PPM", "ICO", "TGA", "PCX", "PDF"])
def test_no_other_format_is_opened(tmp_path, kind):
    (tmp_path / "image.jpg").write_bytes(encoded(kind))
    assert "JPEG, PNG, BMP, GIF, WebP and TIFF are read" in reason(
        tmp_path / "image.jpg"
    )


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"text", "not an image: JPEG, PNG"),
        (b"\xff\xd8\xff", "a damaged JPEG"),
        (b"8BPS\0\1", "PSD; JPEG, PNG"),
        (b"GIF89a", "a damaged GIF"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, content, expected):
    (tmp_path / "image.jpg").write_bytes(content)
    assert reason(tmp_path / "image.jpg").startswith(expected)


def png_of_size(width, height):
    """A PNG file that says so, with a row of pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(99)))):
        png += struct.pack(">I", len(data)) + kind + data
        png += struct.pack(">I", zlib.crc32(kind + data))
    return png


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (
            (9_000, 10_000),
            "9000 x 10000 pixels, more than the 89,478,485 that are read",
        ),
        ((60_000, 60_000), "more pixels than are read; make it smaller"),
        ((2**31 - 1, 2**31 - 1), "more pixels than are read; make it smaller"),
        ((0, 5), ""),
    ],
)
def test_sizes_that_cannot_be(tmp_path, size, expected):
    (tmp_path / "bomb.png").write_bytes(png_of_size(*size))
    assert reason(tmp_path / "bomb.png").startswith(expected)


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_compressed_bombs_beside_the_pixels_are_refused(tmp_path, kind):
    data = b"name\0\0" + zlib.compress(bytes(200 << 20), 9)
    (tmp_path / "bomb.png").write_bytes(with_chunk(encoded("PNG"), kind, data))
    assert "too large" in reason(tmp_path / "bomb.png")


def test_only_the_first_frame_is_decoded(tmp_path):
    frames = [
        Image.fromarray(NOISE),
        *(Image.new("RGB", (32, 24), i) for i in range(9)),
    ]
    for name in ("a.webp", "b.png", "c.tif"):
        options = {"lossless": True} if name == "a.webp" else {}
        frames[0].save(
            tmp_path / name, save_all=True, append_images=frames[1:], **options
        )
        np.testing.assert_array_equal(read(tmp_path / name), NOISE)
    gray = Image.fromarray(NOISE[..., 0])
    black = [Image.new("L", gray.size)] * 9
    gray.save(tmp_path / "d.gif", save_all=True, append_images=black)
    np.testing.assert_array_equal(read(tmp_path / "d.gif")[..., 0], NOISE[..., 0])
    frames[0].save(
        tmp_path / "e.jpg", "MPO", save_all=True, append_images=frames[1:], quality=95
    )
    with Image.open(tmp_path / "e.jpg") as first:
        np.testing.assert_array_equal(read(tmp_path / "e.jpg"), np.asarray(first))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_one_pixel_is_enough(tmp_path, kind, size):
    colour = [40, 120, 200]
    pixels = np.full((*size, 3), colour, np.uint8)
    (tmp_path / "tiny.png").write_bytes(encoded(kind, pixels))
    np.testing.assert_allclose(read(tmp_path / "tiny.png").astype(int), pixels, atol=6)
    source = FolderSource(tmp_path, (4, 4))
    np.testing.assert_allclose(source[[0]][0, 3, 3].astype(int), colour, atol=6)


@pytest.mark.parametrize("transform", [0, 2], ids=["CMYK", "YCCK"])
def test_printers_colours_of_jpeg(tmp_path, transform):
    # Red, green, blue and dark: each without its own ink, stored inverted by Adobe.
    inks = [(0, 255, 255, 0), (255, 0, 255, 0), (255, 255, 0, 0), (0, 0, 0, 200)]
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (55, 55, 55)]
    data = np.repeat(np.array(inks, np.uint8)[None], 16, 0).repeat(16, 1)
    picture = Image.frombytes("CMYK", (64, 16), data.tobytes())
    picture.save(tmp_path / "print.jpg", quality=95, subsampling=0)
    if transform == 2:
        (tmp_path / "print.jpg").write_bytes(as_ycck(data))
    pixels = read(tmp_path / "print.jpg")[8, 8::16].astype(int)
    np.testing.assert_allclose(pixels, colours, atol=12)


def as_ycck(inks):
    """A JPEG whose inks are stored as Y, Cb and Cr of the inverted, and black."""
    inverted = 255 - inks
    luma = np.asarray(Image.fromarray(255 - inverted[..., :3]).convert("YCbCr"))
    # Pillow inverts once more when it writes.
    planes = np.concatenate([255 - luma, inks[..., 3:]], axis=-1)
    buffer = io.BytesIO()
    Image.frombytes("CMYK", (inks.shape[1], inks.shape[0]), planes.tobytes()).save(
        buffer, "JPEG", quality=95, subsampling=0
    )
    file = bytearray(buffer.getvalue())
    file[file.index(b"Adobe") + 11] = 2
    return bytes(file)


def test_transparency_is_dropped_and_the_stored_colour_kept(tmp_path):
    noise = RNG.integers(0, 256, (8, 9, 4), np.uint8)
    noise[0, :, 3] = 0
    save(tmp_path / "rgba.png", noise)
    np.testing.assert_array_equal(read(tmp_path / "rgba.png"), noise[..., :3])
    save(tmp_path / "rgba.webp", noise, lossless=True, exact=True)
    np.testing.assert_array_equal(read(tmp_path / "rgba.webp"), noise[..., :3])
    gray = Image.merge("LA", [Image.fromarray(noise[..., i]) for i in (0, 3)])
    gray.save(tmp_path / "la.png")
    np.testing.assert_array_equal(read(tmp_path / "la.png"), noise[..., :1])
    save(tmp_path / "l.png", noise[..., 0], transparency=int(noise[0, 0, 0]))
    np.testing.assert_array_equal(read(tmp_path / "l.png"), noise[..., :1])
    opaque = np.ascontiguousarray(noise[..., :3])
    save(tmp_path / "rgb.png", opaque, transparency=tuple(opaque[0, 0].tolist()))
    np.testing.assert_array_equal(read(tmp_path / "rgb.png"), opaque)


@pytest.mark.parametrize("name", ["palette.png", "palette.gif"])
@pytest.mark.parametrize("transparency", [0, bytes([0, 128, 255])])
def test_transparent_palette_keeps_its_colours(tmp_path, name, transparency):
    indices = RNG.integers(0, 3, (8, 9), np.uint8)
    colours = np.array([[10, 20, 30], [200, 100, 0], [0, 255, 90]], np.uint8)
    picture = Image.fromarray(indices, "P")
    picture.putpalette(colours.tobytes())
    if name.endswith("gif"):
        transparency = 0
    picture.save(tmp_path / name, transparency=transparency)
    np.testing.assert_array_equal(read(tmp_path / name), colours[indices])


def test_one_bit(tmp_path):
    bits = RNG.integers(0, 2, (9, 13)).astype(bool)
    for name in ("a.png", "b.tif", "c.bmp"):
        save(tmp_path / name, bits)
        np.testing.assert_array_equal(read(tmp_path / name)[..., 0], bits * 255)
    save(tmp_path / "d.png", bits, transparency=0)
    np.testing.assert_array_equal(read(tmp_path / "d.png")[..., 0], bits * 255)


def test_sixteen_bits(tmp_path):
    deep = RNG.integers(0, 1 << 16, (8, 9), np.uint16)
    save(tmp_path / "gray.png", deep)
    save(tmp_path / "gray.tif", deep)
    save(tmp_path / "big.tif", deep.astype(">u2"))
    for name in ("gray.png", "gray.tif", "big.tif"):
        np.testing.assert_array_equal(read(tmp_path / name)[..., 0], deep >> 8)
    colour = RNG.integers(0, 1 << 16, (5, 7, 3), np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colour)
    png = png_of_size(7, 5).replace(b"\x08\0\0\0\0", b"\x10\x02\0\0\0")
    header = png[12:29]
    png = png[:29] + struct.pack(">I", zlib.crc32(header))
    for kind, data in ((b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        png += struct.pack(">I", len(data)) + kind + data
        png += struct.pack(">I", zlib.crc32(kind + data))
    (tmp_path / "colour.png").write_bytes(png)
    np.testing.assert_array_equal(read(tmp_path / "colour.png"), colour >> 8)


def test_colours_that_have_no_8_bit_meaning_are_refused(tmp_path):
    Image.new("LAB", (8, 8)).save(tmp_path / "lab.tif")
    assert reason(tmp_path / "lab.tif") == "colours of the kind LAB; save it as RGB"
    save(tmp_path / "float.tif", np.zeros((4, 4), np.float32))
    assert reason(tmp_path / "float.tif").startswith("floating-point pixels")


def test_warnings_of_pillow_are_neither_shown_nor_failures(tmp_path):
    # A malformed animation, of which Pillow warns and reads the still image.
    png = with_chunk(encoded("PNG"), b"acTL", struct.pack(">II", 0, 0))
    (tmp_path / "image.png").write_bytes(png)
    with pytest.warns(UserWarning, match="Invalid APNG"):
        Image.open(tmp_path / "image.png").close()
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(FolderSource(tmp_path)[[0]], NOISE[None])
        # Those of other code are shown as before.
        warnings.warn("of the user", stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["of the user"]


def test_reasons_are_told_in_plain_words(tmp_path):
    png = bytearray(encoded("PNG"))
    png[png.index(b"IDAT") + 40] ^= 1
    (tmp_path / "flipped.png").write_bytes(png)
    assert reason(tmp_path / "flipped.png").startswith("damaged: its pixels do not")
    (tmp_path / "locked.png").mkdir()
    assert reason(tmp_path / "locked.png") == "it is a folder"


@pytest.mark.parametrize("dtype", [np.int32, np.uint16])
def test_small_numbers_in_deep_files_are_not_black(tmp_path, dtype):
    pixels = np.arange(40).reshape(5, 8).astype(dtype)
    file = tmp_path / "small.tif"
    for factor, bits in ((6, 8), (600, 15), (0, 8)):
        Image.fromarray(pixels * factor).save(file)
        expected = pixels * factor >> (bits - 8)
        np.testing.assert_array_equal(read(file)[..., 0], expected)


def test_threads_that_read_leave_the_filters_of_warnings_alone(tmp_path):
    write = Image.new("RGB", (4, 4))
    write.save(tmp_path / "a.png")
    before, started, go_on = list(warnings.filters), Event(), Event()

    def read(file):
        started.set()
        assert go_on.wait(20)
        return read_pixels(file)

    def read_all():
        return [failure for *_, failure in try_files(read, [tmp_path / "a.png"])]

    with ThreadPoolExecutor(1) as pool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reading = pool.submit(read_all)
            assert started.wait(20)
        go_on.set()
        assert reading.result() == [""]
    assert list(warnings.filters) == before
