"""What the report of a run holds, as plain values."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.report import (
    embedding_map,
    evaluation,
    galleries,
    trusted_summary,
    values,
    warning_signs,
)
from kdfixmatch_keras.sources import ImageSource, LabeledImages, SubsetSource

# Of more unlabeled images this many are looked at with a network.
MAX_SAMPLE = 2000
# Fixed, so that the report of a model is always the same.
SEED = 0


def collect(
    model: Any,
    labeled: LabeledImages,
    unlabeled: ImageSource,
    test: LabeledImages | None = None,
    *,
    accuracies: Mapping[str, float] | None = None,
    supervised: Any = None,
    run: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Looks at a trained model and its images.

    Of the unlabeled images at most 2,000 are predicted again, whatever their number;
    of the labeled ones as many. All test images are predicted.

    Args:
        model: A trained `KDFixMatch`.
        labeled: The labeled images that it was trained on.
        unlabeled: The `N` unlabeled images that it was trained on, in that order.
        test: Labeled images that took no part in the training, or None.
        accuracies: Accuracy in [0, 1] on the same test images by method, where other
            methods have been measured; shown beside those measured here.
        supervised: A trained `baselines.Supervised` of the same classes, to compare
            with, or None.
        run: Facts to show in a table, by name: command, versions, seconds.

    Returns:
        A dictionary of strings, finite numbers, booleans, None, lists and
        dictionaries, for `render` and for JSON. `"warnings"` holds what was found
        wrong, each a dictionary of `"title"`, `"text"` and `"remedy"`.

    Raises:
        RuntimeError: `model` or `supervised` has not been trained.
        TypeError: An argument is of the wrong kind.
        ValueError: The images or classes are not those of the model, or an accuracy is
            not in [0, 1].
    """
    validation.check_trained(model)
    validation.check_accuracies(accuracies)
    _check_kinds(labeled, unlabeled, test)
    networks = {"outer": model.outer, "inner": model.inner}
    if supervised is not None:
        networks = {"supervised": supervised.serving_network, **networks}
    _check(model, labeled, unlabeled, test, supervised)

    trusted = model.trusted_set
    generator = np.random.default_rng(SEED)
    sample = generator.permutation(len(unlabeled))[:MAX_SAMPLE]
    contents: dict[str, Any] = {
        "format": values.FORMAT,
        "class_names": [values.text(name, 60) for name in model.class_names],
        "num_labeled": len(labeled.images),
        "num_unlabeled": len(unlabeled),
        "test": evaluation.measure(networks, test, model.class_names),
        "accuracies": {
            values.text(method): values.number(accuracy)
            for method, accuracy in (accuracies or {}).items()
        },
        "estimates": evaluation.estimate(
            networks,
            SubsetSource(unlabeled, sample),
            trusted.pseudo_labels[sample],
            _some(labeled, MAX_SAMPLE, generator),
        ),
        "history": {
            stage: {
                name: [values.number(value) for value in metric]
                for name, metric in history.items()
            }
            for stage, history in model.history.items()
        },
        "trusted": trusted_summary.summarise(trusted, model.tau_inner, labeled.labels),
        "map": embedding_map.draw(model.outer, labeled, unlabeled, trusted, sample),
        "galleries": galleries.choose(labeled, unlabeled, trusted, generator),
        "settings": _settings(model),
        "run": {
            values.text(name): values.plain(fact) for name, fact in (run or {}).items()
        },
    }
    contents["warnings"] = warning_signs.find(contents)
    return contents


def _check_kinds(labeled: Any, unlabeled: Any, test: Any) -> None:
    for argument, images, kind in (
        ("labeled", labeled, LabeledImages),
        ("unlabeled", unlabeled, ImageSource),
        ("test", test, LabeledImages | None),
    ):
        if not isinstance(images, kind):
            maker = "unlabeled" if kind is ImageSource else "labeled"
            raise TypeError(
                f"`{argument}` must be images as `sources.{maker}_source` opens them. "
                f"Received: {argument} of type {type(images).__name__}"
            )


def _check(
    model: Any,
    labeled: LabeledImages,
    unlabeled: ImageSource,
    test: LabeledImages | None,
    supervised: Any,
) -> None:
    if len(unlabeled) != model.trusted_set.num_unlabeled:
        raise ValueError(
            "`unlabeled` must be the images that the model was trained on, "
            f"{model.trusted_set.num_unlabeled} of them. Received: {len(unlabeled)}"
        )
    shape = model.inner.student.input_shape[1:]
    sources = {"labeled": labeled.images, "unlabeled": unlabeled}
    class_names = {"labeled": labeled.class_names}
    if test is not None:
        sources["test"], class_names["test"] = test.images, test.class_names
    if supervised is not None:
        class_names["supervised"] = supervised.class_names
    for argument, source in sources.items():
        if source.image_shape != shape:
            raise ValueError(
                f"`{argument}` must have images of the shape of the model, {shape}. "
                f"Received: {source.image_shape}"
            )
    for argument, names in class_names.items():
        if list(names) != list(model.class_names):
            raise ValueError(
                f"`{argument}` must have the classes of the model, "
                f"{model.class_names}. Received: {names}"
            )


def _some(
    data: LabeledImages, limit: int, generator: np.random.Generator
) -> LabeledImages:
    """All labeled images, or `limit` drawn from them."""
    if len(data.images) <= limit:
        return data
    chosen = np.sort(generator.permutation(len(data.images))[:limit])
    return LabeledImages(
        SubsetSource(data.images, chosen), data.labels[chosen], data.class_names
    )


def _settings(model: Any) -> dict[str, Any]:
    """The arguments that the model was made with; objects by their class."""
    settings: dict[str, Any] = {}
    for name, value in model.arguments().items():
        if name in model.unsaved_arguments:
            settings[name] = "an object that was not saved with the model"
            continue
        if isinstance(value, keras.layers.Layer | keras.losses.Loss) or callable(value):
            value = getattr(value, "__name__", type(value).__name__)
        elif not isinstance(value, str | int | float | list | tuple | None):
            value = type(value).__name__
        settings[name] = values.plain(value)
    return settings
