"""The table of what differs from the papers, compared with the signatures."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from kdfixmatch_keras import KDFixMatch
from kdfixmatch_keras.augmentation import Cutout, FlipAndShift, RandAugment
from kdfixmatch_keras.clustering import DeepEmbeddedClustering
from kdfixmatch_keras.losses import SymmetricCrossEntropy

PAGE = Path(__file__).parents[2] / "docs" / "departures.md"
CALLED = {
    "fit": KDFixMatch.fit,
    **{
        kind.__name__: kind
        for kind in (
            *(KDFixMatch, Cutout, FlipAndShift, RandAugment),
            *(DeepEmbeddedClustering, SymmetricCrossEntropy),
        )
    },
}
# What they train on and how they tell of it, and a network that replaces a stage.
OF_FIT_ALONE = {
    *("self", "labeled", "unlabeled", "validation_data"),
    *("callbacks", "verbose", "run_dir", "outer", "on_error"),
}


def rows():
    """Name of what is called, argument and default of each row."""
    found = []
    for cell in re.findall(r"^\| `(\w+\(.*?\))` \|", PAGE.read_text(), re.MULTILINE):
        call = ast.parse(cell, mode="eval").body
        (keyword,) = call.keywords
        found.append((call.func.id, keyword.arg, ast.literal_eval(keyword.value)))
    return found


@pytest.mark.parametrize("name, argument, default", rows())
def test_the_table_gives_the_default(name, argument, default):
    parameter = inspect.signature(CALLED[name]).parameters[argument]
    assert parameter.default == default


def test_the_table_has_every_argument_once():
    found = [(name, argument) for name, argument, _ in rows()]
    assert len(found) == len(set(found))
    for name in ("KDFixMatch", "fit"):
        wanted = set(inspect.signature(CALLED[name]).parameters) - OF_FIT_ALONE
        assert {argument for called, argument in found if called == name} == wanted
