import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.mark.tensorflow
def test_example_prints_its_table_and_writes_its_files(tmp_path):
    output = tmp_path / "demo"
    result = subprocess.run(
        [
            sys.executable,
            str(ROOT / "examples" / "digits.py"),
            *("--epochs", "1", "--steps-per-epoch", "2", "--output", str(output)),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert result.returncode == 0, result.stderr
    assert "Test accuracy (%), 20 labels" in result.stdout
    for method in ("supervised", "FixMatch", "KD-FixMatch"):
        assert re.search(rf"^  {method} +\d+\.\d$", result.stdout, re.MULTILINE)
    assert re.search(r"trusted set: \d+ of 1277 unlabeled images", result.stdout)
    difference = re.search(r"difference to the live model: (\S+)", result.stdout)
    assert float(difference[1]) < 1e-5
    with Image.open(output / "run.png") as figure:
        figure.load()
    assert (output / "saved_model" / "saved_model.pb").is_file()
