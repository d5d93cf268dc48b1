"""Images to look at: what each class was taught, given and denied."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kdfixmatch_keras.report import values
from kdfixmatch_keras.sources import ImageSource, LabeledImages
from kdfixmatch_keras.sources.pixels import Images
from kdfixmatch_keras.trusted.trusted_set import REASONS, TrustedSet

# Together they bound the size of the page, whatever the number of images.
MAX_CLASSES = 20
MAX_LABELED = 4
MAX_IMAGES = 8
MAX_SIDE = 64
# Artefacts of JPEG would show where each pixel does.
MAX_LOSSLESS_SIDE = 32


def choose(
    labeled: LabeledImages,
    unlabeled: ImageSource,
    trusted: TrustedSet,
    generator: np.random.Generator,
) -> list[dict[str, Any]]:
    """Draws images of the classes of which the smallest share is trusted.

    Args:
        labeled: Labeled images.
        unlabeled: Unlabeled images.
        trusted: Their trusted set.
        generator: Chooses the images.

    Returns:
        For each of at most 20 classes, those of the smallest trusted share first, a
        dictionary of `"class"` (its number) and `"groups"`: at most 4 labeled images,
        8 trusted ones, and 8 rejected ones, spread over the reasons. Each group has a
        `"kind"` (`"labeled"` or a reason of `TrustedSet`), the `"count"` of all such
        images, and `"images"`: `"name"`, `"confidence"` (None for labeled ones) and
        `"source"`, the picture as a `data:` address.
    """
    size = trusted.num_classes
    predicted = np.bincount(trusted.pseudo_labels, minlength=size)
    share = np.bincount(trusted.labels, minlength=size) / np.maximum(predicted, 1)
    worst_first = np.argsort(np.where(predicted, share, 2), kind="stable")
    positions = {reason: code for code, reason in enumerate(REASONS)}
    reasons = np.array([positions[reason] for reason in trusted.reasons()], np.int8)
    return [
        {
            "class": int(number),
            "groups": _groups(
                int(number), labeled, unlabeled, trusted, reasons, generator
            ),
        }
        for number in worst_first[:MAX_CLASSES]
    ]


def _groups(
    number: int,
    labeled: LabeledImages,
    unlabeled: ImageSource,
    trusted: TrustedSet,
    reasons: NDArray[np.int8],
    generator: np.random.Generator,
) -> list[dict[str, Any]]:
    known = np.flatnonzero(labeled.labels == number)
    shown = np.sort(generator.permutation(known)[:MAX_LABELED])
    groups = [_group("labeled", len(known), labeled.images, shown, None)]
    of_class = trusted.pseudo_labels == number
    by_reason = [
        generator.permutation(np.flatnonzero(of_class & (reasons == code)))
        for code in range(len(REASONS))
    ]
    limits = [MAX_IMAGES, *_deal([len(found) for found in by_reason[1:]], MAX_IMAGES)]
    for reason, found, limit in zip(REASONS, by_reason, limits, strict=True):
        shown = found[:limit]
        shown = shown[np.argsort(-trusted.confidence[shown], kind="stable")]
        groups.append(
            _group(reason, len(found), unlabeled, shown, trusted.confidence[shown])
        )
    return [group for group in groups if group["count"]]


def _deal(available: list[int], limit: int) -> list[int]:
    """Shares of `limit` as even as what is available allows."""
    dealt = [0] * len(available)
    while sum(dealt) < min(limit, sum(available)):
        for position, count in enumerate(available):
            if dealt[position] < count and sum(dealt) < limit:
                dealt[position] += 1
    return dealt


def _group(
    kind: str,
    count: int,
    images: ImageSource,
    chosen: NDArray[np.int64],
    confidence: NDArray[np.float32] | None,
) -> dict[str, Any]:
    pictures = zip(chosen.tolist(), images[chosen], strict=True)
    return {
        "kind": kind,
        "count": count,
        "images": [
            {
                "name": values.image_name(images.names, index),
                "confidence": None
                if confidence is None
                else values.number(confidence[position]),
                "source": thumbnail(pixels),
            }
            for position, (index, pixels) in enumerate(pictures)
        ],
    }


def thumbnail(pixels: Images) -> str:
    """A picture of at most 64 x 64 pixels as a `data:` address.

    Args:
        pixels: uint8 `(H, W, C)`, C being 1 or 3.
    """
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    if max(picture.size) <= MAX_LOSSLESS_SIDE:
        kind = "png"
        picture.save(buffer, "PNG", optimize=True)
    else:
        kind = "jpeg"
        picture.save(buffer, "JPEG", quality=80)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
