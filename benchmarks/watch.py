"""Whether a cheap cell of published results comes out as it was published."""

import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

Cell = dict[str, Any]
LABELS, METHOD, FIRST_SEED, SEEDS = 20, "supervised", 5, 3
# In which two machines must agree to promise the same bits.
_SAME = ("processor", "python", "keras", "tensorflow", "numpy")


def watch(
    content: dict[str, Any], train: Callable[[dict[str, Any], int], Iterator[Cell]]
) -> int:
    """Trains a cell of three seeds of a `results.json` anew, and compares.

    Returns:
        0 if it holds, else 1, as an exit status.
    """
    key = {"labels": LABELS, "method": METHOD}
    published = [cell for cell in content["cells"] if key.items() <= cell.items()]
    chosen = [cell for cell in published if cell["seed"] >= FIRST_SEED][:SEEDS]
    if len(chosen) < SEEDS or content["settings"]["from_folder"]:
        print(f"There are no {SEEDS} seeds of {METHOD} with {LABELS} labels to watch.")
        return 1

    def again(old: Cell) -> Cell:
        group = {"settings": content["settings"], "data_dir": None, "methods": [METHOD]}
        group |= {"labels": LABELS, "seed": old["seed"]}
        (new,) = train(group, max(1, old["machine"]["cores"] // old["workers"]))
        print(f"seed {old['seed']}: {new['accuracy']:.4f}, was {old['accuracy']:.4f}")
        return new

    print(f"{METHOD}, {LABELS} labels", flush=True)
    with ThreadPoolExecutor(SEEDS) as pool:
        found = list(pool.map(again, chosen))
    pairs = list(zip(chosen, found, strict=True))
    before, after = ([cell["accuracy"] for cell in cells] for cells in (chosen, found))
    if all(_same_machine(old["machine"], new["machine"]) for old, new in pairs):
        holds = before == after
        rule = "The same processor and versions, so the same bits"
    else:
        spread = np.std([cell["accuracy"] for cell in published], ddof=1)
        error = spread * (2 / SEEDS) ** 0.5
        holds = bool(abs(np.mean(after) - np.mean(before)) <= 2 * error)
        rule = (
            f"Another processor or other versions: mean {np.mean(after):.4f}, was "
            f"{np.mean(before):.4f}, apart by at most two standard errors of "
            f"{error:.4f}"
        )
    print(f"{rule}: {'holds' if holds else 'DOES NOT HOLD'}")
    return int(not holds)


def _same_machine(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether two machines promise the same bits, as far as they are known."""
    # Where no model is told, that of the architecture stands for it.
    is_known = old["processor"] != platform.machine()
    return is_known and all(old.get(name) == new.get(name) for name in _SAME)
