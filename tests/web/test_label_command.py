"""What `kdfixmatch label` does around the page."""

import os
import stat
import sys
import urllib.parse
import webbrowser
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from kdfixmatch_cli import label
from kdfixmatch_cli.app import app

TOKEN = "a-secret"


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("L", (8, 8)).save(tmp_path / "photos" / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def served(monkeypatch):
    """Has the page end as soon as it is ready."""

    def serve(app, listening, host, ready):
        ready(f"http://{host}:{listening.getsockname()[1]}/?token={TOKEN}")
        raise KeyboardInterrupt

    monkeypatch.setattr(label, "serve", serve)


def invoke(*options):
    base = ("label", "--unlabeled", "photos", "--labels", "labels.csv")
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*base, *options])


def test_the_browser_gets_the_token_by_way_of_a_file_of_its_user(
    here, served, monkeypatch
):
    opened = []

    def look(address):
        path = Path(urllib.parse.unquote(urllib.parse.urlsplit(address).path))
        opened.append((address, path, path.read_text(), path.stat().st_mode))

    monkeypatch.setattr(webbrowser, "open", look)
    monkeypatch.setenv("DISPLAY", ":0")
    result = invoke()
    assert result.exit_code == 0, result.output
    ((address, path, text, mode),) = opened
    assert TOKEN not in address and f"?token={TOKEN}" in text
    assert stat.S_IMODE(mode) == 0o600
    assert not path.exists()
    assert "3 images, 0 of them labeled in labels.csv" in result.output
    assert "Warning" not in result.output
    assert not (here / "labels.csv").exists()


def test_no_browser_is_opened_where_there_is_none_or_it_is_not_wanted(
    here, served, monkeypatch
):
    monkeypatch.setattr(webbrowser, "open", lambda address: pytest.fail("opened"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert invoke().exit_code == 0
    monkeypatch.setenv("DISPLAY", ":0")
    assert invoke("--no-browser").exit_code == 0


def test_what_another_host_means_is_said(here, served):
    result = invoke("--no-browser", "--host", "0.0.0.0")
    assert result.exit_code == 0, result.output
    assert "Warning: whoever reaches 0.0.0.0 and learns the address" in result.output
    assert "not encrypted" in result.output


@pytest.mark.parametrize("short, host", [("0", "0.0.0.0"), ("127.1", "127.0.0.1")])
def test_short_addresses_are_written_out(here, served, short, host):
    result = invoke("--no-browser", "--host", short)
    assert f"Open http://{host}:" in result.output
    assert ("Warning: whoever reaches" in result.output) == (host == "0.0.0.0")


def test_what_is_left_out_of_the_folder_is_said(here, served, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "x.png"
    outside.touch()
    (here / "photos" / "link.png").symlink_to(outside)
    result = invoke("--no-browser")
    assert "Warning: left out 1 links that lead out of the folder" in result.output


def test_a_taken_port_is_named(here, served):
    with label.listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        result = invoke("--no-browser", "--port", port)
    assert result.exit_code == 1
    assert f"port {port} (Address already in use)" in result.output
    assert not (here / "labels.csv.work").exists()


def test_the_extra_that_is_missing_is_named(here, monkeypatch):
    for name in ("kdfixmatch_cli.label", "kdfixmatch_web.server"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = invoke()
    assert result.exit_code == 1
    assert "The page needs uvicorn, which is missing: install it with" in result.output
    assert 'pip install "kdfixmatch-keras[label]"' in result.output


def test_a_file_of_labels_that_no_page_can_name_is_refused_first(here, served):
    typed = ("label", "--unlabeled", "photos", "--labels", os.fsdecode(b"\xff.csv"))
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, typed)
    assert result.exit_code == 1
    assert "`--labels` must be a file whose path is valid UTF-8" in result.output
    assert sorted(path.name for path in here.iterdir()) == ["photos"]


def test_nothing_is_written_to_what_another_user_has_laid_out(
    here, served, monkeypatch
):
    here.chmod(0o777)
    assert invoke("--no-browser").exit_code == 0
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    (here / "other").write_text("other")
    explanation = here / "labels.csv.work" / "README.txt"
    explanation.unlink()
    explanation.symlink_to(here / "other")
    result = invoke("--no-browser")
    assert result.exit_code == 1
    assert "labels.csv.work belongs to another user" in result.output
    assert (here / "other").read_text() == "other"
    # Where nobody else writes, it is that of a colleague.
    here.chmod(0o700)
    assert invoke("--no-browser").exit_code == 0
