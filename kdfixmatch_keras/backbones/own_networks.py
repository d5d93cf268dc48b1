"""The networks of this package that start from random weights."""

from collections.abc import Collection, Sequence
from typing import Any

from kdfixmatch_keras.backbones.family import Choice, Family
from kdfixmatch_keras.backbones.preprocessing import Preprocessing
from kdfixmatch_keras.backbones.small_cnn import small_cnn
from kdfixmatch_keras.backbones.wide_resnet import wide_resnet_28_2

# From pixels in [-1, 1] to a feature map.
_NETWORKS = {"small_cnn": small_cnn, "wide_resnet_28_2": wide_resnet_28_2}


class OwnNetworks(Family):
    """The names `"small_cnn"` and `"wide_resnet_28_2"`."""

    def names(self) -> Collection[str]:
        """See `Family`."""
        return _NETWORKS

    def features(
        self, images: Any, choice: Choice, size: Sequence[int] | None = None
    ) -> Any:
        """See `Family`."""
        channels = images.shape[-1]
        x = Preprocessing("tf", channels, size, name="preprocessing")(images)
        return _NETWORKS[choice.backbone](x)
