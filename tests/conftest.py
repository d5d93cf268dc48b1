import contextlib
import importlib.util
import os
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from kdfixmatch_keras import backbones

# Before it is imported: it holds assertions of many tests.
pytest.register_assert_rewrite("tests.bad_inputs")
from tests import bad_inputs  # noqa: E402

# Whose subject is TensorFlow, and which import it and what comes with it at their top.
# Other tests that need it say so with a marker, and `make test-jax` leaves them out.
if importlib.util.find_spec("tensorflow") is None:
    collect_ignore = [
        "docs/test_serving_page.py",
        "serving/test_export.py",
        "serving/test_onnx_export.py",
    ]


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
NO_CHROMIUM = "there is no Chromium, which `make browser` installs"


# The modules that take longest. The others fill what these leave of the cores.
LONGEST = (
    "cli/test_cli.py",
    "backend/test_devices.py",
    "test_kdfixmatch.py",
    "web/test_label_browser.py",
    "storage/test_faults.py",
    "baselines/test_baselines.py",
    "benchmarks/test_kill_resume.py",
    "serving/test_onnx_export.py",
    "test_fixmatch.py",
    "benchmarks/test_benchmark_accuracy.py",
    "benchmarks/test_benchmark_speed.py",
    "training/test_run_state.py",
    "serving/test_saving.py",
)


def pytest_collection_modifyitems(items):
    """Puts the longest modules first, and skips what needs a browser without one.

    Unless `KDFIXMATCH_NEEDS_CHROMIUM` demands one.
    """
    places = {Path(__file__).parent / name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    if CHROMIUM is None and "KDFIXMATCH_NEEDS_CHROMIUM" not in os.environ:
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason=NO_CHROMIUM))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    """Says so in the last lines."""
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(NO_CHROMIUM in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(
            f"Skipped the {count} tests of pages in a browser: {NO_CHROMIUM}."
        )


@pytest.fixture(scope="module")
def browser():
    """Chromium, which talks to nobody of its own accord."""
    from playwright.sync_api import sync_playwright

    from tests.in_browser import FLAGS

    if CHROMIUM is None:
        pytest.fail("There is no Chromium. `make browser` installs Debian's.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def tiny_images():
    """24 uint8 images of 8 x 8 pixels and their three classes: red, green or blue."""
    labels = np.arange(24, dtype=np.int32) % 3
    images = np.random.default_rng(0).integers(0, 120, (24, 8, 8, 3), np.uint8)
    images[np.arange(24), :, :, labels] += 100
    return images, labels


@pytest.fixture
def tiny_backbone():
    """A callable backbone of one convolution and one batch norm."""

    def build(input_shape):
        inputs = keras.Input(input_shape)
        x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False)(inputs)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        return keras.Model(inputs, keras.layers.ReLU()(x))

    return build


@pytest.fixture
def tiny_student(tiny_backbone):
    """A builder of students for `tiny_images`."""

    def build(backbone=tiny_backbone, seed=0):
        return backbones.build_network(
            backbone, (8, 8, 3), 3, embedding_dim=8, seed=seed
        )

    return build


@pytest.fixture
def mixed_precision():
    """The global policy mixed_float16, for one test."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture
def made_up_tfds():
    """Replaces what TensorFlow Datasets downloads, from the moment it is called.

    Two images of each class, 40 at least: their first channel is their index, the
    second tells the split, and the third the class. Returns the list of the splits
    that are asked for.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    with contextlib.ExitStack() as stack:

        def start(many_sizes=False):
            asked = []

            def as_dataset(self, split, **options):
                asked.append(str(split))
                num_classes = self.info.features["label"].num_classes

                def examples():
                    for index in range(max(2 * num_classes, 40)):
                        label = index % num_classes
                        shape = (20 + index, 30 - index % 7) if many_sizes else (32, 32)
                        color = [index, len(str(split)), label * 255 // num_classes]
                        image = np.full((*shape, 3), color, np.uint8)
                        yield {"image": image, "label": label}

                size = None if many_sizes else 32
                return tf.data.Dataset.from_generator(
                    examples,
                    output_signature={
                        "image": tf.TensorSpec((size, size, 3), tf.uint8),
                        "label": tf.TensorSpec((), tf.int64),
                    },
                )

            stack.enter_context(tfds.testing.mock_data(as_dataset_fn=as_dataset))
            return asked

        yield start


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A folder with images, other things and a finished run, and a trained model."""
    folder = tmp_path_factory.mktemp("prepared")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*trusted set", UserWarning)
        model = bad_inputs.prepare(folder)
    return SimpleNamespace(folder=folder, model=model)


@pytest.fixture
def given(prepared, tmp_path, monkeypatch):
    """A copy of the prepared folder to work in, and the trained model."""
    here = tmp_path / "here"
    shutil.copytree(prepared.folder, here)
    monkeypatch.chdir(here)
    # What would be written elsewhere by default is written here too.
    monkeypatch.setenv("HOME", str(here))
    return SimpleNamespace(here=here, model=prepared.model)


@pytest.fixture
def written(monkeypatch):
    """Image files written byte by byte, whose pixels are known without reading them."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    from fuzz_parts import written_files

    return written_files
