import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("allocator_run.py")

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="elsewhere there is nothing to set"
)


def pages(what):
    """Pages that the system clears meanwhile, in a process whose heap is new."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))
    }
    command = [sys.executable, SCRIPT, what]
    return json.loads(subprocess.check_output(command, env=environment))


def test_what_is_freed_is_used_again_and_handed_back_at_the_end():
    found = pages("once")
    assert found["inside"] < found["outside"] / found["rounds"]
    assert found["blocks_handed_back"] > 1 / 2
    assert found["afterwards"] > found["outside"] / 2


def test_of_two_uses_at_once_the_last_to_end_hands_it_back():
    found = pages("nested")
    assert found["inside"] < found["outside"] / found["rounds"]


def test_what_the_user_chose_is_left_alone():
    found = pages("chosen")
    assert found["inside"] > found["outside"] / 2


def test_an_error_ends_it_too():
    found = pages("error")
    assert found["afterwards"] > found["outside"] / 2
