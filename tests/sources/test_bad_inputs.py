"""Bad inputs of `sources`."""

import numpy as np
import pytest

from kdfixmatch_keras import sources
from kdfixmatch_keras.sources.intensity import IntensityRange
from tests.bad_inputs import (
    IMAGES,
    LABELS,
    array_source,
    check_refusal,
    dataset,
    integer,
    labeled_images,
    of_rows,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")

NO_CLASS = "none of these"


def _of_no_class(class_names, labels, **more):
    return sources.labeled_source(
        sources.LabeledImages(array_source(), np.array(labels), class_names, **more)
    )


ROWS = [
    (
        "sources.labeled_source",
        lambda g: _of_no_class(["a", NO_CLASS, "b"], [0, 1, 2] * 4),
        ValueError,
        "`labeled` must have 'none of these' once, as the last of its class names",
    ),
    (
        "sources.labeled_source",
        lambda g: _of_no_class(["a", "None_of_these", NO_CLASS], [0, 1, 2] * 4),
        ValueError,
        "must have 'none of these' once",
    ),
    (
        "sources.labeled_source",
        lambda g: _of_no_class(["a", "b", NO_CLASS], [2] * 12),
        ValueError,
        "Received: 12 images, all of them 'none of these', which is no class",
    ),
    (
        "sources.labeled_source",
        lambda g: _of_no_class(["a", NO_CLASS], [0, 1] * 6),
        ValueError,
        "must hold images of at least two classes. Received: LabeledImages of the",
    ),
    (
        "sources.labeled_source",
        lambda g: _of_no_class(
            ["a", "b", NO_CLASS], [0, 1, 2] * 4, none_of_these=array_source()
        ),
        ValueError,
        "must have its images of no class in one place.",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source((IMAGES, ["a", "b", "None-of-these"] * 4)),
        ValueError,
        "with 'None-of-these', which is no class. Pass `LabeledImages(source, numbers,",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source((IMAGES, LABELS), class_names="abc"),
        TypeError,
        "`class_names` must be a list of strings. Received: class_names='abc'",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source((IMAGES, LABELS), on_error="ignore"),
        ValueError,
        "`on_error` must be one of 'raise', 'skip'. Received: on_error='ignore'",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source(
            (IMAGES, LABELS), class_names=["1", "2", "3"], argument="test"
        ),
        ValueError,
        "`test` must hold labels that number the classes, and are not names of others. "
        "Received: the label 1, while the class named 1 has the number 0. Pass "
        "`LabeledImages(source, numbers, class_names)`",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source(labeled_images(images=IMAGES)),
        TypeError,
        "`labeled` must hold its images in an ImageSource, as `unlabeled_source` makes "
        "one. Received: LabeledImages whose images are of type=ndarray",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source(labeled_images(class_names=[0, 1, 2])),
        TypeError,
        "`labeled.class_names` must be a list of strings. Received: 0 among them",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source(labeled_images(class_names=["a", "b", "a"])),
        ValueError,
        "`labeled.class_names` must be names that differ. Received: 'a' more than once",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source(dataset()),
        ValueError,
        "`labeled` must be a dataset of (image, label). Received: elements TensorSpec",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source(dataset((IMAGES, np.eye(3)[LABELS]))),
        ValueError,
        "`labeled` must hold one integer label an image, not one-hot rows",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source(dataset({"img": IMAGES, "label": LABELS})),
        ValueError,
        "`labeled` must be a dataset whose dicts have the keys ['image', 'label']. "
        "Received: keys ['img', 'label']",
    ),
    (
        "sources.unlabeled_source",
        lambda g: sources.unlabeled_source(g.here / "gone"),
        ValueError,
        "`unlabeled` must be an existing folder. Received: unlabeled='{here}/gone' "
        "(there is no such folder)",
    ),
    (
        "sources.unlabeled_source",
        lambda g: sources.unlabeled_source(g.here / "empty"),
        ValueError,
        "`unlabeled` must hold at least one image. JPEG, PNG, BMP, GIF, WebP and TIFF",
    ),
    (
        "sources.unlabeled_source",
        lambda g: sources.unlabeled_source(dataset().repeat()),
        ValueError,
        "Received: a dataset of infinite cardinality. Drop its `.repeat()`, or add "
        "`.take(count)`.",
    ),
    (
        "sources.unlabeled_source",
        lambda g: sources.unlabeled_source(dataset().take(0)),
        ValueError,
        "`unlabeled` must hold at least one image. Received: an empty dataset",
    ),
    (
        "sources.unlabeled_source",
        lambda g: sources.unlabeled_source(dataset((IMAGES, LABELS))),
        ValueError,
        "Received: tuples of 2. Drop the labels with `.map(lambda image, label: "
        "image)`.",
    ),
    (
        "sources.unlabeled_source",
        lambda g: sources.unlabeled_source(dataset(["a.jpg", "b.jpg"])),
        ValueError,
        "`unlabeled` must be a dataset of images. Received: a dataset of strings. Of "
        "names of files, pass the folder, or a list; or read them with `.map(lambda "
        "image: tf.io.decode_image(tf.io.read_file(image), channels=3, ",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source(
            dataset({"image": ["a.jpg", "b.jpg"], "label": [0, 1]}).batch(2)
        ),
        ValueError,
        "pass the folder, or a list as (paths, labels); or read them with `.map(lambda "
        'data: {{**data, "image": tf.io.decode_image(',
    ),
    (
        "sources.unlabeled_source",
        lambda g: sources.unlabeled_source(dataset(IMAGES.transpose(0, 3, 1, 2))),
        ValueError,
        "channels that are first are moved last with `.map(lambda image: "
        "tf.transpose(image, [1, 2, 0]))`.",
    ),
    (
        "sources.unlabeled_source",
        lambda g: sources.unlabeled_source(array_source(), (4, 4)),
        ValueError,
        "Received: 12 of shape (8, 8, 3). Pass image_size and channels when the source",
    ),
    (
        "sources.spool_dataset",
        lambda g: sources.spool_dataset(IMAGES, False),
        TypeError,
        "`dataset` must be a tf.data.Dataset. Received: type=ndarray",
    ),
    (
        "sources.spool_dataset",
        lambda g: sources.spool_dataset(dataset(), False, memory_bytes=-1),
        ValueError,
        integer("memory_bytes", 0, -1),
    ),
    (
        "sources.ArraySource",
        lambda g: sources.ArraySource(IMAGES.tolist()),
        TypeError,
        "`images` must hold its images in a NumPy array. Received: type=list. Convert "
        "it with `np.asarray`.",
    ),
    (
        "sources.ArraySource",
        lambda g: sources.ArraySource(IMAGES, channels=True),
        ValueError,
        "`channels` must be 1 (grayscale), 3 (RGB) or None for those of the data. "
        "Received: channels=True",
    ),
    (
        "sources.ArraySource",
        lambda g: sources.ArraySource(np.zeros((2, 8, 8, 5), np.uint8)),
        ValueError,
        "Received: shape=(2, 8, 8, 5). Keep the grayscale, RGB or RGBA channels.",
    ),
    (
        "ImageSource.check_indices",
        lambda g: array_source()[3],
        ValueError,
        "`indices` must be a 1-D array of integers; read one image with "
        "source[[index]]",
    ),
    (
        "ImageSource.check_indices",
        lambda g: array_source()[[-1]],
        IndexError,
        "`indices` must be in [0, 12). Received: indices from -1 to -1",
    ),
    (
        "ImageSource.check_indices",
        lambda g: array_source()[[[0], [1, 2]]],
        ValueError,
        "`indices` must be a 1-D array of integers. Received: rows of differing "
        "lengths",
    ),
    (
        "sources.FolderSource",
        lambda g: sources.FolderSource(5),
        TypeError,
        "`folder_or_files` must be the path of a folder, or a list of paths of images. "
        "Received: type=int",
    ),
    (
        "sources.FolderSource",
        lambda g: sources.FolderSource([g.here / "gone.png"]),
        ValueError,
        "Received: 1 that cannot be read: {here}/gone.png (no such file). Repair or "
        "remove them, or leave them out with on_error='skip'.",
    ),
    (
        "sources.FolderSource",
        lambda g: sources.FolderSource(g.here / "unlabeled", intensity_range=(0, 4095)),
        TypeError,
        "`intensity_range` must be 'auto', None or the IntensityRange of a model, two "
        "integers of which 0 <= low < high <= 65535. Received: intensity_range=(0, "
        "4095)",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source(
            (IMAGES, LABELS), intensity_range=IntensityRange(9, 9)
        ),
        ValueError,
        "Received: intensity_range=IntensityRange(low=9, high=9)",
    ),
    (
        "IntensityRange.gray",
        lambda g: IntensityRange(0, 4095).gray(IMAGES),
        ValueError,
        "`pixels` must be an array of uint16. Received: pixels of uint8",
    ),
    (
        "ImageSource.in_range",
        lambda g: array_source().in_range(4095),
        TypeError,
        "`intensity_range` must be None or the IntensityRange of a model, two integers",
    ),
    (
        "ImageSource.in_range",
        lambda g: array_source().in_range("auto"),
        TypeError,
        "Received: intensity_range='auto'",
    ),
    (
        "sources.labeled_source",
        lambda g: sources.labeled_source((IMAGES, LABELS), intensity_range="never"),
        ValueError,
        "`intensity_range` must be 'auto', None or the IntensityRange of a model. "
        "Received: intensity_range='never'",
    ),
    (
        "sources.FolderSource",
        lambda g: sources.FolderSource(g.here / "unlabeled", cache_bytes="1 GB"),
        ValueError,
        integer("cache_bytes", 0, "'1 GB'"),
    ),
    (
        "sources.FolderSource",
        lambda g: sources.FolderSource(
            [g.here / "unlabeled" / "0.png"], root=g.here / "labeled"
        ),
        ValueError,
        "`root` must be a folder that holds all files. Received: root='{here}/labeled' "
        "and {here}/unlabeled/0.png",
    ),
    (
        "sources.SubsetSource",
        lambda g: sources.SubsetSource(array_source(), [12]),
        IndexError,
        "`indices` must be in [0, 12). Received: indices from 12 to 12",
    ),
    (
        "sources.SubsetSource",
        lambda g: sources.SubsetSource(IMAGES, [0]),
        TypeError,
        "`source` must be an ImageSource, as `unlabeled_source` makes one. Received: "
        "type=ndarray",
    ),
    (
        "sources.split_folder",
        lambda g: sources.split_folder(g.here / "gone", g.here / "file"),
        ValueError,
        "`folder` must be an existing folder. Received: folder='{here}/gone'",
    ),
    (
        "sources.split_folder",
        lambda g: sources.split_folder(g.here / "unlabeled", 5),
        TypeError,
        "`labels_file` must be a path, a string or a `pathlib.Path`. Received: "
        "labels_file=5",
    ),
    (
        "sources.split_folder",
        lambda g: sources.split_folder(
            g.here / "unlabeled", g.here / "file", allow_single="yes"
        ),
        TypeError,
        "`allow_single` must be True or False. Received: allow_single='yes'",
    ),
    (
        "sources.check_image_size",
        lambda g: sources.check_image_size((8, True)),
        ValueError,
        "Received: image_size=(8, True)",
    ),
    (
        "sources.resize",
        lambda g: sources.resize(IMAGES, (4, 4)),
        ValueError,
        "`image` must be one image of shape (h, w, c), with c 1 or 3. Received: "
        "image.shape=(12, 8, 8, 3)",
    ),
    (
        "sources.resize",
        lambda g: sources.resize(IMAGES[0] / 255, (4, 4)),
        ValueError,
        "`image` must hold uint8 images. Received: dtype=float64",
    ),
]


@of_rows(ROWS)
def test_bad_input(given, call, error, words):
    check_refusal(given, call, error, words)
