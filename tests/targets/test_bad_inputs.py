"""Bad inputs of `targets`."""

import numpy as np
import pytest

from kdfixmatch_keras import thresholds
from kdfixmatch_keras.targets import distribution_alignment
from tests.bad_inputs import check_refusal, integer, of_rows, threes, threshold

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")

ROWS = [
    (
        "thresholds.FixedThreshold",
        lambda g: thresholds.FixedThreshold("high"),
        ValueError,
        "`tau` must be in [0, 1]. Received: tau='high'",
    ),
    (
        "thresholds.FlexMatchThreshold",
        lambda g: thresholds.FlexMatchThreshold(0.9, 3, 0),
        ValueError,
        integer("num_unlabeled", 1, 0),
    ),
    (
        "thresholds.FreeMatchThreshold",
        lambda g: thresholds.FreeMatchThreshold(3, fairness_weight=-1),
        ValueError,
        "`fairness_weight` must be in [0, infinity). Received: fairness_weight=-1",
    ),
    (
        "thresholds.SoftMatchThreshold",
        lambda g: thresholds.SoftMatchThreshold(3, num_sigmas=0),
        ValueError,
        "`num_sigmas` must be in (0, infinity). Received: num_sigmas=0",
    ),
    (
        "Threshold.check_probabilities",
        lambda g: threshold("freematch", num_classes=2)(threes(), np.arange(4)),
        ValueError,
        "`probabilities` must be of shape (M, 2), a row for each image. Received: "
        "probabilities.shape=(4, 3)",
    ),
    (
        "thresholds.get",
        lambda g: threshold("fixd"),
        ValueError,
        "Received: threshold='fixd'. Did you mean 'fixed'?",
    ),
    (
        "thresholds.get",
        lambda g: threshold("flexmatch", num_unlabeled=None),
        ValueError,
        "`num_unlabeled` must be the number of unlabeled images: threshold='flexmatch' "
        "remembers a class for each. Received: num_unlabeled=None",
    ),
    (
        "thresholds.check",
        lambda g: thresholds.check("soft", 0.9),
        ValueError,
        "Received: threshold='soft'. Did you mean 'softmatch'?",
    ),
    (
        "distribution_alignment.DistributionAlignment",
        lambda g: distribution_alignment.DistributionAlignment([0.5, 0.6]),
        ValueError,
        "`target_distribution` must be K positive numbers that sum to 1. Received: "
        "target_distribution=[0.5, 0.6]",
    ),
    (
        "distribution_alignment.DistributionAlignment",
        lambda g: distribution_alignment.DistributionAlignment("even"),
        ValueError,
        "`target_distribution` must be K positive numbers. Received: "
        "target_distribution",
    ),
    (
        "distribution_alignment.DistributionAlignment",
        lambda g: distribution_alignment.DistributionAlignment([0.5, 0.5])(threes()),
        ValueError,
        "`logits` must be of shape (n, 2), a column for each number of "
        "`target_distribution`. Received: logits.shape=(4, 3)",
    ),
]


@of_rows(ROWS)
def test_bad_input(given, call, error, words):
    check_refusal(given, call, error, words)
