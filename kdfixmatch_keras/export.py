"""Serving: a trained network as a SavedModel or an ONNX file, without Keras."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from kdfixmatch_keras import backend, onnx_export, own_code, validation
from kdfixmatch_keras.augmentation.operations import luminance
from kdfixmatch_keras.files import writing, written_aside

FORMATS = ("tf_saved_model", "onnx")

# Files that are exchanged with the process of `export_process`.
NETWORK, REQUEST, FAILURE = "network.keras", "request.json", "failure.txt"


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
    same Python does it, with KERAS_BACKEND=tensorflow; see `export_in_process`.

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
        write(network, names, path, format)
    else:
        export_in_process(network, names, path, format)


def write(
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


def export_in_process(
    network: keras.Model,
    class_names: Sequence[str],
    path: Path,
    format: str,
    python: str = sys.executable,
) -> None:
    """Does what `export_network` has checked in a process of its own, on TensorFlow.

    The process gets the network as a `.keras` file in a temporary folder. It imports
    the modules of the user's own layers, which must not be defined in the program
    that is run itself, where another process does not find them.

    Args:
        network: As for `export_network`.
        class_names: As for `export_network`.
        path: As for `export_network`.
        format: As for `export_network`.
        python: The interpreter, one that has TensorFlow and this package.

    Raises:
        RuntimeError: The process failed; nothing is left at `path`.
        OSError: The disk does not take it.
    """
    with tempfile.TemporaryDirectory(prefix="kdfixmatch-") as name:
        folder = Path(name)
        with writing(folder):
            network.save(folder / NETWORK)
            request = {
                "class_names": list(class_names),
                "format": format,
                "own_code": own_code.references(json.loads(network.to_json())),
                "sys_path": [entry for entry in sys.path if entry],
            }
            (folder / REQUEST).write_text(json.dumps(request))
        # `-P` keeps modules of the working folder from taking the place of others.
        process = subprocess.run(
            [python, "-P", "-m", "kdfixmatch_keras.export_process", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=_environment(),
        )
        if process.returncode != 0:
            raise RuntimeError(
                "The network could not be exported in a process with "
                f"KERAS_BACKEND=tensorflow: {_failure(folder, process)}"
            )
        with written_aside(path) as temporary:
            shutil.move(folder / result_name(format), temporary)


def result_name(format: str) -> str:
    """What the process calls its result."""
    return "network.onnx" if format == "onnx" else "saved_model"


def _environment() -> dict[str, str]:
    """This environment, with TensorFlow for Keras, and no GPU, which may be taken."""
    paths = [os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[1])]
    return {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }


def _failure(folder: Path, process: subprocess.CompletedProcess[bytes]) -> str:
    """What a process that failed says of it."""
    if (folder / FAILURE).exists():
        return (folder / FAILURE).read_text(encoding="utf-8")
    lines = process.stderr.decode(errors="replace").strip().splitlines()
    if process.returncode < 0:
        return f"it was ended by signal {-process.returncode}"
    return lines[-1] if lines else f"it ended with status {process.returncode}"


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
