"""What the report of a run holds, as plain values."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras.baselines import LinearProbe, Supervised
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
from kdfixmatch_keras.sources.copies import without_copies

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
    probe: Any = None,
    run: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Looks at a trained model and its images.

    Of the unlabeled images at most 2,000 are predicted again, whatever their number;
    of the labeled ones as many. All test images are predicted.

    Args:
        model: A trained `KDFixMatch`.
        labeled: The labeled images that it was trained on.
        unlabeled: The `N` unlabeled images that it was trained on, in that order.
        test: Labeled images that took no part in the training, or None. Those whose
            pixels are those of `labeled` ones are left out, with a warning.
        accuracies: Accuracy in [0, 1] on the same test images by method, where other
            methods have been measured; shown beside those measured here.
        supervised: A trained `baselines.Supervised` of the same classes, to compare
            with, or None.
        probe: A trained `baselines.LinearProbe`, likewise. Where the test images were
            its `validation_data`, it is not asked again.
        run: Facts to show in a table, by name: command, versions, seconds.

    Returns:
        A dictionary of strings, finite numbers, booleans, None, lists and
        dictionaries, for `render` and for JSON. `"warnings"` holds what was found
        wrong, each a dictionary of `"code"`, `"title"`, `"text"` and `"remedy"`;
        `"verdict"` is the first line of the page, None where it is not needed.

    Raises:
        RuntimeError: `model`, `supervised` or `probe` has not been trained.
        TypeError: An argument is of the wrong kind.
        ValueError: The images or classes are not those of the model, more than a tenth
            of those for test are copies of labeled ones, or an accuracy is not in
            [0, 1].
    """
    validation.check_trained(model)
    validation.check_accuracies(accuracies)
    _check_kinds(labeled, unlabeled, test)
    networks = {"outer": model.outer, "inner": model.inner}
    rivals = {
        name: _checked_rival(name, rival, kind)
        for name, rival, kind in (
            ("probe", probe, LinearProbe),
            ("supervised", supervised, Supervised),
        )
        if rival is not None
    }
    networks = {
        **{name: rival.serving_network for name, rival in rivals.items()},
        **networks,
    }
    _check(model, labeled, unlabeled, test, rivals)
    if test is not None:
        test = without_copies(test, labeled, "test")
    predicted = {}
    if (
        probe is not None
        and test is not None
        and test.images is probe.validation_source
    ):
        predicted["probe"] = probe.validation_probabilities

    trusted = model.trusted_set
    generator = np.random.default_rng(SEED)
    sample = generator.permutation(len(unlabeled))[:MAX_SAMPLE]
    contents: dict[str, Any] = {
        "format": values.FORMAT,
        "class_names": [values.text(name, 60) for name in model.class_names],
        "num_labeled": len(labeled.images),
        "num_unlabeled": len(unlabeled),
        "test": evaluation.measure(networks, test, model.class_names, predicted),
        "probe": None if probe is None else _choice_of(probe, labeled.images),
        "accuracies": {
            values.text(method): values.number(accuracy)
            for method, accuracy in (accuracies or {}).items()
        },
        "estimates": evaluation.estimate(
            # The probe sees images in many pixels, which takes long, and what it says
            # of unlabeled ones is of use only where there are none for test.
            {n: x for n, x in networks.items() if n != "probe" or test is None},
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
    contents["verdict"] = warning_signs.verdict(contents)
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


def _checked_rival(argument: str, rival: Any, kind: type) -> Any:
    if not isinstance(rival, kind):
        raise TypeError(
            f"`{argument}` must be a trained baselines.{kind.__name__}. "
            f"Received: {argument} of type {type(rival).__name__}"
        )
    return rival


def _check(
    model: Any,
    labeled: LabeledImages,
    unlabeled: ImageSource,
    test: LabeledImages | None,
    rivals: Mapping[str, Any],
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
    for argument, rival in rivals.items():
        class_names[argument] = rival.class_names
        theirs = rival.serving_network.student.input_shape[1:]
        if theirs != shape:
            raise ValueError(
                f"`{argument}` must have been trained on images of the shape of the "
                f"model, {shape}. Received: {theirs}"
            )
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


def _choice_of(probe: Any, images: ImageSource) -> dict[str, Any]:
    """What a linear probe has chosen, and the accuracy that it chose by."""
    return {
        "size": min(probe.used_size),
        "enlarges": min(probe.used_size) > min(images.image_shape[:2]),
        "C": probe.used_C,
        "cross_validated_accuracy": probe.cross_validated_accuracy,
    }


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
