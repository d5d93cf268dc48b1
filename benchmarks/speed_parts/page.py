"""The Markdown page of the speed benchmark, built from its JSON."""

from collections.abc import Callable
from typing import Any

from speed_parts import stage_tables, step_tables

PARTS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "step": ("Step efficiency", step_tables.step),
    "augmentation": ("Augmentation", step_tables.augmentation),
    "trusted": ("Trusted set", stage_tables.trusted),
    "whole": ("Whole job", stage_tables.whole),
    "reading": ("Reading and prediction", stage_tables.reading),
    "startup": ("Start-up", stage_tables.startup),
    "profile": ("Where the time of a step goes", step_tables.profile),
    "trials": ("What was tried", step_tables.trials),
}

_INTRODUCTION = """\
# Speed

Every figure is a ratio of two times that were taken side by side in one process,
repeat by repeat: the median of these ratios, with the smallest and the largest in
parentheses. Seconds, milliseconds and images per second are medians of their own.
Compilation is left out where a line does not say otherwise. Each part has the command
that measures it again; its repeats are in [speed.json](speed.json)."""

_QUICK = """\
A quick look: bars are those of the full measurement, and what does not depend on the
size of a batch weighs more in small ones."""


def page(content: dict[str, Any], notes: str = "") -> str:
    """The page of all parts that have been measured.

    Args:
        content: What `speed.json` holds.
        notes: Text with a heading `## part` before what is said of each part.
    """
    said = _sections(notes)
    blocks = [_INTRODUCTION]
    for part, (title, build) in PARTS.items():
        measured = content["parts"].get(part)
        if measured is None:
            continue
        lines = [f"## {title}", "", build(measured["results"]), ""]
        if "--quick" in measured["command"] and "batch_size" in measured["results"][0]:
            lines += [_QUICK, ""]
        if said.get(part):
            lines += [said[part], ""]
        lines += ["```sh", measured["command"], "```", "", _made_by(measured)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _sections(notes: str) -> dict[str, str]:
    """The text below each heading."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in notes.splitlines():
        if line.startswith("## "):
            lines = found.setdefault(line.removeprefix("## ").strip(), [])
        else:
            lines.append(line)
    return {part: "\n".join(text).strip() for part, text in found.items()}


def _made_by(measured: dict[str, Any]) -> str:
    facts = measured["machine"] or {}
    versions = ", ".join(
        f"{name} {facts[key]}"
        for name, key in (
            ("Python", "python"),
            ("Keras", "keras"),
            ("TensorFlow", "tensorflow"),
            ("NumPy", "numpy"),
            ("scikit-learn", "scikit-learn"),
            ("Pillow", "pillow"),
        )
        if key in facts
    )
    devices = ", ".join(facts.get("accelerators") or []) or "no GPU"
    return (
        f"Commit {measured['commit']}; {facts.get('cores')} cores of "
        f"{facts.get('processor')}, {facts.get('memory_gib')} GiB, {devices}; "
        f"{versions}. Took {measured['seconds']:.0f} s."
    )
