"""16-bit files: one scale for a whole set, found from it, said, and kept."""

import shutil

import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras import datasets
from kdfixmatch_keras.sources import (
    ArraySource,
    FolderSource,
    LabeledImages,
    SubsetSource,
    labeled_source,
    split_folder,
    unlabeled_source,
)
from kdfixmatch_keras.sources.intensity import (
    LATER,
    MIN_LEVELS,
    IntensityRange,
    Survey,
    range_of,
)
from kdfixmatch_keras.training.data import open_data

RNG = np.random.default_rng(0)
FULL = IntensityRange(0, 65535)


def random(high, shape=(8, 9, 1), low=0):
    """16-bit pixels of which at least one has the highest value."""
    pixels = RNG.integers(low, high + 1, shape).astype(np.uint16)
    pixels.flat[0] = high
    return pixels


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0]).save(path)


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 13, 16])
def test_the_bits_that_a_camera_has_are_found_from_all_files(
    tmp_path, kind, bits, cache_bytes
):
    """One of them dark, which alone would be taken for one of fewer bits."""
    bright, dark = random(2**bits - 1), random(2**bits // 16)
    save(tmp_path / f"bright.{kind}", bright)
    save(tmp_path / f"dark.{kind}", dark)
    source = FolderSource(tmp_path, cache_bytes=cache_bytes)
    assert source.intensity_range == IntensityRange(0, 2**bits - 1)
    expected = np.stack([bright, dark]) >> (bits - 8)
    np.testing.assert_array_equal(source[[0, 1]], expected)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("predicted", [None, False, True])
@pytest.mark.parametrize("bands, extra", [(3, ()), (4, (2,)), (4, (0,))])
def test_colour_tiff_keeps_the_low_bytes(
    tmp_path, written, order, is_big, predicted, bands, extra
):
    if order == ">" and is_big:
        order = "<"
    pixels = random(1000, (5, 7, bands))
    stored = {} if predicted is None else {"compression": written.DEFLATED}
    page = written.Page(pixels, 2, extra, predicted=bool(predicted), **stored)
    (tmp_path / "a.tif").write_bytes(written.tiff([page], order, is_big))
    np.testing.assert_array_equal(FolderSource(tmp_path)[[0]][0], pixels[..., :3] >> 2)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_png_of_small_values_is_not_black(tmp_path, written, bands):
    pixels = random(255, (5, 7, bands))
    (tmp_path / "a.png").write_bytes(written.png(pixels))
    shown = pixels[..., : 1 if bands < 3 else 3]
    source = FolderSource(tmp_path)
    np.testing.assert_array_equal(source[[0]][0], shown)
    assert ("which is dropped" in " ".join(source.notes)) == (bands in (2, 4))
    # In gray, as Pillow weighs the colours of 8 bits.
    picture = Image.fromarray(np.squeeze(shown).astype(np.uint8))
    gray = FolderSource(tmp_path, channels=1)
    np.testing.assert_array_equal(
        gray[[0]][0, ..., 0], np.asarray(picture.convert("L"))
    )


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype, bits", [(np.uint8, 8), (np.uint16, 12)])
def test_white_is_zero(tmp_path, written, dtype, bits, compressed):
    pixels = random(2**bits - 1).astype(dtype)
    stored = {"compression": written.DEFLATED} if compressed else {}
    page = written.Page(pixels, 0, **stored)
    (tmp_path / "a.tif").write_bytes(written.tiff([page]))
    expected = 255 - (pixels >> (bits - 8))
    np.testing.assert_array_equal(FolderSource(tmp_path)[[0]][0], expected)


def test_images_far_from_zero_are_spread(tmp_path):
    """As those of a thermal camera, of which the bits would leave 32 levels."""
    pixels = random(9000, (40, 40, 1), low=7000)
    save(tmp_path / "a.png", pixels)
    source = FolderSource(tmp_path)
    low, high = source.intensity_range.low, source.intensity_range.high
    assert 6700 < low < 7000 and 9000 < high < 9300
    expected = (pixels.astype(int) - low) * 256 // (high - low + 1)
    np.testing.assert_array_equal(source[[0]][0], expected)
    assert len(np.unique(expected)) > 200


def hot(share):
    """12 bits, and a share of pixels beyond them."""
    pixels = np.arange(40_000, dtype=np.uint16).reshape(200, 200, 1) % 4096
    count = round(share * pixels.size)
    pixels.reshape(-1)[:count] = np.linspace(5000, 65535, count)
    return pixels


def test_hot_pixels_do_not_take_the_levels_of_the_others(tmp_path):
    save(tmp_path / "a.png", hot(0.0003))
    message = (
        r"`photos` must hold 16-bit images that one scale can bring to 8 bits\. "
        r"Received: 1 file of 16 bits, of which 99\.9% of the pixels have the "
        r"intensities 2 to 4,095, and others reach from 0 to 65,535: of 256 gray "
        r"levels, 16 would be left\. Save them as 8 bits on a scale of your own, such "
        r"as `(.*)`\."
    )
    with pytest.raises(ValueError, match=message) as info:
        FolderSource(tmp_path, argument="photos")
    # The advice is code that works.
    code = str(info.value).partition("such as `")[2].removesuffix("`.")
    scaled = eval(code, {"pixels": hot(0.0003)})
    assert scaled.dtype == np.uint8 and len(np.unique(scaled)) == 256
    save(tmp_path / "a.png", hot(0.05))
    assert FolderSource(tmp_path).intensity_range == FULL


@pytest.mark.parametrize(
    "values, expected",
    [
        ([0, 65535], FULL),
        ([500], IntensityRange(0, 511)),
        ([0], IntensityRange(0, 255)),
        ([3, 7, 200], IntensityRange(0, 255)),
    ],
)
def test_few_values_keep_their_levels(values, expected):
    pixels = np.array(values * 100, np.uint16)
    found = range_of(Survey.of(pixels), "images")
    assert found == expected
    assert len(np.unique(found.gray(pixels))) == len(values)


def test_classes_beside_a_mark_are_not_merged():
    pixels = np.array([*range(20), 65535] * 100, np.uint16)
    with pytest.raises(ValueError, match="of 21 gray levels, 2 would be left"):
        range_of(Survey.of(pixels), "images")


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_folders_of_one_training_share_a_scale(tmp_path, cache_bytes):
    """The brightest image is for validation; labels alone would take 10 bits."""
    images = {"x": random(600), "y": random(1000), "u": random(2000), "v": random(4000)}
    for name in "xy":
        save(tmp_path / "labeled" / name / "0.png", images[name])
    save(tmp_path / "unlabeled" / "0.png", images["u"])
    save(tmp_path / "test" / "x" / "0.png", images["v"])
    folders = [str(tmp_path / name) for name in ("labeled", "unlabeled", "test")]
    of_paths = open_data(*folders)
    lazy = {"cache_bytes": cache_bytes, "channels": 1}
    of_sources = open_data(
        labeled_source(folders[0]),
        FolderSource(folders[1], **lazy),
        LabeledImages(
            SubsetSource(FolderSource(folders[2], **lazy), [0]),
            np.array([0], np.int32),
            ["x", "y"],
        ),
    )
    for data in (of_paths, of_sources):
        assert data.intensity_range == IntensityRange(0, 4095)
        found = [*data.labeled.images[[0, 1]], *data.unlabeled[[0]]]
        found += [*data.validation.images[[0]]]
        for pixels, name in zip(found, "xyuv", strict=True):
            np.testing.assert_array_equal(pixels, images[name] >> 4)


@pytest.mark.parametrize("bits, left", [(10, 4), (12, 16), (14, 64)])
def test_a_camera_of_few_bits_beside_one_of_16(tmp_path, bits, left):
    """What the labels are of would be nearly black."""
    shape = (64, 64, 1)
    for name in "xy":
        save(tmp_path / "labeled" / name / "0.png", random(2**bits - 1, shape))
    save(tmp_path / "unlabeled" / "0.png", random(65535, shape))
    folders = [str(tmp_path / name) for name in ("labeled", "unlabeled")]
    if left >= MIN_LEVELS:
        assert open_data(*folders).intensity_range == FULL
        return
    words = f"`labeled` must .* {left} gray levels would be left .* 0 to 65,535"
    with pytest.raises(ValueError, match=words):
        open_data(*folders)
    # The others are named where they are the dark ones.
    words = f"`unlabeled` must .* {left} gray levels"
    shutil.move(tmp_path / "labeled", tmp_path / "dark")
    for name in "xy":
        save(tmp_path / "labeled" / name / "0.png", random(65535, shape))
    with pytest.raises(ValueError, match=words):
        open_data(folders[0], str(tmp_path / "dark"))
    # One file alone can be a dark frame.
    assert open_data(folders[0], str(tmp_path / "dark" / "x")).intensity_range == FULL


def folders_of(tmp_path, labeled, unlabeled):
    """A folder of two classes and one without, with intensities up to a value."""
    for name in ("x", "y"):
        save(tmp_path / "lab" / name / "a.png", random(labeled, (24, 24, 1)))
        save(tmp_path / "unl" / f"{name}.png", random(unlabeled, (24, 24, 1)))
    return str(tmp_path / "lab"), str(tmp_path / "unl")


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
@pytest.mark.parametrize("given", ["labeled", "unlabeled"])
def test_a_range_that_one_was_opened_with_is_that_of_all(tmp_path, given, cache_bytes):
    labeled, unlabeled = folders_of(tmp_path, 4095, 2047)
    intensities = IntensityRange(0, 8191)
    if given == "labeled":
        labeled = labeled_source(labeled, intensity_range=intensities)
        unlabeled = FolderSource(unlabeled, cache_bytes=cache_bytes)
    else:
        unlabeled = FolderSource(
            unlabeled, intensity_range=intensities, cache_bytes=cache_bytes
        )
    data = open_data(labeled, unlabeled)
    assert data.labeled.images.intensity_range == intensities
    assert data.unlabeled.intensity_range == intensities
    assert data.labeled.images[[0]].max() == 4095 >> 5
    assert data.unlabeled[[0]].max() == 2047 >> 5


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_a_range_that_others_lie_beyond(tmp_path, cache_bytes):
    labeled, unlabeled = folders_of(tmp_path, 65535, 4095)
    opened = FolderSource(
        unlabeled, intensity_range=IntensityRange(0, 4095), cache_bytes=cache_bytes
    )
    with pytest.raises(ValueError, match="`labeled` must .*opened with, 0 to 4,095.*9"):
        open_data(labeled, opened)


def test_two_ranges_that_some_were_opened_with(tmp_path):
    labeled, unlabeled = folders_of(tmp_path, 4095, 4095)
    opened = unlabeled_source(unlabeled, intensity_range=IntensityRange(0, 4095))
    with pytest.raises(ValueError, match="`labeled` with 0 to 65,535, `unlabeled` wi"):
        open_data(labeled_source(labeled, intensity_range=FULL), opened)


def test_a_data_set_of_folders_shares_a_scale(tmp_path):
    for name, high in (("train/x", 500), ("train/y", 900), ("test/x", 4000)):
        save(tmp_path / name / "0.png", random(high))
    data = datasets.load("own", 2, data_dir=tmp_path)
    for images in (data.labeled.images, data.unlabeled, data.test.images):
        assert images.intensity_range == IntensityRange(0, 4095)
    assert open_data(data.labeled, data.unlabeled).unlabeled is data.unlabeled


def test_a_csv_file_shares_a_scale_with_the_rest(tmp_path):
    for name, high in (("a", 500), ("b", 900), ("c", 4000)):
        save(tmp_path / "photos" / f"{name}.png", random(high))
    (tmp_path / "labels.csv").write_text("file,label\na.png,x\nb.png,y\n")
    labeled, unlabeled = split_folder(
        tmp_path / "photos", tmp_path / "labels.csv", allow_single=True
    )
    assert labeled.images.intensity_range == unlabeled.intensity_range
    assert unlabeled.intensity_range == IntensityRange(0, 4095)


def test_a_source_keeps_its_pixels_when_another_is_made_of_it(tmp_path):
    pixels = random(1000)
    save(tmp_path / "a.png", pixels)
    source = FolderSource(tmp_path)
    other = source.in_range(FULL)
    np.testing.assert_array_equal(source[[0]][0], pixels >> 2)
    np.testing.assert_array_equal(other[[0]][0], pixels >> 8)
    assert source.in_range(source.intensity_range) is source
    plain = ArraySource(np.zeros((2, 4, 4, 3), np.uint8))
    assert plain.in_range(FULL) is plain and plain.in_range(None) is plain


@pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
def test_a_source_without_a_range_yet(tmp_path, cache_bytes):
    """Its deep images cannot be read; two that are made of it are not one another."""
    pixels = random(1000)
    save(tmp_path / "a.png", pixels)
    Image.new("L", (9, 8), 200).save(tmp_path / "b.png")
    source = FolderSource(tmp_path, intensity_range=LATER, cache_bytes=cache_bytes)
    for whole in (source, SubsetSource(source, [1, 0])):
        deep = whole.names.index("a.png")
        with pytest.raises(
            ValueError, match=r"1 that cannot be read: .*a\.png \(16-bi"
        ):
            whole[[deep]]
        assert (whole[[1 - deep]] == 200).all()
    found = [source.in_range(IntensityRange(0, high)) for high in (1023, 4095)]
    for other, shift in zip(found, (2, 4), strict=True):
        np.testing.assert_array_equal(other[[0]][0], pixels >> shift)
    with pytest.raises(ValueError, match=r"a\.png \(16-bit pixels"):
        source[[0, 1]]


@pytest.mark.parametrize("read_once", [False, True])
def test_what_is_read_with_the_range_of_a_model(tmp_path, read_once):
    options = {"read_once": read_once, "intensity_range": IntensityRange(0, 4095)}
    dark = random(60, (20, 20, 1))
    save(tmp_path / "a.png", dark)
    source = unlabeled_source(tmp_path, **options)
    np.testing.assert_array_equal(source[[0]][0], dark >> 4)
    # A hot pixel becomes white; a brighter image is not one of the same camera.
    dark[0, 0] = 5000
    save(tmp_path / "a.png", dark)
    source = unlabeled_source(tmp_path, **options)
    np.testing.assert_array_equal(source[[0]][0], np.minimum(dark, 4095) >> 4)
    save(tmp_path / "a.png", dark * 80)
    with pytest.raises(ValueError, match=r"a\.png \(\d+% of its 16-bit pixels lie bey"):
        unlabeled_source(tmp_path, **options)[[0]]


@pytest.mark.parametrize("read_once", [False, True])
def test_a_model_of_8_bits_takes_no_others(tmp_path, read_once):
    save(tmp_path / "a.png", random(255))
    options = {"read_once": read_once, "intensity_range": None}
    message = r"a\.png \(16-bit pixels, where the images of training had 8 bits"
    with pytest.raises(ValueError, match=message):
        unlabeled_source(tmp_path, **options)
    Image.new("L", (9, 8), 200).save(tmp_path / "b.png")
    source = unlabeled_source(tmp_path, on_error="skip", **options)
    assert source.names == ["b.png"]
    with pytest.raises(ValueError, match=message):
        unlabeled_source(FolderSource(tmp_path), intensity_range=None)


def test_a_source_that_is_read_once_surveys_its_files(tmp_path):
    pixels = random(1000)
    save(tmp_path / "a.png", pixels)
    source = FolderSource(tmp_path, read_once=True)
    np.testing.assert_array_equal(source[[0]][0], pixels >> 2)


def test_what_was_assumed_is_said(tmp_path):
    pixels = np.linspace(0, 3987, 1600).astype(np.uint16).reshape(40, 40, 1)
    save(tmp_path / "a.png", pixels)
    Image.new("L", (40, 40)).save(tmp_path / "b.png")
    (note,) = FolderSource(tmp_path).notes
    assert note == (
        "1 file has 16 bits, its intensities 0 to 3,987: 0 to 4,095 become 0 to 255, "
        "250 gray levels; 1 of 8 bits are read as they are"
    )
    assert FolderSource(tmp_path, intensity_range=LATER).notes == []


@pytest.mark.parametrize(
    "dtype, value, message",
    [
        (np.int16, -1, "pixels below 0"),
        (np.int32, 70000, "beyond 16 bits"),
        (np.int8, -1, "signed 8-bit pixels"),
    ],
)
def test_numbers_that_are_not_from_0_to_65535(tmp_path, written, dtype, value, message):
    pixels = np.full((4, 4, 1), value, dtype)
    (tmp_path / "a.tif").write_bytes(written.tiff([written.Page(pixels, 1)]))
    with pytest.raises(ValueError, match=message):
        FolderSource(tmp_path)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bands, extra", [(3, ()), (4, ()), (4, (2,))])
def test_bands_one_by_one_are_read_right_or_refused(
    tmp_path, written, compressed, dtype, bands, extra
):
    pixels = random(255, (5, 7, bands)).astype(dtype)
    stored = {"compression": written.DEFLATED} if compressed else {}
    page = written.Page(pixels, 2, extra, planar=True, **stored)
    (tmp_path / "a.tif").write_bytes(written.tiff([page]))
    if (bands, extra) == (4, ()) or dtype == np.uint16:
        with pytest.raises(ValueError, match="that are stored .*; save it as PNG"):
            FolderSource(tmp_path)
    else:
        np.testing.assert_array_equal(FolderSource(tmp_path)[[0]][0], pixels[..., :3])
