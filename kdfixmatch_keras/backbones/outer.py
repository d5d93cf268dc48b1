"""Checking an outer network that is not made like the inner one."""

from typing import Any

import keras
import numpy as np

from kdfixmatch_keras.backbones.build import (
    backbone_of,
    check_backbone,
    check_same_data,
    check_same_weights,
)


def check_outer(
    outer_backbone: Any, weights: Any, inner_init: str, finetune: str
) -> Any:
    """Returns a backbone for the outer network alone, or None.

    Raises:
        ImportError: See `check_backbone`.
        TypeError: See `check_backbone`.
        ValueError: See `check_backbone`; or the inner network is to start from weights
            that are of another network then, `weights` are a file, or features of one
            network alone are stored.
    """
    if outer_backbone is None:
        return None
    if weights not in (None, "imagenet"):
        raise ValueError(
            '`weights` must be None or "imagenet" where `outer_backbone` is given, as '
            f"a file has those of one network. Received: weights={str(weights)!r}"
        )
    check_backbone(outer_backbone, weights, argument="outer_backbone")
    if inner_init != "fresh":
        raise ValueError(
            "`inner_init` must be 'fresh' where `outer_backbone` is given, as the "
            f"weights of both networks differ. Received: inner_init={inner_init!r}"
        )
    if finetune == "head":
        raise ValueError(
            '`finetune` must be "all" where `outer_backbone` is given: heads are '
            "trained on the features of one network. Received: finetune='head'"
        )
    return outer_backbone


def check_given_outer(
    found: keras.Model, inner: keras.Model, inner_init: str, finetune: str
) -> None:
    """Checks that the student of an outer network can teach an inner one.

    Raises:
        ValueError: It is for other images or classes, the inner one is to start from
            weights that are of other shapes, or heads are trained and the backbones
            differ.
    """
    check_same_data("outer", found, inner)
    if finetune == "head":
        check_same_weights(
            "outer", found, inner, "finetune='head' trains on features of its backbone"
        )
        weights = [backbone_of(model).get_weights() for model in (found, inner)]
        if not all(map(np.array_equal, *weights)):
            raise ValueError(
                "`outer` must have the backbone of this network, frozen as it was, "
                "where finetune='head'. Received: one of other weights"
            )
    elif inner_init != "fresh":
        check_same_weights(
            "outer",
            found,
            inner,
            f"inner_init={inner_init!r} starts from its weights",
            "Pass the same `backbone` and `embedding_dim`, or inner_init='fresh'.",
        )
