"""What is put off when a package is imported without its `__init__`."""

import subprocess
import sys

import pytest

from kdfixmatch_web.light_import import import_without_keras


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that counts in a file how often it was run."""
    folder = tmp_path / "made_up_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from pathlib import Path\n"
        "runs = Path(__file__).with_name('runs')\n"
        "runs.write_text('run')\n"
        "answer = 42\n"
    )
    (folder / "light.py").write_text("found = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in ("made_up_package", "made_up_package.light"):
        sys.modules.pop(name, None)


def test_the_package_runs_when_it_is_asked_for_a_name_of_its_own(package):
    import_without_keras("made_up_package")
    import made_up_package.light

    assert made_up_package.light.found
    assert not (package / "runs").exists()
    assert made_up_package.answer == 42
    assert (package / "runs").exists()
    assert not hasattr(made_up_package, "nothing")


def test_a_package_that_is_missing_is_named():
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        import_without_keras("no_such_package")


def test_the_page_needs_no_keras():
    code = (
        "import sys\n"
        "from kdfixmatch_web.light_import import import_without_keras\n"
        "import_without_keras()\n"
        "import kdfixmatch_cli.label\n"
        "heavy = {'keras', 'tensorflow', 'jax', 'torch', 'sklearn', 'matplotlib'}\n"
        "print('heavy:', heavy & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "heavy: set()" in done.stdout, done.stderr
