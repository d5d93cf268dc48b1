"""KD-FixMatch: the three steps of the paper behind `fit`."""

from collections.abc import Mapping, Sequence
from typing import Any

from kdfixmatch_keras import callbacks as stage_callbacks
from kdfixmatch_keras import (
    checkpoints,
    losses,
    thresholds,
    validation,
)
from kdfixmatch_keras.backend import devices, processes
from kdfixmatch_keras.classifier import ImageClassifier, TrainingData, own_copy
from kdfixmatch_keras.fixmatch import FixMatch
from kdfixmatch_keras.run_state import RunState
from kdfixmatch_keras.trusted_set import TrustedSet
from kdfixmatch_keras.trusted_set_builder import TrustedSetBuilder

# How much of the outer network's weights the inner network starts with.
INNER_INITS = {"fresh": 0.0, "shrunk": 0.5, "outer": 1.0}


def default_outer_epochs(epochs: int) -> int:
    """Epochs of the outer network where `fit` is told those of the inner one alone."""
    return -(-epochs // 2)


class KDFixMatch(ImageClassifier):
    """Trains an image classifier on a few labels and many unlabeled images.

    `fit` follows the published description in three steps:

    1. An outer network is trained with FixMatch.
    2. Its labels of the unlabeled images are kept where it is confident *and* a
       clustering of its embeddings agrees: the trusted set.
    3. An inner network is trained with FixMatch on labels, unlabeled images and
       trusted set, with a robust loss: trusted labels stand in wherever it is not
       confident itself.

    Example:
    ```python
    model = KDFixMatch(backbone="efficientnetb0", seed=0)
    model.fit("photos/labeled", "photos/unlabeled", epochs=20)
    model.predict("photos/new")
    ```

    Args:
        backbone: Name in `keras.applications` in lower case, `"small_cnn"`,
            `"wide_resnet_28_2"`, a `keras.Model` or a callable
            `(input_shape) -> keras.Model`; see `backbones.build_network`.
        weights: None, `"imagenet"` or the path of a weights file; for names in
            `keras.applications` only, others ignore `"imagenet"`.
        image_size: `(H, W)` to which images are resized; None keeps their own.
        embedding_dim: Size of the embedding before the logits.
        tau: Confidence from which the outer network's own label counts, in [0, 1].
        tau_select: Confidence from which a label can become trusted, in [0, 1].
        tau_inner: As `tau`, for the inner network.
        unlabeled_loss: Loss of the inner network on unlabeled images: a name in
            `losses` or a `keras.losses.Loss`, which must take integer targets and
            logits. The outer network uses cross-entropy.
        lambda_u: Weight of the unlabeled term, at least 0.
        clustering: `"dec"`, `"kmeans"`, `"spectral"`, an object with
            `fit_predict(embeddings)`, or None to trust whatever is confident.
        assignment: `"hungarian"` or `"majority"`, how clusters get their class; see
            `TrustedSetBuilder`.
        clusters_per_class: Clusters for each class, at least 1. With more than one,
            `assignment` should be `"majority"`: those that the Hungarian assignment
            leaves over name no class. A clustering object has its own number.
        trusted_until: Share of the inner network's training, in [0, 1], in which
            trusted labels stand in. Those that are wrong would be learned to the end
            at 1, as in the paper.
        weak_augmentation: `"flip_shift"`, `"shift"`, `"none"` or a Keras layer.
        strong_augmentation: `"randaugment"`, `"keras_cv"` or a Keras layer.
        teacher: `"ema"` or `"shared"`; see `FixMatch`.
        ema_decay: Decay of the teacher's average per step, in [0, 1).
        threshold: Whose own labels count in the outer network: `"fixed"` (those of
            confidence `tau`), `"flexmatch"`, `"freematch"`, `"softmatch"` or a layer;
            see `kdfixmatch_keras.thresholds`. A strict one makes few labels that can
            be trusted wrong.
        inner_threshold: As `threshold`, for the inner network and with `tau_inner`,
            where there is no trusted label. `"fixed"` is the paper.
        distribution_alignment: Whether the targets of both networks are aligned with
            the frequencies of the labels, which must then be those of the unlabeled
            images; see `DistributionAlignment`.
        strong_views: Which unlabeled images the students see in training: `"all"`, or
            `"targeted"`, those that have a target, for less work; see `FixMatch`.
        batch_size: Labeled images in a batch, a multiple of the number of devices that
            share it.
        unlabeled_ratio: Unlabeled images in a batch for each labeled one.
        optimizer: Name or Keras optimizer; None for the reference set-up, see
            `optimizers.build_optimizer`. Pass one with a small learning rate if
            `backbone` is a trained model of your own.
        mixed_precision: `"auto"` (float16 on a GPU, float32 on a CPU), True, False,
            `"float32"`, `"mixed_float16"` or `"mixed_bfloat16"`.
        inner_init: What the inner network starts from. `"fresh"`: what the outer
            network started from, `weights` or random ones, as in the paper.
            `"outer"`: the outer network's teacher. `"shrunk"`: half-way between the
            two, after Ash and Adams: what has been learned stays within reach, and
            its mistakes are not settled.
        seed: Integer of at least 0 that fixes a run, bit for bit on a CPU; or None.

    Attributes:
        outer: `FixMatch`, the outer network, or None before `fit`.
        inner: `FixMatch`, the inner network, which predicts; or None. It is a
            `keras.Model` like any other: `inner.compile(...)` and `inner.fit(images,
            labels)` train its student on more labels, and its teacher follows.
        trusted_set: `TrustedSet`, or None.
        history: `{"outer" | "inner": {metric: [per epoch]}}`.
        class_names: Names of the `K` classes, or None.
        unlabeled_names: File names of the unlabeled images, in the order of their
            indices, where they came from a folder; else None.

    Raises:
        ValueError: An argument is out of range, or a name is unknown.
        TypeError: An argument is of the wrong kind.

    Reference:
        - [Wang et al., 2023](https://arxiv.org/abs/2309.05826)
        - [Ash and Adams, 2020](https://arxiv.org/abs/1910.08475), section 4, for
          `inner_init="shrunk"`
    """

    def __init__(
        self,
        backbone: Any = "efficientnetb0",
        *,
        weights: Any = "imagenet",
        image_size: Sequence[int] | None = None,
        embedding_dim: int = 256,
        tau: float = 0.95,
        tau_select: float = 0.80,
        tau_inner: float = 0.95,
        unlabeled_loss: Any = "sce",
        lambda_u: float = 1.0,
        clustering: Any = "dec",
        assignment: str = "hungarian",
        clusters_per_class: int = 1,
        trusted_until: float = 0.5,
        weak_augmentation: Any = "flip_shift",
        strong_augmentation: Any = "randaugment",
        teacher: str = "ema",
        ema_decay: float = 0.999,
        threshold: Any = "fixed",
        inner_threshold: Any = "flexmatch",
        distribution_alignment: bool = False,
        strong_views: str = "all",
        batch_size: int = 64,
        unlabeled_ratio: int = 7,
        optimizer: Any = None,
        mixed_precision: bool | str = "auto",
        inner_init: str = "shrunk",
        seed: int | None = None,
    ) -> None:
        super().__init__(
            backbone,
            weights=weights,
            image_size=image_size,
            embedding_dim=embedding_dim,
            tau=tau,
            lambda_u=lambda_u,
            weak_augmentation=weak_augmentation,
            strong_augmentation=strong_augmentation,
            teacher=teacher,
            ema_decay=ema_decay,
            threshold=threshold,
            distribution_alignment=distribution_alignment,
            strong_views=strong_views,
            batch_size=batch_size,
            unlabeled_ratio=unlabeled_ratio,
            optimizer=optimizer,
            mixed_precision=mixed_precision,
            seed=seed,
        )
        self.tau_select = validation.check_fraction("tau_select", tau_select)
        self.tau_inner = validation.check_fraction("tau_inner", tau_inner)
        self.inner_threshold = thresholds.check(
            inner_threshold, self.tau_inner, argument="inner_threshold"
        )
        losses.get(unlabeled_loss, argument="unlabeled_loss")
        self.unlabeled_loss = unlabeled_loss
        # Made and thrown away: what it refuses is refused before any training.
        TrustedSetBuilder(clustering=clustering, assignment=assignment)
        self.clustering = clustering
        self.assignment = assignment
        self.clusters_per_class = validation.check_integer(
            "clusters_per_class", clusters_per_class, 1
        )
        self.trusted_until = validation.check_fraction("trusted_until", trusted_until)
        self.inner_init = validation.check_choice("inner_init", inner_init, INNER_INITS)
        # `Any`, or every user of a type checker would have to rule out None.
        self.outer: Any = None
        self.inner: Any = None
        self.trusted_set: Any = None
        self.history: dict[str, dict[str, list[float]]] = {}
        self.unlabeled_names: list[str] | None = None
        self.unsaved_arguments: list[str] = []

    def fit(
        self,
        labeled: Any,
        unlabeled: Any,
        validation_data: Any = None,
        epochs: int = 100,
        outer_epochs: int | None = None,
        steps_per_epoch: int | None = None,
        callbacks: Sequence[Any] | Mapping[str, Sequence[Any]] | None = None,
        verbose: Any = "auto",
        outer: FixMatch | None = None,
        run_dir: Any = None,
    ) -> dict[str, dict[str, list[float]]]:
        """Trains the outer network, selects the trusted set, trains the inner one.

        Args:
            labeled: Tuple `(x, y)` of a uint8 array `(n, H, W)` or `(n, H, W, C)`
                and integers `(n,)`; a `tf.data.Dataset` of `(image, label)`; a
                folder with one sub-folder per class; or `LabeledImages`, as
                `datasets.load` gives them.
            unlabeled: uint8 array or memory map, a `tf.data.Dataset` of images, or
                a folder, flat or nested.
            validation_data: As `labeled`; evaluated after each epoch. It chooses
                nothing: the last weights are kept.
            epochs: Epochs of the inner network.
            outer_epochs: Epochs of the outer network; None for half as many, rounded
                up. The paper has as many as `epochs`.
            steps_per_epoch: Batches in an epoch; None for one pass over the
                unlabeled images.
            callbacks: Keras callbacks, called in both stages; or a dictionary of such
                lists for `"outer"` and `"inner"`. In both stages, `EarlyStopping`
                starts anew, `CSVLogger` appends, and `TensorBoard` writes to
                `log_dir/outer` and `log_dir/inner`.
            verbose: As in `keras.Model.fit`; 0 is silent.
            outer: A network trained before, such as `baselines.FixMatch(...).network`
                or the `outer` of another model; the first step is then left out. It
                must be of the same architecture, unless `inner_init` is `"fresh"`.
            run_dir: Folder that keeps the state of the training after each epoch.
                Stopped at any moment and called again with the same arguments and
                images, `fit` goes on and ends with the same bits; see `run_state`.
                What callbacks remember is not kept. A `seed` of None is drawn once and
                kept. None keeps nothing.

        Returns:
            `history`: `{"outer" | "inner": {metric: [per epoch]}}`.

        Raises:
            TypeError: An argument is of the wrong kind.
            ValueError: The images or labels are not usable, a number is out of
                range, or `run_dir` is that of another training. Nothing has been
                trained then.
            RuntimeError: Another process is training in `run_dir`; the devices are
                shared in a way that is not known; or, of several processes, another has
                ended.
            OSError: `run_dir` cannot be written, or the disk is full. What was written
                is intact, and the same call goes on from there.
            MemoryError: The labeling or the clustering ran out of memory; likewise.
            TrainingDiverged: A loss or a weight became NaN or infinite; the message
                says in which step, and the likely cause.

        Warns:
            UserWarning: No unlabeled image had a target for an epoch; targets collapse
                onto one class; a network is no better than chance on the labeled
                images; or the trusted set is weak, see `TrustedSetBuilder`.
        """
        if self.unsaved_arguments:
            raise RuntimeError(
                "This model was loaded, and its own code was not saved with it: "
                f"{', '.join(self.unsaved_arguments)}. To train again, make a "
                "KDFixMatch with these arguments."
            )
        epochs = validation.check_integer("epochs", epochs, 1)
        if outer is not None and outer_epochs is not None:
            raise ValueError(
                "`outer_epochs` must be None where `outer` is given, as it is not "
                f"trained again. Received: outer_epochs={outer_epochs!r}"
            )
        if outer_epochs is None:
            outer_epochs = default_outer_epochs(epochs)
        outer_epochs = validation.check_integer("outer_epochs", outer_epochs, 1)
        steps_per_epoch = validation.check_steps(steps_per_epoch)
        options: dict[str, Any] = {
            "steps_per_epoch": steps_per_epoch,
            "verbose": validation.check_verbose(verbose),
        }
        if run_dir is not None:
            run_dir = validation.check_output("run_dir", run_dir)
        callbacks = stage_callbacks.check(callbacks)
        self._check_devices()
        data = self.load_data(labeled, unlabeled, validation_data)
        if outer is not None:
            self._check_outer(outer, self._new_inner(data))
        identity = {
            "epochs": epochs,
            "outer_epochs": outer_epochs,
            "steps_per_epoch": steps_per_epoch,
            "outer": outer,
        }
        with self._run_state(run_dir, data, identity) as state:
            options["state"] = state
            say = _Narrator(verbose)
            self.class_names = data.labeled.class_names
            self.unlabeled_names = data.unlabeled.names
            self.inner, self.trusted_set, self.history = None, None, {}
            self.image_passes = 0

            say(
                f"Outer network: {len(data.labeled.images)} labeled and "
                f"{len(data.unlabeled)} unlabeled images, "
                f"{len(self.class_names)} classes"
            )
            append = state is not None and not state.is_new
            if outer is None:
                self.outer = self.new_network("outer", data)
                with stage_callbacks.for_stage(callbacks, "outer", append) as chosen:
                    self.history["outer"] = self.train(
                        self.outer,
                        data,
                        epochs=outer_epochs,
                        callbacks=chosen,
                        **options,
                    )
                append = True
            else:
                self.outer = outer
                self.history["outer"] = {}

            self.trusted_set = self._select(data, state, verbose, say)

            say("Inner network")
            inner = self._new_inner(data)
            if self.inner_init != "fresh":
                inner.start_from(self.outer, INNER_INITS[self.inner_init])
            with stage_callbacks.for_stage(callbacks, "inner", append) as chosen:
                self.history["inner"] = self.train(
                    inner,
                    data,
                    epochs=epochs,
                    trusted_labels=self.trusted_set.dense_labels(),
                    trusted_until=self.trusted_until,
                    callbacks=chosen,
                    **options,
                )
            self.inner = inner
        return self.history

    def _new_inner(self, data: TrainingData) -> FixMatch:
        return self.new_network(
            "inner",
            data,
            tau=self.tau_inner,
            threshold=own_copy(self.inner_threshold),
            unlabeled_loss=self.unlabeled_loss,
        )

    def _check_outer(self, outer: Any, inner: FixMatch) -> None:
        if not isinstance(outer, FixMatch):
            raise TypeError(
                "`outer` must be a FixMatch network. "
                f"Received: outer of type {type(outer).__name__}"
            )
        found, wanted = (
            (*network.student.input_shape[1:], network.student.output_shape[-1])
            for network in (outer, inner)
        )
        if found != wanted:
            raise ValueError(
                f"`outer` must take images of shape {wanted[:3]} and know {wanted[3]} "
                f"classes. Received: {found[:3]} and {found[3]}"
            )
        if self.inner_init == "fresh":
            return
        shapes = [
            [weight.shape for weight in network.student.weights]
            for network in (outer, inner)
        ]
        if shapes[0] != shapes[1]:
            raise ValueError(
                "`outer` must have the architecture of this model's networks, as "
                f"inner_init={self.inner_init!r} starts from its weights. Received: "
                "weights of other shapes. Pass the same `backbone` and "
                "`embedding_dim`, or inner_init='fresh'."
            )

    def _select(
        self, data: TrainingData, state: RunState | None, verbose: Any, say: Any
    ) -> TrustedSet:
        """Selects the trusted set, unless that had been done when `fit` was stopped."""
        kept = None if state is None else state.load_trusted_set()
        processes.check_same("trusted sets", kept is not None, processes.ONE_FOLDER)
        if kept is not None:
            self.image_passes += len(data.unlabeled)
            return kept
        say("Trusted set: labeling the unlabeled images")
        probabilities, embeddings = self.label(self.outer, data, verbose)
        confident = int((probabilities.max(axis=1) >= self.tau_select).sum())
        say(
            f"Trusted set: clustering {confident} confident of {len(embeddings)} images"
        )
        builder = TrustedSetBuilder(
            tau_select=self.tau_select,
            clustering=self.clustering,
            assignment=self.assignment,
            num_clusters=self.clusters_per_class * probabilities.shape[1],
            seed=validation.derive_seed(self.seed, "clustering"),
        )
        trusted_set = processes.trusted_set_of_first(
            devices.on_one(
                lambda: builder.build(
                    probabilities, embeddings, overwrite_embeddings=True
                )
            )
        )
        say(
            f"Trusted set: {trusted_set.num_confident} of {len(data.unlabeled)} "
            f"labels are confident, {len(trusted_set)} of them are trusted"
        )
        if state is not None:
            state.save_trusted_set(trusted_set)
        return trusted_set

    @property
    def serving_network(self) -> FixMatch:
        """The inner network."""
        return super().serving_network if self.inner is None else self.inner

    def save(self, path: Any) -> None:
        """Writes both networks, the trusted set and the settings.

        Args:
            path: A file name ending in `.zip`, or a folder. It is replaced if it
                holds a saved model, and refused if it holds anything else.

        Raises:
            RuntimeError: Nothing has been trained yet.
            TypeError: `path` is no path.
            ValueError: Something else stands at `path`.
            OSError: The disk does not take it. What stood at `path` is intact.
        """
        checkpoints.save(self, path)

    @classmethod
    def load(cls, path: Any) -> "KDFixMatch":
        """Reads what `save` wrote. No pickled code is run.

        Raises:
            ValueError: `path` does not hold a saved model.
        """
        model: KDFixMatch = checkpoints.load(cls, path)
        return model


class _Narrator:
    """Prints a line for each stage, unless the user wants silence."""

    def __init__(self, verbose: Any) -> None:
        self.silent = verbose == 0

    def __call__(self, line: str) -> None:
        if not self.silent:
            print(line, flush=True)
