"""What the benchmark of the audit plants, it counts."""

import sys
from pathlib import Path

import numpy as np

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "planted.py"


def test_what_is_planted_is_counted(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import planted

    # Embedding them takes as long as all of the rest.
    monkeypatch.setattr(
        planted,
        "_features",
        lambda images: images[np.arange(len(images))].reshape(-1, 64),
    )
    monkeypatch.setattr(planted, "NUM_LABELS", 60)
    # Of 8 x 8 pixels, half are another image.
    monkeypatch.setattr(planted, "_changed", lambda pixels, number: pixels)
    command = [str(SCRIPT), "--data", "digits", "--seeds", "1", "--output"]
    monkeypatch.setattr(sys, "argv", [*command, str(tmp_path)])
    assert planted.main() == 0
    (line,) = [
        line
        for line in (tmp_path / "README.md").read_text().splitlines()
        if line.startswith("| digits, 0 |")
    ]
    cells = line.split(" | ")
    assert cells[2] == "50 of 50"
    wrong, doubtful, of_these = map(int, cells[4:7])
    assert wrong == 3 and of_these <= min(wrong, doubtful)
    # Of digits, other than of images of noise, some are recognised.
    assert of_these >= 1
