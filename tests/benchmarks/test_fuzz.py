"""The fuzz program in short; `python benchmarks/fuzz.py` tries many more."""

import contextlib
import shutil
import sys
import warnings
from collections import Counter
from pathlib import Path

import pytest
from PIL import ImageFile

from kdfixmatch_keras.sources import folder_source
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
    from fuzz_parts.run_cases import RunCases, Wrong

    (tmp_path / "cases").mkdir()
    cases = RunCases(tmp_path / "cases", 2, undamaged)
    state = tmp_path / "state"
    shutil.copytree(undamaged / "this" / "state", state)
    *_, newest = sorted(state.glob("fixmatch_inner-*.npz"))
    newest.write_bytes(newest.read_bytes()[:-100])
    monkeypatch.setattr(RunState, "restore", restore)
    raised = contextlib.nullcontext() if wrong is None else pytest.raises(Wrong)
    with untraced(), raised as caught:
        cases._load_state(state)
    if wrong is not None:
        assert wrong in str(caught.value)


WORKER = """
import os, signal, sys
print('ANSWER "ready"', flush=True)
for case in range(*map(int, sys.argv[1:])):
    if case == 3:
        os.abort()
    if case == 5:
        signal.pause()
    print('ANSWER "decoded"', flush=True)
"""


def command_of(code, *arguments):
    """What starts a process for some cases."""
    start = [sys.executable, "-c", code]
    return lambda first, last: [*start, str(first), str(last), *arguments]


def test_a_crash_and_a_hang_are_counted_and_the_rest_is_tried(scripts, capsys):
    from fuzz import run_all, tell

    counts = run_all(command_of(WORKER), 12, 1, 1.0, "images")
    assert counts == {
        "decoded": 10,
        "crash: exit status -6": 1,
        "hang: more than 1 s": 1,
    }
    assert tell("images", counts, 1.0) == 2
    assert "1  crash in all" in capsys.readouterr().out


# Starts once, and aborts at its case 3.
STARTS_ONCE = """
import os, sys
first, last, mark = sys.argv[1:]
if os.path.exists(mark):
    sys.exit(7)
open(mark, "w").close()
print('ANSWER "ready"', flush=True)
for case in range(int(first), int(last)):
    if case == 3:
        os.abort()
    print('ANSWER "decoded"', flush=True)
"""


def test_cases_that_no_process_tries_are_crashes(scripts, tmp_path, capsys):
    from fuzz import NOT_TRIED, run_all, tell

    command = command_of(STARTS_ONCE, str(tmp_path / "started"))
    counts = run_all(command, 12, 1, 5.0, "images")
    assert counts == {"decoded": 3, "crash: exit status -6": 1, NOT_TRIED: 8}
    assert tell("images", counts, 1.0) == 9
    # Those that never start.
    assert run_all(command, 12, 2, 5.0, "images") == {NOT_TRIED: 12}
    assert "A process did not start" in capsys.readouterr().out


def test_a_process_that_is_never_ready_is_given_up(scripts, monkeypatch):
    import fuzz

    monkeypatch.setattr(fuzz, "START_LIMIT", 0.2)
    command = command_of("import signal; signal.pause()")
    assert fuzz.run_all(command, 3, 1, 5.0, "images") == {fuzz.NOT_TRIED: 3}


def test_made_up_pixels_are_noticed(scripts, tmp_path, monkeypatch):
    from fuzz_parts.image_cases import ImageCases

    # A reader that lets Pillow fill with gray what a file lacks.
    monkeypatch.setattr(folder_source, "strict_reading", contextlib.nullcontext)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    cases = ImageCases(tmp_path, 1, usual=400)
    found = [cases.run(number) for number in range(100)]
    assert any("pixels were made up" in outcome for outcome in found)
