"""What a training needs to go on where it was stopped, as if it had not been.

A folder holds what identifies the training, and after each epoch the state of the
network that is being trained: its weights and those of its teacher, what its thresholds
remember, the seeds of all random layers, the optimizer, and the history. A batch is a
function of seed, epoch and step, so nothing else has to be known.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras.backend import processes
from kdfixmatch_keras.checks.memory import is_out_of_memory
from kdfixmatch_keras.storage.files import (
    UNFINISHED,
    check_writable,
    held,
    remove_remains,
    writing,
    written_aside,
)
from kdfixmatch_keras.storage.integrity import DAMAGED, check_archive, sealed, unsealed
from kdfixmatch_keras.trusted.trusted_set import TrustedSet

# Epochs that are done, their history by metric, and whether that was all.
Progress = tuple[int, dict[str, list[float]], bool]
NOT_STARTED: Progress = (0, {}, False)

# What helps after an error of disk or memory.
_KEEPS = (
    "All checkpoints that were written are intact: called again with the same "
    "`run_dir`, `fit` goes on from the last."
)

_FORMAT = 3
_TRUSTED_SET, _TRUSTED_SET_OF = "trusted.npz", "trusted.sha256"
_KEPT = 2


class RunState:
    """The checkpoints of one training in a folder; see `opened`.

    Args:
        folder: The folder.
        seed: Seed of the training.
        is_new: Whether nothing has been trained yet.
        training: Digest of what identifies the training.
        writes: Whether this process keeps what several processes train together.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        is_new: bool,
        training: str = "",
        writes: bool = True,
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.is_new = is_new
        self.training = training
        self.writes = writes

    def restore(self, network: Any) -> Progress:
        """Brings a compiled network to where its training was stopped.

        The newest checkpoint that can be read is taken.

        Args:
            network: `FixMatch` as it is before its training, optimizer built.

        Returns:
            How many epochs are done, their history, and whether that was all.

        Raises:
            OSError: A checkpoint cannot be read, which says nothing of what is in it.
            ValueError: A checkpoint is of a network with other variables.

        Warns:
            UserWarning: A checkpoint is damaged.
        """
        for path in reversed(self._checkpoints(network.name)):
            try:
                with _opened_archive(path) as archive:
                    facts = json.loads(archive["facts"].tobytes())
                    arrays = [
                        archive[f"variable_{number}"]
                        for number in range(facts["variables"])
                    ]
                self._check_origin(facts, network)
            except DAMAGED as error:
                _raise_if_unreadable(error, path)
                # Not in the way of those to come, and there for who wants to look.
                if self.writes:
                    path.rename(path.with_suffix(".damaged"))
                rest = self._checkpoints(network.name)
                where = "from the one before" if rest else "from the beginning"
                warnings.warn(
                    f"The checkpoint {path} is damaged ({error}); the training goes on "
                    f"{where}, and ends the same.",
                    stacklevel=2,
                )
                continue
            _check_shapes(arrays, _variables(network), path)
            for variable, array in zip(_variables(network), arrays, strict=True):
                variable.assign(array)
            return facts["epochs"], facts["history"], facts["finished"]
        return NOT_STARTED

    def callback(
        self, network: Any, epochs: int, history: dict[str, list[float]]
    ) -> keras.callbacks.Callback:
        """A callback that keeps the state of a network after each epoch.

        Args:
            network: The network that is trained.
            epochs: Epochs of its training.
            history: Of the epochs that are done.
        """
        return _Checkpoints(self, network, epochs, history)

    def save(
        self, network: Any, epochs: int, history: Mapping[str, Any], finished: bool
    ) -> None:
        """Writes a checkpoint, and forgets all but the last two of the network.

        Raises:
            OSError: The disk does not take it. The one before is as it was.
        """
        if not self.writes:
            return
        facts = {
            "epochs": epochs,
            "history": history,
            "finished": finished,
            "network": network.name,
            "training": self.training,
        }
        _write(self.folder / f"{network.name}-{epochs:06}.npz", network, facts)
        for old in self._checkpoints(network.name)[:-_KEPT]:
            old.unlink()

    def save_diverged(self, network: Any, facts: dict[str, Any]) -> Path:
        """Writes the state of a network that has diverged, for people to look at.

        It is an `.npz` file with the arrays of a checkpoint and, as JSON in `facts`,
        what happened and the path of each variable. No training goes on from it.

        Returns:
            The file.
        """
        path = self.folder / f"{network.name}-diverged.npz"
        if not self.writes:
            return path
        paths = [variable.path for variable in _variables(network)]
        _write(path, network, {**facts, "paths": paths})
        return path

    def load_arrays(self, name: str) -> dict[str, np.ndarray] | None:
        """What `save_arrays` has kept under a name, or None if there is nothing.

        Raises:
            OSError: It cannot be read, which says nothing of what is in it.

        Warns:
            UserWarning: It is damaged.
        """
        path = self.folder / f"{name}.npz"
        try:
            with _opened_archive(path) as archive:
                arrays = {key: archive[key] for key in archive.files}
            facts = json.loads(arrays.pop("facts").tobytes())
            if facts != {"name": name, "training": self.training}:
                raise ValueError(f"{path} is not what this training has kept.")
            return arrays
        except FileNotFoundError:
            return None
        except DAMAGED as error:
            _raise_if_unreadable(error, path)
            warnings.warn(
                f"{path} is damaged ({error}); what it held is computed again.",
                stacklevel=2,
            )
            return None

    def save_arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Keeps arrays under a name.

        Raises:
            OSError: The disk does not take them.
        """
        if not self.writes:
            return
        facts = json.dumps({"name": name, "training": self.training})
        with (
            written_aside(self.folder / f"{name}.npz") as aside,
            open(aside, "wb") as file,
        ):
            np.savez(file, facts=np.frombuffer(facts.encode(), np.uint8), **arrays)

    def load_trusted_set(self) -> TrustedSet | None:
        """The trusted set that was selected, or None if there is none yet."""
        path = self.folder / _TRUSTED_SET
        try:
            # Without what says of which training it is, a set of the same size would be
            # taken for that of this one.
            said = (self.folder / _TRUSTED_SET_OF).read_text(encoding="utf-8")
            if said != self._trusted_set_of():
                raise ValueError(f"{path} is not what this training has kept.")
            return TrustedSet.load(path)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            _raise_if_unreadable(error, path)
            warnings.warn(f"The trusted set is selected again. {error}", stacklevel=2)
            return None

    def save_trusted_set(self, trusted_set: TrustedSet) -> None:
        """Keeps the trusted set.

        Raises:
            OSError: The disk does not take it.
        """
        if not self.writes:
            return
        trusted_set.save(self.folder / _TRUSTED_SET)
        with written_aside(self.folder / _TRUSTED_SET_OF) as aside:
            aside.write_text(self._trusted_set_of(), encoding="utf-8")

    def _trusted_set_of(self) -> str:
        content = (self.folder / _TRUSTED_SET).read_bytes()
        return hashlib.sha256(content + self.training.encode()).hexdigest()

    def _check_origin(self, facts: dict[str, Any], network: Any) -> None:
        if facts["network"] != network.name:
            raise ValueError("it is of another network")
        if facts["training"] != self.training:
            raise ValueError("it is of another training")

    def _checkpoints(self, name: str) -> list[Path]:
        return sorted(self.folder.glob(f"{name}-[0-9]*.npz"))


@contextlib.contextmanager
def opened(
    folder: Any,
    identity: Mapping[str, Any],
    seed: int | None,
    argument: str = "run_dir",
) -> Iterator[RunState]:
    """Opens the state of a training, new or stopped; no other process may have it open.

    Args:
        folder: New, empty, or the folder of the same training.
        identity: What makes it the same: a dictionary of what JSON knows.
        seed: Seed of the training; None to draw one and keep it.
        argument: Name that error messages give to `folder`.

    Yields:
        The state. An error of disk or memory under it gets a note that all goes on.

    Raises:
        ValueError: The folder is that of another training, or holds something else.
        RuntimeError: Another process has it open.
        OSError: Nothing can be written there.
    """
    folder = Path(folder)
    known = folder / "identity.json"
    if folder.exists() and not known.is_file():
        _check_empty(folder, argument)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        # Now rather than after an epoch.
        check_writable(folder)
        remove_remains(folder)
        is_new = not known.is_file()
        if not is_new:
            found = _read_identity(known, argument)
            given = {} if seed is None else {"seed": seed}
            there = found["identity"] | {name: found[name] for name in given}
            _compare(there, {**identity, **given}, folder, argument)
            seed = found["seed"]
        else:
            seed = secrets.randbelow(2**31) if seed is None else seed
            found = {"format": _FORMAT, "seed": seed, "identity": identity}
        content = sealed(found, known.name)
        if is_new:
            with written_aside(known) as aside:
                aside.write_text(json.dumps(content, indent=1), encoding="utf-8")
        training = content["sha256"]
        try:
            yield RunState(folder, int(seed or 0), is_new, training)
        except Exception as error:
            if isinstance(error, OSError) or is_out_of_memory(error):
                error.add_note(_KEEPS)
            raise


@contextlib.contextmanager
def opened_together(
    folder: Any,
    identity: Mapping[str, Any],
    seed: int | None,
    argument: str = "run_dir",
) -> Iterator[RunState]:
    """As `opened`, for all processes of a training: the first opens it and writes.

    Raises:
        RuntimeError: The first process could not open it; it raises why.
    """
    if processes.is_first():
        with contextlib.ExitStack() as stack:
            try:
                state = stack.enter_context(opened(folder, identity, seed, argument))
            # Whatever it is: the others would wait.
            except BaseException:
                processes.of_first([False, 0, 0])
                raise
            processes.of_first([True, state.seed, state.is_new])
            yield state
        return
    is_open, seed, is_new = processes.of_first([False, 0, 0])
    if not is_open:
        raise RuntimeError(
            f"The first process of this training could not open `{argument}`: "
            "its error says why."
        )
    known = Path(folder) / "identity.json"
    found = _read_identity(known, argument)
    _compare(found["identity"], dict(identity), known.parent, argument)
    training = sealed(found, known.name)["sha256"]
    yield RunState(known.parent, seed, bool(is_new), training, writes=False)


def kept_identity(folder: Any, argument: str = "run_dir") -> dict[str, Any] | None:
    """What makes the training that a folder keeps the same; None if there is none.

    Raises:
        ValueError: It is of another version, or damaged.
    """
    known = Path(folder) / "identity.json"
    if not known.is_file():
        return None
    identity: dict[str, Any] = _read_identity(known, argument)["identity"]
    return identity


def _check_empty(folder: Path, argument: str) -> None:
    # What a kill left of the first file that is written is nothing to lose.
    if not folder.is_dir() or any(
        not entry.name.startswith(UNFINISHED) for entry in folder.iterdir()
    ):
        raise ValueError(
            f"`{argument}` must be a new or an empty folder, or that of a training to "
            f"go on with. Received: {argument}={str(folder)!r}, which holds something "
            "else"
        )


def _read_identity(path: Path, argument: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != _FORMAT:
            raise ValueError(f"format {found['format']}, not {_FORMAT}")
        found = unsealed(found, path.name)
        found["identity"].items()
        int(found["seed"])
    except (*DAMAGED, AttributeError) as error:
        raise ValueError(
            f"`{argument}` must be the folder of a training that this version can go "
            f"on with. Received: {path}, which it cannot read ({error})"
        ) from error
    return found


def _compare(
    there: dict[str, Any], here: dict[str, Any], folder: Path, argument: str
) -> None:
    """Refuses another training, and says in what it differs."""
    # As JSON returns it: tuples are lists.
    here = json.loads(json.dumps(here))
    differing = []
    for name in sorted({*there, *here}):
        old, new = there.get(name), here.get(name)
        if old == new:
            continue
        # Hashes say nothing to a reader.
        short = max(len(str(old)), len(str(new))) < 40
        differing.append(f"{name} ({old!r} there, {new!r} here)" if short else name)
    if differing:
        raise ValueError(
            f"`{argument}` must be the folder of the same training. Received: "
            f"{argument}={str(folder)!r}, of a training with other "
            f"{', '.join(differing)}. Choose another folder, or start over."
        )


def _raise_if_unreadable(error: Exception, path: Path) -> None:
    """Raises an error of the disk: it may be gone the next time, with nothing lost."""
    # To go to a place before its beginning is what a damaged archive asks for.
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        raise OSError(
            error.errno,
            f"Cannot read {error.filename or path}: {os.strerror(error.errno)}. "
            "Nothing is lost; start again when it can be read.",
        ) from error


def _check_shapes(arrays: list[np.ndarray], variables: list[Any], path: Path) -> None:
    found = [tuple(array.shape) for array in arrays]
    wanted = [tuple(variable.shape) for variable in variables]
    if found != wanted:
        raise ValueError(
            "`run_dir` must hold checkpoints of the same network. Received: "
            f"{path}, with {len(found)} variables in place of {len(wanted)}, or of "
            "other shapes. Another version of Keras or of this package may have "
            "written it: go on with that one, choose another folder, or start over."
        )


def _variables(network: Any) -> list[Any]:
    # Of KerasCV, whose generators Keras does not know of.
    random_state = getattr(network.strong_augmentation, "random_state", [])
    return [*network.variables, *random_state, *network.optimizer.variables]


def _write(path: Path, network: Any, facts: dict[str, Any]) -> None:
    variables = _variables(network)
    facts = {**facts, "variables": len(variables)}
    arrays = {
        f"variable_{number}": keras.ops.convert_to_numpy(variable)
        for number, variable in enumerate(variables)
    }
    with written_aside(path) as aside, open(aside, "wb") as file:
        np.savez(
            file, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays
        )


@contextlib.contextmanager
def _opened_archive(path: Path) -> Iterator[Any]:
    with open(path, "rb") as file:
        check_archive(file)
        with np.load(file) as archive:
            yield archive


class _Checkpoints(keras.callbacks.Callback):
    """Keeps the state of a network; must come last, as others may change it."""

    def __init__(
        self,
        state: RunState,
        network: Any,
        epochs: int,
        history: dict[str, list[float]],
    ) -> None:
        super().__init__()
        self.state = state
        self.network = network
        self.epochs = epochs
        self.history = {name: list(values) for name, values in history.items()}
        self.done = max(map(len, self.history.values()), default=0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        self.done = epoch + 1
        # After the last epoch, the end of the training writes it.
        if self.done < self.epochs:
            self.state.save(self.network, self.done, self.history, finished=False)

    def on_train_end(self, logs: Any = None) -> None:
        self.state.save(self.network, self.done, self.history, finished=True)
