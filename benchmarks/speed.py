"""How fast the package is, each figure against what cannot be done without.

python benchmarks/speed.py --output benchmarks/results/speed --data-dir FOLDER

measures all parts (README.md says which), each figure in a process of its own, in an
hour or two on two cores. It writes `speed.json`, with each repeat, and `README.md`,
with medians of the ratios of each repeat, which quotes `notes.md` of the folder.
"""

import argparse
import importlib
import json
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import measuring
import workers
from speed_parts import page, plan

# A task, what it found or None if it failed, and the seconds it took.
Tried = tuple[plan.Task, dict[str, Any] | None, float]


def main() -> int:
    """Measures the parts that are asked for and writes the page."""
    if (tasks := workers.task()) is not None:
        return _work(tasks)
    options = parse()
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "speed.json"
    content = json.loads(path.read_text()) if path.exists() else {"parts": {}}
    failed = False
    for part, tried in groupby(_tried(options), key=lambda found: found[0][0]):
        found = list(tried)
        failed = failed or any(answer is None for _, answer, _ in found)
        if (whole := part_of(part, options, found)) is not None:
            content["parts"][part] = whole
            measuring.keep(path, content)
    notes = options.output / "notes.md"
    text = page.page(content, notes.read_text() if notes.exists() else "")
    (options.output / "README.md").write_text(text)
    print(text)
    return int(failed)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line, that of this process unless another is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="smaller sizes and fewer repeats")
    add("--parts", nargs="*", choices=plan.PARTS, default=list(plan.PARTS))
    add("--repeats", type=int, help="of each measurement; the seeds of `whole`")
    add("--networks", nargs="+", choices=plan.NETWORKS, help="those of a step")
    add("--data-dir", help="folder of CIFAR-10 as image files")
    add("--output", type=Path, default=Path("speed_output"), help="folder of the page")
    return parser.parse_args(arguments)


def _tried(options: argparse.Namespace) -> Iterator[Tried]:
    for tasks in plan.processes(options):
        for task, answer, passed in answers(tasks):
            verdict = "failed after " if answer is None else ""
            print(f"{_name(task)}: {verdict}{passed:.0f} s", flush=True)
            yield task, answer, passed


def part_of(
    part: str, options: argparse.Namespace, tried: list[Tried]
) -> dict[str, Any] | None:
    """What is to be kept of a part that has been tried, None if nothing was found."""
    found = [(job, answer, s) for (_, job), answer, s in tried if answer is not None]
    if not found:
        return None
    # The folder is of no interest to others.
    hidden = ("data_dir", "levels")
    return {
        "command": _command(part, options),
        "commit": measuring.commit(),
        "machine": found[0][1]["machine"],
        "seconds": round(sum(seconds for *_, seconds in found), 1),
        "results": [
            {name: x for name, x in job.items() if name not in hidden}
            | answer["result"]
            for job, answer, _ in found
        ],
    }


def _name(task: plan.Task) -> str:
    """What tells a task from the others, for the reader who waits."""
    part, job = task
    names = ("backbone", "side", "what", "count", "data", "seed")
    return " ".join([part, *(str(job[name]) for name in names if name in job)])


def _command(part: str, options: argparse.Namespace) -> str:
    """What measures this part again, apart from the folders."""
    command = f"python benchmarks/speed.py --parts {part}"
    if options.quick:
        command += " --quick"
    if options.repeats is not None:
        command += f" --repeats {options.repeats}"
    if options.networks is not None:
        command += f" --networks {' '.join(options.networks)}"
    return command + (" --data-dir FOLDER" if options.data_dir else "")


def answers(tasks: list[plan.Task]) -> Iterator[Tried]:
    """Does tasks in a process of their own, so that they leave nothing behind."""
    waiting = list(tasks)
    began = time.monotonic()
    try:
        for answer in workers.answers(workers.command(__file__, tasks)):
            now = time.monotonic()
            yield waiting.pop(0), answer, now - began
            began = now
    except workers.Ended as error:
        print(error, file=sys.stderr, flush=True)
    # Their process has ended before its time.
    for task in waiting:
        yield task, None, time.monotonic() - began


def _work(tasks: list[plan.Task]) -> int:
    """Does tasks in this process; answers what each found, None if it failed."""
    failed = False
    for part, job in tasks:
        answer = None
        try:
            module = importlib.import_module(f"speed_parts.{plan.PARTS[part]}")
            answer = {"result": module.measure(job), "machine": measuring.facts()}
        # Whatever it is, such as a rival that is not installed, the others go on.
        except Exception:
            traceback.print_exc()
            failed = True
        workers.answer(answer)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
