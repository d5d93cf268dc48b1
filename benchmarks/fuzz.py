"""Whether damaged files ever crash, hang or mislead what reads them.

python benchmarks/fuzz.py --images 20000 --run-folders 1000 --seed 0

damages JPEG and PNG files of all kinds, and a tenth as many of the other formats: bits
are flipped, parts overwritten, cut, inserted, repeated, taken out and joined with those
of other files, sizes and lengths changed. Each must be decoded to pixels of the size
that its header tells, the same each time, or be refused with a reason; where a file was
cut, or one bit of a PNG flipped, no pixels may be made up; and in a folder, the other
files keep their names and pixels.

Then it damages saved models, folders and archives, trusted sets, runs, and the states
of a training that was stopped: as above, and files are emptied, exchanged, renamed or
missing, values of JSON changed, and archives made to escape or to explode. Each must be
read exactly as it was saved, or refused with a ValueError, a RuntimeError, a
FileNotFoundError or an IsADirectoryError that names the file. A training must end with
the same bits, or be refused.

The work is done in processes that are watched. The exit status is 1 if one crashed or
hung, or something was wrong. About ten minutes on two cores.
"""

import argparse
import faulthandler
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from fuzz_parts.pool import run_all

# Seconds for a case. A training that goes on compiles two networks.
LIMITS = {"images": 30.0, "runs": 240.0}


def main() -> int:
    """Tries all cases, and prints how often each came out how."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--run-folders", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0, help="of the damages")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--work", nargs=2, metavar=("KIND", "UNDAMAGED"))
    options = parser.parse_args()
    if options.work:
        kind, undamaged = options.work
        work(kind, Path(undamaged), options.images, options.seed)
        return 0
    bad = 0
    with tempfile.TemporaryDirectory() as undamaged:
        cases = {
            "images": options.images + options.images // 10,
            "runs": options.run_folders,
        }
        for kind, count in cases.items():
            if not count:
                continue
            began = time.monotonic()
            command = [sys.executable, __file__, "--images", str(options.images)]
            command += ["--seed", str(options.seed), "--work"]
            if kind == "runs":
                subprocess.run([*command, "make", undamaged], check=True)
            counts = run_all(
                [*command, kind, undamaged], count, options.workers, LIMITS[kind], kind
            )
            bad += tell(kind, counts, time.monotonic() - began)
    return min(bad, 1)


def tell(kind: str, counts: Counter[str], seconds: float) -> int:
    """Prints a table of outcomes; returns how many must not be."""
    print(f"\n{counts.total():,} {kind} in {seconds:.0f} s")
    for outcome, count in sorted(counts.items()):
        print(f"{count:>8,}  {outcome}")
    bad = 0
    for name in ("crash", "hang", "wrong"):
        found = sum(n for outcome, n in counts.items() if outcome.startswith(name))
        print(f"{found:>8,}  {name} in all")
        bad += found
    print(flush=True)
    return bad


def work(kind: str, undamaged: Path, images: int, seed: int) -> None:
    """Tries the cases that are asked for on the standard input."""
    faulthandler.enable()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # What else writes to the standard output must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if kind == "make":
        from fuzz_parts import material

        material.make(undamaged)
        return
    with tempfile.TemporaryDirectory() as folder:
        cases: Any
        if kind == "images":
            from fuzz_parts.image_cases import ImageCases

            cases = ImageCases(Path(folder), seed, images)
        else:
            from fuzz_parts.run_cases import RunCases

            cases = RunCases(Path(folder), seed, undamaged)
        print(json.dumps("ready"), file=answers, flush=True)
        for line in sys.stdin:
            first, last = map(int, line.split())
            for case in range(first, last):
                print(json.dumps(cases.run(case)), file=answers, flush=True)


if __name__ == "__main__":
    sys.exit(main())
