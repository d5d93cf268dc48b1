"""A classifier whose step does on many devices what it does on one."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kdfixmatch_keras import backend
from kdfixmatch_keras.backend import devices
from kdfixmatch_keras.backend.keras_settings import usual_settings
from kdfixmatch_keras.backend.own_objects import (
    cause_of,
    constant_rate,
    is_described,
    rate_of,
)


class WholeBatchModel(keras.Model):
    """Base of a classifier that trains on dictionaries and predicts plain images.

    A subclass writes its step as for one device: `call_batch` and `compute_loss` of a
    dictionary with `"labeled"` images, `after_step`, and with `with_whole_batch` what
    is to follow the whole batch. What replicas of TensorFlow, stateless steps of JAX
    and several processes need on top is here, and so is the evaluation of plain images,
    of which those that pad a batch have the label -1.

    Args:
        **kwargs: As in `keras.Model`.

    Attributes:
        accuracy: Metric of the labeled images.
        supervised_loss_tracker: Mean of the loss of the labeled images.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Otherwise they would be of whatever `floatx` is.
        float32 = {"dtype": "float32"}
        self._supervised_loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, **float32
        )
        self.accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy", **float32)
        self.supervised_loss_tracker = keras.metrics.Mean("supervised_loss", **float32)
        # Of a training batch; an evaluation hides them.
        self._trackers: list[Any] = [self.supervised_loss_tracker]
        self._in_training = False

    # What a user calls, whatever Keras is set to

    @usual_settings()
    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As in `keras.Model`."""
        super().compile(*args, **kwargs)

    fit = usual_settings()(keras.Model.fit)
    evaluate = usual_settings()(keras.Model.evaluate)
    predict = usual_settings()(keras.Model.predict)
    train_on_batch = usual_settings()(keras.Model.train_on_batch)
    test_on_batch = usual_settings()(keras.Model.test_on_batch)
    predict_on_batch = usual_settings()(keras.Model.predict_on_batch)

    # What a subclass says

    def image_logits(self, images: Any, training: bool) -> Any:
        """Logits `(n, K)` of images `(n, H, W, C)`."""
        raise NotImplementedError

    def call_batch(self, inputs: dict[str, Any], training: bool) -> dict[str, Any]:
        """What `compute_loss` needs to know of a training batch."""
        raise NotImplementedError

    def after_step(self) -> None:
        """What follows a step of the optimizer."""
        raise NotImplementedError

    def statistics(self) -> list[Any]:
        """Variables that each replica moves by its own part of a batch."""
        raise NotImplementedError

    def penalties(self) -> list[Any]:
        """Terms of the loss that belong to weights."""
        raise NotImplementedError

    # What is saved of it

    def get_compile_config(self) -> dict[str, Any]:
        """What it was compiled with, the last rate for a schedule without one."""
        optimizer: Any = self.optimizer if self.compiled else None
        rate = rate_of(optimizer)
        if rate is None or is_described(rate):
            config: dict[str, Any] = super().get_compile_config()
            return config
        with constant_rate(optimizer, float(optimizer.learning_rate)):
            config = super().get_compile_config()
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a network that is loaded.

        Warns:
            UserWarning: The code of its optimizer or loss is not there, which it does
                not need to predict.
        """
        try:
            arguments = keras.saving.deserialize_keras_object(config)
        # Whatever a class of a user's own raises.
        except Exception as error:
            warnings.warn(
                f"The network {self.name!r} was loaded without what it was compiled "
                f"with ({cause_of(error)}). Call its `compile` before you train it on.",
                stacklevel=2,
            )
            arguments = {}
        self.compile(**arguments)
        self.optimizer.build(self.trainable_variables)

    # What a subclass computes with

    @staticmethod
    def is_batch(x: Any) -> bool:
        """Whether `x` is a training batch, and not plain images."""
        return isinstance(x, dict) and "labeled" in x

    @staticmethod
    def probabilities(logits: Any) -> Any:
        """Softmax in float32 whatever the precision of `logits` `(n, K)`."""
        return ops.softmax(ops.cast(logits, "float32"), axis=-1)

    def tracked(self, metric: Any) -> Any:
        """Has a metric show up in training alone, and returns it."""
        self._trackers.append(metric)
        return metric

    def tracked_mean(self, name: str) -> Any:
        """As `tracked`, with a mean of that name."""
        return self.tracked(keras.metrics.Mean(name, dtype="float32"))

    @staticmethod
    def whole_batch(rows: Any) -> Any:
        """The rows of all devices in order, with gradient, given those of this one."""
        return devices.whole_batch(rows)

    @staticmethod
    def with_whole_batch(function: Callable[..., Any], *rows: Any) -> Any:
        """Calls a function with the rows of all devices.

        Args:
            function: From tensors with a row for each image of the batch to such
                tensors, in whatever structure.
            *rows: Tensors with a row for each image of this device.

        Returns:
            What the function returns, of the images of this device.
        """
        found = function(*map(devices.whole_batch, rows))
        return keras.tree.map_structure(
            lambda whole: devices.own_rows(whole, rows[0]), found
        )

    @staticmethod
    def mean_loss(loss: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The mean of a `keras.losses.Loss` over the images of this device."""
        return devices.whole_loss(loss(y, y_pred, sample_weight))

    @staticmethod
    def part_of_loss(loss: Any) -> Any:
        """What this device adds to the loss of the whole batch.

        Args:
            loss: Mean over the images of this device.
        """
        return devices.part_of_loss(loss)

    def with_penalties(self, loss: Any) -> Any:
        """As `part_of_loss`, with the penalties."""
        for penalty in self.penalties():
            loss = loss + ops.cast(penalty, loss.dtype)
        return self.part_of_loss(loss)

    # What Keras calls

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns the probabilities of images, or what is computed of a batch.

        Args:
            inputs: Images `(n, H, W, C)`, or a training batch; or a dictionary of
                `"images"`.
            training: Whether the augmentations and batch norm are in training mode.

        Returns:
            Of images, float32 probabilities `(n, K)`; of a batch, see `call_batch`; of
            a dictionary, float32 `"logits"` and `"probabilities"`.
        """
        if self.is_batch(inputs):
            return self.call_batch(inputs, training)
        if not isinstance(inputs, dict):
            return self.probabilities(self.image_logits(inputs, training))
        logits = ops.cast(self.image_logits(inputs["images"], training), "float32")
        return {"logits": logits, "probabilities": self.probabilities(logits)}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss of plain images: cross-entropy, or what was given to `compile`."""
        if self.has_own_loss():
            # Keras also calls it with what it gets for plain images.
            if isinstance(y_pred, dict):
                y_pred = y_pred["probabilities"]
            self.accuracy.update_state(y, y_pred, sample_weight)
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        # Probabilities would have to be clipped.
        logits = y_pred["logits"]
        if self._may_be_padded(sample_weight, training):
            return self._loss_without_padding(y, logits)
        self.accuracy.update_state(y, logits, sample_weight)
        loss = self.mean_loss(self._supervised_loss, y, logits, sample_weight)
        return self.with_penalties(loss) if training else self.part_of_loss(loss)

    def has_own_loss(self) -> bool:
        """Whether a loss was given to `compile`."""
        return bool(self.compiled and self.loss is not None)

    def _may_be_padded(self, sample_weight: Any, training: bool) -> bool:
        """Whether images of label -1 make a batch one that all devices share evenly."""
        if training or self.has_own_loss() or sample_weight is not None:
            return False
        return devices.sharing(self).devices > 1

    def _loss_without_padding(self, y: Any, logits: Any) -> Any:
        """The loss in evaluation of the images that have a label."""
        labels = ops.reshape(ops.cast(y, "int32"), (-1,))
        known = ops.cast(labels >= 0, "float32")
        labels = ops.maximum(labels, 0)
        values = keras.losses.sparse_categorical_crossentropy(
            labels, logits, from_logits=True
        )
        count = ops.sum(known)
        loss = ops.sum(known * values) / ops.maximum(count, 1.0)
        self.accuracy.update_state(labels, logits, sample_weight=known)
        # Keras's own counts the images of a batch, with those that pad it.
        self.supervised_loss_tracker.update_state(loss, sample_weight=count)
        return devices.part_of_loss(loss)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Returns the metrics, in evaluation only those that mean something there."""
        if self.is_batch(x):
            trackers = self._trackers if "unlabeled" in x else self._trackers[:1]
            metrics = [self._loss_tracker, self.accuracy, *trackers]
            with devices.whole_state(self.metrics_variables):
                return {metric.name: metric.result() for metric in metrics}
        # With those that a user compiled, which are of probabilities.
        probabilities = y_pred["probabilities"] if isinstance(y_pred, dict) else y_pred
        results = super().compute_metrics(x, y, probabilities, sample_weight)
        with devices.whole_state(self.metrics_variables) as differs:
            if differs:
                results = self.get_metrics_result()
            if self._may_be_padded(sample_weight, self._in_training):
                results["loss"] = self.supervised_loss_tracker.result()
        hidden = {metric.name for metric in self._trackers}
        return {name: value for name, value in results.items() if name not in hidden}

    def train_step(self, *args: Any) -> Any:
        """One step of Keras's own trainer, and what follows it."""
        self._in_training = True
        args = self._with_logits(args)
        if not backend.is_stateless():
            logs = super().train_step(*args)
            devices.make_equal(self.statistics())
            self.after_step()
            return logs
        logs, (trainable, non_trainable, optimizer, metrics) = super().train_step(*args)
        mapping = [
            *zip(self.trainable_variables, trainable, strict=True),
            *zip(self.non_trainable_variables, non_trainable, strict=True),
        ]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            self.after_step()
        non_trainable = [
            scope.get_current_value(variable)
            for variable in self.non_trainable_variables
        ]
        return logs, (trainable, non_trainable, optimizer, metrics)

    def _with_logits(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of a step, which of plain images is to know the logits."""
        *state, data = args
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if self.is_batch(x):
            return args
        return (*state, ({"images": x}, y, sample_weight))

    def test_step(self, *args: Any) -> Any:
        """The step of Keras's own trainer."""
        self._in_training = False
        return super().test_step(*self._with_logits(args))

    def predict_step(self, *args: Any) -> Any:
        """The step of Keras's own trainer; every process gets all that it returns."""
        return devices.known_everywhere(super().predict_step(*args))
