"""KD-FixMatch on Food-101 with 1,010 labels and the network of its paper.

python examples/food101.py --output food101_output

TensorFlow Datasets downloads the photographs once. They have many sizes; each run
resizes them to 224 x 224 pixels in temporary files of 15 GB, less with a smaller
`--image-size`. Where a batch does not fit in memory, lower `--batch-size`. Each of the
101 dishes has ten labels, and the 25,250 photographs of the split that the data set
calls validation are the test.
"""

from arguments import parse_arguments
from tell import tell

from kdfixmatch_keras import KDFixMatch, datasets


def main() -> None:
    """Trains, prints the accuracies, draws the run and exports the inner network."""
    options = parse_arguments(
        __doc__, labels=1010, output="food101_output", image_size=(224, 224)
    )
    data = datasets.load(
        "food101",
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
