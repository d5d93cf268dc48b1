"""Damaged models, runs and states: read as they were, or refused in a sentence."""

import dataclasses
import json
import shutil
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import keras
import numpy as np

from fuzz_parts import damage, material
from kdfixmatch_keras import KDFixMatch, TrustedSet
from kdfixmatch_keras.report.run_folder import RunFolder
from kdfixmatch_keras.serving import saving
from kdfixmatch_keras.storage.integrity import unsealed
from kdfixmatch_keras.training import run_state

# What may be raised. Not what is derived from them, such as UnicodeDecodeError.
ALLOWED = (ValueError, RuntimeError, FileNotFoundError, IsADirectoryError)
# The files of a run that commands read back; the others are for people.
READ_BACK = ("run.json", "report.json", "class_names.txt")
# A training that goes on takes seconds, and so is tried for few of the states.
STATES_PER_TRAINING = 8


class Wrong(Exception):
    """What must not happen."""


class RunCases:
    """Cases by number, in a folder of their own.

    Args:
        folder: An empty folder.
        seed: Of the damages.
        undamaged: What `material.make` wrote.
    """

    def __init__(self, folder: Path, seed: int, undamaged: Path) -> None:
        self.folder = folder
        self.seed = seed
        self.undamaged = undamaged
        self._model = _contents(KDFixMatch.load(undamaged / material.ARCHIVE))
        run = RunFolder(undamaged / material.RUN)
        self._facts, self._report = run.read_facts(), run.read_report()
        self._trusted = TrustedSet.load(undamaged / material.STATE / "trusted.npz")
        self._states = _read_states(undamaged / material.STATE)
        # Epochs by what a file of them holds.
        self._whole = {
            name: {
                (undamaged / material.STATE / f"{name}-{epochs:06}.npz").read_bytes(): (
                    epochs
                )
                for epochs in states
            }
            for name, states in self._states["networks"].items()
        }
        with np.load(undamaged / material.RESULT) as result:
            self._result = {name: result[name] for name in result.files}
        self._num_states = 0

    def run(self, case: int) -> str:
        """Tries a case, and says how it came out."""
        random = Random(f"{self.seed} run {case}")
        kind = random.choices(
            ["model", "archive", "trusted set", "run", "state"], [30, 25, 15, 15, 15]
        )[0]
        place = self.folder / f"case {case}"
        place.mkdir()
        try:
            outcome = getattr(self, f"_try_{kind.replace(' ', '_')}")(random, place)
            if [path.name for path in self.folder.iterdir()] != [place.name]:
                raise Wrong("something was written elsewhere")
            return f"{outcome} ({kind})"
        except Wrong as error:
            return f"wrong: {kind} {case}: {error}"
        finally:
            shutil.rmtree(place)

    def _try_model(self, random: Random, place: Path) -> str:
        path = place / "model"
        shutil.copytree(self.undamaged / material.RUN / "model", path)
        other = self.undamaged / material.OTHER_RUN / "model"
        how = damage_folder(random, path, other, saving.FILES)
        return self._outcome(how, path, self._load_model)

    def _try_archive(self, random: Random, place: Path) -> str:
        path = place / "model.zip"
        how = damage_archive(
            random,
            self.undamaged / material.ARCHIVE,
            self.undamaged / material.OTHER_ARCHIVE,
            path,
        )
        return self._outcome(how, path, self._load_model)

    def _try_trusted_set(self, random: Random, place: Path) -> str:
        path = place / "trusted.npz"
        shutil.copy(self.undamaged / material.STATE / "trusted.npz", path)
        # Another whole file cannot be told from the one that a user meant.
        how = damage_file(random, path, path.read_bytes()[::-1])
        return self._outcome(how, path, self._load_trusted_set)

    def _try_run(self, random: Random, place: Path) -> str:
        path = place / "run"
        shutil.copytree(self.undamaged / material.RUN, path)
        other = self.undamaged / material.OTHER_RUN
        if random.random() < 0.3:
            names = saving.FILES
            how = damage_folder(random, path / "model", other / "model", names)
        else:
            # Files of another run are whole, and cannot be told from what a user put
            # there; that of the model can.
            shutil.copytree(path, place / "other")
            for name in READ_BACK:
                (place / "other" / name).write_bytes(b"{}")
            how = damage_folder(random, path, place / "other", READ_BACK)
        return self._outcome(how, path, self._load_run)

    def _try_state(self, random: Random, place: Path) -> str:
        path = place / "state"
        shutil.copytree(self.undamaged / material.STATE, path)
        names = [entry.name for entry in sorted(path.iterdir())]
        other = self.undamaged / material.OTHER_STATE
        how = damage_folder(random, path, other, names)
        self._num_states += 1
        goes_on = self._num_states % STATES_PER_TRAINING == 0
        load = self._go_on if goes_on else self._load_state
        return self._outcome(how, path, load)

    def _outcome(self, how: str, path: Path, load: Callable[[Path], None]) -> str:
        """Loads and compares; checks what is raised."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                load(path)
        except Wrong as error:
            raise Wrong(f"{how}: {error}") from None
        # Whatever it is, it is looked at.
        except Exception as error:
            sentence = str(error)
            if type(error) not in ALLOWED:
                raise Wrong(f"{how}: raised {type(error).__name__}: {error}") from error
            if str(path) not in sentence or " " not in sentence:
                raise Wrong(f"{how}: the error names no file: {error}") from error
            return "refused"
        return "unchanged"

    def _load_model(self, path: Path) -> None:
        self._compare(_contents(KDFixMatch.load(path)))

    def _compare(self, found: dict[str, Any]) -> None:
        for name, value in self._model.items():
            if not _equal(value, found[name]):
                raise Wrong(f"loaded with another {name}")

    def _load_trusted_set(self, path: Path) -> None:
        if not _equal(_fields(TrustedSet.load(path)), _fields(self._trusted)):
            raise Wrong("loaded another trusted set")

    def _load_run(self, path: Path) -> None:
        run = RunFolder.open(path)
        if run.read_facts() != self._facts or run.read_report() != self._report:
            raise Wrong("loaded other facts")
        if run.read_class_names() != self._model["settings"]["class_names"]:
            raise Wrong("loaded other class names")
        self._compare(_contents(run.load_model()))

    def _load_state(self, path: Path) -> None:
        """Reads what a training would, and compares it with what it had written."""
        identity = self._states["identity"]
        with run_state.opened(path, identity, 0) as state:
            if state.seed != 0:
                raise Wrong("another seed")
            trusted = state.load_trusted_set()
            if trusted and not _equal(_fields(trusted), _fields(self._trusted)):
                raise Wrong("another trusted set")
            for name, states in self._states["networks"].items():
                network = _Network(name, next(iter(states.values()))[1])
                least, damaged = self._best(path, name)
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    epochs, history, finished = state.restore(network)
                if epochs < least:
                    raise Wrong(f"lost progress: {epochs} epochs, not {least}")
                # Some damage does no harm: that checkpoint has more epochs.
                said = " ".join(str(warning.message) for warning in caught)
                if epochs == least and not all(str(file) in said for file in damaged):
                    raise Wrong("no warning names a damaged checkpoint")
                if epochs == 0:
                    continue
                facts, arrays = states[epochs]
                if [facts["history"], facts["finished"]] != [history, finished]:
                    raise Wrong("another history")
                found = [variable.value for variable in network.variables]
                if not _equal(found, arrays):
                    raise Wrong("other weights")

    def _best(self, path: Path, name: str) -> tuple[int, list[Path]]:
        """Epochs of the newest whole checkpoint, and those damaged that are newer."""
        damaged: list[Path] = []
        for file in sorted(path.glob(f"{name}-[0-9]*.npz"), reverse=True):
            content = file.read_bytes() if file.is_file() else b""
            if content in self._whole[name]:
                return self._whole[name][content], damaged
            damaged.append(file)
        return 0, damaged

    def _go_on(self, path: Path) -> None:
        found = material.bits(material.train(material.new_model(), path))
        for name, value in self._result.items():
            if not np.array_equal(value, found[name]):
                raise Wrong(f"the training ends with another {name}")


class _Variable:
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.value: Any = None

    def assign(self, value: Any) -> None:
        self.value = value


class _Network:
    """What a state restores, without the seconds that a network takes to make."""

    optimizer: Any = None
    strong_augmentation = None

    def __init__(self, name: str, arrays: list[np.ndarray]) -> None:
        self.name = name
        self.variables = [_Variable(array.shape) for array in arrays]
        self.optimizer = type("Optimizer", (), {"variables": []})


def _read_states(folder: Path) -> dict[str, Any]:
    """Identity, and by network and epoch what was written, read without the package."""
    identity = json.loads((folder / "identity.json").read_text(encoding="utf-8"))
    networks: dict[str, Any] = {}
    for path in sorted(folder.glob("fixmatch_*.npz")):
        with np.load(path) as archive:
            facts = json.loads(archive["facts"].tobytes())
            arrays = [archive[f"variable_{n}"] for n in range(facts["variables"])]
        networks.setdefault(facts["network"], {})[facts["epochs"]] = (facts, arrays)
    return {
        "identity": unsealed(identity, "identity.json")["identity"],
        "networks": networks,
    }


def _contents(model: KDFixMatch) -> dict[str, Any]:
    """All that a saved model must give back."""
    contents: dict[str, Any] = {"settings": json.loads(_settings(model))}
    for name in ("outer", "inner"):
        network = getattr(model, name)
        values = [keras.ops.convert_to_numpy(v) for v in network.variables]
        contents[f"weights of {name}"] = values
        contents[f"layers of {name}"] = network.student.to_json()
    images = material.squares(6, 5)[0]
    logits = model.inner.student(images, training=False)
    contents["predictions"] = keras.ops.convert_to_numpy(logits)
    contents["trusted set"] = _fields(model.trusted_set)
    return contents


def _settings(model: KDFixMatch) -> str:
    # What `save` would write again.
    return json.dumps(saving._settings(model))


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
    data = path.read_bytes()
    kind = random.choice([*damage.BYTES, "empty", "garbage", "replace", "missing"])
    if kind in damage.BYTES:
        path.write_bytes(damage.BYTES[kind](random, data, other))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "garbage":
        path.write_bytes(random.randbytes(random.randint(1, 2000)))
    elif kind == "replace":
        path.write_bytes(other)
    else:
        path.unlink()
    return f"{kind} {path.name}"


def damage_folder(
    random: Random, folder: Path, other: Path, names: tuple[str, ...] | list[str]
) -> str:
    """Damages one or two of the files in a folder; returns how."""
    name = random.choice(list(names))
    path = folder / name
    kind = random.choices(
        ["file", "json", "swap", "rename", "folder", "extra"], [60, 15, 10, 5, 5, 5]
    )[0]
    if kind == "json" and name.endswith(".json"):
        path.write_text(damage_json(random, path.read_text(encoding="utf-8")))
        return f"changed a value in {name}"
    if kind == "swap":
        second = random.choice(list(names))
        first, last = path.read_bytes(), (folder / second).read_bytes()
        path.write_bytes(last)
        (folder / second).write_bytes(first)
        return f"swapped {name} and {second}"
    if kind == "rename":
        path.rename(folder / random.choice(list(names)))
        return f"renamed {name}"
    if kind == "folder":
        path.unlink()
        path.mkdir()
        return f"a folder {name}"
    if kind == "extra":
        (folder / "notes.txt").write_text("of a user")
        return "another file"
    return damage_file(random, path, (other / name).read_bytes())


def damage_json(random: Random, text: str) -> str:
    """Changes one value to another, often of another type."""
    content = json.loads(text)
    place: Any = content
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = random.choice(list(keys))
        below = place[key]
        if isinstance(below, dict | list) and below and random.random() < 0.8:
            place = below
            continue
        others = [None, 0, 2, -1, 0.85, "", "x", [], {}, True, 10**30, [[1]], {"a": 1}]
        place[key] = random.choice(others)
        return json.dumps(content)


def damage_archive(random: Random, original: Path, other: Path, path: Path) -> str:
    """Writes a damaged archive; returns how."""
    if random.random() < 0.5:
        path.write_bytes(original.read_bytes())
        # Another whole archive cannot be told from the one that a user meant.
        return damage_file(random, path, other.read_bytes()[::-1])
    with zipfile.ZipFile(original) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(other) as archive:
        others = {name: archive.read(name) for name in archive.namelist()}
    name = random.choice(list(members))
    kind = random.choice(list(ARCHIVES))
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        # Of names that are there twice.
        warnings.simplefilter("ignore")
        ARCHIVES[kind](archive, members, name, others)
    return f"{kind} {name}"


Members = dict[str, bytes]


def _write_all(archive: zipfile.ZipFile, members: Members, **options: Any) -> None:
    for name, data in members.items():
        archive.writestr(name, data, **options)


def _escape(
    archive: zipfile.ZipFile, members: Members, name: str, others: Members
) -> None:
    _write_all(archive, members)
    for evil in ("../evil", "/evil", "a/../../evil", "..\\evil"):
        archive.writestr(evil, b"evil")


def _only_escaping(
    archive: zipfile.ZipFile, members: Members, name: str, others: Members
) -> None:
    renamed = {f"../{old}" if old == name else old: d for old, d in members.items()}
    _write_all(archive, renamed)


def _twice(
    archive: zipfile.ZipFile, members: Members, name: str, others: Members
) -> None:
    _write_all(archive, members)
    archive.writestr(name, others[name])


def _link(
    archive: zipfile.ZipFile, members: Members, name: str, others: Members
) -> None:
    _write_all(archive, {key: data for key, data in members.items() if key != name})
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    archive.writestr(entry, b"/etc/passwd")


def _bomb(
    archive: zipfile.ZipFile, members: Members, name: str, others: Members
) -> None:
    _write_all(archive, {key: data for key, data in members.items() if key != name})
    archive.writestr(name, bytes(100 << 20), zipfile.ZIP_DEFLATED)


def _missing(
    archive: zipfile.ZipFile, members: Members, name: str, others: Members
) -> None:
    _write_all(archive, {key: data for key, data in members.items() if key != name})


def _exchanged(
    archive: zipfile.ZipFile, members: Members, name: str, others: Members
) -> None:
    _write_all(archive, {**members, name: others[name]})


def _packed(
    archive: zipfile.ZipFile, members: Members, name: str, others: Members
) -> None:
    _write_all(archive, members, compress_type=zipfile.ZIP_DEFLATED)


def _folder(
    archive: zipfile.ZipFile, members: Members, name: str, others: Members
) -> None:
    _write_all(archive, {f"model/{key}": data for key, data in members.items()})


ARCHIVES: dict[str, Callable[[zipfile.ZipFile, Members, str, Members], None]] = {
    write.__name__[1:]: write
    for write in (
        _escape,
        _only_escaping,
        _twice,
        _link,
        _bomb,
        _missing,
        _exchanged,
        _packed,
        _folder,
    )
}
