"""What every trainable classifier of the package shares: data, network, serving."""

import contextlib
import json
import secrets
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras import (
    augmentation,
    backbones,
    backend,
    export,
    memory,
    run_state,
    thresholds,
    validation,
)
from kdfixmatch_keras import batches as image_batches
from kdfixmatch_keras.allocator import freed_memory_kept
from kdfixmatch_keras.backend import devices, processes
from kdfixmatch_keras.batches import FixMatchBatches, ImageBatches
from kdfixmatch_keras.fixmatch import TEACHERS, FixMatch, check_strong_views
from kdfixmatch_keras.optimizers import build_optimizer
from kdfixmatch_keras.run_state import NOT_STARTED, RunState
from kdfixmatch_keras.sources import (
    ImageSource,
    LabeledImages,
    check_image_size,
    labeled_source,
    unlabeled_source,
)
from kdfixmatch_keras.training_watch import TrainingWatch

MIXED_PRECISION = ("auto", "float32", "mixed_float16", "mixed_bfloat16")


@dataclass(frozen=True)
class TrainingData:
    """The images of one `fit`, all of one shape.

    Attributes:
        labeled: Labeled images.
        unlabeled: Unlabeled images.
        validation: Labeled images to evaluate on after each epoch, or None.
    """

    labeled: LabeledImages
    unlabeled: ImageSource
    validation: LabeledImages | None


class ImageClassifier:
    """A classifier of images trained with the parts of this package.

    Subclasses say how: they implement `fit` and `serving_network`.

    Args:
        backbone: See `kdfixmatch_keras.backbones.build_network`.
        weights: As above.
        image_size: `(H, W)` to which images are resized; None keeps their own.
        embedding_dim: Size of the embedding before the logits.
        tau: See `FixMatch`, as are the next five.
        lambda_u: As above.
        weak_augmentation: As above.
        strong_augmentation: As above.
        teacher: As above.
        ema_decay: As above.
        threshold: `"fixed"`, `"flexmatch"`, `"freematch"`, `"softmatch"` or a layer;
            see `kdfixmatch_keras.thresholds`.
        distribution_alignment: Whether targets are aligned with the frequencies of
            the labels; see `DistributionAlignment`.
        strong_views: `"all"` or `"targeted"`; see `FixMatch`.
        batch_size: Labeled images in a batch, `B`.
        unlabeled_ratio: Unlabeled images for each labeled one, `mu`.
        optimizer: See `kdfixmatch_keras.optimizers.build_optimizer`.
        mixed_precision: True, False, `"auto"` (float16 on a GPU, float32 on a CPU and
            on several devices of TensorFlow),
            `"float32"`, `"mixed_float16"` or `"mixed_bfloat16"`.
        seed: Integer that fixes a run, or None.

    Attributes:
        class_names: Names of the `K` classes, or None before `fit`.
        used_seed: Seed of the last `fit` with a `run_dir`, drawn where `seed` is None.
        image_passes: What the last `fit` cost: how often an image went forward
            through a network, to train (which counts three times, for the way back),
            for a teacher's target or to be labeled.
    """

    def __init__(
        self,
        backbone: Any = "efficientnetb0",
        *,
        weights: Any = "imagenet",
        image_size: Sequence[int] | None = None,
        embedding_dim: int = 256,
        tau: float = 0.95,
        lambda_u: float = 1.0,
        weak_augmentation: Any = "flip_shift",
        strong_augmentation: Any = "randaugment",
        teacher: str = "ema",
        ema_decay: float = 0.999,
        threshold: Any = "fixed",
        distribution_alignment: bool = False,
        strong_views: str = "all",
        batch_size: int = 64,
        unlabeled_ratio: int = 7,
        optimizer: Any = None,
        mixed_precision: bool | str = "auto",
        seed: int | None = None,
    ) -> None:
        backbones.check_backbone(backbone, weights)
        self.backbone = backbone
        self.weights = weights
        self.image_size = check_image_size(image_size)
        self.embedding_dim = validation.check_integer("embedding_dim", embedding_dim, 1)
        self.tau = validation.check_fraction("tau", tau)
        self.lambda_u = validation.check_non_negative("lambda_u", lambda_u)
        # Made and thrown away: a name that is unknown, or a package that is missing,
        # must show here and not after an hour.
        augmentation.get_weak(weak_augmentation)
        augmentation.get_strong(strong_augmentation)
        self.weak_augmentation = weak_augmentation
        self.strong_augmentation = strong_augmentation
        self.teacher = validation.check_choice("teacher", teacher, TEACHERS)
        self.ema_decay = validation.check_number("ema_decay", ema_decay, 0, 1, "[0, 1)")
        self.threshold = thresholds.check(threshold, tau)
        self.distribution_alignment = validation.check_flag(
            "distribution_alignment", distribution_alignment
        )
        self.strong_views = check_strong_views(strong_views, self.teacher)
        self.batch_size = validation.check_integer("batch_size", batch_size, 1)
        self.unlabeled_ratio = validation.check_integer(
            "unlabeled_ratio", unlabeled_ratio, 1
        )
        if optimizer is not None:
            build_optimizer(optimizer, 1, pretrained=False)
        self.optimizer = optimizer
        if isinstance(mixed_precision, bool):
            mixed_precision = "mixed_float16" if mixed_precision else "float32"
        self.mixed_precision = validation.check_choice(
            "mixed_precision", mixed_precision, MIXED_PRECISION
        )
        self.seed = validation.check_seed(seed)
        self.class_names: list[str] | None = None
        self.used_seed: int | None = None
        self.image_passes = 0

    # Data

    # Other processes would wait for one that cannot read what they can.
    @processes.ending_after_errors()
    def load_data(
        self, labeled: Any, unlabeled: Any, validation_data: Any = None
    ) -> TrainingData:
        """Opens what the user passed, and checks that it belongs together.

        Raises:
            TypeError: An argument is of a kind that holds no images.
            ValueError: Images or labels are not usable; the message says which.
        """
        labeled_images = labeled_source(labeled, self.image_size)
        shape = labeled_images.images.image_shape
        unlabeled_images = unlabeled_source(unlabeled, self.image_size, shape[-1])
        validation_images = None
        if validation_data is not None:
            validation_images = labeled_source(
                validation_data,
                self.image_size,
                shape[-1],
                class_names=labeled_images.class_names,
                argument="validation_data",
            )
            _check_same_shape("validation_data", validation_images.images, shape)
        _check_same_shape("unlabeled", unlabeled_images, shape)
        return TrainingData(labeled_images, unlabeled_images, validation_images)

    # Networks

    def new_network(
        self,
        stage: str,
        data: TrainingData,
        *,
        network_class: type[FixMatch] = FixMatch,
        **options: Any,
    ) -> FixMatch:
        """An untrained network, with seeds of its own for each `stage`.

        Args:
            stage: Name of the network.
            data: Images it will be trained on.
            network_class: `FixMatch` or a subclass.
            **options: Arguments of `network_class` that differ from those that this
                classifier was made with.
        """
        seed = validation.derive_seed(self.seed, stage)
        class_distribution = None
        if self.distribution_alignment:
            counts = np.bincount(data.labeled.labels)
            class_distribution = counts / counts.sum()
        with _dtype_policy(self.mixed_precision) as policy, backbones.seeded(seed):
            student = backbones.build_network(
                self.backbone,
                data.labeled.images.image_shape,
                len(data.labeled.class_names),
                weights=self.weights,
                embedding_dim=self.embedding_dim,
                seed=seed,
                name=stage,
            )
            arguments = {
                "tau": self.tau,
                "lambda_u": self.lambda_u,
                "teacher": self.teacher,
                "ema_decay": self.ema_decay,
                "weak_augmentation": own_copy(self.weak_augmentation),
                "strong_augmentation": own_copy(self.strong_augmentation),
                "class_distribution": class_distribution,
                "threshold": own_copy(self.threshold),
                "num_unlabeled": len(data.unlabeled),
                "strong_views": self.strong_views,
                **options,
            }
            return network_class(
                student, seed=seed, name=f"fixmatch_{stage}", dtype=policy, **arguments
            )

    def steps_of_one_pass(self, data: TrainingData) -> int:
        """How many batches show each unlabeled image once."""
        return -(-len(data.unlabeled) // (self.batch_size * self.unlabeled_ratio))

    def train(
        self,
        network: FixMatch,
        data: TrainingData,
        *,
        epochs: int,
        steps_per_epoch: int | None,
        trusted_labels: np.ndarray | None = None,
        trusted_until: float = 1.0,
        labels_only: bool = False,
        callbacks: Sequence[Any] = (),
        verbose: Any = "auto",
        state: RunState | None = None,
    ) -> dict[str, list[float]]:
        """Trains `network` with Keras's `fit` and returns `{metric: [per epoch]}`.

        Without `steps_per_epoch`, an epoch shows each unlabeled image once. Trusted
        labels are shown for the first `trusted_until` of the steps. With a `state`, the
        training goes on where it was stopped.

        Raises:
            TrainingDiverged: A loss or a weight became NaN or infinite.

        Warns:
            UserWarning: The network learns nothing from the unlabeled images, takes
                them all for one class, or is no better than chance.
        """
        if steps_per_epoch is None:
            steps_per_epoch = self.steps_of_one_pass(data)
        seed = validation.derive_seed(self.seed, f"{network.name}/batches")
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31))
        batches = FixMatchBatches(
            data.labeled,
            None if labels_only else data.unlabeled,
            trusted_labels,
            batch_size=self.batch_size,
            unlabeled_ratio=self.unlabeled_ratio,
            steps_per_epoch=steps_per_epoch,
            seed=seed,
            trusted_steps=round(trusted_until * epochs * steps_per_epoch),
            sharing=devices.sharing(network),
        )
        optimizer = build_optimizer(
            self.optimizer,
            epochs * steps_per_epoch,
            pretrained=backbones.is_pretrained(self.backbone, self.weights),
        )
        network.compile(optimizer=optimizer)
        # A step that creates variables is traced a second time by TensorFlow.
        network.optimizer.build(network.trainable_variables)
        batch = network.passes_per_batch(
            self.batch_size, 0 if labels_only else batches.unlabeled_batch_size
        )
        self.image_passes += epochs * steps_per_epoch * batch
        done, history, finished = NOT_STARTED
        last: list[Any] = []
        keep: Any = None
        if state is not None:
            done, history, finished = state.restore(network)
            processes.check_same(
                "checkpoints", 2 * done + finished, processes.ONE_FOLDER
            )
            if finished:
                return history
            last = [state.callback(network, epochs, history)]
            keep = state.save_diverged
        watch = TrainingWatch(network, data.labeled, keep)
        with devices.shared_by_us(), freed_memory_kept():
            added = network.fit(
                backend.feed(batches),
                epochs=epochs,
                initial_epoch=done,
                shuffle=False,
                validation_data=None
                if data.validation is None
                else backend.feed(
                    ImageBatches(
                        data.validation.images,
                        data.validation.labels,
                        sharing=devices.sharing(network),
                    )
                ),
                # Before callbacks that could evaluate or write what has diverged.
                callbacks=[batches.epoch_callback(), watch, *callbacks, *last],
                verbose=verbose,
            )
        return {
            name: [*history.get(name, []), *map(float, values)]
            for name, values in added.history.items()
        }

    def _check_devices(self) -> None:
        """Checks that a training can run on the devices that it would run on."""
        devices.check(self.batch_size)
        devices.check_replicas(resolve_precision(self.mixed_precision), self.optimizer)

    @contextlib.contextmanager
    def _run_state(
        self, run_dir: Any, data: TrainingData, fit: dict[str, Any]
    ) -> Iterator[RunState | None]:
        """The state of this training in a folder, or None without one."""
        # It reads what this class is.
        from kdfixmatch_keras.run_identity import identify

        own_seed, kept = self.seed, "nothing is kept without `run_dir`"
        with contextlib.ExitStack() as stack:
            stack.callback(setattr, self, "seed", own_seed)
            state = None
            if run_dir is not None:
                kept = "it goes on from the last epoch that `run_dir` keeps"
            stack.enter_context(
                processes.ending_together(f"Start all of them again: {kept}.")
            )
            if run_dir is not None or processes.are_several():
                identity = identify(self, data, fit)
            if processes.are_several():
                same = json.dumps([identity, own_seed], sort_keys=True)
                processes.check_same(
                    "arguments or images",
                    zlib.crc32(same.encode()) >> 1,
                    "All must call `fit` alike.",
                )
            if run_dir is not None:
                state = stack.enter_context(
                    run_state.opened_together(run_dir, identity, self.seed)
                )
                self.seed = self.used_seed = state.seed
            elif own_seed is None and processes.are_several():
                (self.seed,) = processes.of_first([secrets.randbelow(2**31)])
            yield state

    def label(
        self, network: FixMatch, data: TrainingData, verbose: Any = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels and embeds every unlabeled image once, in index order, as it is.

        Returns:
            Probabilities, float32 `(N, K)`, and embeddings `(N, embedding_dim)`, of the
            teacher of `network`.

        Raises:
            MemoryError: They do not fit into memory.
        """
        with memory.needed_for(
            f"Labeling {len(data.unlabeled):,} images with embeddings of "
            f"{self.embedding_dim:,} dimensions",
            "A smaller `embedding_dim` or `image_size` needs less.",
        ):
            outputs = image_batches.predict(
                network.embedder(), data.unlabeled, verbose=verbose
            )
        self.image_passes += len(data.unlabeled)
        probabilities = FixMatch.probabilities(outputs["logits"])
        return keras.ops.convert_to_numpy(probabilities), outputs["embeddings"]

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

    # Use

    def predict(
        self, images: Any, batch_size: int = 256, verbose: Any = 0
    ) -> np.ndarray:
        """Class probabilities of images.

        Args:
            images: uint8 array `(n, H, W)` or `(n, H, W, C)`, a folder, or a
                `tf.data.Dataset` of images. Other sizes are resized to that of the
                training images.
            batch_size: Images in one forward pass.
            verbose: 0 for silence, 1 for a progress bar.

        Returns:
            float32 probabilities `(n, K)`, columns in the order of `class_names`,
            rows in the order of the images (files: sorted by name).
        """
        network = self.serving_network
        validation.check_integer("batch_size", batch_size, 1)
        validation.check_verbose(verbose)
        with processes.ending_after_errors():
            source = self._open_images(network, images)
        return np.asarray(image_batches.predict(network, source, batch_size, verbose))

    def evaluate(
        self, images: Any, labels: Any = None, batch_size: int = 256, verbose: Any = 0
    ) -> dict[str, float]:
        """Loss and accuracy on labeled images.

        Args:
            images: uint8 array `(n, H, W)` or `(n, H, W, C)` with `labels`; or,
                without, what `fit` takes as labeled data.
            labels: Integers `(n,)` in [0, K), or None.
            batch_size: Images in one forward pass.
            verbose: 0 for silence, 1 for a progress bar.

        Returns:
            `{"loss": mean cross-entropy in nats, "accuracy": in [0, 1]}`.

        Raises:
            TypeError: `images` are of a kind that holds none.
            ValueError: Images or labels are not usable, or several devices cannot share
                them evenly where the network was compiled with a loss of one's own.
        """
        network = self.serving_network
        validation.check_integer("batch_size", batch_size, 1)
        validation.check_verbose(verbose)
        height, width, channels = network.student.input_shape[1:]
        with processes.ending_after_errors():
            data = labeled_source(
                images if labels is None else (images, labels),
                (height, width),
                channels,
                class_names=self.class_names,
                read_once=True,
                argument="images",
            )
        sharing = devices.sharing(network)
        own_loss = network.compiled and network.loss is not None
        if own_loss and sharing.padded(len(data.images)) != len(data.images):
            raise ValueError(
                f"`images` must be a multiple of {sharing.devices}, the number of "
                "devices, for a loss that was given to `compile`. Received: "
                f"{len(data.images)} images"
            )
        batches = ImageBatches(
            data.images, data.labels, batch_size=batch_size, sharing=sharing
        )
        with devices.shared_by_us(), processes.ending_together(processes.AGAIN):
            results = network.evaluate(
                backend.feed(batches), return_dict=True, verbose=verbose
            )
        return {name: float(value) for name, value in results.items()}

    def export(self, path: Any, format: str = "tf_saved_model") -> None:
        """Writes the network for serving; see `export.export_network`.

        Args:
            path: For a SavedModel, a folder that is new or empty; for ONNX, a new file
                whose name ends in `.onnx`.
            format: `"tf_saved_model"` or `"onnx"`.
        """
        network = self.serving_network
        if self.class_names is None:
            raise RuntimeError("The network has no class names. Call `fit` first.")
        export.export_network(network.teacher, self.class_names, path, format)

    @staticmethod
    def _open_images(network: FixMatch, images: Any) -> ImageSource:
        height, width, channels = network.student.input_shape[1:]
        return unlabeled_source(
            images, (height, width), channels, read_once=True, argument="images"
        )


def _check_same_shape(
    argument: str, source: ImageSource, shape: tuple[int, int, int]
) -> None:
    if source.image_shape != shape:
        raise ValueError(
            f"`{argument}` must have images of the shape of `labeled`, {shape}. "
            f"Received: {source.image_shape}. Pass image_size=(H, W) to resize all "
            "images to one size."
        )


def own_copy(layer: Any) -> Any:
    """A copy of a layer, so that two networks do not share its state."""
    if not isinstance(layer, keras.layers.Layer):
        return layer
    return type(layer).from_config(layer.get_config())


def resolve_precision(name: str) -> str:
    """The dtype policy that `"auto"` stands for on this machine; others as they are."""
    if name != "auto":
        return name
    half = backend.has_gpu() and not devices.has_replicas()
    return "mixed_float16" if half else "float32"


@contextlib.contextmanager
def _dtype_policy(name: str) -> Iterator[str]:
    """Sets Keras's dtype policy while networks are built, and puts it back."""
    name = resolve_precision(name)
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield name
    finally:
        keras.config.set_dtype_policy(previous)
