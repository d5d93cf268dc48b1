"""A dataset that tells no length is read with a word, and not for ever."""

import errno
import re
import tempfile

import numpy as np
import pytest

from kdfixmatch_keras.sources import (
    labeled_source,
    spool,
    spool_dataset,
    unlabeled_source,
)

pytestmark = pytest.mark.tensorflow
IMAGE = np.full((4, 4, 3), 90, np.uint8)


def generated(make, labeled=False, batched=False):
    """A dataset of what a generator yields."""
    import tensorflow as tf

    image = tf.TensorSpec((None, None, None, 3)[not batched :], tf.uint8)
    label = tf.TensorSpec((None,)[not batched :], tf.int64)
    return tf.data.Dataset.from_generator(
        make, output_signature=(image, label) if labeled else image
    )


def endless():
    while True:
        yield IMAGE


def endless_pairs():
    while True:
        yield IMAGE, 0
        yield IMAGE, 1


def endless_batches():
    while True:
        yield np.repeat(IMAGE[None], 16, axis=0)


def endless_nothing():
    while True:
        yield np.empty((0, 4, 4, 3), np.uint8)


def of_forty():
    yield from [IMAGE] * 40


def told(count):
    import tensorflow as tf

    return tf.data.experimental.assert_cardinality(count)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(spool, "MAX_IMAGES", 32)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (endless, {}),
        (endless_pairs, {"labeled": True}),
        (endless_batches, {"batched": True}),
        (endless_nothing, {"batched": True}),
        (of_forty, {}),
    ],
)
def test_what_does_not_end_is_refused_with_what_to_do(few, make, options):
    source = labeled_source if options.get("labeled") else unlabeled_source
    with pytest.raises(ValueError, match="must be a dataset that ends.*Received") as e:
        source(generated(make, **options), argument="photos")
    assert "`photos`" in str(e.value)
    assert "add `.take(count)`" in str(e.value)
    assert "assert_cardinality(count)" in str(e.value)


def test_large_images_are_refused_by_their_size(monkeypatch):
    monkeypatch.setattr(spool, "MAX_BYTES", 5 * IMAGE.nbytes)
    with pytest.raises(ValueError, match=r"more than 5 images of it \(0\.0 GB\)"):
        unlabeled_source(generated(endless))


def test_what_is_told_helps(few):
    assert len(unlabeled_source(generated(endless).take(32))) == 32
    assert len(unlabeled_source(generated(of_forty).apply(told(40)))) == 40
    assert len(unlabeled_source(generated(endless).take(40).apply(told(40)))) == 40


def test_a_full_disk_may_be_that_of_an_endless_dataset(monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    with pytest.raises(OSError, match=r"TMPDIR.*never ends, add `\.take\(count\)`"):
        spool_dataset(generated(endless), False, memory_bytes=100)
    with pytest.raises(OSError, match=r"TMPDIR[^`]*$"):
        spool_dataset(generated(of_forty).apply(told(40)), False, memory_bytes=100)


@pytest.mark.parametrize("known", [False, True])
def test_a_long_reading_says_how_far_it_is(monkeypatch, capsys, known):
    seconds = iter(range(1000))
    monkeypatch.setattr(spool, "monotonic", lambda: float(next(seconds)))
    dataset = generated(of_forty)
    source = unlabeled_source(dataset.apply(told(40)) if known else dataset)
    assert len(source) == 40
    lines = capsys.readouterr().err.splitlines()
    lines = [line for line in lines if line.startswith("Reading")]
    # The time between two words doubles.
    assert [int(re.search(r"after (\d+) s", line)[1]) for line in lines] == [10, 20, 40]
    count = "10 images, 25%," if known else "10 images, of a dataset that does not"
    assert lines[0].startswith(f"Reading `unlabeled`: {count}")


def test_a_short_reading_says_nothing(capsys):
    unlabeled_source(generated(of_forty))
    assert "Reading" not in capsys.readouterr().err
