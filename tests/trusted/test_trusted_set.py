import csv
import math
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdfixmatch_keras.checks import array_validation
from kdfixmatch_keras.trusted.builder import TrustedSetBuilder
from kdfixmatch_keras.trusted.trusted_set import TrustedSet


class Fixed:
    """A clustering that reads the cluster from the first embedding column."""

    def fit_predict(self, z):
        return z[:, 0].astype(np.int32)


def sharp(labels, confidence, num_classes):
    """Probabilities with the given argmax and maximum."""
    labels = np.asarray(labels)
    confidence = np.broadcast_to(np.asarray(confidence, np.float64), labels.shape)
    rest = (1 - confidence) / (num_classes - 1)
    p = np.repeat(rest[:, None], num_classes, axis=1)
    p[np.arange(len(labels)), labels] = confidence
    return p


def column(clusters):
    return np.asarray(clusters, np.float32)[:, None]


def build_silently(builder, probabilities, embeddings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return builder.build(probabilities, embeddings)


def example():
    """Six samples: 0, 2, 5 trusted; 1 not confident; 3 disagrees; 4 in no cluster."""
    return TrustedSetBuilder(0.8, Fixed(), "majority").build(
        sharp([0, 1, 1, 1, 0, 0], [0.9, 0.6, 0.85, 0.99, 0.9, 0.8], 2),
        column([3, 4, 4, 3, -1, 3]),
    )


def test_the_parts_of_a_trusted_set():
    trusted = example()
    assert len(trusted) == 3
    assert (trusted.num_unlabeled, trusted.num_confident) == (6, 5)
    expected = {
        "indices": (np.int64, [0, 2, 5]),
        "labels": (np.int32, [0, 1, 0]),
        "cluster": (np.int32, [3, -1, 4, 3, -1, 3]),
        "pseudo_labels": (np.int32, [0, 1, 1, 1, 0, 0]),
        "trusted": (np.bool_, [True, False, True, False, False, True]),
    }
    for name, (dtype, values) in expected.items():
        assert getattr(trusted, name).dtype == dtype, name
        np.testing.assert_array_equal(getattr(trusted, name), values, name)
    assert trusted.dense_labels().dtype == np.int32
    np.testing.assert_array_equal(trusted.dense_labels(), [0, -1, 1, -1, -1, 0])
    assert repr(trusted).startswith("TrustedSet(3 of 6 samples trusted, 5 confident")


def test_a_trusted_set_of_no_sample_is_weak():
    assert "None of the 0" in TrustedSet([], [], [], [], 0.8, 3).weakness()


def test_a_trusted_set_cannot_be_changed():
    trusted = example()
    with pytest.raises(ValueError, match="read-only"):
        trusted.trusted[0] = False
    with pytest.raises(AttributeError):
        trusted.tau_select = 0.5


def test_indices_are_global_in_a_permuted_batched_partly_confident_set():
    # The mistake this guards against: to number the confident samples inside each
    # batch, or the kept ones one after another, and use that number as the index.
    generator = np.random.default_rng(7)
    num_samples, num_classes, batch_size = 120, 4, 16
    truth = generator.permutation(np.arange(num_samples) % num_classes)
    confident = generator.random(num_samples) < 0.5
    probabilities = sharp(truth, np.where(confident, 0.95, 0.5), num_classes)
    embeddings = np.eye(num_classes)[truth] + 0.01 * generator.normal(
        size=(num_samples, num_classes)
    )

    # Predictions of batches, put together in index order.
    batches = [slice(i, i + batch_size) for i in range(0, num_samples, batch_size)]
    trusted = TrustedSetBuilder(0.8, "kmeans", seed=0).build(
        np.concatenate([probabilities[batch] for batch in batches]),
        np.concatenate([embeddings[batch] for batch in batches]),
    )
    np.testing.assert_array_equal(trusted.indices, np.flatnonzero(confident))
    np.testing.assert_array_equal(trusted.labels, truth[trusted.indices])
    np.testing.assert_array_equal(
        trusted.dense_labels(), np.where(confident, truth, -1)
    )
    assert trusted.audit(truth)["precision"] == 1.0

    per_batch = np.concatenate(
        [
            number * batch_size + np.arange(confident[batch].sum())
            for number, batch in enumerate(batches)
        ]
    )
    one_after_another = np.arange(confident.sum())
    for wrong in (per_batch, one_after_another):
        assert not np.array_equal(wrong, trusted.indices)
        assert np.mean(truth[wrong] == trusted.labels) < 0.6


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_permuting_the_samples_permutes_the_result(seed):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(3, 0.2), 40)
    embeddings = column(generator.integers(-1, 4, 40))
    order = generator.permutation(40)
    builder = TrustedSetBuilder(0.7, Fixed(), "majority")
    original = build_silently(builder, probabilities, embeddings)
    permuted = build_silently(builder, probabilities[order], embeddings[order])
    np.testing.assert_array_equal(
        permuted.dense_labels(), original.dense_labels()[order]
    )


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    num_samples=st.integers(1, 30),
    num_classes=st.integers(2, 5),
    tau_select=st.sampled_from([0.0, 0.5, 0.8, 1.0]),
)
def test_majority_matches_a_brute_force_reference(
    seed, num_samples, num_classes, tau_select
):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(num_classes, 0.3), num_samples)
    clusters = generator.integers(-1, num_classes + 2, num_samples)
    trusted = build_silently(
        TrustedSetBuilder(tau_select, Fixed(), "majority"),
        probabilities,
        column(clusters),
    )

    p = probabilities.astype(np.float32)
    labels = [max(range(num_classes), key=lambda c: (row[c], -c)) for row in p]
    confident = [i for i in range(num_samples) if p[i].max() >= tau_select]
    expected = np.full(num_samples, -1)
    if len(confident) >= num_classes:
        for i in confident:
            peers = [labels[j] for j in confident if clusters[j] == clusters[i]]
            name = min(set(peers), key=lambda c: (-peers.count(c), c))
            if clusters[i] >= 0 and name == labels[i]:
                expected[i] = labels[i]
    np.testing.assert_array_equal(trusted.dense_labels(), expected)
    assert trusted.num_confident == len(confident)


def test_only_the_confident_are_clustered():
    seen = []

    class Recording(Fixed):
        def fit_predict(self, z):
            seen.append(z)
            return super().fit_predict(z)

    TrustedSetBuilder(0.8, Recording()).build(
        sharp([0, 1, 0, 1], [0.9, 0.9, 0.5, 0.95], 2), column([0, 1, 7, 1])
    )
    np.testing.assert_array_equal(seen[0], column([0, 1, 1]))


def test_hungarian_names_each_class_once_and_majority_may_not():
    # Cluster 0 holds 5 of class 0; cluster 1 holds 3 of class 0 and 2 of class 1.
    labels = [0] * 5 + [0] * 3 + [1] * 2
    probabilities, embeddings = sharp(labels, 0.9, 2), column([0] * 5 + [1] * 5)
    majority = build_silently(
        TrustedSetBuilder(0.8, Fixed(), "majority"), probabilities, embeddings
    )
    np.testing.assert_array_equal(majority.indices, np.arange(8))
    hungarian = TrustedSetBuilder(0.8, Fixed(), "hungarian").build(
        probabilities, embeddings
    )
    np.testing.assert_array_equal(hungarian.indices, [0, 1, 2, 3, 4, 8, 9])


def test_hungarian_leaves_surplus_clusters_without_a_class():
    labels = [0] * 5 + [1] * 5 + [0] * 2
    clusters = [0] * 5 + [1] * 5 + [2] * 2
    trusted = TrustedSetBuilder(0.8, Fixed(), "hungarian", num_clusters=3).build(
        sharp(labels, 0.9, 2), column(clusters)
    )
    np.testing.assert_array_equal(trusted.indices, np.arange(10))
    majority = TrustedSetBuilder(0.8, Fixed(), "majority", num_clusters=3).build(
        sharp(labels, 0.9, 2), column(clusters)
    )
    assert len(majority) == 12


def test_samples_in_no_cluster_take_no_class_from_a_cluster():
    trusted = TrustedSetBuilder(0.8, Fixed(), "hungarian").build(
        sharp([0] * 9 + [0] * 2 + [1], 0.9, 2), column([-1] * 9 + [0, 0, 1])
    )
    np.testing.assert_array_equal(trusted.indices, [9, 10, 11])


def test_ties_go_to_the_smaller_class():
    probabilities = np.array([[0.5, 0.5], [0.1, 0.9], [0.9, 0.1], [0, 1]])
    trusted = TrustedSetBuilder(0.5, Fixed(), "majority").build(
        probabilities, column([0, 0, 0, 1])
    )
    np.testing.assert_array_equal(trusted.pseudo_labels, [0, 1, 0, 1])
    even = build_silently(
        TrustedSetBuilder(0.5, Fixed(), "majority"), probabilities, column([1, 1, 0, 0])
    )
    np.testing.assert_array_equal(even.dense_labels(), [0, -1, 0, -1])


def test_the_tie_of_two_classes_in_both_clusters_is_reported():
    probabilities = sharp([0, 1, 0, 1], 0.9, 2)
    with pytest.warns(UserWarning, match="1 of 2 classes are missing .* 1"):
        TrustedSetBuilder(0.5, Fixed(), "majority").build(
            probabilities, column([0, 0, 1, 1])
        )


def peak_bytes(function):
    """The most memory that arrays take while a function is called."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_embeddings_are_copied_once_at_most(monkeypatch):
    monkeypatch.setattr(array_validation, "ROWS_PER_COPY", 1000)
    labels = np.arange(20_000) % 2
    probabilities = sharp(labels, 0.9, 2).astype(np.float32)
    embeddings = np.tile(column(labels), (1, 100))
    builder = TrustedSetBuilder(0.8, Fixed())
    peak = peak_bytes(lambda: builder.build(probabilities, embeddings))
    assert peak < 1.5 * embeddings.nbytes
    peak = peak_bytes(
        lambda: builder.build(probabilities, embeddings, overwrite_embeddings=True)
    )
    assert peak < 0.7 * embeddings.nbytes


@pytest.mark.parametrize("writeable", [True, False])
def test_overwriting_the_embeddings_changes_no_result(monkeypatch, writeable):
    monkeypatch.setattr(array_validation, "ROWS_PER_COPY", 7)
    random = np.random.default_rng(0)
    probabilities = sharp(random.integers(0, 3, 100), random.uniform(0.5, 1, 100), 3)
    embeddings = random.integers(0, 4, (100, 2)).astype(np.float32)
    builder = TrustedSetBuilder(0.8, Fixed())
    expected = build_silently(builder, probabilities, embeddings)
    embeddings.flags.writeable = writeable
    found = builder.build(probabilities, embeddings, overwrite_embeddings=True)
    np.testing.assert_array_equal(found.cluster, expected.cluster)
    np.testing.assert_array_equal(found.trusted, expected.trusted)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_float_precision_and_the_threshold_itself_is_confident(dtype):
    probabilities = sharp([0, 1], 0.75, 2).astype(dtype)
    trusted = TrustedSetBuilder(0.75, Fixed(), "majority").build(
        probabilities, column([0, 1]).astype(dtype)
    )
    assert trusted.num_confident == 2
    assert trusted.confidence.dtype == np.float32


@pytest.mark.parametrize("tau_select", [0.8, 0.9, 0.95])
def test_a_confidence_equal_to_the_threshold_counts_in_single_precision(tau_select):
    probabilities = sharp([0, 1], tau_select, 2).astype(np.float32)
    assert (
        len(
            TrustedSetBuilder(tau_select, Fixed(), "majority").build(
                probabilities, column([0, 1])
            )
        )
        == 2
    )


@pytest.mark.parametrize("name", ["dec", "kmeans", "spectral"])
def test_clusterings_by_name_sort_out_wrong_labels(name):
    generator = np.random.default_rng(0)
    truth = np.arange(240) % 3
    pseudo_labels = np.where(np.arange(240) < 24, (truth + 1) % 3, truth)
    embeddings = 5 * np.eye(3)[truth] + 0.3 * generator.normal(size=(240, 3))
    trusted = TrustedSetBuilder(0.8, name, seed=0).build(
        sharp(pseudo_labels, 0.9, 3), embeddings
    )
    report = trusted.audit(truth)
    assert report["confident_precision"] == pytest.approx(0.9)
    assert report["precision"] == 1.0
    np.testing.assert_array_equal(trusted.indices, np.arange(24, 240))


@pytest.mark.parametrize(
    ("labels", "confidence", "clusters", "arguments", "size", "message"),
    [
        ([0, 1, 0], 0.6, [0, 1, 0], {}, 0, "None of the 3 .* confidence is 0.6"),
        (
            [0, 1, 2, 0, 1],
            [0.9, 0.9, 0.5, 0.5, 0.5],
            [0, 1, 2, 0, 1],
            {},
            0,
            "Only 2 of the 5 .* too few for 3 clusters.*Lower `tau_select`",
        ),
        ([0, 1], 0.9, [0, 1], {"num_clusters": 3}, 0, "too few for 3 clusters"),
        ([0, 1, 0], 0.9, [-1, -1, -1], {}, 0, "Of 3 confident samples none has"),
        ([0, 0, 2, 2], 0.9, [0, 0, 1, 1], {}, 4, "1 of 3 classes are missing .* 1"),
        (
            [0] * 7 + [1, 2, 3, 4],
            0.9,
            [0] * 7 + [1, 2, 3, 4],
            {},
            11,
            r"Class 0 holds 7 of the 11 trusted samples \(64%\).*train the outer",
        ),
    ],
)
def test_weak_trusted_sets_are_reported(
    labels, confidence, clusters, arguments, size, message
):
    num_classes = max(labels) + 1
    with pytest.warns(UserWarning, match=message) as caught:
        trusted = TrustedSetBuilder(
            0.8, Fixed(), **{"assignment": "majority", **arguments}
        ).build(sharp(labels, confidence, num_classes), column(clusters))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert len(trusted) == size
    assert np.all(trusted.dense_labels()[~trusted.trusted] == -1)


def test_an_object_made_for_more_clusters_than_samples_is_not_called():
    class Many(Fixed):
        n_clusters = 50

        def fit_predict(self, z):
            raise AssertionError

    with pytest.warns(UserWarning, match="too few for 50 clusters"):
        TrustedSetBuilder(0.8, Many()).build(sharp([0, 1], 0.9, 2), column([0, 1]))


def test_a_long_list_of_missing_classes_is_cut():
    with pytest.warns(UserWarning, match=r"98 of 100 classes.* 2, 3, .* 21, \.\.\."):
        TrustedSetBuilder(0.8, Fixed(), "majority", num_clusters=2).build(
            sharp([0, 1], 0.9, 100), column([0, 1])
        )


@pytest.mark.parametrize(
    ("labels", "num_classes"),
    [([0] * 9 + [1], 2), ([0, 1, 2] * 5, 3), ([0] * 5 + [1, 2, 3, 4], 5)],
)
def test_a_good_trusted_set_is_not_reported(labels, num_classes, recwarn):
    TrustedSetBuilder(0.8, Fixed(), "majority").build(
        sharp(labels, 0.9, num_classes), column(labels)
    )
    assert len(recwarn) == 0


GOOD = sharp([0, 1, 0], 0.9, 2)
ROWS = np.zeros((3, 1))


class Wrong:
    def __init__(self, result):
        self.result = result

    def fit_predict(self, z):
        return self.result


@pytest.mark.parametrize(
    ("arguments", "probabilities", "embeddings", "message"),
    [
        ({"tau_select": 1.5}, GOOD, ROWS, r"`tau_select` .* \[0, 1\].*tau_select=1.5"),
        ({"tau_select": "0.8"}, GOOD, ROWS, "`tau_select` must be"),
        ({"tau_select": float("nan")}, GOOD, ROWS, "`tau_select` must be"),
        ({"assignment": "vote"}, GOOD, ROWS, "`assignment` must be one of 'majority'"),
        ({"num_clusters": 1}, GOOD, ROWS, "`num_clusters` must be"),
        ({"num_clusters": 2.0}, GOOD, ROWS, "`num_clusters` must be"),
        ({"clustering": "kmean"}, GOOD, ROWS, "Did you mean 'kmeans'"),
        ({"clustering": "kmeans", "seed": -1}, GOOD, ROWS, "`seed` must be"),
        ({}, GOOD[0], ROWS, "`probabilities` must have 2 dimensions"),
        ({}, GOOD[:, :1], ROWS, "at least 2 columns"),
        ({}, GOOD[:0], ROWS[:0], "at least 1 row"),
        ({}, GOOD, ROWS[:, 0], "`embeddings` must have 2 dimensions"),
        ({}, GOOD, ROWS[:, :0], "`embeddings` must have 2 dimensions"),
        ({}, GOOD, ROWS[:2], "Received: 3 and 2 rows"),
        ({}, GOOD * np.nan, ROWS, "`probabilities` must be finite.*3 of 3 rows"),
        ({}, GOOD, ROWS + np.inf, "`embeddings` must be finite"),
        ({}, 1.01 * GOOD, ROWS, "`probabilities` must not be negative .* 3 wrong rows"),
        ({}, [[1.5, -0.5]] * 3, ROWS, "softmax.* smallest value -0.5"),
        ({"clustering": Wrong(np.zeros(2, int))}, GOOD, ROWS, r"shape \(2,\)"),
        ({"clustering": Wrong(np.zeros((3, 1), int))}, GOOD, ROWS, r"shape \(3, 1\)"),
        ({"clustering": Wrong(np.zeros(3))}, GOOD, ROWS, "dtype float64"),
        ({"clustering": Wrong(np.full(3, -2))}, GOOD, ROWS, "at least -1"),
        ({"clustering": Wrong(None)}, GOOD, ROWS, "`clustering.fit_predict` must"),
    ],
)
def test_wrong_arguments_are_refused(arguments, probabilities, embeddings, message):
    with pytest.raises(ValueError, match=message):
        TrustedSetBuilder(
            **{"clustering": Fixed(), **{"assignment": "majority", **arguments}}
        ).build(probabilities, embeddings)


def test_a_clustering_of_the_wrong_type_is_refused_before_any_data():
    with pytest.raises(TypeError, match="`clustering` must be a name or an object"):
        TrustedSetBuilder(clustering=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cluster": [0]}, r"must be of one shape \(N,\)"),
        ({"trusted": [[True, False]]}, r"must be of one shape \(N,\)"),
        ({"tau_select": 2}, "`tau_select` must be"),
        ({"pseudo_labels": [0, 2]}, r"`pseudo_labels` must be in \[0, 2\)"),
        ({"cluster": [-1, 1]}, "1 trusted samples that are not"),
        ({"confidence": [0.5, 0.5]}, "`trusted` must only hold for confident"),
    ],
)
def test_a_contradictory_trusted_set_is_refused(changes, message):
    fields = {
        "pseudo_labels": [0, 1],
        "confidence": [0.9, 0.5],
        "cluster": [0, -1],
        "trusted": [True, False],
        "tau_select": 0.8,
        "num_classes": 2,
    }
    assert len(TrustedSet(**fields)) == 1
    with pytest.raises(ValueError, match=message):
        TrustedSet(**{**fields, **changes})


def test_audit():
    report = example().audit(np.array([0, 1, 0, 0, 0, 0]))
    assert report["size"] == 3
    assert report["coverage"] == 0.5
    assert report["precision"] == pytest.approx(2 / 3)
    assert report["confident_precision"] == pytest.approx(3 / 5)
    assert report["per_class"] == {
        0: {"precision": 1.0, "recall": pytest.approx(2 / 5), "size": 2},
        1: {"precision": 0.0, "recall": 0.0, "size": 1},
    }


def test_audit_of_an_empty_set_is_nan_not_an_error():
    with pytest.warns(UserWarning, match="None of the 2"):
        trusted = TrustedSetBuilder(0.8, Fixed(), "majority").build(
            sharp([0, 1], 0.6, 2), column([0, 1])
        )
    report = trusted.audit(np.array([-1, 0]))
    assert math.isnan(report["precision"])
    assert math.isnan(report["confident_precision"])
    assert (report["coverage"], report["size"]) == (0.0, 0)
    assert math.isnan(report["per_class"][1]["recall"])
    assert trusted.indices.shape == trusted.labels.shape == (0,)


@pytest.mark.parametrize("truth", [[0, 1], np.zeros(6), np.zeros((6, 1), int)])
def test_audit_refuses_other_labels(truth):
    with pytest.raises(ValueError, match="`true_labels` must be one integer per"):
        example().audit(truth)


@pytest.mark.parametrize("name", ["trusted.npz", "no_suffix"])
def test_save_and_load_round_trip(tmp_path, name):
    trusted = example()
    trusted.save(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    loaded = TrustedSet.load(str(tmp_path / name))
    for field in ("pseudo_labels", "confidence", "cluster", "trusted"):
        np.testing.assert_array_equal(getattr(loaded, field), getattr(trusted, field))
        assert getattr(loaded, field).dtype == getattr(trusted, field).dtype
    assert (loaded.tau_select, loaded.num_classes) == (0.8, 2)
    assert type(loaded.num_classes) is int


def test_a_failed_save_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "trusted.npz"
    example().save(path)
    old = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        example().save(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def write_truncated(path):
    example().save(path)
    path.write_bytes(path.read_bytes()[:-40])


def write_object_array(path):
    with open(path, "wb") as file:
        np.savez(file, file_format=np.array([{}], dtype=object))


def write_other_format(path):
    with open(path, "wb") as file:
        np.savez(file, file_format=np.array("something else"))


def write_array(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


def write_other_npz(path):
    with open(path, "wb") as file:
        np.savez(file, x=np.zeros(3))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("index,label\n0,1\n"),
        write_array,
        write_other_npz,
        write_other_format,
        write_object_array,
        write_truncated,
    ],
)
def test_load_refuses_other_files(tmp_path, write):
    path = tmp_path / "wrong.npz"
    write(path)
    with pytest.raises(ValueError, match=r"`path` must be a file that `TrustedSet.sav"):
        TrustedSet.load(path)


def test_load_of_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        TrustedSet.load(tmp_path / "missing.npz")


def test_csv_has_a_row_and_a_reason_for_every_sample(tmp_path):
    path = tmp_path / "trusted.csv"
    trusted = example()
    trusted.to_csv(path)
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    header = ["index", "pseudo_label", "confidence", "cluster", "trusted", "reason"]
    assert list(rows[0]) == header
    assert [row["index"] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert [row["reason"] for row in rows] == [
        "trusted",
        "confidence below tau_select",
        "trusted",
        "cluster disagrees",
        "in no cluster",
        "trusted",
    ]
    assert [row["trusted"] == "true" for row in rows] == trusted.trusted.tolist()
    np.testing.assert_array_equal(
        np.float32([row["confidence"] for row in rows]), trusted.confidence
    )
    assert [int(row["cluster"]) for row in rows] == trusted.cluster.tolist()


def test_csv_with_names(tmp_path):
    path = tmp_path / "trusted.csv"
    names = [f"übung, {i}.png" for i in range(6)]
    example().to_csv(path, names, class_names=["cat", "dog"])
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == names
    assert [row["pseudo_label"] for row in rows][:3] == ["cat", "dog", "dog"]


@pytest.mark.parametrize("argument", ["names", "class_names"])
def test_csv_refuses_names_of_the_wrong_number(tmp_path, argument):
    with pytest.raises(ValueError, match=f"`{argument}` must have"):
        example().to_csv(tmp_path / "trusted.csv", **{argument: ["a"]})
    assert list(tmp_path.iterdir()) == []


def test_every_sample_has_a_reason():
    assert example().reasons() == [
        "trusted",
        "confidence below tau_select",
        "trusted",
        "cluster disagrees",
        "in no cluster",
        "trusted",
    ]
