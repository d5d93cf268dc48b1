"""A network as a SavedModel."""

from collections.abc import Sequence
from typing import Any

import keras

from kdfixmatch_keras.augmentation.operations import luminance
from kdfixmatch_keras.sources.image_decoding import NO_RANGE
from kdfixmatch_keras.sources.intensity import (
    MAX_BEYOND,
    IntensityRange,
    gray_levels,
)

# What is said of a file that is refused.
_NO_RANGE = f"`encoded` must be images that can be classified. Received: {NO_RANGE}"
_BEYOND = (
    "`encoded` must be images as bright as those of training. Received: a 16-bit PNG "
    "with pixels beyond their intensities"
)


def build_archive(
    network: keras.Model,
    class_names: Sequence[str],
    intensity_range: IntensityRange | None = None,
) -> Any:
    """A `keras.export.ExportArchive` of a network, for TensorFlow; see `export`."""
    import tensorflow as tf

    height, width, channels = network.input_shape[1:]
    names = tf.constant(list(class_names))

    def resize(images: Any) -> Any:
        resized = tf.image.resize(images, (height, width), antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)

    def serve(images: Any) -> dict[str, Any]:
        images = tf.ensure_shape(resize(images), (None, height, width, channels))
        logits = tf.cast(network(images, training=False), tf.float32)
        class_id = tf.argmax(logits, axis=-1, output_type=tf.int32)
        return {
            "probabilities": tf.nn.softmax(logits, axis=-1),
            "class_id": class_id,
            "class_name": tf.gather(names, class_id),
        }

    def decode_shallow(encoded: Any) -> Any:
        # This op decodes PNG as well. The accurate transform gives Pillow's pixels,
        # those that a folder was trained on.
        return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")

    def decode_deep(encoded: Any) -> Any:
        if intensity_range is None:
            with tf.control_dependencies([tf.debugging.Assert(False, [_NO_RANGE])]):
                return tf.zeros((1, 1, 3), tf.uint8)
        deep = tf.io.decode_png(encoded, channels=3, dtype=tf.uint16)
        values = tf.cast(deep, tf.int32)
        beyond = (values < intensity_range.low) | (values > intensity_range.high)
        share = tf.reduce_mean(tf.cast(beyond, tf.float32))
        too_many = tf.debugging.Assert(share <= MAX_BEYOND, [_BEYOND])
        with tf.control_dependencies([too_many]):
            return tf.gather(gray_levels(intensity_range), values)

    def decode(encoded: Any) -> Any:
        # In a PNG file, the number of bits stands here.
        head = tf.strings.join([tf.strings.substr(encoded, 0, 25), bytes(25)])
        is_png = tf.strings.substr(head, 0, 8) == b"\x89PNG\r\n\x1a\n"
        is_deep = is_png & (tf.strings.substr(head, 24, 1) == b"\x10")
        image = tf.cond(
            is_deep, lambda: decode_deep(encoded), lambda: decode_shallow(encoded)
        )
        if channels == 1:
            image = tf.cast(luminance(image), tf.uint8)
        return resize(image)

    def serve_bytes(encoded: Any) -> dict[str, Any]:
        return serve(
            tf.map_fn(
                decode,
                encoded,
                fn_output_signature=tf.TensorSpec((height, width, channels), tf.uint8),
            )
        )

    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint(
        "serving_default",
        serve,
        [tf.TensorSpec((None, None, None, channels), tf.uint8, name="images")],
    )
    archive.add_endpoint(
        "serve_bytes", serve_bytes, [tf.TensorSpec((None,), tf.string, name="encoded")]
    )
    return archive
