"""How long a process takes to begin."""

import subprocess
import sys
from functools import partial
from typing import Any

from measuring import rounds

COMMANDS = {
    "python": ["-c", "pass"],
    "keras": ["-c", "import keras"],
    "package": ["-c", "import kdfixmatch_keras"],
    "help": ["-m", "kdfixmatch_cli", "--help"],
}


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Starts each command: its `"seconds"` in each repeat."""
    start = partial(subprocess.run, check=True, capture_output=True)
    commands = {
        name: partial(start, [sys.executable, *arguments])
        for name, arguments in COMMANDS.items()
    }
    return {"seconds": rounds(commands, job["repeats"])}
