"""The benchmark of the labeling page, on a few images."""

import json

import pytest


@pytest.fixture
def labeling(monkeypatch, request):
    monkeypatch.syspath_prepend(request.config.rootpath / "benchmarks")
    import labeling

    return labeling


@pytest.mark.browser
def test_each_label_is_timed_and_kept(labeling, tmp_path, monkeypatch, capsys):
    typed = "labeling.py --images 30 --labels 6 --count 3 --side 32 --pause 0"
    output = tmp_path / "new"
    options = [*typed.split(), "--output", str(output), "--scratch", str(tmp_path)]
    monkeypatch.setattr("sys.argv", options)
    labeling.main()
    result = json.loads((output / "labeling.json").read_text())
    assert len(result["label_ms"]) == 3 and min(result["label_ms"]) > 0
    assert result["open_s"] > 0 and result["settings"]["images"] == 30
    assert list(tmp_path.iterdir()) == [output]
    said = capsys.readouterr().out
    assert "30 images, 6 labeled" in said and "(bar 50)" in said
