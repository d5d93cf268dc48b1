"""Sources give the same pixels in the same order, wherever images come from."""

import gc
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from kdfixmatch_keras.sources import (
    ArraySource,
    FolderSource,
    LabeledImages,
    SubsetSource,
    check_image_size,
    labeled_source,
    resize,
    spool_dataset,
    unlabeled_source,
)
from kdfixmatch_keras.sources.file_reading import (
    READS_PER_WORKER,
    read_image,
    try_files,
)
from kdfixmatch_keras.sources.image_decoding import read_pixels
from kdfixmatch_keras.sources.image_files import find_images
from kdfixmatch_keras.sources.pixels import convert_channels

NUM_IMAGES = 7


@pytest.fixture
def images():
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (NUM_IMAGES, 6, 5, 3), dtype=np.uint8)


def write_png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.asarray(pixels)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path, images):
    for index, image in enumerate(images):
        write_png(tmp_path / "photos" / f"{index:03}.png", image)
    return tmp_path / "photos"


@pytest.fixture
def class_folder(tmp_path, images):
    for index, image in enumerate(images):
        name = ("cat", "dog")[index % 2]
        write_png(tmp_path / "classes" / name / f"{index:03}.png", image)
    return tmp_path / "classes"


def read_all(source):
    return source[np.arange(len(source))]


class TestRandomAccess:
    def test_folder_equals_array(self, images, folder):
        for source in (unlabeled_source(images), unlabeled_source(str(folder))):
            assert len(source) == NUM_IMAGES
            assert source.image_shape == (6, 5, 3)
            np.testing.assert_array_equal(read_all(source), images)

    @pytest.mark.tensorflow
    @pytest.mark.parametrize("batch_size", [None, 3])
    def test_dataset_equals_array(self, images, batch_size):
        import tensorflow as tf

        dataset = tf.data.Dataset.from_tensor_slices(images)
        if batch_size:
            dataset = dataset.batch(batch_size)
        np.testing.assert_array_equal(read_all(unlabeled_source(dataset)), images)

    @pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
    def test_order_of_indices_is_kept(self, images, folder, cache_bytes):
        order = np.array([3, 1, 2, 3])
        for source in (
            ArraySource(images),
            FolderSource(folder, cache_bytes=cache_bytes),
        ):
            batch = source[order]
            assert batch.dtype == np.uint8
            np.testing.assert_array_equal(batch, images[order])

    def test_subset_reads_its_images_in_its_order(self, images, folder):
        chosen = [4, 0, 4, 6]
        for source in (ArraySource(images), FolderSource(folder)):
            subset = SubsetSource(source, chosen)
            assert len(subset) == 4
            np.testing.assert_array_equal(read_all(subset), images[chosen])
            np.testing.assert_array_equal(subset[[3, 1]], images[[6, 0]])
        assert subset.names == ["004.png", "000.png", "004.png", "006.png"]

    def test_subset_out_of_range(self, images):
        with pytest.raises(IndexError, match=r"must be in \[0, 7\)"):
            SubsetSource(ArraySource(images), [0, NUM_IMAGES])
        with pytest.raises(IndexError, match=r"must be in \[0, 2\)"):
            SubsetSource(ArraySource(images), [0, 1])[[2]]

    def test_no_indices_give_no_images(self, images):
        assert ArraySource(images)[[]].shape == (0, 6, 5, 3)

    @pytest.mark.parametrize("indices", [[NUM_IMAGES], [-1]])
    def test_index_out_of_range(self, images, indices):
        with pytest.raises(IndexError, match=r"must be in \[0, 7\)"):
            ArraySource(images)[indices]

    @pytest.mark.parametrize("indices", [2, [[1, 2]], [0.0, 1.0], [True, False]])
    def test_indices_of_another_kind(self, images, indices):
        with pytest.raises(ValueError, match="1-D array of integers"):
            ArraySource(images)[indices]

    def test_resized_array_equals_resized_folder(self, images, folder):
        expected = np.stack([resize(image, (4, 9)) for image in images])
        for data in (images, folder):
            source = unlabeled_source(data, image_size=(4, 9))
            assert source.image_shape == (4, 9, 3)
            np.testing.assert_array_equal(read_all(source), expected)

    def test_gray_array_equals_gray_folder(self, images, tmp_path):
        gray = images[..., 0]
        for index, image in enumerate(gray):
            write_png(tmp_path / f"{index}.png", image)
        for data in (gray, gray[..., np.newaxis], tmp_path):
            source = unlabeled_source(data)
            assert source.image_shape == (6, 5, 1)
            np.testing.assert_array_equal(read_all(source)[..., 0], gray)
            in_rgb = read_all(unlabeled_source(data, channels=3))
            np.testing.assert_array_equal(in_rgb, np.stack([gray] * 3, axis=-1))

    def test_colour_to_gray_is_the_luma_of_pillow(self, images, folder):
        expected = [np.asarray(Image.fromarray(image).convert("L")) for image in images]
        for data in (images, folder):
            source = unlabeled_source(data, channels=1)
            assert source.image_shape == (6, 5, 1)
            np.testing.assert_array_equal(read_all(source)[..., 0], expected)

    def test_source_passes_through(self, images):
        source = ArraySource(images)
        assert unlabeled_source(source) is source
        assert unlabeled_source(source, image_size=(6, 5)) is source


class TestArraySource:
    def test_memmap_is_not_copied(self, images, tmp_path):
        images.tofile(tmp_path / "images.bin")
        mapped = np.memmap(tmp_path / "images.bin", np.uint8, "r", shape=images.shape)
        source = unlabeled_source(mapped, image_size=(3, 3))
        assert np.shares_memory(source.images, mapped)
        assert not np.shares_memory(source[[0]], mapped)
        assert type(ArraySource(mapped)[[0]]) is np.ndarray

    def test_alpha_is_dropped(self, images):
        alpha = np.zeros((*images.shape[:3], 1), np.uint8)
        source = ArraySource(np.concatenate([images, alpha], axis=-1))
        np.testing.assert_array_equal(read_all(source), images)
        (note,) = source.notes
        assert "4 channels, the first 3 are read" in note
        opaque = ArraySource(np.concatenate([images, alpha + 255], axis=-1))
        assert opaque.notes == ArraySource(images).notes == []


class TestOneImageForSeveral:
    @pytest.mark.parametrize("width", [1, 3, 4])
    def test_one_image_is_refused_and_what_is_said_helps(self, width):
        image = np.full((6, 8, width), 90, np.uint8)
        with pytest.raises(ValueError, match=r"looks like one .*`image\[None\]`"):
            unlabeled_source(image)
        assert len(unlabeled_source(image[None])) == 1
        # Gray images that happen to be so narrow.
        narrow = unlabeled_source(image[..., None])
        assert len(narrow) == 6 and narrow.image_shape == (8, width, 1)

    def test_channels_first_where_three_channels_are_wanted(self, images):
        first = images[0].transpose(2, 0, 1)
        with pytest.raises(ValueError, match=r"`image\.transpose\(1, 2, 0\)\[None\]`"):
            unlabeled_source(first, channels=3)
        found = unlabeled_source(first.transpose(1, 2, 0)[None], channels=3)
        np.testing.assert_array_equal(read_all(found), images[:1])
        # They are gray images where nothing else is known, or is said.
        assert len(unlabeled_source(first)) == len(unlabeled_source(first, channels=1))
        assert len(unlabeled_source(first[..., None], channels=3)) == 3


class TestResize:
    def test_downscaling_antialiases(self):
        stripes = np.zeros((32, 32, 1), np.uint8)
        stripes[:, ::2] = 255
        small = resize(stripes, (8, 8))
        assert small.shape == (8, 8, 1)
        assert np.all(np.abs(small.astype(int) - 127) < 25)

    def test_same_size_is_unchanged(self, images):
        np.testing.assert_array_equal(resize(images[0], (6, 5)), images[0])

    @pytest.mark.parametrize(
        "size", [(0, 4), (4,), (4, 4, 3), (4.0, 4), 32, "ab", (True, 4), (-1, 4)]
    )
    def test_image_size_must_be_two_positive_integers(self, images, size):
        with pytest.raises(ValueError, match="`image_size` must be two positive"):
            unlabeled_source(images, image_size=size)

    def test_image_size_as_python_ints(self):
        assert check_image_size([np.int64(3), 4]) == (3, 4)
        assert check_image_size(None) is None


class TestFolderSource:
    def test_sorted_nested_and_hidden(self, tmp_path, images):
        names = ["b/2.png", "a/z/1.PNG", "a-b/0.png", "c.png", "a/10.png", "a/9.png"]
        for index, name in enumerate(names):
            write_png(tmp_path / name, images[index])
        write_png(tmp_path / ".hidden/1.png", images[0])
        write_png(tmp_path / "a/.hidden.png", images[0])
        (tmp_path / "notes.txt").write_text("not an image")
        source = FolderSource(tmp_path)
        assert source.names == sorted(names)
        expected = [images[names.index(name)] for name in source.names]
        np.testing.assert_array_equal(read_all(source), expected)

    def test_list_of_files_keeps_its_order(self, folder, images):
        files = [folder / "004.png", folder / "001.png"]
        source = FolderSource(files)
        assert source.names == ["004.png", "001.png"]
        np.testing.assert_array_equal(read_all(source), images[[4, 1]])

    def test_linked_folders_are_followed_once(self, tmp_path, folder):
        os.symlink(folder, tmp_path / "link")
        os.symlink(tmp_path, folder / "loop")
        names = FolderSource(tmp_path).names
        assert names == [f"link/{index:03}.png" for index in range(NUM_IMAGES)]

    def test_a_file_with_several_paths_counts_once_by_the_first(self, folder, images):
        # "a-b/" sorts before "a/", and "002.png" before "z.png".
        (folder / "a" / "b").mkdir(parents=True)
        write_png(folder / "a" / "b" / "0.png", images[0])
        (folder / "a" / "b" / "1.png").symlink_to(folder / "006.png")
        (folder / "a-b").symlink_to("a")
        (folder / "z.png").symlink_to("002.png")
        (folder / "0.png").symlink_to("003.png")
        (folder / "y.png").symlink_to("z.png")
        names = ["0.png", "000.png", "001.png", "002.png", "004.png", "005.png"]
        names += ["006.png", "a-b/b/0.png"]
        source = FolderSource(folder)
        assert source.names == names
        expected = images[[3, 0, 1, 2, 4, 5, 6, 0]]
        np.testing.assert_array_equal(read_all(source), expected)

    def test_plain_files_are_not_resolved(self, folder, monkeypatch):
        (folder / "link.png").symlink_to("000.png")
        resolved = []
        real = os.path.realpath

        def spy(path, **options):
            resolved.append(os.path.basename(path))
            return real(path, **options)

        monkeypatch.setattr(os.path, "realpath", spy)
        assert len(find_images(folder)) == NUM_IMAGES
        assert resolved == ["photos", "link.png"]

    def test_what_is_no_file_is_not_listed(self, folder, images):
        os.mkfifo(folder / "pipe.png")
        (folder / "link.png").symlink_to("pipe.png")
        (folder / "loop.png").symlink_to("loop.png")
        source = FolderSource(folder, on_error="skip")
        assert len(source) == NUM_IMAGES
        assert source.skipped == {folder / "loop.png": "a link to nothing"}

    @pytest.mark.parametrize("read_once", [False, True])
    def test_a_pipe_given_by_name_is_refused(self, folder, read_once):
        os.mkfifo(folder / "pipe.png")
        files = [folder / "000.png", folder / "pipe.png"]
        with pytest.raises(ValueError, match=r"pipe\.png \(not a regular file\)"):
            FolderSource(files, read_once=read_once)
        with pytest.raises(ValueError, match="not a regular file"):
            read_image(folder / "pipe.png", (6, 5, 3))

    @pytest.mark.parametrize("read_once", [False, True])
    def test_a_name_that_is_not_utf8_is_refused_or_left_out(self, folder, read_once):
        bad = rename_to_bytes(folder / "003.png", b"caf\xe9.png")
        message = r"caf\\udce9\.png \(its name is not valid UTF-8; rename it\)"
        with pytest.raises(ValueError, match=message) as info:
            FolderSource(folder, read_once=read_once)
        assert str(info.value).encode()
        source = FolderSource(folder, on_error="skip", read_once=read_once)
        assert len(source) == NUM_IMAGES - 1
        assert bad.name not in source.names
        ((file, reason),) = source.skipped.items()
        assert file.name == "caf\\udce9.png" and "not valid UTF-8" in reason

    def test_a_folder_whose_name_is_not_utf8(self, folder):
        bad = rename_to_bytes(folder, b"caf\xe9")
        with pytest.raises(ValueError, match=r"whose path is valid UTF-8.*caf") as info:
            FolderSource(bad)
        assert str(info.value).encode()

    @pytest.mark.parametrize("name", ["~nobody_of_this_name/x", "a" * 300])
    def test_a_folder_that_cannot_be(self, name):
        with pytest.raises(ValueError, match="`photos` must be an existing folder"):
            FolderSource(name, argument="photos")

    def test_relative_and_absolute_files(self, folder, images, monkeypatch):
        monkeypatch.chdir(folder.parent)
        files = [folder / "001.png", Path("photos/000.png")]
        source = FolderSource(files)
        assert source.names == ["001.png", "000.png"]
        np.testing.assert_array_equal(read_all(source), images[[1, 0]])

    @pytest.mark.parametrize("channels", [None, 1, 3])
    @pytest.mark.parametrize("image_size", [None, (4, 4)])
    def test_lazy_equals_cached(self, folder, channels, image_size):
        cached = FolderSource(folder, image_size, channels)
        lazy = FolderSource(folder, image_size, channels, cache_bytes=0)
        np.testing.assert_array_equal(read_all(cached), read_all(lazy))

    def test_sixteen_bits_keep_the_high_byte(self, tmp_path):
        pixels = np.arange(0, 30 * 2000, 2000, dtype=np.uint16).reshape(6, 5)
        write_png(tmp_path / "deep.png", pixels)
        source = FolderSource(tmp_path)
        assert source.image_shape == (6, 5, 1)
        np.testing.assert_array_equal(source[[0]][0, ..., 0], pixels >> 8)

    def test_thirty_two_bit_mode_keeps_the_high_byte(self, tmp_path):
        pixels = np.arange(0, 30 * 2000, 2000, dtype=np.int32).reshape(6, 5)
        Image.fromarray(pixels).save(tmp_path / "deep.tif")
        np.testing.assert_array_equal(
            FolderSource(tmp_path)[[0]][0, ..., 0], pixels >> 8
        )

    @pytest.mark.parametrize("dtype", [np.float32, np.int32])
    def test_pixels_without_8_bit_meaning_are_refused(self, tmp_path, dtype):
        Image.fromarray(np.full((4, 4), 70000, dtype)).save(tmp_path / "raw.tif")
        with pytest.raises(ValueError, match=r"raw\.tif .*save it as 8 or 16 bits"):
            FolderSource(tmp_path)

    @pytest.mark.parametrize("transparency", [None, 0, bytes([0, 255])])
    def test_palette(self, tmp_path, transparency):
        picture = Image.new("P", (5, 6), 1)
        picture.putpalette([1, 2, 3, 40, 50, 60])
        options = {} if transparency is None else {"transparency": transparency}
        picture.save(tmp_path / "palette.png", **options)
        source = FolderSource(tmp_path)
        np.testing.assert_array_equal(source[[0]], np.full((1, 6, 5, 3), [40, 50, 60]))

    @pytest.mark.parametrize(
        ("mode", "colour", "expected"),
        [
            ("RGBA", (9, 8, 7, 0), [9, 8, 7]),
            ("LA", (9, 0), [9]),
            ("1", 1, [255]),
            ("L", 9, [9]),
        ],
    )
    def test_modes_of_png(self, tmp_path, mode, colour, expected):
        Image.new(mode, (5, 6), colour).save(tmp_path / "image.png")
        batch = FolderSource(tmp_path)[[0]]
        np.testing.assert_array_equal(
            batch, np.full((1, 6, 5, len(expected)), expected)
        )

    def test_cmyk_jpeg(self, tmp_path):
        Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
        batch = FolderSource(tmp_path)[[0]]
        assert batch.shape == (1, 16, 16, 3)
        np.testing.assert_allclose(batch[0, 8, 8].astype(int), [255, 0, 0], atol=4)

    def test_any_colour_makes_all_rgb(self, tmp_path, images):
        write_png(tmp_path / "0.png", images[0, ..., 0])
        write_png(tmp_path / "1.png", images[1])
        source = FolderSource(tmp_path)
        assert source.image_shape == (6, 5, 3)
        np.testing.assert_array_equal(source[[0]][0, ..., 2], images[0, ..., 0])
        np.testing.assert_array_equal(source[[1]][0], images[1])

    def test_sizes_differ(self, folder, images):
        write_png(folder / "odd.png", images[0, :4])
        message = r"000\.png of size \(6, 5\) and odd\.png of size \(4, 5\).*image_size"
        with pytest.raises(ValueError, match=message):
            FolderSource(folder)
        source = FolderSource(folder, image_size=(6, 5))
        np.testing.assert_array_equal(source[[7]][0], resize(images[0, :4], (6, 5)))
        assert source.size_range == ((4, 5), (6, 5))

    def test_garbage_is_named(self, folder):
        (folder / "bad.png").write_bytes(b"no image at all")
        with pytest.raises(ValueError, match=r"`photos` must .* 1 that .*bad\.png"):
            FolderSource(folder, argument="photos")

    def test_truncated_is_named_at_construction(self, folder):
        file = write_png(folder / "cut.png", np.zeros((6, 5, 3), np.uint8))
        file.write_bytes(file.read_bytes()[:-25])
        with pytest.raises(ValueError, match=r"cannot be read: .*cut\.png \("):
            FolderSource(folder)

    def test_truncated_is_named_at_construction_without_a_cache(self, folder):
        file = folder / "003.png"
        file.write_bytes(file.read_bytes()[:60])
        with pytest.raises(ValueError, match=r"cannot be read: .*003\.png"):
            FolderSource(folder, cache_bytes=0)

    @pytest.mark.parametrize("option", [{"cache_bytes": 0}, {"read_once": True}])
    def test_file_that_breaks_later_is_named_when_read(self, folder, option):
        source = FolderSource(folder, **option)
        (folder / "003.png").write_bytes((folder / "003.png").read_bytes()[:60])
        (folder / "005.png").unlink()
        assert source[[2, 4]].shape == (2, 6, 5, 3)
        with pytest.raises(ValueError, match=r"2 that .*003\.png.*005.*no such file"):
            source[[2, 3, 5]]

    @pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
    def test_unreadable_files_can_be_left_out(self, folder, images, cache_bytes):
        cut, empty = folder / "001.png", folder / "004.png"
        cut.write_bytes(cut.read_bytes()[:60])
        empty.write_bytes(b"")
        (folder / "link.png").symlink_to("nowhere.png")
        source = FolderSource(folder, on_error="skip", cache_bytes=cache_bytes)
        assert source.names == ["000.png", "002.png", "003.png", "005.png", "006.png"]
        assert [file.name for file in source.files] == source.names
        np.testing.assert_array_equal(read_all(source), images[[0, 2, 3, 5, 6]])
        reasons = {file.name: reason for file, reason in source.skipped.items()}
        assert set(reasons) == {"001.png", "004.png", "link.png"}
        assert reasons["004.png"] == "an empty file"
        assert reasons["link.png"] == "a link to nothing"

    def test_files_are_the_same_with_and_without_their_headers(self, tmp_path, images):
        """Where size and channels are given, one pass reads a file; else it is two."""
        turned = Image.Exif()
        turned[ExifTags.Base.Orientation] = 6
        Image.fromarray(images[0, :, :3]).save(tmp_path / "turned.png", exif=turned)
        for index in range(20):
            write_png(tmp_path / f"{index:02}.png", images[index % 7, : 2 + index % 5])
        for index in (3, 19):
            file = tmp_path / f"{index:02}.png"
            file.write_bytes(file.read_bytes()[:60])
        (tmp_path / "empty.png").write_bytes(b"")
        options = {"on_error": "skip", "image_size": (4, 5)}
        one = FolderSource(tmp_path, channels=3, **options)
        for other in (
            FolderSource(tmp_path, **options),
            FolderSource(tmp_path, channels=3, cache_bytes=0, **options),
        ):
            assert one.names == other.names and one.files == other.files
            assert len(one.skipped) == 3 and one.skipped == other.skipped
            assert one.size_range == other.size_range == ((2, 5), (6, 5))
            np.testing.assert_array_equal(read_all(one), read_all(other))

    def test_all_unreadable_is_refused_even_if_skipped(self, folder):
        for file in folder.iterdir():
            file.write_bytes(file.read_bytes()[:60])
        with pytest.raises(ValueError, match="7 that cannot be read"):
            FolderSource(folder, on_error="skip")

    def test_unknown_on_error(self, folder):
        with pytest.raises(ValueError, match="`on_error` must be one of 'raise'"):
            FolderSource(folder, on_error="ignore")

    def test_huge_image_is_refused_before_it_is_decoded(self, folder):
        Image.new("1", (10_000, 9_000)).save(folder / "huge.png")
        with pytest.raises(ValueError, match=r"huge\.png \(10000 x 9000 pixels, more"):
            FolderSource(folder, image_size=(6, 5))

    def test_at_most_twenty_unreadable_are_named(self, tmp_path):
        for index in range(23):
            (tmp_path / f"{index:03}.png").write_bytes(b"")
        with pytest.raises(
            ValueError, match=r"23 that .*019\.png.* and 3 more"
        ) as info:
            FolderSource(tmp_path)
        assert "020.png" not in str(info.value)

    def test_the_remedy_is_one_that_was_not_tried(self, folder):
        (folder / "000.png").write_bytes(b"")
        with pytest.raises(ValueError, match=r"leave them out with on_error='skip'\."):
            FolderSource(folder)
        with pytest.raises(ValueError, match=r"Repair or remove them\.$"):
            FolderSource([folder / "000.png"], on_error="skip")

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr"])
    @pytest.mark.parametrize("transparent", [False, True])
    def test_grayscale_is_the_same_before_and_after_decoding(
        self, tmp_path, images, mode, transparent
    ):
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        file = tmp_path / "image.tif"
        picture = Image.fromarray(noise).convert(mode)
        if mode in ("RGB", "P") and transparent:
            file = tmp_path / "image.png"
            colour = (1, 2, 3) if mode == "RGB" else bytes(range(256))
            picture.save(file, transparency=colour)
        else:
            picture.save(file)
        np.testing.assert_array_equal(
            read_pixels(file, 1), convert_channels(read_pixels(file), 1)
        )
        np.testing.assert_array_equal(
            read_image(file, (20, 30, 1)),
            resize(convert_channels(read_pixels(file), 1), (20, 30)),
        )

    def test_no_array_of_all_pixels_is_made(self, tmp_path):
        noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
        file = write_png(tmp_path / "image.png", noise)
        for channels in (3, 1):
            read_image(file, (8, 8, channels))
            tracemalloc.start()
            read_image(file, (8, 8, channels))
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            # Less than one of the three channels: only Pillow has the pixels.
            assert peak < noise.nbytes / 4

    def test_few_files_are_read_ahead(self):
        started = []
        files = [Path(str(index)) for index in range(1000)]
        most = 0
        for done, (file, result, _) in enumerate(try_files(reader(started), files)):
            assert file == files[done] and result == str(done)
            most = max(most, len(started) - done)
        assert done == 999
        assert most <= 16 * READS_PER_WORKER + 1


def rename_to_bytes(path, name):
    target = path.parent / os.fsdecode(name)
    try:
        path.rename(target)
    except OSError:
        pytest.skip("this file system takes no such name")
    return target


def reader(started):
    def read(file):
        started.append(file)
        return file.name

    return read


class TestLabeledSource:
    def test_skipped_files_take_their_labels_with_them(self, class_folder, images):
        (class_folder / "cat" / "002.png").write_bytes(b"")
        data = labeled_source(class_folder, on_error="skip")
        assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
        np.testing.assert_array_equal(read_all(data.images), images[[0, 4, 6, 1, 3, 5]])
        for name in ("000.png", "004.png", "006.png"):
            (class_folder / "cat" / name).write_bytes(b"")
        with pytest.raises(ValueError, match="no image of cat"):
            labeled_source(class_folder, on_error="skip")

    @pytest.mark.parametrize(
        "labels",
        [
            np.array([0, 1, 2, 0, 1, 2, 0], np.int8),
            np.array([0, 1, 2, 0, 1, 2, 0], np.uint64),
            np.array([[0], [1], [2], [0], [1], [2], [0]]),
            [0, 1, 2, 0, 1, 2, 0],
        ],
    )
    def test_arrays(self, images, labels):
        data = labeled_source((images, labels))
        assert data.labels.dtype == np.int32
        assert data.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
        assert data.class_names == ["0", "1", "2"]
        np.testing.assert_array_equal(read_all(data.images), images)

    def test_folder_aligns_names_labels_and_pixels(self, class_folder, images):
        data = labeled_source(class_folder)
        assert data.class_names == ["cat", "dog"]
        for position, name in enumerate(data.images.names):
            assert name.startswith(data.class_names[data.labels[position]] + "/")
            index = int(Path(name).stem)
            np.testing.assert_array_equal(data.images[[position]][0], images[index])

    def test_folder_classes_that_sort_apart_from_their_paths(self, tmp_path, images):
        # "a-b/" sorts before "a/", though "a" sorts before "a-b".
        write_png(tmp_path / "a" / "0.png", images[0])
        write_png(tmp_path / "a-b" / "0.png", images[1])
        data = labeled_source(tmp_path)
        assert data.class_names == ["a", "a-b"]
        for position, label in enumerate(data.labels):
            np.testing.assert_array_equal(data.images[[position]][0], images[label])

    def test_validation_data_follows_the_given_names(self, class_folder, images):
        names = ["bird", "dog", "cat"]
        data = labeled_source(class_folder, class_names=names)
        assert data.class_names == names
        assert sorted(set(data.labels.tolist())) == [1, 2]
        assert data.images.names[0].startswith("cat/") and data.labels[0] == 2
        from_arrays = labeled_source((images, [1] * 7), class_names=names)
        assert from_arrays.class_names == names

    def test_validation_folder_of_one_class_has_names_with_it(self, tmp_path, images):
        write_png(tmp_path / "cat" / "0.png", images[0])
        (tmp_path / "dog").mkdir()
        data = labeled_source(tmp_path, class_names=["cat", "dog"])
        assert data.images.names == ["cat/0.png"]
        assert data.labels.tolist() == [0]

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ([0, 1, 0], r"Received: len\(x\)=7, len\(y\)=3"),
            ([0, 2, 0, 2, 0, 2, 0], r"0\.\.K-1.* class 1 has no labeled image"),
            ([9] * 7, r"classes 0, 1, 2, 3, 4 and 4 more have no labeled image"),
            ([2**30] * 7, r"classes 0, 1, 2, 3, 4 and \d+ more have no"),
            ([2**40] * 7, "labels that number the classes"),
            ([0, -1, 0, 1, 0, 1, 0], r"at least 0: .*Received: a label of -1"),
            ([0] * 7, "at least two classes"),
            ([0.0, 1.0] * 3 + [0.0], r"integer labels.*astype"),
            ([0.0, np.nan] * 3 + [0.0], "integer labels.*NaN"),
            (["a", "b"] * 3 + ["a"], r"integer labels.*np\.unique"),
            ([None, 1] * 3 + [0], "integer labels.*dtype=object"),
            ([True, False] * 3 + [True], "integer labels.*dtype=bool"),
            (np.eye(7, dtype=int), r"not one-hot.*shape=\(7, 7\).*argmax"),
            ([[0], [1, 2]], "labels of differing lengths"),
            (3, r"labels of shape \(n,\) or \(n, 1\)"),
            (None, r"labels of shape \(n,\) or \(n, 1\)"),
        ],
    )
    def test_labels_refused(self, images, labels, message):
        with pytest.raises(ValueError, match="`labeled` must.*" + message):
            labeled_source((images, labels))

    @pytest.mark.parametrize("label", [-1, 2])
    def test_labels_outside_the_given_classes(self, images, label):
        with pytest.raises(ValueError, match=r"`validation_data` must .*in \[0, 2\)"):
            labeled_source(
                (images, [label] * 7),
                class_names=["cat", "dog"],
                argument="validation_data",
            )

    def test_folder_class_not_in_the_given_names(self, class_folder):
        with pytest.raises(ValueError, match="Received: also cat, dog"):
            labeled_source(class_folder, class_names=["bird", "fish"])

    def test_folder_without_sub_folders(self, folder):
        with pytest.raises(ValueError, match="one sub-folder per class"):
            labeled_source(folder)

    def test_folder_with_an_empty_class(self, class_folder):
        (class_folder / "bird").mkdir()
        with pytest.raises(ValueError, match=r"no image of bird\. .*needs an image"):
            labeled_source(class_folder)

    def test_a_class_without_a_printable_name(self, class_folder):
        folder = class_folder / "cat"
        for name, shown in [(b"caf\xe9", r"caf\\udce9"), (b"a\nb", r"a\\nb")]:
            folder = rename_to_bytes(folder, name)
            for class_names in (None, ["cat", "dog"]):
                with pytest.raises(
                    ValueError, match=f"class '{shown}'.*Rename"
                ) as info:
                    labeled_source(class_folder, class_names=class_names)
                assert str(info.value).isprintable()

    def test_folder_of_one_class(self, tmp_path, images):
        write_png(tmp_path / "cat" / "0.png", images[0])
        with pytest.raises(ValueError, match="at least two classes.*cat"):
            labeled_source(tmp_path)

    def test_folder_with_an_image_of_no_class(self, class_folder, images):
        write_png(class_folder / "lost.png", images[0])
        with pytest.raises(
            ValueError, match=r"1 image\(s\) in none, such as lost\.png"
        ):
            labeled_source(class_folder)

    def test_validation_folder_without_images(self, tmp_path):
        (tmp_path / "cat").mkdir()
        message = f"at least one image.*Received: labeled='{tmp_path}'"
        with pytest.raises(ValueError, match=message):
            labeled_source(tmp_path, class_names=["cat", "dog"])

    def test_labeled_images_pass_through(self, images):
        data = LabeledImages(
            ArraySource(images), np.arange(NUM_IMAGES) % 2, ["cat", "dog"]
        )
        assert labeled_source(data) is data
        assert labeled_source(data, (6, 5), 3, class_names=["cat", "dog"]) is data
        # As validation data they may lack a class.
        cats = LabeledImages(data.images, np.zeros(NUM_IMAGES, int), ["cat", "dog"])
        assert labeled_source(cats, class_names=["cat", "dog"]) is cats

    @pytest.mark.parametrize(
        "labels, class_names, arguments, message",
        [
            ([0, 1] * 3, ["cat", "dog"], {}, "as many labels as images"),
            ([0, 1, 2] + [0] * 4, ["cat", "dog"], {}, r"labels in \[0, 2\)"),
            ([0.0] * 7, ["cat", "dog"], {}, "integer labels"),
            ([0] * 7, ["cat", "dog"], {}, "no image of dog"),
            ([0] * 7, ["cat"], {}, "at least two classes"),
            ([0] * 7, ["cat", "dog"], {"image_size": (4, 4)}, "shape \\(4, 4, 3\\)"),
            (
                [0] * 7,
                ["cat", "dog"],
                {"class_names": ["dog", "cat"]},
                "have the classes",
            ),
        ],
    )
    def test_labeled_images_refused(
        self, images, labels, class_names, arguments, message
    ):
        data = LabeledImages(ArraySource(images), np.array(labels), class_names)
        with pytest.raises(ValueError, match=f"`labeled` must .*{message}"):
            labeled_source(data, **arguments)

    @pytest.mark.parametrize(
        "data", [None, 3, np.zeros((2, 4, 4), np.uint8), (1, 2, 3)]
    )
    def test_type(self, data):
        with pytest.raises(TypeError, match=r"`labeled` must be a tuple \(x, y\)"):
            labeled_source(data)

    def test_images_that_are_no_array(self):
        with pytest.raises(TypeError, match=r"NumPy array.*np\.asarray"):
            labeled_source(([[0]], [0]))


def array_of(dtype, shape=(2, 4, 4, 3), value=0):
    return np.full(shape, value, dtype)


class TestUnlabeledErrors:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (array_of(np.float32), r"dtype=float32.*images \* 255\)\.round\(\)"),
            (array_of(np.float32, value=np.nan), "float32 with NaN"),
            (array_of(np.uint16, value=999), r"dtype=uint16.*images // 4"),
            (array_of(np.int64), r"dtype=int64.*astype"),
            (array_of(bool), "dtype=bool"),
            (array_of(object), "dtype=object.*image_size"),
            (array_of(np.uint8, (4, 4)), r"shape=\(4, 4\).*image\[None\]"),
            (array_of(np.uint8, (2, 2, 4, 4, 3)), r"shape \(N, H, W\) or"),
            (array_of(np.uint8, (0, 4, 4, 3)), "at least one image"),
            (array_of(np.uint8, (2, 0, 4, 3)), "at least one pixel"),
            (array_of(np.uint8, (2, 4, 0)), "at least one pixel"),
            (array_of(np.uint8, (2, 4, 4, 2)), "1, 3 or 4 channels"),
            (array_of(np.uint8, (2, 3, 8, 8)), r"transpose\(0, 2, 3, 1\)"),
            (array_of(np.uint8, (8, 8, 3, 99)), r"transpose\(3, 0, 1, 2\)"),
        ],
    )
    def test_array(self, data, message):
        with pytest.raises(ValueError, match="`unlabeled` must hold.*" + message):
            unlabeled_source(data)

    @pytest.mark.parametrize("data", [None, 3, [1, 2], (np.zeros(3), [0])])
    def test_type(self, data):
        accepted = "NumPy array or memmap.*tf.data.Dataset.*folder.*ImageSource"
        with pytest.raises(TypeError, match=accepted):
            unlabeled_source(data)

    def test_missing_folder(self, tmp_path):
        with pytest.raises(ValueError, match="existing folder.*no such folder"):
            unlabeled_source(tmp_path / "nowhere")

    def test_file_for_a_folder(self, folder):
        with pytest.raises(ValueError, match="existing folder.*it is a file"):
            unlabeled_source(folder / "000.png")

    def test_folder_without_images(self, tmp_path):
        (tmp_path / "notes.txt").write_text("not an image")
        with pytest.raises(ValueError, match=r"at least one image\..*over: 1 \.txt"):
            unlabeled_source(tmp_path)

    @pytest.mark.parametrize("channels", [0, 2, 4, "rgb"])
    def test_channels(self, images, channels):
        with pytest.raises(ValueError, match="`channels` must be 1"):
            unlabeled_source(images, channels=channels)

    def test_source_of_another_size(self, images):
        with pytest.raises(ValueError, match=r"shape \(8, 8, 3\).*when the source"):
            unlabeled_source(ArraySource(images), image_size=(8, 8))


@pytest.mark.tensorflow
class TestDataset:
    @pytest.mark.parametrize("batch_size", [None, 3])
    @pytest.mark.parametrize("as_dict", [False, True])
    def test_labeled(self, images, batch_size, as_dict):
        import tensorflow as tf

        labels = np.array([0, 1, 2, 0, 1, 2, 0])
        dataset = tf.data.Dataset.from_tensor_slices((images, labels))
        if as_dict:
            dataset = dataset.map(lambda x, y: {"image": x, "label": y, "id": 0})
        if batch_size:
            dataset = dataset.batch(batch_size)
        data = labeled_source(dataset)
        assert data.labels.dtype == np.int32
        np.testing.assert_array_equal(data.labels, labels)
        np.testing.assert_array_equal(read_all(data.images), images)
        assert data.class_names == ["0", "1", "2"]

    def test_a_dataset_shuffled_anew_each_time_keeps_pairs(self, images):
        import tensorflow as tf

        dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(7)))
        data = labeled_source(dataset.shuffle(7).batch(2))
        np.testing.assert_array_equal(read_all(data.images), images[data.labels])

    def test_unlabeled_dict_gives_its_image(self, images):
        import tensorflow as tf

        dataset = tf.data.Dataset.from_tensor_slices(
            {"image": images, "label": [0] * 7}
        )
        np.testing.assert_array_equal(read_all(unlabeled_source(dataset)), images)

    @pytest.mark.parametrize("batch_size", [None, 3])
    def test_large_dataset_goes_to_a_file(self, images, batch_size):
        import tensorflow as tf

        dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(7)))
        if batch_size:
            dataset = dataset.batch(batch_size)
        source, labels = spool_dataset(dataset, True, memory_bytes=200)
        assert isinstance(source.images, np.memmap)
        path = Path(source.images.filename)
        assert path.stat().st_size == images.nbytes
        np.testing.assert_array_equal(read_all(source), images)
        np.testing.assert_array_equal(labels, np.arange(7))
        del source
        gc.collect()
        assert not path.exists()

    def test_file_is_deleted_after_an_error(self, images, tmp_path, monkeypatch):
        import tensorflow as tf

        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        dataset = tf.data.Dataset.from_tensor_slices(images)
        odd = tf.data.Dataset.from_tensors(images[0, :3])
        with pytest.raises(ValueError, match="of one size"):
            spool_dataset(dataset.concatenate(odd), False, memory_bytes=0)
        assert list(tmp_path.iterdir()) == []

    def test_many_sizes_are_resized(self, images):
        import tensorflow as tf

        cut = [images[0], images[1, :4], images[2, :, :3]]
        spec = tf.TensorSpec((None, None, 3), tf.uint8)
        dataset = tf.data.Dataset.from_generator(lambda: cut, output_signature=spec)
        with pytest.raises(
            ValueError, match=r"image 0 of size \(6, 5\) and image 1 of"
        ):
            unlabeled_source(dataset)
        source = unlabeled_source(dataset, image_size=(5, 5))
        expected = [resize(image, (5, 5)) for image in cut]
        np.testing.assert_array_equal(read_all(source), expected)

    @pytest.mark.parametrize("channels", [None, 1, 3])
    def test_rgba_and_channels(self, images, channels):
        import tensorflow as tf

        alpha = np.zeros((*images.shape[:3], 1), np.uint8)
        rgba = np.concatenate([images, alpha], axis=-1)
        dataset = tf.data.Dataset.from_tensor_slices(rgba)
        expected = read_all(ArraySource(rgba, channels=channels))
        source = unlabeled_source(dataset, channels=channels)
        np.testing.assert_array_equal(read_all(source), expected)

    @pytest.mark.parametrize("size", [None, (6, 5)])
    @pytest.mark.parametrize("batch", [None, 2])
    @pytest.mark.parametrize("memory_bytes", [0, 1 << 30])
    def test_a_fourth_channel_is_told(self, images, memory_bytes, batch, size):
        """As that of an array, if only the last image is not opaque."""
        import tensorflow as tf

        rgba = np.concatenate([images, np.full_like(images[..., :1], 255)], axis=-1)
        found = []
        for last in (255, 254):
            rgba[-1, -1, -1, 3] = last
            dataset = tf.data.Dataset.from_tensor_slices((rgba, range(len(rgba))))
            dataset = dataset if batch is None else dataset.batch(batch)
            source, _ = spool_dataset(dataset, True, size, memory_bytes=memory_bytes)
            found.append(source.notes)
        assert found == [[], ArraySource(rgba).notes] and found[1]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda data: data.repeat(), "infinite cardinality.*repeat"),
            (lambda data: data.take(0), "at least one image"),
            (lambda data: data.map(lambda x: (x, 0)), "lambda image, label: image"),
            (lambda data: data.map(lambda x: {"pixels": x}), "keys.*pixels"),
            (lambda data: data.map(lambda x: x[..., 0]), r"\(h, w, c\).*newaxis"),
            (lambda data: data.batch(2).batch(2), r"\(h, w, c\)"),
            (lambda data: data.map(lambda x: x / 255), r"float.*image \* 255"),
            (lambda data: data.map(lambda x: x / 255 * np.nan), "with NaN"),
            (
                lambda data: data.map(lambda x: x[..., :1]).concatenate(data),
                "image 0 with 1 and image 7 with 3",
            ),
        ],
    )
    def test_unlabeled_refused(self, images, change, message):
        import tensorflow as tf

        dataset = change(tf.data.Dataset.from_tensor_slices(images))
        with pytest.raises(ValueError, match="`unlabeled` must.*" + message):
            unlabeled_source(dataset)

    @pytest.mark.parametrize("batch_size", [None, 1, 3])
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda x, y: (x, np.eye(7)[0]), "not one-hot.*argmax"),
            (lambda x, y: (x, 0.5), "integer labels"),
            (lambda x, y: (x, "cat"), "integer labels"),
            (lambda x, y: x, r"a dataset of \(image, label\)"),
            (lambda x, y: (x, y, 1.0), r"a dataset of \(image, label\)"),
            (lambda x, y: {"image": x}, "keys"),
            (lambda x, y: (x, 2 * y), "class(es)? 1.* no labeled image"),
        ],
    )
    def test_labeled_refused(self, images, batch_size, change, message):
        import tensorflow as tf

        dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(7)))
        dataset = dataset.map(change)
        if batch_size:
            dataset = dataset.batch(batch_size)
        with pytest.raises(ValueError, match="`labeled` must.*" + message):
            labeled_source(dataset)

    def test_labels_that_do_not_fit_their_batch(self, images):
        import tensorflow as tf

        dataset = tf.data.Dataset.from_tensors((images, np.arange(6)))
        with pytest.raises(ValueError, match="7 images with 6 labels"):
            labeled_source(dataset)
