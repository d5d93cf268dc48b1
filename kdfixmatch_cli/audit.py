"""`kdfixmatch audit`: what is wrong with the images of a training, before it."""

import csv
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from kdfixmatch_cli.console import new_console
from kdfixmatch_cli.errors import say
from kdfixmatch_cli.images import Images, describe, open_sets, parse_size
from kdfixmatch_cli.machine import pretrained_backbone
from kdfixmatch_cli.output import check_file
from kdfixmatch_keras.audit import KINDS, Finding, audit
from kdfixmatch_keras.baselines import LinearProbe, frozen_features
from kdfixmatch_keras.checks.paths import check_table
from kdfixmatch_keras.sources import ImageSource
from kdfixmatch_keras.storage.files import written_aside

COLUMNS = ["code", "finding", "set", "file", "label", "text"]
COLUMNS += ["other_set", "other_file", "other_label", "neighbors"]
# In pixels of the shorter side, in which the network sees images.
SIZE = 96


def run(params: Mapping[str, Any]) -> None:
    """Looks for what is wrong, writes a row for each, and says how many there are."""
    console = new_console(params["quiet"])
    size = parse_size(params["image_size"])
    check_table("--output", params["output"])
    check_file(params["output"], [",".join(COLUMNS)])
    backbone = pretrained_backbone(params)
    images = open_sets(params, size)
    for line in describe(images.facts()):
        console.print(line, markup=False)
    probe = LinearProbe(backbone, weights=params["weights"])
    features = frozen_features.of_images(probe, images.labeled.images, SIZE)
    found = audit(*(images.labeled, images.unlabeled, images.test), features)
    _write(params["output"], found, images)
    _print(found, images, console)
    console.print(f"Wrote {params['output']}: {len(found):,} findings", markup=False)
    if found:
        say("Nothing was changed: look at the images, and decide.")


def _write(output: Any, found: list[Finding], images: Images) -> None:
    names = _Names(images)
    with (
        written_aside(output) as aside,
        open(aside, "w", newline="", encoding="utf-8") as opened,
    ):
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(COLUMNS)
        for finding in found:
            own = (finding.set, finding.row)
            other = finding.other or ("", -1)
            near = [names.file("labeled", row) for row in finding.neighbors]
            writer.writerow(
                [finding.code, KINDS[finding.code], finding.set, names.file(*own)]
                + [names.label(*own), finding.text]
                + [other[0], names.file(*other), names.label(*other), "; ".join(near)]
            )


class _Names:
    """What users call the images of the sets, and their labels."""

    def __init__(self, images: Images) -> None:
        self._sources: dict[str, ImageSource] = {
            "labeled": images.labeled.images,
            "unlabeled": images.unlabeled,
        }
        self._labeled = {"labeled": images.labeled}
        if images.test is not None:
            self._sources["test"] = images.test.images
            self._labeled["test"] = images.test

    def file(self, name: str, row: int) -> str:
        """The name of an image, "" of none."""
        if not name:
            return ""
        names = self._sources[name].names
        return str(row) if names is None else names[row]

    def label(self, name: str, row: int) -> str:
        """The label of an image, "" of one that has none."""
        if name not in self._labeled:
            return ""
        labeled = self._labeled[name]
        return str(labeled.class_names[labeled.labels[row]])


def _print(found: list[Finding], images: Images, console: Any) -> None:
    """Counts by kind and set, those that found nothing too."""
    table = Table("code", "finding", "images", "such as", title_justify="left")
    names = _Names(images)
    for code, kind in KINDS.items():
        these = [finding for finding in found if finding.code == code]
        counts = Counter(
            finding.set
            if finding.other is None
            else f"{finding.set} of {finding.other[0]}"
            for finding in these
        )
        said = ", ".join(f"{count:,} {where}" for where, count in counts.items())
        example = names.file(these[0].set, these[0].row) if these else ""
        table.add_row(code, kind, said or "none", example)
    console.print(table)
