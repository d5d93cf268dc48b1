"""The arguments that all methods share, and what subclasses make of them."""

from inspect import signature

import pytest

from kdfixmatch_keras import KDFixMatch, baselines
from kdfixmatch_keras.classifier import ImageClassifier, Settings
from tests.untraced import untraced

SHARED = list(signature(ImageClassifier).parameters)


def test_type_checkers_know_the_arguments_that_all_methods_share():
    assert list(Settings.__annotations__) == SHARED[1:]


class Narrow(baselines.Supervised):
    """Made of one argument of its own."""

    def __init__(self, batch_size=2):
        super().__init__("small_cnn", weights=None, batch_size=batch_size)


class Wide(baselines.Supervised):
    """Takes what all methods share, and one more."""

    def __init__(self, *, photos=1, **settings):
        super().__init__("small_cnn", **settings)
        self.photos = photos


class Mine(KDFixMatch):
    """Has other defaults."""

    def __init__(self, backbone="small_cnn", *, tau_select=0.5, **settings):
        super().__init__(backbone, tau_select=tau_select, **settings)


class Named(KDFixMatch):
    """Has no constructor of its own."""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Narrow, {"batch_size"}),
        (Wide, {"photos", *SHARED}),
        (Mine, set(signature(KDFixMatch).parameters)),
        (Named, set(signature(KDFixMatch).parameters)),
        (baselines.Supervised, set(SHARED)),
        (baselines.NoisyStudent, {*SHARED, "rounds"}),
    ],
)
def test_the_signature_lists_what_the_constructor_takes(kind, expected):
    found = signature(kind).parameters
    assert set(found) >= expected
    assert "settings" not in found
    if kind is Narrow:
        assert set(found) == expected
    if kind is Mine:
        assert found["tau_select"].default == 0.5
        assert found["tau"].default == 0.95


@pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")
@pytest.mark.parametrize("kind", [Narrow, Wide, Mine])
def test_a_subclass_trains_and_goes_on(kind, tiny_images, tmp_path):
    images, labels = tiny_images
    length = {"epochs": 1, "steps_per_epoch": 1, "verbose": 0}
    settings = {} if kind is Narrow else {"batch_size": 2, "seed": 0}
    if kind is Mine:
        settings |= {"tau_select": 0.0, "clustering": None}
        length |= {"outer_epochs": 1}

    def fit(**changes):
        model = kind(**{**settings, **changes})
        run = {"run_dir": tmp_path / "run", **length}
        with untraced():
            return model.fit((images, labels), images, **run)

    assert fit() == fit()
    if kind is Wide:
        with pytest.raises(ValueError, match="other photos"):
            fit(photos=2)


def test_an_unknown_argument_is_named():
    with pytest.raises(TypeError, match="unexpected keyword argument 'taau'"):
        KDFixMatch(taau=0.9)
