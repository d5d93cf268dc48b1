"""A network as a SavedModel."""

from collections.abc import Sequence
from typing import Any

import keras

from kdfixmatch_keras.augmentation.operations import luminance


def build_archive(network: keras.Model, class_names: Sequence[str]) -> Any:
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

    def decode(encoded: Any) -> Any:
        # This op decodes PNG as well. The accurate transform gives Pillow's pixels,
        # those that a folder was trained on.
        image = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
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
