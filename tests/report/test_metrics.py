import json

import numpy as np
import pytest

from kdfixmatch_keras.report.metrics import (
    evaluate_predictions,
    expected_calibration_error,
)

NAMES = ["cat", "dog", "frog"]
# Predicts cat, cat, dog; the second wrongly, and nobody is or is taken for a frog.
PROBABILITIES = [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.0, 1.0, 0.0]]
LABELS = [0, 1, 1]


def test_counts_and_shares():
    results = evaluate_predictions(PROBABILITIES, LABELS, NAMES)
    assert results["accuracy"] == pytest.approx(2 / 3)
    assert results["confusion_matrix"] == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    cat, dog, frog = results["per_class"]
    assert cat == {
        "class": "cat",
        "precision": 0.5,
        "recall": 1.0,
        "f1": pytest.approx(2 / 3),
        "support": 1,
    }
    assert (dog["precision"], dog["recall"], dog["support"]) == (1.0, 0.5, 2)
    assert frog == {
        "class": "frog",
        "precision": None,
        "recall": None,
        "f1": None,
        "support": 0,
    }


def test_is_strict_json():
    results = evaluate_predictions(np.float32(PROBABILITIES), np.int32(LABELS), NAMES)
    assert json.loads(json.dumps(results, allow_nan=False)) == results


def test_calibration_error_by_hand():
    # One bin for each: gaps of 0.2, -0.6 and 0.
    expected = (0.2 + 0.6 + 0.0) / 3
    assert expected_calibration_error(PROBABILITIES, LABELS) == pytest.approx(expected)
    # In one bin for all they cancel.
    together = expected_calibration_error(PROBABILITIES, LABELS, 1)
    assert together == pytest.approx(0.4 / 3)


def test_a_calibrated_coin_has_no_error():
    coins = np.full((10, 2), 0.5)
    labels = np.arange(10) % 2
    assert expected_calibration_error(coins, labels) == pytest.approx(0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([0.5, 0.5], [0], NAMES), "`probabilities` must"),
        (([[]], [0], []), "`probabilities` must"),
        (([[np.nan, 1.0]], [0], NAMES), "`probabilities` must"),
        ((PROBABILITIES, [0], NAMES), "`labels` must be integers"),
        ((PROBABILITIES, [0.0, 1.0, 2.0], NAMES), "`labels` must be integers"),
        ((PROBABILITIES, [0, 1, 3], NAMES), r"`labels` must be in \[0, 3\)"),
        ((PROBABILITIES, [0, 1, -1], NAMES), r"`labels` must be in \[0, 3\)"),
        ((PROBABILITIES, LABELS, NAMES[:2]), "`class_names` must have 3 entries"),
    ],
)
def test_refuses_what_does_not_belong_together(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate_predictions(*arguments)
