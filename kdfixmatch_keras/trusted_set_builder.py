"""Selecting the trusted set: confidence first, then agreement with a clustering.

The embeddings of the confident samples are clustered, each cluster is named after a
class, and a sample is trusted if its cluster is named after its own pseudo-label
(Wang et al., ICIP 2023, [arXiv 2309.05826](https://arxiv.org/abs/2309.05826)).
"""

import numbers
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from kdfixmatch_keras import array_validation, memory, validation
from kdfixmatch_keras import clustering as clusterings
from kdfixmatch_keras.trusted_set import TrustedSet

_MAX_CLASSES_NAMED = 20
_ASSIGNMENTS = ("majority", "hungarian")


class TrustedSetBuilder:
    """Selects the trusted set from the outer network's predictions.

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

    Example:
        >>> builder = TrustedSetBuilder(clustering="kmeans", seed=0)
        >>> trusted = builder.build(probabilities, embeddings)  # doctest: +SKIP
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
        if num_clusters is not None:
            validation.check_integer("num_clusters", num_clusters, 2)
        # A wrong name or seed is better refused here than after a day of training.
        validation.check_seed(seed)
        if clustering is not None:
            clusterings.get(clustering, num_clusters or 2, seed)
        self.clustering = clustering
        self.assignment = validation.check_choice(
            "assignment", assignment, _ASSIGNMENTS
        )
        self.num_clusters = num_clusters
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
            UserWarning: If no sample is confident; if there are fewer confident
                samples than clusters; if no cluster agrees with any sample; if
                classes are missing from the trusted set; or if, of more than two
                classes, one holds a share of it above `max(0.5, min(3 / K, 0.9))`,
                three times its share in balanced data unless that is close to all.
                Of two classes either may well be frequent.
        """
        probabilities, embeddings = _check_predictions(probabilities, embeddings)
        num_samples, num_classes = probabilities.shape
        pseudo_labels = probabilities.argmax(axis=1).astype(np.int32)
        confidence = probabilities.max(axis=1)
        # `rows` is the only bridge between the confident samples, which the
        # clustering numbers from 0, and the indices of the samples.
        rows = np.flatnonzero(confidence >= np.float32(self.tau_select))

        cluster = np.full(num_samples, -1, np.int32)
        trusted = np.zeros(num_samples, np.bool_)
        with memory.needed_for(
            f"Clustering {len(rows):,} samples of {embeddings.shape[1]:,} dimensions "
            f"with clustering={self.clustering!r}",
            "clustering='kmeans' needs least, a higher `tau_select` keeps fewer "
            "samples, and a smaller `embedding_dim` makes them smaller.",
        ):
            if overwrite_embeddings and embeddings.flags.writeable:
                chosen = _moved_to_the_front(embeddings, rows)
            else:
                chosen = embeddings[rows]
            clusters, needed = self._cluster(chosen, pseudo_labels[rows], num_classes)
        if clusters is not None:
            cluster[rows] = clusters
            cluster_classes = _classes_of_clusters(
                clusters, pseudo_labels[rows], num_classes, self.assignment
            )
            trusted[rows] = cluster_classes == pseudo_labels[rows]
        trusted_set = TrustedSet(
            pseudo_labels, confidence, cluster, trusted, self.tau_select, num_classes
        )
        _warn_of_weakness(trusted_set, needed)
        return trusted_set

    def _cluster(
        self,
        embeddings: NDArray[np.float32],
        pseudo_labels: NDArray[np.int32],
        num_classes: int,
    ) -> tuple[NDArray[np.int32] | None, int]:
        """Clusters the confident samples.

        Returns:
            Their clusters, or None if there are too few; and how many are needed.
        """
        if self.clustering is None:
            # Each class is a cluster of its own, so that every label agrees.
            return pseudo_labels, 1
        num_clusters = self.num_clusters or num_classes
        clusterer = clusterings.get(self.clustering, num_clusters, self.seed)
        needed = max(num_clusters, _own_num_clusters(clusterer))
        if len(embeddings) < needed:
            return None, needed
        found = clusterer.fit_predict(embeddings)
        return _check_clusters(found, len(embeddings)), needed


def _check_predictions(
    probabilities: Any, embeddings: Any
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    probabilities = array_validation.check_probabilities("probabilities", probabilities)
    embeddings = array_validation.check_matrix("embeddings", embeddings)
    if len(probabilities) != len(embeddings):
        raise ValueError(
            "`probabilities` and `embeddings` must have a row for each of the same "
            f"samples. Received: {len(probabilities)} and {len(embeddings)} rows"
        )
    return probabilities, embeddings


def _moved_to_the_front(
    array: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Moves ascending rows of an array to its start, and returns that part of it."""
    for here in array_validation.stretches(len(rows)):
        # No later row stands here, as a row never moves towards the end.
        array[here] = array[rows[here]]
    return array[: len(rows)]


def _own_num_clusters(clusterer: Any) -> int:
    """Returns how many clusters an object was made for, 0 if it does not say."""
    for attribute in ("num_clusters", "n_clusters"):
        number = getattr(clusterer, attribute, None)
        if isinstance(number, numbers.Integral):
            return int(number)
    return 0


def _check_clusters(clusters: Any, count: int) -> NDArray[np.int32]:
    clusters = array_validation.check_array(
        "clustering.fit_predict", clusters, "what returns integers"
    )
    if (
        clusters.shape != (count,)
        or clusters.dtype.kind not in "iu"
        or clusters.min() < -1
        or clusters.max() > np.iinfo(np.int32).max
    ):
        raise ValueError(
            "`clustering.fit_predict` must return an integer of at least -1 for each "
            f"of the {count} samples it was given. Received: an array of shape "
            f"{clusters.shape} and dtype {clusters.dtype}"
            + (f", from {clusters.min()} to {clusters.max()}" if clusters.size else "")
        )
    return np.asarray(clusters, np.int32)


def _classes_of_clusters(
    clusters: NDArray[np.int32],
    pseudo_labels: NDArray[np.int32],
    num_classes: int,
    assignment: str,
) -> NDArray[np.int64]:
    """Names clusters after classes.

    Args:
        clusters: Cluster of each confident sample, shape `(M,)`; -1 for none.
        pseudo_labels: Pseudo-label of each, shape `(M,)`.
        num_classes: Number K of classes.
        assignment: `"majority"` or `"hungarian"`.

    Returns:
        Class of the cluster of each sample, shape `(M,)`; -1 for none.
    """
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


def _warn_of_weakness(trusted_set: TrustedSet, needed: int) -> None:
    """Warns of a trusted set that the inner network could not learn well from."""
    found = _weakness(trusted_set, needed)
    if found:
        # The caller of `TrustedSetBuilder.build`.
        warnings.warn(found, UserWarning, stacklevel=3)


def _weakness(trusted_set: TrustedSet, needed: int) -> str:
    """Returns what is wrong with a trusted set in plain words, "" if nothing is."""
    total = trusted_set.num_unlabeled
    confident = trusted_set.num_confident
    num_classes = trusted_set.num_classes
    remedy = "Lower `tau_select` or train the outer network longer."
    if confident == 0:
        return (
            f"None of the {total} unlabeled samples reaches "
            f"tau_select={trusted_set.tau_select:g} (the highest confidence is "
            f"{trusted_set.confidence.max():.3g}), so the trusted set is empty. "
            f"{remedy}"
        )
    if confident < needed:
        return (
            f"Only {confident} of the {total} unlabeled samples reach "
            f"tau_select={trusted_set.tau_select:g}, too few for {needed} clusters, so "
            f"the trusted set is empty. {remedy}"
        )
    if len(trusted_set) == 0:
        return (
            f"Of {confident} confident samples none has the class of its cluster, so "
            "the trusted set is empty. Use assignment='majority' or another "
            "clustering, or train the outer network longer."
        )
    findings = []
    sizes = np.bincount(trusted_set.labels, minlength=num_classes)
    missing = np.flatnonzero(sizes == 0)
    if len(missing):
        named = ", ".join(map(str, missing[:_MAX_CLASSES_NAMED]))
        more = ", ..." if len(missing) > _MAX_CLASSES_NAMED else ""
        findings.append(
            f"{len(missing)} of {num_classes} classes are missing from the trusted set "
            f"of {len(trusted_set)} samples: {named}{more}."
        )
    largest = int(sizes.argmax())
    share = sizes[largest] / len(trusted_set)
    if num_classes > 2 and share > max(0.5, min(3 / num_classes, 0.9)):
        findings.append(
            f"Class {largest} holds {sizes[largest]} of the {len(trusted_set)} trusted "
            f"samples ({share:.0%}). Unless it is that frequent in your data, the "
            "outer network takes other classes for it."
        )
    return " ".join([*findings, remedy]) if findings else ""
