"""Labels in a CSV file: which images of a folder have one, and which have none."""

import csv
import difflib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.checks.paths import expand_user
from kdfixmatch_keras.sources import labels_file_hints
from kdfixmatch_keras.sources.brightness import check_bright
from kdfixmatch_keras.sources.class_numbers import numbered
from kdfixmatch_keras.sources.folder_source import ON_ERROR, FolderSource
from kdfixmatch_keras.sources.image_files import (
    PathLike,
    check_folder,
    printable,
    search_folder,
)
from kdfixmatch_keras.sources.image_source import ImageSource
from kdfixmatch_keras.sources.intensity import LATER
from kdfixmatch_keras.sources.labels import (
    NONE_OF_THESE,
    WITHOUT_LABEL,
    check_class_name,
    check_no_class_empty,
    check_spelling,
    is_none_of_these,
)
from kdfixmatch_keras.sources.one_range import in_one_range
from kdfixmatch_keras.sources.pixels import check_channels, check_image_size
from kdfixmatch_keras.sources.resolve import LabeledImages, put_apart

COLUMNS = ["file", "label"]

# Bytes that tell what a file is that is not as it should be.
_START = 256


def split_folder(
    folder: PathLike,
    labels_file: PathLike,
    image_size: Sequence[int] | None = None,
    channels: int | None = None,
    *,
    on_error: str = "raise",
    allow_single: bool = False,
    folder_argument: str = "folder",
    file_argument: str = "labels_file",
) -> tuple[LabeledImages, ImageSource]:
    """Divides a folder into the images that a CSV file labels and the others.

    The file has the columns file,label in UTF-8. Its files are paths relative to
    `folder`, or absolute, in which `~` is a plain character; the classes are its labels
    in sorted order, integers being sorted as such. Blank lines are left out. Whatever
    it does not name is unlabeled. Those of the label `none of these`, whatever its
    case, spaces and hyphens, are neither: they are of no class.

    Example:
        >>> labeled, unlabeled = split_folder("photos", "labels.csv", (96, 96))
        >>> model.fit(labeled, unlabeled)  # doctest: +SKIP

    Args:
        folder: Folder of images, flat or nested.
        labels_file: The CSV file.
        image_size: `(height, width)` that images are resized to. `None`: their own.
        channels: 1 or 3. `None`: those of the labeled images.
        on_error: `"raise"`, or `"skip"` to leave out images that cannot be read.
        allow_single: Whether a label may be used once. It often is a misspelling.
        folder_argument: Name that error messages give to `folder`.
        file_argument: Name that error messages give to `labels_file`.

    Returns:
        The labeled images, those of no class apart, and the unlabeled ones.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the CSV file is not as described, names a file that is not there
            or the same file twice, or spells a label in two ways that differ only in
            case, spaces or Unicode normalization; or images cannot be read.
    """
    check_image_size(image_size)
    channels = check_channels(channels)
    validation.check_choice("on_error", on_error, ON_ERROR)
    validation.check_flag("allow_single", allow_single)
    folder = validation.check_path(folder_argument, folder)
    labels_file = validation.check_path(file_argument, labels_file)
    root = check_folder(folder, folder_argument)
    files, labels = read_labels_file(labels_file, root, file_argument)
    _check_classes(files, labels, labels_file, allow_single, file_argument)
    named = {file.resolve() for file in files}
    found = search_folder(root)
    others = [file for file in found.files if file.resolve() not in named]
    if not others:
        raise ValueError(
            f"`{folder_argument}` must hold images that `{file_argument}` does not "
            f"label. Received: {str(root)!r}, of which all {len(files)} are labeled"
        )
    images = FolderSource(
        files,
        image_size,
        channels,
        argument=file_argument,
        on_error=on_error,
        intensity_range=LATER,
    )
    unlabeled = FolderSource(
        others,
        image_size,
        images.image_shape[-1],
        root=root,
        argument=folder_argument,
        on_error=on_error,
        intensity_range=LATER,
    )
    unlabeled.passed_over = found.passed_over
    check_bright(images, file_argument)
    check_bright(unlabeled, folder_argument)
    class_names = numbered({*labels} - {NONE_OF_THESE}, file_argument)
    names = [*class_names, *({NONE_OF_THESE} & {*labels})]
    number = {name: index for index, name in enumerate(names)}
    label_of = dict(zip(files, labels, strict=True))
    kept = [number[label_of[file]] for file in images.files]
    check_no_class_empty(kept, class_names, file_argument)
    one, other = in_one_range({file_argument: images, folder_argument: unlabeled})
    return put_apart(one, np.array(kept), names, file_argument), other


def read_labels_file(
    path: PathLike, folder: Path, argument: str = "labels_file"
) -> tuple[list[Path], list[str]]:
    """Reads a file of labels, which can be none yet; opens no image.

    Args:
        path: CSV file in UTF-8 with the columns file,label.
        folder: Folder that relative paths start from.
        argument: Name that error messages give to `path`.

    Returns:
        Paths of the labeled images, in the order of the lines, and their labels;
        `NONE_OF_THESE` in that spelling.

    Raises:
        ValueError: If the file is not as described. The message names the line.
    """
    path = expand_user(path)
    if not os.path.isfile(path):
        found = "it is a folder" if os.path.isdir(path) else "there is no such file"
        raise ValueError(
            f"`{argument}` must be a CSV file. Received: {str(path)!r} ({found})"
        )
    if printable(path) != str(path):
        raise ValueError(
            f"`{argument}` must be a file whose path is valid UTF-8. Received: "
            f"{str(path)!r}. Rename it."
        )
    with open(path, "rb") as binary:
        start = binary.read(_START)
    kind = labels_file_hints.of_bytes(start)
    if kind:
        raise ValueError(
            f"`{argument}` must be a CSV file in UTF-8. Received: {str(path)!r}, "
            f"{kind}."
        )
    files: list[Path] = []
    labels: list[str] = []
    line_of: dict[Path, int] = {}
    try:
        # With or without the byte order mark that spreadsheets write.
        with open(path, newline="", encoding="utf-8-sig") as opened:
            reader = csv.reader(opened, strict=True)
            _check_header(next(reader, []), path, argument)
            for row in reader:
                if not any(value.strip() for value in row):
                    continue
                file, label = _check_row(row, folder, path, reader.line_num, argument)
                identity = file.resolve()
                if identity in line_of:
                    raise ValueError(
                        f"`{argument}` must name each file once. Received: {row[0]} in "
                        f"lines {line_of[identity]} and {reader.line_num} of {path}"
                    )
                line_of[identity] = reader.line_num
                files.append(file)
                # In one spelling of the many that are the same.
                labels.append(NONE_OF_THESE if is_none_of_these(label) else label)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`{argument}` must be a CSV file in UTF-8. Received: {str(path)!r} "
            f"({error.reason} at byte {error.start}). Save it again as UTF-8."
        ) from error
    except csv.Error as error:
        first = start.decode("utf-8", "replace").split("\n")[0]
        cause = labels_file_hints.of_separator(first)
        raise ValueError(
            f"`{argument}` must be a CSV file. Received: {str(path)!r} ({error} in "
            f"line {reader.line_num})" + (f". {cause}" if cause else "")
        ) from error
    check_spelling(labels, [f" for {file}" for file in files], argument, f" in {path}")
    return files, labels


def _check_header(header: list[str], path: Path, argument: str) -> None:
    if header != COLUMNS:
        cause = labels_file_hints.of_header(header, COLUMNS)
        raise ValueError(
            f"`{argument}` must have the columns {','.join(COLUMNS)}, named so in its "
            f"first line. Received: {','.join(header) or 'an empty line'} in {path}"
            + (f". {cause}" if cause else "")
        )


def _check_row(
    row: list[str], folder: Path, path: Path, line: int, argument: str
) -> tuple[Path, str]:
    if len(row) != len(COLUMNS):
        remedy = labels_file_hints.of_separator(",".join(row))
        raise ValueError(
            f"`{argument}` must have two values in each line. Received: {len(row)} in "
            f"line {line} of {path}: {','.join(row)}. "
            + (remedy or "Put a name with a comma in double quotes.")
        )
    name, label = row
    is_none = label.lower() in WITHOUT_LABEL
    if not label.strip() or label != label.strip() or is_none:
        raise ValueError(
            f"`{argument}` must have a label, without spaces around it, in each line. "
            f"Received: {label!r} for {name} in line {line} of {path}. Leave out the "
            "lines of unlabeled images."
        )
    check_class_name(label, argument, f" in line {line} of {path}")
    file = folder / name
    # Unlike `Path.is_file`, this does not raise for a name that is too long.
    if not name or not os.path.isfile(file):
        found = "is a folder" if name and os.path.isdir(file) else "is not there"
        found += labels_file_hints.of_name(name, folder)
        raise ValueError(
            f"`{argument}` must name image files relative to {folder}. Received: "
            f"{name!r} in line {line} of {path}, which {found}"
        )
    return file, label


def _check_classes(
    files: list[Path],
    labels: list[str],
    path: PathLike,
    allow_single: bool,
    argument: str,
) -> None:
    """Checks that labels are those of classes, enough to train on."""
    counts = Counter(label for label in labels if label != NONE_OF_THESE)
    if len(counts) < 2:
        others = len(labels) - counts.total()
        raise ValueError(
            f"`{argument}` must name images of at least two classes. Received: "
            f"{len(files)} line(s) with {len(counts)} label(s) in {path}"
            + (f", and {others} of {NONE_OF_THESE!r}, which is no class" * bool(others))
        )
    single = [label for label, count in counts.items() if count == 1]
    if single and not allow_single:
        label = single[0]
        near = difflib.get_close_matches(label, [*(set(counts) - {label})], n=1)
        hint = f", where {near[0]!r} was perhaps meant" if near else ""
        raise ValueError(
            f"`{argument}` must use each label at least twice, unless single ones are "
            f"allowed. Received: {label!r} for {files[labels.index(label)]} alone{hint}"
            + (f"; and {len(single) - 1} more used once" if len(single) > 1 else "")
        )
