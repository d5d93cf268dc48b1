"""Defective solar cells, found with 20 labels: the first thing to try on real images.

pip install ".[tensorflow,pretrained,solar-cells]"
python examples/solar_cells.py --output solar_cells_output

compares KD-FixMatch with what one would use instead, a linear probe of frozen features
and a network fine-tuned on the same labels, and writes the report of the run, its
figure and a SavedModel, in about ten minutes on two cores. The extras bring the
ImageNet weights and the photographs, whose license excludes commercial use.
"""

from importlib.metadata import metadata
from typing import Any

from arguments import parse_arguments
from sklearn.metrics import balanced_accuracy_score
from tell import tell

from kdfixmatch_keras import KDFixMatch, baselines, datasets

LENGTH = {"labels": 20, "epochs": 6, "steps_per_epoch": 50, "batch_size": 16}
NETWORK = {"backbone": "efficientnet_lite0", "image_size": (96, 96)}


def main() -> None:
    """Trains the three, prints a table, and leaves what is left of the last."""
    options = parse_arguments(__doc__, output="solar_cells_output", **LENGTH, **NETWORK)
    data = datasets.load(
        "solar_cells",
        options.labels,
        options.seed,
        data_dir=options.data_dir,
        image_size=options.image_size,
    )
    package = metadata("elpv-dataset")
    print(
        f"{len(data.unlabeled)} solar cells, {options.labels} of them labeled, and "
        f"{len(data.test.images)} for test, from elpv-dataset {package['Version']} "
        f"({package['License-Expression']})"
    )
    network: dict[str, Any] = {
        "backbone": options.backbone,
        "weights": options.weights,
        "seed": options.seed,
    }
    probe = baselines.LinearProbe(**network)
    probe.fit(data.labeled, data.unlabeled, data.test)
    settings = {
        **network,
        "weak_augmentation": data.weak_augmentation,
        "batch_size": options.batch_size,
    }
    length = {"epochs": options.epochs, "steps_per_epoch": options.steps_per_epoch}
    supervised = baselines.Supervised(**settings)
    supervised.fit(data.labeled, data.unlabeled, verbose=2, **length)
    model = KDFixMatch(**settings, unlabeled_ratio=4)
    model.fit(data.labeled, data.unlabeled, data.test, verbose=2, **length)

    print("\nTest images, %        accuracy  mean recall of the classes")
    models = {"linear probe": probe, "labels alone": supervised, "KD-FixMatch": model}
    for name, trained in models.items():
        found = trained.predict(data.test.images).argmax(axis=1)
        accuracy = 100 * (found == data.test.labels).mean()
        recall = 100 * balanced_accuracy_score(data.test.labels, found)
        print(f"  {name:<18}{accuracy:10.1f}{recall:10.1f}")
    tell(model, data, options.output, probe=probe, supervised=supervised)


if __name__ == "__main__":
    main()
