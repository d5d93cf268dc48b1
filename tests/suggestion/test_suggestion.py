"""Which images the strategies suggest, and which never."""

import numpy as np
import pytest

from kdfixmatch_keras import suggestion

STRATEGIES = {
    "typical": suggestion.typical,
    "doubtful": lambda z, **knobs: suggestion.doubtful(z, unsure(len(z)), **knobs),
    "mixed": lambda z, **knobs: suggestion.mixed(z, unsure(len(z)), **knobs),
    "random": suggestion.at_random,
}


def unsure(count, classes=3):
    return np.random.default_rng(9).dirichlet(np.ones(classes), count)


def heaps(sizes, width=0.1, dimensions=80, seed=0):
    """Points around the corners of a simplex, and the corner of each."""
    rng = np.random.default_rng(seed)
    corner = np.repeat(np.arange(len(sizes)), sizes)
    noise = rng.normal(0, width / dimensions**0.5, (len(corner), dimensions))
    return (np.eye(dimensions)[corner] + noise).astype(np.float32), corner


every = pytest.mark.parametrize("suggest", STRATEGIES.values(), ids=STRATEGIES)


def test_every_strategy_is_tested():
    assert tuple(STRATEGIES) == ("typical", "doubtful", "mixed", "random")
    assert set(suggestion.STRATEGIES) == STRATEGIES.keys()


@every
def test_suggests_rows_once_and_never_labeled_or_excluded_ones(suggest):
    features, _ = heaps([20, 20, 20], width=1.0)
    labeled, excluded = np.arange(0, 60, 3), [1, 4, 7]
    found = suggest(features, count=37, labeled=labeled, excluded=excluded)
    assert found.dtype == np.int64
    assert sorted(found) == sorted(set(range(60)) - {*labeled, *excluded})


@every
def test_the_same_seed_suggests_the_same_and_changes_nothing(suggest):
    features, _ = heaps([30, 30], width=1.0)
    before = features.copy()
    first, again = (suggest(features, count=5, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(features, before)


@every
def test_scale_and_precision_of_features_do_not_count(suggest):
    features, _ = heaps([30, 30], width=1.0)
    found = suggest(features, count=6)
    for other in (features.astype(np.float64) * 1e25, features.tolist()):
        np.testing.assert_array_equal(suggest(other, count=6), found)


@every
def test_copies_are_suggested_once(suggest):
    features, corner = heaps([40, 40, 40, 40], width=1e-4)
    with pytest.warns(UserWarning, match=r"Suggested 4 of the 9 .* near copies"):
        found = suggest(features, count=9)
    assert sorted(corner[found]) == [0, 1, 2, 3]
    with pytest.warns(UserWarning, match="Suggested 3 of the 9"):
        found = suggest(features, count=9, labeled=[50])
    assert sorted(corner[found]) == [0, 2, 3]


@every
@pytest.mark.parametrize("constant", [0, 1, 1e-30])
def test_features_that_are_all_the_same_are_one_image(suggest, constant):
    for dimensions in (3, 100):
        features = np.full((30, dimensions), constant)
        with pytest.warns(UserWarning, match="Suggested 1 of the 5"):
            assert len(suggest(features, count=5)) == 1
        assert suggest(features[:1], count=1).tolist() == [0]


def test_what_all_features_have_in_common_makes_no_copies_of_them():
    for dimensions in (20, 80):
        features, corner = heaps([20, 20, 20], dimensions=dimensions)
        found = suggestion.typical(1000 + features, count=3)
        assert sorted(corner[found]) == [0, 1, 2]


def test_typical_images_are_of_all_kinds_the_frequent_first():
    features, corner = heaps([40, 10, 60, 25, 15], width=0.3)
    found = suggestion.typical(features, count=5)
    assert corner[found].tolist() == [2, 0, 3, 4, 1]


def test_typical_images_are_in_the_midst_of_theirs():
    features, corner = heaps([200, 200], width=0.5)
    distances = np.linalg.norm(features - np.eye(80)[corner], axis=1)
    found = suggestion.typical(features, count=2)
    for row in found:
        assert (distances[corner == corner[row]] < distances[row]).mean() < 0.05


def test_kinds_that_have_a_label_are_passed_over():
    features, corner = heaps([60, 40, 30, 20], width=0.3)
    found = suggestion.typical(features, count=2, labeled=[0, 70])
    assert corner[found].tolist() == [2, 3]


def test_excluded_images_are_as_if_they_were_not_there():
    features, corner = heaps([50, 30, 10], width=0.3)
    excluded = np.flatnonzero(corner == 0)
    found = suggestion.typical(features, count=2, excluded=excluded)
    alone = suggestion.typical(features[50:], count=2)
    np.testing.assert_array_equal(found, alone + 50)


def two_thirds_sure(count, rows):
    """Probabilities that are doubtful in some rows alone."""
    probabilities = np.tile([0.96, 0.02, 0.02], (count, 1))
    probabilities[rows] = [0.34, 0.33, 0.33]
    return probabilities


def test_doubtful_images_are_suggested_spread_over_their_kinds():
    features, corner = heaps([50, 50, 50, 50], width=0.3)
    rows = np.r_[0:30, 50:53, 100:103, 150:153]
    found = suggestion.doubtful(features, two_thirds_sure(200, rows), count=4)
    assert set(found) <= set(rows)
    assert sorted(corner[found]) == [0, 1, 2, 3]


def test_more_doubtful_images_than_there_are_copies_of_one():
    features, corner = heaps([80, 80], width=0.3)
    features[:60] = features[0]
    found = suggestion.doubtful(features, two_thirds_sure(160, np.arange(60)), count=12)
    assert len(found) == 12
    assert (found < 60).sum() == 1


def test_without_any_doubt_images_are_suggested_all_the_same():
    features, _ = heaps([20, 20], width=0.5)
    found = suggestion.doubtful(features, np.eye(2)[[0] * 20 + [1] * 20], count=5)
    assert len(set(found)) == 5


@pytest.mark.parametrize(
    ("labels", "doubtful"), [(0, 0), (20, 2), (150, 10), (400, 15)]
)
def test_the_more_labels_the_more_doubtful_images(labels, doubtful):
    # With 150 labels of three classes as many as typical ones.
    features, _ = heaps([700], width=3.0)
    typical, others = suggestion.mixed_parts(
        features, unsure(700), count=20, labeled=np.arange(labels)
    )
    assert len(others) == doubtful
    assert len({*typical, *others}) == 20


def test_without_a_classifier_mixed_suggests_typical_images():
    features, _ = heaps([30, 30, 30], width=0.5)
    np.testing.assert_array_equal(
        suggestion.mixed(features, count=4, labeled=[5]),
        suggestion.typical(features, count=4, labeled=[5]),
    )


def test_doubt_is_the_lack_of_a_margin_or_of_agreement():
    probabilities = [[0.5, 0.5, 0], [0.7, 0.3, 0], [1, 0, 0], [1, 0, 0]]
    np.testing.assert_allclose(
        suggestion.doubt(probabilities), [1, 0.6, 0, 0], atol=1e-6
    )
    found = suggestion.doubt(probabilities, disagreement=[0, 0, 1, 0.5])
    np.testing.assert_allclose(found, [1, 0.6, 1, 0.5], atol=1e-6)


def test_disagreement_is_the_share_of_other_opinions():
    found = suggestion.disagreement(
        [0, 0, 1, 2], [[0, 1, 0, -1], [0, 0, 2, -1], [-1, -1, 1, -1]]
    )
    np.testing.assert_allclose(found, [0, 0.5, 2 / 3, 0])
    assert not suggestion.disagreement([0, 1], []).any()


def test_contradicted_guesses_are_suggested():
    features, _ = heaps([40, 40], width=0.5)
    sure = np.tile([0.98, 0.02], (80, 1))
    others = np.zeros(80, int)
    others[[7, 48]] = 1
    against = suggestion.disagreement(sure.argmax(axis=1), [others])
    found = suggestion.doubtful(
        features, sure, count=2, disagreement=against, excluded=[48]
    )
    assert 7 in found and 48 not in found


@every
def test_many_images_are_clustered_in_batches(suggest):
    features = np.random.default_rng(0).normal(size=(12_000, 32)).astype(np.float32)
    features[:9000, 0] += 8
    assert len(set(suggest(features, count=24, labeled=np.arange(100)))) == 24
