"""KD-FixMatch on the digits that scikit-learn ships, with 20 labels.

python examples/digits.py --output demo_output

trains a supervised network, then KD-FixMatch; prints a table, draws the run, exports a
SavedModel, loads it again and predicts. The test images take no part in training.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from arguments import parse_arguments
from tell import tell_trusted_set

from kdfixmatch_keras import KDFixMatch, baselines, datasets
from kdfixmatch_keras.plots import plot_run

LENGTH = {"labels": 20, "epochs": 12, "steps_per_epoch": 40, "batch_size": 16}
NETWORK = {"backbone": "small_cnn", "weights": None}


def main() -> None:
    """Runs the demonstration, by default for less than two minutes."""
    options = parse_arguments(__doc__, output="digits_output", **LENGTH, **NETWORK)
    data = datasets.load(
        "digits",
        options.labels,
        options.seed,
        data_dir=options.data_dir,
        image_size=options.image_size,
    )
    settings: dict[str, Any] = {
        "backbone": options.backbone,
        "weights": options.weights,
        "weak_augmentation": data.weak_augmentation,  # a mirrored digit is another sign
        # The digits are equally frequent: told so, no class swallows another.
        "distribution_alignment": True,
        "batch_size": options.batch_size,
        "seed": options.seed,
    }
    length = {"epochs": options.epochs, "steps_per_epoch": options.steps_per_epoch}
    supervised = baselines.Supervised(**settings)
    supervised.fit(data.labeled, data.unlabeled, verbose=2, **length)
    model = KDFixMatch(**settings)
    history = model.fit(data.labeled, data.unlabeled, data.test, verbose=2, **length)
    accuracies = {
        "supervised": supervised.evaluate(data.test)["accuracy"],
        "outer network": history["outer"]["val_accuracy"][-1],
        "KD-FixMatch": history["inner"]["val_accuracy"][-1],
    }
    print(f"\nTest accuracy (%), {options.labels} labels")
    for method, accuracy in accuracies.items():
        print(f"  {method:<13} {100 * accuracy:5.1f}")
    tell_trusted_set(model, data)
    figure, saved_model = options.output / "run.png", options.output / "saved_model"
    plot_run(model, figure, accuracies=accuracies, true_labels=data.unlabeled_labels)
    export_and_reload(model, data.test, saved_model)
    print(f"Wrote {figure} and {saved_model}")
    print("Next, pretrained networks and real photographs: examples/solar_cells.py")


def export_and_reload(model: KDFixMatch, test: Any, path: Path) -> None:
    """Exports the network, loads it as a server would, and predicts ten images."""
    shutil.rmtree(path, ignore_errors=True)
    model.export(path)
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    images = test.images[np.arange(min(10, len(test.images)))]
    answer = served(images=tf.constant(images))
    difference = np.abs(answer["probabilities"].numpy() - model.predict(images)).max()
    print("SavedModel reads", *(name.decode() for name in answer["class_name"].numpy()))
    print("labels are      ", *(test.class_names[label] for label in test.labels[:10]))
    print(f"Largest difference to the live model: {difference:.1e}")


if __name__ == "__main__":
    main()
