"""The snippets of docs/serving.md, run as they stand there."""

import base64
import io
import json
import re
import urllib.request
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kdfixmatch_keras.serving.export import export_network
from kdfixmatch_keras.sources.image_decoding import read_pixels
from kdfixmatch_keras.sources.intensity import IntensityRange

pytestmark = pytest.mark.tensorflow

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(UPRIGHT,) = (snippet for snippet in PYTHON if "exif_transpose(photo)" in snippet)
(SCALED,) = (snippet for snippet in PYTHON if "def in_8_bits" in snippet)
FUNCTIONS = (UPRIGHT, SCALED)
JSON = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
NAMES = ["dark", "hell ü"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the snippets expect in their working directory; the photograph is bright."""
    folder = tmp_path_factory.mktemp("serving")
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    levels = keras.layers.Rescaling(1 / 255, offset=-0.5)(inputs)
    mean = keras.layers.Flatten()(keras.layers.GlobalAveragePooling2D()(levels))
    logits = keras.layers.Dense(2)(mean)
    network = keras.Model(inputs, logits)
    network.layers[-1].kernel.assign([[-1, 1]] * 3)
    export_network(network, NAMES, folder / "classifier" / "1", "tf_saved_model")
    export_network(network, NAMES, folder / "classifier.onnx", "onnx")
    Image.new("RGB", (20, 12), (200, 220, 240)).save(folder / "photo.jpg")
    return folder


@pytest.fixture(scope="module")
def signatures(folder):
    loaded = tf.saved_model.load(str(folder / "classifier" / "1"))
    return {"loaded": loaded, **loaded.signatures}


def answer_as_tensorflow_serving(signatures, request):
    """Answers a request as the REST API of TensorFlow Serving is documented."""
    signature = signatures[request["signature_name"]]
    ((name, spec),) = signature.structured_input_signature[1].items()
    instances = request["instances"]
    if spec.dtype == tf.string:
        instances = [base64.b64decode(instance["b64"]) for instance in instances]
    outputs = signature(**{name: tf.constant(instances, spec.dtype)})
    rows = zip(*(outputs[key].numpy().tolist() for key in outputs), strict=True)
    return {
        "predictions": [
            {
                key: value.decode() if isinstance(value, bytes) else value
                for key, value in zip(outputs, row, strict=True)
            }
            for row in rows
        ]
    }


@pytest.mark.parametrize("snippet", [text for text in PYTHON if text not in FUNCTIONS])
def test_snippets_name_the_class_of_the_photograph(
    folder, signatures, monkeypatch, capsys, snippet
):
    def urlopen(url, body):
        assert url == "http://localhost:8501/v1/models/classifier:predict"
        answer = answer_as_tensorflow_serving(signatures, json.loads(body))
        return io.BytesIO(json.dumps(answer).encode())

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    monkeypatch.chdir(folder)
    variables = {}
    exec(snippet, variables)
    assert capsys.readouterr().out.startswith("hell ü ")
    if "class_names" in variables:
        assert variables["class_names"] == NAMES
    if "URL" in variables:
        images = np.full((3, 8, 8, 3), 10, np.uint8)
        answers = variables["classify"]("serving_default", images.tolist())
        assert [answer["class_name"] for answer in answers] == ["dark"] * 3


def test_snippet_that_turns_a_photograph(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.linear_gradient("L").resize((8, 16)).convert("RGB")
    picture.save("photo.jpg", exif=exif)
    variables = {}
    exec(UPRIGHT, variables)
    turned = tf.io.decode_jpeg(
        variables["encoded"], channels=3, dct_method="INTEGER_ACCURATE"
    )
    np.testing.assert_array_equal(turned, read_pixels(Path("photo.jpg")))
    assert turned.shape == (8, 16, 3)
    picture.save("photo.jpg")
    assert variables["upright"]("photo.jpg") == Path("photo.jpg").read_bytes()


@pytest.mark.parametrize("low, high", [(0, 65535), (0, 4095), (6500, 9500)])
def test_snippet_that_scales_16_bits(low, high):
    variables = {}
    exec(SCALED, variables)
    pixels = np.arange(1 << 16, dtype=np.uint16)
    np.testing.assert_array_equal(
        variables["in_8_bits"](pixels, low, high),
        IntensityRange(low, high).gray(pixels),
    )


def test_requests_and_answers_are_what_the_signatures_take_and_give(signatures):
    *requests, response = map(json.loads, JSON)
    assert [request["signature_name"] for request in requests] == [
        "serve_bytes",
        "serving_default",
    ]
    expected = response["predictions"][0]
    answer = answer_as_tensorflow_serving(signatures, requests[1])
    assert len(answer["predictions"]) == 1
    for given in answer["predictions"]:
        assert given.keys() == expected.keys()
        assert {key: type(value) for key, value in given.items()} == {
            key: type(value) for key, value in expected.items()
        }
    assert requests[0]["instances"][0].keys() == {"b64"}
    for signature in ("serve_bytes", "serving_default"):
        (name,) = signatures[signature].structured_input_signature[1]
        assert f'{{"inputs": {{"{name}": [...]}}}}' in PAGE
