"""What an exported network makes of images, for tests of several rooms."""

import keras
import numpy as np

from kdfixmatch_keras.serving.export import export_network


def check_exported(network, images, folder, format):
    """Exports a network of three classes, and compares what it predicts."""
    import onnxruntime
    import tensorflow as tf

    ops = keras.ops
    expected = ops.convert_to_numpy(ops.softmax(network(images)))
    path = str(folder / ("network.onnx" if format == "onnx" else "network"))
    export_network(network, ["a", "b", "c"], path, format)
    if format == "onnx":
        session = onnxruntime.InferenceSession(path)
        (found,) = session.run(["probabilities"], {"images": images})
    else:
        answer = tf.saved_model.load(path).signatures["serving_default"](
            images=tf.constant(images)
        )
        found = answer["probabilities"].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
