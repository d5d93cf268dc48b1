"""Files that cannot be read are left out of training and use if one says so."""

import contextlib
import shutil
import warnings

import numpy as np
import pytest

from kdfixmatch_keras.baselines import LabelSpreading, LinearProbe
from tests.bad_inputs import CLASSES, backbone, fit, new_model

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")


@pytest.fixture
def folders(given):
    """Folders of images, each of which has one that is cut short and one of nothing."""
    for folder in (given.here / "unlabeled", *(given.here / "labeled").iterdir()):
        whole = (folder / "0.png").read_bytes()
        # Its header is whole, and its pixels are not.
        (folder / "cut.png").write_bytes(whole[:60])
        (folder / "empty.png").write_bytes(b"")
    return given


@contextlib.contextmanager
def told():
    """The warnings of files that were left out, whatever else there is."""
    found = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield found
    texts = [str(warning.message) for warning in caught]
    found += [text for text in texts if text.startswith("Left out")]


def whole(folder):
    return sorted(path for path in folder.rglob("[0-9].png"))


def test_predict_says_which_row_is_which_file(folders):
    model, folder = folders.model, folders.here / "unlabeled"
    with pytest.raises(ValueError, match="empty.png.*leave them out with on_error='sk"):
        model.predict(folder)
    expected = model.predict(whole(folder))
    with told() as texts:
        np.testing.assert_array_equal(model.predict(folder, on_error="skip"), expected)
        images = model.load_images(folder, on_error="skip")
    assert len(texts) == 2
    for text in texts:
        assert text.startswith("Left out 2 files of `images`") and "cut.png (" in text
    assert images.names == ["0.png", "1.png", "2.png"]
    assert {file.name for file in images.skipped} == {"cut.png", "empty.png"}
    # What was told once is not told again.
    with told() as texts:
        np.testing.assert_array_equal(model.predict(images), expected)
    assert texts == []
    for row, file in zip(expected, images.files, strict=True):
        np.testing.assert_allclose(model.predict([file])[0], row, atol=1e-6)


def test_names_of_a_nested_folder_and_of_a_list(given):
    model, folder = given.model, given.here / "labeled"
    images = model.load_images(folder)
    assert images.names[:3] == ["blue/0.png", "blue/1.png", "green/0.png"]
    paths = [folder / "red" / "1.png", folder / "blue" / "0.png"]
    images = model.load_images(paths)
    assert images.names == ["red/1.png", "blue/0.png"] and images.files == paths
    every = model.predict(folder)
    np.testing.assert_allclose(model.predict(paths), every[[5, 0]], atol=1e-6)


def test_one_file_is_one_row(given):
    file = given.here / "unlabeled" / "1.png"
    expected = given.model.predict(given.here / "unlabeled")[[1]]
    np.testing.assert_allclose(given.model.predict(file), expected, atol=1e-6)
    assert given.model.load_images("~/unlabeled/1.png").names == ["1.png"]


def test_evaluate_leaves_out_files_with_their_labels(folders):
    model, folder = folders.model, folders.here / "labeled"
    with pytest.raises(ValueError, match="3 that cannot be read"):
        model.evaluate(folder)
    with told() as texts:
        found = model.evaluate(folder, on_error="skip")
    assert texts[0].startswith("Left out 6 files of `images`")
    files = whole(folder)
    labels = [CLASSES.index(file.parent.name) for file in files]
    assert found == pytest.approx(model.evaluate(files, labels))
    listed = [*files[:3], folder / "blue" / "cut.png", *files[3:]]
    with told() as texts:
        assert model.evaluate(
            listed, [*labels[:3], 2, *labels[3:]], on_error="skip"
        ) == pytest.approx(found)
    assert texts[0].startswith("Left out 1 file of `images`")


def test_fit_leaves_them_out_of_all_sets(folders, tmp_path):
    labeled, unlabeled = folders.here / "labeled", folders.here / "unlabeled"
    test = tmp_path / "test"
    shutil.copytree(labeled, test)
    for number, file in enumerate(whole(test)):
        # Other images than those that it is trained on.
        file.write_bytes(whole(unlabeled)[number % 3].read_bytes())
    with pytest.raises(ValueError, match=r"`labeled` must hold only readable"):
        fit(labeled, unlabeled)
    model = new_model()
    with told() as texts:
        fit(labeled, unlabeled, model, validation_data=test, on_error="skip")
    assert [text.split(" that")[0] for text in texts] == [
        "Left out 6 files of `labeled`",
        "Left out 2 files of `unlabeled`",
        "Left out 6 files of `validation_data`",
    ]
    assert model.unlabeled_names == ["0.png", "1.png", "2.png"]
    again = new_model()
    files = whole(labeled)
    labels = [CLASSES.index(file.parent.name) for file in files]
    fit((files, labels), whole(unlabeled), again)
    np.testing.assert_array_equal(
        model.predict(whole(unlabeled)), again.predict(whole(unlabeled))
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: LinearProbe(backbone, sizes=[8]),
        lambda: LabelSpreading(backbone, size=8),
    ],
)
def test_baselines_leave_them_out_too(folders, make):
    labeled, unlabeled = folders.here / "labeled", folders.here / "unlabeled"
    model = make()
    with told() as texts:
        model.fit(labeled, unlabeled, verbose=0, on_error="skip")
        assert len(model.predict(unlabeled, on_error="skip")) == 3
        assert model.evaluate(labeled, on_error="skip")["accuracy"] >= 0
    assert [text.split(" that")[0] for text in texts] == [
        "Left out 6 files of `labeled`",
        "Left out 2 files of `unlabeled`",
        "Left out 2 files of `images`",
        "Left out 6 files of `images`",
    ]
    assert len(model.predict(whole(unlabeled))) == 3
