"""How long a user of the labeling page waits, in a scripted browser.

python benchmarks/labeling.py --images 100000 --labels 10000 --count 200 \
    --output benchmarks/results/labeling

makes a folder of that many photographs, of which so many are labeled, starts
`kdfixmatch label`, labels images by key at the pace of a quick user, and writes how
long it took until the first image showed, and from each key to the next image. Three
minutes on two cores, with a Chromium.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import measuring
import numpy as np
from PIL import Image

# What a label may take in milliseconds at the 95th percentile, and opening in seconds.
BARS = {"label_ms": 50.0, "open_s": 3.0}
# Photographs of their own; the other files are links to them, with names of their own.
DISTINCT = 200
CLASSES = ("cat", "dog", "other things")
# From a key to the next image, and to the picture of it on the screen.
_LABEL = """
key => new Promise(done => {
    const started = performance.now();
    const watching = new MutationObserver(() => {
        watching.disconnect();
        requestAnimationFrame(() => done(performance.now() - started));
    });
    watching.observe(document.body, {attributeFilter: ["data-shown"]});
    const pressed = new KeyboardEvent("keydown", {key, bubbles: true});
    document.getElementById("frame").dispatchEvent(pressed);
})
"""


def main() -> None:
    """Measures, prints and keeps."""
    options = parse()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        folder = Path(scratch)
        prepare(folder, options.images, options.labels, options.side, options.seed)
        found = measure(folder, options.count, options.pause)
    settings = {
        k: v for k, v in vars(options).items() if k not in ("output", "scratch")
    }
    result = {
        "commit": measuring.commit(),
        "settings": settings,
        **found,
        "bars": BARS,
        "machine": measuring.facts(),
    }
    print(summary(result))
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        measuring.keep(options.output / "labeling.json", result)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line, that of this process unless another is given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--labels", type=int, default=10_000, help="that there are")
    parser.add_argument("--count", type=int, default=200, help="of labels to give")
    parser.add_argument("--side", type=int, default=1024, help="of an image in pixels")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds before a key")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="folder of labeling.json")
    parser.add_argument("--scratch", type=Path, help="folder for the images")
    return parser.parse_args(arguments)


def prepare(folder: Path, images: int, labels: int, side: int, seed: int) -> None:
    """Makes a folder of JPEG files and a file of labels of the last of them."""
    photos = folder / "photos"
    photos.mkdir()
    generator = np.random.default_rng(seed)
    names = [f"{number // 1000:04}/{number:07}.jpg" for number in range(images)]
    for number, name in enumerate(names):
        (photos / name).parent.mkdir(exist_ok=True)
        if number < DISTINCT:
            coarse = generator.integers(0, 256, (side // 16, side // 16, 3), np.uint8)
            image = Image.fromarray(coarse).resize((side, side))
            image.save(photos / name, quality=90)
        else:
            os.link(photos / names[number % DISTINCT], photos / name)
    rows = [f"{n},{CLASSES[i % 3]}\n" for i, n in enumerate(names[images - labels :])]
    (folder / "labels.csv").write_text("".join(["file,label\n", *rows]))


def measure(folder: Path, count: int, pause: float) -> dict[str, Any]:
    """Labels images; seconds to open, and milliseconds for each label."""
    # Not needed to read results.
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("There is no Chromium, which `make browser` installs.")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page()
        started = time.perf_counter()
        with served(folder) as address:
            page.goto(address)
            page.wait_for_selector("body[data-shown]")
            opened = time.perf_counter() - started
            waits = []
            for number in range(count):
                page.wait_for_timeout(1000 * pause)
                waits.append(page.evaluate(_LABEL, str(1 + number % len(CLASSES))))
        browser.close()
    return {"open_s": round(opened, 3), "label_ms": [round(wait, 2) for wait in waits]}


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The command as a process of its own, and its address."""
    command = [sys.executable, "-m", "kdfixmatch_cli", "label", "--no-browser"]
    command += ["--no-suggest", "--unlabeled", "photos", "--labels", "labels.csv"]
    with subprocess.Popen(command, cwd=folder, stdout=-1, text=True) as process:
        try:
            said = ""
            for said in process.stdout or ():
                if said.startswith("Open "):
                    break
            found = re.search(r"http\S+", said)
            if found is None:
                raise RuntimeError(f"The page did not open: {said}")
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)


def summary(result: dict[str, Any]) -> str:
    """What was found, in two lines."""
    waits = result["label_ms"]
    median, most = np.percentile(waits, [50, 95])
    settings = result["settings"]
    return (
        f"{settings['images']:,} images, {settings['labels']:,} labeled: the first "
        f"showed after {result['open_s']:.2f} s (bar {BARS['open_s']:g})\n"
        f"{len(waits)} labels: {median:.0f} ms each, {most:.0f} ms at the 95th "
        f"percentile (bar {BARS['label_ms']:g})"
    )


if __name__ == "__main__":
    main()
