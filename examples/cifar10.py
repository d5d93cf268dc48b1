"""KD-FixMatch on CIFAR-10 with 250 labels and the network of its paper.

python examples/cifar10.py --output cifar10_output

TensorFlow Datasets downloads the images once; `--data-dir` reads JPEG or PNG files
instead. Its 50,000 training images are all used without their labels, 25 of each class
with them.
"""

from arguments import parse_arguments
from tell import tell

from kdfixmatch_keras import KDFixMatch, datasets


def main() -> None:
    """Trains, prints the accuracies, draws the run and exports the inner network."""
    options = parse_arguments(__doc__, labels=250, output="cifar10_output")
    data = datasets.load(
        "cifar10",
        options.labels,
        options.seed,
        data_dir=options.data_dir,
        image_size=options.image_size,
    )
    model = KDFixMatch(
        backbone=options.backbone,
        weights=options.weights,
        optimizer="paper" if options.weights else None,
        tau=0.95,
        tau_select=0.80,
        tau_inner=0.95,
        unlabeled_loss="sce",
        weak_augmentation=data.weak_augmentation,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    model.fit(
        data.labeled,
        data.unlabeled,
        validation_data=data.test,  # only looked at: the last weights are kept
        epochs=options.epochs,
        steps_per_epoch=options.steps_per_epoch,
    )
    tell(model, data, options.output)


if __name__ == "__main__":
    main()
