"""What the examples tell and leave of a trained model."""

import shutil
from pathlib import Path

from kdfixmatch_keras import KDFixMatch, baselines, datasets, report
from kdfixmatch_keras.plots import plot_run


def tell(
    model: KDFixMatch,
    data: datasets.SemiSupervisedData,
    output: Path,
    *,
    probe: baselines.LinearProbe | None = None,
    supervised: baselines.Supervised | None = None,
) -> None:
    """Prints the accuracies, draws and reports the run, exports the inner network."""
    for stage in ("outer", "inner"):
        accuracy = model.history[stage]["val_accuracy"][-1]
        print(f"Test accuracy of the {stage} network: {accuracy:.1%}")
    tell_trusted_set(model, data)
    figure, saved_model = output / "run.png", output / "saved_model"
    plot_run(model, figure, true_labels=data.unlabeled_labels)
    shutil.rmtree(saved_model, ignore_errors=True)
    model.export(saved_model)
    page = output / "report.html"
    images = data.labeled, data.unlabeled, data.test
    contents = report.collect(model, *images, probe=probe, supervised=supervised)
    report.write(contents, page)
    print(f"Wrote {figure}, {saved_model} and {page}, which a browser shows")


def tell_trusted_set(model: KDFixMatch, data: datasets.SemiSupervisedData) -> None:
    """Prints how good the trusted set is, by classes that training has not seen."""
    audit = model.trusted_set.audit(data.unlabeled_labels)
    right = f"{audit['precision']:.1%} of its labels are right, and "
    print(
        f"Trusted set: {right if len(model.trusted_set) else ''}it covers "
        f"{audit['coverage']:.1%} of the unlabeled images"
    )
