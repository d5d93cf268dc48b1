"""What is said where Keras cannot be imported."""

import sys

import pytest

from kdfixmatch_keras.backend.keras_import import check_keras

NO_DISPLAY = (
    "Key backend: 'module://matplotlib_inline.backend_inline' is not a valid value for "
    "backend; supported values are ['agg', 'cairo']"
)


class Refusing:
    """Finds Keras, and fails as it does."""

    def __init__(self, message):
        self.message = message

    def find_spec(self, name, path=None, target=None):
        if name == "keras":
            raise ValueError(self.message)
        return None


@pytest.fixture
def import_fails(monkeypatch):
    def fail(message):
        monkeypatch.delitem(sys.modules, "keras")
        monkeypatch.setattr(sys, "meta_path", [Refusing(message), *sys.meta_path])

    return fail


def test_an_unknown_backend_is_named_with_its_origin(import_fails, monkeypatch):
    import_fails("Unable to import backend : theano")
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(ImportError, match="Received: KERAS_BACKEND='theano'"):
        check_keras()
    monkeypatch.delenv("KERAS_BACKEND")
    with pytest.raises(ImportError, match="The backend in keras.json must be one of"):
        check_keras()


def test_the_display_of_a_notebook_is_not_taken_for_the_backend(
    import_fails, monkeypatch
):
    import_fails(NO_DISPLAY)
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    with pytest.raises(ImportError, match="MPLBACKEND must be") as caught:
        check_keras()
    assert "KERAS_BACKEND" not in str(caught.value)
    assert "Unset it, or set MPLBACKEND=agg." in str(caught.value)


def test_another_cause_is_told_as_it_is(import_fails, monkeypatch):
    import_fails("Invalid `floatx` of the backend")
    monkeypatch.setenv("MPLBACKEND", "agg")
    with pytest.raises(ValueError, match="Invalid `floatx` of the backend"):
        check_keras()
