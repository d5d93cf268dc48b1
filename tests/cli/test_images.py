"""What `kdfixmatch train` says of its images before it starts."""

import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

from kdfixmatch_cli.images import describe, open_images
from kdfixmatch_keras.training.data import open_data


def write(folder, count, seed, size=(8, 8)):
    """Files of noise, the same for the same seed."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}-{number}.png")


def opened(folder, size=None, **changes):
    """The images of the folders labeled, unlabeled and test."""
    params = {"labels": None, "on_error": "raise", "allow_single": False}
    for name in ("labeled", "unlabeled", "test"):
        path = folder / name
        params[name] = path if path.exists() else None
    return open_images({**params, **changes}, size)


def said(folder, **changes):
    return describe(opened(folder, **changes).facts())


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["1", "2", "10"],
            "Labels of 3 classes, in the order of integers: 1 2, 2 2, 1",
        ),
        (["0", "1", "2"], "Labels of 3 classes: 0 2, 1 2, 2 2"),
        (["1", "10", "x"], "Labels of 3 classes: 1 2, 10 2, x 2"),
    ],
)
def test_the_order_of_classes_is_said(tmp_path, names, words):
    for seed, name in enumerate(names):
        write(tmp_path / "labeled" / name, 2, seed)
    write(tmp_path / "unlabeled", 3, 9)
    assert words in "\n".join(said(tmp_path))


def test_what_was_told_is_not_told_again_by_the_trainings(tmp_path):
    """Under names of arguments, which nobody typed."""
    write(tmp_path / "labeled" / "cat", 4, 0)
    write(tmp_path / "labeled" / "dog", 4, 1)
    write(tmp_path / "unlabeled", 3, 2)
    write(tmp_path / "test" / "cat", 3, 3)
    write(tmp_path / "test" / "dog", 3, 4)
    file = tmp_path / "labeled" / "cat" / "0-0.png"
    shutil.copy(file, tmp_path / "labeled" / "dog" / "same.png")
    pixels = np.asarray(Image.open(file)) ^ 1
    Image.fromarray(pixels).save(tmp_path / "test" / "cat" / "alike.png")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = opened(tmp_path)
        for _ in range(2):
            open_data(images.labeled, images.unlabeled, images.test, (8, 8))
    starts = [str(warning.message).split(" ", 1)[0] for warning in caught]
    assert starts == ["`--labeled`", "`--test`"]


def copy(folder, count):
    """Copies of labeled images among those for test, under other names."""
    for number in range(count):
        file = folder / "labeled" / "cat" / f"0-{number}.png"
        shutil.copy(file, folder / "test" / "cat" / f"copy {number}.png")


@pytest.fixture
def photos(tmp_path):
    """6 labeled, 5 unlabeled and 40 images for test of two classes."""
    for seed, name in enumerate(["cat", "dog"]):
        write(tmp_path / "labeled" / name, 3, seed)
        write(tmp_path / "test" / name, 20, 10 + seed, size=(9, 7))
    write(tmp_path / "unlabeled", 5, 20)
    return tmp_path


def test_copies_of_labeled_images_are_no_test_images(photos):
    options = {"size": (8, 8)}
    assert "content" not in "\n".join(said(photos, **options))
    copy(photos, 3)
    (photos / "test" / "dog" / "empty.png").write_bytes(b"")
    images = opened(photos, on_error="skip", **options)
    lines = describe(images.facts())
    assert lines[0].startswith("Images: 6 labeled, 5 unlabeled, 40 for test; 8 x 8 pix")
    # What is known of the files is known of those that are left.
    assert "(resized from 9 x 7 to 8 x 8)" in lines[0]
    assert (
        "Left out of the test, as their content is that of labeled images: 3" in lines
    )
    assert "Left out, as they cannot be read: 1" in lines
    assert not any("copy" in name for name in images.test.images.names)
    assert len(images.test.labels) == len(images.test.images) == 40
    # Once they are left out, nobody warns of them again.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = images.as_data()
        assert open_data(data.labeled, data.unlabeled, data.validation) == data


def test_a_test_folder_of_copies_is_refused(photos):
    copy(photos, 3)
    for file in (photos / "test").rglob("1*.png"):
        if file.name[-6:] != "-0.png":
            file.unlink()
    with pytest.raises(ValueError, match="`--test` must .* 3 of 5 with the content of"):
        opened(photos, size=(8, 8))


@pytest.mark.parametrize("with_none", [False, True])
def test_test_images_among_the_unlabeled_are_counted_without_copies(photos, with_none):
    copy(photos, 2)
    (photos / "test" / "dog" / "empty.png").write_bytes(b"")
    if with_none:
        (photos / "test" / "none of these").mkdir()
        Image.new("RGB", (8, 8)).save(photos / "test" / "none of these" / "x.png")
    for number in range(2):
        name = f"copy {number}.png"
        (photos / "unlabeled" / name).symlink_to(photos / "test" / "cat" / name)
    (photos / "unlabeled" / "x.png").symlink_to(photos / "test" / "cat" / "10-0.png")
    facts = opened(photos, size=(8, 8), on_error="skip").facts()
    assert facts["test_among_unlabeled"] == 1
    assert facts["copies"] == 2
    assert facts["test_none_of_these"] == with_none
    assert "Left out, as they cannot be read: 1" in describe(facts)
