"""How fast and how accurate trainings on a GPU are, on JAX and PyTorch.

python benchmarks/gpu.py --part step --minutes 4
python benchmarks/gpu.py --part accuracy --minutes 8 --data-dir FOLDER

measure the step of networks, and the accuracy of KD-FixMatch and FixMatch with 250
labels of CIFAR-10 after half of the minutes each, all of it counted. Neither TensorFlow
nor a network is needed; `--carried FOLDER` has what else such a machine lacks, see
`carried.py`. What is measured is written to `gpu.json` and `README.md` in `--output` at
once, and called again with the same `--output` it goes on with what is missing.
"""

import argparse
import contextlib
import importlib.util
import itertools
import json
import os
import sys
import tempfile
import time
import tomllib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import carried
import measuring
import numpy as np
import workers
from pages import render
from speed_parts import page

Job = dict[str, Any]
HERE = Path(__file__).parent
WRITTEN = tomllib.loads((HERE / "gpu.toml").read_text())
# What a training may take longer than was planned before it is ended.
GRACE = 1.25


def main() -> int:
    """Measures what is missing, as far as there is time."""
    options = parse()
    until = time.time() + 60 * options.minutes
    with contextlib.ExitStack() as stack:
        new = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        scratch = Path(stack.enter_context(new))
        # Of a training and its measurement, the second need not compile again.
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(scratch / "compiled"))
        if options.carried is not None:
            site, images = carried.unpack(options.carried, scratch)
            # Processes that are started find what this one does.
            sys.path[:0] = [str(site), str(HERE.parent)]
            options.data_dir = options.data_dir or images
        _check(options)
        options.output.mkdir(parents=True, exist_ok=True)
        path = options.output / "gpu.json"
        content = json.loads(path.read_text()) if path.exists() else {"results": []}
        known = [result["job"] for result in content["results"]]
        missing = [job for job in jobs(options) if job not in known]
        for number, job in enumerate(missing):
            last = until
            if options.part == "accuracy":
                last = time.time() + 60 * job["minutes"]
            left = last - time.time()
            if left > 0 and (found := measured(job, left, options)) is not None:
                content["results"].append(found)
                measuring.keep(path, content)
                (options.output / "README.md").write_text(text_of(content))
                missing[number] = {}
    if content["results"]:
        print(text_of(content))
    if rest := [" ".join(map(str, job.values())) for job in missing if job]:
        print("Missing, for the next call:", *rest, sep="\n")
    return int(any(missing))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line, that of this process unless another is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--part", choices=("step", "accuracy"), required=True)
    add("--minutes", type=float, required=True, help="that all may take")
    add(
        "--backends",
        nargs="+",
        choices=("jax", "torch", "tensorflow"),
        default=["jax", "torch"],
        help="for a step; the first of them for accuracies",
    )
    add("--data-dir", type=Path, help="CIFAR-10, train/<class>/* and test/<class>/*")
    add("--carried", type=Path, help="folder that carried.py filled")
    add("--cpu", action="store_true", help="measure the CPU where there is no GPU")
    add("--toy", action="store_true", help="sizes that show that it runs, no more")
    add("--output", type=Path, default=Path("gpu_output"), help="folder of the page")
    options = parser.parse_args(arguments)
    if not 0 < options.minutes < float("inf"):
        parser.error("`--minutes` must be above 0 and finite.")
    return options


def _check(options: argparse.Namespace) -> None:
    """Ends where something is missing that the measurements need."""
    for name in options.backends:
        if importlib.util.find_spec(name) is None:
            sys.exit(
                "`--backends` must be installed. Received: "
                f"{name}, which this Python does not find"
            )
    if importlib.util.find_spec("keras") is None:
        sys.exit("Keras is not installed: pass --carried, see carried.py.")
    if options.part == "accuracy" and not options.toy:
        folder = options.data_dir
        if folder is None or not all((folder / x).is_dir() for x in ("train", "test")):
            sys.exit(
                "`--data-dir` must be a folder with train/<class>/* and "
                f"test/<class>/*, or be in --carried. Received: {folder}"
            )


def jobs(options: argparse.Namespace) -> list[Job]:
    """What is measured for a part, given the options of the command line."""
    written = WRITTEN["toy"] if options.toy else WRITTEN
    part = written[options.part]
    if options.part == "step":
        chosen = part["networks"], part["precisions"], options.backends
        return [
            {"part": "step", "backend": backend, "precision": precision}
            | {**network, **part["shared"]}
            for network, precision, backend in itertools.product(*chosen)
        ]
    minutes = options.minutes / len(part["methods"])
    shared = {"part": "accuracy", "backend": options.backends[0], "minutes": minutes}
    rest = {name: x for name, x in part.items() if name != "methods"}
    return [{**shared, "method": method, **rest} for method in part["methods"]]


def measured(
    job: Job, seconds: float, options: argparse.Namespace
) -> dict[str, Any] | None:
    """What a process of its own finds, None if it fails or is out of time."""
    print(job, flush=True)
    os.environ["KERAS_BACKEND"] = job["backend"]
    began = time.time()
    longest = seconds * (GRACE if job["part"] == "accuracy" else 1)
    arguments = began + seconds, options.data_dir, options.cpu
    with workers.process() as process:
        found = workers.result(process, measure, job, *arguments, within=longest)
    passed = time.time() - began
    print(f"took {passed:.0f} s", flush=True)
    return found and {**found, "seconds_in_all": passed}


def measure(job: Job, until: float, data_dir: Path | None, cpu: bool) -> dict[str, Any]:
    """Measures in this process.

    Args:
        job: One of `jobs`.
        until: When a training has to have ended, on the clock of the system.
        data_dir: Folder of images, or None for data sets that need none.
        cpu: Whether the CPU may be measured.
    """
    from speed_parts import step

    from kdfixmatch_keras import backend

    if not (cpu or backend.has_gpu()):
        # Ends the process that asked, too.
        sys.exit(
            f"{job['backend']} finds no GPU here, only {backend.device_names()}. Pass "
            "--cpu to measure that."
        )
    with warnings.catch_warnings():
        # So few steps say nothing of a training; and weak labels are a result here.
        warnings.simplefilter("ignore", UserWarning)
        if job["part"] == "step":
            found = step.measure(job)
        else:
            found = accuracy(job, until, data_dir)
    facts = {"commit": measuring.commit(), "machine": measuring.facts()}
    return {"job": job, **facts, **found}


def accuracy(job: Job, until: float, data_dir: Path | None) -> dict[str, Any]:
    """Trains a method until the time is over, and tests its last weights."""
    from kdfixmatch_keras import KDFixMatch, baselines, datasets
    from kdfixmatch_keras.training import timing

    data = datasets.load(**job["draw"], data_dir=data_dir)
    written = job["settings"].items()
    settings: dict[str, Any] = {n: None if x == "none" else x for n, x in written}
    model: Any = KDFixMatch(**settings)
    images = data.labeled, data.unlabeled
    opened = model.load_data(*images)
    costs = timing.measure(model, opened)
    network = costs.inner
    test = network.prediction_start + network.prediction * len(data.test.images)
    left = until - time.time() - test
    epochs, outer = job["epochs"], {}
    if job["method"] == "kdfixmatch":
        length = costs.length_within(max(left, 0.0) / 60, opened)
        epochs, steps = length.epochs, length.steps_per_epoch
        outer = {"outer_epochs": length.outer_epochs}
    else:
        model = baselines.FixMatch(**settings)
        steps = max(int((left - network.start) / network.step / epochs), 1)
    model.fit(*images, epochs=epochs, steps_per_epoch=steps, verbose=0, **outer)
    return {
        "accuracy": model.evaluate(data.test)["accuracy"],
        "steps": steps * (epochs + sum(outer.values())),
        "image_passes": model.image_passes,
    }


def made_on(results: list[dict[str, Any]]) -> list[str]:
    """Where and by which commit results were made, each place once."""
    lines: dict[str, None] = {}
    for result in results:
        facts = result["machine"]
        devices = ", ".join(facts["accelerators"]) or "no GPU: this is the CPU"
        line = f"{devices}; {facts['cores']} cores of {facts['processor']}; "
        lines[f"{line}{page.versions(facts)}. Commit {result['commit']}"] = None
    return list(lines)


def text_of(content: dict[str, Any]) -> str:
    """The page of `gpu.json`."""
    called: list[Any] = [page.spread, page.at_least, page.milliseconds, page.rate]
    called += [page.network, page.met, made_on]
    results = content["results"]
    return render(
        HERE / "gpu.md.jinja",
        **{function.__name__: function for function in called},
        bars=WRITTEN["bars"],
        ratios=np.divide,
        parts={
            part: [result for result in results if result["job"]["part"] == part]
            for part in ("step", "accuracy")
        },
    )


if __name__ == "__main__":
    sys.exit(main())
