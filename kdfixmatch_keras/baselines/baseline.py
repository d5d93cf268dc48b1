"""What the methods that KD-FixMatch is compared with have in common."""

from collections.abc import Sequence
from typing import Any

from kdfixmatch_keras import fixmatch, validation
from kdfixmatch_keras.classifier import ImageClassifier, TrainingData


class Baseline(ImageClassifier):
    """A method with the facade of `KDFixMatch`. Subclasses implement `_fit`.

    Args:
        backbone: See `ImageClassifier`.
        **settings: The other arguments of `ImageClassifier`.

    Attributes:
        network: `kdfixmatch_keras.FixMatch`, the network that predicts, or None
            before `fit`.
        history: `{metric: [per epoch]}`; of a method that trains several networks,
            `{stage: {metric: [per epoch]}}`.
    """

    def __init__(self, backbone: Any = "efficientnetb0", **settings: Any) -> None:
        super().__init__(backbone, **settings)
        self.network: Any = None
        self.history: dict[str, Any] = {}

    def fit(
        self,
        labeled: Any,
        unlabeled: Any,
        validation_data: Any = None,
        epochs: int = 100,
        steps_per_epoch: int | None = None,
        callbacks: Sequence[Any] | None = None,
        verbose: Any = "auto",
        run_dir: Any = None,
    ) -> dict[str, Any]:
        """Trains anew; see `KDFixMatch.fit` for the arguments.

        Every network is trained for `epochs` epochs of `steps_per_epoch` steps; None
        stands for one pass over *all* unlabeled images, however many a method uses.

        Returns:
            `history`.
        """
        epochs = validation.check_integer("epochs", epochs, 1)
        steps_per_epoch = validation.check_steps(steps_per_epoch)
        callbacks = validation.check_callbacks(callbacks)
        verbose = validation.check_verbose(verbose)
        if run_dir is not None:
            run_dir = validation.check_output("run_dir", run_dir)
        self._check_devices()
        data = self.load_data(labeled, unlabeled, validation_data)
        if steps_per_epoch is None:
            steps_per_epoch = self.steps_of_one_pass(data)
        identity = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
        with self._run_state(run_dir, data, identity) as state:
            self.network, self.history, self.image_passes = None, {}, 0
            self.class_names = data.labeled.class_names
            self.network = self._fit(
                data,
                epochs=epochs,
                steps_per_epoch=steps_per_epoch,
                callbacks=callbacks,
                verbose=verbose,
                state=state,
            )
        return self.history

    def _fit(self, data: TrainingData, **options: Any) -> fixmatch.FixMatch:
        """Trains with checked `options` of `train`, fills `history`.

        Returns:
            The network that predicts.
        """
        raise NotImplementedError

    @property
    def serving_network(self) -> fixmatch.FixMatch:
        """`network`, the last one trained."""
        return super().serving_network if self.network is None else self.network
