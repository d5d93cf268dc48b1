"""The tutorial's commands are those that the command line has."""

import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import typer

from kdfixmatch_cli.app import app

ROOT = Path(__file__).parents[2]
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def kdfixmatch_commands():
    for path in TEXTS:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^(?:\$ )?(kdfixmatch [a-z].*)$", text, re.MULTILINE):
            yield pytest.param(line, id=f"{path.name}: {line[:40]}")


@pytest.mark.parametrize("line", list(kdfixmatch_commands()))
def test_commands_of_the_documentation_are_understood(line):
    _, name, *arguments = shlex.split(line, comments=True)
    command = typer.main.get_command(app).commands[name]
    # Parses and checks every option, and runs nothing.
    command.make_context(name, arguments)


def test_the_tutorial_shows_what_each_command_printed():
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    assert len(blocks) > 5
    for block in blocks:
        commands = re.findall(r"^\$ (?:.*\\\n)*.*\n", block, re.MULTILINE)
        assert len(commands) >= 1
        # What is left of the block without its last command is output or a command.
        assert not block.endswith(commands[-1]), commands[-1]


def test_folder_of_defects(tmp_path):
    options = ("--labeled", "2", "--unlabeled", "5", "--test", "3")
    for folder in ("photos", "again"):
        subprocess.run(
            [sys.executable, ROOT / "docs" / "make_defects.py", folder, *options],
            cwd=tmp_path,
            check=True,
        )
    files = [
        file.relative_to(tmp_path / "photos")
        for file in (tmp_path / "photos").rglob("*.jpg")
    ]
    counts = Counter(str(file.parent) for file in files)
    classes = ("good", "hole", "scratch", "stain")
    assert counts == {
        "unlabeled": 5,
        **{f"labeled/{name}": 2 for name in classes},
        **{f"test/{name}": 3 for name in classes},
    }
    for file in files:
        first = (tmp_path / "photos" / file).read_bytes()
        assert first == (tmp_path / "again" / file).read_bytes()
