"""Checks of the class labels that come with images."""

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import count, islice
from typing import Any

import numpy as np
import numpy.typing as npt

# In lower case; the others are what pandas writes where nothing is known.
WITHOUT_LABEL = frozenset(("unlabeled", "unlabelled", "nan", "<na>", "nat"))
# The label of an image that somebody has looked at and that is of none of the classes.
NONE_OF_THESE = "none of these"


def integer_labels(
    labels: Any, argument: str, class_names: Sequence[str] | None = None
) -> npt.NDArray[np.int64]:
    """Checks that labels are one integer an image.

    Args:
        labels: Array or list of shape (n,) or (n, 1).
        argument: Name that the caller knows the labeled data by.
        class_names: Names of the classes, if their numbers are known already.

    Returns:
        int64 array of shape (n,).

    Raises:
        ValueError: If labels are one-hot, of another shape, or not integers.
    """
    try:
        array = np.asarray(labels)
    except ValueError as error:
        raise ValueError(
            f"`{argument}` must hold one integer label an image. Received: labels "
            f"of differing lengths ({error})"
        ) from error
    if array.ndim == 2 and array.shape[1] > 1:
        raise ValueError(
            f"`{argument}` must hold one integer label an image, not one-hot rows. "
            f"Received: labels of shape={array.shape}. Convert an array with "
            "`y.argmax(axis=-1)`, a tf.data.Dataset with "
            "`.map(lambda image, label: (image, tf.argmax(label, axis=-1)))`."
        )
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        raise ValueError(
            f"`{argument}` must hold labels of shape (n,) or (n, 1). Received: "
            f"labels of shape={array.shape}"
        )
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(
            f"`{argument}` must hold integer labels. Received: labels of "
            f"{_problem(array, class_names)}"
        )
    if array.size and int(array.max()) > np.iinfo(np.int32).max:
        raise ValueError(
            f"`{argument}` must hold labels that number the classes from 0. "
            f"Received: a label of {array.max()}"
        )
    return array.reshape(-1).astype(np.int64)


def check_one_label_each(name: str, labels: Any, count: int) -> None:
    """Checks that there is a label for each of `count` images.

    Raises:
        ValueError: Their shape is not `(count,)`.
    """
    if np.shape(labels) != (count,):
        raise ValueError(
            f"`{name}` must be one integer an image, of shape ({count},). "
            f"Received: {name}.shape={np.shape(labels)}"
        )


def _problem(array: npt.NDArray[Any], class_names: Sequence[str] | None) -> str:
    kind = array.dtype.kind
    if kind == "f" and bool(np.isnan(array).any()):
        return (
            f"dtype={array.dtype} with NaN. Images without a label belong to the "
            "unlabeled data."
        )
    if kind in "fb":
        return (
            f'dtype={array.dtype}. Convert whole numbers with `y.astype("int64")`, in '
            "a tf.data.Dataset with "
            "`.map(lambda image, label: (image, tf.cast(label, tf.int64)))`."
        )
    if kind in "USO":
        code = "names, y = np.unique(y, return_inverse=True)"
        if class_names is not None:
            # Of some of the classes, or in another order, they would be others.
            code = "[class_names.index(name) for name in y]"
        such = [name for name in array.ravel().tolist() if _is_text_of_none(name)]
        if such:
            return (
                f"dtype={array.dtype} with {such[0]!r}, which is no class. Pass "
                "`LabeledImages(source, numbers, class_names)` of "
                f"kdfixmatch_keras.sources, the last class name being {NONE_OF_THESE!r}"
            )
        return f"dtype={array.dtype}. Number class names with `{code}`."
    return f"dtype={array.dtype}"


def check_classes(
    labels: npt.NDArray[np.int64], class_names: list[str] | None, argument: str
) -> list[str]:
    """Checks that labels number classes 0..K-1.

    Args:
        labels: int64 array of shape (n,), n at least 1.
        class_names: The K names that labels index, some of which may go unused.
            `None`: the labels define the classes, so each must be there.
        argument: Name that the caller knows the labeled data by.

    Returns:
        The K class names: those given, or "0" to "K-1".

    Raises:
        ValueError: If a label is out of range, or a class that the labels define
            has no image, or there is only one.
    """
    lowest, highest = int(labels.min()), int(labels.max())
    if class_names is not None:
        if lowest < 0 or highest >= len(class_names):
            raise ValueError(
                f"`{argument}` must hold labels in [0, {len(class_names)}), as there "
                f"are {len(class_names)} classes. Received: labels from {lowest} to "
                f"{highest}"
            )
        return list(class_names)
    if lowest < 0:
        raise ValueError(
            f"`{argument}` must hold labels of at least 0: classes are numbered "
            f"0..K-1. Received: a label of {lowest}. Images without a label belong "
            "to the unlabeled data; classes that are called so are numbered by "
            "`names, y = np.unique(y, return_inverse=True)`."
        )
    present = set(labels.tolist())
    missing = highest + 1 - len(present)
    if missing:
        first = islice((i for i in count() if i not in present), min(missing, 5))
        more = f" and {missing - 5} more" if missing > 5 else ""
        listed = ", ".join(str(label) for label in first)
        noun, verb = ("class", "has") if missing == 1 else ("classes", "have")
        raise ValueError(
            f"`{argument}` must hold at least one image of each class, and classes "
            f"are numbered 0..K-1. Received: labels up to {highest}, but {noun} "
            f"{listed}{more} {verb} no labeled image. Renumber sparse labels with "
            "`np.unique(y, return_inverse=True)`."
        )
    if highest == 0:
        raise ValueError(
            f"`{argument}` must hold images of at least two classes. Received: "
            "only the label 0"
        )
    return [str(label) for label in range(highest + 1)]


def check_no_class_empty(
    labels: Iterable[int], class_names: Sequence[str], argument: str, remedy: str = ""
) -> None:
    """Checks that each class has an image.

    Args:
        labels: Class numbers of the images.
        class_names: The K classes' names.
        argument: Name that the caller knows the labeled data by.
        remedy: Sentence that the message ends in.

    Raises:
        ValueError: If a class has none. The message names it.
    """
    present = set(labels)
    empty = [name for i, name in enumerate(class_names) if i not in present]
    if empty:
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
        raise ValueError(
            f"`{argument}` must hold at least one readable image of each class. "
            f"Received: no image of {', '.join(empty[:5])}{more}"
            + (f". {remedy}" if remedy else "")
        )


def check_class_name(name: str, argument: str, place: str = "") -> None:
    """Checks that the name of a class fits on a line of text.

    Args:
        name: The name.
        argument: Name that the caller knows the labeled data by.
        place: Where the name stands, such as " in line 3".

    Raises:
        ValueError: If it holds a line break or another control character, or bytes
            that are not UTF-8, or begins or ends with a space.
    """
    # Cc: control characters; Cs: bytes that are not UTF-8; Zl, Zp: separators.
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name):
        raise ValueError(
            f"`{argument}` must name its classes in valid UTF-8, without line breaks "
            f"and other control characters. Received: the class {ascii(name)}{place}. "
            "Rename it."
        )
    if name != name.strip():
        raise ValueError(
            f"`{argument}` must name its classes without spaces around them. Received: "
            f"the class {name!r}{place}. Rename it."
        )


def check_spelling(
    names: Sequence[str], places: Sequence[str], argument: str, end: str
) -> None:
    """Refuses class names that are one name in two spellings.

    Such are those that differ only in case, in spaces, in what is invisible, or in how
    Unicode encodes the same letters, as file systems change it.

    Args:
        names: Names, each as often as it is used.
        places: Where each of them stands, such as " for a.jpg".
        argument: Name that the caller knows the labeled data by.
        end: How the message ends.

    Raises:
        ValueError: There are two such names.
    """
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        other = first.setdefault(_looks_of(name).lower(), index)
        if names[other] == name:
            continue
        # What looks alike is told apart by its code.
        show = ascii if _looks_of(name) == _looks_of(names[other]) else repr
        raise ValueError(
            f"`{argument}` must spell each label in one way. Received: "
            f"{show(names[other])}{places[other]} and {show(name)}{places[index]}{end}"
        )


def is_none_of_these(name: str) -> bool:
    """Whether a label is `NONE_OF_THESE`, whatever its case, spaces and hyphens."""
    looks = _looks_of(name).casefold()
    # Pc: underscores; Pd: hyphens and dashes.
    letters = (
        char
        for char in looks
        if not char.isspace() and unicodedata.category(char) not in ("Pc", "Pd")
    )
    return "".join(letters) == NONE_OF_THESE.replace(" ", "")


def _is_text_of_none(value: Any) -> bool:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return isinstance(value, str) and is_none_of_these(value)


def twin_of(name: str, names: Iterable[str]) -> str | None:
    """The one among names that is the same in another spelling, or None."""
    looks = _looks_of(name).lower()
    return next((other for other in names if _looks_of(other).lower() == looks), None)


def _looks_of(name: str) -> str:
    """A name as a reader sees it: in one form, without what is invisible."""
    composed = unicodedata.normalize("NFKC", name)
    visible = (char for char in composed if unicodedata.category(char) != "Cf")
    return " ".join("".join(visible).split())
