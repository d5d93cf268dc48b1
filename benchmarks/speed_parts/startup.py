"""How long a process takes to begin."""

import subprocess
import sys
from typing import Any

from speed_parts.timing import rounds

COMMANDS = {
    "python": ["-c", "pass"],
    "keras": ["-c", "import keras"],
    "package": ["-c", "import kdfixmatch_keras"],
    "help": ["-m", "kdfixmatch_cli", "--help"],
}


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Starts each command several times.

    Args:
        job: `"repeats"`.

    Returns:
        `"seconds"`: by command, of each repeat.
    """

    def start(arguments: list[str]) -> None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    commands = {
        name: lambda arguments=arguments: start(arguments)
        for name, arguments in COMMANDS.items()
    }
    return {"seconds": rounds(commands, job["repeats"])}
