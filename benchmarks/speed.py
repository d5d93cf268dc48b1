"""How fast the package is, each figure against what cannot be done without.

python benchmarks/speed.py --output benchmarks/results/speed --data-dir FOLDER

measures, in one process after the other:

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
minutes. Parts that are measured again replace what was there; `--parts` without a name
writes the page anew. A file `notes.md` in the folder, with a heading `## part` for each
part, is quoted in the page.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import machine
from speed_parts import page, plan

MARK = "RESULT "
PRECISIONS = ("float32", "mixed_float16")


def main() -> int:
    """Measures the parts that are asked for and writes the page."""
    options = _parse()
    if options.job:
        _work(json.loads(options.job))
        return 0
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "speed.json"
    content = json.loads(path.read_text()) if path.exists() else {"parts": {}}
    failed = False
    for part in options.parts:
        found, failures = _measure(part, options)
        failed = failed or failures > 0
        if found:
            content["parts"][part] = found
            path.write_text(json.dumps(content, indent=1) + "\n")
    notes = options.output / "notes.md"
    text = page.page(content, notes.read_text() if notes.exists() else "")
    (options.output / "README.md").write_text(text)
    print(text)
    return int(failed)


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
    add(
        "--targeted",
        action="store_true",
        help="KD-FixMatch with strong_views='targeted' too, in `whole`",
    )
    add("--output", type=Path, default=Path("speed_output"), help="folder of the page")
    add("--job", help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(
    part: str, options: argparse.Namespace
) -> tuple[dict[str, Any] | None, int]:
    """Runs the jobs of a part.

    Returns:
        What they found, or None if no job ended well; and how many did not.
    """
    began = time.monotonic()
    facts: dict[str, Any] = {}
    results = []
    jobs = plan.jobs(part, options)
    for number, job in enumerate(jobs, 1):
        started = time.monotonic()
        answer = _run({"module": plan.PARTS[part], **job})
        passed = time.monotonic() - started
        print(f"{part}: {number} of {len(jobs)} in {passed:.0f} s", flush=True)
        if answer is not None:
            facts = answer["machine"]
            # The folder is of no interest to others.
            shown = {k: v for k, v in job.items() if k not in ("data_dir", "levels")}
            results.append({**shown, **answer["result"]})
    if not results:
        return None, len(jobs)
    found = {
        "command": _command(part, options),
        "commit": machine.commit(),
        "machine": facts,
        "seconds": round(time.monotonic() - began),
        "results": results,
    }
    return found, len(jobs) - len(results)


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


def _run(job: dict[str, Any]) -> dict[str, Any] | None:
    """Runs a job in a process of its own, so that it leaves nothing behind."""
    command = [sys.executable, __file__, "--job", json.dumps(job)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not lines:
        print(f"{job} failed:\n{done.stderr}", file=sys.stderr, flush=True)
        return None
    found: dict[str, Any] = json.loads(lines[-1].removeprefix(MARK))
    return found


def _work(job: dict[str, Any]) -> None:
    """Does a job in this process and prints what it found."""
    module = importlib.import_module(f"speed_parts.{job.pop('module')}")
    answer = {"result": module.measure(job), "machine": machine.facts()}
    print(MARK + json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.exit(main())
