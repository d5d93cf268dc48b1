"""KD-FixMatch: the three steps of the paper behind `fit`."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from kdfixmatch_keras import losses, targets
from kdfixmatch_keras.backbones.outer import check_outer
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.classifier import ImageClassifier, Settings
from kdfixmatch_keras.fixmatch import FixMatch
from kdfixmatch_keras.serving import saving
from kdfixmatch_keras.training import start, timing
from kdfixmatch_keras.training.data import TrainingData
from kdfixmatch_keras.training.plan import Plan
from kdfixmatch_keras.training.session import Session
from kdfixmatch_keras.trusted.builder import TrustedSetBuilder
from kdfixmatch_keras.trusted.trusted_set import TrustedSet

# How much of the outer network's weights the inner network starts with.
INNER_INITS = {"fresh": 0.0, "shrunk": 0.5, "outer": 1.0}


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
        backbone: See `ImageClassifier`.
        tau_select: Confidence from which a label can become trusted, in [0, 1].
        tau_inner: As `tau`, for the inner network.
        inner_threshold: As `threshold`, for the inner network and with `tau_inner`,
            where there is no trusted label. `"fixed"` is the paper.
        unlabeled_loss: Loss of the inner network on unlabeled images: a name in
            `losses` or a `keras.losses.Loss`, which must take integer targets and
            logits. The outer network uses cross-entropy.
        clustering: `"dec"`, `"kmeans"`, `"spectral"`, an object with
            `fit_predict(embeddings)`, or None to trust whatever is confident.
        assignment: `"hungarian"` or `"majority"`; see `TrustedSetBuilder`.
        clusters_per_class: Clusters for each class, at least 1. With more than one,
            `assignment` should be `"majority"`: those that the Hungarian assignment
            leaves over name no class. A clustering object has its own number.
        trusted_until: Share of the inner network's training, in [0, 1], in which
            trusted labels stand in. At 1, as in the paper, wrong ones are learned to
            the end.
        inner_init: What the inner network starts from. `"fresh"`: what the outer one
            started from, `weights` or random ones, as in the paper. `"outer"`: the
            outer network's teacher. `"shrunk"`: half-way between the two, after Ash and
            Adams: what was learned stays within reach, its mistakes are not settled.
        outer_backbone: Another, usually larger network for the outer stage: it teaches,
            the small one is served. What `pretrained` and `pixels` say of `backbone` is
            found out of it. Needs `inner_init="fresh"` and `finetune="all"`.
        **settings: The other arguments of `ImageClassifier`: `weights`, `image_size`,
            `batch_size`, `seed` and more. A strict `threshold` of the outer network
            makes few labels that can be trusted wrong.

    Attributes:
        outer: `FixMatch`, the outer network, or None before `fit`.
        inner: `FixMatch`, the inner network, which predicts; or None. It is a
            `keras.Model` like any other: `inner.compile(...)` and `inner.fit(images,
            labels)` train its student on more labels, and its teacher follows.
        trusted_set: `TrustedSet`, or None.
        history: `{"outer" | "inner": {metric: [per epoch]}}`.
        unlabeled_names: File names of the unlabeled images by index, or None.

    Raises:
        ValueError: An argument is out of range, or a name is unknown.
        TypeError: An argument is of the wrong kind.

    Reference:
        - [Wang et al., 2023](https://arxiv.org/abs/2309.05826)
        - [Ash and Adams, 2020](https://arxiv.org/abs/1910.08475), section 4
    """

    def __init__(
        self,
        backbone: Any = "efficientnetb0",
        *,
        tau_select: float = 0.80,
        tau_inner: float = 0.95,
        inner_threshold: Any = "flexmatch",
        unlabeled_loss: Any = "sce",
        clustering: Any = "dec",
        assignment: str = "hungarian",
        clusters_per_class: int = 1,
        trusted_until: float = 0.5,
        inner_init: str = "shrunk",
        outer_backbone: Any = None,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(backbone, **settings)
        # Made and thrown away: what it refuses is refused before any training.
        TrustedSetBuilder(tau_select, clustering, assignment)
        self.tau_select = float(tau_select)
        self.tau_inner = validation.check_fraction("tau_inner", tau_inner)
        self.inner_threshold = targets.check(
            inner_threshold, self.tau_inner, argument="inner_threshold"
        )
        losses.get(unlabeled_loss, argument="unlabeled_loss")
        self.unlabeled_loss = unlabeled_loss
        self.clustering = clustering
        self.assignment = assignment
        self.clusters_per_class = validation.check_integer(
            "clusters_per_class", clusters_per_class, 1
        )
        self.trusted_until = validation.check_fraction("trusted_until", trusted_until)
        self.inner_init = validation.check_choice("inner_init", inner_init, INNER_INITS)
        self.outer_backbone = check_outer(
            outer_backbone, self.weights, inner_init, self.finetune
        )
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
        epochs: int | None = None,
        outer_epochs: int | None = None,
        steps_per_epoch: int | None = None,
        minutes: float | None = None,
        callbacks: Sequence[Any] | Mapping[str, Sequence[Any]] | None = None,
        verbose: Any = "auto",
        outer: FixMatch | None = None,
        run_dir: Any = None,
        on_error: str = "raise",
        continue_from: Any = None,
    ) -> dict[str, dict[str, list[float]]]:
        """Trains the outer network, selects the trusted set, trains the inner one.

        A trained model stays what it is until the new one is ready.

        Args:
            labeled: Tuple `(x, y)` of a uint8 array `(n, H, W)` or `(n, H, W, C)`, or a
                list of paths, and integers `(n,)`; a `tf.data.Dataset` of `(image,
                label)`; a folder with a sub-folder per class; or `LabeledImages`.
            unlabeled: uint8 array or memory map, a `tf.data.Dataset` of images, a
                folder, flat or nested, or a list of paths.
            validation_data: As `labeled`; evaluated after each epoch, chooses nothing.
            epochs: Epochs of the inner network; None for 100.
            outer_epochs: Those of the outer one; None for half as many, rounded up.
            steps_per_epoch: Batches in an epoch; None for one pass over `unlabeled`.
            minutes: How long all may take, in place of the three above: a few steps are
                measured, and epochs and steps that fit are chosen and said.
            callbacks: Keras callbacks, called in both stages; or a dictionary of lists
                for `"outer"` and `"inner"`. In both, `EarlyStopping` starts anew,
                `CSVLogger` appends, `TensorBoard` has a folder a stage in `log_dir`.
                One that sets the learning rate needs an `optimizer` with a number.
            verbose: As in `keras.Model.fit`; 0 is silent.
            outer: A network trained before, such as `baselines.FixMatch(...).network`,
                in place of the first step; alike, unless `inner_init` is `"fresh"`.
            run_dir: Folder that keeps the state of the training after each epoch.
                Stopped at any moment and called again with the same arguments and
                images, `fit` goes on and ends with the same bits. A drawn `seed` and
                what `minutes` came to are kept, what callbacks remember is not.
            on_error: `"raise"`, or `"skip"` to leave out files that cannot be read.
            continue_from: A trained `KDFixMatch`, or the path of a saved one or a run,
                in place of `weights` and `inner_init`: both networks start from its
                own, whose classes, matched by name, must all be among the labels.
                Optimizers, thresholds and alignment start anew.

        Returns:
            `history`: `{"outer" | "inner": {metric: [per epoch]}}`.

        Raises:
            TypeError: An argument is of the wrong kind.
            ValueError: The images or labels are not usable, a number is out of range,
                or `run_dir` is that of another training. Nothing has been trained then.
            RuntimeError: Another process trains in `run_dir`, or one of several has
                ended; devices are shared in a way that is not known; or the model was
                loaded, and code of your own was not saved with it.
            OSError: `run_dir` cannot be written, or the disk is full. What was written
                is intact, and the same call goes on from there.
            MemoryError: The labeling or the clustering ran out of memory; likewise.
            TrainingDiverged: A loss or a weight became NaN or infinite.

        Warns:
            UserWarning: No unlabeled image had a target for an epoch; targets collapse
                onto one class; a network is no better than chance on the labeled
                images; or the trusted set is weak.
        """
        saving.check_can_train(self)
        plan = Plan(
            *(epochs, steps_per_epoch, callbacks, verbose, run_dir),
            has_stages=True,
            outer_epochs=outer_epochs,
            is_outer_given=outer is not None,
            minutes=minutes,
        )
        self.check_training(plan, validation_data)
        data = self.load_data(labeled, unlabeled, validation_data, on_error)
        known = start.opened(self, continue_from, data, outer)
        plan = timing.in_steps(self, plan, data)
        of_fit = {"outer": outer, "continue_from": known.identity()}
        of_fit |= {"outer_epochs": plan.outer_epochs}
        with self.training(data, plan, **of_fit) as training:
            plan.say(f"Outer network: {data}")
            history: dict[str, Any] = {"outer": {}}
            if outer is None:
                outer = known.of(self.new_outer(data, training.seed))
                history["outer"] = training.fit(outer, plan.outer_epochs, stage="outer")
            # What there is already, unless that is a whole model.
            new = self if self.inner is None else copy.copy(self)
            new.outer, new.history = outer, history
            new.trusted_set = training.select_once(
                outer, lambda *found: self._select(training, *found)
            )

            plan.say("Inner network")
            inner = known.of(self.new_inner(data, training.seed))
            if not known and self.inner_init != "fresh":
                inner.start_from(outer, INNER_INITS[self.inner_init])
            history["inner"] = training.fit(
                inner,
                plan.epochs,
                stage="inner",
                trusted_labels=new.trusted_set.dense_labels(),
                trusted_until=self.trusted_until,
            )
            new.inner, new.unlabeled_names = inner, data.unlabeled.names
            vars(self).update(vars(new))
        return self.history

    def _select(self, training: Session, *labeled: Any) -> TrustedSet:
        """Selects which labels to trust, given probabilities and embeddings."""
        probabilities, embeddings = labeled
        confident = int((probabilities.max(axis=1) >= self.tau_select).sum())
        training.plan.say(
            f"Trusted set: clustering {confident} confident of {len(embeddings)} images"
        )
        builder = TrustedSetBuilder(
            tau_select=self.tau_select,
            clustering=self.clustering,
            assignment=self.assignment,
            num_clusters=self.clusters_per_class * probabilities.shape[1],
            seed=validation.derive_seed(training.seed, "clustering"),
        )
        return builder.build(probabilities, embeddings, overwrite_embeddings=True)

    def new_outer(self, data: TrainingData, seed: int | None) -> FixMatch:
        """An untrained outer network; see `new_network`."""
        return self.new_network("outer", data, seed, backbone=self.outer_backbone)

    def new_inner(self, data: TrainingData, seed: int | None) -> FixMatch:
        """An untrained inner network, before it starts from the outer one."""
        return self.new_network(
            "inner",
            data,
            seed,
            tau=self.tau_inner,
            threshold=self.inner_threshold,
            unlabeled_loss=self.unlabeled_loss,
        )

    @property
    def serving_network(self) -> FixMatch:
        """The inner network."""
        return super().serving_network if self.inner is None else self.inner

    def save(self, path: Any) -> None:
        """Writes both networks, the trusted set and the settings; see `saving.save`.

        Args:
            path: A file name ending in `.zip`, or a folder. It is replaced if it
                holds a saved model, and refused if it holds anything else.
        """
        saving.save(self, path)

    @classmethod
    def load(cls, path: Any) -> "KDFixMatch":
        """Reads a saved model or a run folder, or raises a ValueError; no pickles."""
        model: KDFixMatch = saving.load(cls, path)
        return model
