import os

import pytest

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.storage.files import written_aside


def test_derived_seeds_differ_by_seed_and_purpose():
    seeds = {
        validation.derive_seed(seed, purpose)
        for seed in range(20)
        for purpose in ("outer", "inner", "clustering")
    }
    assert len(seeds) == 60
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_derived_seeds_are_the_same_in_every_process():
    # A saved experiment must be repeatable: these numbers may not change.
    assert validation.derive_seed(0, "outer") == validation.derive_seed(0, "outer")
    assert validation.derive_seed(0, "outer") == 704981404
    assert validation.derive_seed(None, "outer") is None


@pytest.mark.parametrize("value", [0, 0.5, 1, 1.0])
def test_fraction_accepts_the_closed_interval(value):
    result = validation.check_fraction("tau", value)
    assert result == value
    assert isinstance(result, float)


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), "0.5", None, True])
def test_fraction_refuses_what_is_outside(value):
    with pytest.raises(ValueError, match=r"`tau` must be in \[0, 1\]") as caught:
        validation.check_fraction("tau", value)
    assert f"Received: tau={value!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("interval", "accepted", "refused"),
    [
        ("[0, 1]", [0, 1], [-0.1, 1.1]),
        ("[0, 1)", [0, 0.9], [1]),
        ("(0, 1]", [0.1, 1], [0]),
        ("(0, 1)", [0.5], [0, 1]),
    ],
)
def test_number_keeps_to_its_interval(interval, accepted, refused):
    for value in accepted:
        assert validation.check_number("decay", value, 0, 1, interval) == value
    for value in refused:
        with pytest.raises(ValueError, match="`decay` must be in") as caught:
            validation.check_number("decay", value, 0, 1, interval)
        assert f"in {interval}. Received: decay={value}" in str(caught.value)


@pytest.mark.parametrize("value", [-1, float("inf"), float("nan"), "1", False])
def test_non_negative_refuses(value):
    with pytest.raises(ValueError, match=r"`lambda_u` must be in \[0, infinity\)"):
        validation.check_non_negative("lambda_u", value)


def test_non_negative_returns_a_float():
    assert isinstance(validation.check_non_negative("lambda_u", 3), float)


@pytest.mark.parametrize("value", [0, -1, 1.0, "1", True, None])
def test_integer_refuses(value):
    with pytest.raises(ValueError, match="`epochs` must be an integer of at least 1"):
        validation.check_integer("epochs", value, 1)


def test_seed_is_none_or_at_least_zero():
    assert validation.check_seed(None) is None
    assert validation.check_seed(0) == 0
    with pytest.raises(ValueError, match="`seed` must be an integer of at least 0"):
        validation.check_seed(-1)


def test_choice_suggests_the_nearest():
    assert validation.check_choice("teacher", "ema", ("ema", "shared")) == "ema"
    with pytest.raises(ValueError, match="Did you mean 'shared'") as caught:
        validation.check_choice("teacher", "Sharde", ("ema", "shared"))
    assert "`teacher` must be one of 'ema', 'shared'" in str(caught.value)
    assert "Received: teacher='Sharde'" in str(caught.value)


@pytest.mark.parametrize("value", ["xyzzy", 7, None, ["ema"]])
def test_choice_without_a_near_one_suggests_nothing(value):
    with pytest.raises(ValueError, match="must be one of") as caught:
        validation.check_choice("teacher", value, ("shared",))
    assert "Did you mean" not in str(caught.value)


def test_written_aside_makes_parents_and_leaves_only_the_result(tmp_path):
    path = tmp_path / "new" / "deep" / "result.txt"
    with written_aside(path) as temporary:
        assert temporary.suffix == ".txt"
        assert not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
def test_a_failed_write_changes_nothing(tmp_path, kind):
    path = tmp_path / "result"
    if kind == "file":
        path.write_text("old")
    if kind == "folder":
        path.mkdir()
        (path / "part").write_text("old")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(OSError, match="disk full"), written_aside(path) as temporary:
        temporary.mkdir()
        (temporary / "part").write_text("half")
        raise OSError("disk full")

    assert sorted(tmp_path.rglob("*")) == before
    if kind == "file":
        assert path.read_text() == "old"
    if kind == "folder":
        assert (path / "part").read_text() == "old"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_nothing_written_changes_nothing(tmp_path, kind):
    path = tmp_path / "result"
    if kind == "file":
        path.write_text("old")
    else:
        path.mkdir()
        (path / "part").write_text("old")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FileNotFoundError), written_aside(path):
        pass
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("new_kind", ["file", "folder"])
@pytest.mark.parametrize("old_kind", ["file", "folder"])
def test_written_aside_replaces_what_stood_there(tmp_path, old_kind, new_kind):
    path = tmp_path / "result"
    if old_kind == "file":
        path.write_text("old")
    else:
        path.mkdir()
        (path / "old_part").write_text("old")
    with written_aside(path) as temporary:
        if new_kind == "file":
            temporary.write_text("new")
        else:
            temporary.mkdir()
            (temporary / "part").write_text("new")
    if new_kind == "file":
        assert path.read_text() == "new"
    else:
        assert [part.name for part in path.iterdir()] == ["part"]
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_while_folders_are_exchanged_leaves_the_old(tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.mkdir()
    (path / "weights").write_text("old")
    replace, calls = os.replace, []

    def interrupted(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(source, target)

    with pytest.raises(KeyboardInterrupt), written_aside(path) as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("new")
        monkeypatch.setattr(os, "replace", interrupted)
    assert (path / "weights").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
