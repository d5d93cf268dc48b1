"""Where images come from: arrays, folders and datasets behind one interface.

The index is the identity. Every source is random access, so the trusted set can be
a dense vector over its indices, and nothing is ever numbered while it is shuffled.
"""

from kdfixmatch_keras.sources.array_source import ArraySource
from kdfixmatch_keras.sources.dataset_source import spool_dataset
from kdfixmatch_keras.sources.folder_source import FolderSource
from kdfixmatch_keras.sources.image_source import ImageSource
from kdfixmatch_keras.sources.intensity import IntensityRange
from kdfixmatch_keras.sources.labels_file import split_folder
from kdfixmatch_keras.sources.pixels import check_image_size, resize
from kdfixmatch_keras.sources.resolve import (
    LabeledImages,
    labeled_source,
    unlabeled_source,
)
from kdfixmatch_keras.sources.subset_source import SubsetSource

__all__ = [
    "ArraySource",
    "FolderSource",
    "ImageSource",
    "IntensityRange",
    "LabeledImages",
    "SubsetSource",
    "check_image_size",
    "labeled_source",
    "resize",
    "split_folder",
    "spool_dataset",
    "unlabeled_source",
]
