"""The images that `kdfixmatch suggest` chooses from, and those that it must not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdfixmatch_keras.report.run_folder import RunFolder
from kdfixmatch_keras.sources import FolderSource, unlabeled_source
from kdfixmatch_keras.sources.image_files import check_folder, search_folder
from kdfixmatch_keras.sources.intensity import LATER, IntensityRange
from kdfixmatch_keras.sources.labels import NONE_OF_THESE, is_none_of_these
from kdfixmatch_keras.sources.labels_file import read_labels_file
from kdfixmatch_keras.sources.one_range import in_one_range

# What the folder of a training that is no run begins with.
IDENTITY = "identity.json"
OPTIONS = ("unlabeled", "labels", "labeled", "test")


@dataclass(frozen=True)
class Given:
    """Where images and labels are.

    Attributes:
        unlabeled: Folder of the images to choose from.
        labels: CSV file of labels, or None.
        labeled: Folder with a sub-folder of labeled images for each class, or None.
        test: Folder of images for test, or None.
    """

    unlabeled: Path
    labels: Path | None = None
    labeled: Path | None = None
    test: Path | None = None


@dataclass(frozen=True)
class SuggestImages:
    """Images to choose from, and what is known of them.

    Attributes:
        pool: All N images of the folder, labeled ones among them.
        outside: Labeled images that are not in it, or None.
        test: Images for test, or None.
        labels: Label of each labeled image by its row, that of the pool and, from N on,
            of `outside`.
        test_rows: Rows of the pool whose files are those for test.
    """

    pool: FolderSource
    outside: FolderSource | None
    test: FolderSource | None
    labels: dict[int, str]
    test_rows: NDArray[np.int64]

    def sources(self) -> list[FolderSource]:
        """All images that are read."""
        return [s for s in (self.pool, self.outside, self.test) if s is not None]

    @property
    def available(self) -> int:
        """How many images of the pool could be suggested, as far as files tell."""
        known = {row for row in self.labels if row < len(self.pool)}
        return len(self.pool) - len(known.union(self.test_rows.tolist()))

    @property
    def classes(self) -> dict[int, str]:
        """The labels that name a class, by row."""
        return {r: name for r, name in self.labels.items() if name != NONE_OF_THESE}


def given_to(params: Mapping[str, Any]) -> Given:
    """What the options say, and where they say nothing, the run.

    Raises:
        ValueError: There is no folder to choose from.
    """
    paths = {name: params[name] for name in OPTIONS}
    if params["run"] is not None:
        trained_on = _paths_of_run(params["run"])
        paths |= {n: trained_on.get(n) for n, path in paths.items() if path is None}
    if paths["unlabeled"] is None:
        found = "neither it nor a RUN"
        if params["run"] is not None:
            found = f"{params['run']}, a run on images that lie in no folder"
        raise ValueError(
            f"`--unlabeled` must be the folder of images to choose from. Received: "
            f"{found}"
        )
    return Given(**paths)


def _paths_of_run(run: Path) -> dict[str, Path]:
    """The folders and files that a run was trained on, by option.

    Raises:
        ValueError: There is no finished run.
    """
    if (run / IDENTITY).exists():
        raise ValueError(
            f"`RUN` must be a folder that `train` wrote. Received: {run}, the state "
            "of a training in Python, perhaps of another method, which holds no model. "
            "There, pass features and `model.predict(images)` to "
            "kdfixmatch_keras.suggestion"
        )
    return RunFolder.open(run).paths()


def open_images(
    given: Given,
    shape: tuple[int, int, int | None],
    on_error: str,
    intensity_range: IntensityRange | str | None = LATER,
) -> SuggestImages:
    """Opens images, reading little more than their headers, and their labels.

    Args:
        given: Where they are.
        shape: `(H, W, C)` to bring them to; C None for their own.
        on_error: `"raise"`, or `"skip"` to leave out images that cannot be read.
        intensity_range: That of a model, of 16-bit images.

    Raises:
        ValueError: Something is not usable; the message names the option or the file.
    """
    folder = check_folder(given.unlabeled, "--unlabeled")
    label_of = _labels(given, folder)
    reading: dict[str, Any] = {
        "image_size": shape[:2],
        "on_error": on_error,
        "read_once": True,
        "intensity_range": intensity_range,
    }

    def opened(what: Path | list[Path], argument: str, channels: int | None) -> Any:
        return unlabeled_source(what, channels=channels, argument=argument, **reading)

    sources = {"--unlabeled": opened(folder, "--unlabeled", shape[2])}
    pool = sources["--unlabeled"]
    channels = pool.image_shape[-1]
    row_of = {file.resolve(): row for row, file in enumerate(pool.files)}
    elsewhere = [file for file in label_of if file not in row_of]
    if elsewhere:
        sources["outside"] = opened(elsewhere, "--labels", channels)
    test_rows: list[int] = []
    if given.test is not None:
        sources["--test"] = opened(given.test, "--test", channels)
        found = (file.resolve() for file in sources["--test"].files)
        test_rows = [row_of[file] for file in found if file in row_of]
    if intensity_range == LATER:
        sources = dict(zip(sources, in_one_range(sources), strict=True))
    labels = {row_of[file]: label_of[file] for file in label_of if file in row_of}
    outside = sources.get("outside")
    for row, file in enumerate([] if outside is None else outside.files, len(pool)):
        labels[row] = label_of[file]
    return SuggestImages(
        sources["--unlabeled"],
        outside,
        sources.get("--test"),
        labels,
        np.array(test_rows, np.int64),
    )


def _labels(given: Given, folder: Path) -> dict[Path, str]:
    """The label of each labeled image, by its resolved path."""
    found: dict[Path, str] = {}
    if given.labeled is not None:
        root = check_folder(given.labeled, "--labeled")
        for file in search_folder(root).files:
            name, *rest = file.relative_to(root).parts
            if not rest:
                raise ValueError(
                    "`--labeled` must hold its images in one sub-folder per class. "
                    f"Received: {file.name} in {root}. Move it into that of its class."
                )
            is_none = is_none_of_these(name)
            found[file.resolve()] = NONE_OF_THESE if is_none else name
    if given.labels is not None:
        files, labels = read_labels_file(given.labels, folder, "--labels")
        resolved = (file.resolve() for file in files)
        found |= dict(zip(resolved, labels, strict=True))
    return found
