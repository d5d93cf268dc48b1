"""The command line that the examples share."""

import argparse
from pathlib import Path
from typing import Any

from kdfixmatch_keras.checks import validation


def square(side: str) -> tuple[int, int]:
    """Height and width of a square."""
    return int(side), int(side)


def folder(text: str) -> Path:
    """A folder to write to, which is found out before a training."""
    try:
        return validation.check_output("output", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parse_arguments(description: str, **defaults: Any) -> argparse.Namespace:
    """Reads the command line; `defaults` are those of the example."""
    parser = argparse.ArgumentParser(
        description=description.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--labels", type=int, help="labeled images in all")
    add(
        "--epochs",
        type=int,
        default=100,
        help="of the inner network; the outer one: half",
    )
    add("--steps-per-epoch", type=int, help="None: each unlabeled image once")
    add("--seed", type=int, default=0, help="fixes the labels drawn and the training")
    add("--backbone", default="efficientnetb0", help="see kdfixmatch_keras.backbones")
    add(
        "--weights",
        # `argparse` applies this to defaults that are strings as well.
        type=lambda weights: None if weights == "none" else weights,
        default="imagenet",
        help="imagenet, none (random ones) or the path of a weights file",
    )
    add("--batch-size", type=int, default=64, help="labeled images in a batch")
    add(
        "--data-dir",
        help="folder with train/<class>/* and test/<class>/*, or that of TensorFlow "
        "Datasets; None: the latter's own",
    )
    add("--output", type=folder, help="folder for the figure and the SavedModel")
    add(
        "--image-size",
        type=square,
        help="height and width in pixels that images are resized to; None: their own",
    )
    parser.set_defaults(**defaults)
    return parser.parse_args()
