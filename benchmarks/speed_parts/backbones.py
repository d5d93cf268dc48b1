"""How long networks take for the features of an image."""

from functools import partial
from typing import Any

import numpy as np
from measuring import rounds

from kdfixmatch_keras import backbones

# In a forward pass.
BATCH = 64


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Embeds a batch with each network: its `"seconds"` in each repeat."""
    shape = (job["side"], job["side"], 3)
    images = np.random.default_rng(0).integers(0, 256, (BATCH, *shape), np.uint8)
    networks = {
        name: backbones.build_features(name, shape, weights=None)
        for name in job["networks"]
    }
    embed = {
        name: partial(network.predict_on_batch, images)
        for name, network in networks.items()
    }
    return {
        "batch": BATCH,
        "parameters": {name: x.count_params() for name, x in networks.items()},
        "seconds": rounds(embed, job["repeats"], least=job["least"]),
    }
