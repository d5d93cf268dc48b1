"""What `test_parity` has each backend do in a process of its own.

`python tests/backend/parity_run.py FOLDER PART...`, with KERAS_BACKEND set. Ten steps
do not depend on the random numbers of a backend: NumPy draws their weights and images.
"""

import os
import sys
from pathlib import Path

import keras
import numpy as np
from keras.src.backend.common import dtypes
from typer.testing import CliRunner

from kdfixmatch_cli.app import app
from kdfixmatch_keras import KDFixMatch, backbones, baselines
from kdfixmatch_keras.augmentation import OPERATION_NAMES
from kdfixmatch_keras.augmentation.rand_augment import apply_dealt_operations
from kdfixmatch_keras.fixmatch import FixMatch
from kdfixmatch_keras.serving import export_process
from kdfixmatch_keras.sources import ArraySource, LabeledImages
from kdfixmatch_keras.training.batches import FixMatchBatches
from kdfixmatch_keras.training.optimizers import build_optimizer

BACKENDS = ("tensorflow", "jax", "torch")
# (network, threshold, stage) of which ten steps are compared.
CASES = [
    *(
        ("smooth_cnn", threshold, stage)
        for threshold in ("fixed", "flexmatch", "freematch", "softmatch")
        for stage in ("outer", "inner")
    ),
    ("small_cnn", "fixed", "inner"),
]
NUM_STEPS = 10
NUM_UNLABELED = 48
# Of which a convolution with strides has an edge to pad, or none.
SHAPE = (13, 12, 3)


def images(count, seed):
    """Noise of three colours, and their classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int32) % 3
    pixels = rng.integers(0, 200, (count, *SHAPE), np.uint8)
    pixels[np.arange(count), :, :, labels] += rng.integers(
        0, 56, (count, *SHAPE[:2]), np.uint8
    )
    return pixels, labels


def smooth_cnn(input_shape):
    """As `small_cnn`, of functions without a kink.

    Where rounding moves an input across that of a leaky ReLU, or makes another pixel
    the largest of a pool, the gradient jumps: within ten steps in float32 this does
    happen. `small_cnn` itself computes in float64.
    """
    inputs = x = keras.Input(input_shape)
    for stage, filters in enumerate((8, 16)):
        if stage > 0:
            x = keras.layers.AveragePooling2D(2)(x)
        for strides in (2 - stage, 1):
            x = keras.layers.Conv2D(
                filters,
                3,
                strides=strides,
                padding="same",
                use_bias=False,
                kernel_regularizer=keras.regularizers.L2(0.01),
            )(x)
            x = keras.layers.BatchNormalization(momentum=0.9)(x)
            x = keras.layers.Activation("silu")(x)
    return keras.Model(inputs, x)


def draw_weights(network, seed=0):
    """Gives a network weights that do not depend on the backend."""
    rng = np.random.default_rng(seed)
    drawn = []
    for weight in network.weights:
        values = rng.standard_normal(weight.shape)
        kind = weight.path.rsplit("/", 1)[-1]
        if kind == "kernel":
            values *= np.sqrt(2.0 / np.prod(weight.shape[:-1]))
        elif kind in ("gamma", "moving_variance"):
            values = 1.0 + 0.1 * np.tanh(values)
        else:
            values *= 0.1
        drawn.append(values.astype(np.float32))
    network.set_weights(drawn)


def state_of(network):
    """Every number of a network: of student, teacher, thresholds and momentum."""
    parts = {
        "student": network.student.weights,
        "teacher": network.teacher.weights,
        "threshold": network.threshold.weights,
        "alignment": network.alignment.weights,
        "optimizer": network.optimizer.variables,
    }
    return {
        f"{part}/{number}": keras.ops.convert_to_numpy(variable)
        for part, variables in parts.items()
        for number, variable in enumerate(variables)
    }


def train(backbone, threshold, stage, num_steps=NUM_STEPS):
    """Some steps of a network of one stage; all that happened in them."""
    labeled, labels = images(12, seed=1)
    unlabeled, true_labels = images(NUM_UNLABELED, seed=2)
    student = backbones.build_network(backbone, SHAPE, 3, embedding_dim=16)
    draw_weights(student)
    network = FixMatch(
        student,
        tau=0.5,
        unlabeled_loss="sce" if stage == "inner" else "ce",
        weak_augmentation="none",
        strong_augmentation=keras.layers.Identity(),
        class_distribution=[0.5, 0.3, 0.2],
        threshold=threshold,
        num_unlabeled=NUM_UNLABELED,
    )
    network.compile(optimizer=build_optimizer(None, NUM_STEPS, pretrained=False))
    network.optimizer.build(network.trainable_variables)
    # Of every third image no label is trusted, and some labels are wrong.
    trusted = np.where(np.arange(NUM_UNLABELED) % 9 < 6, true_labels, -1)
    trusted[::7] = 0
    batches = FixMatchBatches(
        LabeledImages(ArraySource(labeled), labels, ["a", "b", "c"]),
        ArraySource(unlabeled),
        trusted.astype(np.int32) if stage == "inner" else None,
        batch_size=4,
        unlabeled_ratio=3,
        steps_per_epoch=NUM_STEPS,
        seed=3,
    )
    logs = []
    for step in range(num_steps):
        # Or they would be means over all steps so far.
        network.reset_metrics()
        logs.append(network.train_on_batch(*batches[step], return_dict=True))
    found = {
        f"logs/{name}": np.array([float(log[name]) for log in logs]) for name in logs[0]
    }
    return {**found, **state_of(network)}


def compute_in_float64():
    """Has the networks that are built from here on compute in float64.

    Logits and losses stay in float32: what they round moves no input across a kink.
    """
    keras.config.set_dtype_policy("float64")
    # Or batch norm would be float32 on JAX and PyTorch.
    dtypes.BIT64_TO_BIT32_DTYPE.pop("float64", None)
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)


def steps(folder):
    """Writes ten steps of each case, and the first of `small_cnn` in float32."""
    first = train("small_cnn", "fixed", "inner", num_steps=1)
    found = {
        f"first/{name}": value
        for name, value in first.items()
        if name.startswith("logs/")
    }
    for network, threshold, stage in CASES:
        if network == "smooth_cnn":
            arrays = train(smooth_cnn, threshold, stage)
        else:
            compute_in_float64()
            arrays = train(network, threshold, stage)
        for name, value in arrays.items():
            found[f"{network}/{threshold}/{stage}/{name}"] = value
    np.savez(folder / f"{keras.backend.backend()}_steps.npz", **found)


def forward(folder):
    """Writes the logits of a deep network, and strong views of given draws."""
    rng = np.random.default_rng(5)
    network = backbones.build_network("wide_resnet_28_2", (32, 32, 3), 3)
    draw_weights(network)
    pixels = rng.integers(0, 256, (8, 32, 32, 3), np.uint8)
    found = {"logits": network.predict(pixels, verbose=0)}
    pixels, _ = images(NUM_UNLABELED, seed=6)
    num_slots = -(-NUM_UNLABELED // len(OPERATION_NAMES)) * len(OPERATION_NAMES)
    slots = rng.permuted(np.tile(np.arange(num_slots, dtype=np.int32), (2, 1)), axis=1)
    views = apply_dealt_operations(
        keras.ops.convert_to_tensor(pixels),
        keras.ops.convert_to_tensor(slots),
        keras.ops.convert_to_tensor(rng.random((2, num_slots), np.float32)),
    )
    found["pixels"] = pixels
    found["randaugment"] = keras.ops.convert_to_numpy(views)
    np.savez(folder / f"{keras.backend.backend()}_forward.npz", **found)


def save(folder):
    """Writes a trained model, what it predicts, and a SavedModel."""
    name = keras.backend.backend()
    labeled, labels = images(12, seed=1)
    model = KDFixMatch(
        "small_cnn",
        embedding_dim=8,
        clustering="kmeans",
        tau_select=0.0,
        batch_size=4,
        unlabeled_ratio=2,
        seed=0,
    )
    unlabeled, _ = images(NUM_UNLABELED, seed=2)
    model.fit((labeled, labels), unlabeled, epochs=1, steps_per_epoch=8, verbose=0)
    model.save(folder / f"{name}.zip")
    model.trusted_set.save(folder / f"{name}_trusted.npz")
    np.save(folder / f"{name}_saved.npy", model.predict(images(20, seed=4)[0]))
    path = folder / f"{name}_exported"
    if name == "tensorflow":
        model.export(path)
    else:
        # As `export` does where TensorFlow is in the same environment.
        python = os.environ["KDFIXMATCH_TENSORFLOW_PYTHON"]
        export_process.export_in_process(
            model.inner.teacher, model.class_names, path, "tf_saved_model", python
        )


def read_datasets(folder):
    """Writes what comes of a training on arrays, and on the same as `tf.data`."""
    # After the packages of this environment, which lacks but TensorFlow.
    sys.path.append(os.environ["KDFIXMATCH_TENSORFLOW_PACKAGES"])
    import tensorflow as tf

    labeled, unlabeled = images(12, seed=1), images(NUM_UNLABELED, seed=2)[0]
    found = {}
    for kind, as_kind in {
        "arrays": lambda data: data,
        "datasets": tf.data.Dataset.from_tensor_slices,
    }.items():
        model = baselines.FixMatch(
            "small_cnn", embedding_dim=8, batch_size=4, unlabeled_ratio=2, seed=0
        )
        history = model.fit(
            as_kind(labeled), as_kind(unlabeled), epochs=1, steps_per_epoch=4, verbose=0
        )
        found[f"{kind}/loss"] = history["loss"]
        found[f"{kind}/predictions"] = model.predict(as_kind(unlabeled))
        found[f"{kind}/accuracy"] = model.evaluate(as_kind(labeled))["accuracy"]
    np.savez(folder / f"{keras.backend.backend()}_datasets.npz", **found)


def load(folder):
    """Predicts with the models that all backends have saved."""
    from kdfixmatch_keras import TrustedSet

    name = keras.backend.backend()
    pixels, _ = images(20, seed=4)
    for other in BACKENDS:
        model = KDFixMatch.load(folder / f"{other}.zip")
        np.save(folder / f"{other}_in_{name}.npy", model.predict(pixels))
        trusted = TrustedSet.load(folder / f"{other}_trusted.npz")
        np.testing.assert_array_equal(
            trusted.dense_labels(), model.trusted_set.dense_labels()
        )
        if name == "tensorflow":
            import tensorflow as tf

            served = tf.saved_model.load(str(folder / f"{other}_exported"))
            answer = served.signatures["serving_default"](images=tf.constant(pixels))
            np.save(folder / f"{other}_served.npy", answer["probabilities"])


def command(*words):
    """What a command of `kdfixmatch` gives, whose errors are raised."""
    result = CliRunner().invoke(app, [*map(str, words), "--debug"])
    print(result.output)
    if result.exception is not None:
        raise result.exception


def train_run(folder):
    """Writes the folder of a run, of images that are in `photos`."""
    photos = folder / "photos"
    command(
        *("train", "--labeled", photos / "labeled", "--unlabeled"),
        *(photos / "unlabeled", "--output", folder / "run", "--seed", 0),
        *("--backbone", "small_cnn", "--clustering", "kmeans", "--epochs", 1),
        *("--batch-size", 4, "--unlabeled-ratio", 2, "--tau-select", 0),
        *("--steps-per-epoch", 2),
    )


def read_run(folder):
    """Writes what the run of a folder predicts, and its report."""
    name, run = keras.backend.backend(), folder / "run"
    images = folder / "photos" / "unlabeled"
    command("predict", run, images, "--output", folder / f"{name}.csv")
    command("report", run, "--output", folder / f"{name}.html")


PARTS = {
    "forward": forward,
    "save": save,
    "train_run": train_run,
    # Of which the last has the process compute in float64.
    "steps": steps,
    "load": load,
    "read_run": read_run,
    # Of which TensorFlow comes to be imported.
    "datasets": read_datasets,
}

if __name__ == "__main__":
    _, folder, *parts = sys.argv
    for part in parts:
        PARTS[part](Path(folder))
