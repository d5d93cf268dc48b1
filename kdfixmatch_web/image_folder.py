"""The images of a folder that a page may show: those that lie in it."""

import os
from collections import Counter
from pathlib import Path

from kdfixmatch_keras.sources.file_kinds import READ
from kdfixmatch_keras.sources.image_files import (
    check_folder,
    printable,
    search_folder,
)

OUTSIDE, NOT_UTF_8 = "links that lead out of the folder", "names that are not UTF-8"


class ImageFolder:
    """The images under a folder, by their names: relative paths with slashes.

    Nothing else is shown or labeled, and links that lead out of the folder are left
    out, as who opens the page may not be who may read all files.

    Args:
        folder: An existing folder.
        argument: Name that error messages give to it.

    Attributes:
        root: The folder, as an absolute path.
        names: Names of the images in the order of `sources.FolderSource`.
        left_out: Number of files by the reason for which they are not among them.

    Raises:
        ValueError: There is no such folder, or no image in it.
    """

    def __init__(self, folder: Path, argument: str = "folder") -> None:
        # Paths of its files begin with it, which those in "." would not.
        self.root = check_folder(folder, argument).absolute()
        self._real_root = os.path.realpath(self.root)
        found = search_folder(self.root)
        self.left_out: Counter[str] = Counter()
        self.names: list[str] = []
        # Of files that a link leads to, so that both paths are one image.
        self._names_of_real: dict[str, str] = {}
        # A folder is asked once for all its files.
        is_plain: dict[str, bool] = {}
        start = len(os.path.join(str(self.root), ""))
        for file in map(str, found.files):
            name = file[start:].replace(os.sep, "/")
            folder_name = name.rpartition("/")[0]
            if folder_name not in is_plain:
                is_plain[folder_name] = self._real(folder_name) == os.path.join(
                    self._real_root, *folder_name.split("/")
                ).removesuffix("/")
            real = None
            if not is_plain[folder_name] or os.path.islink(file):
                real = self._real(name)
            if real is not None and not self._is_inside(real):
                self.left_out[OUTSIDE] += 1
            elif not name.isascii() and printable(name) != name:
                self.left_out[NOT_UTF_8] += 1
            else:
                self.names.append(name)
                if real is not None:
                    self._names_of_real[real] = name
        self._known = frozenset(self.names)
        if not self.names:
            others = ", ".join(f"{n} {kind}" for kind, n in self.left_out.items())
            raise ValueError(
                f"`{argument}` must hold at least one image. {READ} are read. "
                f"Received: {argument}={str(folder)!r}"
                + (f", of which was left out: {others}" if others else "")
            )

    def __contains__(self, name: object) -> bool:
        """Whether there is an image of this name."""
        return name in self._known

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.names)

    def file(self, name: str) -> Path:
        """The file of an image.

        Raises:
            KeyError: There is no image of this name, or it has since become a link
                that leads out of the folder.
        """
        if name not in self._known:
            raise KeyError(name)
        file = self.root / name
        if not self._is_inside(os.path.realpath(file)):
            raise KeyError(name)
        return file

    def name_of(self, file: Path) -> str | None:
        """The name of the image that a path leads to, None if it is none of these."""
        try:
            name = file.relative_to(self.root).as_posix()
        except ValueError:
            name = ""
        if name in self._known:
            return name
        real = os.path.realpath(file)
        name = os.path.relpath(real, self._real_root).replace(os.sep, "/")
        return name if name in self._known else self._names_of_real.get(real)

    def _real(self, name: str) -> str:
        return os.path.realpath(os.path.join(self._real_root, name))

    def _is_inside(self, real: str) -> bool:
        return real.startswith(os.path.join(self._real_root, ""))
