"""The linear probe that `kdfixmatch train` begins with."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from kdfixmatch_cli.images import Images
from kdfixmatch_keras import KDFixMatch, backbones
from kdfixmatch_keras.baselines import LinearProbe, frozen_features
from kdfixmatch_keras.report.run_folder import RunFolder
from kdfixmatch_keras.training.timing import Costs


def is_wanted(compared: Mapping[str, bool], model: KDFixMatch) -> bool:
    """Whether there is to be a probe: the features of random weights say nothing."""
    return compared["probe"] and backbones.is_pretrained(
        model.backbone, model.weights, model.pretrained
    )


def seconds(costs: Costs, images: Images) -> float:
    """About how long it takes, by the number of pixels that the backbone sees."""
    sizes = frozen_features.SIZES
    pixels = sum(size**2 for size in sizes) * len(images.labeled.images)
    if images.test is not None:
        pixels += sizes[-1] ** 2 * len(images.test.images)
    starts = (len(sizes) + 1) * costs.inner.prediction_start
    return starts + costs.inner.prediction * pixels / costs.inner.pixels


def fit(
    settings: Mapping[str, Any], images: Images, folder: RunFolder, console: Console
) -> LinearProbe:
    """Fits the probe, or takes it from the state of the run, and says how good it is.

    Args:
        settings: Arguments of `ImageClassifier`.
        images: What `train` learns from and is measured on.
        folder: The folder of the run.
        console: Where to print.
    """
    probe = LinearProbe(**settings)
    probe.fit(
        *(images.labeled, images.unlabeled, images.test),
        verbose=0,
        run_dir=folder.state / "probe",
    )
    size = " x ".join(map(str, dict.fromkeys(probe.used_size or ())))
    words = [f"{size} pixels", f"C {probe.used_C:g}"]
    if probe.cross_validated_accuracy is not None:
        words.append(f"cross-validated accuracy {probe.cross_validated_accuracy:.1%}")
    line = f"Linear probe on frozen features: {', '.join(words)}"
    if images.test is not None and probe.validation_probabilities is not None:
        found = probe.validation_probabilities.argmax(axis=1)
        line += f" (test accuracy {(found == images.test.labels).mean():.1%})"
    console.print(line)
    return probe
