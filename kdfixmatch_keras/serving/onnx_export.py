"""Serving: a trained network as an ONNX model."""

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras._version import __version__
from kdfixmatch_keras.backbones import set_weights
from kdfixmatch_keras.sources.intensity import IntensityRange

# The first opset whose Resize can smooth before it reduces, and its IR version.
_OPSET = 18
_IR_VERSION = 8
_HEADER = f'<ir_version: {_IR_VERSION}, opset_import: ["": {_OPSET}]>'


def check_packages() -> None:
    """Checks that what `build_model` imports is installed.

    Nothing is imported: tf2onnx brings TensorFlow into a process that may run on JAX.

    Raises:
        ImportError: A package is missing.
    """
    packages = ("tensorflow", "onnx", "tf2onnx")
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"ONNX files need {' and '.join(packages[1:])}, and TensorFlow, whatever "
            f"Keras runs on; {missing[0]} is missing: "
            'pip install "kdfixmatch-keras[onnx]"'
        )


def build_model(
    network: keras.Model,
    class_names: Sequence[str],
    intensity_range: IntensityRange | None = None,
) -> Any:
    """Translates `network`, with resizing before it and class names after it.

    Args:
        network: Functional model from uint8 `(n, H, W, C)` to logits `(n, K)`.
        class_names: The `K` names.
        intensity_range: What intensities became 0 and 255, for the metadata.

    Returns:
        A checked `onnx.ModelProto`; see `serving.export` for its inputs and
        outputs.
    """
    import onnx.checker
    import onnx.compose
    import onnx.helper

    translated = onnx.compose.add_prefix(_translated(_in_float32(network)), "network/")
    model = onnx.compose.merge_models(
        _resizing(network.input_shape[1:]), translated, [("pixels", "network/pixels")]
    )
    model = onnx.compose.merge_models(
        model,
        _answers(class_names),
        [("network/logits", "logits")],
        name="classifier",
        producer_name="kdfixmatch-keras",
        producer_version=__version__,
    )
    facts = {"class_names": json.dumps(list(class_names), ensure_ascii=False)}
    if intensity_range is not None:
        facts["intensity_range"] = json.dumps(astuple(intensity_range))
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    return model


def _resizing(image_shape: tuple[int, int, int]) -> Any:
    """From images of any size to the pixels of the network; rounds as `export` does.

    TensorFlow and Pillow average over the pixels inside the image alone; so does
    Resize with `exclude_outside`. `axes` leaves the channels where they are.
    """
    import onnx.parser

    height, width, channels = image_shape
    return onnx.parser.parse_model(f"""
        {_HEADER}
        resizing (uint8[n, height, width, {channels}] images)
        => (uint8[n, {height}, {width}, {channels}] pixels)
        <
            int64[2] size = {{{height}, {width}}},
            float black = {{0}},
            float white = {{255}}
        >
        {{
            levels = Cast <to = {onnx.TensorProto.FLOAT}> (images)
            resized = Resize <
                mode = "linear", antialias = 1, exclude_outside = 1, axes = [1, 2]
            > (levels, , , size)
            rounded = Round (resized)
            clipped = Clip (rounded, black, white)
            pixels = Cast <to = {onnx.TensorProto.UINT8}> (clipped)
        }}
    """)


def _answers(class_names: Sequence[str]) -> Any:
    """From logits to what is served."""
    import onnx.numpy_helper
    import onnx.parser

    count = len(class_names)
    model = onnx.parser.parse_model(f"""
        {_HEADER}
        answers (float[n, {count}] logits)
        => (float[n, {count}] probabilities, int32[n] class_id, string[n] class_name)
        {{
            probabilities = Softmax <axis = -1> (logits)
            index = ArgMax <axis = -1, keepdims = 0> (logits)
            class_id = Cast <to = {onnx.TensorProto.INT32}> (index)
            class_name = Gather (names, index)
        }}
    """)
    names = np.array(class_names, dtype=object)
    model.graph.initializer.append(onnx.numpy_helper.from_array(names, "names"))
    return model


def _translated(network: keras.Model) -> Any:
    """The network alone, from `pixels` to `logits`."""
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    signature = [tf.TensorSpec((None, *network.input_shape[1:]), tf.uint8, "pixels")]

    @tf.function(autograph=False, input_signature=signature)
    def call(pixels: Any) -> Any:
        return network(pixels, training=False)

    # Tensors that are no variables, such as the means of a Normalization layer, would
    # become inputs of the ONNX model: frozen, the function has none.
    frozen = convert_variables_to_constants_v2(call.get_concrete_function())

    @tf.function(autograph=False, input_signature=signature)
    def call_frozen(pixels: Any) -> dict[str, Any]:
        (logits,) = frozen(pixels)
        return {"logits": logits}

    model, _ = tf2onnx.convert.from_function(
        call_frozen,
        input_signature=signature,
        opset=_OPSET,
        custom_op_handlers={"Erfc": (_erfc, [])},
    )
    model.ir_version = _IR_VERSION
    return model


def _erfc(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """Makes 1 - Erf of Erfc, which GELU computes and tf2onnx does not know."""
    from tf2onnx import utils

    found = node.output[0]
    dtype = utils.map_onnx_to_numpy_type(graph.get_dtype(found))
    one = graph.make_const(utils.make_name("one"), np.array(1, dtype))
    node.type = "Erf"
    graph.insert_new_node_on_output("Sub", found, inputs=[one.output[0], found])


def _in_float32(network: keras.Model) -> keras.Model:
    """`network`, or where it computes in half precision a copy that does not.

    Runtimes on a CPU have few operators in float16 and next to none in bfloat16. The
    variables are float32 in any case.
    """
    layers = network._flatten_layers()
    if not any(layer.compute_dtype in ("float16", "bfloat16") for layer in layers):
        return network

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if type(layer) is keras.layers.Lambda:
            # Of its function, a configuration keeps the code alone.
            kept = {"arguments": layer.arguments, "name": layer.name}
            return keras.layers.Lambda(layer.function, **kept, dtype="float32")
        return type(layer).from_config(_without_half_precision(layer.get_config()))

    clone = keras.models.clone_model(network, clone_function=copy, recursive=True)
    set_weights(clone, network.get_weights())
    return clone


def _without_half_precision(config: Any) -> Any:
    """A layer's configuration with every dtype policy in it replaced by float32."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": "float32"}}
        return {key: _without_half_precision(value) for key, value in config.items()}
    if isinstance(config, list):
        return [_without_half_precision(value) for value in config]
    return config
