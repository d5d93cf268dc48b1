"""Damaged models, runs and states: read as they were, or refused in a sentence."""

import contextlib
import dataclasses
import io
import itertools
import json
import shutil
import stat
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import keras
import numpy as np
import tiny

from fuzz_parts.damage import BYTES, damaged
from kdfixmatch_keras import KDFixMatch, TrustedSet
from kdfixmatch_keras.report.run_folder import RunFolder, to_json
from kdfixmatch_keras.serving import saving
from kdfixmatch_keras.storage.integrity import sealed

EPOCHS, OUTER_EPOCHS = 3, 2
LENGTHS = {"epochs": EPOCHS, "outer_epochs": OUTER_EPOCHS, "steps_per_epoch": 1}
# What may be raised. Not what is derived from them, such as UnicodeDecodeError.
ALLOWED = (ValueError, RuntimeError, FileNotFoundError, IsADirectoryError)
# The files of a run that commands read back; the others are for people.
READ_BACK = ("run.json", "report.json", "class_names.txt")
# What is damaged of what `make` writes, and how often. A training that goes on takes
# seconds.
KINDS = {"run/model": 30, "model.zip": 25, "state/trusted.npz": 15, "run": 20}
KINDS["state"] = 10


class Wrong(Exception):
    """What must not happen."""


def make(folder: Path) -> None:
    """Writes a run, an archive and the state of a training, and another one of each."""
    classes = ["rot", "grün", "blue"]
    for seed, name in enumerate(("this", "other")):
        place, count = folder / name, itertools.count(1)
        with tempfile.TemporaryDirectory() as run_dir:
            model = _train(Path(run_dir), partial(_copy, count, run_dir, place), seed)
        np.savez(place / "result.npz", **tiny.bits(model))
        model.class_names = classes[seed:] + classes[:seed]
        model.tau -= seed / 10
        model.save(place / "model.zip")
        run = RunFolder(place / "run")
        run.write_facts({"command": "a command", "finished": "today", "tau": model.tau})
        run.write_results(model)
        report = to_json(sealed({"accuracy": 0.9, "tau": model.tau}, "report.json"))
        (run.path / "report.json").write_text(report, encoding="utf-8")


def _copy(count: Iterator[int], run_dir: str, to: Path, epoch: int, logs: Any) -> None:
    """Copies the state as a kill in the last epoch would leave it."""
    if next(count) == OUTER_EPOCHS + EPOCHS:
        shutil.copytree(run_dir, to / "state")


def _train(run_dir: Path, on_epoch_begin: Any, seed: int = 0) -> KDFixMatch:
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=on_epoch_begin)
    with contextlib.redirect_stdout(io.StringIO()):
        return tiny.train(run_dir, [callback], seed, **LENGTHS)


class RunCases:
    """Cases by number, in a folder of their own.

    Args:
        folder: An empty folder.
        seed: Of the damages.
        undamaged: What `make` wrote.
    """

    def __init__(self, folder: Path, seed: int, undamaged: Path) -> None:
        self.folder = folder
        self.seed = seed
        self.this, self.other = undamaged / "this", undamaged / "other"
        self._model = _contents(KDFixMatch.load(self.this / "model.zip"))
        run = RunFolder(self.this / "run")
        self._facts, self._report = run.read_facts(), run.read_report()
        self._trusted = _fields(TrustedSet.load(self.this / "state" / "trusted.npz"))
        with np.load(self.this / "result.npz") as result:
            self._result = dict(result)

    def run(self, case: int) -> str:
        """Tries a case, and says how it came out."""
        random = Random(f"{self.seed} run {case}")
        kind = random.choices(list(KINDS), list(KINDS.values()))[0]
        place = self.folder / f"case {case}"
        place.mkdir()
        try:
            path = place / Path(kind).name
            how = self._damage(random, kind, path)
            outcome = self._outcome(how, kind, path)
            if [path.name for path in self.folder.iterdir()] != [place.name]:
                raise Wrong("something was written elsewhere")
            return f"{outcome} ({kind})"
        except Wrong as error:
            return f"wrong: {kind} {case}: {error}"
        finally:
            shutil.rmtree(place)

    def _damage(self, random: Random, kind: str, path: Path) -> str:
        """Writes a damaged copy; returns how it is damaged."""
        this, other = self.this / kind, self.other / kind
        copy = shutil.copytree if this.is_dir() else shutil.copy
        copy(this, path)
        if kind == "model.zip":
            return damage_archive(random, path, other)
        if kind == "state/trusted.npz":
            # Another whole file cannot be told from the one that a user meant.
            return damage_file(random, path, this.read_bytes()[::-1])
        if kind == "state":
            names = [entry.name for entry in sorted(path.iterdir())]
            return damage_folder(random, path, other, names)
        if kind == "run" and random.random() < 0.7:
            # Files of another run are whole, and cannot be told from what a user put
            # there; that of the model can.
            return damage_folder(random, path, None, READ_BACK)
        below = "model" if kind == "run" else ""
        return damage_folder(random, path / below, other / below, saving.FILES)

    def _outcome(self, how: str, kind: str, path: Path) -> str:
        """Loads and compares; checks what is raised."""
        loads = {
            "run": self._load_run,
            "state": self._load_state,
            "state/trusted.npz": self._load_trusted_set,
        }
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loads.get(kind, self._load_model)(path)
        except Wrong as error:
            raise Wrong(f"{how}: {error}") from None
        # Whatever it is, it is looked at.
        except Exception as error:
            if type(error) not in ALLOWED:
                raise Wrong(f"{how}: raised {type(error).__name__}: {error}") from error
            if str(path) not in str(error) or " " not in str(error):
                raise Wrong(f"{how}: the error names no file: {error}") from error
            return "refused"
        return "unchanged"

    def _load_model(self, path: Path) -> None:
        self._compare(KDFixMatch.load(path))

    def _compare(self, model: KDFixMatch) -> None:
        found = _contents(model)
        for name, value in self._model.items():
            if not _equal(value, found[name]):
                raise Wrong(f"loaded with another {name}")

    def _load_trusted_set(self, path: Path) -> None:
        if not _equal(_fields(TrustedSet.load(path)), self._trusted):
            raise Wrong("loaded another trusted set")

    def _load_run(self, path: Path) -> None:
        run = RunFolder.open(path)
        if run.read_facts() != self._facts or run.read_report() != self._report:
            raise Wrong("loaded other facts")
        if run.read_class_names() != self._model["settings"]["class_names"]:
            raise Wrong("loaded other class names")
        self._compare(run.load_model())

    def _load_state(self, path: Path) -> None:
        """Goes on with a training, from the newest checkpoints that are whole."""
        left, lost = self._left(path)
        trained: list[int] = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = _train(path, lambda epoch, logs: trained.append(epoch))
        if len(trained) > left:
            raise Wrong(f"lost progress: {len(trained)} epochs were left, not {left}")
        # Some damage does no harm: then there are more epochs.
        said = " ".join(str(warning.message) for warning in caught)
        if len(trained) == left and not all(str(file) in said for file in lost):
            raise Wrong("no warning names a damaged checkpoint")
        found = tiny.bits(model)
        for name, value in self._result.items():
            if not np.array_equal(value, found[name]):
                raise Wrong(f"the training ends with another {name}")

    def _left(self, path: Path) -> tuple[int, list[Path]]:
        """Epochs beyond the newest whole checkpoints, and those damaged beyond them."""
        left, lost = OUTER_EPOCHS + EPOCHS, []
        for stage in ("outer", "inner"):
            pattern = f"fixmatch_{stage}-[0-9]*.npz"
            whole = {
                file.read_bytes(): int(file.stem.rpartition("-")[2])
                for file in (self.this / "state").glob(pattern)
            }
            for file in sorted(path.glob(pattern), reverse=True):
                content = file.read_bytes() if file.is_file() else b""
                if content in whole:
                    left -= whole[content]
                    break
                lost.append(file)
        return left, lost


def _contents(model: KDFixMatch) -> dict[str, Any]:
    """All that a saved model must give back, its settings as `save` writes them."""
    contents: dict[str, Any] = {
        "settings": json.loads(json.dumps(saving._settings(model))),
        "predictions": model.predict(tiny.squares(6, 5)[0]),
        "trusted set": _fields(model.trusted_set),
    }
    for name in ("outer", "inner"):
        network = getattr(model, name)
        contents[f"weights of {name}"] = tiny.arrays(network.variables)
        contents[f"layers of {name}"] = network.student.to_json()
    return contents


def _fields(trusted: TrustedSet) -> list[Any]:
    return [getattr(trusted, field.name) for field in dataclasses.fields(trusted)]


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.array_equal(first, second)
    return bool(first == second)


def damage_file(random: Random, path: Path, other: bytes) -> str:
    """Damages a file in its bytes, or replaces it; returns how."""
    kind = random.choice([*BYTES, "empty", "garbage", "replace", "missing"])
    replaced = {"empty": b"", "replace": other}
    replaced["garbage"] = random.randbytes(random.randint(1, 2000))
    if kind == "missing":
        path.unlink()
    elif kind in replaced:
        path.write_bytes(replaced[kind])
    else:
        path.write_bytes(damaged(kind, random, path.read_bytes(), other))
    return f"{kind} {path.name}"


def damage_folder(
    random: Random, folder: Path, other: Path | None, names: Sequence[str]
) -> str:
    """Damages one or two of the files in a folder; returns how.

    Args:
        random: Draws which and how.
        folder: The folder.
        other: One whose files take the place of those, or None.
        names: The files that count.
    """
    name, second = random.choice(names), random.choice(names)
    path = folder / name
    kinds = {"file": 60, "json": 15, "swap": 10, "rename": 5, "folder": 5, "extra": 5}
    kind = random.choices(list(kinds), list(kinds.values()))[0]
    if kind == "json" and name.endswith(".json"):
        path.write_text(damage_json(random, path.read_text(encoding="utf-8")))
    elif kind == "swap":
        first, last = path.read_bytes(), (folder / second).read_bytes()
        path.write_bytes(last)
        (folder / second).write_bytes(first)
    elif kind == "rename":
        path.rename(folder / second)
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "extra":
        (folder / "notes.txt").write_text("of a user")
    else:
        new = (other / name).read_bytes() if other else b"{}"
        return damage_file(random, path, new)
    return f"{kind} {name}, {second}"


def damage_json(random: Random, text: str) -> str:
    """Changes one value to another, often of another type."""
    content = json.loads(text)
    place: Any = content
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = random.choice(list(keys))
        below = place[key]
        if not (isinstance(below, dict | list) and below and random.random() < 0.8):
            break
        place = below
    others = [None, 0, 2, -1, 0.85, "", "x", [], {}, True, 10**30, [[1]], {"a": 1}]
    place[key] = random.choice(others)
    return json.dumps(content)


def damage_archive(random: Random, path: Path, other: Path) -> str:
    """Damages an archive; returns how."""
    if random.random() < 0.5:
        # Another whole archive cannot be told from the one that a user meant.
        return damage_file(random, path, other.read_bytes()[::-1])
    members, others = _members(path), _members(other)
    name = random.choice(list(members))
    rest = [(key, data) for key, data in members.items() if key != name]
    evil = ("../evil", "/evil", "a/../../evil", "..\\evil")
    link = zipfile.ZipInfo(name)
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    ways: dict[str, list[tuple[Any, bytes]]] = {
        "escape": [*members.items(), *((place, b"evil") for place in evil)],
        "only escaping": [*rest, (f"../{name}", members[name])],
        "twice": [*members.items(), (name, others[name])],
        "link": [*rest, (link, b"/etc/passwd")],
        "bomb": [*rest, (name, bytes(100 << 20))],
        "missing": rest,
        "exchanged": [*rest, (name, others[name])],
        "packed": list(members.items()),
        "folder": [(f"model/{key}", data) for key, data in members.items()],
    }
    kind = random.choice(list(ways))
    packed = zipfile.ZIP_DEFLATED if kind in ("bomb", "packed") else zipfile.ZIP_STORED
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", packed) as archive:
        # Of names that are there twice.
        warnings.simplefilter("ignore")
        for place, data in ways[kind]:
            archive.writestr(place, data)
    return f"{kind} {name}"


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
