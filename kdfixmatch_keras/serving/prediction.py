"""Predicting and evaluating images of a source, on the devices that a network is on."""

from typing import Any

import keras
import numpy as np

from kdfixmatch_keras import backend
from kdfixmatch_keras.backend import devices, processes
from kdfixmatch_keras.backend.keras_settings import usual_settings
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.fixmatch import FixMatch
from kdfixmatch_keras.sources import ImageSource, LabeledImages, SubsetSource
from kdfixmatch_keras.sources.labels import check_one_label_each

# Images of one call of `keras.Model.predict`.
PREDICTED_AT_ONCE = 1 << 16


class ImageBatches(keras.utils.PyDataset):
    """The images of a source in index order, for prediction and evaluation.

    Args:
        images: Source of `N` images.
        labels: int32 `(N,)`, or None.
        batch_size: Images in a batch; the last may have fewer.
        sharing: How the batches are shared out; a process gets its rows of each. What
            does not come out even is made so with the last image, of the label -1.

    Raises:
        ValueError: `batch_size` is not at least 1, or `labels` are not `(N,)`.
    """

    def __init__(
        self,
        images: ImageSource,
        labels: np.ndarray | None = None,
        *,
        batch_size: int = 256,
        sharing: devices.Sharing = devices.ONE_DEVICE,
    ) -> None:
        super().__init__(workers=1)
        if labels is not None:
            check_one_label_each("labels", labels, len(images))
        self.images = images
        self.labels = labels
        self.sharing = sharing
        self.batch_size = sharing.padded(
            validation.check_integer("batch_size", batch_size, 1)
        )

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, step: int) -> tuple[np.ndarray, ...]:
        """The images of batch `step`, and their labels where there are any."""
        start = step * self.batch_size
        count = min(self.batch_size, len(self.images) - start)
        rows = self.sharing.own(np.arange(start, start + self.sharing.padded(count)))
        chosen = np.minimum(rows, len(self.images) - 1)
        if self.labels is None:
            return (self.images[chosen],)
        labels = self.labels[chosen]
        return self.images[chosen], np.where(rows == chosen, labels, -1).astype(
            labels.dtype
        )


@usual_settings()
def predict(
    model: Any, images: ImageSource, batch_size: int = 256, verbose: Any = 0
) -> Any:
    """What a model makes of images, on the devices that it is on.

    Args:
        model: `FixMatch`, or what `embedder` returns.
        images: Source of `N` images.
        batch_size: Images in one forward pass.
        verbose: As in `keras.Model.predict`.

    Returns:
        Arrays with a row for each image in their order, structured as the outputs.
    """
    batch_size = validation.check_integer("batch_size", batch_size, 1)
    if len(images) <= PREDICTED_AT_ONCE:
        return _predict_at_once(model, images, batch_size, verbose)
    # Keras keeps the outputs of all batches and copies them into one array, which of
    # a million embeddings takes gigabytes.
    step = -(-PREDICTED_AT_ONCE // batch_size) * batch_size
    found: Any = None
    for start in range(0, len(images), step):
        rows = np.arange(start, min(start + step, len(images)))
        part = _predict_at_once(model, SubsetSource(images, rows), batch_size, verbose)
        if found is None:
            found = keras.tree.map_structure(
                lambda some: np.empty((len(images), *some.shape[1:]), some.dtype), part
            )
        for whole, some in zip(
            keras.tree.flatten(found), keras.tree.flatten(part), strict=True
        ):
            whole[rows[0] : rows[-1] + 1] = some
    return found


def _predict_at_once(
    model: Any, images: ImageSource, batch_size: int, verbose: Any
) -> Any:
    batches = ImageBatches(
        images, batch_size=batch_size, sharing=devices.sharing(model)
    )
    with devices.shared_by_us(), processes.ending_together(processes.AGAIN):
        outputs = model.predict(backend.feed(batches), verbose=verbose)
    # Without what the last batch was padded with.
    return keras.tree.map_structure(lambda rows: rows[: len(images)], outputs)


def embedder(network: FixMatch) -> keras.Model:
    """The teacher as a model from uint8 images to embeddings and logits."""
    return devices.functional_model(
        network.teacher.input,
        {
            "embeddings": network.teacher.get_layer("embedding").output,
            "logits": network.teacher.output,
        },
        name="embedder",
    )


def probabilities_and_embeddings(
    network: FixMatch, images: ImageSource, verbose: Any = 0
) -> tuple[np.ndarray, np.ndarray]:
    """What the teacher of a network makes of images.

    Returns:
        Probabilities, float32 `(n, K)`, and embeddings `(n, D)`.
    """
    outputs = predict(embedder(network), images, verbose=verbose)
    probabilities = FixMatch.probabilities(outputs["logits"])
    return keras.ops.convert_to_numpy(probabilities), outputs["embeddings"]


@usual_settings()
def evaluate(
    network: FixMatch, data: LabeledImages, batch_size: int = 256, verbose: Any = 0
) -> dict[str, float]:
    """What the metrics of a network say of labeled images.

    Args:
        network: What is evaluated.
        data: Images of the size that it takes.
        batch_size: Images in one forward pass.
        verbose: As in `keras.Model.evaluate`.

    Raises:
        ValueError: Several devices cannot share them evenly where the network was
            compiled with a loss of one's own.
    """
    sharing = devices.sharing(network)
    if network.has_own_loss() and sharing.padded(len(data.images)) != len(data.images):
        raise ValueError(
            f"`images` must be a multiple of {sharing.devices}, the number of "
            "devices, for a loss that was given to `compile`. Received: "
            f"{len(data.images)} images"
        )
    batches = ImageBatches(
        data.images, data.labels, batch_size=batch_size, sharing=sharing
    )
    with devices.shared_by_us(), processes.ending_together(processes.AGAIN):
        results = network.evaluate(
            backend.feed(batches), return_dict=True, verbose=verbose
        )
    return {name: float(value) for name, value in results.items()}
