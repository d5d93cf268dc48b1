"""One training, of one network or of several in turn, and where it is kept."""

import contextlib
import json
import secrets
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kdfixmatch_keras import backend
from kdfixmatch_keras.backend import devices, processes
from kdfixmatch_keras.backend.keras_settings import usual_settings
from kdfixmatch_keras.checks import memory, validation
from kdfixmatch_keras.serving import prediction
from kdfixmatch_keras.sources import SubsetSource
from kdfixmatch_keras.training import callbacks as stage_callbacks
from kdfixmatch_keras.training import run_state, stored_features
from kdfixmatch_keras.training.batches import (
    FixMatchBatches,
    passes_per_batch,
    steps_of_one_pass,
)
from kdfixmatch_keras.training.data import TrainingData
from kdfixmatch_keras.training.identity import identify
from kdfixmatch_keras.training.optimizers import build_optimizer
from kdfixmatch_keras.training.plan import Plan
from kdfixmatch_keras.training.run_state import NOT_STARTED, RunState
from kdfixmatch_keras.training.watch import TrainingWatch
from kdfixmatch_keras.trusted.trusted_set import TrustedSet


class Session:
    """One call of `fit`: trains networks on the same images, with the same settings.

    Args:
        data: The images.
        plan: What `fit` is asked for.
        seed: Fixes everything that is random; None draws it anew each time.
        batch_size: Labeled images in a batch, `B`.
        unlabeled_ratio: Unlabeled images for each labeled one, `mu`.
        optimizer: See `training.optimizers`.
        finetune: `"all"` layers, or the `"head"` on stored features of the backbone.

    Attributes:
        state: Where the training is kept, or None.
        steps_per_epoch: Batches in an epoch.
        image_passes: What it has cost until now: how often an image went forward
            through a network, to train (which counts three times, for the way back),
            for a teacher's target, to be labeled or to be stored as features.
    """

    def __init__(
        self,
        data: TrainingData,
        plan: Plan,
        *,
        seed: int | None,
        batch_size: int,
        unlabeled_ratio: int,
        optimizer: Any,
        finetune: str = "all",
    ) -> None:
        self.data = data
        self.plan = plan
        self.seed = seed
        self.batch_size = batch_size
        self.unlabeled_ratio = unlabeled_ratio
        self.optimizer = optimizer
        self.finetune = finetune
        self.steps_per_epoch = plan.steps_per_epoch or steps_of_one_pass(
            len(data.unlabeled), batch_size, unlabeled_ratio
        )
        self.image_passes = 0
        self.state: RunState | None = None
        # Whether a part of it has been logged, by this call of `fit` or an earlier one.
        self._is_logged = False
        self._store: stored_features.FeatureStore | None = None
        # Where features are stored if nothing else is kept.
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def go_on(self, state: RunState) -> None:
        """Goes on with what is kept, and keeps what follows."""
        self.state, self.seed = state, state.seed
        self._is_logged = not state.is_new

    def close(self) -> None:
        """Removes what was on disk for this training alone."""
        if self._scratch is not None:
            self._scratch.cleanup()

    @usual_settings()
    def fit(
        self,
        network: Any,
        epochs: int,
        *,
        stage: str | None = None,
        rows: np.ndarray | None = None,
        trusted_labels: np.ndarray | None = None,
        trusted_until: float = 1.0,
        labels_only: bool = False,
    ) -> dict[str, list[float]]:
        """Trains `network` with Keras's `fit`, or goes on where that was stopped.

        Args:
            network: A `FixMatch` network.
            epochs: Epochs of its training.
            stage: Whose callbacks are called, of a method with stages.
            rows: int64 `(N,)`, which unlabeled images it trains on; None for all.
            trusted_labels: int32 `(N,)`, -1 where there is none; or None.
            trusted_until: For which share of the steps trusted labels are shown.
            labels_only: Whether to leave the unlabeled images out.

        Returns:
            `{metric: [per epoch]}`.

        Raises:
            TrainingDiverged: A loss or a weight became NaN or infinite.

        Warns:
            UserWarning: The network learns nothing from the unlabeled images, takes
                them all for one class, or is no better than chance.
        """
        steps = epochs * self.steps_per_epoch
        trained, data = network, self.data
        if self.finetune == "head":
            store = self._stored(network)
            trained, data = store.head_of(network), store.data(labels_only)
        unlabeled = (
            data.unlabeled if rows is None else SubsetSource(data.unlabeled, rows)
        )
        batches = FixMatchBatches(
            data.labeled,
            None if labels_only else unlabeled,
            trusted_labels,
            batch_size=self.batch_size,
            unlabeled_ratio=self.unlabeled_ratio,
            steps_per_epoch=self.steps_per_epoch,
            seed=self._seed_of_batches(network),
            trusted_steps=round(trusted_until * steps),
            sharing=devices.sharing(network),
        )
        self._compile(trained, steps)
        if trained is network:
            seen = 0 if labels_only else batches.unlabeled_batch_size
            passes = passes_per_batch(network, self.batch_size, seen)
            self.image_passes += steps * passes
        history = self._train(trained, data, batches, epochs, stage)
        if trained is not network:
            stored_features.take_over(network, trained)
            # As after a training of all layers: it can be evaluated and trained on.
            self._compile(network, steps)
        return history

    def _compile(self, network: Any, steps: int) -> None:
        network.compile(
            optimizer=build_optimizer(
                self.optimizer, steps, pretrained=network.is_pretrained
            )
        )
        # A step that creates variables is traced a second time by TensorFlow.
        network.optimizer.build(network.trainable_variables)

    def _train(
        self,
        network: Any,
        data: TrainingData,
        batches: FixMatchBatches,
        epochs: int,
        stage: str | None,
    ) -> dict[str, list[float]]:
        """Trains what has been compiled, or goes on; see `fit`."""
        done, history, finished = self._restored(network)
        if finished:
            return history
        keep = None if self.state is None else self.state.save_diverged
        watch = TrainingWatch(network, data.labeled, keep)
        last = []
        if self.state is not None:
            last = [self.state.callback(network, epochs, history)]
        with (
            stage_callbacks.for_stage(
                self.plan.callbacks, stage, self._is_logged
            ) as chosen,
            devices.shared_by_us(),
        ):
            added = network.fit(
                backend.feed(batches),
                epochs=epochs,
                initial_epoch=done,
                shuffle=False,
                validation_data=None
                if data.validation is None
                else backend.feed(
                    prediction.ImageBatches(
                        data.validation.images,
                        data.validation.labels,
                        sharing=batches.sharing,
                    )
                ),
                # Before callbacks that could evaluate or write what has diverged.
                callbacks=[batches.epoch_callback(), watch, *chosen, *last],
                verbose=self.plan.verbose,
            )
        self._is_logged = True
        return {
            name: [*history.get(name, []), *map(float, values)]
            for name, values in added.history.items()
        }

    def _stored(self, network: Any) -> stored_features.FeatureStore:
        """The features of the images in the frozen backbone of `network`."""
        if self._store is None:
            if self.state is not None:
                folder = self.state.folder
            else:
                self._scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
                folder = Path(self._scratch.name)
            self._store = stored_features.FeatureStore(
                folder, network, self.data, self.once, self._count
            )
        return self._store

    def _count(self, passes: int) -> None:
        self.image_passes += passes

    def label(self, network: Any, verbose: Any = 0) -> tuple[np.ndarray, np.ndarray]:
        """Labels and embeds every unlabeled image once, in index order, as it is.

        Returns:
            Probabilities, float32 `(N, K)`, and embeddings `(N, D)`, of the teacher of
            `network`.

        Raises:
            MemoryError: They do not fit into memory.
        """
        unlabeled = self.data.unlabeled
        dimensions = network.student.get_layer("embedding").output.shape[-1]
        with memory.needed_for(
            f"Labeling {len(unlabeled):,} images with embeddings of "
            f"{dimensions:,} dimensions",
            "A smaller `embedding_dim` or `image_size` needs less.",
        ):
            if self._store is not None:
                network = self._store.head_of(network)
                unlabeled = self._store.data().unlabeled
            else:
                self.image_passes += len(unlabeled)
            return prediction.probabilities_and_embeddings(
                network, unlabeled, verbose=verbose
            )

    def select_once(
        self,
        network: Any,
        select: Callable[[np.ndarray, np.ndarray], TrustedSet],
    ) -> TrustedSet:
        """The trusted set of this training, selected by what a network labels.

        It is selected once, however often the training is stopped, and is that of the
        first of several processes: clusterings of machines that are not alike could
        differ.

        Args:
            network: What labels and embeds the unlabeled images.
            select: Selects it, given probabilities and embeddings, which it may
                overwrite; called on one device.
        """
        kept = None if self.state is None else self.state.load_trusted_set()
        processes.check_same("trusted sets", kept is not None, processes.ONE_FOLDER)
        if kept is not None:
            if self._store is None:
                self.image_passes += len(self.data.unlabeled)
            return kept
        self.plan.say("Trusted set: labeling the unlabeled images")
        probabilities, embeddings = self.label(network, self.plan.verbose)
        found: TrustedSet = devices.on_one(lambda: select(probabilities, embeddings))
        if processes.are_several():
            names = ("pseudo_labels", "confidence", "cluster", "trusted")
            arrays = processes.arrays_of_first([getattr(found, n) for n in names])
            changed: Any = dict(zip(names, arrays, strict=True))
            found = replace(found, **changed)
        self.plan.say(
            f"Trusted set: {found.num_confident} of {found.num_unlabeled} labels are "
            f"confident, {len(found)} of them are trusted"
        )
        if self.state is not None:
            self.state.save_trusted_set(found)
        return found

    def once(
        self, name: str, compute: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """What is computed once in this training, however often it is stopped.

        It is that of the first of several processes, which all compute it.

        Args:
            name: What the state calls it.
            compute: Returns arrays of numbers by name, in every process of the same
                names, shapes and dtypes.
        """
        kept = None if self.state is None else self.state.load_arrays(name)
        processes.check_same(name, kept is not None, processes.ONE_FOLDER)
        if kept is not None:
            return kept
        found = compute()
        arrays = processes.arrays_of_first(list(found.values()))
        found = dict(zip(found, arrays, strict=True))
        if self.state is not None:
            self.state.save_arrays(name, found)
        return found

    def _seed_of_batches(self, network: Any) -> int:
        seed = validation.derive_seed(self.seed, f"{network.name}/batches")
        return int(np.random.default_rng().integers(2**31)) if seed is None else seed

    def _restored(self, network: Any) -> run_state.Progress:
        """Brings a compiled network to where its training was stopped."""
        if self.state is None:
            return NOT_STARTED
        done, history, finished = self.state.restore(network)
        processes.check_same("checkpoints", 2 * done + finished, processes.ONE_FOLDER)
        return done, history, finished


@contextlib.contextmanager
def opened(
    session: Session,
    method: str,
    arguments: Mapping[str, Any],
    of_fit: Mapping[str, Any],
) -> Iterator[Session]:
    """Opens a training, new or stopped, in all of its processes.

    Args:
        session: The training, with the seed that the user gave.
        method: Name of the method.
        arguments: Those of its constructor, by name.
        of_fit: Arguments of `fit` that only this method has.

    Yields:
        The training, with the seed that it has and where it is kept.

    Raises:
        ValueError: `run_dir` is that of another training.
        RuntimeError: Another process is training there, or the processes of this
            training differ.
        OSError: Nothing can be written there.
    """
    run_dir, several = session.plan.run_dir, processes.are_several()
    kept = "nothing is kept without `run_dir`"
    if run_dir is not None:
        kept = "it goes on from the last epoch that `run_dir` keeps"
    with contextlib.ExitStack() as stack:
        stack.callback(session.close)
        stack.enter_context(
            processes.ending_together(f"Start all of them again: {kept}.")
        )
        identity: dict[str, Any] = {}
        if run_dir is not None or several:
            length = {
                "epochs": session.plan.epochs,
                "steps_per_epoch": session.steps_per_epoch,
            }
            identity = identify(method, arguments, session.data, {**length, **of_fit})
        if several:
            same = json.dumps([identity, session.seed], sort_keys=True)
            processes.check_same(
                "arguments or images",
                zlib.crc32(same.encode()) >> 1,
                "All must call `fit` alike.",
            )
        if run_dir is not None:
            session.go_on(
                stack.enter_context(
                    run_state.opened_together(run_dir, identity, session.seed)
                )
            )
        elif session.seed is None and several:
            (session.seed,) = processes.of_first([secrets.randbelow(2**31)])
        yield session
