"""How fast the package is, each figure against what cannot be done without.

python benchmarks/speed.py --output benchmarks/results/speed --data-dir FOLDER

measures, each figure in a process of its own:

- `step`: `fit` against the bare networks of a FixMatch step on tensors in memory;
- `augmentation`: RandAugment and Cutout against KerasCV, Keras and Pillow;
- `trusted`: labeling, clustering and agreement, to a million samples;
- `whole`: the stages of KD-FixMatch against FixMatch, on digits and, where `--data-dir`
  has them in train/<class>/* and test/<class>/*, CIFAR-10 as image files;
- `reading`: folders and predictions against bare decoding and bare forward passes;
- `startup`: importing the package against importing Keras;
- `profile`: where the time of a step goes;
- `trials`: what could be faster, and is not.

It writes `speed.json`, with each repeat, and `README.md`, with medians of the ratios of
each repeat, in an hour or two on two cores. `--quick` is a look at all of it in five
minutes: in one process, which has no peaks of memory to show, with few repeats and with
batches so small that what does not depend on them weighs too much. Parts that are
measured again replace what was there; `--parts` without a name writes the page anew. A
file `notes.md` in the folder, with a heading `## part` for each part, is quoted in the
page.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine
from speed_parts import page, plan

MARK = "RESULT "
PRECISIONS = ("float32", "mixed_float16")


def main() -> int:
    """Measures the parts that are asked for and writes the page."""
    options = _parse()
    if options.tasks:
        _work(json.loads(options.tasks))
        return 0
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "speed.json"
    content = json.loads(path.read_text()) if path.exists() else {"parts": {}}
    failures = 0
    measured = _Measured(options)
    for tasks in plan.processes(options):
        for task, answer, passed in _answers(tasks):
            verdict = "failed after " if answer is None else ""
            print(f"{_name(task)}: {verdict}{passed:.0f} s", flush=True)
            failures += answer is None
            whole = measured.add(task, answer, passed)
            if whole is not None:
                content["parts"][task[0]] = whole
                path.write_text(json.dumps(content, indent=1) + "\n")
    notes = options.output / "notes.md"
    text = page.page(content, notes.read_text() if notes.exists() else "")
    (options.output / "README.md").write_text(text)
    print(text)
    return int(failures > 0)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="smaller sizes and fewer repeats")
    add("--parts", nargs="*", choices=plan.PARTS, default=list(plan.PARTS))
    add("--repeats", type=int, help="of each measurement; the seeds of `whole`")
    add("--networks", nargs="+", help=f"name:side, such as {' '.join(plan.NETWORKS)}")
    add("--steps", type=int, help="of a network in one measurement")
    add("--precision", nargs="+", choices=PRECISIONS, default=["float32"])
    add("--data-dir", help="folder of CIFAR-10 as image files")
    add("--output", type=Path, default=Path("speed_output"), help="folder of the page")
    add("--tasks", help=argparse.SUPPRESS)
    return parser.parse_args()


class _Measured:
    """What the tasks of each part have found so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.missing = Counter(
            part for tasks in plan.processes(options) for part, _ in tasks
        )
        self.parts: dict[str, dict[str, Any]] = {}

    def add(
        self, task: plan.Task, answer: dict[str, Any] | None, passed: float
    ) -> dict[str, Any] | None:
        """Adds an answer, None where the task failed.

        Returns:
            What is to be kept of the part, if this was its last task and any of them
            found something.
        """
        part, job = task
        self.missing[part] -= 1
        if answer is not None:
            found = self.parts.setdefault(
                part,
                {
                    "command": _command(part, self.options),
                    "commit": machine.commit(),
                    "machine": answer["machine"],
                    "seconds": 0.0,
                    "results": [],
                },
            )
            found["seconds"] = round(found["seconds"] + passed, 1)
            # The folder is of no interest to others.
            hidden = ("data_dir", "levels")
            shown = {name: job[name] for name in job if name not in hidden}
            found["results"].append({**shown, **answer["result"]})
        return self.parts.get(part) if self.missing[part] == 0 else None


def _name(task: plan.Task) -> str:
    """What tells a task from the others, for the reader who waits."""
    part, job = task
    names = ("backbone", "side", "what", "count", "data", "seed", "precision")
    return " ".join([part, *(str(job[name]) for name in names if name in job)])


def _command(part: str, options: argparse.Namespace) -> str:
    """What measures this part again, apart from the folders."""
    command = f"python benchmarks/speed.py --parts {part}"
    if options.quick:
        command += " --quick"
    for name in ("repeats", "steps", "networks", "precision"):
        value = getattr(options, name)
        if value is not None and value != ["float32"]:
            words = value if isinstance(value, list) else [str(value)]
            command += f" --{name} {' '.join(words)}"
    return command + (" --data-dir FOLDER" if options.data_dir else "")


def _answers(
    tasks: list[plan.Task],
) -> Iterator[tuple[plan.Task, dict[str, Any] | None, float]]:
    """Does tasks in a process of their own, so that they leave nothing behind.

    Yields:
        Each task, what it found or None if it failed, and the seconds it took.
    """
    command = [sys.executable, __file__, "--tasks", json.dumps(tasks)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    waiting = list(tasks)
    failed = False
    began = time.monotonic()
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        for line in process.stdout or ():
            if line.startswith(MARK):
                now = time.monotonic()
                answer = json.loads(line.removeprefix(MARK))
                failed = failed or answer is None
                yield waiting.pop(0), answer, now - began
                began = now
        process.wait()
        errors.seek(0)
        if failed or waiting:
            print(errors.read(), file=sys.stderr, flush=True)
    # Their process has ended before its time.
    for task in waiting:
        yield task, None, time.monotonic() - began


def _work(tasks: list[plan.Task]) -> None:
    """Does tasks in this process and prints what each found, None if it failed."""
    for part, job in tasks:
        answer = None
        try:
            module = importlib.import_module(f"speed_parts.{plan.PARTS[part]}")
            answer = {"result": module.measure(job), "machine": machine.facts()}
        # Whatever it is, such as a rival that is not installed, the others go on.
        except Exception:
            traceback.print_exc()
        print(MARK + json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.exit(main())
