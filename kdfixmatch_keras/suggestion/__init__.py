"""Which images to label next: features and probabilities in, indices out.

Each strategy is a function over arrays and needs nothing else of this package. Row `i`
of each array is image `i`; what comes out are such rows, the most worthwhile first.

- `typical`: images that many others resemble, each another kind; needs no label.
- `doubtful`: images whose class a classifier is least sure of, of many kinds.
- `mixed`: typical ones at first, more doubtful ones the more labels there are.
- `at_random`: what the others are to be compared with.

Example:
    >>> rows = typical(features, count=24)  # doctest: +SKIP
    >>> rows = mixed(features, probabilities, count=24, labeled=rows)  # doctest: +SKIP
"""

from kdfixmatch_keras.suggestion.chance import at_random
from kdfixmatch_keras.suggestion.doubtful import disagreement, doubt, doubtful
from kdfixmatch_keras.suggestion.mixed import mixed, mixed_parts
from kdfixmatch_keras.suggestion.typical import typical

STRATEGIES = ("typical", "doubtful", "mixed", "random")

__all__ = [
    "STRATEGIES",
    "at_random",
    "disagreement",
    "doubt",
    "doubtful",
    "mixed",
    "mixed_parts",
    "typical",
]
