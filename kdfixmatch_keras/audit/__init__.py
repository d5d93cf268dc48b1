"""What is wrong with images and labels, before anything is trained on them.

`audit` looks at the sets of a training. What it asks works on arrays, too:

- `near_copies`: images that differ by their coding, size or brightness alone.
- `doubtful_labels`: labels that a classifier of the other labels contradicts.
- `split_classes`: classes whose images fall into two groups.

Example:
    >>> rows = doubtful_labels(features, labels).rows  # doctest: +SKIP
"""

from kdfixmatch_keras.audit.doubtful_labels import DoubtfulLabels, doubtful_labels
from kdfixmatch_keras.audit.findings import KINDS, Finding, audit
from kdfixmatch_keras.audit.groups import split_classes
from kdfixmatch_keras.audit.near_copies import near_copies

__all__ = [
    "KINDS",
    "DoubtfulLabels",
    "Finding",
    "audit",
    "doubtful_labels",
    "near_copies",
    "split_classes",
]
