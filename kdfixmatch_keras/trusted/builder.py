"""Selecting the trusted set: confidence first, then agreement with a clustering."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from kdfixmatch_keras import clustering as clusterings
from kdfixmatch_keras.checks import array_validation, validation
from kdfixmatch_keras.trusted.trusted_set import TrustedSet

_ASSIGNMENTS = ("majority", "hungarian")


class TrustedSetBuilder:
    """Selects the trusted set from the outer network's predictions.

    The embeddings of the confident samples are clustered, each cluster is named after a
    class, and a sample is trusted if its cluster is named after its own pseudo-label.

    Args:
        tau_select: Least confidence of a sample that is considered, in [0, 1].
        clustering: `"dec"`, `"kmeans"`, `"spectral"`, or an object with
            `fit_predict(z)`; -1 in its result puts a sample in no cluster. None asks
            for no agreement: whatever is confident is trusted.
        assignment: How clusters get their class. `"hungarian"`: the one-to-one
            assignment with the most agreements; clusters left over name no class.
            `"majority"`: the most frequent pseudo-label in the cluster, the smaller
            class on a tie; several clusters may name one class.
        num_clusters: Number of clusters, at least 2; None for one per class. It also
            is the least number of confident samples that are clustered at all.
        seed: Seed of a clustering given by name.

    Raises:
        ValueError: If an argument is out of its range.
        TypeError: If `clustering` is neither a name nor has `fit_predict`.

    Reference:
        - [Wang et al., 2023](https://arxiv.org/abs/2309.05826), section 3
    """

    def __init__(
        self,
        tau_select: float = 0.80,
        clustering: Any = "dec",
        assignment: str = "hungarian",
        num_clusters: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.tau_select = validation.check_fraction("tau_select", tau_select)
        self.num_clusters = validation.check_count("num_clusters", num_clusters, 2)
        # A wrong name or seed is better refused here than after a day of training.
        validation.check_seed(seed)
        if clustering is not None:
            clusterings.get(clustering, num_clusters or 2, seed)
        self.clustering = clustering
        self.assignment = validation.check_choice(
            "assignment", assignment, _ASSIGNMENTS
        )
        self.seed = seed

    def build(
        self, probabilities: Any, embeddings: Any, *, overwrite_embeddings: bool = False
    ) -> TrustedSet:
        """Selects the samples whose confidence and cluster speak for one class.

        Args:
            probabilities: Class probabilities of all unlabeled samples in the order
                of their indices, shape `(N, K)`, float, rows summing to 1.
            embeddings: Embeddings of the same samples, shape `(N, D)`, float.
            overwrite_embeddings: Whether the array `embeddings` may lose what it holds.
                Where it can be written to, no copy of the confident rows is made then.

        Returns:
            The trusted set, empty if nothing could be trusted.

        Raises:
            ValueError: If the arrays do not fit one another or are not what they
                should be, or if the clustering returns something else than an integer
                of at least -1 per confident sample.
            MemoryError: If the clustering runs out of memory.

        Warns:
            UserWarning: If the trusted set is weak; see `TrustedSet.weakness`.
        """
        probabilities = array_validation.check_probabilities(
            "probabilities", probabilities
        )
        embeddings = array_validation.check_matrix("embeddings", embeddings)
        if len(probabilities) != len(embeddings):
            raise ValueError(
                "`probabilities` and `embeddings` must have a row for each of the same "
                f"samples. Received: {len(probabilities)} and {len(embeddings)} rows"
            )
        num_samples, num_classes = probabilities.shape
        pseudo_labels = probabilities.argmax(axis=1).astype(np.int32)
        confidence = probabilities.max(axis=1)
        # `rows` is the only bridge between the confident samples, which the
        # clustering numbers from 0, and the indices of the samples.
        rows = np.flatnonzero(confidence >= np.float32(self.tau_select))
        cluster = np.full(num_samples, -1, np.int32)
        trusted = np.zeros(num_samples, np.bool_)
        needed = 1
        if self.clustering is None:
            # Each class is a cluster of its own, so that every label agrees.
            cluster[rows] = pseudo_labels[rows]
        else:
            num_clusters = self.num_clusters or num_classes
            clusterer = clusterings.get(self.clustering, num_clusters, self.seed)
            needed = max(num_clusters, clusterings.own_number(clusterer))
            if len(rows) >= needed:
                cluster[rows] = clusterings.fit_predict(
                    *(clusterer, self.clustering, embeddings, rows),
                    overwrite=overwrite_embeddings,
                )
        if len(rows) >= needed:
            classes = _classes_of_clusters(
                cluster[rows], pseudo_labels[rows], num_classes, self.assignment
            )
            trusted[rows] = classes == pseudo_labels[rows]
        trusted_set = TrustedSet(
            pseudo_labels, confidence, cluster, trusted, self.tau_select, num_classes
        )
        weakness = trusted_set.weakness(needed)
        if weakness:
            warnings.warn(weakness, UserWarning, stacklevel=2)
        return trusted_set


def _classes_of_clusters(
    clusters: NDArray[np.int32],
    pseudo_labels: NDArray[np.int32],
    num_classes: int,
    assignment: str,
) -> NDArray[np.int64]:
    """The class of the cluster of each of M confident samples, -1 for none."""
    names, positions = np.unique(clusters, return_inverse=True)
    counts = np.zeros((len(names), num_classes), np.int64)
    np.add.at(counts, (positions, pseudo_labels), 1)
    # Samples in no cluster must not take a class from a real cluster.
    real = np.flatnonzero(names >= 0)
    classes = np.full(len(names), -1, np.int64)
    if assignment == "majority":
        # `argmax` takes the first of equals, the smaller class.
        classes[real] = counts[real].argmax(axis=1)
    else:
        rows, columns = linear_sum_assignment(counts[real], maximize=True)
        classes[real[rows]] = columns
    return classes[positions]
