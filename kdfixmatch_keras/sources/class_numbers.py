"""Which number a class has, where its name may be a number too."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

# More digits than those of a name that somebody counts with; and as a column of numbers
# is written, in which one was missing.
_INTEGER = re.compile(r"(-?[0-9]{1,18})(?:\.0+)?")
_WITH_NUMBER = re.compile("([^0-9]*)([0-9]{1,18})([^0-9]*)")


def are_integers(names: Iterable[str]) -> bool:
    """Whether all names are integers, such as 7, 007 or 7.0."""
    return all(_integer(name) is not None for name in names)


def _integer(name: str) -> int | None:
    found = _INTEGER.fullmatch(name)
    return None if found is None else int(found[1])


def numbered(names: Iterable[str], argument: str) -> list[str]:
    """Class names in the order of their numbers.

    Args:
        names: The names, each once.
        argument: Name that the caller knows the labeled data by.

    Returns:
        The names, sorted as integers if all of them are, else as text.

    Raises:
        ValueError: If all are integers, and two of them the same.
    """
    names = sorted(names)
    if not are_integers(names):
        return names
    names.sort(key=lambda name: (_integer(name), name))
    for name, following in zip(names, names[1:], strict=False):
        if _integer(name) == _integer(following):
            raise ValueError(
                f"`{argument}` must name each class in one way. Received: {name!r} and "
                f"{following!r}, which are one integer. Rename one of them."
            )
    return names


def check_not_names(
    labels: npt.NDArray[np.int64], class_names: Sequence[str], argument: str
) -> None:
    """Refuses integers that can be names of classes as well as their numbers.

    Args:
        labels: int64 array of shape (n,), which should number the classes.
        class_names: The K classes' names.
        argument: Name that the caller knows the labeled data by.

    Raises:
        ValueError: If one of them is the name of a class of another number, or numbers
            another class where class_2 comes before class_10.
    """
    number_of = {
        integer: number
        for number, name in enumerate(class_names)
        if (integer := _integer(name)) is not None
    }
    counted = _as_they_count(class_names)
    for label in np.unique(labels).tolist():
        if 0 <= label < len(counted) and counted[label] != class_names[label]:
            raise ValueError(
                f"`{argument}` must hold labels that number the classes in one order. "
                f"Received: the label {label}, which is {class_names[label]!r} in the "
                f"order of names as text, and {counted[label]!r} as they count. Pass "
                "`LabeledImages(source, numbers, class_names)` of "
                "kdfixmatch_keras.sources, whose labels are in the first order, or "
                "name them alike in both, such as 01 in place of 1."
            )
        number = number_of.get(label, label)
        if number != label:
            raise ValueError(
                f"`{argument}` must hold labels that number the classes, and are not "
                f"names of others. Received: the label {label}, while the class named "
                f"{class_names[number]} has the number {number}. Pass "
                "`LabeledImages(source, numbers, class_names)` of "
                "kdfixmatch_keras.sources, whose labels are numbers. Of names, these "
                "are `[class_names.index(str(name)) for name in y]`."
            )


def _as_they_count(class_names: Sequence[str]) -> list[str]:
    """Names such as class_9 and class_10, as their numbers count; of others, none."""
    found = [_WITH_NUMBER.fullmatch(name) for name in class_names]
    number_of = {match[0]: int(match[2]) for match in found if match is not None}
    around = {(match[1], match[3]) for match in found if match is not None}
    if None in found or len(around) != 1 or around == {("", "")}:
        return []
    return sorted(class_names, key=lambda name: (number_of[name], name))
