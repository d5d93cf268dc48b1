"""Which number a class has, where its name may be a number too."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

# More digits than those of a name that somebody counts with.
_INTEGER = re.compile("-?[0-9]{1,18}")


def are_integers(names: Iterable[str]) -> bool:
    """Whether all names are integers, such as 7 or 007."""
    return all(_INTEGER.fullmatch(name) for name in names)


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
    names.sort(key=int)
    for name, following in zip(names, names[1:], strict=False):
        if int(name) == int(following):
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
        ValueError: If one of them is the name of a class of another number.
    """
    number_of = {
        int(name): number
        for number, name in enumerate(class_names)
        if _INTEGER.fullmatch(name)
    }
    for label in np.unique(labels).tolist():
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
