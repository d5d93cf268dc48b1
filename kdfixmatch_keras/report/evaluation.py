"""How good the networks are: on test images, or guessed where there are none."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdfixmatch_keras.baselines import frozen_features
from kdfixmatch_keras.report import values
from kdfixmatch_keras.report.metrics import evaluate_predictions
from kdfixmatch_keras.serving import prediction
from kdfixmatch_keras.sources import ImageSource, LabeledImages

# A larger matrix would not be legible.
MAX_MATRIX = 20
MAX_CONFUSIONS = 20
# Images in a forward pass, which take gigabytes where a network enlarges them.
_BATCH_SIZES = {"probe": frozen_features.BATCH_SIZE}


def measure(
    networks: dict[str, Any],
    test: LabeledImages | None,
    class_names: list[str],
    predicted: Mapping[str, NDArray[np.float32]] | None = None,
) -> dict[str, Any] | None:
    """Evaluates networks on test images.

    Args:
        networks: `FixMatch` networks by name, among them `"inner"`.
        test: Labeled images, or None.
        class_names: Names of the K classes.
        predicted: Probabilities `(n, K)` of the test images by the name of a network
            that has predicted them already.

    Returns:
        None without `test`, else a dictionary of

        - `"images"`: number of test images;
        - `"accuracy"`: by network its `"value"` and `"interval"`, the two ends of the
          95 % Wilson interval;
        - `"inner_against"`: for each other network how many images only the inner
          one has right (`"better"`), how many only the other (`"worse"`), and how
          often chance alone would make so uneven a pair (`"p_value"`, McNemar);
        - `"inner"`: `metrics.evaluate_predictions` of the inner network, its
          confusion matrix None above 20 classes;
        - `"confusions"`: the most frequent mistakes, each `"true"`, `"predicted"`
          (class numbers) and `"count"`.
    """
    if test is None:
        return None
    from scipy.stats import binomtest

    right: dict[str, NDArray[np.bool_]] = {}
    inner: dict[str, Any] = {}
    for name, network in networks.items():
        probabilities = (predicted or {}).get(name)
        if probabilities is None:
            probabilities = predict(network, test.images, _BATCH_SIZES.get(name, 256))
        right[name] = probabilities.argmax(axis=1) == test.labels
        if name == "inner":
            inner = evaluate_predictions(probabilities, test.labels, class_names)
    for row in inner["per_class"]:
        row["class"] = values.text(row["class"], 60)
    accuracy, inner_against = {}, {}
    for name, hits in right.items():
        interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
        accuracy[name] = {
            "value": float(hits.mean()),
            "interval": [float(interval.low), float(interval.high)],
        }
        if name == "inner":
            continue
        better = int((right["inner"] & ~hits).sum())
        worse = int((hits & ~right["inner"]).sum())
        pairs = better + worse
        p_value = float(binomtest(worse, pairs).pvalue) if pairs else 1.0
        inner_against[name] = {"better": better, "worse": worse, "p_value": p_value}
    matrix = np.array(inner["confusion_matrix"])
    if len(matrix) > MAX_MATRIX:
        inner["confusion_matrix"] = None
    return {
        "images": len(test.images),
        "accuracy": accuracy,
        "inner_against": inner_against,
        "inner": inner,
        "confusions": _confusions(matrix),
    }


def _confusions(matrix: NDArray[np.int64]) -> list[dict[str, int]]:
    mistakes = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:MAX_CONFUSIONS]
    pairs = zip(*np.unravel_index(order, matrix.shape), strict=True)
    return [
        {
            "true": int(true),
            "predicted": int(predicted),
            "count": int(mistakes[true, predicted]),
        }
        for true, predicted in pairs
        if mistakes[true, predicted]
    ]


def estimate(
    networks: dict[str, Any],
    sample: ImageSource,
    outer_labels: NDArray[np.int32],
    labeled: LabeledImages,
) -> dict[str, Any]:
    """Cross-checks the inner network where no image has a known class.

    Args:
        networks: `FixMatch` networks by name: `"inner"`, and others to compare with.
        sample: Some `m` unlabeled images.
        outer_labels: What the outer network took each for, int32 `(m,)`.
        labeled: Labeled images that were trained on.

    Returns:
        A dictionary of `"images"` (m), the shares on which the inner network agrees
        with the others, `"outer_agrees"`, `"probe_agrees"` and `"supervised_agrees"`
        (None without such a network), its `"mean_confidence"`, `"predicted"`, how many
        images it takes for each class, and its `"labeled_accuracy"` on
        `"labeled_images"` images.
    """
    probabilities = predict(networks["inner"], sample)
    labels = probabilities.argmax(axis=1)
    agrees = {
        f"{name}_agrees": float(
            (labels == predict(networks[name], sample, batch_size).argmax(1)).mean()
        )
        if name in networks
        else None
        for name, batch_size in (("probe", _BATCH_SIZES["probe"]), ("supervised", 256))
    }
    known = predict(networks["inner"], labeled.images).argmax(axis=1)
    return {
        "images": len(sample),
        "outer_agrees": float((labels == outer_labels).mean()),
        **agrees,
        "mean_confidence": float(probabilities.max(axis=1).mean()),
        "predicted": np.bincount(labels, minlength=probabilities.shape[1]).tolist(),
        "labeled_images": len(labeled.images),
        "labeled_accuracy": float((known == labeled.labels).mean()),
    }


def predict(
    network: Any, images: ImageSource, batch_size: int = 256
) -> NDArray[np.float32]:
    """Class probabilities, float32 `(n, K)`, of the images in their order."""
    return np.asarray(prediction.predict(network, images, batch_size))
