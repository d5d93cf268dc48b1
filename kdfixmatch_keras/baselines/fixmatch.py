"""FixMatch by itself."""

from kdfixmatch_keras import fixmatch
from kdfixmatch_keras.baselines.baseline import Baseline
from kdfixmatch_keras.training.session import Session


class FixMatch(Baseline):
    """FixMatch by itself: the outer network of `KDFixMatch`, for as long as you like.

    With the same `threshold`, seed and number of steps it is the outer network, bit for
    bit. `threshold` makes it FlexMatch, FreeMatch or SoftMatch.

    Reference:
        - [Sohn et al., 2020](https://arxiv.org/abs/2001.07685)
    """

    def _fit(self, training: Session) -> fixmatch.FixMatch:
        network = self.new_network("outer", training.data, training.seed)
        self.history = training.fit(network, training.plan.epochs)
        return network
