"""The embeddings of the outer network on a plane."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from kdfixmatch_keras.report import values
from kdfixmatch_keras.serving import prediction
from kdfixmatch_keras.sources import ImageSource, LabeledImages, SubsetSource
from kdfixmatch_keras.trusted.trusted_set import TrustedSet

MAX_POINTS = 1500
MAX_LABELED = 200
# t-SNE has no meaning for fewer points.
MIN_TSNE = 20


def draw(
    network: Any,
    labeled: LabeledImages,
    unlabeled: ImageSource,
    trusted: TrustedSet,
    order: NDArray[np.int64],
) -> dict[str, Any] | None:
    """Places labeled images and some unlabeled ones so that alike ones are close.

    Args:
        network: The outer `FixMatch` network.
        labeled: Labeled images. At most 200 are drawn, evenly spaced.
        unlabeled: The unlabeled images.
        trusted: Their trusted set.
        order: Indices of unlabeled images in a random order. The first of them are
            drawn, as many as make 1,500 points.

    Returns:
        Lists with an entry for each point: `"x"` and `"y"` in [0, 1], `"class"` (the
        number of its label or pseudo-label), `"kind"` (`"labeled"`, `"trusted"` or
        `"rejected"`) and `"name"`. None where an embedding is not finite.
    """
    known = np.arange(len(labeled.images))
    if len(known) > MAX_LABELED:
        known = np.linspace(0, len(known) - 1, MAX_LABELED).astype(np.int64)
    sample = np.sort(order[: MAX_POINTS - len(known)])
    embedder = prediction.embedder(network)
    embeddings = np.concatenate(
        [
            prediction.predict(embedder, images)["embeddings"]
            for images in (
                SubsetSource(labeled.images, known),
                SubsetSource(unlabeled, sample),
            )
        ]
    ).astype(np.float32)
    if not np.isfinite(embeddings).all():
        return None
    x, y = np.round(reduce(embeddings), 4).T.tolist()
    classes = np.concatenate([labeled.labels[known], trusted.pseudo_labels[sample]])
    kinds = np.where(trusted.trusted[sample], "trusted", "rejected").tolist()
    names = [
        values.image_name(source.names, index)
        for source, chosen in ((labeled.images, known), (unlabeled, sample))
        for index in chosen.tolist()
    ]
    return {
        "x": x,
        "y": y,
        "class": classes.tolist(),
        "kind": ["labeled"] * len(known) + kinds,
        "name": names,
    }


def reduce(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Reduces embeddings to two dimensions in [0, 1], the same ones every time.

    By PCA to 50 dimensions and then t-SNE; where there are few points or all lie on
    a plane, by PCA alone.

    Args:
        embeddings: Finite numbers `(n, D)`, n at least 1.

    Returns:
        float64 `(n, 2)`.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    centered = embeddings - embeddings.mean(axis=0)
    # ReLU embeddings have many dimensions that are always zero.
    centered = centered[:, centered.std(axis=0) > 1e-6]
    rank = min(centered.shape)
    if rank < 2:
        points = np.zeros((len(embeddings), 2))
        if rank == 1:
            points[:, 0] = centered[:, 0]
    else:
        # The sum over threads would depend on their number.
        with threadpool_limits(1, user_api="openmp"):
            points = PCA(min(50, rank), random_state=0).fit_transform(centered)
            if len(points) >= MIN_TSNE and points.shape[1] > 2:
                # At this angle a third faster than by default, with the same picture.
                points = TSNE(
                    angle=0.7,
                    init="pca",
                    max_iter=500,
                    perplexity=min(30, len(points) / 4),
                    random_state=0,
                ).fit_transform(points)
        points = points[:, :2].astype(np.float64)
    # One scale for both axes, or distances would be distorted.
    low, high = points.min(axis=0), points.max(axis=0)
    extent = max(float((high - low).max()), 1e-12)
    scaled: NDArray[np.float64] = (points - (low + high) / 2) / extent + 0.5
    return scaled
