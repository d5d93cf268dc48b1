"""One range of intensities for all images of a training."""

import functools
import operator
from collections.abc import Mapping

import numpy as np

from kdfixmatch_keras.sources.brightness import check_bright
from kdfixmatch_keras.sources.image_source import ImageSource
from kdfixmatch_keras.sources.intensity import (
    MAX_BEYOND,
    IntensityRange,
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
        that some were opened with, else the one that all have already, of more images
        perhaps, or what they ask for.

    Raises:
        ValueError: Some were opened with several ranges, or with one that too many
            pixels of others lie beyond; or few gray levels would be left of all, or of
            one of the sources; see `range_of` and `check_levels_left`.
    """
    deep = {name: found for name, found in sources.items() if found.deep_files}
    given = {
        name: found.intensity_range
        for name, found in deep.items()
        if found.survey is None and found.intensity_range is not None
    }
    _check_one(given)
    ranges = {found.intensity_range for found in deep.values()}
    if not deep or (len(ranges) == 1 and None not in ranges):
        return list(sources.values())
    surveys = {
        name: found.survey for name, found in deep.items() if found.survey is not None
    }
    if given:
        intensities = next(iter(given.values()))
    else:
        whole = functools.reduce(operator.add, surveys.values())
        intensities = range_of(whole, "` and `".join(deep))
    for name, survey in surveys.items():
        _check_within(survey, intensities, name)
        check_levels_left(survey, intensities, name)
    scaled = {name: found.in_range(intensities) for name, found in deep.items()}
    # Of the others, none has to be bright.
    brightest = max(surveys, key=lambda name: _brightest(surveys[name]))
    check_bright(scaled[brightest], brightest)
    return list({**sources, **scaled}.values())


def _check_one(given: Mapping[str, IntensityRange]) -> None:
    """Refuses sources that were opened with several ranges."""
    if len(set(given.values())) > 1:
        found = ", ".join(f"`{name}` with {one}" for name, one in given.items())
        raise ValueError(
            "`intensity_range` must be one for all images of a training. Received: "
            f"{found}. Open them with the same, or with none."
        )


def _check_within(survey: Survey, intensities: IntensityRange, argument: str) -> None:
    """Refuses images of which much is black or white in the range of others."""
    inside = survey.counts[intensities.low : intensities.high + 1].sum()
    beyond = 1 - inside / survey.counts.sum()
    if beyond > MAX_BEYOND:
        raise ValueError(
            f"`{argument}` must hold 16-bit images of the intensities that others were "
            f"opened with, {intensities}. Received: {beyond:.0%} of the pixels beyond "
            "these. Open all without `intensity_range`, or with that of all of them."
        )


def _brightest(survey: Survey) -> int:
    return int(np.flatnonzero(survey.counts)[-1])
