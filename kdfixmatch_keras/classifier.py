"""The facade that all methods share: their arguments, and what a model is used for."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from inspect import Parameter, Signature, signature
from typing import Any, TypedDict

import keras
import numpy as np

from kdfixmatch_keras import augmentation, backbones, targets
from kdfixmatch_keras.augmentation import own_layers
from kdfixmatch_keras.backbones.family import local_weights
from kdfixmatch_keras.backbones.precision import (
    check_precision,
    dtype_policy,
    resolve_precision,
)
from kdfixmatch_keras.backend import devices, processes
from kdfixmatch_keras.backend.own_objects import copied_layer
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.checks.paths import expand_user
from kdfixmatch_keras.fixmatch import TEACHERS, FixMatch
from kdfixmatch_keras.serving import export, prediction
from kdfixmatch_keras.sources import (
    ImageSource,
    LabeledImages,
    check_image_size,
    labeled_source,
    unlabeled_source,
)
from kdfixmatch_keras.sources.intensity import IntensityRange, check_known_range
from kdfixmatch_keras.sources.skipped import warn_of_skipped
from kdfixmatch_keras.training import callbacks, session
from kdfixmatch_keras.training.data import TrainingData, open_data
from kdfixmatch_keras.training.optimizers import check_optimizer
from kdfixmatch_keras.training.plan import Plan
from kdfixmatch_keras.training.session import Session

# Which layers are trained.
FINETUNE = ("all", "head")
# Images that an augmentation of a user's own is tried on.
TRIED = 16


class Settings(TypedDict, total=False):
    """The arguments that all methods share, for editors and type checkers."""

    weights: Any
    pretrained: bool | None
    pixels: str | None
    finetune: str
    image_size: Sequence[int] | None
    embedding_dim: int | None
    tau: float
    lambda_u: float
    weak_augmentation: Any
    strong_augmentation: Any
    teacher: str
    ema_decay: float
    threshold: Any
    distribution_alignment: bool
    batch_size: int
    unlabeled_ratio: int
    optimizer: Any
    mixed_precision: bool | str
    seed: int | None


class ImageClassifier:
    """A classifier of images trained with the parts of this package.

    Subclasses say how: they implement `fit` and `serving_network`. An argument
    `**settings` of theirs stands for those below, which `help` and `inspect.signature`
    show too.

    Args:
        backbone: Name in `keras.applications` in lower case, `"efficientnet_lite0"` (or
            1, 2), `"small_cnn"`, `"wide_resnet_28_2"`, `"hub:<preset or folder>"` of
            KerasHub, a `keras.Model` or a callable `(input_shape) -> keras.Model`; see
            `backbones.build_network`.
        weights: None, `"imagenet"` or the path of a weights file; for names in
            `keras.applications` and EfficientNet-Lite only, others ignore `"imagenet"`.
        pretrained: Whether a model of your own starts from trained weights, which asks
            for small learning rates and frozen batch norm; None finds out, see
            `backbones.build_network`.
        pixels: Range of the pixels that a model of your own expects: `"tf"` ([-1, 1]),
            `"raw"` ([0, 255]), `"unit_interval"` ([0, 1]), `"torch"` or `"caffe"`; None
            finds out, or asks for it where a trained model does not tell.
        finetune: `"all"` layers; or the `"head"`, which takes a pretrained network that
            stays as it is: it sees each image five times, as it is, in a weak and in
            three strong views, and the layers after it are trained on those features,
            which the disk keeps, 5 bytes each for an image.
        image_size: `(H, W)` to which images are resized; None keeps their own.
        embedding_dim: Size of the embedding, a layer before the logits; None for the
            features of the backbone themselves, as FixMatch has them.
        tau: Confidence from which a network's own label counts, in [0, 1].
        lambda_u: Weight of the unlabeled term, at least 0.
        weak_augmentation: `"flip_shift"`, `"shift"`, `"none"` or a Keras layer, which
            gets uint8 images, and returns pixels in [0, 255] of the same shape. Each
            network gets a copy; it is tried on a few images before a training.
        strong_augmentation: `"randaugment"`, `"keras_cv"` or a Keras layer likewise.
        teacher: `"ema"` or `"shared"`; see `FixMatch`.
        ema_decay: Decay of the teacher's average per step, in [0, 1).
        threshold: Whose own labels count: `"fixed"` (those of confidence `tau`),
            `"flexmatch"`, `"freematch"`, `"softmatch"` or a layer; see
            `kdfixmatch_keras.thresholds`.
        distribution_alignment: Whether targets are aligned with the frequencies of
            the labels, which must then be those of the unlabeled images; see
            `DistributionAlignment`.
        batch_size: Labeled images in a batch, `B`, a multiple of the number of devices
            that share it.
        unlabeled_ratio: Unlabeled images in a batch for each labeled one, `mu`.
        optimizer: Name or Keras optimizer; `"paper"`, or None for what suits the start
            of the network; see `training.optimizers.build_optimizer`.
        mixed_precision: `"auto"` (float16 on a GPU, float32 on a CPU and on several
            devices of TensorFlow), True, False, `"float32"`, `"mixed_float16"` or
            `"mixed_bfloat16"`.
        seed: Integer of at least 0 that fixes a run, bit for bit on a CPU; or None.

    Attributes:
        class_names: Names of the `K` classes, or None before `fit`.
        intensity_range: What intensities of the 16-bit files that it was trained on
            became 0 and 255, found from all of them, and those of such files become
            that `predict` and `evaluate` are given; or None, where there were none and
            such files are refused. Who knows it can set it: a
            `sources.IntensityRange`; another type is a TypeError.
        used_seed: Seed of the last `fit` with a `run_dir`, drawn where `seed` is None.
        image_passes: What the last `fit` that ended cost: how often an image went
            forward through a network, to train (which counts three times, for the way
            back), for a teacher's target or to be labeled.

    Raises:
        ValueError: An argument is out of range, or a name is unknown.
        TypeError: An argument is of the wrong kind.
    """

    # What is measured of each network in training; nothing where there is none.
    measured: tuple[str, ...] = (
        *("loss", "accuracy", "supervised_loss", "unlabeled_loss"),
        *("mask_rate", "trusted_share", "top_class_share"),
    )

    def __init__(
        self,
        backbone: Any = "efficientnetb0",
        *,
        weights: Any = "imagenet",
        pretrained: bool | None = None,
        pixels: str | None = None,
        finetune: str = "all",
        image_size: Sequence[int] | None = None,
        embedding_dim: int | None = 256,
        tau: float = 0.95,
        lambda_u: float = 1.0,
        weak_augmentation: Any = "flip_shift",
        strong_augmentation: Any = "randaugment",
        teacher: str = "ema",
        ema_decay: float = 0.999,
        threshold: Any = "fixed",
        distribution_alignment: bool = False,
        batch_size: int = 64,
        unlabeled_ratio: int = 7,
        optimizer: Any = None,
        mixed_precision: bool | str = "auto",
        seed: int | None = None,
    ) -> None:
        backbones.check_backbone(backbone, weights, pretrained, pixels)
        self.backbone = backbone
        self.weights = local_weights(weights)
        self.pretrained = pretrained
        self.pixels = pixels
        self.finetune = validation.check_choice("finetune", finetune, FINETUNE)
        if finetune == "head" and not backbones.is_pretrained(
            backbone, weights, pretrained
        ):
            raise ValueError(
                '`finetune` must be "all" where the backbone has random weights, whose '
                "features mean nothing. Received: finetune='head'"
            )
        self.image_size = check_image_size(image_size)
        self.embedding_dim = validation.check_count("embedding_dim", embedding_dim)
        self.tau = validation.check_fraction("tau", tau)
        self.lambda_u = validation.check_non_negative("lambda_u", lambda_u)
        # Made and thrown away: a name that is unknown, or a package that is missing,
        # must show here and not after an hour.
        augmentation.get_weak(weak_augmentation)
        augmentation.get_strong(strong_augmentation)
        self.weak_augmentation = weak_augmentation
        self.strong_augmentation = strong_augmentation
        for argument, layer in self._own_augmentations():
            own_layers.check_layer(argument, layer)
        self.teacher = validation.check_choice("teacher", teacher, TEACHERS)
        self.ema_decay = validation.check_number("ema_decay", ema_decay, 0, 1, "[0, 1)")
        self.threshold = targets.check(threshold, tau)
        self.distribution_alignment = validation.check_flag(
            "distribution_alignment", distribution_alignment
        )
        self.batch_size = validation.check_integer("batch_size", batch_size, 1)
        self.unlabeled_ratio = validation.check_integer(
            "unlabeled_ratio", unlabeled_ratio, 1
        )
        self.optimizer = check_optimizer(optimizer)
        self.mixed_precision = check_precision(mixed_precision)
        self.seed = validation.check_seed(seed)
        self.class_names: list[str] | None = None
        self._intensity_range: IntensityRange | None = None
        self.used_seed: int | None = None
        self.image_passes = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" not in vars(cls):
            return
        own = list(signature(cls.__init__).parameters.values())[1:]
        found = [p for p in own if p.kind is not Parameter.VAR_KEYWORD]
        if len(found) < len(own):
            # `**settings` stands for what the class above takes.
            above = next(c for c in cls.__mro__[1:] if issubclass(c, ImageClassifier))
            names = {parameter.name for parameter in found}
            rest = signature(above).parameters.items()
            found += [parameter for name, parameter in rest if name not in names]
        found.sort(key=lambda parameter: parameter.kind)
        # What `help` and `inspect` look for.
        cls.__signature__ = Signature(found)  # type: ignore[attr-defined] # see above

    def arguments(self) -> dict[str, Any]:
        """The arguments of the constructor by name."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    # Training, for subclasses

    def load_data(
        self,
        labeled: Any,
        unlabeled: Any,
        validation_data: Any = None,
        on_error: str = "raise",
    ) -> TrainingData:
        """Opens what the user passed, and checks that it belongs together.

        The arguments are those of `fit`. Augmentations that are layers are tried on
        some of the images.

        Raises:
            TypeError: An argument is of a kind that holds no images.
            ValueError: Images or labels are not usable; the message says which. Or an
                augmentation makes no images of them.
        """
        size = self.image_size
        data = open_data(labeled, unlabeled, validation_data, size, on_error)
        for argument, layer in self._own_augmentations():
            own_layers.try_layer(argument, layer, _some(data.unlabeled))
        return data

    def _own_augmentations(self) -> Iterator[tuple[str, keras.layers.Layer]]:
        """Augmentations that are layers of the user's, by the names of arguments."""
        for argument in own_layers.AUGMENTATIONS:
            layer = getattr(self, argument)
            if isinstance(layer, keras.layers.Layer):
                yield argument, layer

    def check_training(self, plan: Plan, validation_data: Any) -> None:
        """Checks that a training can run on its devices, and with its callbacks.

        Args:
            plan: What `fit` is asked for.
            validation_data: As for `fit`, not opened yet.

        Raises:
            RuntimeError: Devices are shared in a way that is not known.
            ValueError: They cannot share a batch evenly, or a callback would fail or do
                nothing.
        """
        if self.measured:
            callbacks.check_use(
                plan.callbacks,
                self.optimizer,
                self.measured,
                has_validation=validation_data is not None,
            )
        devices.check(self.batch_size)
        if self.finetune == "head" and devices.sharing().devices > 1:
            raise ValueError(
                '`finetune` must be "all" on several devices, as a head is trained on '
                "one. Received: finetune='head'"
            )
        devices.check_replicas(resolve_precision(self.mixed_precision), self.optimizer)

    def new_session(self, data: TrainingData, plan: Plan) -> Session:
        """A training that is kept nowhere."""
        return Session(
            data,
            plan,
            seed=self.seed,
            batch_size=self.batch_size,
            unlabeled_ratio=self.unlabeled_ratio,
            optimizer=self.optimizer,
            finetune=self.finetune,
        )

    @contextlib.contextmanager
    def training(
        self, data: TrainingData, plan: Plan, **of_fit: Any
    ) -> Iterator[Session]:
        """Opens a training, new or stopped; see `training.session`.

        Args:
            data: The images.
            plan: What `fit` is asked for.
            **of_fit: Arguments of `fit` that only this method has.
        """
        names = signature(ImageClassifier).parameters
        shared = {name: getattr(self, name) for name in names}
        with session.opened(
            self.new_session(data, plan),
            type(self).__name__,
            {**shared, **self.arguments()},
            of_fit,
        ) as opened:
            for note in data.notes():
                plan.say(note)
            yield opened
            # Not before: until then, they are those of the model that there is.
            self.class_names = data.labeled.class_names
            self.intensity_range = data.intensity_range
            if plan.run_dir is not None:
                self.used_seed = opened.seed
            self.image_passes = opened.image_passes

    def new_network(
        self,
        stage: str,
        data: TrainingData,
        seed: int | None,
        *,
        backbone: Any = None,
        network_class: type[FixMatch] = FixMatch,
        **options: Any,
    ) -> FixMatch:
        """An untrained network, with seeds of its own for each `stage`.

        Args:
            stage: Name of the network.
            data: Images it will be trained on.
            seed: Seed of the training.
            backbone: Another than that of this classifier, or None.
            network_class: `FixMatch` or a subclass.
            **options: Arguments of `network_class` that differ from those that this
                classifier was made with.
        """
        seed = validation.derive_seed(seed, stage)
        # What is said of the own one; of another it is found out.
        said: dict[str, Any] = {"pretrained": None, "pixels": None}
        if backbone is None:
            backbone = self.backbone
            said = {"pretrained": self.pretrained, "pixels": self.pixels}
        class_distribution = None
        if self.distribution_alignment:
            counts = np.bincount(data.labeled.labels)
            class_distribution = counts / counts.sum()
        with dtype_policy(self.mixed_precision) as policy, backbones.seeded(seed):
            student = backbones.build_network(
                backbone,
                data.labeled.images.image_shape,
                len(data.labeled.class_names),
                weights=self.weights,
                **said,
                embedding_dim=self.embedding_dim,
                seed=seed,
                name=stage,
            )
            arguments = {
                "tau": self.tau,
                "lambda_u": self.lambda_u,
                "teacher": self.teacher,
                "ema_decay": self.ema_decay,
                "weak_augmentation": self.weak_augmentation,
                "strong_augmentation": self.strong_augmentation,
                "class_distribution": class_distribution,
                "threshold": self.threshold,
                "num_unlabeled": len(data.unlabeled),
                **options,
            }
            network = network_class(
                student,
                seed=seed,
                name=f"fixmatch_{stage}",
                dtype=policy,
                **{name: _own(name, value) for name, value in arguments.items()},
            )
        network.is_pretrained = backbones.is_pretrained(
            backbone, self.weights, said["pretrained"]
        )
        return network

    # Use

    @property
    def intensity_range(self) -> IntensityRange | None:
        """What intensities of 16-bit files become 0 and 255; see the class."""
        return self._intensity_range

    @intensity_range.setter
    def intensity_range(self, value: IntensityRange | None) -> None:
        self._intensity_range = check_known_range(value)

    @property
    def serving_network(self) -> FixMatch:
        """The network that predicts; subclasses say which.

        Raises:
            RuntimeError: Nothing has been trained yet.
        """
        raise RuntimeError(
            f"This {type(self).__name__} has no network yet. Call `fit` first, or "
            "`load` a saved model."
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)` of the images that it has been trained on.

        Raises:
            RuntimeError: Nothing has been trained yet.
        """
        shape: tuple[int, int, int] = self.serving_network.student.input_shape[1:]
        return shape

    def load_images(self, images: Any, on_error: str = "raise") -> ImageSource:
        """Opens images for `predict`, which takes what it returns.

        Its `names` are those of the files, in the order of the rows of `predict`:

        ```python
        images = model.load_images("photos/new")
        rows = zip(images.names, model.predict(images))
        ```

        Args:
            images: As for `predict`.
            on_error: As for `predict`.

        Returns:
            The images, of the size that the model takes. `names` are relative to the
            folder, or to the folder that files of a list have in common; None of
            arrays and data sets. Of files, `files` are their paths, and `skipped` those
            that were left out, with the reason.

        Raises:
            TypeError: `images` are of a kind that holds none.
            ValueError: Images are not usable; the message says which.

        Warns:
            UserWarning: Files were left out, or all images are black.
        """
        height, width, channels = self.image_shape
        if isinstance(images, str | os.PathLike) and os.path.isfile(
            expand_user(images)
        ):
            images = [images]
        with processes.ending_after_errors():
            source = unlabeled_source(
                images,
                (height, width),
                channels,
                on_error=on_error,
                read_once=True,
                intensity_range=self.intensity_range,
                argument="images",
            )
        if source is not images:
            warn_of_skipped(source, "images")
        return source

    def predict(
        self,
        images: Any,
        batch_size: int = 256,
        verbose: Any = 0,
        on_error: str = "raise",
    ) -> np.ndarray:
        """Class probabilities of images.

        Args:
            images: uint8 array `(n, H, W)` or `(n, H, W, C)`, a folder, a file, a list
                of paths of files, a `tf.data.Dataset` of images, or what `load_images`
                returns. Other sizes are resized to that of the training images.
            batch_size: Images in one forward pass.
            verbose: 0 for silence, 1 for a progress bar.
            on_error: `"raise"`, or `"skip"` to leave out files that cannot be read,
                with a warning; `load_images` tells which are left.

        Returns:
            float32 probabilities `(n, K)`, columns in the order of `class_names`,
            rows in the order of the images (those of a folder: sorted by name).
        """
        self._check_use(batch_size, verbose)
        source = self.load_images(images, on_error)
        return self._probabilities(source, batch_size, verbose)

    def evaluate(
        self,
        images: Any,
        labels: Any = None,
        batch_size: int = 256,
        verbose: Any = 0,
        on_error: str = "raise",
    ) -> dict[str, float]:
        """Loss and accuracy on labeled images.

        Args:
            images: uint8 array `(n, H, W)` or `(n, H, W, C)`, or a list of paths of
                files, with `labels`; or, without, what `fit` takes as labeled data.
            labels: Integers `(n,)` in [0, K), or None.
            batch_size: Images in one forward pass.
            verbose: 0 for silence, 1 for a progress bar.
            on_error: As for `predict`.

        Returns:
            `{"loss": mean cross-entropy in nats, "accuracy": in [0, 1]}`.

        Raises:
            TypeError: `images` are of a kind that holds none.
            ValueError: Images or labels are not usable, or several devices cannot share
                them evenly where the network was compiled with a loss of one's own.
        """
        self._check_use(batch_size, verbose)
        height, width, channels = self.image_shape
        with processes.ending_after_errors():
            data = labeled_source(
                images if labels is None else (images, labels),
                (height, width),
                channels,
                class_names=self.class_names,
                on_error=on_error,
                read_once=True,
                intensity_range=self.intensity_range,
                argument="images",
            )
        if data is not images:
            warn_of_skipped(data, "images")
        return self._evaluated(data, batch_size, verbose)

    def _check_use(self, batch_size: Any, verbose: Any) -> None:
        """Checks that it is trained, and the arguments that are not images."""
        _ = self.image_shape
        validation.check_integer("batch_size", batch_size, 1)
        validation.check_verbose(verbose)

    def _probabilities(
        self, source: ImageSource, batch_size: int, verbose: Any
    ) -> np.ndarray:
        network = self.serving_network
        return np.asarray(prediction.predict(network, source, batch_size, verbose))

    def _evaluated(
        self, data: LabeledImages, batch_size: int, verbose: Any
    ) -> dict[str, float]:
        return prediction.evaluate(self.serving_network, data, batch_size, verbose)

    def export(self, path: Any, format: str = "tf_saved_model") -> None:
        """Writes the network for serving; see `serving.export`.

        Args:
            path: For a SavedModel, a folder that is new or empty; for ONNX, a new file
                whose name ends in `.onnx`.
            format: `"tf_saved_model"` or `"onnx"`.
        """
        network = self.serving_network
        if self.class_names is None:
            raise RuntimeError("The network has no class names. Call `fit` first.")
        export.export_network(
            network.teacher, self.class_names, path, format, self.intensity_range
        )


def _some(images: ImageSource) -> np.ndarray:
    """A few images, evenly spaced."""
    count = min(len(images), TRIED)
    return images[np.linspace(0, len(images) - 1, count).astype(np.int64)]


def _own(argument: str, value: Any) -> Any:
    """A copy of a layer, so that two networks do not share its state."""
    is_layer = isinstance(value, keras.layers.Layer)
    return copied_layer(value, argument) if is_layer else value
