"""What every clustering does with its input, its seed and the threads."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from kdfixmatch_keras.checks import array_validation, validation


def check_embeddings(embeddings: Any, num_clusters: int) -> NDArray[Any]:
    """Returns the embeddings as a finite float array with a row per sample.

    Args:
        embeddings: Array-like of shape `(n, d)`.
        num_clusters: Number of clusters that the rows have to fill.

    Returns:
        Array of shape `(n, d)`, float64 if that is what came in, else float32.

    Raises:
        ValueError: If the shape is wrong, a value is not finite, or there are
            fewer rows than clusters.
    """
    array = array_validation.check_array(
        "embeddings", embeddings, "numbers of shape (n, d), one row per sample"
    )
    if array.dtype != np.float64:
        array = array.astype(np.float32, copy=False)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(
            "`embeddings` must be of shape (n, d), one row per sample. "
            f"Received: embeddings.shape={array.shape}"
        )
    bad = array_validation.count_not_finite(array)
    if bad:
        raise ValueError(
            "`embeddings` must be finite. The network that made them may have "
            "diverged: lower its learning rate. "
            f"Received: {bad} of {len(array)} rows with NaN or infinity"
        )
    if len(array) < num_clusters:
        raise ValueError(
            "`embeddings` must hold at least one sample per cluster: lower "
            "`num_clusters` or give more samples. "
            f"Received: {len(array)} samples, num_clusters={num_clusters}"
        )
    return array


def derive_seeds(seed: int | None, count: int) -> list[int]:
    """Derives independent seeds from one, without touching global random state.

    Args:
        seed: An integer of at least 0; None draws from the operating system.
        count: Number of seeds.

    Returns:
        `count` integers in [0, 2**31), which every keras backend accepts.

    Raises:
        ValueError: If `seed` is neither None nor an integer of at least 0.
    """
    sequence = np.random.SeedSequence(validation.check_seed(seed))
    return [int(s) >> 1 for s in sequence.generate_state(count)]


def one_thread() -> Any:
    """A context in which scikit-learn adds in one order, and so to the same bits.

    Its k-means sums what each thread found in the order in which they finish.
    """
    return threadpool_limits(1, user_api="openmp")
