"""Deep embedded clustering (DEC): learn a representation and its clusters together.

Reference:
    - Xie, Girshick, Farhadi, "Unsupervised Deep Embedding for Clustering Analysis",
      ICML 2016, [arXiv 1511.06335](https://arxiv.org/abs/1511.06335)
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from kdfixmatch_keras import array_validation, validation

# keras publishes no type information, so a tensor of any backend is `Any`.
Tensor = Any

_PRETRAINING_LEARNING_RATE = 1e-3
_MOMENTUM = 0.9
_KMEANS_RESTARTS = 20
# Rows encoded at once; bounds the (rows, clusters, latent_dim) array of differences.
_ROWS_PER_CALL = 2048
_SMALLEST_PROBABILITY = 1e-12


def soft_assignment(h: Tensor, centroids: Tensor) -> Tensor:
    """Computes how much each sample belongs to each cluster.

    A Student's t kernel with one degree of freedom, normalised over the clusters
    (Xie et al., eq. 1): `q_ij ~ 1 / (1 + |h_i - m_j|**2)`.

    Args:
        h: Latent representations, shape `(n, d)`.
        centroids: Cluster centres, shape `(K, d)`.

    Returns:
        Soft assignments, shape `(n, K)`, float32, rows summing to 1.

    Raises:
        ValueError: If the shapes do not fit.
    """
    h = ops.cast(ops.convert_to_tensor(h), "float32")
    centroids = ops.cast(ops.convert_to_tensor(centroids), "float32")
    if (
        not len(h.shape) == len(centroids.shape) == 2
        or h.shape[1] != centroids.shape[1]
    ):
        raise ValueError(
            "`h` and `centroids` must be of shape (n, d) and (K, d). Received: "
            f"h.shape={tuple(h.shape)}, centroids.shape={tuple(centroids.shape)}"
        )
    # Explicit differences: |h|^2 - 2 h.m + |m|^2 cancels badly near a centroid.
    differences = ops.expand_dims(h, 1) - ops.expand_dims(centroids, 0)
    kernel = 1.0 / (1.0 + ops.sum(ops.square(differences), axis=-1))
    return kernel / ops.sum(kernel, axis=-1, keepdims=True)


def target_distribution(q: Tensor) -> Tensor:
    """Sharpens soft assignments into the distribution that DEC learns from.

    `p_ij ~ q_ij**2 / f_j` with the soft cluster size `f_j = sum_i q_ij` (Xie et al.,
    eq. 3): confident assignments count more, large clusters less.

    Args:
        q: Soft assignments of ALL samples, shape `(n, K)`.

    Returns:
        Target probabilities, shape `(n, K)`, float32, rows summing to 1.

    Raises:
        ValueError: If `q` is of another shape.
    """
    q = ops.cast(ops.convert_to_tensor(q), "float32")
    if len(q.shape) != 2:
        raise ValueError(
            "`q` must be soft assignments of shape (n, K). Received: "
            f"q.shape={tuple(q.shape)}"
        )
    size = ops.sum(q, axis=0, keepdims=True)
    weight = ops.square(q) / ops.maximum(size, _SMALLEST_PROBABILITY)
    return weight / ops.sum(weight, axis=-1, keepdims=True)


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


def _dense_stack(
    widths: Sequence[int], seeds: Sequence[int], prefix: str
) -> list[keras.layers.Dense]:
    """Returns dense layers, ReLU in between and linear at the end."""
    layers = []
    for number, (width, seed) in enumerate(zip(widths, seeds, strict=True)):
        generator = keras.random.SeedGenerator(seed, name=f"{prefix}_seed_{number}")
        layers.append(
            keras.layers.Dense(
                width,
                activation="relu" if number + 1 < len(widths) else None,
                kernel_initializer=keras.initializers.GlorotUniform(generator),
                # Under mixed_float16 the latent distances would lose their digits.
                dtype="float32",
                name=f"{prefix}_{number}",
            )
        )
    return layers


def _apply(layers: Sequence[Any], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


class _Autoencoder(keras.Model):
    """Symmetric autoencoder, trained on the mean squared reconstruction error."""

    def __init__(
        self, input_dim: int, widths: Sequence[int], seeds: Sequence[int]
    ) -> None:
        super().__init__(name="dec_autoencoder", dtype="float32")
        half = len(widths)
        self.encoder = _dense_stack(widths, seeds[:half], "dec_encoder")
        back = [*reversed(widths[:-1]), input_dim]
        self.decoder = _dense_stack(back, seeds[half:], "dec_decoder")

    def call(self, x: Tensor) -> Tensor:
        return _apply(self.decoder, _apply(self.encoder, x))

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        # On PyTorch `train_on_batch` hands on what it is given: a NumPy array.
        return ops.mean(ops.square(y_pred - ops.convert_to_tensor(x)))


class _Refinement(keras.Model):
    """Encoder and centroids, trained on `KL(P || Q)` (Xie et al., eq. 2)."""

    def __init__(self, encoder: Sequence[Any], centroids: NDArray[Any]) -> None:
        super().__init__(name="dec_refinement", dtype="float32")
        self.encoder = encoder
        self.centroids = self.add_weight(
            shape=centroids.shape,
            initializer="zeros",
            dtype="float32",
            name="centroids",
        )
        self.centroids.assign(centroids)

    def encode(self, x: Tensor) -> Tensor:
        return _apply(self.encoder, x)

    def call(self, x: Tensor) -> Tensor:
        return soft_assignment(self.encode(x), self.centroids)

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        y = ops.convert_to_tensor(y)
        log_p = ops.log(ops.maximum(y, _SMALLEST_PROBABILITY))
        log_q = ops.log(ops.maximum(y_pred, _SMALLEST_PROBABILITY))
        return ops.mean(ops.sum(y * (log_p - log_q), axis=-1))


def _index_batches(
    count: int, batch_size: int, generator: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yields batches of shuffled indices for ever.

    A batch may reach over the end of an epoch into the next permutation. So all
    batches have one size, and the training step is compiled once.
    """
    size = min(batch_size, count)
    pool = generator.permutation(count)
    while True:
        if len(pool) < size:
            pool = np.concatenate([pool, generator.permutation(count)])
        yield pool[:size]
        pool = pool[size:]


class DeepEmbeddedClustering:
    """Deep embedded clustering of vectors, as published except where noted.

    1. The embeddings are centred and divided by one global scale, so that their
       mean square is 1 as in the paper; shifting or scaling them changes nothing.
    2. A symmetric autoencoder is trained on them: all layers at once with Adam,
       where the paper stacks denoising autoencoders layer by layer.
    3. k-means (20 restarts) on the latent representations gives the centroids.
    4. Encoder and centroids minimise `KL(P || Q)` by stochastic gradient descent
       with momentum 0.9, averaged over the batch. `P` is recomputed over all samples
       every `update_interval` steps, until hardly any assignment changes.

    All of it computes in float32 whatever the global dtype policy is, and draws
    nothing from a global random generator.

    Args:
        num_clusters: Number of clusters, at least 2.
        hidden_units: Widths of the encoder's hidden layers; the decoder mirrors
            them. May be empty, for a linear encoder.
        latent_dim: Size of the latent representation.
        pretrain_epochs: Epochs of the autoencoder; 0 skips it, and the clusters
            start from a random projection.
        max_pretrain_steps: Most steps of the autoencoder. The default is reached by 50
            epochs of 40,960 samples; more of them are not learned from for longer.
        update_interval: Steps between two recomputations of `P`.
        tolerance: Stop when fewer than this share of the assignments changed
            between two recomputations, in [0, 1]; 0 never stops early.
        max_iterations: Most refinement steps; 0 is k-means on the autoencoder.
        batch_size: Samples of a training step.
        learning_rate: Learning rate of the refinement, positive.
        seed: An integer of at least 0 makes the result repeatable on one machine.

    Attributes:
        autoencoder_loss: Mean reconstruction error of each pre-training epoch, of
            which the last may have been cut short.
        centroids: Final centroids, shape `(num_clusters, latent_dim)`, float32.
        num_refinement_steps: Refinement steps taken.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> clustering = DeepEmbeddedClustering(num_clusters=10, seed=0)
        >>> clusters = clustering.fit_predict(embeddings)  # doctest: +SKIP

    Reference:
        - [Xie et al., 2016](https://arxiv.org/abs/1511.06335)
    """

    def __init__(
        self,
        num_clusters: int,
        *,
        hidden_units: Sequence[int] = (256, 128),
        latent_dim: int = 10,
        pretrain_epochs: int = 50,
        max_pretrain_steps: int = 8000,
        update_interval: int = 100,
        tolerance: float = 0.001,
        max_iterations: int = 2000,
        batch_size: int = 256,
        learning_rate: float = 0.01,
        seed: int | None = None,
    ) -> None:
        self.num_clusters = validation.check_integer("num_clusters", num_clusters, 2)
        if not isinstance(hidden_units, Sequence) or isinstance(hidden_units, str):
            raise TypeError(
                "`hidden_units` must be a list of widths, such as (256, 128). "
                f"Received: hidden_units={hidden_units!r}"
            )
        self.hidden_units = tuple(
            validation.check_integer("hidden_units", width, 1) for width in hidden_units
        )
        self.latent_dim = validation.check_integer("latent_dim", latent_dim, 1)
        self.pretrain_epochs = validation.check_integer(
            "pretrain_epochs", pretrain_epochs, 0
        )
        self.max_pretrain_steps = validation.check_integer(
            "max_pretrain_steps", max_pretrain_steps, 0
        )
        self.update_interval = validation.check_integer(
            "update_interval", update_interval, 1
        )
        self.max_iterations = validation.check_integer(
            "max_iterations", max_iterations, 0
        )
        self.batch_size = validation.check_integer("batch_size", batch_size, 1)
        self.tolerance = validation.check_fraction("tolerance", tolerance)
        self.learning_rate = validation.check_number(
            "learning_rate", learning_rate, 0, math.inf, "(0, infinity)"
        )
        derive_seeds(seed, 1)
        self.seed: int | None = seed

        self.autoencoder_loss: list[float] = []
        self.centroids: NDArray[np.float32] | None = None
        self.num_refinement_steps: int = 0
        self._center: NDArray[Any] | None = None
        self._scale: float = 1.0
        self._refinement: _Refinement | None = None

    def fit_predict(self, z: Any) -> NDArray[np.int32]:
        """Clusters the samples, starting afresh.

        Args:
            z: Embeddings, shape `(n, d)`, float, with `n >= num_clusters`.

        Returns:
            Cluster of each sample in [0, num_clusters), shape `(n,)`, int32. A
            cluster may end up empty.

        Raises:
            ValueError: If `z` is not a finite `(n, d)` array of enough rows, or if
                the training diverged.
        """
        x = _Standardized.fit(check_embeddings(z, self.num_clusters))
        self._center, self._scale = x.center, x.scale
        num_layers = 2 * (len(self.hidden_units) + 1)
        *layer_seeds, order_seed, kmeans_seed = derive_seeds(self.seed, num_layers + 2)
        generator = np.random.default_rng(order_seed)

        autoencoder = self._pretrain(x, layer_seeds, generator)
        latent = _in_chunks(lambda rows: _apply(autoencoder.encoder, rows), x)
        _check_finite(latent)
        with one_thread():
            kmeans = KMeans(
                self.num_clusters, n_init=_KMEANS_RESTARTS, random_state=kmeans_seed
            ).fit(latent)
        self._refinement = _Refinement(autoencoder.encoder, kmeans.cluster_centers_)
        clusters = self._refine(self._refinement, x, generator)
        # Converting the variable itself makes numpy 2 warn.
        self.centroids = ops.convert_to_numpy(
            ops.stop_gradient(self._refinement.centroids)
        )
        return clusters

    def transform(self, z: Any) -> NDArray[np.float32]:
        """Encodes samples with the fitted encoder.

        Args:
            z: Embeddings, shape `(n, d)`, of the `d` that was fitted.

        Returns:
            Latent representations, shape `(n, latent_dim)`, float32.

        Raises:
            ValueError: If nothing has been fitted, or `z` does not fit.
        """
        if self._refinement is None or self._center is None:
            raise ValueError(
                "`transform` must come after `fit_predict`. "
                "Received: a clustering that has not been fitted"
            )
        array = check_embeddings(z, 0)
        if array.shape[1] != self._center.shape[1]:
            raise ValueError(
                f"`z` must have {self._center.shape[1]} columns, as in "
                f"`fit_predict`. Received: z.shape={array.shape}"
            )
        standardized = _Standardized(array, self._center, self._scale)
        return _in_chunks(self._refinement.encode, standardized)

    def _pretrain(
        self, x: "_Standardized", seeds: list[int], generator: np.random.Generator
    ) -> _Autoencoder:
        widths = [*self.hidden_units, self.latent_dim]
        autoencoder = _Autoencoder(x.shape[1], widths, seeds)
        autoencoder(x[:1])
        autoencoder.compile(
            keras.optimizers.Adam(_PRETRAINING_LEARNING_RATE),
            # Loss scaling follows the global policy, and this model is in float32.
            auto_scale_loss=False,
        )
        batches = _index_batches(len(x), self.batch_size, generator)
        steps = math.ceil(len(x) / self.batch_size)
        left = min(self.pretrain_epochs * steps, self.max_pretrain_steps)
        self.autoencoder_loss = []
        while left > 0:
            losses = [
                float(autoencoder.train_on_batch(x[next(batches)]))
                for _ in range(min(steps, left))
            ]
            left -= len(losses)
            self.autoencoder_loss.append(float(np.mean(losses)))
        return autoencoder

    def _refine(
        self,
        model: _Refinement,
        x: "_Standardized",
        generator: np.random.Generator,
    ) -> NDArray[np.int32]:
        model(x[:1])
        model.compile(
            keras.optimizers.SGD(self.learning_rate, momentum=_MOMENTUM),
            auto_scale_loss=False,
        )
        batches = _index_batches(len(x), self.batch_size, generator)
        self.num_refinement_steps = 0
        clusters: NDArray[np.int32] | None = None
        while True:
            q = _in_chunks(model, x)
            _check_finite(q)
            previous, clusters = clusters, q.argmax(axis=1).astype(np.int32)
            settled = (
                previous is not None and np.mean(previous != clusters) < self.tolerance
            )
            steps = min(
                self.update_interval, self.max_iterations - self.num_refinement_steps
            )
            if settled or steps == 0:
                return clusters
            p = ops.convert_to_numpy(target_distribution(q))
            for _ in range(steps):
                rows = next(batches)
                model.train_on_batch(x[rows], p[rows])
            self.num_refinement_steps += steps


class _Standardized:
    """Embeddings with mean 0 and mean square 1, computed row by row as they are read.

    As an array they would take the memory of the embeddings once more.

    Args:
        z: Embeddings, shape `(n, d)`, float.
        center: Mean, shape `(1, d)`, float64.
        scale: What centred embeddings are divided by.
    """

    def __init__(self, z: NDArray[Any], center: NDArray[Any], scale: float) -> None:
        self.z = z
        self.center = center
        self.scale = scale
        self.shape = z.shape

    @classmethod
    def fit(cls, z: NDArray[Any]) -> "_Standardized":
        """Measures mean and scale of embeddings."""
        center = z.mean(axis=0, keepdims=True, dtype=np.float64)
        stretches = list(array_validation.stretches(len(z)))
        # Dividing by the largest value first keeps the squares from overflowing.
        largest = max(float(np.abs(z[rows] - center).max()) for rows in stretches)
        largest = largest or 1.0
        squares = sum(
            float(np.sum(((z[rows] - center) / largest) ** 2)) for rows in stretches
        )
        scale = largest * math.sqrt(squares / z.size)
        # Identical embeddings have no scale.
        return cls(z, center, scale or 1.0)

    def __len__(self) -> int:
        return len(self.z)

    def __getitem__(self, rows: Any) -> NDArray[np.float32]:
        return np.asarray((self.z[rows] - self.center) / self.scale, np.float32)


def _in_chunks(function: Any, x: _Standardized) -> NDArray[np.float32]:
    chunks = [
        ops.convert_to_numpy(function(x[rows]))
        for rows in array_validation.stretches(len(x), _ROWS_PER_CALL)
    ]
    return np.concatenate(chunks)


def _check_finite(values: NDArray[np.float32]) -> None:
    if not np.isfinite(values).all():
        raise ValueError(
            "`learning_rate` must be small enough for the clustering to converge: "
            "its training gave NaN or infinity. Lower `learning_rate`. "
            f"Received: {int((~np.isfinite(values)).sum())} values that are not finite"
        )
