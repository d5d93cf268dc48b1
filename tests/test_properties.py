"""Fast code against slow, obvious references, on 10,000 examples that Hypothesis makes.

The references are dictionaries, loops over plain floats, and Pillow, image by image.
"""

import collections
import csv
import itertools
import math
import sys
import tempfile
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from kdfixmatch_keras import FixMatch, TrustedSet, TrustedSetBuilder, losses
from kdfixmatch_keras.report import metrics
from kdfixmatch_keras.serving.prediction import ImageBatches
from kdfixmatch_keras.sources import (
    ArraySource,
    FolderSource,
    LabeledImages,
    SubsetSource,
    labeled_source,
    split_folder,
    spool_dataset,
)
from kdfixmatch_keras.thresholds import FlexMatchThreshold
from kdfixmatch_keras.training.batches import FixMatchBatches, PermutationStream
from kdfixmatch_keras.trusted.trusted_set import REASONS

# How many examples each test has; at least 10,000 in all.
EXAMPLES = {
    "test_trusted_set_is_that_of_dictionaries": 1600,
    "test_parts_of_a_trusted_set_agree": 600,
    "test_permuting_samples_permutes_the_trusted_set": 400,
    "test_confidence_is_compared_in_single_precision": 1000,
    "test_audit_counts": 800,
    "test_trusted_set_survives_its_files": 60,
    "test_losses_are_their_formulas": 1500,
    "test_losses_are_reduced_as_told": 400,
    "test_heuristic_1": 300,
    "test_flexmatch_remembers_by_index": 100,
    "test_permutation_stream_is_one_sequence": 800,
    "test_a_training_batch_depends_on_seed_epoch_and_step_alone": 500,
    "test_image_batches_keep_the_order_of_indices": 400,
    "test_a_subset_of_a_subset_reads_the_images_of_its_indices": 400,
    "test_arrays_are_read_as_by_pillow": 800,
    "test_folders_are_read_as_by_pillow": 100,
    "test_labeled_folders": 100,
    "test_a_folder_with_labels_in_a_file": 100,
    "test_datasets_are_read_in_order": 40,
    "test_evaluation_counts": 400,
}
SEEDS = st.integers(0, 2**32 - 1)


def examples(test):
    """Runs a test on its number of examples, the same ones every time."""
    return settings(
        max_examples=EXAMPLES[test.__name__],
        deadline=None,
        derandomize=True,
        database=None,
        # Whether making files is slow depends on the machine.
        suppress_health_check=[HealthCheck.too_slow],
    )(test)


def test_there_are_ten_thousand_examples():
    assert sum(EXAMPLES.values()) >= 10_000
    tests = {name for name in vars(sys.modules[__name__]) if name.startswith("test_")}
    assert tests - {"test_there_are_ten_thousand_examples"} == set(EXAMPLES)


# The trusted set


class Given:
    """A clustering that finds the clusters in the first column of the embeddings."""

    def fit_predict(self, z):
        return z[:, 0].astype(np.int64)


@st.composite
def predictions(draw, max_samples=12, max_classes=4):
    """Probabilities, a cluster of each sample, which may be -1, and a threshold."""
    size = draw(st.integers(1, max_samples))
    classes = draw(st.integers(2, max_classes))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=size, max_size=size))
    clusters = draw(
        st.lists(st.sampled_from([-1, 0, 1, 2, 90]), min_size=size, max_size=size)
    )
    kinds = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    probabilities = np.zeros((size, classes))
    for row, (label, kind) in enumerate(zip(labels, kinds, strict=True)):
        if kind == 3:
            probabilities[row] = 1 / classes
            continue
        # Exactly the threshold, less, and all of it.
        highest = [0.75, 0.6, 1.0][kind]
        probabilities[row] = (1 - highest) / (classes - 1)
        probabilities[row, label] = highest
    return probabilities, clusters, draw(st.sampled_from([0.75, 0.0, 0.7, 1.0]))


def built(probabilities, clusters, tau, assignment="majority"):
    builder = TrustedSetBuilder(tau, Given(), assignment)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return builder.build(probabilities, np.asarray(clusters, float)[:, None])


def slow_selection(probabilities, clusters, tau):
    """Labels, confident samples, and the votes for each class by cluster."""
    labels, confident = [], []
    for index, row in enumerate(probabilities.astype(np.float32).tolist()):
        labels.append(row.index(max(row)))
        if max(row) >= np.float32(tau):
            confident.append(index)
    if len(confident) < probabilities.shape[1]:
        return labels, confident, None
    votes = {}
    for index in confident:
        if clusters[index] >= 0:
            members = votes.setdefault(clusters[index], collections.Counter())
            members[labels[index]] += 1
    return labels, confident, votes


def most_agreements(votes, num_classes):
    """Of all one-to-one assignments of clusters to classes."""
    clusters = [*votes, *[None] * (num_classes - len(votes))]
    return max(
        sum(
            votes[cluster][label]
            for label, cluster in enumerate(chosen)
            if cluster is not None
        )
        for chosen in itertools.permutations(clusters, num_classes)
    )


@examples
@given(data=predictions(), assignment=st.sampled_from(["majority", "hungarian"]))
def test_trusted_set_is_that_of_dictionaries(data, assignment):
    probabilities, clusters, tau = data
    trusted = built(probabilities, clusters, tau, assignment)
    labels, confident, votes = slow_selection(probabilities, clusters, tau)
    assert trusted.pseudo_labels.tolist() == labels
    assert np.flatnonzero(trusted.confident).tolist() == confident
    if votes is None:
        assert len(trusted) == 0 and set(trusted.cluster.tolist()) <= {-1}
        return
    for index in range(len(labels)):
        expected = clusters[index] if index in confident else -1
        assert trusted.cluster[index] == expected
    if assignment == "majority":
        names = {
            cluster: min(counts, key=lambda label: (-counts[label], label))
            for cluster, counts in votes.items()
        }
    else:
        # Of several best assignments any will do, but it must be one to one.
        names = {clusters[index]: labels[index] for index in trusted.indices.tolist()}
        assert len(set(names.values())) == len(names)
        assert len(trusted) == most_agreements(votes, probabilities.shape[1])
    expected = [
        index
        for index in confident
        if clusters[index] >= 0 and names.get(clusters[index]) == labels[index]
    ]
    assert trusted.indices.tolist() == expected


@examples
@given(data=predictions(max_samples=20))
def test_parts_of_a_trusted_set_agree(data):
    probabilities, clusters, tau = data
    trusted = built(probabilities, clusters, tau)
    parts = zip(
        trusted.indices.tolist(),
        trusted.labels.tolist(),
        trusted.confidence[trusted.indices].tolist(),
        trusted.cluster[trusted.indices].tolist(),
        strict=True,
    )
    dense = {}
    for index, label, confidence, cluster in parts:
        dense[index] = label
        assert label == trusted.pseudo_labels[index]
        assert (
            confidence
            == trusted.confidence[index]
            == np.float32(max(probabilities[index]))
        )
        assert cluster == trusted.cluster[index] >= 0
    size = trusted.num_unlabeled
    assert trusted.dense_labels().tolist() == [dense.get(i, -1) for i in range(size)]
    assert (len(trusted), size) == (len(dense), len(probabilities))
    confident = [value >= np.float32(tau) for value in trusted.confidence]
    assert trusted.num_confident == sum(confident)
    for index, reason in enumerate(trusted.reasons()):
        assert (reason == REASONS[0]) == (index in dense)
        assert (reason == REASONS[1]) == (not confident[index])
        outside = confident[index] and trusted.cluster[index] < 0
        assert (reason == REASONS[2]) == outside


@examples
@given(data=predictions(max_samples=20), seed=SEEDS)
def test_permuting_samples_permutes_the_trusted_set(data, seed):
    probabilities, clusters, tau = data
    order = np.random.default_rng(seed).permutation(len(clusters))
    one = built(probabilities, clusters, tau)
    other = built(probabilities[order], np.array(clusters)[order], tau)
    assert one.dense_labels()[order].tolist() == other.dense_labels().tolist()
    assert one.cluster[order].tolist() == other.cluster.tolist()


@examples
@given(
    highest=st.lists(st.floats(0.5, 1), min_size=2, max_size=6),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
    position=st.integers(0, 5),
    step=st.sampled_from([-1, 0, 1]),
)
def test_confidence_is_compared_in_single_precision(highest, dtype, position, step):
    probabilities = np.array([[p, 1 - p] for p in highest]).astype(dtype)
    # A threshold that is a confidence, or its neighbour in single precision.
    own = np.float32(probabilities.max(axis=1)[position % len(highest)])
    tau = float(min(np.nextafter(own, np.float32(2 * step)) if step else own, 1.0))
    trusted = built(probabilities, [0] * len(highest), tau)
    for index, row in enumerate(probabilities.astype(np.float32).tolist()):
        assert trusted.confident[index] == (max(row) >= np.float32(tau))
        assert trusted.pseudo_labels[index] == row.index(max(row))
    assert set(trusted.indices.tolist()) <= set(
        np.flatnonzero(trusted.confident).tolist()
    )


@examples
@given(data=predictions(max_samples=20), seed=SEEDS)
def test_audit_counts(data, seed):
    probabilities, clusters, tau = data
    trusted = built(probabilities, clusters, tau)
    num_classes = probabilities.shape[1]
    # -1 and K are no classes.
    truth = np.random.default_rng(seed).integers(-1, num_classes + 1, len(clusters))

    def share(part, whole):
        return len(part) / len(whole) if whole else None

    def shown(value):
        return None if math.isnan(value) else value

    members = list(range(len(truth)))
    label = trusted.pseudo_labels.tolist()
    chosen = [i for i in members if trusted.trusted[i]]
    confident = [i for i in members if trusted.confident[i]]
    right = [i for i in members if label[i] == truth[i]]
    found = trusted.audit(truth)
    assert shown(found["precision"]) == share([i for i in chosen if i in right], chosen)
    assert shown(found["confident_precision"]) == share(
        [i for i in confident if i in right], confident
    )
    assert found["coverage"] == share(chosen, members)
    assert found["size"] == len(chosen)
    assert list(found["per_class"]) == list(range(num_classes))
    for number, row in found["per_class"].items():
        named = [i for i in chosen if label[i] == number]
        hits = [i for i in named if i in right]
        assert row["size"] == len(named)
        assert shown(row["precision"]) == share(hits, named)
        assert shown(row["recall"]) == share(
            hits, [i for i in members if truth[i] == number]
        )


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@examples
@given(data=predictions(), names=st.lists(TEXTS, min_size=16, max_size=16))
def test_trusted_set_survives_its_files(data, names):
    trusted = built(*data)
    names, class_names = names[4:][: len(trusted.trusted)], names[: data[0].shape[1]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trusted.save(folder / "trusted.npz")
        other = TrustedSet.load(folder / "trusted.npz")
        trusted.to_csv(folder / "trusted.csv", names, class_names)
        with open(folder / "trusted.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    assert repr(other) == repr(trusted)
    for part in ("pseudo_labels", "confidence", "cluster", "trusted"):
        np.testing.assert_array_equal(getattr(other, part), getattr(trusted, part))
    assert (other.tau_select, other.num_classes) == (
        trusted.tau_select,
        trusted.num_classes,
    )
    for index, row in enumerate(rows):
        assert int(row["index"]) == index
        assert row["name"] == names[index]
        assert row["pseudo_label"] == class_names[trusted.pseudo_labels[index]]
        assert np.float32(row["confidence"]) == trusted.confidence[index]
        assert int(row["cluster"]) == trusted.cluster[index]
        assert row["trusted"] == ("true" if trusted.trusted[index] else "false")
        assert row["reason"] == trusted.reasons()[index]
    assert len(rows) == trusted.num_unlabeled


# Losses


def slow_loss(name, logits, label, alpha=1.0, beta=0.1, q=0.7, clip=1e-4):
    """The table of the method, in plain floats, of one sample."""
    largest = max(logits)
    total = math.log(sum(math.exp(logit - largest) for logit in logits))
    log_p = [logit - largest - total for logit in logits]
    p = math.exp(log_p[label])
    cross_entropy = -log_p[label]
    reverse = -math.log(clip) * (1 - p)
    normalized = log_p[label] / sum(log_p)
    return {
        "ce": cross_entropy,
        "sce": alpha * cross_entropy + beta * reverse,
        "gce": (1 - p**q) / q,
        "mae": 2 * (1 - p),
        "nce": normalized,
        "nce_rce": normalized + reverse,
    }[name]


LOSS_NAMES = ("ce", "sce", "gce", "mae", "nce", "nce_rce")


@st.composite
def logits_and_labels(draw, max_samples=4, max_classes=40):
    size = draw(st.integers(1, max_samples))
    classes = draw(st.integers(2, max_classes))
    generator = np.random.default_rng(draw(SEEDS))
    scale = draw(st.sampled_from([0.0, 1.0, 30.0, 1e4]))
    logits = generator.normal(0, scale, (size, classes)).astype(np.float32)
    # Some that are as extreme as half precision has them.
    for row in range(size):
        extreme = draw(st.sampled_from([None, 1e4, -1e4]))
        if extreme is not None:
            logits[row, draw(st.integers(0, classes - 1))] = extreme
    return logits, generator.integers(0, classes, size).astype(np.int32)


def assert_close(values, expected):
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(values), expected, rtol=2e-5, atol=2e-5
    )


@examples
@given(name=st.sampled_from(LOSS_NAMES), data=logits_and_labels())
def test_losses_are_their_formulas(name, data):
    logits, labels = data
    expected = [
        slow_loss(name, row, label)
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]
    assert_close(losses.per_sample(losses.get(name), labels, logits), expected)


@examples
@given(
    name=st.sampled_from(LOSS_NAMES),
    data=logits_and_labels(max_classes=6),
    reduction=st.sampled_from(["sum_over_batch_size", "sum", "none", None]),
    mask=st.lists(st.sampled_from([0.0, 1.0]), min_size=4, max_size=4),
)
def test_losses_are_reduced_as_told(name, data, reduction, mask):
    logits, labels = data
    loss = type(losses.get(name))(reduction=reduction)
    weighted = [
        weight * slow_loss(name, row, label)
        for row, label, weight in zip(
            logits.tolist(), labels.tolist(), mask, strict=False
        )
    ]
    expected = {
        "sum": sum(weighted),
        # Over all samples, those that are masked included.
        "sum_over_batch_size": sum(weighted) / len(weighted),
    }.get(reduction, weighted)
    assert_close(
        loss(labels, logits, sample_weight=np.float32(mask[: len(labels)])), expected
    )


# Targets


@pytest.fixture(scope="module")
def networks():
    """A network for each threshold of the inner network."""
    inputs = keras.Input((2, 2, 1), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Dense(2, name="embedding")(x)
    student = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
    return {tau: FixMatch(student, tau=tau) for tau in (0.0, 0.6, 0.95, 1.0)}


@examples
@given(tau=st.sampled_from([0.0, 0.6, 0.95, 1.0]), size=st.integers(1, 8), seed=SEEDS)
def test_heuristic_1(networks, tau, size, seed):
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, (size, 3)).astype(np.float32)
    own_weight = generator.random(size).astype(np.float32).round()
    trusted = generator.integers(-1, 3, size).astype(np.int32)
    found = networks[tau].targets(logits, own_weight, trusted)
    labels, weight, from_trusted = map(keras.ops.convert_to_numpy, found)
    for index, row in enumerate(logits.tolist()):
        highest = max(row)
        confidence = 1 / sum(math.exp(logit - highest) for logit in row)
        # Too near to tell in single precision.
        assume(abs(confidence - tau) > 1e-6 or tau == 0.0)
        stands_in = confidence < tau and trusted[index] >= 0
        assert bool(from_trusted[index]) == stands_in
        assert weight[index] == (1.0 if trusted[index] >= 0 else own_weight[index])
        expected = trusted[index] if stands_in else row.index(highest)
        assert labels[index] == expected


@examples
@given(
    size=st.integers(1, 8),
    tau=st.sampled_from([0.5, 0.8]),
    num_batches=st.integers(1, 4),
    seed=SEEDS,
)
def test_flexmatch_remembers_by_index(size, tau, num_batches, seed):
    generator = np.random.default_rng(seed)
    threshold = FlexMatchThreshold(tau, 3, size)
    memory = {}
    for _ in range(num_batches):
        index = generator.permutation(size)[: generator.integers(1, size + 1)]
        p = generator.dirichlet(np.full(3, 0.4), len(index)).astype(np.float32)
        weights = keras.ops.convert_to_numpy(
            threshold(p, index.astype(np.int32), training=True)
        )
        counts = collections.Counter(memory.values())
        most = max([*counts.values(), size - len(memory)])
        for row, weight in zip(p, weights, strict=True):
            beta = counts[int(row.argmax())] / most
            assert weight == (row.max() >= np.float32(tau * beta / (2 - beta)))
        for image, row in zip(index.tolist(), p, strict=True):
            if row.max() >= tau:
                memory[image] = int(row.argmax())
    remembered = keras.ops.convert_to_numpy(threshold.memory.value).tolist()
    assert remembered == [memory.get(image, -1) for image in range(size)]


# Indices


@examples
@given(
    size=st.integers(1, 12),
    key=st.lists(st.integers(0, 2**40), min_size=1, max_size=3),
    stretches=st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 25)), min_size=1, max_size=4
    ),
)
def test_permutation_stream_is_one_sequence(size, key, stretches):
    end = max(start + count for start, count in stretches)
    in_order = PermutationStream(size, tuple(key))
    sequence = [int(in_order.take(position, 1)[0]) for position in range(end)]
    for start in range(0, end - size + 1, size):
        assert sorted(sequence[start : start + size]) == list(range(size))
    other = PermutationStream(size, tuple(key))
    for start, count in stretches:
        assert other.take(start, count).tolist() == sequence[start : start + count]


def numbered(count, offset=0):
    """A source of tiny images, of which each pixel is the image's number."""
    numbers = np.arange(count, dtype=np.uint8) + offset
    return ArraySource(np.broadcast_to(numbers[:, None, None, None], (count, 1, 2, 3)))


@examples
@given(
    num_labeled=st.integers(2, 9),
    num_unlabeled=st.integers(1, 30),
    batch_size=st.integers(1, 5),
    ratio=st.integers(1, 3),
    steps=st.integers(1, 4),
    trusted_steps=st.sampled_from([None, 0, 3, 7]),
    seed=st.integers(0, 2**31),
)
def test_a_training_batch_depends_on_seed_epoch_and_step_alone(
    num_labeled, num_unlabeled, batch_size, ratio, steps, trusted_steps, seed
):
    generator = np.random.default_rng(seed)
    labels = np.arange(num_labeled, dtype=np.int32) % 2
    trusted = generator.integers(-1, 2, num_unlabeled).astype(np.int32)

    def new_batches():
        return FixMatchBatches(
            LabeledImages(numbered(num_labeled, 100), labels, ["a", "b"]),
            numbered(num_unlabeled),
            trusted,
            batch_size=batch_size,
            unlabeled_ratio=ratio,
            steps_per_epoch=steps,
            seed=seed,
            trusted_steps=trusted_steps,
        )

    in_order, seen_labeled, seen = {}, [], []
    batches = new_batches()
    for epoch, step in itertools.product(range(3), range(steps)):
        batches.epoch = epoch
        x, y = in_order[epoch, step] = batches[step]
        index = x["unlabeled_index"].tolist()
        chosen = (x["labeled"][:, 0, 0, 0] - 100).tolist()
        shown = trusted_steps is None or epoch * steps + step < trusted_steps
        assert x["unlabeled"].shape == (batch_size * ratio, 1, 2, 3)
        for row, image in enumerate(index):
            assert set(x["unlabeled"][row].ravel().tolist()) == {image}
            assert x["trusted"][row] == (trusted[image] if shown else -1)
        assert y.tolist() == [labels[image] for image in chosen]
        seen += index
        seen_labeled += chosen
    for sequence, size in ((seen, num_unlabeled), (seen_labeled, num_labeled)):
        for start in range(0, len(sequence) - size + 1, size):
            assert sorted(sequence[start : start + size]) == list(range(size))
    batches = new_batches()
    for epoch, step in generator.permutation(list(in_order)).tolist():
        batches.epoch = epoch
        x, y = batches[step]
        for name, array in x.items():
            np.testing.assert_array_equal(array, in_order[epoch, step][0][name])
        np.testing.assert_array_equal(y, in_order[epoch, step][1])


@examples
@given(size=st.integers(1, 40), batch_size=st.integers(1, 45), labeled=st.booleans())
def test_image_batches_keep_the_order_of_indices(size, batch_size, labeled):
    labels = np.arange(size, dtype=np.int32) * 3
    batches = ImageBatches(
        numbered(size), labels if labeled else None, batch_size=batch_size
    )
    numbers, found = [], []
    for step in range(len(batches)):
        images, *rest = batches[step]
        assert 1 <= len(images) <= batch_size
        numbers += images[:, 0, 0, 0].tolist()
        found += [label for part in rest for label in part.tolist()]
    assert numbers == list(range(size))
    assert found == (labels.tolist() if labeled else [])


@examples
@given(data=st.data(), size=st.integers(1, 20), depth=st.integers(1, 3))
def test_a_subset_of_a_subset_reads_the_images_of_its_indices(data, size, depth):
    source, numbers = numbered(size), list(range(size))
    source.names = [f"{number}.png" for number in numbers]
    for _ in range(depth):
        indices = data.draw(
            st.lists(st.integers(0, len(numbers) - 1), min_size=1, max_size=12)
        )
        source = SubsetSource(source, indices)
        numbers = [numbers[index] for index in indices]
    assert len(source) == len(numbers)
    assert source.names == [f"{number}.png" for number in numbers]
    asked = data.draw(st.lists(st.integers(0, len(numbers) - 1), max_size=12))
    read = source[asked]
    assert read.dtype == np.uint8 and read.shape == (len(asked), 1, 2, 3)
    assert read[:, 0, 0, 0].tolist() == [numbers[index] for index in asked]


# Sources

SIZES = st.one_of(st.none(), st.tuples(st.integers(1, 9), st.integers(1, 9)))
CHANNELS = st.sampled_from([None, 1, 3])


def slow_image(image, size, channels):
    """A Pillow image as a uint8 array of a size and 1 or 3 channels."""
    gray = image.mode in ("1", "L", "LA")
    if image.mode == "RGBA" and channels == 1:
        image = image.convert("RGB")
    image = image.convert("L" if channels == 1 else "L" if gray else "RGB")
    if channels == 3 and gray:
        image = image.convert("RGB")
    if size is not None:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]


@examples
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)),
    own=st.sampled_from([None, 1, 3, 4]),
    size=SIZES,
    channels=CHANNELS,
    seed=SEEDS,
)
def test_arrays_are_read_as_by_pillow(shape, own, size, channels, seed):
    generator = np.random.default_rng(seed)
    full = shape if own is None else (*shape, own)
    images = generator.integers(0, 256, full, np.uint8)
    if own is None and (shape[2] in (1, 3, 4) or shape[0] == channels == 3):
        # Rather one image than so many.
        with pytest.raises(ValueError, match="looks like one image"):
            ArraySource(images, size, channels)
        images, own = images[..., None], 1
    source = ArraySource(images, size, channels)
    wanted = channels or (3 if own in (3, 4) else 1)
    assert source.image_shape == (*(size or shape[1:]), wanted)
    asked = generator.integers(0, len(images), generator.integers(0, 7))
    read = source[asked]
    assert read.shape == (len(asked), *source.image_shape) and read.dtype == np.uint8
    for row, index in zip(read, asked.tolist(), strict=True):
        plain = images[index] if own != 1 else images[index, ..., 0]
        image = Image.fromarray(plain[..., :3] if own == 4 else plain)
        np.testing.assert_array_equal(row, slow_image(image, size, wanted))


# Names that sort in another order than the folders they are in.
PARTS = st.sampled_from(["a", "B", "ä", "a b", "a-1", "10", "9", ".hidden"])
MODES = st.sampled_from(["L", "RGB", "RGBA", "LA", "1"])


@st.composite
def trees(draw, min_size=1, max_depth=2):
    """Relative paths, none of which is a folder of another, and an image of each."""
    paths = draw(
        st.lists(
            st.tuples(
                st.lists(PARTS, max_size=max_depth).map(tuple),
                PARTS,
                st.sampled_from([".png", ".PNG", ".tif"]),
            ),
            min_size=min_size,
            max_size=6,
            unique=True,
        )
    )
    generator = np.random.default_rng(draw(SEEDS))
    one_size = draw(st.booleans())
    tree = {}
    for parents, stem, suffix in paths:
        mode = draw(MODES)
        size = (4, 5) if one_size else tuple(generator.integers(1, 8, 2).tolist())
        depth = {"L": (), "1": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}[mode]
        pixels = generator.integers(0, 256, (*size, *depth), np.uint8)
        image = Image.fromarray(pixels)
        if mode == "1":
            image = image.convert("1")
        tree["/".join([*parents, stem + suffix])] = image
    return tree, one_size


def write_tree(folder, tree):
    for name, image in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)


def visible(names):
    """Names without a hidden part, in the order of their characters."""
    return sorted(
        name for name in names if not any(part[0] == "." for part in name.split("/"))
    )


def assert_reads(source, tree, names, size):
    assert source.names == names
    wanted = source.image_shape[2]
    read = source[np.arange(len(names))]
    for row, name in zip(read, names, strict=True):
        np.testing.assert_array_equal(row, slow_image(tree[name], size, wanted))


@examples
@given(tree=trees(), size=SIZES, channels=CHANNELS, broken=st.booleans(), seed=SEEDS)
def test_folders_are_read_as_by_pillow(tree, size, channels, broken, seed):
    tree, one_size = tree
    names = visible(tree)
    assume(names)
    size = size or (None if one_size else (3, 4))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tree(folder, tree)
        if broken:
            (folder / "b.png").write_bytes(b"no image")
            (folder / "notes.txt").write_text("no image either")
        for options in ({}, {"cache_bytes": 0}, {"read_once": True}):
            source = FolderSource(folder, size, channels, on_error="skip", **options)
            colour = any(tree[name].mode in ("RGB", "RGBA") for name in names)
            assert source.image_shape[2] == channels or (3 if colour else 1)
            assert_reads(source, tree, names, size)
            assert [path.name for path in source.skipped] == ["b.png"] * broken
            asked = np.random.default_rng(seed).integers(0, len(names), 5)
            np.testing.assert_array_equal(
                source[asked], source[np.arange(len(names))][asked]
            )


@examples
@given(
    classes=st.lists(
        st.sampled_from(["a", "a-1", "a b", "B", "ä", "10", "9"]),
        min_size=2,
        max_size=4,
        unique=True,
    ),
    parts=st.lists(trees(max_depth=1), min_size=4, max_size=4),
)
def test_labeled_folders(classes, parts):
    tree = {
        f"{class_name}/{name}": image
        for class_name, (part, _) in zip(classes, parts, strict=False)
        for name, image in part.items()
    }
    names = visible(tree)
    assume({name.split("/")[0] for name in names} == set(classes))
    with tempfile.TemporaryDirectory() as name:
        write_tree(Path(name), tree)
        labeled = labeled_source(name, (3, 4))
        digits = all(name.isdigit() for name in classes)
        expected = sorted(classes, key=int if digits else None)
        assert labeled.class_names == expected
        assert_reads(labeled.images, tree, names, (3, 4))
        for label, file in zip(labeled.labels.tolist(), names, strict=True):
            assert expected[label] == file.split("/")[0]


@examples
@given(
    tree=trees(min_size=4),
    order=st.randoms(use_true_random=False),
    split=st.integers(2, 5),
)
def test_a_folder_with_labels_in_a_file(tree, order, split):
    tree, _ = tree
    names = visible(tree)
    assume(len(names) > split)
    order.shuffle(names)
    chosen = {
        file: "odd" if row % 2 else "even" for row, file in enumerate(names[:split])
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tree(folder / "images", tree)
        with open(folder / "labels.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["file", "label"], *chosen.items()])
        labeled, unlabeled = split_folder(
            folder / "images", folder / "labels.csv", (3, 4), 3, allow_single=True
        )
        assert labeled.class_names == ["even", "odd"]
        for row, file in enumerate(labeled.images.files):
            relative = file.relative_to(folder / "images").as_posix()
            assert relative == list(chosen)[row]
            assert labeled.class_names[labeled.labels[row]] == chosen[relative]
            np.testing.assert_array_equal(
                labeled.images[[row]][0], slow_image(tree[relative], (3, 4), 3)
            )
        assert_reads(unlabeled, tree, sorted(names[split:]), (3, 4))


@pytest.mark.tensorflow
@examples
@given(
    count=st.integers(1, 7),
    batch_size=st.integers(0, 4),
    own=st.sampled_from([1, 3, 4]),
    size=SIZES,
    channels=CHANNELS,
    memory_bytes=st.sampled_from([0, 100, 1 << 20]),
    seed=SEEDS,
)
def test_datasets_are_read_in_order(
    count, batch_size, own, size, channels, memory_bytes, seed
):
    import tensorflow as tf

    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, 5, 4, own), np.uint8)
    labels = generator.integers(0, 9, count)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    if batch_size:
        dataset = dataset.batch(batch_size)
    source, found = spool_dataset(dataset, True, size, channels, memory_bytes)
    assert found.tolist() == labels.tolist()
    expected = ArraySource(images, size, channels)
    assert source.image_shape == expected.image_shape
    everything = np.arange(count)
    np.testing.assert_array_equal(source[everything], expected[everything])


# Metrics


@examples
@given(
    size=st.integers(1, 30),
    classes=st.integers(2, 5),
    bins=st.integers(1, 20),
    seed=SEEDS,
)
def test_evaluation_counts(size, classes, bins, seed):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(classes, 0.5), size)
    truth = generator.integers(0, classes, size).tolist()
    predicted = [row.index(max(row)) for row in probabilities.tolist()]
    confusion = [[0] * classes for _ in range(classes)]
    for true, guess in zip(truth, predicted, strict=True):
        confusion[true][guess] += 1
    names = [f"class {number}" for number in range(classes)]
    found = metrics.evaluate_predictions(probabilities, truth, names)
    assert found["confusion_matrix"] == confusion
    hits = sum(confusion[number][number] for number in range(classes))
    assert found["accuracy"] == pytest.approx(hits / size)
    for number, row in enumerate(found["per_class"]):
        true = sum(confusion[number])
        guessed = sum(counts[number] for counts in confusion)
        hit = confusion[number][number]
        assert (row["class"], row["support"]) == (names[number], true)
        assert row["precision"] == (pytest.approx(hit / guessed) if guessed else None)
        assert row["recall"] == (pytest.approx(hit / true) if true else None)
        both = true + guessed
        assert row["f1"] == (pytest.approx(2 * hit / both) if both else None)

    error = 0.0
    for number in range(bins):
        inside = [
            index
            for index, row in enumerate(probabilities.tolist())
            if number / bins < max(row) <= (number + 1) / bins
        ]
        right = sum(predicted[index] == truth[index] for index in inside)
        confidence = sum(max(probabilities[index]) for index in inside)
        error += abs(right - confidence) / size
    assert metrics.expected_calibration_error(
        probabilities, truth, bins
    ) == pytest.approx(error, abs=1e-9)
