import keras
import numpy as np
import pytest
from keras import ops

from kdfixmatch_keras import backend
from kdfixmatch_keras.fixmatch import FixMatch
from kdfixmatch_keras.serving.prediction import ImageBatches
from kdfixmatch_keras.sources import ArraySource, LabeledImages
from kdfixmatch_keras.training.batches import FixMatchBatches, PermutationStream

SETTINGS = {"batch_size": 4, "unlabeled_ratio": 2, "steps_per_epoch": 3, "seed": 7}


def numbered(n, channels=3):
    """Images whose every pixel is their index."""
    numbers = np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1)
    return np.broadcast_to(numbers, (n, 8, 8, channels)).copy()


def labeled_images(n=10):
    labels = (np.arange(n) % 3).astype(np.int32)
    return LabeledImages(ArraySource(numbered(n)), labels, ["a", "b", "c"])


def make(n=10, m=50, **changes):
    trusted = np.where(np.arange(m) % 2, np.arange(m) % 3, -1).astype(np.int32)
    return FixMatchBatches(
        labeled_images(n),
        ArraySource(numbered(m)),
        trusted,
        **{**SETTINGS, **changes},
    )


def assert_same(first, second):
    assert first[0].keys() == second[0].keys()
    for key in first[0]:
        np.testing.assert_array_equal(first[0][key], second[0][key])
    np.testing.assert_array_equal(first[1], second[1])


def indices(batches, epochs):
    """Labeled and unlabeled indices of whole epochs, read from the pixels."""
    labeled, unlabeled = [], []
    for batches.epoch in range(epochs):
        for step in range(len(batches)):
            x, _ = batches[step]
            labeled.extend(x["labeled"][:, 0, 0, 0])
            unlabeled.extend(x["unlabeled"][:, 0, 0, 0])
    return labeled, unlabeled


def test_layout():
    batches = make()
    assert len(batches) == 3
    x, y = batches[0]
    shapes = {key: (value.shape, value.dtype.name) for key, value in x.items()}
    assert shapes == {
        "labeled": ((4, 8, 8, 3), "uint8"),
        "trusted": ((8,), "int32"),
        "unlabeled": ((8, 8, 8, 3), "uint8"),
        "unlabeled_index": ((8,), "int32"),
    }
    assert y.shape == (4,) and y.dtype == np.int32


def test_labeled_comes_first_because_keras_counts_samples_there():
    assert sorted(make()[0][0])[0] == "labeled"


def test_images_labels_and_trusted_labels_belong_to_their_index():
    batches = make()
    for batches.epoch in range(4):
        for step in range(len(batches)):
            x, y = batches[step]
            index = x["unlabeled_index"]
            np.testing.assert_array_equal(x["unlabeled"], numbered(50)[index])
            expected = np.where(index % 2, index % 3, -1)
            np.testing.assert_array_equal(x["trusted"], expected)
            np.testing.assert_array_equal(y, x["labeled"][:, 0, 0, 0] % 3)


def test_a_batch_depends_on_seed_epoch_and_step_alone():
    first, second = make(), make()
    in_order = {}
    for first.epoch in range(3):
        for step in range(3):
            in_order[first.epoch, step] = first[step]
    for epoch, step in [(2, 1), (0, 2), (1, 0), (2, 1), (0, 0), (2, 2)]:
        second.epoch = epoch
        assert_same(second[step], in_order[epoch, step])


def test_epochs_and_seeds_differ():
    batches = make()
    first = indices(batches, 1)
    batches.epoch = 1
    second = batches[0][0]["unlabeled_index"]
    assert list(first[1][:8]) != list(second)
    other = indices(make(seed=8), 1)
    assert first[0] != other[0] and first[1] != other[1]


def test_the_two_orders_are_independent():
    labeled, unlabeled = indices(make(n=24, m=24, unlabeled_ratio=1), 2)
    assert labeled != unlabeled


@pytest.mark.parametrize("n, m", [(10, 50), (3, 5), (1, 1), (4, 8)])
def test_every_index_comes_once_before_any_comes_again(n, m):
    labeled, unlabeled = indices(make(n, m), 20)
    for sequence, size in ((labeled, n), (unlabeled, m)):
        whole = len(sequence) // size
        assert whole >= 2
        for cycle in range(whole):
            stretch = sequence[cycle * size : (cycle + 1) * size]
            assert sorted(stretch) == list(range(size))


def test_permutations_differ_between_cycles():
    stream = PermutationStream(20, (0,))
    assert stream.take(0, 20).tolist() != stream.take(20, 20).tolist()
    np.testing.assert_array_equal(
        stream.take(13, 60), np.concatenate([stream.take(i, 1) for i in range(13, 73)])
    )


@pytest.mark.parametrize("end", [0, 4, 9])
def test_trusted_labels_end_after_so_many_steps_of_all_epochs(end):
    batches, endless = make(trusted_steps=end), make()
    for step in range(9):
        batches.epoch = endless.epoch = step // 3
        x, expected = batches[step % 3][0], endless[step % 3][0]
        np.testing.assert_array_equal(
            x["trusted"], expected["trusted"] if step < end else -1
        )
        np.testing.assert_array_equal(x["unlabeled_index"], expected["unlabeled_index"])


def test_without_trusted_labels_none_is_trusted():
    batches = FixMatchBatches(labeled_images(), ArraySource(numbered(20)), **SETTINGS)
    np.testing.assert_array_equal(batches[0][0]["trusted"], np.full(8, -1))


def test_without_unlabeled_images_only_labels_come():
    batches = FixMatchBatches(labeled_images(), None, **SETTINGS)
    x, y = batches[1]
    assert list(x) == ["labeled"]
    np.testing.assert_array_equal(y, x["labeled"][:, 0, 0, 0] % 3)


class Recorder(keras.layers.Layer):
    """A strong augmentation that notes which numbered images it is given."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []
        self.built = True

    def call(self, images, training=False):
        self.seen.append(ops.convert_to_numpy(images)[:, 0, 0, 0].tolist())
        return images


def as_they_are(batches):
    return batches


@pytest.mark.parametrize("feed", [as_they_are, backend.feed])
@pytest.mark.parametrize("initial_epoch", [0, 2])
def test_fit_sees_the_batches_of_each_epoch(tiny_student, initial_epoch, feed):
    recorder = Recorder()
    network = FixMatch(
        tiny_student(), weak_augmentation="none", strong_augmentation=recorder
    )
    network.compile("sgd", run_eagerly=True)
    batches = make()
    network.fit(
        feed(batches),
        epochs=4,
        initial_epoch=initial_epoch,
        shuffle=False,
        callbacks=[batches.epoch_callback()],
        validation_data=feed(
            ImageBatches(ArraySource(numbered(5)), np.zeros(5, "int32"))
        ),
        verbose=0,
    )

    expected, drawn = [], make()
    for drawn.epoch in range(initial_epoch, 4):
        for step in range(3):
            expected.append(drawn[step][0]["unlabeled_index"].tolist())
    assert recorder.seen == expected
