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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import measuring
import workers
from speed_parts import page

Job = dict[str, Any]
PARTS = list(page.WRITTEN["full"])


def main() -> int:
    """Measures the parts that are asked for and writes the page."""
    options = parse()
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "speed.json"
    content = json.loads(path.read_text()) if path.exists() else {"parts": {}}
    has_failed = False
    for part in options.parts:
        found = [measured(part, job) for job in jobs(part, options)]
        has_failed |= None in found
        # A part replaces an earlier one when all of it has been tried.
        if known := [answer for answer in found if answer is not None]:
            content["parts"][part] = {
                "command": _command(part, options),
                "commit": measuring.commit(),
                "machine": known[0]["machine"],
                "seconds": round(sum(answer["seconds"] for answer in known), 1),
                "results": [answer["result"] for answer in known],
            }
            measuring.keep(path, content)
    notes = options.output / "notes.md"
    text = page.page(content, notes.read_text() if notes.exists() else "")
    (options.output / "README.md").write_text(text)
    print(text)
    return int(has_failed)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line, that of this process unless another is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="smaller sizes and fewer repeats")
    add("--parts", nargs="*", choices=PARTS, default=PARTS)
    add("--repeats", type=int, help="of each measurement; the seeds of `whole`")
    networks = [_network(job) for job in page.WRITTEN["full"]["step"]]
    add("--networks", nargs="+", choices=networks, help="those of a step")
    add("--data-dir", help="folder of CIFAR-10 as image files")
    add("--output", type=Path, default=Path("speed_output"), help="folder of the page")
    return parser.parse_args(arguments)


def jobs(part: str, options: argparse.Namespace) -> list[Job]:
    """What is measured for a part, given the options of the command line."""
    found: list[Job] = []
    for job in page.WRITTEN["quick" if options.quick else "full"][part]:
        if part in ("step", "profile", "trials"):
            if options.networks and _network(job) not in options.networks:
                continue
            job = {"unlabeled_ratio": 7, **job}
        repeats = options.repeats or job["repeats"]
        if part != "whole":
            # What is measured once takes too long for more.
            found.append({**job, "repeats": min(repeats, job.get("most", repeats))})
        elif job["data"] == "digits" or options.data_dir is not None:
            data_dir = None if job["data"] == "digits" else options.data_dir
            found += [
                {**job, "data_dir": data_dir, "seed": seed} for seed in range(repeats)
            ]
    return found


def _network(job: Job) -> str:
    return f"{job['backbone']}:{job['side']}"


def measured(part: str, job: Job) -> dict[str, Any] | None:
    """What a process of its own finds, None if it fails."""
    print(f"{part} {job}", flush=True)
    began = time.monotonic()
    with workers.process() as process:
        found = workers.result(process, measure, part, job)
    passed = time.monotonic() - began
    print(f"took {passed:.0f} s", flush=True)
    return found and {**found, "seconds": passed}


def measure(part: str, job: Job) -> dict[str, Any]:
    """Measures in this process."""
    name = "step" if part == "profile" else part
    module = importlib.import_module(f"speed_parts.{name}")
    # The folder is of no interest to others.
    hidden = ("data_dir", "levels")
    kept = {name: x for name, x in job.items() if name not in hidden}
    return {"result": kept | module.measure(job), "machine": measuring.facts()}


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


if __name__ == "__main__":
    sys.exit(main())
