"""What a network sees in the images that `kdfixmatch suggest` chooses from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from kdfixmatch_cli.errors import say
from kdfixmatch_cli.machine import pretrained_backbone
from kdfixmatch_cli.suggest_images import Given, SuggestImages, open_images
from kdfixmatch_keras import FixMatch, KDFixMatch
from kdfixmatch_keras.backbones.build import backbone_of
from kdfixmatch_keras.backend import devices
from kdfixmatch_keras.baselines import (
    LinearProbe,
    frozen_features,
    logistic_regression,
)
from kdfixmatch_keras.report.run_folder import RunFolder
from kdfixmatch_keras.serving import prediction
from kdfixmatch_keras.sources import ArraySource, ImageSource
from kdfixmatch_keras.sources.class_numbers import numbered
from kdfixmatch_keras.sources.image_source import in_parts
from kdfixmatch_keras.sources.labels import NONE_OF_THESE
from kdfixmatch_keras.sources.look_alikes import CopiesOf
from kdfixmatch_keras.sources.pixels import Images

# In pixels, in which a pretrained network sees images.
SIZE = 96
# Images that are read at once.
CHUNK = 1024

# What a network makes of images: features, and class probabilities if it knows any.
Sight = Callable[[Images], tuple[NDArray[np.float32], NDArray[np.float32] | None]]


@dataclass(frozen=True)
class Seen:
    """What is known of N images of the folder, and behind them of others with a label.

    Attributes:
        features: float32 `(N + M, D)`.
        probabilities: float32 `(N + M, K)`, or None where no classifier is there yet.
        class_names: The K classes' names.
        excluded: Rows of images that are never suggested.
        opinions: Other guesses by who has them, int `(N + M,)`, -1 for none.
    """

    features: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None
    class_names: list[str]
    excluded: NDArray[np.int64]
    opinions: Mapping[str, NDArray[np.int64]]


def seen_by_backbone(
    params: Mapping[str, Any], given: Given, console: Console
) -> tuple[SuggestImages, Seen]:
    """Images as a pretrained network sees them, and guesses from the labels so far."""
    backbone = pretrained_backbone(params)
    images = open_images(given, (SIZE, SIZE, None), params["on_error"])
    _introduce(images, params, console)
    class_names = numbered(set(images.classes.values()), "--labels")
    if params["strategy"] == "doubtful" and len(class_names) < 2:
        raise ValueError(
            "`--strategy` must be typical, mixed or random before images of two "
            f"classes are labeled. Received: --strategy doubtful, and "
            f"{len(class_names)} classes in --labels"
        )
    sight = _sight_of_backbone(backbone, params["weights"], images.pool.image_shape)
    features, _, excluded = _look(images, sight, console)
    probabilities = None
    if len(class_names) > 1:
        rows = np.array(list(images.classes), np.int64)
        labels = [class_names.index(name) for name in images.classes.values()]
        probabilities = logistic_regression.guess(
            features, rows, np.array(labels, np.int32)
        )
    return images, Seen(features, probabilities, class_names, excluded, {})


def _sight_of_backbone(
    backbone: str, weights: Any, shape: tuple[int, int, int]
) -> Sight:
    classifier = LinearProbe(backbone, weights=weights)
    (size,) = frozen_features.input_sizes(classifier.backbone, shape, [SIZE])
    features = frozen_features.build(classifier, shape, size, seed=0)
    model = frozen_features.join({size: features})

    def look(images: Images) -> tuple[NDArray[np.float32], None]:
        (found,) = frozen_features.embed(model, ArraySource(images)).values()
        return found, None

    return look


def seen_by_run(
    params: Mapping[str, Any], given: Given, console: Console
) -> tuple[SuggestImages, Seen]:
    """Images as the networks of a run see them."""
    run = RunFolder.open(params["run"])
    model = run.load_model()
    images = open_images(
        given, model.image_shape, params["on_error"], model.intensity_range
    )
    _introduce(images, params, console)
    teacher = model.serving_network.teacher
    # Of an image, the embedding knows little but its class.
    features = backbone_of(teacher).output
    both = devices.functional_model(teacher.input, [features, teacher.output])

    def look(images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        found, logits = prediction.predict(both, ArraySource(images))
        probabilities = FixMatch.probabilities(logits)
        return found, keras.ops.convert_to_numpy(probabilities)

    seen, probabilities, excluded = _look(images, look, console)
    opinions = {}
    trained_on = run.paths().get("unlabeled")
    # In another folder, the same names would be those of other images.
    if trained_on is not None and trained_on.resolve() == given.unlabeled.resolve():
        opinions = _opinions(model, images.pool.names or [], len(seen))
    names = model.class_names or []
    return images, Seen(seen, probabilities, names, excluded, opinions)


def _opinions(
    model: KDFixMatch, names: list[str], size: int
) -> dict[str, NDArray[np.int64]]:
    """What the outer network and the clusters said of the images of the training."""
    trusted = model.trusted_set
    row_of = {name: row for row, name in enumerate(model.unlabeled_names or [])}
    there = np.full(size, -1)
    there[: len(names)] = [row_of.get(name, -1) for name in names]
    # A cluster has the name of the class of those in it that are trusted.
    class_of = np.full(trusted.cluster.max(initial=-1) + 1, -1)
    class_of[trusted.cluster[trusted.trusted]] = trusted.labels
    of_cluster = np.full(trusted.num_unlabeled, -1)
    inside = trusted.cluster >= 0
    of_cluster[inside] = class_of[trusted.cluster[inside]]
    said = {"outer network": trusted.pseudo_labels, "cluster": of_cluster}
    return {
        who: np.where(there >= 0, labels[there], -1).astype(np.int64)
        for who, labels in said.items()
    }


def _introduce(
    images: SuggestImages, params: Mapping[str, Any], console: Console
) -> None:
    """Says what was found, and checks that there is as much to choose from."""
    none = len(images.labels) - len(images.classes)
    of_none = f", {none:,} of them as {NONE_OF_THESE}" if none else ""
    test = "none" if images.test is None else f"{len(images.test):,}"
    console.print(
        f"Images: {len(images.pool):,}; {len(images.labels):,} labeled{of_none}; "
        f"{test} for test"
    )
    for source in images.sources():
        for note in source.notes:
            say(f"Note: {note}")
        for file, reason in source.skipped.items():
            say(f"Warning: left out {file} ({reason})")
    if params["count"] > images.available:
        raise ValueError(
            f"`--count` must be at most {images.available:,}, the number of images "
            "that are neither labeled nor for test. Received: --count "
            f"{params['count']}"
        )


def _look(
    images: SuggestImages, sight: Sight, console: Console
) -> tuple[NDArray[np.float32], Any, NDArray[np.int64]]:
    """Reads each image once.

    Returns:
        Features, and class probabilities if there are any, of the images of the folder
        and behind them of those outside; and the rows of the images for test, also of
        their copies.
    """
    sources: list[ImageSource] = [images.pool]
    sources += [] if images.outside is None else [images.outside]
    total = sum(map(len, images.sources()))
    shown = console.is_terminal and not console.quiet
    features, probabilities, looks = [], [], []
    with Progress(console=console, disable=not shown) as progress:
        task = progress.add_task("Looking", total=total)
        known = None
        if images.test is not None:
            known = CopiesOf(in_parts(images.test, CHUNK))
            progress.advance(task, len(images.test))
        for source in sources:
            for part in in_parts(source, CHUNK):
                z, p = sight(part)
                features.append(z)
                if p is not None:
                    probabilities.append(p)
                is_test = np.zeros(len(part), np.bool_)
                if known is not None and source is images.pool:
                    is_test = known.among(part)
                looks.append(is_test)
                progress.advance(task, len(part))
    of_test = np.flatnonzero(np.concatenate(looks))
    excluded = np.union1d(of_test, images.test_rows).astype(np.int64)
    copies = len(excluded) - len(images.test_rows)
    if copies:
        console.print(f"Never suggested, as they look like images for test: {copies:,}")
    guessed = np.concatenate(probabilities) if probabilities else None
    return np.concatenate(features), guessed, excluded
