"""The trusted set: unlabeled samples on whose class two views of the data agree.

The outer network gives every unlabeled sample a pseudo-label and an embedding. A
sample is confident if its largest probability reaches `tau_select`; the embeddings of
the confident samples are clustered, each cluster is named after a class, and a sample
is trusted if its cluster is named after its own pseudo-label (KD-FixMatch, section 3;
Wang et al., ICIP 2023, [arXiv 2309.05826](https://arxiv.org/abs/2309.05826)).

Every vector here is dense: position `i` is unlabeled sample `i`, confident or not.
"""

import csv
import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdfixmatch_keras.checks import array_validation, validation
from kdfixmatch_keras.checks.paths import check_table
from kdfixmatch_keras.storage.files import written_aside
from kdfixmatch_keras.storage.integrity import DAMAGED, check_archive

REASONS = (
    "trusted",
    "confidence below tau_select",
    "in no cluster",
    "cluster disagrees",
)

_MAX_CLASSES_NAMED = 20
_FILE_FORMAT = "kdfixmatch_keras.TrustedSet.1"

_DTYPES: dict[str, Any] = {
    "pseudo_labels": np.int32,
    "confidence": np.float32,
    "cluster": np.int32,
    "trusted": np.bool_,
}


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
        ValueError: If the arrays differ in length, are not as above, or contradict
            one another.
    """

    pseudo_labels: NDArray[np.int32]
    confidence: NDArray[np.float32]
    cluster: NDArray[np.int32]
    trusted: NDArray[np.bool_]
    tau_select: float
    num_classes: int

    def __post_init__(self) -> None:
        """Copies, converts and checks the arrays."""
        for name, dtype in _DTYPES.items():
            array = _converted(name, getattr(self, name), dtype)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        shapes = {name: getattr(self, name).shape for name in _DTYPES}
        if len(set(shapes.values())) != 1 or self.trusted.ndim != 1:
            raise ValueError(
                "`pseudo_labels`, `confidence`, `cluster` and `trusted` must be of "
                f"one shape (N,). Received: {shapes}"
            )
        object.__setattr__(
            self, "tau_select", validation.check_fraction("tau_select", self.tau_select)
        )
        object.__setattr__(
            self,
            "num_classes",
            validation.check_integer("num_classes", self.num_classes, 1),
        )
        labels = self.pseudo_labels
        if labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes:
            raise ValueError(
                f"`pseudo_labels` must be in [0, {self.num_classes}). "
                f"Received: values from {labels.min()} to {labels.max()}"
            )
        confidence = self.confidence
        # Rounded probabilities may sum to a little more than 1.
        highest = 1 + array_validation.ROW_SUM_TOLERANCE
        if not ((confidence >= 0) & (confidence <= highest)).all():
            raise ValueError(
                "`confidence` must be probabilities in [0, 1]. Received: values from "
                f"{confidence.min():g} to {confidence.max():g}"
            )
        if self.cluster.size and self.cluster.min() < -1:
            raise ValueError(
                "`cluster` must be at least 0, or -1 for none. Received: values from "
                f"{self.cluster.min()}"
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

    def reasons(self) -> list[str]:
        """Tells why each unlabeled sample is trusted or not.

        Returns:
            One of `REASONS` for each of the N samples: "trusted", "confidence below
            tau_select", "in no cluster" for a confident sample that the clustering
            left out, or "cluster disagrees".
        """
        positions = np.select(
            [self.trusted, ~self.confident, self.cluster < 0], [0, 1, 2], 3
        )
        return [REASONS[position] for position in positions]

    def weakness(self, needed: int = 1) -> str:
        """Tells in plain words what the inner network could not learn well from.

        That is: no sample is confident, or fewer than `needed`; no cluster agrees with
        any; classes are missing; or, of more than two classes, one holds a share above
        `max(0.5, min(3 / K, 0.9))`, three times that in balanced data unless it is
        close to all. Of two classes either may well be frequent.

        Args:
            needed: How many confident samples the clustering asks for.

        Returns:
            What is wrong with this set and what to do about it, "" if nothing is.

        Raises:
            ValueError: If `needed` is not an integer of at least 1.
        """
        needed = validation.check_integer("needed", needed, 1)
        total = self.num_unlabeled
        confident = self.num_confident
        num_classes = self.num_classes
        remedy = "Lower `tau_select` or train the outer network longer."
        if confident == 0:
            return (
                f"None of the {total} unlabeled samples reaches "
                f"tau_select={self.tau_select:g} (the highest confidence is "
                f"{self.confidence.max(initial=0.0):.3g}), so the trusted set is "
                f"empty. {remedy}"
            )
        if confident < needed:
            return (
                f"Only {confident} of the {total} unlabeled samples reach "
                f"tau_select={self.tau_select:g}, too few for {needed} clusters, so "
                f"the trusted set is empty. {remedy}"
            )
        if len(self) == 0:
            return (
                f"Of {confident} confident samples none has the class of its cluster, "
                "so the trusted set is empty. Use assignment='majority' or another "
                "clustering, or train the outer network longer."
            )
        findings = []
        sizes = np.bincount(self.labels, minlength=num_classes)
        missing = np.flatnonzero(sizes == 0)
        if len(missing):
            named = ", ".join(map(str, missing[:_MAX_CLASSES_NAMED]))
            more = ", ..." if len(missing) > _MAX_CLASSES_NAMED else ""
            findings.append(
                f"{len(missing)} of {num_classes} classes are missing from the trusted "
                f"set of {len(self)} samples: {named}{more}."
            )
        largest = int(sizes.argmax())
        share = sizes[largest] / len(self)
        if num_classes > 2 and share > max(0.5, min(3 / num_classes, 0.9)):
            findings.append(
                f"Class {largest} holds {sizes[largest]} of the {len(self)} trusted "
                f"samples ({share:.0%}). Unless it is that frequent in your data, the "
                "outer network takes other classes for it."
            )
        return " ".join([*findings, remedy]) if findings else ""

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
        truth = array_validation.check_array("true_labels", true_labels, "integers")
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

        Raises:
            TypeError: If `path` is no path.
            ValueError: If a folder stands there.
        """
        path = validation.check_output_file("path", path)
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        with (
            written_aside(path) as aside,
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
        path = validation.check_path("path", path)
        names = [field.name for field in dataclasses.fields(cls)]
        try:
            # An open file, because numpy leaves one behind when it finds no archive.
            with open(path, "rb") as file:
                # numpy checks only members that it reads to their end.
                check_archive(file)
                archive = np.load(file, allow_pickle=False)
                if str(archive["file_format"]) != _FILE_FORMAT:
                    raise ValueError(f"its format is {archive['file_format']}")
                arrays = {name: archive[name] for name in names}
            arrays["tau_select"] = float(arrays["tau_select"])
            arrays["num_classes"] = int(arrays["num_classes"])
            return cls(**arrays)
        except FileNotFoundError:
            raise
        except DAMAGED as error:
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
        cluster, trusted ("true" or "false") and reason, as `reasons` tells it.

        Args:
            path: File to write, in UTF-8; replaced if it exists.
            names: A name per unlabeled sample, such as its file, length N.
            class_names: Names of the classes, length K, written in place of numbers.

        Raises:
            ValueError: If a list of names has the wrong length, a folder stands at
                `path`, or its ending is that of another format.
            TypeError: If names are not strings, or `path` is no path.
        """
        path = validation.check_output_file("path", path)
        check_table("path", path)
        if names is not None:
            names = validation.check_names("names", names, self.num_unlabeled)
        if class_names is not None:
            class_names = validation.check_names(
                "class_names", class_names, self.num_classes
            )
        header = ["index", "pseudo_label", "confidence", "cluster", "trusted", "reason"]
        if names is not None:
            header.insert(1, "name")
        with (
            written_aside(path) as aside,
            open(aside, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(header)
            for index, reason in enumerate(self.reasons()):
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


def _converted(name: str, value: Any, dtype: Any) -> NDArray[Any]:
    """A copy of an array in another dtype that can hold its values."""
    array = array_validation.check_array(name, value)
    kind = np.dtype(dtype).kind
    wanted = {"i": "integers", "f": "numbers", "b": "booleans"}[kind]
    fits = array.dtype.kind in {"i": "iu", "f": "iufV", "b": "b"}[kind]
    if kind == "i" and fits and array.size:
        limits = np.iinfo(dtype)
        fits = limits.min <= array.min() and array.max() <= limits.max
    if array.size and not fits:
        raise ValueError(
            f"`{name}` must be {wanted} that {np.dtype(dtype).name} can hold. "
            f"Received: dtype={array.dtype}, values from {array.min()} to {array.max()}"
        )
    return array.astype(dtype)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
