"""The floor plan: rooms, and imports that point downwards only."""

import ast
import graphlib
import re
from pathlib import Path

import kdfixmatch_keras

PACKAGE = Path(kdfixmatch_keras.__file__).parent
ROOT = PACKAGE.parent
NAME = PACKAGE.name
# Packages beside it.
ABOVE = {"kdfixmatch_cli", "kdfixmatch_web"}


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported_by(path):
    """The modules of the package that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            within = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in within]
        yield from (name for name in names if name in MODULES)


FILES = {name: set(imported_by(path)) - {name} for name, path in MODULES.items()}


def room_of(module):
    """The folder of a module, or the module itself where it is in none."""
    return (module.split(".") + [""])[1]


def picture():
    """The floors of the picture in CONTRIBUTING, from above: the rooms of each."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    floors = text.split("```mermaid\n")[1].split("```")[0].splitlines()
    return [found for floor in floors if (found := re.findall(r"<b>(\w+)</b>", floor))]


def test_no_files_import_each_other():
    # Raises an error that names those of a circle.
    assert list(graphlib.TopologicalSorter(FILES).static_order())


def test_imports_point_downwards_in_the_picture_of_the_rooms():
    floor_of = {
        room: number for number, rooms in enumerate(picture()) for room in rooms
    }
    rooms = {room_of(module) for module in MODULES if not module.endswith("_version")}
    assert rooms - {""} == floor_of.keys() - ABOVE
    upwards = [
        (module, other)
        for module, others in FILES.items()
        for other in others
        if room_of(module) in floor_of
        and room_of(other) in floor_of
        and room_of(module) != room_of(other)
        and floor_of[room_of(module)] >= floor_of[room_of(other)]
    ]
    assert upwards == []


def test_the_package_does_not_know_its_command_line_nor_its_pages():
    texts = {path: path.read_text(encoding="utf-8") for path in MODULES.values()}
    assert not [path for path in texts for above in ABOVE if above in texts[path]]


def test_few_files_lie_in_no_room():
    files = [path.name for path in PACKAGE.iterdir() if path.is_file()]
    assert len(files) <= 10, files


def test_the_method_is_read_in_one_sitting():
    method = ("kdfixmatch.py", "fixmatch.py", "trusted/builder.py")
    lines = [(PACKAGE / file).read_text().count("\n") for file in method]
    assert sum(lines) < 800, dict(zip(method, lines, strict=True))


def test_tests_lie_in_folders_named_like_the_rooms():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    others = {"benchmarks", "cli", "docs", "web"}
    here = {path.parent.name for path in Path(__file__).parent.glob("*/test_*.py")}
    assert here == rooms | others
