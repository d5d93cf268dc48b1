"""What the examples tell and leave of a trained model."""

import shutil
from pathlib import Path

from kdfixmatch_keras import KDFixMatch, datasets
from kdfixmatch_keras.plots import plot_run


def report(model: KDFixMatch, data: datasets.SemiSupervisedData, output: Path) -> None:
    """Prints the accuracies, draws the run and exports the inner network."""
    for stage in ("outer", "inner"):
        accuracy = model.history[stage]["val_accuracy"][-1]
        print(f"Test accuracy of the {stage} network: {accuracy:.1%}")
    tell_trusted_set(model, data)
    figure, saved_model = output / "run.png", output / "saved_model"
    plot_run(model, figure, true_labels=data.unlabeled_labels)
    shutil.rmtree(saved_model, ignore_errors=True)
    model.export(saved_model)
    print(f"Wrote {figure} and {saved_model}")


def tell_trusted_set(model: KDFixMatch, data: datasets.SemiSupervisedData) -> None:
    """Prints how good the trusted set is, by classes that training has not seen."""
    audit = model.trusted_set.audit(data.unlabeled_labels)
    right = f"{audit['precision']:.1%} of its labels are right, and "
    print(
        f"Trusted set: {right if len(model.trusted_set) else ''}it covers "
        f"{audit['coverage']:.1%} of the unlabeled images"
    )
