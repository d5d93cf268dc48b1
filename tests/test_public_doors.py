"""Everything that a user can call is in a table of bad inputs."""

import importlib
import importlib.util
import inspect
import os
import pkgutil
from pathlib import Path

import numpy as np
import pytest

import kdfixmatch_keras
from kdfixmatch_keras import KDFixMatch
from tests.bad_inputs import CLASSES, fit, new_model

# Modules whose functions users call, below the package itself.
PUBLIC = (
    "audit",
    "augmentation",
    "backbones",
    "baselines",
    "clustering",
    "clustering.deep_embedded_clustering",
    "clustering.shared",
    "datasets",
    "losses",
    "plots",
    "report",
    "report.metrics",
    "serving.export",
    "serving.file_prediction",
    "serving.prediction",
    "serving.saving",
    "sources",
    "suggestion",
    "targets.distribution_alignment",
    "thresholds",
    "training.batches",
    "training.optimizers",
)
# Rooms in which no user calls anything; it is called by what the tables have, which
# says no first. The classes that the package exports are found with the package.
INNER = {
    "backend",
    "checks",
    "classifier",
    "fixmatch",
    "kdfixmatch",
    "storage",
    "trusted",
}
# Methods that Keras calls, or a network in its step, with tensors and sizes of their
# own. Where a user can call the layer, its rows are under the name of the class.
CALLED_BY_KERAS = {
    "add_average",
    "auxiliary_loss",
    "call",
    "call_batch",
    "compile_from_config",
    "compute_loss",
    "compute_metrics",
    "compute_output_shape",
    "compute_output_spec",
    "for_data",
    "from_config",
    "image_logits",
    "is_batch",
    "mean_loss",
    "part_of_loss",
    "predict_step",
    "probabilities",
    "strong_view",
    "student_view",
    "target_outputs",
    "targets",
    "test_step",
    "tracked",
    "tracked_mean",
    "train_step",
    "unlabeled_term",
    "update_step",
    "weak_view",
    "whole_batch",
    "with_penalties",
    "with_whole_batch",
}
EXCEPTIONS = {
    # Records, which check nothing: what takes them does.
    "LabeledImages.with_images",
    "audit.DoubtfulLabels",
    "audit.Finding",
    "datasets.SemiSupervisedData",
    "sources.IntensityRange",
    "sources.LabeledImages",
    # Abstract: only subclasses are made, with arguments of their own.
    "sources.ImageSource",
    "thresholds.Threshold",
    # Keras's own, which check what they are given.
    "WholeBatchModel.compile",
    "WholeBatchModel.evaluate",
    "WholeBatchModel.fit",
    "WholeBatchModel.predict",
    "WholeBatchModel.predict_on_batch",
    "WholeBatchModel.test_on_batch",
    "WholeBatchModel.train_on_batch",
    # They take what `load_data`, the constructor and `fit` have checked.
    "DistributionAlignment.of_classes",
    "ImageClassifier.new_network",
    "ImageClassifier.new_session",
    "ImageClassifier.training",
    "KDFixMatch.new_inner",
    "KDFixMatch.new_outer",
    "batches.passes_per_batch",
    "batches.steps_of_one_pass",
    "clustering.fit_predict",
    "clustering.own_number",
    "prediction.embedder",
    "prediction.evaluate",
    "prediction.probabilities_and_embeddings",
    "saving.check_can_train",
    # What `predict_files` gives, and nobody makes.
    "file_prediction.PredictedBatch",
}


def public_names(module):
    """What a module exports, or, without `__all__`, what is defined there."""
    names = getattr(module, "__all__", None) or [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and getattr(thing, "__module__", None) == module.__name__
    ]
    return [name for name in names if callable(getattr(module, name))]


def takes_arguments(function):
    parameters = list(inspect.signature(function).parameters)
    return bool([name for name in parameters if name not in ("self", "cls")])


def public_methods(kind):
    """Public methods with arguments, named after the class that defines them."""
    found = set()
    for base in kind.__mro__:
        if not base.__module__.startswith("kdfixmatch_keras"):
            continue
        for name, method in vars(base).items():
            function = getattr(method, "__func__", method)
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            if name not in CALLED_BY_KERAS and takes_arguments(function):
                found.add(f"{base.__name__}.{name}")
    return found


def public_api(left_out=EXCEPTIONS):
    """Names of what takes arguments, by the first door that leads to it."""
    found, seen = set(), []
    for place in ("", *PUBLIC):
        module = importlib.import_module(f"kdfixmatch_keras.{place}".rstrip("."))
        prefix = f"{place.rpartition('.')[2]}." if place else ""
        for name in public_names(module):
            thing = getattr(module, name)
            if any(thing is other for other in seen):
                continue
            seen.append(thing)
            if inspect.isclass(thing):
                found |= public_methods(thing)
            if takes_arguments(thing):
                found.add(prefix + name)
    return found - set(left_out)


def rows():
    """The rows of all tables."""
    found = []
    for path in sorted(Path(__file__).parent.rglob("test_bad_inputs.py")):
        spec = importlib.util.spec_from_file_location(
            f"rows_of_{path.parent.name}", path
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += getattr(module, "ROWS", [])
    return found


def test_everything_public_is_in_a_table():
    in_tables = {row[0] for row in rows()}
    assert public_api() - in_tables == set()
    assert in_tables - public_api() == set(), "no such name"


def test_every_room_is_public_or_inner():
    rooms = {
        module.name
        for module in pkgutil.iter_modules(kdfixmatch_keras.__path__)
        if not module.name.startswith("_")
    }
    public = {place.partition(".")[0] for place in PUBLIC}
    assert rooms == public | INNER
    assert public & INNER == set()


def test_what_is_left_out_exists():
    everything = public_api(left_out=())
    assert everything >= EXCEPTIONS
    defined = {
        name
        for module in pkgutil.walk_packages(
            kdfixmatch_keras.__path__, "kdfixmatch_keras."
        )
        for kind in vars(importlib.import_module(module.name)).values()
        if inspect.isclass(kind)
        for name in vars(kind)
    }
    assert defined >= CALLED_BY_KERAS


@pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")
def test_numpy_numbers_and_paths_of_both_kinds_are_taken(given):
    model = new_model(
        tau=np.float32(0.5),
        batch_size=np.int64(3),
        seed=np.uint8(0),
        image_size=[np.int32(8), 8],
        distribution_alignment=np.bool_(True),
    )
    history = fit(
        os.fspath(given.here / "labeled"),
        given.here / "unlabeled",
        model=model,
        epochs=np.int64(1),
        verbose=np.int64(0),
        run_dir=os.fspath(given.here / "state"),
    )
    assert np.isfinite(history["inner"]["loss"]).all()
    model.save(os.fspath(given.here / "saved"))
    assert KDFixMatch.load(Path(given.here / "saved")).class_names == list(CLASSES)
