"""The fuzz program in short; `python benchmarks/fuzz.py` tries many more."""

import contextlib
import functools
import importlib
import shutil
import sys
import warnings
from collections import Counter
from pathlib import Path

import pytest
from PIL import ImageFile

from kdfixmatch_keras.sources import (
    deep_pixels,
    file_reading,
    image_files,
    intensity,
    unread_parts,
)
from kdfixmatch_keras.training.run_state import NOT_STARTED, RunState
from tests.untraced import untraced

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# A few steps make no good network.
pytestmark = pytest.mark.filterwarnings("ignore:.*missing from:UserWarning")


@pytest.fixture
def scripts(monkeypatch):
    """Lets a test import the parts of the program, as the script finds them."""
    monkeypatch.syspath_prepend(BENCHMARKS)


def outcomes(cases, numbers):
    found = [cases.run(number) for number in numbers]
    assert not [outcome for outcome in found if outcome.startswith("wrong")]
    return Counter(outcome.split(":")[0].split(" ")[0] for outcome in found)


def test_damaged_images(scripts, tmp_path):
    from fuzz_parts.image_cases import ImageCases

    found = outcomes(ImageCases(tmp_path, 1, usual=400), range(450))
    assert found["decoded"] > 50 and found["refused"] > 200


def test_sets_of_rare_files(scripts, tmp_path):
    from fuzz_parts.set_cases import SetCases

    found = outcomes(SetCases(tmp_path, 1), range(60))
    assert found["read"] > 40 and found["refused"] > 1


def of_each_file(self, pixels):
    """The scale of an image by itself."""
    return (pixels.astype(int) * 255 // max(1, pixels.max())).astype("uint8")


@pytest.mark.parametrize(
    "place, name, value, wrong",
    [
        (intensity.IntensityRange, "gray", of_each_file, "other pixels"),
        (intensity, "MIN_LEVELS", 1, "levels are left"),
        (deep_pixels, "is_white_zero", lambda image: False, "other pixels"),
        (deep_pixels, "is_deep", lambda image: False, "without a range"),
        (unread_parts, "_of_tiff", lambda stream, image: {}, "is not in"),
        (image_files, "is_passed_over", lambda name: False, "taken for an image"),
    ],
)
def test_misread_sets_are_noticed(
    scripts, tmp_path, monkeypatch, place, name, value, wrong
):
    from fuzz_parts.set_cases import SetCases

    monkeypatch.setattr(place, name, value)
    cases = SetCases(tmp_path, 1)
    assert any(wrong in cases.run(number) for number in range(200))


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
    """What the cases of runs are damaged copies of."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(BENCHMARKS)
        from fuzz_parts.run_cases import make

        folder = tmp_path_factory.mktemp("undamaged")
        with untraced():
            make(folder)
    return folder


def test_damaged_runs(scripts, undamaged, tmp_path):
    from fuzz_parts.run_cases import RunCases

    with untraced():
        found = outcomes(RunCases(tmp_path, 2, undamaged), range(14))
    assert found["refused"] > 5 and found["unchanged"] > 2


def restore_nothing(self, network):
    return NOT_STARTED


def restore_in_silence(self, network, restore=RunState.restore):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return restore(self, network)


@pytest.mark.parametrize(
    ("restore", "wrong"),
    [
        (RunState.restore, None),
        (restore_nothing, "lost progress"),
        (restore_in_silence, "no warning names"),
    ],
)
def test_progress_that_is_lost_is_noticed(
    scripts, undamaged, tmp_path, monkeypatch, restore, wrong
):
    from fuzz_parts.damage import Wrong
    from fuzz_parts.run_cases import RunCases

    cases = RunCases(tmp_path, 2, undamaged)
    state = tmp_path / "state"
    shutil.copytree(undamaged / "this" / "state", state)
    *_, newest = sorted(state.glob("fixmatch_inner-*.npz"))
    newest.write_bytes(newest.read_bytes()[:-100])
    monkeypatch.setattr(RunState, "restore", restore)
    with untraced():
        if wrong is None:
            assert cases._outcome("state", state) == "unchanged"
        else:
            with pytest.raises(Wrong, match=wrong):
                cases._outcome("state", state)


# What processes call in place of a kind of cases.
MADE_UP = """
import os, pathlib, signal

class Cases:
    def run(self, case):
        if case == 3:
            os.abort()
        if case == 5:
            signal.pause()
        return "decoded"

class StartsOnce(Cases):
    def __init__(self, mark):
        pathlib.Path(mark).touch(exist_ok=False)

def never():
    signal.pause()
"""


@pytest.fixture
def made_up(scripts, tmp_path, monkeypatch):
    """The module of that text, which processes find too."""
    (tmp_path / "made_up_cases.py").write_text(MADE_UP)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("made_up_cases")
    del sys.modules["made_up_cases"]


CRASH = "crash: BrokenProcessPool"


def by_kind(counts):
    return {outcome.split("(")[0]: count for outcome, count in counts.items()}


def test_a_crash_and_a_hang_are_counted_and_the_rest_is_tried(made_up, capsys):
    from fuzz import run_all, tell

    counts = run_all(made_up.Cases, 12, 1, 1.0, "images")
    assert by_kind(counts) == {"decoded": 10, CRASH: 1, "hang: more than 1 s": 1}
    assert tell("images", counts, 1.0) == 2
    assert "1  crash in all" in capsys.readouterr().out


def test_cases_that_no_process_tries_are_crashes(made_up, tmp_path, capsys):
    from fuzz import NOT_TRIED, run_all, tell

    begin = functools.partial(made_up.StartsOnce, tmp_path / "started")
    counts = run_all(begin, 12, 1, 5.0, "images")
    assert by_kind(counts) == {"decoded": 3, CRASH: 1, NOT_TRIED: 8}
    assert tell("images", counts, 1.0) == 9
    # Those that never start.
    assert run_all(begin, 12, 2, 5.0, "images") == {NOT_TRIED: 12}
    assert "A process did not start" in capsys.readouterr().out


def test_a_process_that_is_never_ready_is_given_up(made_up):
    from fuzz import NOT_TRIED, run_all

    assert run_all(made_up.never, 3, 1, 0.2, "images") == {NOT_TRIED: 3}


def test_made_up_pixels_are_noticed(scripts, tmp_path, monkeypatch):
    from fuzz_parts.image_cases import ImageCases

    # A reader that lets Pillow fill with gray what a file lacks.
    monkeypatch.setattr(file_reading, "strict_reading", contextlib.nullcontext)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    cases = ImageCases(tmp_path, 1, usual=400)
    found = [cases.run(number) for number in range(100)]
    assert any("pixels were made up" in outcome for outcome in found)
