"""Named data sets: what is drawn, what is read, and in which order."""

import sys
from pathlib import Path

import elpv_dataset
import numpy as np
import pytest
from PIL import Image

from kdfixmatch_keras import datasets
from kdfixmatch_keras.sources import labeled_source


def read_all(source):
    return source[np.arange(len(source))]


class TestDrawLabels:
    labels = np.random.default_rng(0).integers(0, 5, 200)

    def draw(self, num_labels=20, seed=0, name="digits", labels=None):
        labels = self.labels if labels is None else labels
        return datasets.draw_labels(labels, num_labels, seed, name)

    def test_equally_many_of_each_class_without_repeats(self):
        indices = self.draw()
        assert np.bincount(self.labels[indices]).tolist() == [4] * 5
        assert len(set(indices.tolist())) == 20
        assert (np.sort(indices) == indices).all()

    def test_same_draw_in_every_process_and_version(self):
        labels = np.arange(100) % 4
        expected = [5, 21, 24, 27, 35, 40, 54, 74]
        assert self.draw(8, labels=labels).tolist() == expected

    @pytest.mark.parametrize("other", [{"seed": 1}, {"name": "svhn"}])
    def test_seed_and_name_change_the_draw(self, other):
        assert self.draw().tolist() != self.draw(**other).tolist()

    def test_number_of_labels_changes_the_draw(self):
        assert not set(self.draw(20)) <= set(self.draw(40))

    def test_remainder_goes_to_classes_by_chance(self):
        extra = set()
        for seed in range(10):
            counts = np.bincount(self.labels[self.draw(11, seed)])
            assert sorted(counts) == [2, 2, 2, 2, 3]
            extra.add(int(counts.argmax()))
        assert len(extra) > 1

    def test_every_image_can_be_drawn(self):
        drawn = np.concatenate([self.draw(50, seed) for seed in range(40)])
        assert set(drawn.tolist()) == set(range(200))

    def test_used_up_class_leaves_its_share_to_others(self):
        labels = np.array([0] * 2 + [1] * 10 + [2] * 10)
        counts = np.bincount(labels[self.draw(14, labels=labels)])
        assert counts.tolist() == [2, 6, 6]

    def test_all(self):
        assert self.draw(200).tolist() == list(range(200))

    @pytest.mark.parametrize("num_labels", [4, 201])
    def test_number_of_labels_out_of_range(self, num_labels):
        with pytest.raises(ValueError, match="at least 5, .* at most 200"):
            self.draw(num_labels)

    @pytest.mark.parametrize("num_labels", [20.0, True, "20"])
    def test_number_of_labels_must_be_an_integer(self, num_labels):
        with pytest.raises(ValueError, match="`num_labels` must be an integer"):
            self.draw(num_labels)

    def test_class_without_image(self):
        with pytest.raises(ValueError, match="one image of each class"):
            self.draw(labels=[0, 0, 2])

    def test_seed_must_not_be_none(self):
        with pytest.raises(ValueError, match="`seed` must be an integer"):
            self.draw(seed=None)


class TestDigits:
    def test_images_and_labels_belong_together(self):
        data = datasets.load("digits", 20, seed=3)
        assert data.unlabeled.image_shape == (8, 8, 1)
        assert (len(data.unlabeled), len(data.test.images)) == (1297, 500)
        np.testing.assert_array_equal(
            read_all(data.labeled.images), data.unlabeled[data.labeled_indices]
        )
        np.testing.assert_array_equal(
            data.labeled.labels, data.unlabeled_labels[data.labeled_indices]
        )
        assert data.weak_augmentation == "shift"
        assert data.class_names == [str(digit) for digit in range(10)]

    def test_pixels_are_those_of_scikit_learn(self):
        from sklearn.datasets import load_digits

        images = np.round(load_digits().images * 255 / 16).astype("uint8")
        data = datasets.load("digits", 10)
        ours = [*read_all(data.unlabeled), *read_all(data.test.images)]
        assert sorted(map(bytes, ours)) == sorted(map(bytes, images))

    def test_only_the_labels_depend_on_the_seed(self):
        first, second = (datasets.load("digits", 20, seed=seed) for seed in (0, 1))
        np.testing.assert_array_equal(
            read_all(first.test.images), read_all(second.test.images)
        )
        np.testing.assert_array_equal(first.unlabeled_labels, second.unlabeled_labels)
        assert first.labeled_indices.tolist() != second.labeled_indices.tolist()

    def test_is_what_training_takes(self):
        data = datasets.load("digits", 20)
        labeled = labeled_source(data.labeled)
        assert labeled is data.labeled
        test = labeled_source(data.test, (8, 8), 1, class_names=labeled.class_names)
        assert test is data.test

    def test_image_size(self):
        data = datasets.load("digits", 20, image_size=(12, 10))
        assert read_all(data.labeled.images).shape == (20, 12, 10, 1)
        assert data.test.images.image_shape == (12, 10, 1)

    def test_unknown_name(self):
        with pytest.raises(ValueError, match="Did you mean 'cifar10'"):
            datasets.load("cifar-10", 250)


class TestSolarCells:
    def test_pixels_and_classes_are_those_of_the_package(self):
        data = datasets.load("solar_cells", 20)
        assert data.unlabeled.image_shape == (300, 300, 1)
        assert np.bincount(data.labeled.labels).tolist() == [10, 10]
        found = {
            bytes(source[[index]]): data.class_names[label]
            for source, labels in (
                (data.unlabeled, data.unlabeled_labels),
                (data.test.images, data.test.labels),
            )
            for index, label in enumerate(labels)
        }
        folder = Path(elpv_dataset.__file__).parent / "data"
        written = (folder / "labels.csv").read_text()
        lines = [line.split() for line in written.splitlines()]
        classes = {"0.0": "functional", "1.0": "defective"}
        assert len(found) == sum(share in classes for _, share, _ in lines)
        for name, share, _ in lines[::50]:
            with Image.open(folder / name) as image:
                assert found.get(image.tobytes()) == classes.get(share)

    def test_without_the_package(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "elpv_dataset.utils", None)
        with pytest.raises(ImportError, match=r"kdfixmatch-keras\[solar-cells\]"):
            datasets.load("solar_cells", 20)


@pytest.fixture
def folders(tmp_path):
    """Of each of two classes, 6 images to train on and 2 for test, 10 x 8 pixels."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 6), ("test", 2)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 256, (10, 8, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{index}.png")
    return tmp_path


class TestFolders:
    @pytest.mark.parametrize("name", ["pets", "cifar10", "digits"])
    def test_any_name(self, folders, name):
        data = datasets.load(name, 4, data_dir=folders)
        assert data.class_names == ["cat", "dog"]
        assert data.unlabeled_labels.tolist() == [0] * 6 + [1] * 6
        assert data.unlabeled.names[6] == "dog/0.png"
        assert len(data.test.images) == 4
        expected = [data.unlabeled.names[index] for index in data.labeled_indices]
        assert data.labeled.images.names == expected
        np.testing.assert_array_equal(
            read_all(data.labeled.images), data.unlabeled[data.labeled_indices]
        )

    @pytest.mark.parametrize("test_folder", ["validation", "val"])
    def test_other_names_of_the_test_folder(self, folders, test_folder):
        (folders / "test").rename(folders / test_folder)
        data = datasets.load("pets", 4, data_dir=str(folders))
        assert len(data.test.images) == 4

    def test_name_takes_part_in_the_draw(self, folders):
        draws = {
            tuple(datasets.load(name, 6, data_dir=folders).labeled_indices)
            for name in ("pets", "animals", "photos")
        }
        assert len(draws) > 1

    def test_image_size(self, folders):
        Image.new("RGB", (20, 30)).save(folders / "test" / "cat" / "large.png")
        with pytest.raises(ValueError, match="image_size"):
            datasets.load("pets", 4, data_dir=folders)
        data = datasets.load("pets", 4, data_dir=folders, image_size=(6, 6))
        assert data.test.images.image_shape == (6, 6, 3)

    def test_test_images_of_one_other_size(self, folders):
        for file in (folders / "test").glob("*/*.png"):
            Image.new("RGB", (20, 30), "red").save(file)
        with pytest.raises(ValueError, match=r"\(10, 8, 3\) in train.*image_size"):
            datasets.load("pets", 4, data_dir=folders)

    def test_food101_has_a_size_of_its_own(self, folders):
        data = datasets.load("food101", 4, data_dir=folders)
        assert data.unlabeled.image_shape == (224, 224, 3)

    def test_train_without_test(self, folders):
        (folders / "test").rename(folders / "held_out")
        with pytest.raises(ValueError, match="test, validation or val"):
            datasets.load("cifar10", 4, data_dir=folders)

    @pytest.mark.parametrize("name", ["pets", "digits"])
    def test_neither_of_both(self, tmp_path, name):
        with pytest.raises(ValueError, match="`data_dir` must be a folder with train"):
            datasets.load(name, 4, data_dir=tmp_path)

    @pytest.mark.parametrize("parent", [".", "labeled/cat", "Train/cat"])
    def test_own_images_are_no_place_for_a_download(self, tmp_path, parent):
        (tmp_path / parent).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / parent / "0.png")
        before = list(tmp_path.rglob("*"))
        holds = (parent if parent != "." else "0.png").split("/")[0]
        with pytest.raises(ValueError, match=f"own images in .*which holds {holds}"):
            datasets.load("cifar10", 10, data_dir=tmp_path)
        assert list(tmp_path.rglob("*")) == before


def test_tensorflow_datasets_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"kdfixmatch-keras\[datasets\]"):
        datasets.load("cifar10", 10)


@pytest.mark.tensorflow
class TestTensorFlowDatasets:
    @pytest.mark.parametrize(
        "name, num_classes, weak",
        [
            ("cifar10", 10, "flip_shift"),
            ("cifar100", 100, "flip_shift"),
            ("svhn", 10, "shift"),
        ],
    )
    def test_split_and_shape(self, made_up_tfds, name, num_classes, weak):
        asked = made_up_tfds()
        data = datasets.load(name, num_classes)
        assert asked == ["train", "test"]
        assert data.unlabeled.image_shape == (32, 32, 3)
        assert len(data.class_names) == num_classes
        assert sorted(data.labeled.labels) == list(range(num_classes))
        assert data.weak_augmentation == weak
        # Each image was made from its position and its split.
        train, test = read_all(data.unlabeled), read_all(data.test.images)
        assert train[:5, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
        assert train[0, 0, 0, 1] != test[0, 0, 0, 1]
        np.testing.assert_array_equal(
            data.unlabeled_labels, np.arange(len(train)) % num_classes
        )

    def test_photographs_of_many_sizes(self, made_up_tfds):
        asked = made_up_tfds(many_sizes=True)
        data = datasets.load("food101", 101)
        assert asked == ["train", "validation"]
        assert data.unlabeled.image_shape == (224, 224, 3)
        assert data.class_names[0] == "apple_pie"
        assert read_all(data.unlabeled)[:5, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]

    def test_image_size_of_photographs(self, made_up_tfds):
        made_up_tfds(many_sizes=True)
        data = datasets.load("food101", 101, image_size=(20, 24))
        assert data.test.images.image_shape == (20, 24, 3)

    def test_files_are_read_one_after_another(self, tmp_path, monkeypatch):
        import tensorflow_datasets as tfds

        builder = tfds.builder("cifar10", data_dir=tmp_path)
        names = [f"class {label}" for label in range(10)]

        def examples(count):
            for index in range(count):
                image = np.full((32, 32, 3), index, np.uint8)
                yield index, {"id": str(index), "image": image, "label": index % 10}

        def split_generators(self, manager):
            self.info.features["label"].names = names
            return {"train": examples(100), "test": examples(20)}

        monkeypatch.setattr(type(builder), "_split_generators", split_generators)
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(num_shards=4)
        )
        data = datasets.load("cifar10", 10, data_dir=tmp_path)
        expected = [
            example["image"][0, 0, 0]
            for shard in range(4)
            for example in tfds.as_numpy(
                builder.as_dataset(split=f"train[{shard}shard:{shard + 1}shard]")
            )
        ]
        assert sorted(expected) == list(range(100))
        assert read_all(data.unlabeled)[:, 0, 0, 0].tolist() == expected
        assert data.unlabeled_labels.tolist() == [index % 10 for index in expected]
        assert len(data.test.images) == 20
        assert data.class_names == names

    def test_without_a_network(self, tmp_path, monkeypatch):
        import tensorflow_datasets as tfds

        def fail(self):
            raise OSError("Name or service not known")

        monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
        with pytest.raises(RuntimeError, match=r"not known.*as `data_dir`"):
            datasets.load("cifar10", 10, data_dir=tmp_path)
