"""Named data sets, split for learning from a few labels.

`load` reads the digits of scikit-learn, the solar cells of the package elpv-dataset, a
data set of TensorFlow Datasets or folders of image files, and draws which training
images keep their label.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.sources import (
    ArraySource,
    ImageSource,
    LabeledImages,
    SubsetSource,
    check_image_size,
    labeled_source,
    spool_dataset,
)
from kdfixmatch_keras.sources.intensity import LATER
from kdfixmatch_keras.sources.labels import check_classes, integer_labels
from kdfixmatch_keras.sources.one_range import in_one_range

NAMES = ("digits", "solar_cells", "cifar10", "cifar100", "svhn", "food101")

# Of the digits and of the solar cells, which come without a split.
NUM_TEST = 500

# Name in TensorFlow Datasets, and its splits for training and for test.
_TENSORFLOW_DATASETS = {
    "cifar10": ("cifar10", "train", "test"),
    "cifar100": ("cifar100", "train", "test"),
    "svhn": ("svhn_cropped", "train", "test"),
    "food101": ("food101", "train", "validation"),
}
# Photographs of many sizes, which a network cannot take.
_IMAGE_SIZES = {"food101": (224, 224)}
# A mirrored digit is another sign, or none.
_NOT_TO_MIRROR = ("digits", "svhn")
_TEST_FOLDERS = ("test", "validation", "val")


@dataclass(frozen=True, eq=False)
class SemiSupervisedData:
    """A data set of which a few labels are known to training.

    Example:
        >>> data = load("digits", num_labels=20)
        >>> model.fit(  # doctest: +SKIP
        ...     data.labeled, data.unlabeled, validation_data=data.test
        ... )

    Attributes:
        labeled: The n labeled images.
        unlabeled: All N training images. The labeled ones are among them, as in
            FixMatch's own experiments.
        unlabeled_labels: int32 array of shape (N,), the classes of the unlabeled
            images. For audits of a trusted set; training must not see them.
        test: Labeled images that are in neither of the sets above.
        class_names: The K classes' names.
        labeled_indices: int64 array of shape (n,), ascending: the position of each
            labeled image in the unlabeled set.
        weak_augmentation: `"shift"` where a mirrored image is another sign or none,
            else `"flip_shift"`.
    """

    labeled: LabeledImages
    unlabeled: ImageSource
    unlabeled_labels: npt.NDArray[np.int32]
    test: LabeledImages
    class_names: list[str]
    labeled_indices: npt.NDArray[np.int64]
    weak_augmentation: str


def load(
    name: str,
    num_labels: int,
    seed: int = 0,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: Sequence[int] | None = None,
) -> SemiSupervisedData:
    """Reads a data set and draws which of its training images are labeled.

    `"digits"` comes with scikit-learn: 8 x 8 pixels, the same 500 for test whatever
    the seed. `"solar_cells"` are 2,223 photographs of 300 x 300 pixels, electricity
    made visible, of cells that their inspectors called functional or defective without
    a doubt (two thirds are functional), the same 500 for test; the package
    elpv-dataset has them, under CC-BY-NC-SA-4.0 (Buerhop-Lutz et al., 2018, "A
    benchmark for visual identification of defective solar cells in
    electroluminescence imagery").
    The others come from TensorFlow Datasets, which downloads them once:
    `"cifar10"`, `"cifar100"`, `"svhn"` (without its extra images) and `"food101"`,
    whose validation images are the test.

    Own images need a folder `data_dir` with `train/<class>/*` and `test/<class>/*`,
    or `validation` or `val` in place of `test`; any `name` will do then, and takes
    part in the draw. Their order is that of their names.

    Decoded images are kept in memory up to 1 GiB a split. A larger folder is read
    batch by batch; a larger download is decoded into a temporary file (food101: 15 GB
    in all) in the folder that the environment variable TMPDIR names.

    Args:
        name: One of `NAMES`, or any name for own images.
        num_labels: Number n of labeled images; see `draw_labels`.
        seed: Integer of at least 0 that fixes the draw.
        data_dir: Folder of own images as above; or the folder that TensorFlow
            Datasets keeps its files in, None for its own choice.
        image_size: `(height, width)` that images are resized to. None: (224, 224)
            for `"food101"`, the size of the images for others.

    Returns:
        The images, and which are labeled.

    Raises:
        ImportError: TensorFlow Datasets or elpv-dataset is needed and missing.
        RuntimeError: TensorFlow Datasets could not download or read the data set.
        TypeError: `name` is no string, or `data_dir` no path.
        ValueError: An argument is not as above, or images are not usable.
    """
    if not isinstance(name, str):
        raise TypeError(
            "`name` must be a string, one of "
            f"{', '.join(map(repr, NAMES))} or any name for own images in a "
            f"`data_dir`. Received: name={name!r}"
        )
    num_labels = validation.check_integer("num_labels", num_labels, 2)
    seed = validation.check_integer("seed", seed, 0)
    folder = None
    if data_dir is not None:
        folder = validation.check_path("data_dir", data_dir)
    size = check_image_size(image_size) or _IMAGE_SIZES.get(name)
    train, test = _read(name, folder, size)
    indices = draw_labels(train.labels, num_labels, seed, name)
    return SemiSupervisedData(
        labeled=LabeledImages(
            SubsetSource(train.images, indices),
            train.labels[indices],
            train.class_names,
            train.none_of_these,
        ),
        unlabeled=train.images,
        unlabeled_labels=train.labels,
        test=test,
        class_names=train.class_names,
        labeled_indices=indices,
        weak_augmentation="shift" if name in _NOT_TO_MIRROR else "flip_shift",
    )


def draw_labels(
    labels: Any, num_labels: int, seed: int, name: str
) -> npt.NDArray[np.int64]:
    """Draws which images are labeled, as equally many of each class as possible.

    Where `num_labels` is no multiple of the number of classes, chance chooses the
    classes that get one more; a class that is used up leaves its share to others.
    For the same labels, the draw depends on `name`, `num_labels` and `seed` alone,
    not on the process or the machine.

    Args:
        labels: Integers of shape (N,), the class of every image, in [0, K).
        num_labels: Number n of images to draw, from K to N.
        seed: Integer of at least 0.
        name: Name of the data set.

    Returns:
        int64 array of shape (n,): indices in [0, N), ascending, without repeats.

    Raises:
        ValueError: `num_labels` is less than K or more than N, a class has no image,
            or an argument is of the wrong kind.
    """
    labels = integer_labels(labels, "labels")
    if len(labels) == 0:
        raise ValueError("`labels` must hold at least one label. Received: none")
    check_classes(labels, None, "labels")
    counts = np.bincount(labels)
    num_labels = validation.check_integer("num_labels", num_labels, 1)
    if not len(counts) <= num_labels <= len(labels):
        raise ValueError(
            f"`num_labels` must be at least {len(counts)}, one for each class, and at "
            f"most {len(labels)}, the number of images. Received: "
            f"num_labels={num_labels}"
        )
    seed = validation.check_integer("seed", seed, 0)
    # Not `hash`, which differs between processes.
    generator = np.random.default_rng(
        validation.derive_seed(seed, f"labels/{name}/{num_labels}")
    )
    order = generator.permutation(len(labels))
    shuffled = labels[order]
    # The images are dealt in rounds, one of each class, classes in a random order.
    by_class = np.argsort(shuffled, kind="stable")
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    rounds = np.empty(len(labels), np.int64)
    rounds[by_class] = np.arange(len(labels)) - starts
    turns = generator.permutation(len(counts))[shuffled]
    dealt = np.lexsort((turns, rounds))[:num_labels]
    return np.sort(order[dealt])


def _read(
    name: str,
    data_dir: Path | None,
    image_size: tuple[int, int] | None,
) -> tuple[LabeledImages, LabeledImages]:
    """Reads the training and the test images."""
    if data_dir is not None and not data_dir.is_dir():
        # TensorFlow Datasets would make it, and download.
        raise ValueError(
            "`data_dir` must be a folder that exists. "
            f"Received: data_dir={os.fspath(data_dir)!r}"
        )
    folders = None if data_dir is None else _image_folders(data_dir)
    if folders is not None:
        return _read_folders(*folders, image_size)
    if name in _TENSORFLOW_DATASETS:
        if data_dir is not None:
            _check_downloads(data_dir, _TENSORFLOW_DATASETS[name][0])
        return _read_tensorflow_dataset(name, data_dir, image_size)
    if data_dir is not None:
        raise ValueError(
            "`data_dir` must be a folder with train/<class>/* and test/<class>/*. "
            f"Received: data_dir={os.fspath(data_dir)!r}"
        )
    validation.check_choice(
        "name", name, NAMES, "any name for own images in a `data_dir`"
    )
    read = _solar_cells if name == "solar_cells" else _digits
    return _split(*read(), image_size)


def _image_folders(data_dir: Path) -> tuple[Path, Path] | None:
    """The folders of training and test images, or None if there are none here."""
    train = data_dir / "train"
    if not train.is_dir():
        return None
    for test in _TEST_FOLDERS:
        if (data_dir / test).is_dir():
            return train, data_dir / test
    raise ValueError(
        "`data_dir` must hold, beside its folder train, one named test, validation or "
        f"val. Received: data_dir={str(data_dir)!r}"
    )


def _check_downloads(data_dir: Path, name: str) -> None:
    """Refuses a folder of other things where TensorFlow Datasets would download."""
    found = {path.name for path in data_dir.iterdir() if path.name[0] != "."}
    if found and not found & {"downloads", name}:
        raise ValueError(
            "`data_dir` must have own images in train/<class>/* and test/<class>/*, "
            "or be the folder of TensorFlow Datasets, which can be empty. Received: "
            f"data_dir={str(data_dir)!r}, which holds {', '.join(sorted(found)[:5])}"
        )


def _read_folders(
    train_folder: Path, test_folder: Path, image_size: tuple[int, int] | None
) -> tuple[LabeledImages, LabeledImages]:
    train = labeled_source(
        train_folder, image_size, argument="data_dir/train", intensity_range=LATER
    )
    height, width, channels = train.images.image_shape
    test = labeled_source(
        test_folder,
        image_size,
        channels,
        class_names=train.class_names,
        argument=f"data_dir/{test_folder.name}",
        intensity_range=LATER,
    )
    if test.images.image_shape != train.images.image_shape:
        raise ValueError(
            "`data_dir` must hold images of one size when image_size is None. "
            f"Received: {train.images.image_shape} in train and "
            f"{test.images.image_shape} in {test_folder.name}. Pass "
            "image_size=(height, width) to resize them."
        )
    sources = {
        "data_dir/train": train.images,
        f"data_dir/{test_folder.name}": test.images,
    }
    parts = zip((train, test), in_one_range(sources), strict=True)
    train, test = (part.with_images(images) for part, images in parts)
    return train, test


def _digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], list[str]]:
    """Images, labels and class names."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return images, digits.target.astype(np.int32), [str(i) for i in range(10)]


def _solar_cells() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], list[str]]:
    """Images, labels and class names, without the cells that inspectors doubted."""
    try:
        from elpv_dataset.utils import load_dataset
    except ImportError as error:
        raise ImportError(
            "The data set solar_cells needs the package elpv-dataset: "
            "pip install 'kdfixmatch-keras[solar-cells]'"
        ) from error
    images, defective, _ = load_dataset()
    sure = (defective == 0) | (defective == 1)
    labels = (defective[sure] == 0).astype(np.int32)
    return images[sure], labels, ["defective", "functional"]


def _split(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int32],
    class_names: list[str],
    image_size: tuple[int, int] | None,
) -> tuple[LabeledImages, LabeledImages]:
    """The training and the test images of gray ones that come without a split."""
    # Not the seed of `load`: the test images must be the same for every draw.
    order = np.random.default_rng(0).permutation(len(images))

    def part(indices: npt.NDArray[np.int64]) -> LabeledImages:
        source = ArraySource(images[indices][..., np.newaxis], image_size)
        return LabeledImages(source, labels[indices], class_names)

    return part(order[NUM_TEST:]), part(order[:NUM_TEST])


def _read_tensorflow_dataset(
    name: str,
    data_dir: Path | None,
    image_size: tuple[int, int] | None,
) -> tuple[LabeledImages, LabeledImages]:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"The data set {name} needs TensorFlow Datasets: "
            "pip install 'kdfixmatch-keras[datasets]'"
        ) from error
    tfds_name, *splits = _TENSORFLOW_DATASETS[name]
    folder = None if data_dir is None else os.fspath(data_dir)
    builder = _prepared(tfds.builder(tfds_name, data_dir=folder))
    # Only known once the data set is there.
    class_names = list(builder.info.features["label"].names)

    def part(split: str) -> LabeledImages:
        # File by file, so that an index names the same image in every run.
        dataset = builder.as_dataset(
            split=split,
            shuffle_files=False,
            as_supervised=True,
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )
        if dataset.element_spec[0].shape.is_fully_defined():
            dataset = dataset.batch(1024)
        source, labels = spool_dataset(
            dataset, True, image_size, argument=f"{tfds_name}/{split}"
        )
        return LabeledImages(source, np.asarray(labels, dtype=np.int32), class_names)

    train, test = map(part, splits)
    return train, test


def _prepared(builder: Any) -> Any:
    """Downloads a data set unless it is there, and returns its builder."""
    try:
        builder.download_and_prepare()
    # Of requests, TensorFlow, the operating system, or of a checksum.
    except Exception as error:
        raise RuntimeError(
            f"TensorFlow Datasets could not prepare {builder.name} in "
            f"{builder.data_dir}: {error or type(error).__name__}. Without a network, "
            "prepare it on another machine and pass the folder that holds it as "
            "`data_dir`; or pass a folder of image files, with train/<class>/* and "
            "test/<class>/*."
        ) from error
    return builder
