"""Kills a process that labels, again and again, and reads what is in the file.

`python tests/web/killed_labels.py FOLDER KILLS`. A process of its own, small as it does
without Keras, whose children are made in a moment.
"""

import csv
import os
import random
import signal
import sys
import time
from pathlib import Path

from kdfixmatch_web.light_import import import_without_keras

import_without_keras()
from kdfixmatch_web.image_folder import ImageFolder  # noqa: E402
from kdfixmatch_web.label_store import Change, LabelStore  # noqa: E402

COUNT = 500


def label_on(path: Path, images: ImageFolder, seed: int, pipe: int) -> None:
    """Labels, relabels and takes back for ever; tells before each and after it."""
    store, choose = LabelStore(path, images), random.Random(seed)
    while True:
        file = choose.choice(images.names)
        have = store.get(file)
        label = choose.choice(["cat", "dog", None])
        if choose.random() < 0.8 and have is not None or label == have:
            continue
        line = f"{file} {label}\n".encode()
        os.write(pipe, b"will " + line)
        store.change([Change(file, label, have)])
        os.write(pipe, b"have " + line)


def read(path: Path) -> dict[str, str]:
    with open(path, newline="") as file:
        header, *rows = csv.reader(file, strict=True)
    assert header == ["file", "label"]
    assert len({name for name, _ in rows}) == len(rows), "one is there twice"
    return {name: label for name, label in rows}


def apply(labels: dict[str, str], said: str) -> dict[str, str]:
    file, label = said.split()
    changed = {name: known for name, known in labels.items() if name != file}
    return changed if label == "None" else {**changed, file: label}


def main(folder: Path, kills: int) -> None:
    photos, path = folder / "photos", folder / "labels.csv"
    photos.mkdir()
    for number in range(COUNT):
        (photos / f"{number}.png").touch()
    images, labels, moments = ImageFolder(photos), {}, random.Random(0)
    answered = 0
    for kill in range(kills):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            label_on(path, images, kill, writing)
        os.close(writing)
        with os.fdopen(reading) as said:
            # Not before it has begun.
            lines = [said.readline()]
            time.sleep(moments.uniform(0, 0.06))
            os.kill(child, signal.SIGKILL)
            lines += said.readlines()
        os.waitpid(child, 0)
        possible = [labels]
        for line in lines:
            verb, change = line.split(maxsplit=1)
            if verb == "will":
                possible = [labels, apply(labels, change)]
            else:
                labels = apply(labels, change)
                possible = [labels]
                answered += 1
        # As a training reads it, before the next process has looked at it.
        found = read(path) if path.exists() else {}
        assert found in possible, f"kill {kill}: {found} is none of {possible}"
        labels = found
    assert answered > kills, "it was killed before it labeled"
    print(f"{kills} kills, {answered} answers, {len(labels)} labels")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
