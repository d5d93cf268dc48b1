"""The tables that are committed say what the committed cells say."""

import importlib
import json
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
FOLDERS = sorted(path.parent for path in RESULTS.glob("*/results.json"))


def rows_of(text):
    """The cells of the lines of all Markdown tables, by their first cell."""
    lines = (line for line in text.splitlines() if line.startswith("|"))
    parts = ([part.strip(" *") for part in line.split("|")[1:-1]] for line in lines)
    return [(first, rest) for first, *rest in parts]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_table_is_that_of_the_cells(folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from results import Store

    content = json.loads((folder / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps(content))
    with Store(tmp_path, content["settings"]) as store:
        assert store.command() == content["command"]
        store.summarize()
    table = (tmp_path / "table.md").read_text()
    assert table == (folder / "table.md").read_text()
    # What the page beside it says one has to type.
    page = re.sub(r"\s+\\?\s*", " ", (folder / "README.md").read_text())
    output = f"--output benchmarks/results/{folder.name}"
    assert content["command"].replace("--output FOLDER", output) in page


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_readme_quotes_the_table(folder):
    readme = (ROOT / "README.md").read_text()
    quoted = re.search(rf"<!-- {folder.name} -->\n(.+?)\n\n", readme, re.DOTALL)
    header, _line, *rows = rows_of(quoted[1])
    table = rows_of((folder / "table.md").read_text())
    columns = table[0][1]
    for method, figures in rows:
        expected = next(cells for first, cells in table if first == method)
        for name, figure in zip(header[1], figures, strict=True):
            assert figure == expected[columns.index(name)], (method, name)


def commands():
    """What the pages and the scripts say one can type, and where."""
    benchmarks = ROOT / "benchmarks"
    pages = [ROOT / "README.md", *benchmarks.rglob("*.md"), *benchmarks.glob("*.py")]
    for page in pages:
        text = re.sub(r"\\\\?\n\s*", " ", page.read_text())
        for code in re.findall(r"`(python [^`]+)`|^(python .+)$", text, re.MULTILINE):
            command = " ".join("".join(code).split())
            if command.startswith("python benchmarks/"):
                yield page.relative_to(ROOT), command


def test_the_commands_of_the_pages_are_accepted(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    found = list(commands())
    for page, command in found:
        _python, script, *arguments = shlex.split(command)
        parse = importlib.import_module(Path(script).stem).parse
        try:
            parse(arguments)
        except SystemExit:
            pytest.fail(f"{page}: {command}")
    scripts = {Path(shlex.split(command)[1]).name for _, command in found}
    with_commands = (
        "accuracy carried fuzz gpu kill_resume labeling labels_saved planted"
    )
    assert scripts == {f"{name}.py" for name in [*with_commands.split(), "speed"]}
    pages = {page.parent.name for page, _ in found}
    assert {"benchmarks", "digits", "cifar10", "speed"} <= pages
    assert len(found) > 20
