"""What may be wrong with a file of labels: the likely cause of what does not fit."""

import difflib
import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

from kdfixmatch_keras.sources.image_files import EXTENSIONS, find_images

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# What files of Excel begin with, which are ZIP files, and those from before 2007.
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_MAX_MEANT = 3


def of_bytes(start: bytes) -> str:
    """What a file is that is no text in UTF-8, with the remedy; or nothing.

    Args:
        start: Its first bytes, at least four.
    """
    if start.startswith(_SPREADSHEETS):
        return "a spreadsheet: save it as CSV, in UTF-8"
    if start.startswith(_UTF_16) or b"\0" in start:
        return "a file in UTF-16: save it again as CSV in UTF-8"
    return ""


def of_separator(line: str) -> str:
    """What separates the values of a line if it is no comma, as a sentence."""
    for separator, called in _SEPARATORS.items():
        if separator in line and "," not in line:
            return f"Its values are separated by {called}: save it with commas."
    return ""


def of_header(header: Sequence[str], columns: Sequence[str]) -> str:
    """What a first line is that is not that of the columns, as a sentence.

    Args:
        header: Its values.
        columns: What they should be.
    """
    plain = [_plain(value) for value in header]
    if len(header) == 1 and of_separator(header[0]):
        return of_separator(header[0])
    if plain == ["sep=", ""]:
        return "Leave out its first line."
    if plain == ["", *columns]:
        return "Its first column has no name: leave it out, as `index=False` does."
    if plain == list(columns):
        return "Write them in lower case, without spaces or quotes."
    if plain == list(reversed(columns)):
        return "Exchange the columns."
    if set(columns) < set(plain):
        return "Leave out the other columns."
    if any(_is_file_name(value) for value in header):
        return f"It seems to have no header: put {','.join(columns)} above it."
    if len(header) == len(columns):
        return f"Name the columns {' and '.join(columns)}."
    return ""


def of_name(name: str, folder: Path) -> str:
    """Which image of a folder a name may mean that leads to none.

    Args:
        name: A path relative to the folder, as it was written.
        folder: The folder.

    Returns:
        The end of a sentence: its full stop, the cause as far as it is known, and the
        question which file was meant. Or nothing.
    """
    meant = _meant(name, [file.relative_to(folder) for file in find_images(folder)])
    if not meant:
        return ""
    causes = []
    if "\\" in name:
        causes.append("Write slashes in place of backslashes.")
    if len(_parts(name)) != len(meant[0].parts):
        causes.append(f"Paths start in {folder}.")
    shown = " or ".join(repr(file.as_posix()) for file in meant[:_MAX_MEANT])
    return ". " + " ".join([*causes, f"Did you mean {shown}?"])


def _meant(name: str, files: Sequence[Path]) -> list[Path]:
    """The files whose paths are the most like a name, if any is."""
    parts = _parts(name)
    if not parts:
        return []
    tries: list[tuple[list[str], Callable[[Path], list[str]]]] = [
        (parts, _parts_of),
        (_without_extension(parts), lambda f: _without_extension(_parts_of(f))),
        (parts, lambda file: _without_extension(_parts_of(file))),
    ]
    # By what they end in: a name may have folders too many or too few.
    for wanted, of_file in tries:
        ends = [_common_end(wanted, of_file(file)) for file in files]
        longest = max(ends, default=0)
        if longest:
            pairs = zip(files, ends, strict=True)
            return [file for file, length in pairs if length == longest]
    names = {"/".join(_parts_of(file)): file for file in files}
    near = difflib.get_close_matches("/".join(parts), names, n=1, cutoff=0.8)
    return [names[found] for found in near]


def _common_end(first: Sequence[str], second: Sequence[str]) -> int:
    """How many parts two paths have in common, from the last one on."""
    count = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        count += 1
    return count


def _parts(name: str) -> list[str]:
    """The parts of a path as somebody writes it, on whatever system."""
    parts = re.split(r"[/\\]", name.removeprefix("file://"))
    return [_plain(part) for part in parts if part.strip() not in ("", ".")]


def _parts_of(file: Path) -> list[str]:
    return [_plain(part) for part in file.parts]


def _without_extension(parts: Sequence[str]) -> list[str]:
    return [*parts[:-1], os.path.splitext(parts[-1])[0]]


def _plain(text: str) -> str:
    """A text without what writing differs in: case, spaces and quotes, accents."""
    return unicodedata.normalize("NFC", text.strip(" \t\"'")).casefold()


def _is_file_name(value: str) -> bool:
    return value.strip().lower().endswith(tuple(f".{end}" for end in EXTENSIONS))
