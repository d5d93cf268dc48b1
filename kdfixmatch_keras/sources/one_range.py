"""One range of intensities for all images of a training."""

import functools
import operator
from collections.abc import Mapping

import numpy as np

from kdfixmatch_keras.sources.brightness import check_bright
from kdfixmatch_keras.sources.image_source import ImageSource
from kdfixmatch_keras.sources.intensity import (
    Survey,
    check_levels_left,
    range_of,
)


def in_one_range(sources: Mapping[str, ImageSource]) -> list[ImageSource]:
    """Scales the 16-bit images of several sources alike, as all of them together ask.

    Args:
        sources: Sources by the name of the argument that they came by.

    Returns:
        The sources in their order, those with such images in the common range: the one
        that they have already, of more images perhaps, or what they ask for.

    Raises:
        ValueError: Few gray levels would be left of all, or of one of the sources; see
            `range_of` and `check_levels_left`.
    """
    deep = {name: found for name, found in sources.items() if found.survey is not None}
    ranges = {found.intensity_range for found in deep.values()}
    if not deep or (len(ranges) == 1 and None not in ranges):
        return list(sources.values())
    surveys = [found.survey for found in deep.values() if found.survey is not None]
    whole = functools.reduce(operator.add, surveys)
    intensities = range_of(whole, "` and `".join(deep))
    for name, survey in zip(deep, surveys, strict=True):
        check_levels_left(survey, intensities, name)
    scaled = {name: found.in_range(intensities) for name, found in deep.items()}
    # Of the others, none has to be bright.
    brightest = max(deep, key=lambda name: _brightest(deep[name].survey))
    check_bright(scaled[brightest], brightest)
    return list({**sources, **scaled}.values())


def _brightest(survey: Survey | None) -> int:
    return 0 if survey is None else int(np.flatnonzero(survey.counts)[-1])
