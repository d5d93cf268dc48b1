"""The short version of the benchmark that kills real processes."""

import subprocess
import sys
from pathlib import Path


def test_a_training_that_is_killed_in_each_step_ends_with_the_same_bits():
    benchmark = Path(__file__).parents[2] / "benchmarks" / "kill_resume.py"
    done = subprocess.run(
        [sys.executable, benchmark, "--each-step"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *_, summary = done.stdout.splitlines()
    for stage in ("outer network", "trusted set", "inner network"):
        assert f"1 in the {stage}" in summary
    assert "0 ended unlike" in summary
