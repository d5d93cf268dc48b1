"""Serving: a trained network as a SavedModel or an ONNX file, without Keras."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from kdfixmatch_keras import backend, export_process, onnx_export, validation
from kdfixmatch_keras.augmentation.operations import luminance
from kdfixmatch_keras.files import written_aside

FORMATS = ("tf_saved_model", "onnx")


def export_network(
    network: keras.Model,
    class_names: Sequence[str],
    path: Any,
    format: str = "tf_saved_model",
) -> None:
    """Writes `network` for serving.

    What is written takes `images`, uint8 `(n, H, W, C)`; images of another size are
    resized to that of the training images. `predict` resizes with Pillow, which rounds
    between the two axes: pixels can differ by one gray level. It returns
    `probabilities`, float32 `(n, K)`, `class_id`, int32 `(n,)`, and `class_name`,
    string `(n,)`.

    * A SavedModel needs nothing but TensorFlow. Besides the signature
      `serving_default`, which is the above, it has `serve_bytes`, which takes
      `encoded`, string `(n,)`, each a JPEG or PNG file. Other than training and
      `predict`, it does not turn a photograph as its EXIF orientation says, which
      TensorFlow ignores: send upright pixels, as `docs/serving.md` shows.
    * An ONNX file, of opset 18, needs nothing but a runtime for ONNX. Its metadata has
      the names of all classes, as JSON under `class_names`. It computes in float32: the
      probabilities of a network in mixed precision differ from those of `predict` by
      what half precision rounds.

    TensorFlow writes both. Where Keras runs on JAX or PyTorch, another process of the
    same Python does it, with KERAS_BACKEND=tensorflow; see `export_process`.

    Args:
        network: Functional model from uint8 `(n, H, W, C)` to logits `(n, K)`.
        class_names: The `K` names.
        path: For a SavedModel, a folder that is new or empty; for ONNX, a new file
            whose name ends in `.onnx`.
        format: `"tf_saved_model"` or `"onnx"`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: `format` is unknown, `path` is not as above, or there are not as
            many names as classes.
        RuntimeError: The other process failed.
        ImportError: TensorFlow or a package that writes ONNX is missing.
    """
    validation.check_choice("format", format, FORMATS)
    path = check_path(path, format)
    if not isinstance(network, keras.Model) or not hasattr(network, "input_shape"):
        raise TypeError(
            "`network` must be a functional keras.Model, such as the `teacher` of a "
            f"FixMatch. Received: network of type {type(network).__name__}"
        )
    names = validation.check_names("class_names", class_names, network.output_shape[-1])
    _check_packages(format)
    if backend.is_tensorflow():
        _write(network, names, path, format)
    else:
        export_process.export_in_process(network, names, path, format)


def _write(
    network: keras.Model, class_names: Sequence[str], path: Path, format: str
) -> None:
    """Does, on TensorFlow, what `export_network` has checked."""
    if format == "onnx":
        model = onnx_export.build_model(network, class_names)
        with written_aside(path) as temporary:
            temporary.write_bytes(model.SerializeToString())
    else:
        archive = _build_archive(network, class_names)
        with written_aside(path) as temporary:
            archive.write_out(str(temporary), verbose=False)


def _check_packages(format: str) -> None:
    """Checks that what writes a format is installed.

    Raises:
        ImportError: A package is missing.
    """
    if format == "onnx":
        onnx_export.check_packages()
    elif importlib.util.find_spec("tensorflow") is None:
        raise ImportError(
            "TensorFlow writes a SavedModel, whatever Keras runs on: "
            'pip install "kdfixmatch-keras[tensorflow]"'
        )


def check_path(path: Any, format: str, argument: str = "path") -> Path:
    """Returns the path of a network to write, where nothing may be lost.

    Args:
        path: As for `export`.
        format: As for `export`.
        argument: Name that error messages give to `path`.

    Raises:
        TypeError: It is no path.
        ValueError: Something is there, or it is not what the format needs.
    """
    checked: Path = validation.check_output(argument, path)
    received = f"Received: {argument}={str(checked)!r}"
    if format == "onnx":
        if checked.suffix != ".onnx":
            raise ValueError(f"`{argument}` must end in .onnx. {received}")
        if checked.exists():
            raise ValueError(f"`{argument}` must be a new file. {received}")
        return checked
    if checked.suffix == ".onnx":
        raise ValueError(
            f"`{argument}` must be a folder, which is what a SavedModel is. "
            f"{received}. Pass format='onnx' for an ONNX file."
        )
    if checked.exists() and (not checked.is_dir() or any(checked.iterdir())):
        raise ValueError(f"`{argument}` must be a new or an empty folder. {received}")
    return checked


def _build_archive(network: keras.Model, class_names: Sequence[str]) -> Any:
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
