"""Runs the commands of the tutorial, and writes what they print into it.

python docs/run_tutorial.py

works in a temporary folder, or a new one given with `--work-dir`, and updates
`docs/tutorial.md`.

python docs/run_tutorial.py --photos FOLDER

runs the same commands on images of your own (`labeled/`, `unlabeled/` and `test/`),
prints their output and seconds, and leaves the page alone.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"```(console|python)\n(.*?)```", re.DOTALL)
MAKE_PHOTOS = "python docs/make_defects.py"


def main() -> None:
    """Runs every block of the page in order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--work-dir", type=Path)
    options = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.work_dir or Path(temporary) / "work").resolve()
        folder.mkdir(parents=True)
        if options.photos:
            (folder / "photos").symlink_to(options.photos.resolve())
        os.symlink(ROOT / "docs", folder / "docs")
        started = time.monotonic()
        updated = BLOCK.sub(
            lambda block: run_block(block, folder, options.photos is not None), page
        )
        print(f"All commands: {time.monotonic() - started:.0f} s", file=sys.stderr)
    if options.photos is None:
        PAGE.write_text(updated, encoding="utf-8")


def commands(block: str) -> list[str]:
    """The commands of a console block; a line that ends in a backslash goes on."""
    found = re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, re.MULTILINE)
    return [str(command) for command in found]


def run_block(block: re.Match[str], folder: Path, has_photos: bool) -> str:
    """Runs the commands of a block and returns it with their output.

    A Python block is saved under the name in its first line.
    """
    language, text = block.groups()
    if language == "python":
        name = text.split("\n")[0].removeprefix("# ")
        (folder / name).write_text(text, encoding="utf-8")
        return block[0]
    lines = []
    for command in commands(text):
        output = ""
        if not (has_photos and command.startswith(MAKE_PHOTOS)):
            output = run_command(command, folder)
        lines.append(f"$ {command}\n{output}")
    return f"```console\n{''.join(lines)}```"


def run_command(command: str, folder: Path) -> str:
    """Runs a command and returns what it printed."""
    binaries = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        # The width of the page; and no chatter of TensorFlow's.
        "COLUMNS": "88",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    started = time.monotonic()
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, stdout=subprocess.PIPE
    )
    seconds = time.monotonic() - started
    output = done.stdout.decode()
    print(f"$ {command}\n{output}({seconds:.0f} s)", file=sys.stderr, flush=True)
    if done.returncode:
        raise RuntimeError(f"{command} ended with exit code {done.returncode}")
    return output


if __name__ == "__main__":
    main()
