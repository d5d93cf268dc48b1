"""Telling of files that were left out because they cannot be read."""

import warnings

from kdfixmatch_keras.sources.folder_source import FolderSource, listed
from kdfixmatch_keras.sources.image_source import ImageSource
from kdfixmatch_keras.sources.resolve import LabeledImages
from kdfixmatch_keras.sources.subset_source import SubsetSource


def warn_of_skipped(data: ImageSource | LabeledImages | None, argument: str) -> None:
    """Warns of the files that were left out of images, if any were.

    Args:
        data: The images, or None.
        argument: Name that the caller knows them by.

    Warns:
        UserWarning: Some were.
    """
    source = data.images if isinstance(data, LabeledImages) else data
    if isinstance(source, SubsetSource):
        source = source.source
    if isinstance(source, FolderSource) and source.skipped:
        count = f"{len(source.skipped):,} file{'s' * (len(source.skipped) != 1)}"
        warnings.warn(
            f"Left out {count} of `{argument}` that cannot be read: "
            f"{listed(source.skipped)}.",
            UserWarning,
            # Of the caller of what opened them for the user.
            stacklevel=3,
        )
