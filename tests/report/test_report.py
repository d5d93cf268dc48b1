import base64
import copy
import io
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras import KDFixMatch, TrustedSet, baselines, report
from kdfixmatch_keras.audit import KINDS
from kdfixmatch_keras.report import charts, embedding_map, evaluation, values
from kdfixmatch_keras.report.warning_signs import CHECKS, find, passed, verdict
from kdfixmatch_keras.sources import ArraySource, ImageSource, LabeledImages
from tests.untraced import untraced

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted:UserWarning")

ROOT = Path(__file__).parents[2]
MEGABYTE = 1_000_000
CLASSES = ["cat", "dog", "frog"]


def labeled_noise(num_images, num_classes, shape=(8, 8, 1), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (num_images, *shape), "uint8")
    names = CLASSES if num_classes == 3 else [f"kind {i}" for i in range(num_classes)]
    labels = (np.arange(num_images) % num_classes).astype("int32")
    return LabeledImages(ArraySource(pixels), labels, names)


def settings(**others):
    def convolution(input_shape):
        return keras.Sequential(
            [keras.layers.Input(input_shape), keras.layers.Conv2D(4, 3, strides=2)]
        )

    return {
        "backbone": convolution,
        "embedding_dim": 8,
        "weak_augmentation": "none",
        "strong_augmentation": keras.layers.Identity(),
        "batch_size": 4,
        "unlabeled_ratio": 2,
        "seed": 0,
        **others,
    }


def train(labeled, unlabeled, tau_select=0.0, **options):
    model = KDFixMatch(**settings(clustering="kmeans", tau_select=tau_select))
    length = {"epochs": 2, "steps_per_epoch": 2, "verbose": 0}
    with untraced():
        model.fit(labeled, unlabeled, **length, **options)
    return model


@pytest.fixture(scope="module")
def labeled():
    return labeled_noise(12, 3)


@pytest.fixture(scope="module")
def unlabeled():
    return labeled_noise(40, 3, seed=1).images


@pytest.fixture(scope="module")
def model(labeled, unlabeled):
    return train(labeled, unlabeled, validation_data=labeled_noise(12, 3, seed=5))


@pytest.fixture(scope="module")
def test_images():
    return labeled_noise(15, 3, seed=2)


@pytest.fixture(scope="module")
def probe(labeled, unlabeled, test_images):
    probe = baselines.LinearProbe(settings()["backbone"], sizes=[8, 12], seed=0)
    probe.fit(labeled, unlabeled, test_images, verbose=0)
    return probe


@pytest.fixture(scope="module")
def contents(model, labeled, unlabeled, probe, test_images):
    supervised = baselines.Supervised(**settings())
    with untraced():
        supervised.fit(labeled, unlabeled, epochs=1, steps_per_epoch=1, verbose=0)
    return report.collect(
        model,
        labeled,
        unlabeled,
        test_images,
        supervised=supervised,
        probe=probe,
        accuracies={"another method": 0.5},
        run={"command": "train --seed 0", "seconds": 1.5, "paths": ["a", "b"]},
    )


@pytest.fixture(scope="module")
def without_test(model, labeled, unlabeled):
    return report.collect(model, labeled, unlabeled)


def visible_text(page):
    """The words of a page, without style and tags."""
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


# What is collected


def test_contents_are_strict_json_and_make_the_same_page(contents):
    kept = json.dumps(contents, allow_nan=False)
    assert json.loads(kept) == contents
    assert report.render(json.loads(kept)) == report.render(contents)


def test_a_model_always_has_the_same_report(model, labeled, unlabeled, without_test):
    assert report.collect(model, labeled, unlabeled) == without_test


def test_test_images_are_what_the_accuracies_come_from(
    model, probe, contents, test_images
):
    test = test_images
    found = contents["test"]
    assert found["images"] == 15
    inner = model.evaluate(test)["accuracy"]
    assert found["accuracy"]["inner"]["value"] == pytest.approx(inner)
    assert found["inner"]["accuracy"] == pytest.approx(inner)
    assert list(found["accuracy"]) == ["probe", "supervised", "outer", "inner"]
    assert list(found["inner_against"]) == ["probe", "supervised", "outer"]
    of_probe = probe.evaluate(test)["accuracy"]
    assert found["accuracy"]["probe"]["value"] == pytest.approx(of_probe)
    for accuracy in found["accuracy"].values():
        low, high = accuracy["interval"]
        assert 0 <= low <= accuracy["value"] <= high <= 1
    assert np.sum(found["inner"]["confusion_matrix"]) == 15


class Oracle(keras.Model):
    """A network whose predictions are given."""

    def __init__(self, labels):
        super().__init__()
        self.labels = labels

    def predict(self, batches, verbose):
        return np.eye(3, dtype="float32")[self.labels]


def test_a_probe_that_has_not_seen_the_test_images_predicts_them(
    model, labeled, unlabeled, probe, contents
):
    # The same pixels, as images that it does not know.
    again = labeled_noise(15, 3, seed=2)
    found = report.collect(model, labeled, unlabeled, again, probe=probe)
    assert found["test"]["accuracy"]["probe"] == contents["test"]["accuracy"]["probe"]
    assert found["probe"] == {
        "size": min(probe.used_size),
        "enlarges": min(probe.used_size) > 8,
        "C": probe.used_C,
        "cross_validated_accuracy": probe.cross_validated_accuracy,
    }


def test_copies_of_labeled_images_are_not_counted(model, labeled, unlabeled):
    test = labeled_noise(20, 3, seed=2)
    pixels = test.images.images.copy()
    pixels[[3, 8]] = labeled.images.images[[0, 5]]
    with_copies = LabeledImages(ArraySource(pixels), test.labels, CLASSES)
    with pytest.warns(UserWarning, match="Left out 2 of the 20 images of `test`"):
        found = report.collect(model, labeled, unlabeled, with_copies)["test"]
    rest = np.setdiff1d(np.arange(20), [3, 8])
    others = LabeledImages(ArraySource(pixels[rest]), test.labels[rest], CLASSES)
    assert found == report.collect(model, labeled, unlabeled, others)["test"]
    assert found["images"] == 18


def test_networks_are_compared_image_by_image():
    test = labeled_noise(6, 3)  # of the classes 0 1 2 0 1 2
    inner, outer = Oracle([0, 1, 2, 1, 1, 1]), Oracle([0, 0, 0, 0, 1, 0])
    found = evaluation.measure({"outer": outer, "inner": inner}, test, CLASSES)
    assert found["accuracy"]["inner"]["value"] == pytest.approx(4 / 6)
    pair = found["inner_against"]["outer"]
    assert (pair["better"], pair["worse"]) == (2, 1)
    assert pair["p_value"] == pytest.approx(1.0)
    assert found["confusions"] == [
        {"true": 0, "predicted": 1, "count": 1},
        {"true": 2, "predicted": 1, "count": 1},
    ]


def test_estimates_without_test_images():
    networks = {"inner": Oracle([0, 1, 2, 1]), "supervised": Oracle([0, 0, 0, 0])}
    four = labeled_noise(4, 3)  # of the classes 0 1 2 0
    found = evaluation.estimate(networks, four.images, np.array([0, 1, 0, 0]), four)
    assert found["outer_agrees"] == 0.5
    assert found["supervised_agrees"] == 0.25
    assert found["probe_agrees"] is None
    assert found["mean_confidence"] == 1.0
    assert found["predicted"] == [1, 2, 1]
    assert found["labeled_accuracy"] == 0.75


def test_every_unlabeled_image_is_counted_once(contents):
    trusted = contents["trusted"]
    histogram = trusted["histogram"]
    assert sum(histogram["trusted"]) == trusted["size"] > 0
    assert sum(histogram["trusted"]) + sum(histogram["rejected"]) == 40
    assert sum(trusted["reasons"].values()) == 40
    assert sum(trusted["per_class"]["predicted"]) == 40
    assert trusted["per_class"]["labeled"] == [4, 4, 4]


def test_pictures_are_those_of_the_images_named(contents, unlabeled, model):
    shown = 0
    for gallery in contents["galleries"]:
        for group in gallery["groups"]:
            if group["kind"] == "labeled":
                continue
            assert len(group["images"]) <= 8
            for image in group["images"]:
                index = int(image["name"].removeprefix("image "))
                encoded = image["source"].removeprefix("data:image/png;base64,")
                with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
                    pixels = np.asarray(picture)
                np.testing.assert_array_equal(pixels, unlabeled[[index]][0, :, :, 0])
                trusted = model.trusted_set
                assert trusted.pseudo_labels[index] == gallery["class"]
                assert trusted.reasons()[index] == group["kind"]
                assert image["confidence"] == trusted.confidence[index]
                shown += 1
    assert shown > 0


def test_large_pictures_shrink():
    from kdfixmatch_keras.report.galleries import thumbnail

    source = thumbnail(np.zeros((300, 100, 3), "uint8"))
    encoded = source.removeprefix("data:image/jpeg;base64,")
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        assert picture.height == 64 and picture.width in (21, 22)


def test_classes_with_the_smallest_trusted_share_come_first(labeled, unlabeled):
    from kdfixmatch_keras.report import galleries

    labels = np.arange(40) % 2  # nobody is taken for a frog
    trusted = TrustedSet(
        pseudo_labels=labels,
        confidence=np.full(40, 0.9),
        cluster=labels,
        trusted=(labels == 0) & (np.arange(40) < 30),
        tau_select=0.8,
        num_classes=3,
    )
    chosen = galleries.choose(labeled, unlabeled, trusted, np.random.default_rng(0))
    assert [gallery["class"] for gallery in chosen] == [1, 0, 2]
    groups = {group["kind"]: group for group in chosen[1]["groups"]}
    assert groups["labeled"]["count"] == 4
    assert (groups["trusted"]["count"], len(groups["trusted"]["images"])) == (15, 8)
    assert groups["cluster disagrees"]["count"] == 5


def test_what_is_not_of_the_model_is_refused(model, labeled, unlabeled):
    other_names = LabeledImages(labeled.images, labeled.labels, ["a", "b", "c"])
    larger = labeled_noise(12, 3, (9, 9, 1))
    for arguments, message in [
        ((other_names, unlabeled), "`labeled` must have the classes"),
        ((labeled, unlabeled, other_names), "`test` must have the classes"),
        ((labeled, labeled.images), "`unlabeled` must be the images"),
        ((labeled, unlabeled, larger), "`test` must have images of the shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            report.collect(model, *arguments)
    with pytest.raises(RuntimeError, match="Call `fit` first"):
        report.collect(KDFixMatch(**settings()), labeled, unlabeled)


# The map


def test_the_map_keeps_clusters_apart_and_is_always_the_same():
    generator = np.random.default_rng(0)
    clusters = np.arange(90) % 3
    embeddings = generator.normal(size=(90, 16)).astype("float32")
    embeddings[np.arange(90), clusters] += 20
    points = embedding_map.reduce(embeddings)
    np.testing.assert_array_equal(points, embedding_map.reduce(embeddings))
    assert points.min() == pytest.approx(0) and points.max() == pytest.approx(1)
    centers = np.array([points[clusters == i].mean(axis=0) for i in range(3)])
    nearest = np.linalg.norm(points[:, None] - centers, axis=-1).argmin(axis=1)
    np.testing.assert_array_equal(nearest, clusters)


@pytest.mark.parametrize("shape", [(1, 4), (2, 4), (30, 1), (30, 2), (5, 50)])
def test_the_map_of_few_points_or_dimensions(shape):
    points = embedding_map.reduce(np.random.default_rng(0).normal(size=shape))
    assert points.shape == (shape[0], 2)
    assert np.isfinite(points).all() and points.min() >= 0 and points.max() <= 1


def test_the_map_of_identical_embeddings():
    points = embedding_map.reduce(np.ones((30, 4), "float32"))
    np.testing.assert_allclose(points, 0.5)


# Warnings


def titles(contents):
    return [sign["title"] for sign in find(contents)]


@pytest.fixture
def healthy(contents):
    """Contents that give no cause for a warning."""
    healthy = copy.deepcopy(contents)
    healthy["trusted"]["size"] = 30
    healthy["trusted"]["per_class"] = {
        "labeled": [4, 4, 4],
        "predicted": [13, 13, 14],
        "trusted": [10, 10, 10],
    }
    healthy["estimates"]["predicted"] = [13, 13, 14]
    for history in healthy["history"].values():
        history["loss"], history["mask_rate"] = [1.0, 0.5], [0.4, 0.6]
    fine = {"better": 3, "worse": 3, "p_value": 1.0}
    healthy["test"]["inner_against"] = {"outer": fine, "supervised": fine}
    healthy["warnings"] = find(healthy)
    return healthy


def test_nothing_wrong_no_warnings(healthy):
    assert healthy["warnings"] == []
    text = visible_text(report.render(healthy))
    assert "No warnings." in text
    for code, words in CHECKS.items():
        assert f"{code} {words}" in text


def test_without_test_images_nothing_is_said_to_have_passed_on_them(healthy):
    assert "KD001" not in passed(healthy | {"test": None})


def test_every_finding_has_its_section():
    text = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    found = re.findall(r"^## (KD\d{3})\b", text, re.MULTILINE)
    assert found == [*CHECKS, *KINDS]


def test_an_empty_trusted_set_is_told(healthy):
    healthy["trusted"]["size"] = 0
    healthy["trusted"]["per_class"]["trusted"] = [0, 0, 0]
    assert titles(healthy) == ["No image is trusted"]


def test_a_class_that_nobody_trusts_is_told(healthy):
    healthy["trusted"]["per_class"]["trusted"] = [15, 0, 15]
    assert titles(healthy) == ["Nothing is trusted to be “dog”"]
    assert "Label more images" in find(healthy)[0]["remedy"]


def test_a_class_that_swallows_others_is_told(healthy):
    healthy["estimates"]["predicted"] = [30, 5, 5]
    (sign,) = find(healthy)
    assert sign["title"] == "“cat” may be swallowing other classes"
    assert "75% (by the inner network)" in sign["text"]
    assert "33%" in sign["text"]


def test_a_mask_rate_that_fell_is_told(healthy):
    healthy["history"]["inner"]["mask_rate"] = [0.5, 0.001]
    healthy["history"]["outer"]["mask_rate"] = [0.0, 0.0]
    assert titles(healthy) == [
        "The outer network did not learn from unlabeled images",
        "The inner network stopped learning from unlabeled images",
    ]
    assert "`tau_inner`" in find(healthy)[1]["remedy"]


def test_an_inner_network_that_is_worse_is_told(healthy):
    healthy["test"]["inner_against"] = {
        "supervised": {"better": 1, "worse": 40, "p_value": 1e-9},
        "outer": {"better": 1, "worse": 2, "p_value": 1.0},
    }
    first, second = find(healthy)
    assert first["title"] == "The inner network is worse than the supervised one"
    assert "hardly chance" in first["text"]
    assert "can be chance" in second["text"]


def against_the_probe(contents, probe, inner, p_value):
    """Contents whose probe and inner network have these accuracies."""
    contents = copy.deepcopy(contents)
    for name, accuracy in (("probe", probe), ("inner", inner)):
        contents["test"]["accuracy"][name]["value"] = accuracy
    missing = round(15 * (probe - inner))
    contents["test"]["inner_against"]["probe"] = {
        "better": max(-missing, 0),
        "worse": max(missing, 0),
        "p_value": p_value,
    }
    contents["warnings"], contents["verdict"] = find(contents), verdict(contents)
    return contents


def test_where_the_probe_is_better_the_first_line_says_so(healthy):
    healthy["probe"] |= {"size": 96, "enlarges": True}
    behind = against_the_probe(healthy, 0.8, 0.6, 0.01)
    (sign,) = behind["warnings"]
    assert sign["title"] == "The inner network is worse than the linear probe"
    assert "3 fewer of the 15 test images right. So large" in sign["text"]
    assert "larger images (`image_size`), as the probe sees 96" in sign["remedy"]
    assert "LinearProbe" in sign["remedy"]
    words = visible_text(report.render(behind))
    header = words[words.index("KD-FixMatch report A") :]
    assert header.startswith(
        "KD-FixMatch report A linear classifier on the frozen features of the backbone "
        "is better than this model: it recognises 80.0% of the test images, against "
        "60.0%. So large a difference is hardly chance. 12 labeled"
    )
    healthy["probe"]["enlarges"] = False
    by_chance = against_the_probe(healthy, 0.8, 0.6, 0.2)
    assert "image_size" not in by_chance["warnings"][0]["remedy"]
    assert by_chance["verdict"].endswith("So small a difference can be chance.")


@pytest.mark.parametrize("inner", [0.8, 0.9])
def test_where_the_probe_is_not_better_nothing_is_said(healthy, inner):
    ahead = against_the_probe(healthy, 0.8, inner, 1.0)
    assert ahead["warnings"] == [] and ahead["verdict"] is None
    words = visible_text(report.render(ahead))
    assert "is better than this model" not in words
    assert "Linear probe 80.0%" in words
    assert "only the linear probe." in words


# The page


def test_the_page_with_a_test_set(contents):
    page = report.render(contents)
    assert page.startswith("<!doctype html>")
    words = visible_text(page)
    for expected in (
        "Linear probe",
        "cross-validated",
        "Supervised only",
        "Outer network",
        "Inner network",
        "another method",
        "15 test images",
        "Confusion matrix",
        "confidence below tau_select",
        "train --seed 0",
        "embedding_dim",
    ):
        assert expected in words
    assert "cross-checked estimates" not in words


def test_the_page_without_a_test_set(without_test):
    words = visible_text(report.render(without_test))
    for expected in (
        "cross-checked estimates",
        "Label about 100 more images",
        "Outer and inner agree",
        "Mean confidence",
    ):
        assert expected in words
    assert "Confusion matrix" not in words


def test_without_a_test_set_the_probe_is_not_compared(model, labeled, unlabeled, probe):
    found = report.collect(model, labeled, unlabeled, probe=probe)
    assert found["verdict"] is None
    assert 0 <= found["estimates"]["probe_agrees"] <= 1
    words = visible_text(report.render(found))
    accuracy = f"{probe.cross_validated_accuracy:.1%}"
    assert f"Linear probe {accuracy} of the labeled images, each while" in words
    assert "Linear probe and inner agree" in words
    assert "only a test tells" in words


def test_accuracies_measured_elsewhere(without_test):
    given = {**without_test, "accuracies": {"supervised": 0.25, "other": 0.5}}
    words = visible_text(report.render(given))
    assert "Supervised only 25.0%" in words and "other 50.0%" in words


def test_a_model_that_was_loaded(tmp_path, model, labeled, unlabeled, without_test):
    model.save(tmp_path / "model")
    loaded = KDFixMatch.load(tmp_path / "model")
    contents = report.collect(loaded, labeled, unlabeled)
    assert "not saved" in contents["settings"].pop("backbone")
    expected = {**without_test, "settings": dict(without_test["settings"])}
    assert expected["settings"].pop("backbone") == "convolution"
    assert contents == expected


def test_an_empty_trusted_set(labeled, unlabeled):
    model = train(labeled, unlabeled, tau_select=1.0)
    contents = report.collect(model, labeled, unlabeled)
    assert contents["trusted"]["size"] == 0
    assert "No image is trusted" in visible_text(report.render(contents))


def test_a_run_upon_an_outer_network_trained_before(model, labeled, unlabeled):
    second = train(labeled, unlabeled, outer=model.outer)
    page = report.render(report.collect(second, labeled, unlabeled))
    assert "Outer network, " not in page


def test_a_hundred_classes():
    labeled = labeled_noise(100, 100)
    unlabeled = labeled_noise(300, 100, seed=1).images
    model = train(labeled, unlabeled)
    test = labeled_noise(200, 100, seed=2)
    contents = report.collect(model, labeled, unlabeled, test)
    assert len(contents["galleries"]) == 20
    page = report.render(contents)
    assert len(page) < MEGABYTE
    assert "kind 99" in page
    assert "Most frequent mistakes" in page and "Confusion matrix" not in page


class Generated(ImageSource):
    """A million images of noise, made when they are read, with long names."""

    class Names(list):
        def __getitem__(self, index):
            return f"{'folder/' * 50}{index}.jpg"

    def __init__(self):
        super().__init__((64, 64, 3), self.Names())
        self.read = 0

    def __len__(self):
        return 1_000_000

    def _read(self, indices):
        self.read += len(indices)
        generator = np.random.default_rng(indices.tolist())
        return generator.integers(0, 256, (len(indices), 64, 64, 3), "uint8")


def test_a_million_images_make_no_larger_a_page():
    labeled = labeled_noise(60, 30, (64, 64, 3))
    model = train(labeled, labeled.images)
    generator = np.random.default_rng(0)
    size = 1_000_000
    labels = generator.integers(0, 30, size)
    confidence = generator.random(size)
    model.trusted_set = TrustedSet(
        pseudo_labels=labels,
        confidence=confidence,
        cluster=np.where(confidence < 0.5, -1, labels),
        trusted=(confidence >= 0.5) & (generator.random(size) < 0.7),
        tau_select=0.5,
        num_classes=30,
    )
    source = Generated()
    contents = report.collect(model, labeled, source)
    assert source.read < 5000
    page = report.render(contents)
    assert len(page.encode()) < 5 * MEGABYTE
    assert "1,000,000 unlabeled images" in page


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }} `& $x_{$",
]


def test_names_are_shown_as_they_are(model, labeled, unlabeled, contents):
    hostile = copy.deepcopy(contents)
    hostile["class_names"] = HOSTILE
    for row, name in zip(hostile["test"]["inner"]["per_class"], HOSTILE, strict=True):
        row["class"] = name
    for number, name in enumerate(HOSTILE):
        hostile["map"]["name"][number] = name
        hostile["galleries"][number]["groups"][0]["images"][0]["name"] = name
    hostile["trusted"]["per_class"]["trusted"] = [0, 0, 40]
    hostile["warnings"] = find(hostile)
    hostile["run"] = dict.fromkeys(HOSTILE, HOSTILE[0])
    page = report.render(hostile)
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{ 7 * 7 }}" in page


def test_names_that_no_file_can_hold_are_escaped(tmp_path, contents):
    odd = values.text("caf\udce9 \u202egnp.\x00exe")
    assert odd == "caf\\udce9 \\u202egnp.\\x00exe"
    assert values.text("ö猫\u200d") == "ö猫\u200d"
    long = values.text("a" * 300 + "end.jpg")
    assert len(long) == 80 and long.endswith("end.jpg")
    report.write({**contents, "run": {"odd": odd}}, tmp_path / "report.html")


def test_write_replaces_a_report_whole_or_not_at_all(tmp_path, contents):
    path = tmp_path / "run" / "report.html"
    report.write(contents, path)
    assert path.read_text(encoding="utf-8") == report.render(contents)
    with pytest.raises(ValueError, match="`contents` must be what `collect`"):
        report.write({"format": "another"}, path)
    assert path.read_text(encoding="utf-8") == report.render(contents)
    assert list(path.parent.iterdir()) == [path]


# Charts


def test_a_line_breaks_where_a_value_is_missing():
    chart = charts.line_chart("Loss", {"outer": [2.0, None, 1.0], "inner": [None]})
    (curve,) = chart.curves
    assert curve.name == "outer"
    assert curve.path.count("M") == 2 and len(curve.dots) == 2
    assert "outer: from 2 to 1 in 3 epochs." in chart.words


def test_a_line_of_one_epoch_or_of_zeros():
    (curve,) = charts.line_chart("Loss", {"outer": [0.0]}).curves
    assert len(curve.dots) == 1
    assert charts.line_chart("Loss", {"outer": [None]}) is None


def test_every_point_is_within_the_chart():
    chart = charts.line_chart("Loss", {"outer": [0.001 * i for i in range(1000)]})
    numbers = [float(number) for number in re.findall(r"[\d.]+", chart.curves[0].path)]
    assert 0 <= min(numbers) and max(numbers[::2]) <= charts.WIDTH
    assert max(numbers[1::2]) <= charts.HEIGHT
    assert len(chart.x_ticks) <= 8 and len(chart.y_ticks) <= 8


def test_bars_stack_to_the_count():
    chart = charts.histogram(
        [0, 0.5, 1], {"trusted": [0, 30], "rejected": [1, 10]}, {"tau": 0.5}
    )
    (few,), (trusted,) = chart.bars["rejected"][:1], chart.bars["trusted"]
    above = chart.bars["rejected"][1]
    assert few.height > 0
    assert above.y + above.height == pytest.approx(trusted.y)
    assert trusted.height == pytest.approx(3 * above.height, rel=0.05)
