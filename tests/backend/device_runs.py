"""Trainings on some devices, in a process of its own: they are made before all else.

    python device_runs.py DEVICES FOLDER RUNS

DEVICES is their number, or `process/processes@port`, of processes with one each.
RUNS is JSON: `{name: {"settings": {...}, "fit": {...}, "only": "trained", "kept":
"exported"}}`. What came of each is written to FOLDER as `name.npz`: of the training and
of using the model, unless it is only "trained" or "predicted" with; the model, if it is
to be kept ("saved" or "exported"), as `name_saved` and `name_exported`. Keras runs on
KERAS_BACKEND.
"""

import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import warnings
from pathlib import Path

SIDE, CLASSES, STEPS = 8, 3, 10


def configure(count):
    """Makes devices of this machine, and returns the scope that uses them."""
    if "@" in count:
        import jax
        import keras

        process, processes, port = map(int, re.split("[/@]", count))
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        if "KILLED_IN" in os.environ:
            # Rather than minutes, as by default.
            jax.distributed.initialize(
                f"127.0.0.1:{port}",
                processes,
                process,
                heartbeat_timeout_seconds=10,
                shutdown_timeout_seconds=5,
            )
        else:
            keras.distribution.initialize(f"127.0.0.1:{port}", processes, process)
        return keras.distribution.DataParallel().scope()
    count = int(count)
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * max(count, 1)
        )
        if count == 1:
            return contextlib.nullcontext()
        names = [f"CPU:{number}" for number in range(count)]
        return tf.distribute.MirroredStrategy(names).scope()
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={count}"
    import keras

    if count == 1:
        return contextlib.nullcontext()
    return keras.distribution.DataParallel().scope()


def images(count, seed):
    """uint8 images and their classes: red, green or blue."""
    import numpy as np

    labels = np.arange(count, dtype=np.int32) % CLASSES
    pixels = np.random.default_rng(seed).integers(
        0, 120, (count, SIDE, SIDE, 3), np.uint8
    )
    pixels[np.arange(count), :, :, labels] += 100
    return pixels, labels


def backbone(batch_norm):
    """A convolution with a penalty; nothing in its step is random."""
    import keras

    def build(input_shape):
        inputs = keras.Input(input_shape)
        x = keras.layers.Conv2D(
            8, 3, strides=2, kernel_regularizer=keras.regularizers.L2(1e-2)
        )(inputs)
        if batch_norm:
            x = keras.layers.BatchNormalization(momentum=0.9)(x)
        return keras.Model(inputs, keras.layers.ReLU()(x))

    return build


def new_model(batch_norm=False, method="KDFixMatch", clipnorm=None, **settings):
    """A small classifier without augmentation."""
    import keras

    import kdfixmatch_keras
    from kdfixmatch_keras import baselines

    common = {
        "weights": None,
        "embedding_dim": 8,
        "tau": 0.4,
        "ema_decay": 0.9,
        "weak_augmentation": "none",
        "strong_augmentation": keras.layers.Identity(),
        "batch_size": 4,
        "unlabeled_ratio": 2,
        "mixed_precision": False,
        "seed": 0,
    }
    if method == "KDFixMatch":
        common |= {"tau_select": 0.4, "tau_inner": 0.4, "clustering": "kmeans"}
        kind = kdfixmatch_keras.KDFixMatch
    else:
        kind = getattr(baselines, method)
    common["backbone"] = backbone(batch_norm)
    if clipnorm is not None:
        common["optimizer"] = keras.optimizers.SGD(
            0.03, momentum=0.9, clipnorm=clipnorm
        )
    return kind(**common | settings)


def run(settings, fit, only=None):
    """Trains, predicts and evaluates; returns the model, and arrays by name."""
    import keras
    import numpy as np

    model = new_model(**settings)
    for ending, end in {"KILLED_IN": kill, "RAISES_IN": fail}.items():
        if os.environ.get(ending):
            fit = fit | {"callbacks": {os.environ[ending]: [at_second_epoch(end)]}}
    epochs = []
    if "callbacks" not in fit:
        noting = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: epochs.append(epoch)
        )
        fit = fit | {"callbacks": [noting]}
    unlabeled, labels = images(41, 2)
    labeled = images(12, 1)
    if os.environ.get("CANNOT_READ_IN"):
        labeled = labeled[0][:0], labeled[1][:0]
    model.fit(
        labeled,
        unlabeled,
        verbose=0,
        **{"epochs": 2, "steps_per_epoch": STEPS // 2} | fit,
        # Neither of these numbers can be shared evenly.
        validation_data=None if only else images(7, 3),
    )
    found = {"epochs": np.array(epochs)}
    if only != "trained":
        found["predicted"] = model.predict(unlabeled, batch_size=16)
    if only is None:
        found["predicted_one"] = model.predict(unlabeled[:1])
        found["predicted_files"] = predict_files(model.serving_network, unlabeled[:3])
        for name, value in model.evaluate(unlabeled, labels, batch_size=16).items():
            found[f"evaluated_{name}"] = value
    networks = {"network": model.serving_network}
    histories = {"network": model.history}
    if hasattr(model, "trusted_set"):
        networks = {"outer": model.outer, "inner": model.inner}
        histories = model.history
        found["trusted"] = model.trusted_set.dense_labels()
    for stage, network in networks.items():
        for name, values in histories[stage].items():
            found[f"{stage}_{name}"] = values
        for number, variable in enumerate(network.variables):
            found[f"{stage}_{number}_{variable.name}"] = np.asarray(variable)
            # Of TensorFlow, the copy of each replica.
            copies = getattr(variable.value, "values", [variable.value])
            for copy in copies:
                np.testing.assert_array_equal(np.asarray(copy), np.asarray(variable))
    return model, found


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise ValueError("A callback of one's own.")


def at_second_epoch(end):
    """A callback that calls this in the second step of the second epoch."""
    import keras

    epochs = []

    def on_step(step, logs=None):
        if step == 1 and len(epochs) == 2:
            end()

    return keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: epochs.append(epoch),
        on_train_batch_begin=on_step,
    )


def predict_files(network, pixels):
    import numpy as np
    from PIL import Image

    from kdfixmatch_keras.serving.file_prediction import predict_files

    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{number}.png") for number in range(len(pixels))]
        for file, image in zip(files, pixels, strict=True):
            Image.fromarray(image).save(file)
        batches = predict_files(network, files, 2)
        return np.concatenate([batch.probabilities for batch in batches])


def main():
    count, folder, runs = sys.argv[1:]
    scope = configure(count)
    import numpy as np

    # A few steps make no good network.
    warnings.simplefilter("ignore", UserWarning)
    models = {}
    found = {}
    with scope:
        for name, arguments in json.loads(runs).items():
            try:
                model, found[name] = run(
                    arguments.get("settings", {}),
                    arguments.get("fit", {}),
                    arguments.get("only"),
                )
                if arguments.get("only") is None:
                    models[name] = model
                if arguments.get("kept"):
                    model.save(Path(folder, f"{name}_saved"))
                if arguments.get("kept") == "exported":
                    model.export(Path(folder, f"{name}_exported"))
            except (RuntimeError, ValueError) as error:
                found[name] = {"error": str(error)}
    for name, model in models.items() if "@" not in count else ():
        found[name]["predicted_outside"] = model.predict(images(5, 4)[0])
    for name, arrays in found.items():
        np.savez(Path(folder, f"{name}.npz"), **arrays)


if __name__ == "__main__":
    main()
