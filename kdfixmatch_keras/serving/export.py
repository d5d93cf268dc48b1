"""Serving: a trained network as a SavedModel or an ONNX file, without Keras."""

from collections.abc import Sequence
from typing import Any

import keras

from kdfixmatch_keras import backend
from kdfixmatch_keras.backend.keras_settings import usual_settings
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.serving import export_process, formats
from kdfixmatch_keras.sources.intensity import IntensityRange, check_known_range


@usual_settings()
def export_network(
    network: keras.Model,
    class_names: Sequence[str],
    path: Any,
    format: str = "tf_saved_model",
    intensity_range: IntensityRange | None = None,
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
      TensorFlow ignores: send upright pixels, as `docs/serving.md` shows. 16-bit PNG
      files are scaled as those of the training were, by `intensity_range`, and refused
      where there were none.
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
        intensity_range: What intensities of 16-bit files become 0 and 255, that of the
            model; or None.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: `format` is unknown, `path` is not as above, or there are not as
            many names as classes.
        RuntimeError: The other process failed.
        ImportError: TensorFlow or a package that writes ONNX is missing.
    """
    validation.check_choice("format", format, formats.FORMATS)
    path = formats.check_path(path, format)
    if not isinstance(network, keras.Model) or not hasattr(network, "input_shape"):
        raise TypeError(
            "`network` must be a functional keras.Model, such as the `teacher` of a "
            f"FixMatch. Received: network of type {type(network).__name__}"
        )
    names = validation.check_names("class_names", class_names, network.output_shape[-1])
    check_known_range(intensity_range)
    formats.check_packages(format)
    if backend.is_tensorflow():
        formats.write(network, names, path, format, intensity_range)
    else:
        export_process.export_in_process(
            network, names, path, format, intensity_range=intensity_range
        )
