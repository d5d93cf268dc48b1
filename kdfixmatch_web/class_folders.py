"""Labeled images as a folder per class."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from kdfixmatch_keras.sources.image_files import is_passed_over
from kdfixmatch_keras.storage.files import written_aside
from kdfixmatch_web.image_folder import ImageFolder

# As file systems have it.
_MAX_BYTES = 255


def check_class_folders(path: Path, labels: Mapping[str, str], argument: str) -> None:
    """Checks that labels can be the names of folders, and that nothing is there.

    Args:
        path: Folder to write.
        labels: Labels by name of the image.
        argument: Name that error messages give to the folder.

    Raises:
        ValueError: Something is there, or a class has a name that no folder can have.
    """
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(
            f"`{argument}` must be a new or an empty folder. Received: {path}, where "
            "there is something else"
        )
    for label in sorted(set(labels.values())):
        if (
            any(char in label for char in "/\\")
            or is_passed_over(label)
            or len(os.fsencode(label)) > _MAX_BYTES
        ):
            raise ValueError(
                f"`{argument}` must have a folder for each class. Received: the class "
                f"{label!r}, which is no name of a folder of images. Rename it."
            )


def write_class_folders(
    path: Path, labels: Mapping[str, str], images: ImageFolder
) -> int:
    """Copies the labeled images into a folder per class, all or none.

    Args:
        path: Folder that `check_class_folders` has checked.
        labels: Labels by name of the image. Those of other files are left out.
        images: The images.

    Returns:
        The number of copied images.

    Raises:
        OSError: The disk does not take them.
    """
    some = {name: label for name, label in labels.items() if name in images}
    with written_aside(path) as aside:
        aside.mkdir()
        for name, label in some.items():
            copy = aside / label / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(images.file(name), copy)
    return len(some)
