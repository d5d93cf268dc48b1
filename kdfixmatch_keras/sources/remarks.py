"""What of image files was dropped, changed or assumed, in words for a user."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

# What is found in one file: how many of something, or 1 where it is only there.
Found = Mapping[str, int]

# Of one file, and of several; `{0}` is how many, `{1}` the numbers found in them.
_WORDS = {
    "pages": (
        "1 file has {1} pages, the first is read",
        "{0} files have {1} pages, the first of each is read",
    ),
    "frames": (
        "1 file has {1} frames, the first is read",
        "{0} files have {1} frames, the first of each is read",
    ),
    "pictures": (
        "1 file has {1} pictures, the main one is read",
        "{0} files have {1} pictures, the main one of each is read",
    ),
    "bands of gray": (
        "1 file has {1} bands, the first is read as gray",
        "{0} files have {1} bands, the first is read as gray",
    ),
    "bands of colour": (
        "1 file has {1} bands, the first 3 are read as red, green and blue",
        "{0} files have {1} bands, the first 3 are read as red, green and blue",
    ),
    "bands of ink": (
        "1 file has {1} bands, the first 4 are read as inks",
        "{0} files have {1} bands, the first 4 are read as inks",
    ),
    "transparency": (
        "1 file has transparency, which is dropped",
        "{0} files have transparency, which is dropped",
    ),
    "inks": (
        "1 file has printers' colours (CMYK), read as RGB",
        "{0} files have printers' colours (CMYK), read as RGB",
    ),
    "turned": (
        "1 file is turned upright, as its EXIF orientation says",
        "{0} files are turned upright, as their EXIF orientation says",
    ),
    "colour": (
        "1 file has colour, which is read as gray",
        "{0} files have colour, which is read as gray",
    ),
    "beyond": (
        "1 file has pixels beyond the intensities of training, which become black or "
        "white",
        "{0} files have pixels beyond the intensities of training, which become black "
        "or white",
    ),
}


def is_extra_band(found: Found) -> bool:
    """Whether a file has bands that are not read, and not only transparency."""
    return any(kind.startswith("bands") for kind in found)


@dataclass
class _Counted:
    first: Path
    lowest: int
    highest: int
    files: int = 1


@dataclass
class Remarks:
    """What was found in the files of a set, counted by kind."""

    _counted: dict[str, _Counted] = field(default_factory=dict)

    def add(self, file: Path, found: Found) -> None:
        """Counts what was found in a file."""
        self._take({kind: _Counted(file, n, n) for kind, n in found.items()})

    def take(self, others: "Remarks") -> None:
        """Takes up what was counted of other files."""
        self._take(others._counted)

    def _take(self, others: Mapping[str, _Counted]) -> None:
        for kind, counted in others.items():
            if kind not in self._counted:
                self._counted[kind] = replace(counted)
                continue
            own = self._counted[kind]
            own.files += counted.files
            own.lowest = min(own.lowest, counted.lowest)
            own.highest = max(own.highest, counted.highest)

    def lines(self) -> list[str]:
        """A sentence for each kind, with the first file as an example."""
        found = []
        for kind, (of_one, of_several) in _WORDS.items():
            if kind not in self._counted:
                continue
            counted = self._counted[kind]
            numbers = f"{counted.lowest:,}"
            if counted.highest > counted.lowest:
                numbers += f" to {counted.highest:,}"
            words = of_one if counted.files == 1 else of_several
            such = "" if counted.files == 1 else "such as "
            sentence = words.format(f"{counted.files:,}", numbers)
            found.append(f"{sentence} ({such}{counted.first})")
        return found
