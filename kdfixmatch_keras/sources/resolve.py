"""From what a user passes to a source of images, and its labels."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.sources.array_source import ArraySource
from kdfixmatch_keras.sources.brightness import check_bright
from kdfixmatch_keras.sources.class_numbers import check_not_names, numbered
from kdfixmatch_keras.sources.dataset_source import is_dataset, spool_dataset
from kdfixmatch_keras.sources.file_kinds import READ, passed_over_line
from kdfixmatch_keras.sources.folder_source import ON_ERROR, FolderSource
from kdfixmatch_keras.sources.image_files import (
    FoundFiles,
    PathLike,
    check_folder,
    is_passed_over,
    printable,
    search_folder,
)
from kdfixmatch_keras.sources.image_source import ImageSource
from kdfixmatch_keras.sources.intensity import (
    AUTO,
    IntensityRange,
    check_intensity_range,
)
from kdfixmatch_keras.sources.labels import (
    NONE_OF_THESE,
    WITHOUT_LABEL,
    check_class_name,
    check_classes,
    check_no_class_empty,
    check_spelling,
    integer_labels,
    is_none_of_these,
    twin_of,
)
from kdfixmatch_keras.sources.path_list import are_paths, expanded, kept_rows
from kdfixmatch_keras.sources.pixels import check_channels, check_image_size
from kdfixmatch_keras.sources.subset_source import SubsetSource

# Names of the parts of a data set, of which a folder has several in place of classes.
_PARTS = {"labeled", "labelled", "test", "train", "training", "unlabeled", "unlabelled"}
_PARTS |= {"val", "valid", "validation"}


@dataclass(frozen=True)
class LabeledImages:
    """Images whose classes are known.

    Attributes:
        images: Source of n images.
        labels: int32 array of shape (n,), each in [0, K).
        class_names: The K classes' names, in the order of their numbers. As an argument
            of `labeled_source` or of `fit` it can have `"none of these"` behind them,
            the reserved name of what is of no class: such images are put apart.
        none_of_these: Images that were looked at and are of none of the classes, or
            None. They take no part in a training.
    """

    images: ImageSource
    labels: npt.NDArray[np.int32]
    class_names: list[str]
    none_of_these: ImageSource | None = None

    def with_images(self, images: ImageSource) -> "LabeledImages":
        """The same labels of other images, such as these in another range.

        Args:
            images: The images, in the same order. Where they and those of no class are
                subsets of one source, the latter are taken from that of `images`.
        """
        none = self.none_of_these
        if (
            isinstance(none, SubsetSource)
            and isinstance(images, SubsetSource)
            and isinstance(self.images, SubsetSource)
            and none.source is self.images.source
        ):
            none = SubsetSource(images.source, none.indices)
        return replace(self, images=images, none_of_these=none)


def put_apart(
    images: ImageSource,
    labels: npt.NDArray[Any],
    class_names: list[str],
    argument: str,
) -> LabeledImages:
    """Labeled images, and apart from them those that are of none of the classes.

    Args:
        images: Source of n images.
        labels: Integers of shape (n,), numbers of class names.
        class_names: Names, the last of which can be `"none of these"`.
        argument: Name that the caller knows the labeled data by.

    Raises:
        ValueError: That name is not the last, so that without it others would change
            their numbers.
    """
    labels = labels.astype(np.int32)
    reserved = [i for i, name in enumerate(class_names) if is_none_of_these(name)]
    if not reserved:
        return LabeledImages(images, labels, class_names)
    num_classes = len(class_names) - 1
    if reserved != [num_classes]:
        raise ValueError(
            f"`{argument}` must have {NONE_OF_THESE!r} once, as the last of its class "
            "names: it is reserved for images of no class, and without it those behind "
            f"it would change their numbers. Received: class_names={class_names}"
        )
    is_none = labels == num_classes
    rows = np.arange(len(labels))
    return LabeledImages(
        SubsetSource(images, rows[~is_none]),
        labels[~is_none],
        class_names[:-1],
        SubsetSource(images, rows[is_none]) if is_none.any() else None,
    )


def labeled_source(
    data: Any,
    image_size: Sequence[int] | None = None,
    channels: int | None = None,
    class_names: Sequence[str] | None = None,
    *,
    on_error: str = "raise",
    read_once: bool = False,
    intensity_range: IntensityRange | str | None = AUTO,
    argument: str = "labeled",
) -> LabeledImages:
    """Makes random-access labeled images of what a user passes.

    Args:
        data: A tuple `(x, y)` of a uint8 array of shape (N, H, W) or (N, H, W, C), or
            a list of N paths of files, and integers of shape (N,) or (N, 1); a
            `tf.data.Dataset` of `(image, label)`, batched or not; the path of a folder
            with one sub-folder per class; or `LabeledImages`, which are returned as
            they are.
        image_size: `(height, width)` that images are resized to. `None`: their own.
        channels: 1 or 3. `None`: those of the data.
        class_names: The K names that a labeled set has fixed, for validation data:
            labels must then be in [0, K), or sub-folders have these names, and a
            class may be absent; a label that is the name of a class of another number
            is refused. `None`: the data defines the classes: at least two, each with an
            image; a folder's are its sub-folders in sorted order, integers being
            sorted as such.
        on_error: `"raise"`, or `"skip"` to leave out files that cannot be read.
        read_once: Whether each image is needed only once; see `FolderSource`.
        intensity_range: What intensities of 16-bit files become 0 and 255; see
            `FolderSource`.
        argument: Name that error messages give to `data`.

    Returns:
        The images, int32 labels of shape (n,) and class names; apart from them, those
        of a sub-folder or a class named `"none of these"`, whatever its case, spaces
        and hyphens, which are of no class.

    Raises:
        TypeError: If `data` is none of these.
        ValueError: If images or labels are not as described.
    """
    check_image_size(image_size)
    channels = check_channels(channels)
    validation.check_choice("on_error", on_error, ON_ERROR)
    check_intensity_range(intensity_range)
    names = (
        None
        if class_names is None
        else validation.check_names("class_names", class_names, distinct=True)
    )
    if isinstance(data, (str, os.PathLike)):
        folder = check_folder(validation.check_path(argument, data), argument)
        return _labeled_folder(
            folder,
            names,
            image_size=image_size,
            channels=channels,
            on_error=on_error,
            read_once=read_once,
            intensity_range=intensity_range,
            argument=argument,
        )
    if isinstance(data, LabeledImages):
        given = _checked_labeled_images(data, image_size, channels, names, argument)
        scaled = _in_range(given.images, intensity_range)
        return given if scaled is given.images else given.with_images(scaled)
    images: ImageSource
    if is_dataset(data):
        images, labels = spool_dataset(
            data, True, image_size, channels, argument=argument
        )
        labels = integer_labels(labels, argument)
    elif isinstance(data, tuple) and len(data) == 2 and are_paths(data[0]):
        return _labeled_files(
            *data,
            names,
            image_size=image_size,
            channels=channels,
            on_error=on_error,
            read_once=read_once,
            argument=argument,
        )
    elif isinstance(data, tuple) and len(data) == 2:
        images = ArraySource(data[0], image_size, channels, argument=argument)
        labels = integer_labels(data[1], argument, names)
        _check_as_many(len(images), labels, argument)
    else:
        raise TypeError(
            f"`{argument}` must be a tuple (x, y) of arrays, or of a list of paths and "
            "an array, a tf.data.Dataset of (image, label), the path of a folder with "
            f"one sub-folder per class, or LabeledImages. Received: type={_type(data)}"
            + (". Pass a tuple, `(x, y)`." if isinstance(data, list) else "")
        )
    names = _numbered_classes(labels, names, argument)
    check_bright(images, argument)
    return put_apart(images, labels, names, argument)


def unlabeled_source(
    data: Any,
    image_size: Sequence[int] | None = None,
    channels: int | None = None,
    *,
    on_error: str = "raise",
    read_once: bool = False,
    intensity_range: IntensityRange | str | None = AUTO,
    argument: str = "unlabeled",
) -> ImageSource:
    """Makes random-access images of what a user passes.

    Args:
        data: A uint8 array or `np.memmap` of shape (N, H, W) or (N, H, W, C); a
            `tf.data.Dataset` of images, batched or not; the path of a folder; a list
            of paths of files, whose order is kept; or an `ImageSource`, which is
            returned as it is.
        image_size: `(height, width)` that images are resized to. `None`: their own.
        channels: 1 or 3. `None`: those of the data.
        on_error: `"raise"`, or `"skip"` to leave out files that cannot be read.
        read_once: Whether each image is needed only once; see `FolderSource`.
        intensity_range: What intensities of 16-bit files become 0 and 255; see
            `FolderSource`.
        argument: Name that error messages give to `data`.

    Returns:
        A source of at least one image.

    Raises:
        TypeError: If `data` is none of these.
        ValueError: If its images are not as described.
    """
    size = check_image_size(image_size)
    channels = check_channels(channels)
    validation.check_choice("on_error", on_error, ON_ERROR)
    check_intensity_range(intensity_range)
    if isinstance(data, ImageSource):
        height, width, own_channels = data.image_shape
        wanted = (*(size or (height, width)), channels or own_channels)
        if len(data) == 0 or wanted != data.image_shape:
            raise ValueError(
                f"`{argument}` must hold at least one image and give images of shape "
                f"{wanted}. Received: {len(data)} of shape {data.image_shape}. Pass "
                "image_size and channels when the source is made."
            )
        return _in_range(data, intensity_range)
    source: ImageSource
    if isinstance(data, np.ndarray):
        source = ArraySource(data, image_size, channels, argument=argument)
    elif isinstance(data, (str, os.PathLike)) or are_paths(data):
        source = FolderSource(
            expanded(data) if are_paths(data) else data,
            image_size,
            channels,
            on_error=on_error,
            read_once=read_once,
            intensity_range=intensity_range,
            argument=argument,
        )
    elif is_dataset(data):
        source, _ = spool_dataset(data, False, image_size, channels, argument=argument)
    else:
        raise TypeError(
            f"`{argument}` must be a NumPy array or memmap of images, a "
            "tf.data.Dataset of images, the path of a folder, a list of paths, or an "
            f"ImageSource. Received: type={_type(data)}{_remedy(data)}"
        )
    check_bright(source, argument, is_predicted=read_once)
    return source


def _checked_labeled_images(
    data: LabeledImages,
    image_size: Sequence[int] | None,
    channels: int | None,
    class_names: list[str] | None,
    argument: str,
) -> LabeledImages:
    if not isinstance(data.images, ImageSource):
        raise TypeError(
            f"`{argument}` must hold its images in an ImageSource, as "
            "`unlabeled_source` makes one. Received: LabeledImages whose images are of "
            f"type={_type(data.images)}"
        )
    unlabeled_source(data.images, image_size, channels, argument=argument)
    own_names = validation.check_names(
        f"{argument}.class_names", data.class_names, distinct=True
    )
    if any(map(is_none_of_these, own_names)):
        return _without_none(data, image_size, channels, class_names, argument)
    if class_names is not None and own_names != class_names:
        raise ValueError(
            f"`{argument}` must have the classes {class_names}. Received: "
            f"LabeledImages of the classes {own_names}"
        )
    labels = integer_labels(data.labels, argument)
    if len(labels) != len(data.images):
        raise ValueError(
            f"`{argument}` must hold as many labels as images. Received: "
            f"{len(data.images)} images and {len(labels)} labels"
        )
    check_classes(labels, own_names, argument)
    if not isinstance(data.labels, np.ndarray) or data.labels.ndim != 1:
        data = replace(data, labels=labels.astype(np.int32))
    if class_names is not None:
        return data
    if len(own_names) < 2:
        raise ValueError(
            f"`{argument}` must hold images of at least two classes. Received: "
            f"LabeledImages of the classes {own_names}"
        )
    check_no_class_empty(labels.tolist(), own_names, argument)
    return data


def _without_none(
    data: LabeledImages,
    image_size: Sequence[int] | None,
    channels: int | None,
    class_names: list[str] | None,
    argument: str,
) -> LabeledImages:
    """What a user has put together, with those of no class apart, checked."""
    labels = integer_labels(data.labels, argument)
    _check_as_many(len(data.images), labels, argument)
    check_classes(labels, list(data.class_names), argument)
    if data.none_of_these is not None:
        raise ValueError(
            f"`{argument}` must have its images of no class in one place. Received: "
            f"LabeledImages with `none_of_these` and with a class {NONE_OF_THESE!r}"
        )
    apart = put_apart(data.images, labels, list(data.class_names), argument)
    if len(apart.images) == 0:
        raise ValueError(
            f"`{argument}` must hold images of at least two classes. Received: "
            f"{len(labels)} images, all of them {NONE_OF_THESE!r}, which is no class"
        )
    return _checked_labeled_images(apart, image_size, channels, class_names, argument)


def _labeled_files(
    paths: Sequence[PathLike],
    labels: Any,
    class_names: list[str] | None,
    *,
    argument: str,
    **reading: Any,
) -> LabeledImages:
    """Files that are listed, with a label each."""
    labels = integer_labels(labels, argument, class_names)
    _check_as_many(len(paths), labels, argument)
    # Before the files are decoded, which can take long; then those that could be.
    names = _numbered_classes(labels, class_names, argument) if paths else []
    files = expanded(paths)
    images = FolderSource(files, argument=argument, **reading)
    labels = labels[kept_rows(files, images.files)]
    if class_names is None:
        check_no_class_empty(labels.tolist(), names, argument)
    check_bright(images, argument)
    return put_apart(images, labels, names, argument)


def _numbered_classes(
    labels: npt.NDArray[np.int64], class_names: list[str] | None, argument: str
) -> list[str]:
    """The names of the classes that labels number; see `check_classes`."""
    if class_names is not None:
        check_not_names(labels, class_names, argument)
    return check_classes(labels, class_names, argument)


def _check_as_many(count: int, labels: npt.NDArray[np.int64], argument: str) -> None:
    if count != len(labels):
        raise ValueError(
            f"`{argument}` must hold as many labels as images. Received: "
            f"len(x)={count}, len(y)={len(labels)}"
        )


def _check_no_parts(folder: Path, found: list[str], argument: str) -> None:
    """Refuses sub-folders that would be classes and are parts of a data set."""
    if {name.lower() for name in found} <= _PARTS:
        raise ValueError(
            f"`{argument}` must have one sub-folder per class. Received: {folder}, "
            f"whose sub-folders {', '.join(found)} look like the parts of a data set. "
            "Pass one of them."
        )
    others = [name for name in found if name.lower() in WITHOUT_LABEL]
    if others:
        raise ValueError(
            f"`{argument}` must have one sub-folder per class. Received: {folder} with "
            f"the sub-folder {others[0]}, which is none. Move it."
        )


def _in_range(
    source: ImageSource, intensity_range: IntensityRange | str | None
) -> ImageSource:
    """A source that was made before, in the range that is asked for, if one is."""
    if isinstance(intensity_range, str):
        return source
    return source.in_range(intensity_range)


def _labeled_folder(
    folder: Path, class_names: list[str] | None, *, argument: str, **reading: Any
) -> LabeledImages:
    classes = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not is_passed_over(entry.name)
    )
    found = search_folder(folder)
    reserved = [name for name in classes if is_none_of_these(name)]
    classes = [name for name in classes if name not in reserved]
    if reserved and not classes:
        raise ValueError(
            f"`{argument}` must hold images of at least two classes. Received: "
            f"{folder} with the sub-folder {reserved[0]} alone, which is no class"
        )
    _check_folder_classes(folder, classes, found.files, class_names, argument)
    _check_one_class_each(folder, found.again, argument)
    classes = numbered(classes, argument)
    defines_classes = class_names is None
    class_names = classes if class_names is None else class_names
    if defines_classes and len(classes) < 2:
        raise ValueError(
            f"`{argument}` must hold images of at least two classes. Received: "
            f"the one sub-folder {classes[0]}"
        )
    number = {name: index for index, name in enumerate(class_names)}
    number |= dict.fromkeys(reserved, len(class_names))

    def labels_of(files: list[Path]) -> list[int]:
        labels = [number[file.relative_to(folder).parts[0]] for file in files]
        if defines_classes:
            check_no_class_empty(labels, classes, argument, _images_needed(found))
        return labels

    # Before the images are decoded, which can take long; then those that could be.
    labels_of(found.files)
    images = FolderSource(found.files, root=folder, argument=argument, **reading)
    images.passed_over = found.passed_over
    check_bright(images, argument)
    labels = np.array(labels_of(images.files), np.int32)
    names = [*class_names, *([NONE_OF_THESE] if reserved else [])]
    return put_apart(images, labels, names, argument)


def _check_one_class_each(
    folder: Path, again: Mapping[Path, Path], argument: str
) -> None:
    """Refuses links that lead from one class into another."""
    for path, other in again.items():
        one, another = path.relative_to(folder), other.relative_to(folder)
        if another.parts and one.parts[0] != another.parts[0]:
            raise ValueError(
                f"`{argument}` must have each image in one class. Received: "
                f"{printable(one)} and {printable(another)} in {folder}, which are one "
                "by a link. Remove one of them."
            )


def _images_needed(found: FoundFiles) -> str:
    others = passed_over_line(found.passed_over)
    passed = f" Passed over in the folder: {others}." if others else ""
    return f"Each class's sub-folder needs an image: {READ} are read.{passed}"


def _check_folder_classes(
    folder: Path,
    found: list[str],
    files: list[Path],
    class_names: list[str] | None,
    argument: str,
) -> None:
    if not found:
        raise ValueError(
            f"`{argument}` must be a folder with one sub-folder per class when it is "
            f"a labeled folder. Received: {argument}={str(folder)!r}, which has no "
            "sub-folders"
        )
    for name in found:
        check_class_name(name, argument, f" in {folder}")
    check_spelling(found, [""] * len(found), argument, f" in {folder}")
    loose = [printable(file.name) for file in files if file.parent == folder]
    if loose:
        raise ValueError(
            f"`{argument}` must hold its images in one sub-folder per class. "
            f"Received: {len(loose)} image(s) in none, such as {loose[0]}. Move them "
            "into their class's sub-folder."
        )
    if class_names is None:
        _check_no_parts(folder, found, argument)
    unknown = [] if class_names is None else sorted(set(found) - set(class_names))
    if unknown:
        twin = twin_of(unknown[0], class_names or [])
        meant = f". {ascii(unknown[0])} is not {ascii(twin)}; rename it" if twin else ""
        raise ValueError(
            f"`{argument}` must have sub-folders named as the classes "
            f"{class_names}. Received: also {', '.join(unknown)}{meant}"
        )


def _type(data: object) -> str:
    if isinstance(data, tuple):
        return f"tuple of {len(data)}"
    return type(data).__name__


def _remedy(data: object) -> str:
    """What makes images of something, where that is known; the end of a message."""
    if isinstance(data, list) and hasattr(data[0], "shape"):
        return " of arrays. Make one array of them with `np.stack(images)`."
    if isinstance(data, list) and isinstance(data[0], Image.Image):
        code = "np.stack([np.asarray(image) for image in images])"
        return f" of pictures. Make one array of them with `{code}`."
    if isinstance(data, Image.Image):
        return ". Convert it with `np.asarray(image)[None]`."
    if hasattr(data, "__next__"):
        return ". Of paths, pass `sorted(paths)`."
    if hasattr(data, "__array__"):
        return ". Convert it with `np.asarray(images)`."
    return ""
