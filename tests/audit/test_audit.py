"""What is found of copies, doubtful labels and useless images, and what is not."""

import io

import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras import audit
from kdfixmatch_keras.sources import ArraySource, LabeledImages, labeled_source
from kdfixmatch_keras.sources.look_alikes import thumbnails


def photographs(count, seed=0, size=48):
    """Smooth colours, each image other ones."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 6, 6, 3), np.uint8)
    return np.stack([resized(image, size) for image in small])


def resized(image, size):
    scaled = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(scaled)


def as_jpeg(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=60)
    return np.asarray(Image.open(stream))


def brighter(image):
    return np.clip(image * 1.08, 0, 255).astype(np.uint8)


def smaller(image):
    return resized(resized(image, len(image) // 2), len(image))


class TestNearCopies:
    @pytest.mark.parametrize("change", [as_jpeg, brighter, smaller])
    def test_changed_copies_are_found_and_nothing_else(self, change):
        images = photographs(300)
        copies = np.stack([change(image) for image in images[:20]])
        found = audit.near_copies(thumbnails(np.concatenate([images, copies])))
        assert found[:300].tolist() == list(range(300))
        assert found[300:].tolist() == list(range(20))

    def test_alike_parts_are_no_copies(self):
        """Photographs of one kind of part, which differ by a scratch."""
        rng = np.random.default_rng(0)
        part = photographs(1)[0].astype(float)
        parts = np.repeat(part[None], 200, axis=0)
        for image in parts:
            top, left = rng.integers(0, 36, 2)
            scratch = rng.choice([-1, 1]) * rng.uniform(60, 120)
            image[top : top + 12, left : left + 12] += scratch
            image += rng.normal(0, 3, 3)
        parts = np.clip(parts, 0, 255).astype(np.uint8)
        copies = np.stack([as_jpeg(image) for image in parts[:5]])
        found = audit.near_copies(thumbnails(np.concatenate([parts, copies])))
        assert found[200:].tolist() == list(range(5))
        assert (found[:200] == np.arange(200)).mean() > 0.97

    def test_several_copies_are_those_of_the_first(self):
        images = photographs(40)
        images = np.concatenate([images, images[7:8], images[7:8]])
        assert audit.near_copies(thumbnails(images))[[7, 40, 41]].tolist() == [7] * 3

    def test_images_without_content_are_no_copies_of_one_another(self):
        images = np.concatenate([photographs(3), np.full((2, 48, 48, 3), 9, np.uint8)])
        assert audit.near_copies(thumbnails(images)).tolist() == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("count", [1, 2])
    def test_few_images(self, count):
        images = np.repeat(photographs(1), count, axis=0)
        assert audit.near_copies(thumbnails(images)).tolist() == [0] * count


def blobs(per_class, classes=3, seed=0, dimensions=8):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    centres = rng.normal(0, 3, (classes, dimensions))
    features = centres[labels] + rng.normal(size=(len(labels), dimensions))
    return features, labels


class TestDoubtfulLabels:
    def test_wrong_labels_come_first(self):
        features, labels = blobs(20)
        wrong = [3, 25, 50]
        given = labels.copy()
        given[wrong] = (labels[wrong] + 1) % 3
        found = audit.doubtful_labels(features, given)
        assert len(found.rows) >= 2
        assert set(found.rows.tolist()) <= set(wrong)
        assert found.proposed.tolist() == labels[found.rows].tolist()
        assert (found.given < 0.2).all()

    def test_nothing_is_said_where_labels_agree(self):
        assert not len(audit.doubtful_labels(*blobs(20)).rows)

    def test_the_only_image_of_a_class_is_not_judged(self):
        features, labels = blobs(10)
        features, labels = features[:21], labels[:21]
        assert 20 not in audit.doubtful_labels(features, labels).rows
        assert not len(audit.doubtful_labels(features[::10], labels[::10]).rows)

    def test_seed_fixes_what_is_found(self):
        features, labels = blobs(15, seed=3)
        labels[::7] = 0
        first, again = (audit.doubtful_labels(features, labels) for _ in range(2))
        np.testing.assert_array_equal(first.given, again.given)


class TestSplitClasses:
    def test_a_class_of_two_kinds(self):
        features, kinds = blobs(15, classes=4)
        # The last two are labeled as one, of which one is rarer.
        features, kinds = features[:-5], kinds[:-5]
        found = audit.split_classes(features, np.minimum(kinds, 2))
        assert list(found) == [2]
        assert found[2].tolist() == list(range(45, 55))

    def test_one_odd_image_is_no_group(self):
        features, labels = blobs(15)
        features[0] += 30
        assert audit.split_classes(features, labels) == {}

    def test_few_or_equal_images_are_no_groups(self):
        features, _ = blobs(9, classes=2)
        assert audit.split_classes(features, np.arange(18) % 2) == {}
        assert audit.split_classes(np.ones((24, 3)), np.arange(24) % 2) == {}


@pytest.fixture
def sets():
    """Labeled, unlabeled and test images, with one fault of each kind."""
    images = photographs(60, size=32)
    labeled, test, unlabeled = images[:20].copy(), images[20:30].copy(), images[30:]
    unlabeled = unlabeled.copy()
    labels, test_labels = np.arange(20) % 2, np.arange(10) % 2
    test[1] = labeled[4]
    test[2] = as_jpeg(labeled[6])
    unlabeled[0] = test[3]
    unlabeled[1] = 77
    features = np.random.default_rng(0).normal(size=(20, 4)) + 4 * labels[:, None]
    labels[8] = 1
    names = ["cat", "dog"]
    return (
        LabeledImages(ArraySource(labeled), labels.astype(np.int32), names),
        ArraySource(unlabeled),
        LabeledImages(ArraySource(test), test_labels.astype(np.int32), names),
        features,
    )


def test_each_fault_is_found_once(sets):
    found = audit.audit(*sets)
    assert [(f.code, f.set, f.row, f.other) for f in found] == [
        ("KD101", "test", 1, ("labeled", 4)),
        ("KD102", "unlabeled", 0, ("test", 3)),
        ("KD103", "test", 2, ("labeled", 6)),
        ("KD104", "labeled", 8, None),
        ("KD105", "unlabeled", 1, None),
    ]
    assert "looks like cat" in found[3].text
    assert all(sets[0].labels[list(found[3].neighbors)] == 0)


def test_labeled_images_alone(sets):
    found = audit.audit(sets[0], None, None, sets[3])
    assert [finding.code for finding in found] == ["KD104"]


def test_tiny_files_and_one_path_in_two_sets(tmp_path):
    for seed, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for number, image in enumerate(photographs(3, seed)):
            Image.fromarray(image).save(tmp_path / name / f"{name}{number}.png")
    Image.fromarray(photographs(1, seed=9, size=12)[0]).save(tmp_path / "cat" / "z.png")
    labeled = labeled_source(tmp_path, (32, 32))
    features = np.random.default_rng(0).normal(size=(7, 3))
    # The same folder twice: each image is itself, not a copy.
    found = audit.audit(labeled, labeled.images, None, features)
    tiny = [f for f in found if f.code == "KD106"]
    assert [(f.set, f.row, f.text) for f in tiny] == [
        ("labeled", 3, "12 x 12 pixels"),
        ("unlabeled", 3, "12 x 12 pixels"),
    ]
    assert not [f for f in found if f.other is not None]
