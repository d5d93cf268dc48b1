"""How long a training takes on this machine, and how much of it fits into minutes."""

import contextlib
import copy
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from kdfixmatch_keras import clustering
from kdfixmatch_keras.backend import processes
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.serving import prediction
from kdfixmatch_keras.sources import SubsetSource
from kdfixmatch_keras.training import run_state, stored_features
from kdfixmatch_keras.training.data import TrainingData
from kdfixmatch_keras.training.plan import Plan, default_outer_epochs

# Steps, images and embeddings that are measured.
STEPS, IMAGES, EMBEDDINGS = 8, 512, 5_000
# Epochs of the inner network, and the share of the time that may go into evaluating
# after each of them and of those of the outer one.
EPOCHS, EVALUATION = 10, 0.1


@dataclass(frozen=True)
class Length:
    """How long the networks are trained.

    Attributes:
        epochs: Epochs of the inner network.
        outer_epochs: Epochs of the outer one, 0 where it is given.
        steps_per_epoch: Batches in an epoch of either.
    """

    epochs: int
    outer_epochs: int
    steps_per_epoch: int


@dataclass(frozen=True)
class NetworkCosts:
    """What a network takes on this machine, in seconds.

    Attributes:
        start: What its first step takes more than the others, as Keras prepares it.
        step: A step on labeled and unlabeled images.
        labeled_step: A step on labeled images alone, 0 where that was not asked for.
        prediction_start: As `start`, of a prediction.
        prediction: Predicting an image.
        pixels: How many pixels of an image the network sees, after its resizing.
    """

    start: float
    step: float
    labeled_step: float
    prediction_start: float
    prediction: float
    pixels: int

    def seconds(self, epochs: int, step: float, data: TrainingData) -> float:
        """What training it takes, with an evaluation after each epoch.

        Args:
            epochs: Epochs.
            step: What the steps of an epoch take, in seconds.
            data: Its images.
        """
        found = self.start + epochs * step
        if data.validation is not None:
            images = len(data.validation.images)
            found += self.prediction_start + epochs * images * self.prediction
        return found


@dataclass(frozen=True)
class Costs:
    """What the parts of a training take on this machine.

    Attributes:
        outer: The outer network.
        inner: The inner one.
        clustering: Clustering all unlabeled images, in seconds.
        besides: What goes before and after the networks, in seconds.
    """

    outer: NetworkCosts
    inner: NetworkCosts
    clustering: float
    besides: float = 0.0

    def seconds(
        self, length: Length, data: TrainingData, *, supervised: bool = False
    ) -> float:
        """What a whole training takes.

        Args:
            length: Of its networks.
            data: Its images.
            supervised: Whether a network is trained on the labels alone as well, for as
                long as the inner one.
        """
        steps, epochs = length.steps_per_epoch, length.epochs
        found = self.besides
        found += self.inner.seconds(epochs, steps * self.inner.step, data)
        if length.outer_epochs:
            step = steps * self.outer.step
            found += self.outer.seconds(length.outer_epochs, step, data)
        if supervised:
            step = steps * self.inner.labeled_step
            found += self.inner.seconds(epochs, step, data)
        found += self.outer.prediction_start
        return found + len(data.unlabeled) * self.outer.prediction + self.clustering

    def length_within(
        self,
        minutes: float,
        data: TrainingData,
        *,
        supervised: bool = False,
        outer: bool = True,
    ) -> Length:
        """The longest training that ends in time.

        Args:
            minutes: How long it may take.
            data: Its images.
            supervised: See `seconds`.
            outer: Whether the outer network is trained, for half as long.

        Raises:
            ValueError: Not even a step of each network fits.
        """

        def of(epochs: int, steps: int) -> Length:
            return Length(epochs, default_outer_epochs(epochs) * outer, steps)

        def seconds(length: Length) -> float:
            return self.seconds(length, data, supervised=supervised)

        # What evaluating costs in one epoch more.
        evaluating = (seconds(of(4, 0)) - seconds(of(2, 0))) / 2
        affordable = EVALUATION * 60 * minutes / max(evaluating, 1e-9)
        most = int(min(EPOCHS, max(2.0, affordable)))
        for epochs in range(most - most % 2, 0, -2):
            fixed = seconds(of(epochs, 0))
            steps = int((60 * minutes - fixed) / (seconds(of(epochs, 1)) - fixed))
            # With fewer, what is left of the time would not be a small part of it.
            if steps >= STEPS:
                break
        if steps < 1:
            labeling = len(data.unlabeled) * self.outer.prediction + self.clustering
            raise ValueError(
                f"`minutes` must be at least {seconds(of(2, 1)) / 60:.2g} on this "
                f"machine, where a step takes {self.inner.step:.2g} s and labeling and "
                f"clustering the unlabeled images {labeling:.2g} s. Received: "
                f"minutes={minutes:g}. Smaller images, a smaller network or fewer "
                "images need less."
            )
        return of(epochs, steps)


def measure(model: Any, data: TrainingData, *, supervised: bool = False) -> Costs:
    """Measures what a training of a `KDFixMatch` costs, by parts of it.

    Networks are made, trained for a few steps and thrown away.

    Args:
        model: A `KDFixMatch`.
        data: Its images.
        supervised: Whether to measure steps on labeled images alone, too.
    """
    outer = model.new_outer(data, model.seed)
    clustering_seconds = _clustering_seconds(model, data, outer)
    images, besides = data.unlabeled, 0.0
    if model.finetune == "head":
        # Before the first step features are stored, here of a few images.
        rows = np.arange(min(IMAGES, len(images)))
        data = replace(data, unlabeled=SubsetSource(images, rows))
    outer_costs = inner_costs = _measure_network(model, data, outer, supervised)
    if model.outer_backbone is not None:
        inner = model.new_inner(data, model.seed)
        inner_costs = _measure_network(model, data, inner, supervised)
    if model.finetune == "head":
        besides = outer_costs.prediction * stored_features.passes(
            replace(data, unlabeled=images), again=supervised
        )
    return Costs(outer_costs, inner_costs, clustering_seconds, besides)


def _measure_network(
    model: Any, data: TrainingData, network: Any, supervised: bool
) -> NetworkCosts:
    """Trains it for a few steps, and has it predict a few images."""
    start, step = _measure_steps(model, data, network)
    labeled_step = 0.0
    if supervised:
        _, labeled_step = _measure_steps(model, data, network, labels_only=True)
    rows = np.arange(min(IMAGES, len(data.unlabeled)))
    images = SubsetSource(data.unlabeled, rows)
    embedder = prediction.embedder(network)
    once, again = (
        _seconds(lambda: prediction.predict(embedder, images)) for _ in range(2)
    )
    _, height, width, _ = network.student.get_layer("preprocessing").output.shape
    return NetworkCosts(
        start=start,
        step=step,
        labeled_step=labeled_step,
        prediction_start=max(once - again, 0.0),
        prediction=again / len(images),
        pixels=height * width,
    )


def _measure_steps(
    model: Any, data: TrainingData, network: Any, **options: Any
) -> tuple[float, float]:
    """What the first step takes more than the others, and what those take."""
    clock = _StepClock()
    plan = Plan(epochs=1, steps_per_epoch=STEPS, callbacks=[clock], verbose=0)
    session = model.new_session(replace(data, validation=None), plan)
    with warnings.catch_warnings():
        # So few steps say nothing about the training.
        warnings.simplefilter("ignore", UserWarning)
        with contextlib.closing(session):
            session.fit(network, plan.epochs, **options)
    first, *others = clock.seconds
    step = statistics.median(others)
    return max(first - step, 0.0), step


def in_steps(model: Any, plan: Plan, data: TrainingData) -> Plan:
    """A plan in epochs and steps for one in minutes; others as they are.

    A training that goes on keeps the plan that it began with.

    Args:
        model: A `KDFixMatch`.
        plan: What `fit` was asked for.
        data: Its images.

    Raises:
        ValueError: So little time is not enough, or `run_dir` is no folder of a
            training.
    """
    if plan.minutes is None:
        return plan
    chosen = _kept_length(plan.run_dir)
    if chosen:
        plan.say(f"Going on with the plan that it began with: {_in_words(chosen)}")
    else:
        plan.say("Measuring how long training takes here")
        started = time.monotonic()
        costs = measure(model, data)
        length = costs.length_within(
            plan.minutes - (time.monotonic() - started) / 60,
            data,
            outer=not plan.is_outer_given,
        )
        # Each process measures, and all train alike.
        length = Length(*processes.of_first(list(vars(length).values())))
        chosen = {name: value for name, value in vars(length).items() if value}
        plan.say(
            f"About {costs.seconds(length, data) / 60:.1f} minutes. To repeat this: "
            + _in_words(chosen)
        )
    if plan.is_outer_given:
        chosen["outer_epochs"] = None
    return replace(plan, minutes=None, **chosen)


def _kept_length(run_dir: Any) -> dict[str, Any]:
    """The arguments that say how long a training is that a folder keeps, if any."""
    kept = (None if run_dir is None else run_state.kept_identity(run_dir)) or {}
    # Another method has no outer network, and is refused where all is compared.
    return {name: kept[name] for name in Length.__annotations__ if name in kept}


def _in_words(chosen: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in chosen.items())


def _clustering_seconds(model: Any, data: TrainingData, network: Any) -> float:
    if model.clustering is None:
        return 0.0
    count = min(EMBEDDINGS, len(data.unlabeled))
    dimensions = network.student.get_layer("embedding").output.shape[-1]
    classes = len(data.labeled.class_names)
    rng = np.random.default_rng(0)
    centers = 3 * rng.normal(size=(classes, dimensions))
    made_up = centers[rng.integers(classes, size=count)]
    made_up += rng.normal(size=made_up.shape)
    clusters = model.clusters_per_class * classes
    seed = validation.derive_seed(model.seed, "clustering")
    # An object of the user's is not to remember what was made up.
    clusterer = copy.deepcopy(clustering.get(model.clustering, clusters, seed))
    if count < max(clusters, clustering.own_number(clusterer)):
        return 0.0
    taken = _seconds(lambda: clusterer.fit_predict(made_up.astype("float32")))
    return taken * len(data.unlabeled) / count


def _seconds(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


class _StepClock(keras.callbacks.Callback):
    """Measures each step in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._started = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self._started)
