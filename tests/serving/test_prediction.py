import numpy as np
import pytest
from keras import ops

from kdfixmatch_keras import backend
from kdfixmatch_keras.fixmatch import FixMatch
from kdfixmatch_keras.serving import prediction
from kdfixmatch_keras.serving.prediction import ImageBatches, predict
from kdfixmatch_keras.sources import ArraySource
from tests.training.test_batches import as_they_are, numbered


def test_image_batches_keep_index_order_and_the_smaller_rest():
    labels = (np.arange(10) % 3).astype(np.int32)
    batches = ImageBatches(ArraySource(numbered(10)), labels, batch_size=4)
    assert len(batches) == 3
    drawn = [batches[step] for step in range(3)]
    assert [len(images) for images, _ in drawn] == [4, 4, 2]
    images = np.concatenate([images for images, _ in drawn])
    np.testing.assert_array_equal(images, numbered(10))
    np.testing.assert_array_equal(np.concatenate([y for _, y in drawn]), labels)


@pytest.mark.parametrize("feed", [as_they_are, backend.feed])
def test_image_batches_without_labels_feed_predict(tiny_student, feed):
    source = ArraySource(numbered(10))
    batches = ImageBatches(source, batch_size=4)
    assert len(batches[0]) == 1
    network = FixMatch(tiny_student())
    np.testing.assert_allclose(
        network.predict(feed(batches), verbose=0),
        ops.convert_to_numpy(network(numbered(10))),
        atol=1e-6,
    )


def test_many_images_are_predicted_in_parts_with_the_same_bits(
    tiny_student, monkeypatch
):
    network = FixMatch(tiny_student())
    source = ArraySource(numbered(23))
    embedder = prediction.embedder(network)
    expected = predict(embedder, source, batch_size=4)
    monkeypatch.setattr("kdfixmatch_keras.serving.prediction.PREDICTED_AT_ONCE", 10)
    found = predict(embedder, source, batch_size=4)
    assert found.keys() == expected.keys() == {"embeddings", "logits"}
    for name, value in expected.items():
        assert found[name].shape == value.shape and len(value) == 23
        np.testing.assert_array_equal(found[name], value)
