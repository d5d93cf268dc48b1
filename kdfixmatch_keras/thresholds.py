"""How much the pseudo-label of each unlabeled image counts.

A threshold is a layer that turns the teacher's probabilities on a batch of weak views
into weights in [0, 1], and that may add a term to the loss. With `m = max p` and
`c = argmax p` of one image:

| name | class | weight |
|---|---|---|
| `"fixed"` | `FixedThreshold` | 1 where `m >= tau` |
| `"flexmatch"` | `FlexMatchThreshold` | 1 where `m >= tau * beta(c) / (2 - beta(c))` |
| `"freematch"` | `FreeMatchThreshold` | 1 where `m >= tau_t * p~(c) / max p~` |
| `"softmatch"` | `SoftMatchThreshold` | falls smoothly where `m` is below its mean |

What a threshold learns lies in its weights, so that it is saved and resumed with the
model. Every moving average here has the decay of `targets.moving_average`,
not a fixed one as published: a short run would never forget the start. Arguments out
of range raise a `ValueError`.
"""

from kdfixmatch_keras.targets import NAMES, check, get
from kdfixmatch_keras.targets.fixed import FixedThreshold
from kdfixmatch_keras.targets.flexmatch import FlexMatchThreshold
from kdfixmatch_keras.targets.freematch import FreeMatchThreshold
from kdfixmatch_keras.targets.softmatch import SoftMatchThreshold
from kdfixmatch_keras.targets.threshold import Threshold

__all__ = [
    "NAMES",
    "FixedThreshold",
    "FlexMatchThreshold",
    "FreeMatchThreshold",
    "SoftMatchThreshold",
    "Threshold",
    "check",
    "get",
]
