"""The trusted set: unlabeled samples on whose class two views of the data agree.

The outer network gives every unlabeled sample a pseudo-label and an embedding. A
sample is confident if its largest probability reaches `tau_select`; the embeddings of
the confident samples are clustered, each cluster is named after a class, and a sample
is trusted if its cluster is named after its own pseudo-label (KD-FixMatch, section 3;
Wang et al., ICIP 2023, [arXiv 2309.05826](https://arxiv.org/abs/2309.05826)).

Every vector here is dense: position `i` is unlabeled sample `i`, confident or not.
"""

import contextlib
import csv
import dataclasses
import numbers
import os
import pathlib
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from kdfixmatch_keras import clustering as clusterings

_FILE_FORMAT = "kdfixmatch_keras.TrustedSet.1"
_ROW_SUM_TOLERANCE = 1e-3
_MAX_CLASSES_NAMED = 20
_ASSIGNMENTS = ("majority", "hungarian")


def _check_tau_select(tau_select: Any) -> float:
    real = isinstance(tau_select, numbers.Real) and not isinstance(tau_select, bool)
    if not real or not 0 <= tau_select <= 1:
        raise ValueError(
            f"`tau_select` must be in [0, 1]. Received: tau_select={tau_select!r}"
        )
    return float(tau_select)


@contextlib.contextmanager
def _written_aside(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a path to write to, and moves it to `path` only if all went well."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TrustedSet:
    """Which of N unlabeled samples are trusted, with what label, and why.

    The arrays are copied and cannot be written to. `len()` is the number M of
    trusted samples.

    Args:
        pseudo_labels: Most probable class of each sample, shape `(N,)`, int32.
        confidence: Probability of that class, shape `(N,)`, float32.
        cluster: Cluster of each sample, shape `(N,)`, int32; -1 where it is in none,
            as are all samples that are not confident.
        trusted: Whether the sample is trusted, shape `(N,)`, bool.
        tau_select: Confidence from which on a sample was considered.
        num_classes: Number K of classes.

    Raises:
        ValueError: If the arrays differ in length, or contradict one another.
    """

    pseudo_labels: NDArray[np.int32]
    confidence: NDArray[np.float32]
    cluster: NDArray[np.int32]
    trusted: NDArray[np.bool_]
    tau_select: float
    num_classes: int

    def __post_init__(self) -> None:
        """Copies, converts and checks the arrays."""
        dtypes = {
            "pseudo_labels": np.int32,
            "confidence": np.float32,
            "cluster": np.int32,
            "trusted": np.bool_,
        }
        for name, dtype in dtypes.items():
            array: NDArray[Any] = np.array(getattr(self, name), dtype=dtype)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        shapes = {name: getattr(self, name).shape for name in dtypes}
        if len(set(shapes.values())) != 1 or self.trusted.ndim != 1:
            raise ValueError(
                "`pseudo_labels`, `confidence`, `cluster` and `trusted` must be of "
                f"one shape (N,). Received: {shapes}"
            )
        object.__setattr__(self, "tau_select", _check_tau_select(self.tau_select))
        object.__setattr__(self, "num_classes", int(self.num_classes))
        labels = self.pseudo_labels
        if labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes:
            raise ValueError(
                f"`pseudo_labels` must be in [0, {self.num_classes}). "
                f"Received: values from {labels.min()} to {labels.max()}"
            )
        stray = int((self.trusted & ~(self.confident & (self.cluster >= 0))).sum())
        if stray:
            raise ValueError(
                "`trusted` must only hold for confident samples in a cluster. "
                f"Received: {stray} trusted samples that are not"
            )

    @property
    def confident(self) -> NDArray[np.bool_]:
        """Whether the confidence reaches `tau_select`, shape `(N,)`, bool."""
        return self.confidence >= np.float32(self.tau_select)

    @property
    def indices(self) -> NDArray[np.int64]:
        """Index of each trusted sample, ascending, shape `(M,)`, int64."""
        return np.flatnonzero(self.trusted).astype(np.int64)

    @property
    def labels(self) -> NDArray[np.int32]:
        """Label of each trusted sample, shape `(M,)`, int32."""
        return self.pseudo_labels[self.trusted]

    @property
    def confidences(self) -> NDArray[np.float32]:
        """Confidence of each trusted sample, shape `(M,)`, float32."""
        return self.confidence[self.trusted]

    @property
    def clusters(self) -> NDArray[np.int32]:
        """Cluster of each trusted sample, shape `(M,)`, int32."""
        return self.cluster[self.trusted]

    @property
    def num_unlabeled(self) -> int:
        """Number N of unlabeled samples, trusted or not."""
        return len(self.trusted)

    @property
    def num_confident(self) -> int:
        """Number of samples whose confidence reaches `tau_select`."""
        return int(self.confident.sum())

    def __len__(self) -> int:
        """Returns the number M of trusted samples."""
        return int(self.trusted.sum())

    def __repr__(self) -> str:
        """Returns the counts in one line."""
        return (
            f"TrustedSet({len(self):,} of {self.num_unlabeled:,} samples trusted, "
            f"{self.num_confident:,} confident at tau_select={self.tau_select:g}, "
            f"{self.num_classes} classes)"
        )

    def dense_labels(self) -> NDArray[np.int32]:
        """Returns the label of every unlabeled sample that is trusted.

        Returns:
            Labels, shape `(N,)`, int32; -1 where a sample is not trusted.
        """
        return np.where(self.trusted, self.pseudo_labels, np.int32(-1))

    def audit(self, true_labels: Any) -> dict[str, Any]:
        """Compares the trusted labels with the truth, where somebody knows it.

        Args:
            true_labels: True class of every unlabeled sample, shape `(N,)`, integers.
                A value that is no class, such as -1, counts as a wrong label.

        Returns:
            A dictionary of

            - `"precision"`: share of trusted labels that are right;
            - `"confident_precision"`: the same for all confident samples, that is,
              without the clustering;
            - `"coverage"`: share M / N of the samples that are trusted;
            - `"size"`: number M of trusted samples;
            - `"per_class"`: for each class its `"precision"`, its `"recall"` (share
              of the class's samples that are trusted and rightly labeled) and its
              `"size"` (number of samples trusted to be of it).

            Shares of nothing are NaN.

        Raises:
            ValueError: If `true_labels` is not an integer per unlabeled sample.
        """
        truth = np.asarray(true_labels)
        if truth.shape != self.trusted.shape or truth.dtype.kind not in "iu":
            raise ValueError(
                "`true_labels` must be one integer per unlabeled sample, of shape "
                f"({self.num_unlabeled},). Received: true_labels.shape={truth.shape}, "
                f"dtype={truth.dtype}"
            )
        right = truth == self.pseudo_labels
        per_class = {}
        for label in range(self.num_classes):
            named = self.trusted & (self.pseudo_labels == label)
            hits = int((named & right).sum())
            size = int(named.sum())
            per_class[label] = {
                "precision": _share(hits, size),
                "recall": _share(hits, int((truth == label).sum())),
                "size": size,
            }
        confident = self.confident
        return {
            "precision": _share(int((self.trusted & right).sum()), len(self)),
            "confident_precision": _share(
                int((confident & right).sum()), int(confident.sum())
            ),
            "coverage": _share(len(self), self.num_unlabeled),
            "size": len(self),
            "per_class": per_class,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes everything to a compressed numpy file, without pickle.

        The file appears whole or not at all.

        Args:
            path: File to write, conventionally `*.npz`; replaced if it exists.
        """
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        with (
            _written_aside(pathlib.Path(path)) as aside,
            # numpy appends ".npz" to a name, but not to an open file.
            open(aside, "wb") as file,
        ):
            np.savez_compressed(file, file_format=np.array(_FILE_FORMAT), **fields)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "TrustedSet":
        """Reads what `save` wrote. No code in the file is ever run.

        Args:
            path: File to read.

        Returns:
            The trusted set.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is damaged or something else.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        try:
            # An open file, because numpy leaves one behind when it finds no archive.
            with open(path, "rb") as file:
                archive = np.load(file, allow_pickle=False)
                if str(archive["file_format"]) != _FILE_FORMAT:
                    raise ValueError(f"its format is {archive['file_format']}")
                arrays = {name: archive[name] for name in names}
            arrays["tau_select"] = float(arrays["tau_select"])
            arrays["num_classes"] = int(arrays["num_classes"])
            return cls(**arrays)
        except (
            ValueError,
            TypeError,
            LookupError,
            EOFError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise ValueError(
                "`path` must be a file that `TrustedSet.save` of this version wrote. "
                f"Received: path={os.fspath(path)!r} ({error})"
            ) from error

    def to_csv(
        self,
        path: str | os.PathLike[str],
        names: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        """Writes a row per unlabeled sample, with the reason for its fate.

        The columns are index, name (if `names` is given), pseudo_label, confidence,
        cluster, trusted ("true" or "false") and reason: "trusted", "confidence below
        tau_select", "cluster disagrees", or "in no cluster" for a confident sample
        that the clustering left out.

        Args:
            path: File to write, in UTF-8; replaced if it exists.
            names: A name per unlabeled sample, such as its file, length N.
            class_names: Names of the classes, length K, written in place of numbers.

        Raises:
            ValueError: If a list of names has the wrong length.
        """
        for argument, given, size in (
            ("names", names, self.num_unlabeled),
            ("class_names", class_names, self.num_classes),
        ):
            if given is not None and len(given) != size:
                raise ValueError(
                    f"`{argument}` must have {size} entries. "
                    f"Received: {len(given)} entries"
                )
        header = ["index", "pseudo_label", "confidence", "cluster", "trusted", "reason"]
        if names is not None:
            header.insert(1, "name")
        with (
            _written_aside(pathlib.Path(path)) as aside,
            open(aside, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(header)
            for index, reason in enumerate(self._reasons()):
                label = int(self.pseudo_labels[index])
                row = [
                    index,
                    label if class_names is None else class_names[label],
                    str(self.confidence[index]),
                    self.cluster[index],
                    "true" if self.trusted[index] else "false",
                    reason,
                ]
                if names is not None:
                    row.insert(1, names[index])
                writer.writerow(row)

    def _reasons(self) -> list[str]:
        reasons = np.select(
            [self.trusted, ~self.confident, self.cluster < 0],
            ["trusted", "confidence below tau_select", "in no cluster"],
            "cluster disagrees",
        )
        return [str(reason) for reason in reasons]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


class TrustedSetBuilder:
    """Selects the trusted set from the outer network's predictions.

    Args:
        tau_select: Least confidence of a sample that is considered, in [0, 1].
        clustering: `"dec"`, `"kmeans"`, `"spectral"`, or an object with
            `fit_predict(z)`; -1 in its result puts a sample in no cluster.
        assignment: How clusters get their class. `"majority"`: the most frequent
            pseudo-label in the cluster, the smaller class on a tie; several clusters
            may name one class. `"hungarian"`: the one-to-one assignment with the most
            agreements; clusters left over name no class.
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
        assignment: str = "majority",
        num_clusters: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.tau_select = _check_tau_select(tau_select)
        if num_clusters is not None and (
            not isinstance(num_clusters, numbers.Integral) or num_clusters < 2
        ):
            raise ValueError(
                "`num_clusters` must be None or an integer of at least 2. "
                f"Received: num_clusters={num_clusters!r}"
            )
        if assignment not in _ASSIGNMENTS:
            raise ValueError(
                f"`assignment` must be one of {', '.join(map(repr, _ASSIGNMENTS))}. "
                f"Received: assignment={assignment!r}"
            )
        # A wrong name or seed is better refused here than after a day of training.
        clusterings.get(clustering, num_clusters or 2, seed)
        self.clustering = clustering
        self.assignment = assignment
        self.num_clusters = num_clusters
        self.seed = seed

    def build(self, probabilities: Any, embeddings: Any) -> TrustedSet:
        """Selects the samples whose confidence and cluster speak for one class.

        Args:
            probabilities: Class probabilities of all unlabeled samples in the order
                of their indices, shape `(N, K)`, float, rows summing to 1.
            embeddings: Embeddings of the same samples, shape `(N, D)`, float.

        Returns:
            The trusted set, empty if nothing could be trusted.

        Raises:
            ValueError: If the arrays do not fit one another or are not what they
                should be, or if the clustering returns something else than an integer
                of at least -1 per confident sample.

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
        num_clusters = self.num_clusters or num_classes
        clusterer = clusterings.get(self.clustering, num_clusters, self.seed)
        needed = max(num_clusters, _own_num_clusters(clusterer))
        if len(rows) >= needed:
            clusters = _check_clusters(
                clusterer.fit_predict(embeddings[rows]), len(rows)
            )
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


def _check_predictions(
    probabilities: Any, embeddings: Any
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    # One precision for all that follows, so that half precision is accepted and a
    # stored confidence compares with the threshold as it did here.
    probabilities = np.asarray(probabilities).astype(np.float32)
    embeddings = np.asarray(embeddings).astype(np.float32)
    for name, array, least in (
        ("probabilities", probabilities, 2),
        ("embeddings", embeddings, 1),
    ):
        if array.ndim != 2 or len(array) < 1 or array.shape[1] < least:
            raise ValueError(
                f"`{name}` must have 2 dimensions, at least 1 row (one per unlabeled "
                f"sample) and at least {least} columns. "
                f"Received: {name}.shape={array.shape}"
            )
        if not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).any(axis=1).sum())
            raise ValueError(
                f"`{name}` must be finite. The outer network may have diverged: lower "
                f"its learning rate. Received: {bad} of {len(array)} rows with NaN or "
                "infinity"
            )
    if len(probabilities) != len(embeddings):
        raise ValueError(
            "`probabilities` and `embeddings` must have a row for each of the same "
            f"samples. Received: {len(probabilities)} and {len(embeddings)} rows"
        )
    sums = probabilities.sum(axis=1, dtype=np.float64)
    off = (np.abs(sums - 1) > _ROW_SUM_TOLERANCE) | (probabilities < 0).any(axis=1)
    if off.any():
        row = int(off.argmax())
        raise ValueError(
            "`probabilities` must not be negative and must sum to 1 in every row. "
            f"Apply a softmax to logits. Received: {int(off.sum())} wrong rows, the "
            f"first is row {row} with sum {sums[row]:.6g} and smallest value "
            f"{probabilities[row].min():.6g}"
        )
    return probabilities, embeddings


def _own_num_clusters(clusterer: Any) -> int:
    """Returns how many clusters an object was made for, 0 if it does not say."""
    for attribute in ("num_clusters", "n_clusters"):
        number = getattr(clusterer, attribute, None)
        if isinstance(number, numbers.Integral):
            return int(number)
    return 0


def _check_clusters(clusters: Any, count: int) -> NDArray[np.int32]:
    clusters = np.asarray(clusters)
    if (
        clusters.shape != (count,)
        or clusters.dtype.kind not in "iu"
        or clusters.min() < -1
    ):
        raise ValueError(
            "`clustering.fit_predict` must return an integer of at least -1 for each "
            f"of the {count} samples it was given. Received: an array of shape "
            f"{clusters.shape} and dtype {clusters.dtype}"
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
