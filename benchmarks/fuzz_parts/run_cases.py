"""Damaged models, runs and states: read as they were, or refused in a sentence."""

import itertools
import json
import shutil
import stat
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import keras
import numpy as np
import tiny
from numpy.testing import assert_equal

from fuzz_parts.damage import BYTES, damaged, demand
from kdfixmatch_keras import KDFixMatch, TrustedSet
from kdfixmatch_keras.report.run_folder import RunFolder, to_json
from kdfixmatch_keras.serving import saving
from kdfixmatch_keras.storage.integrity import sealed

EPOCHS, OUTER_EPOCHS = 3, 2
# What may be raised. Not what is derived from them, such as UnicodeDecodeError.
ALLOWED = (ValueError, RuntimeError, FileNotFoundError, IsADirectoryError)
# The files of a run that commands read back; the others are for people.
READ_BACK = ("run.json", "report.json", "class_names.txt")
# What is damaged of what `make` writes, and how often. A training that goes on takes
# seconds.
KINDS = {"run/model": 30, "model.zip": 25, "state/trusted.npz": 15, "run": 20}
KINDS["state"] = 10


def make(folder: Path) -> None:
    """Writes a run, an archive and the state of a training, and another one of each."""
    classes = ["rot", "grün", "blue"]
    for seed, name in enumerate(("this", "other")):
        place = folder / name
        with tempfile.TemporaryDirectory() as run_dir:
            copy = _copying_in_last_epoch(run_dir, place / "state")
            model = _train(Path(run_dir), copy, seed)
        np.savez(place / "result.npz", **tiny.bits(model))
        model.class_names = classes[seed:] + classes[:seed]
        model.tau -= seed / 10
        model.save(place / "model.zip")
        run = RunFolder(place / "run")
        run.write_facts({"command": "a command", "finished": "today", "tau": model.tau})
        run.write_results(model)
        report = to_json(sealed({"accuracy": 0.9, "tau": model.tau}, "report.json"))
        (run.path / "report.json").write_text(report, encoding="utf-8")


def _copying_in_last_epoch(run_dir: str, to: Path) -> Callable[[int, Any], None]:
    """Copies the state when an epoch begins, as a kill in the last one would leave."""
    epochs = itertools.count(1)

    def copy(epoch: int, logs: Any) -> None:
        if next(epochs) == OUTER_EPOCHS + EPOCHS:
            shutil.copytree(run_dir, to)

    return copy


def _train(run_dir: Path, on_epoch_begin: Any, seed: int = 0) -> KDFixMatch:
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=on_epoch_begin)
    lengths = {"epochs": EPOCHS, "outer_epochs": OUTER_EPOCHS, "steps_per_epoch": 1}
    return tiny.train(run_dir, [callback], seed, **lengths)


class RunCases:
    """Cases by number, in a new folder, with damaged copies of what `make` wrote."""

    def __init__(self, folder: Path, seed: int, undamaged: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.seed = seed
        self.this, self.other = undamaged / "this", undamaged / "other"
        self._loads: dict[str, Callable[[Path], Any]] = {
            "run/model": _load_model,
            "model.zip": _load_model,
            "state/trusted.npz": lambda path: asdict(TrustedSet.load(path)),
            "run": _load_run,
        }
        self._whole = {k: load(self.this / k) for k, load in self._loads.items()}
        with np.load(self.this / "result.npz") as result:
            self._whole["state"] = dict(result)
        self._loads["state"] = self.load_state

    def run(self, case: int) -> str:
        """Tries a case, and says how it came out."""
        random = Random(f"{self.seed} run {case}")
        kind = random.choices(list(KINDS), list(KINDS.values()))[0]
        place = self.folder / f"case {case}"
        place.mkdir()
        path = place / Path(kind).name
        how = self._damage(random, kind, path)
        try:
            outcome = self._outcome(kind, path)
            is_alone = list(self.folder.iterdir()) == [place]
            demand(is_alone, "something was written elsewhere")
            return f"{outcome} ({kind})"
        except AssertionError as error:
            return f"wrong: {kind} {case}: {how}: {error}"
        finally:
            shutil.rmtree(place)

    def _damage(self, random: Random, kind: str, path: Path) -> str:
        """Writes a damaged copy; returns how it is damaged."""
        this, other = self.this / kind, self.other / kind
        copy = shutil.copytree if this.is_dir() else shutil.copy
        copy(this, path)
        if kind == "model.zip" and random.random() >= 0.5:
            return damage_archive(random, path, other)
        if path.is_file():
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

    def _outcome(self, kind: str, path: Path) -> str:
        """Loads and compares; checks what is raised."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert_equal(self._loads[kind](path), self._whole[kind])
        except AssertionError:
            raise
        # Whatever it is, it is looked at.
        except Exception as error:
            is_allowed = type(error) in ALLOWED
            demand(is_allowed, f"raised {type(error).__name__}: {error}")
            is_sentence = str(path) in str(error) and " " in str(error)
            demand(is_sentence, f"the error names no file: {error}")
            return "refused"
        return "unchanged"

    def load_state(self, path: Path) -> dict[str, Any]:
        """Goes on with a training, from the newest checkpoints that are whole."""
        left, lost = self._left(path)
        trained: list[int] = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = _train(path, lambda epoch, logs: trained.append(epoch))
        lost_progress = f"lost progress: {len(trained)} epochs were left, not {left}"
        demand(len(trained) <= left, lost_progress)
        # Some damage does no harm: then there are more epochs.
        said = " ".join(str(warning.message) for warning in caught)
        are_told = len(trained) < left or all(str(file) in said for file in lost)
        demand(are_told, "no warning names a damaged checkpoint")
        return tiny.bits(model)

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


def _load_model(path: Path) -> dict[str, Any]:
    return _contents(KDFixMatch.load(path))


def _load_run(path: Path) -> dict[str, Any]:
    run = RunFolder.open(path)
    facts, report = run.read_facts(), run.read_report()
    found = {"facts": facts, "report": report, "class names": run.read_class_names()}
    return found | _contents(run.load_model())


def _contents(model: KDFixMatch) -> dict[str, Any]:
    """All that a saved model must give back, its settings as `save` writes them."""
    networks = (model.outer, model.inner)
    return {
        "settings": json.loads(json.dumps(saving._settings(model))),
        "predictions": model.predict(tiny.squares(6, 5)[0]),
        "trusted set": asdict(model.trusted_set),
        "weights": [tiny.arrays(network.variables) for network in networks],
        "layers": [network.student.to_json() for network in networks],
    }


def damage_file(random: Random, path: Path, other: bytes) -> str:
    """Damages a file in its bytes, or replaces it; returns how."""
    replaced = {"empty": b"", "garbage": b"", "replace": other, "missing": b""}
    kind = random.choice([*BYTES, *replaced])
    replaced["garbage"] = random.randbytes(random.randint(1, 2000))
    if kind not in replaced:
        replaced[kind] = damaged(kind, random, path.read_bytes(), other)
    path.write_bytes(replaced[kind])
    if kind == "missing":
        path.unlink()
    return f"{kind} {path.name}"


def damage_folder(
    random: Random, folder: Path, other: Path | None, names: Sequence[str]
) -> str:
    """Damages one or two of some files in a folder, or puts those of another there."""
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
    below: Any = content
    while isinstance(below, dict | list) and below:
        place = below
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = random.choice(keys)
        below = place[key]
        if random.random() < 0.2:
            break
    others = [None, 0, 2, -1, 0.85, "", "x", [], {}, True, 10**30, [[1]], {"a": 1}]
    place[key] = random.choice(others)
    return json.dumps(content)


def damage_archive(random: Random, path: Path, other: Path) -> str:
    """Writes an archive anew with other members; returns how."""
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
