"""One place knows the backends apart."""

import re
from pathlib import Path

import kdfixmatch_keras

PACKAGE = Path(kdfixmatch_keras.__file__).parent
# The name that Keras has for it, comparing ours, and importing one or another.
ASKED = re.compile(
    r"keras\.(backend|config)\.backend\(|\bname\(\) (==|!=|in)|\"KERAS_BACKEND\""
    r"|import (jax|torch)\b|from (jax|torch)\b"
)


def asking(folder):
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*.py")
        if ASKED.search(path.read_text(encoding="utf-8"))
    }


def test_no_module_but_one_asks_for_the_backend():
    found = asking(PACKAGE) | asking(PACKAGE.parent / "kdfixmatch_cli")
    assert found == {
        "kdfixmatch_keras/backend/__init__.py",
        "kdfixmatch_keras/backend/devices.py",
        # Of one that Keras does not know.
        "kdfixmatch_keras/backend/keras_import.py",
        "kdfixmatch_keras/backend/processes.py",
        # What it asks for is a process with another.
        "kdfixmatch_keras/serving/export_process.py",
    }


def test_the_tests_that_the_readme_names_exist():
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Backends and devices")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith("| |")]
    tests = "".join(
        path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py")
    )
    assert len(rows) == 17
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        for name in named:
            assert f"def {name}(" in tests, name
