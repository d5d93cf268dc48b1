"""Images of a `tf.data.Dataset`, spooled once into random access.

TensorFlow is not imported: whoever passes a dataset has done so.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.sources.array_source import says_something
from kdfixmatch_keras.sources.image_source import ImageSource
from kdfixmatch_keras.sources.labels import integer_labels
from kdfixmatch_keras.sources.pixel_ranges import code_of_map, not_uint8
from kdfixmatch_keras.sources.pixels import (
    Images,
    check_channels,
    check_image_size,
    conform,
)
from kdfixmatch_keras.sources.spool import Reading, Spool

_INFINITE = -1  # tf.data.INFINITE_CARDINALITY
# Elements whose pixels are looked at to tell their range, where they are not uint8.
_LOOKED_AT = 32


def is_dataset(data: object) -> bool:
    """Tells a `tf.data.Dataset` without importing TensorFlow.

    Args:
        data: Any object.

    Returns:
        Whether `data` describes its elements as a dataset does.
    """
    return hasattr(data, "element_spec")


def spool_dataset(
    dataset: Any,
    labeled: bool,
    image_size: Sequence[int] | None = None,
    channels: int | None = None,
    memory_bytes: int = 1 << 30,
    *,
    argument: str = "dataset",
) -> tuple[ImageSource, npt.NDArray[np.int64] | None]:
    """Reads a dataset once, in order, into an array or a temporary file.

    The file lies in `tempfile.gettempdir()` and is deleted with the source.

    Args:
        dataset: `tf.data.Dataset` of uint8 images of shape (h, w, c), or batches of
            them, (b, h, w, c), with c 1, 3 or 4, whose alpha is dropped, and noted
            where it is not opaque. If `labeled`, of `(image, label)` tuples. Elements
            can also be dicts with the keys "image" and "label", as TFDS gives them;
            others are ignored.
        labeled: Whether to read labels.
        image_size: `(height, width)` that images are resized to. `None`: all must
            have one size.
        channels: 1 or 3. `None`: those of the first image, which all must have.
        memory_bytes: Above this size, in bytes, images go to the file.
        argument: Name that error messages give to `dataset`.

    Returns:
        The images, and their labels: int64 array of shape (n,), `None` unless
        `labeled`.

    Raises:
        TypeError: If `dataset` is none, or `labeled` is no boolean.
        ValueError: If the dataset is infinite or empty, or tells no length and has
            more than 500,000 images or 16 GiB of them; its elements are not as above,
            images are not uint8, sizes differ and `image_size` is `None`, or labels
            are not integers.
        OSError: If the disk does not take the file.
    """
    size = check_image_size(image_size)
    channels = check_channels(channels)
    validation.check_flag("labeled", labeled)
    validation.check_integer("memory_bytes", memory_bytes, 0)
    if not is_dataset(dataset):
        raise TypeError(
            f"`{argument}` must be a tf.data.Dataset. Received: "
            f"type={type(dataset).__name__}"
        )
    length = _finite_length(dataset, argument)
    spec = dataset.element_spec
    _check_structure(spec, labeled, argument)
    _check_no_text(spec, labeled, argument)
    labels: list[npt.NDArray[np.int64]] = []
    endless = "" if length else " If the dataset never ends, add `.take(count)`."
    spool = Spool(memory_bytes, endless)
    reading = Reading(spool, length, argument)
    shape: tuple[int, int, int] | None = None
    has_fourth = False
    elements = iter(dataset)
    try:
        for element in elements:
            image, label = _image_and_label(element, labeled)
            whole = _as_batch(np.asarray(image), spool.num_images, argument, spec)
            images = whole[..., :3]
            if images.dtype != np.uint8:
                more = _some_images(elements, labeled)
                raise not_uint8([images, *more], argument, spec)
            has_fourth = has_fourth or says_something(whole)
            if len(images):
                if shape is None:
                    shape = (*(size or images.shape[1:3]), channels or images.shape[3])
                _check_alike(images, shape, size, channels, spool.num_images, argument)
                spool.append(conform(images, shape))
                if labeled:
                    labels.append(_batch_labels(label, len(images), argument))
            reading.has_read_one()
        if shape is None:
            raise ValueError(
                f"`{argument}` must hold at least one image. Received: an empty dataset"
            )
        source = spool.finish(shape, argument)
        source.has_fourth = has_fourth
    except BaseException:
        spool.discard()
        raise
    return source, np.concatenate(labels) if labeled else None


def _finite_length(dataset: Any, argument: str) -> int | None:
    """Number of elements, or None where a dataset does not tell it."""
    cardinality = getattr(dataset, "cardinality", None)
    length = None if cardinality is None else int(cardinality())
    if length == _INFINITE:
        raise ValueError(
            f"`{argument}` must be a finite dataset, as it is read once to its end. "
            "Received: a dataset of infinite cardinality. Drop its `.repeat()`, or "
            "add `.take(count)`."
        )
    return None if length is None or length < 0 else length


def _check_structure(spec: Any, labeled: bool, argument: str) -> None:
    """Refuses elements that are not an image, or an image and a label."""
    is_tuple = isinstance(spec, (tuple, list))
    if isinstance(spec, Mapping):
        wanted = {"image", "label"} if labeled else {"image"}
        if not wanted <= set(spec):
            raise ValueError(
                f"`{argument}` must be a dataset whose dicts have the keys "
                f"{sorted(wanted)}. Received: keys {sorted(map(str, spec))}"
            )
    elif labeled and not (is_tuple and len(spec) == 2):
        raise ValueError(
            f"`{argument}` must be a dataset of (image, label). Received: elements "
            f"{spec}"
        )
    elif not labeled and is_tuple and len(spec) != 1:
        raise ValueError(
            f"`{argument}` must be a dataset of images alone. Received: tuples of "
            f"{len(spec)}. Drop the labels with `.map(lambda image, label: image)`."
        )


def _check_no_text(spec: Any, labeled: bool, argument: str) -> None:
    """Refuses names of files, and files that have not been decoded."""
    image, _ = _image_and_label(spec, labeled)
    if getattr(getattr(image, "dtype", None), "name", None) != "string":
        return
    decoded = "tf.io.decode_image({0}, channels=3, expand_animations=False)"
    names = decoded.replace("{0}", "tf.io.read_file({0})")
    raise ValueError(
        f"`{argument}` must be a dataset of images. Received: a dataset of strings. Of "
        f"names of files, pass the folder, or a list"
        f"{' as (paths, labels)' if labeled else ''}; or read them with "
        f"`{code_of_map(names, spec)}`. Files that have been read are decoded with "
        f"`{code_of_map(decoded, spec)}`."
    )


def _some_images(elements: Iterator[Any], labeled: bool) -> list[npt.NDArray[Any]]:
    """Images of the next elements, as they are."""
    return [
        np.asarray(_image_and_label(element, labeled)[0])
        for element in islice(elements, _LOOKED_AT)
    ]


def _image_and_label(element: Any, labeled: bool) -> tuple[Any, Any]:
    if isinstance(element, Mapping):
        return element["image"], element["label"] if labeled else None
    if isinstance(element, (tuple, list)):
        return element[0], element[1] if labeled else None
    return element, None


def _as_batch(images: npt.NDArray[Any], start: int, argument: str, spec: Any) -> Images:
    """Checks the shape of one element and views it as (b, h, w, 1, 3 or 4)."""
    shape = images.shape
    if images.ndim == 3:
        images = images[np.newaxis]
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or 0 in shape[-3:]:
        code = code_of_map("{0}[..., tf.newaxis]", spec)
        remedy = f"A channel axis is added with `{code}`"
        if len(shape) == 2 and shape[1] in (1, 3, 4):
            remedy += (
                ". If they are the rows of one image, it is a dataset by "
                "`tf.data.Dataset.from_tensors(image)`"
            )
        elif images.ndim == 4 and images.shape[1] in (1, 3, 4):
            axes = [1, 2, 0] if len(shape) == 3 else [0, 2, 3, 1]
            code = code_of_map(f"tf.transpose({{0}}, {axes})", spec)
            remedy += f", channels that are first are moved last with `{code}`"
        raise ValueError(
            f"`{argument}` must be a dataset of images of shape (h, w, c), or of "
            f"batches (b, h, w, c), with 1, 3 or 4 channels. Received: shape={shape} "
            f"at image {start}. {remedy}."
        )
    return images


def _check_alike(
    images: Images,
    shape: tuple[int, int, int],
    size: tuple[int, int] | None,
    channels: int | None,
    start: int,
    argument: str,
) -> None:
    """Refuses images unlike the first, where no argument makes them alike."""
    if size is None and images.shape[1:3] != shape[:2]:
        raise ValueError(
            f"`{argument}` must hold images of one size when image_size is None. "
            f"Received: image 0 of size {shape[:2]} and image {start} of size "
            f"{images.shape[1:3]}. Pass image_size=(height, width) to resize them."
        )
    if channels is None and images.shape[3] != shape[2]:
        raise ValueError(
            f"`{argument}` must hold images of as many channels each. Received: "
            f"image 0 with {shape[2]} and image {start} with {images.shape[3]}. "
            "Decode them alike, for example with "
            "`tf.io.decode_image(..., channels=3)`."
        )


def _batch_labels(label: Any, num_images: int, argument: str) -> npt.NDArray[np.int64]:
    array = np.asarray(label)
    # One image's label is () or (1,); one image's one-hot row becomes (1, K).
    if array.ndim == 0 or (num_images == 1 and array.ndim == 1 and len(array) > 1):
        array = array[np.newaxis]
    labels = integer_labels(array, argument)
    if len(labels) != num_images:
        raise ValueError(
            f"`{argument}` must hold one label an image. Received: {num_images} "
            f"images with {len(labels)} labels"
        )
    return labels
