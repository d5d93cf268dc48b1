"""Images of a training as the command line names them, and what was found."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from kdfixmatch_keras.sources import (
    FolderSource,
    ImageSource,
    LabeledImages,
    SubsetSource,
    labeled_source,
    split_folder,
    unlabeled_source,
)
from kdfixmatch_keras.sources.class_numbers import are_integers
from kdfixmatch_keras.sources.copies import (
    find_copies,
    warn_of_contradictions,
    without,
    without_none_of_these,
)
from kdfixmatch_keras.sources.intensity import LATER
from kdfixmatch_keras.sources.labels import NONE_OF_THESE
from kdfixmatch_keras.sources.look_alikes import warn_of_look_alikes
from kdfixmatch_keras.training.data import TrainingData, check_apart, in_one_range

MAX_SKIPPED = 20


@dataclass(frozen=True)
class Images:
    """What `train` learns from and is measured on.

    Attributes:
        labeled: Labeled images.
        unlabeled: Unlabeled images.
        test: Labeled images that are only measured on, or None.
        paths: What the user typed, by option.
        copies: How many of the images for test were left out, as their content is that
            of labeled ones.
    """

    labeled: LabeledImages
    unlabeled: ImageSource
    test: LabeledImages | None
    paths: dict[str, str] = field(default_factory=dict)
    copies: int = 0

    def skipped(self) -> dict[str, str]:
        """Reason by path, for each file that was left out."""
        return {
            str(file): reason
            for source in self._sources()
            for file, reason in skipped_files(source).items()
        }

    def files_in_two_sets(self, first: str, second: str) -> list[Path]:
        """Files of one set that are also in another; sets are called as attributes."""
        sources = self._sources_by_set()
        if first not in sources or second not in sources:
            return []
        there = {file.resolve() for file in _files(sources[second])}
        return [file for file in _files(sources[first]) if file.resolve() in there]

    def _sources_by_set(self) -> dict[str, ImageSource]:
        sources = {"labeled": self.labeled.images, "unlabeled": self.unlabeled}
        if self.test is not None:
            sources["test"] = self.test.images
        return sources

    def _sources(self) -> list[ImageSource]:
        return list(self._sources_by_set().values())

    def as_data(self) -> TrainingData:
        """The images as classifiers pass them on, those for test to evaluate on."""
        return TrainingData(self.labeled, self.unlabeled, self.test)

    def facts(self) -> dict[str, Any]:
        """Counts, for people and for `run.json`."""
        names = self.labeled.class_names
        counts = np.bincount(self.labeled.labels, minlength=len(names))
        height, width, channels = self.labeled.images.image_shape
        sizes = [
            size
            for source in map(_whole, self._sources())
            if isinstance(source, FolderSource)
            for size in source.size_range
        ]
        return {
            "paths": self.paths,
            "labeled": len(self.labeled.images),
            "labeled_per_class": dict(zip(names, counts.tolist(), strict=True)),
            "unlabeled": len(self.unlabeled),
            "test": None if self.test is None else len(self.test.images),
            "none_of_these": _count(self.labeled),
            "test_none_of_these": 0 if self.test is None else _count(self.test),
            "copies": self.copies,
            "image_shape": [height, width, channels],
            "file_sizes": [min(sizes, key=math.prod), max(sizes, key=math.prod)]
            if sizes
            else None,
            "test_among_unlabeled": len(self.files_in_two_sets("test", "unlabeled")),
            "skipped": self.skipped(),
            "notes": {
                name: source.notes for name, source in self._sources_by_set().items()
            },
        }


def _count(labeled: LabeledImages) -> int:
    return 0 if labeled.none_of_these is None else len(labeled.none_of_these)


def skipped_files(source: ImageSource) -> dict[Path, str]:
    """Reason by path, for each file of a source that was left out."""
    source = _whole(source)
    return source.skipped if isinstance(source, FolderSource) else {}


def _whole(source: ImageSource) -> ImageSource:
    """The images of which copies were left out."""
    return source.source if isinstance(source, SubsetSource) else source


def _files(source: ImageSource) -> list[Path]:
    files = getattr(_whole(source), "files", [])
    if isinstance(source, SubsetSource):
        return [files[index] for index in source.indices] if files else []
    return list(files)


def open_images(params: Mapping[str, Any], size: tuple[int, int] | None) -> Images:
    """Opens all images that the options of `train` name, and looks for copies.

    Raises:
        ValueError: Something is not usable; the message names the option or the file.
    """
    found = open_sets(params, size)
    option = "--labeled" if params["labels"] is None else "--labels"
    warn_of_contradictions(found.labeled, option)
    if found.test is None:
        return found
    copies = find_copies(found.test, found.labeled, "--test")
    test = without(found.test, copies)
    warn_of_look_alikes(test, found.labeled, "--test")
    return replace(found, test=test, copies=len(copies))


def open_sets(params: Mapping[str, Any], size: tuple[int, int] | None) -> Images:
    """Opens all images that the options of `train` name, as they are.

    Raises:
        ValueError: Something is not usable; the message names the option or the file.
    """
    labeled, labels = params["labeled"], params["labels"]
    if (labeled is None) == (labels is None):
        raise ValueError(
            "`--labeled` or `--labels` must be given, and not both. Received: "
            + ("neither" if labeled is None else "both")
        )
    inputs = {f"--{name}": params[name] for name in ("unlabeled", "test")}
    check_apart("--labeled", labeled, **inputs)
    on_error = params["on_error"]
    unlabeled: ImageSource
    if labels is not None:
        labeled_images, unlabeled = split_folder(
            params["unlabeled"],
            labels,
            size,
            on_error=on_error,
            allow_single=params["allow_single"],
            folder_argument="--unlabeled",
            file_argument="--labels",
        )
    else:
        labeled_images = labeled_source(
            labeled,
            size,
            on_error=on_error,
            intensity_range=LATER,
            argument="--labeled",
        )
        unlabeled = unlabeled_source(
            params["unlabeled"],
            size,
            labeled_images.images.image_shape[-1],
            on_error=on_error,
            intensity_range=LATER,
            argument="--unlabeled",
        )
    test = None
    if params["test"] is not None:
        test = labeled_source(
            params["test"],
            size,
            labeled_images.images.image_shape[-1],
            labeled_images.class_names,
            on_error=on_error,
            intensity_range=LATER,
            argument="--test",
        )
    _check_one_size(labeled_images, "--unlabeled", unlabeled)
    if test is not None:
        _check_one_size(labeled_images, "--test", test.images)
    paths = {
        option: str(Path(params[option]))
        for option in ("labeled", "labels", "unlabeled", "test")
        if params[option] is not None
    }
    data = in_one_range(
        TrainingData(labeled_images, unlabeled, test),
        ("--labeled" if labels is None else "--labels", "--unlabeled", "--test"),
    )
    labeled_images, test = data.labeled, data.validation
    unlabeled = without_none_of_these(data.unlabeled, labeled_images, "--unlabeled")
    return Images(labeled_images, unlabeled, test, paths)


def _check_one_size(labeled: LabeledImages, option: str, source: ImageSource) -> None:
    size, found = labeled.images.image_shape[:2], source.image_shape[:2]
    if found != size:
        raise ValueError(
            f"`{option}` must have images of the size of the labeled ones, "
            f"{size[0]} x {size[1]}. Received: {found[0]} x {found[1]}. Pass "
            "--image-size to resize all images to one size."
        )


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Reads `--image-size`.

    Raises:
        ValueError: It is neither a number nor two.
    """
    if text is None:
        return None
    sides = text.lower().split("x")
    if not 1 <= len(sides) <= 2 or not all(s.isdecimal() and int(s) for s in sides):
        raise ValueError(
            "`--image-size` must be a number of pixels, as 96, or height x width, as "
            f"96x128. Received: {text}"
        )
    return int(sides[0]), int(sides[-1])


def _resized(facts: Mapping[str, Any]) -> str:
    """What the files were before, if they are resized."""
    if not facts["file_sizes"]:
        return ""
    smallest, largest = (tuple(size) for size in facts["file_sizes"])
    if smallest == largest == tuple(facts["image_shape"][:2]):
        return ""
    found = f"{smallest[0]} x {smallest[1]}"
    if largest != smallest:
        found += f" to {largest[0]} x {largest[1]}"
    return f" (resized from {found})"


def _order(class_names: Iterable[str]) -> str:
    """In which order classes are numbered, if it is another than that of text."""
    names = list(class_names)
    is_other = names != sorted(names) and are_integers(names)
    return ", in the order of integers" if is_other else ""


def describe(facts: Mapping[str, Any]) -> list[str]:
    """Lines that say what was found."""
    height, width, channels = facts["image_shape"]
    per_class = facts["labeled_per_class"]
    test = "no test images" if facts["test"] is None else f"{facts['test']:,} for test"
    kind = "gray" if channels == 1 else "RGB"
    lines = [
        f"Images: {facts['labeled']:,} labeled, {facts['unlabeled']:,} unlabeled, "
        f"{test}; {height} x {width} pixels, {kind}{_resized(facts)}",
        f"Labels of {len(per_class)} classes{_order(per_class)}: "
        + ", ".join(f"{name} {count}" for name, count in per_class.items()),
    ]
    none = {"labeled": "none_of_these", "for test": "test_none_of_these"}
    for name, key in none.items():
        # Of a run from before there were any, nothing is said.
        if facts.get(key):
            lines.append(
                f"Left out of those {name}, as {NONE_OF_THESE} is no class: "
                f"{facts[key]:,}"
            )
    if facts["copies"]:
        lines.append(
            f"Left out of the test, as their content is that of labeled images: "
            f"{facts['copies']:,}"
        )
    if facts["test_among_unlabeled"]:
        lines.append(
            f"{facts['test_among_unlabeled']:,} of the test images are also among the "
            "unlabeled; the networks will have seen them, without their labels"
        )
    for name, notes in facts["notes"].items():
        lines += [f"{name.capitalize()}: {note}" for note in notes]
    skipped = facts["skipped"]
    if skipped:
        lines.append(f"Left out, as they cannot be read: {len(skipped):,}")
        named = list(skipped.items())[:MAX_SKIPPED]
        lines += [f"  {file} ({reason})" for file, reason in named]
        if len(skipped) > MAX_SKIPPED:
            lines.append(f"  and {len(skipped) - MAX_SKIPPED:,} more")
    return lines
