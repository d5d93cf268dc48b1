"""`kdfixmatch train` and `kdfixmatch demo`: from images to a run folder."""

import contextlib
import inspect
import json
import math
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from kdfixmatch_cli import continuing
from kdfixmatch_cli import probe as probes
from kdfixmatch_cli.console import command_line, new_console
from kdfixmatch_cli.errors import say
from kdfixmatch_cli.images import Images, describe, open_images, parse_size
from kdfixmatch_cli.machine import AUTO, chosen_backbone, chosen_batch, chosen_seed
from kdfixmatch_cli.output import check_apart, check_parents
from kdfixmatch_cli.progress import TrainingProgress, duration
from kdfixmatch_keras import FixMatch, KDFixMatch, backend, baselines, datasets, report
from kdfixmatch_keras.classifier import ImageClassifier
from kdfixmatch_keras.report.run_folder import RunFolder, versions
from kdfixmatch_keras.storage.files import held, remove_remains, writing
from kdfixmatch_keras.training import start, timing
from kdfixmatch_keras.training.batches import passes_per_batch, steps_of_one_pass
from kdfixmatch_keras.training.optimizers import build_optimizer
from kdfixmatch_keras.training.plan import Plan, default_outer_epochs

_SHARED_SETTINGS = inspect.signature(ImageClassifier).parameters

# As words on a command line, for what is None in Python.
_NONE = {"weights": "none", "clustering": "none"}

# Where neither a time nor epochs are given.
DEFAULT_MINUTES = 30.0

# What helps where a run cannot go on.
_OTHER = "Choose another folder, or start over."


def train(params: Mapping[str, Any], given: Collection[str] = ()) -> None:
    """Trains as the options of the command say, and writes the run folder.

    Args:
        params: The options.
        given: Those that were typed.
    """
    console = new_console(params["quiet"])
    before = continuing.opened(params["continue_from"], params["output"])
    folder = RunFolder.check(params["output"], "output")
    if folder.began and params["restart"]:
        folder.check_set_aside("output")
    check_parents(folder.path)
    inputs = [params[name] for name in ("labeled", "unlabeled", "test")]
    check_apart(folder.path, [path for path in inputs if path is not None])
    goes_on = folder.began and not params["restart"]
    facts = folder.read_facts("output", _OTHER) if goes_on else None
    taken = continuing.taken(before, given)
    if "backbone" in taken:
        params = {**params, "backbone": taken["backbone"]}
    backbone = chosen_backbone(params, facts)
    chosen = {"backbone": backbone, **chosen_batch(params, facts)}
    chosen["seed"] = chosen_seed(params, facts)
    settings = _settings({**params, **chosen})
    if before is not None:
        console.print(continuing.told(before.path, taken, settings))
        settings |= taken
    model = KDFixMatch(**settings)
    length, minutes = _length(params)
    compared = {name: params[name] for name in ("probe", "supervised")}
    if facts is not None:
        if minutes is not None:
            # What the time came to, which was measured when it began.
            length = {name: facts["fit"][name] for name in length}
            console.print(f"It keeps the plan that it began with: {_typed(length)}")
        _compare(facts, settings, length, compared)
        if "finished" in facts:
            console.print(
                f"The run in {folder.path} has ended; look at {folder.report}"
            )
            return
    images = open_images(params, settings["image_size"])
    _introduce(images, console)
    if params["backbone"] == AUTO:
        console.print(f"Backbone: {backbone}")
    earlier = None
    if before is not None:
        earlier = before.load_model()
        start.opened(model, earlier, images.as_data())
    if goes_on:
        console.print(f"Going on with the run in {folder.path}")
    else:
        # It makes networks, which shows what is wrong with a backbone or its weights.
        length = _measured(model, images, length, minutes, compared, console)
    if params["dry_run"]:
        return
    if folder.began and params["restart"]:
        with held(folder.path):
            other = folder.set_aside()
        console.print(f"What was in {folder.path} is in {other}")
    _run(model, settings, images, folder, length, compared, console, earlier)


def demo(
    output: Path, epochs: int, steps_per_epoch: int, seed: int, quiet: bool
) -> None:
    """Trains on the digits of scikit-learn, and writes the run folder."""
    console = new_console(quiet)
    folder = RunFolder.check(output, "output")
    check_parents(output)
    if folder.began:
        raise ValueError(
            f"`output` must be a new or an empty folder. Received: {output}, which "
            "holds a run"
        )
    data = datasets.load("digits", 20, seed)
    images = Images(data.labeled, data.unlabeled, data.test)
    settings: dict[str, Any] = {
        "backbone": "small_cnn",
        "weights": None,
        "weak_augmentation": data.weak_augmentation,
        "distribution_alignment": True,
        "batch_size": 16,
        "seed": seed,
    }
    length = {
        "epochs": epochs,
        "outer_epochs": default_outer_epochs(epochs),
        "steps_per_epoch": steps_per_epoch,
    }
    _introduce(images, console)
    model = KDFixMatch(**settings)
    compared = {"probe": False, "supervised": True}
    _run(model, settings, images, folder, length, compared, console)


def _settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `KDFixMatch` among the options."""
    settings = {name: params[name] for name in inspect.signature(KDFixMatch).parameters}
    for name, word in _NONE.items():
        if settings[name] == word:
            settings[name] = None
    settings["embedding_dim"] = settings["embedding_dim"] or None
    settings["image_size"] = parse_size(settings["image_size"])
    learning_rate = params["learning_rate"]
    if learning_rate is not None:
        if settings["optimizer"] is None:
            raise ValueError(
                "`--learning-rate` must come with --optimizer. "
                f"Received: --learning-rate {learning_rate:g} alone"
            )
        if not 0 < learning_rate < math.inf:
            raise ValueError(
                "`--learning-rate` must be above 0 and finite. "
                f"Received: --learning-rate {learning_rate:g}"
            )
        KDFixMatch(**settings)  # The words of an unknown optimizer are in there.
        optimizer = build_optimizer(settings["optimizer"], 1, pretrained=False)
        optimizer.learning_rate = learning_rate
        settings["optimizer"] = optimizer
    return settings


def _length(params: Mapping[str, Any]) -> tuple[dict[str, Any], float | None]:
    """How long to train, and the minutes that this is to be measured in, or None."""
    names = ("epochs", "outer_epochs", "steps_per_epoch")
    given = {name: params[name] for name in names}
    minutes = params["minutes"]
    if minutes is None and set(given.values()) == {None}:
        minutes = DEFAULT_MINUTES
    plan = Plan(**given, minutes=minutes)
    return {name: getattr(plan, name) for name in names}, minutes


def _measured(
    model: KDFixMatch,
    images: Images,
    length: dict[str, Any],
    minutes: float | None,
    compared: Mapping[str, bool],
    console: Console,
) -> dict[str, Any]:
    """How long to train where that was said in minutes; says what it will take."""
    started = time.monotonic()
    data, supervised = images.as_data(), compared["supervised"]
    costs = timing.measure(model, data, supervised=supervised)
    # The report asks every network about the test images.
    besides = 0.0
    if images.test is not None:
        besides = (2 + supervised) * len(images.test.images) * costs.inner.prediction
    if probes.is_wanted(compared, model):
        besides += probes.seconds(costs, images)
    costs = replace(costs, besides=costs.besides + besides)
    if minutes is not None:
        left = minutes - (time.monotonic() - started) / 60
        length = vars(costs.length_within(left, data, supervised=supervised))
    steps = length["steps_per_epoch"] or steps_of_one_pass(
        len(images.unlabeled), model.batch_size, model.unlabeled_ratio
    )
    planned = timing.Length(length["epochs"], length["outer_epochs"], steps)
    seconds = costs.seconds(planned, data, supervised=supervised)
    console.print(
        f"Training will take about {duration(seconds)} here: {planned.outer_epochs} "
        f"and {planned.epochs} epochs of {steps:,} steps, {costs.inner.step:.2g} s each"
    )
    if minutes is not None:
        batch = {n: getattr(model, n) for n in ("batch_size", "unlabeled_ratio")}
        options = {"backbone": model.backbone, **batch, **length, "seed": model.seed}
        console.print(f"The same training on any machine: {_typed(options)}")
    return length


def _typed(options: Mapping[str, Any]) -> str:
    """Options as one would type them."""
    return " ".join(f"--{n.replace('_', '-')} {v}" for n, v in options.items())


def _introduce(images: Images, console: Console) -> None:
    for line in describe(images.facts()):
        console.print(line)
    devices = ", ".join(backend.device_names())
    console.print(f"Keras {keras.__version__} with {backend.name()}: {devices}")


def _run(
    model: KDFixMatch,
    settings: dict[str, Any],
    images: Images,
    folder: RunFolder,
    length: dict[str, Any],
    compared: Mapping[str, bool],
    console: Console,
    earlier: KDFixMatch | None = None,
) -> None:
    """Trains or goes on with it, measures and writes everything."""
    started = time.monotonic()
    with writing(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
    with held(folder.path), _with_what_goes_on():
        remove_remains(folder.path)
        facts = _begin(settings, images, folder, length, compared)
        data = (images.labeled, images.unlabeled, images.test)
        shared = {k: v for k, v in settings.items() if k in _SHARED_SETTINGS}
        probe = supervised = None
        if probes.is_wanted(compared, model):
            probe = probes.fit(shared, images, folder, console)
        with _progress(model, images, length, compared, console) as progress:
            if compared["supervised"]:
                supervised = baselines.Supervised(**shared)
                supervised.fit(
                    *data,
                    epochs=length["epochs"],
                    steps_per_epoch=length["steps_per_epoch"],
                    callbacks=[progress.callback("supervised")],
                    verbose=0,
                    run_dir=folder.state / "supervised",
                )
            callbacks = {
                stage: [progress.callback(stage), *_logs(folder, stage)]
                for stage in ("outer", "inner")
            }
            # TensorBoard has errors of its own.
            with writing(folder.logs):
                model.fit(
                    *data,
                    **length,
                    callbacks=callbacks,
                    verbose=0,
                    run_dir=folder.state / "kdfixmatch",
                    continue_from=earlier,
                )
        trusted = model.trusted_set
        console.print(
            f"Trusted set: {trusted.num_confident:,} of {trusted.num_unlabeled:,} "
            f"labels were confident, {len(trusted):,} of them trusted"
        )
        folder.write_results(model)
        facts["seed"] = model.used_seed
        facts["seconds"] = round(time.monotonic() - started, 1)
        contents = report.collect(
            model,
            *data,
            supervised=supervised,
            probe=probe,
            run=_facts_of_report(facts),
        )
        folder.write_report(contents)
        facts["test_accuracy"] = _test_accuracy(contents)
        facts["finished"] = _now()
        folder.write_facts(facts)
    for network, accuracy in facts["test_accuracy"].items():
        name = "linear probe" if network == "probe" else f"{network} network"
        console.print(f"Test accuracy of the {name}: {accuracy:.1%}")
    for warning in contents["warnings"]:
        say(f"Warning {warning['code']}: {warning['title']}; see the report")
    console.print(f"Wrote {folder.path}; look at {folder.report}")


@contextlib.contextmanager
def _with_what_goes_on() -> Iterator[None]:
    """Adds to an error what becomes of the training."""
    try:
        yield
    except (OSError, MemoryError) as error:
        error.add_note("The same command goes on from the last checkpoint.")
        raise


def _begin(
    settings: dict[str, Any],
    images: Images,
    folder: RunFolder,
    length: dict[str, Any],
    compared: Mapping[str, bool],
) -> dict[str, Any]:
    """Writes what is known of a run before it, or that it goes on."""
    if folder.began:
        facts = folder.read_facts("output", _OTHER)
        facts["went_on"] = [*facts.get("went_on", []), _now()]
        folder.write_facts(facts)
        return facts
    facts = {
        "command": command_line(),
        "directory": str(Path.cwd()),
        "started": _now(),
        "versions": versions(),
        **_arguments(settings, length, compared),
        "images": images.facts(),
    }
    folder.write_facts(facts)
    return facts


def _arguments(
    settings: dict[str, Any], length: dict[str, Any], compared: Mapping[str, bool]
) -> dict[str, Any]:
    return {
        "settings": {name: _plain(value) for name, value in settings.items()},
        "fit": {**length, **compared},
    }


def _compare(
    facts: dict[str, Any],
    settings: dict[str, Any],
    length: dict[str, Any],
    compared: Mapping[str, bool],
) -> None:
    """Refuses to go on with a run of other arguments; `fit` compares the images.

    Raises:
        ValueError: The arguments differ.
    """
    here = json.loads(json.dumps(_arguments(settings, length, compared)))
    differing = [
        f"{name} ({facts[part].get(name)!r} there, {value!r} here)"
        for part, values in here.items()
        for name, value in values.items()
        if facts[part].get(name) != value
    ]
    if differing:
        raise ValueError(
            "`output` must be the folder of the same training. Received: one with "
            f"other {', '.join(differing)}. {_OTHER}"
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _progress(
    model: KDFixMatch,
    images: Images,
    length: dict[str, Any],
    compared: Mapping[str, bool],
    console: Console,
) -> TrainingProgress:
    """A progress that knows how many steps each network takes, and what they cost."""
    labeled = model.batch_size
    unlabeled = labeled * model.unlabeled_ratio
    steps = length["steps_per_epoch"] or steps_of_one_pass(
        len(images.unlabeled), model.batch_size, model.unlabeled_ratio
    )
    epochs = {"outer": length["outer_epochs"], "inner": length["epochs"]}
    if compared["supervised"]:
        epochs = {"supervised": length["epochs"], **epochs}
    costs = dict.fromkeys(epochs, passes_per_batch(FixMatch, labeled, unlabeled))
    if compared["supervised"]:
        costs["supervised"] = passes_per_batch(FixMatch, labeled, 0)
    return TrainingProgress(
        console, {stage: count * steps for stage, count in epochs.items()}, costs
    )


def _facts_of_report(facts: dict[str, Any]) -> dict[str, Any]:
    """What the page does not show elsewhere, as short texts."""
    lines = {
        "command": facts["command"],
        "started": facts["started"],
        "duration": duration(facts["seconds"])
        + (" since it last went on" if "went_on" in facts else ""),
        "versions": ", ".join(f"{k} {v}" for k, v in facts["versions"].items()),
        "images": " ".join(describe(facts["images"])[:1]),
    }
    for option, path in facts["images"]["paths"].items():
        lines[f"--{option}"] = path
    if facts["images"].get("copies"):
        lines["left out of the test, copies"] = facts["images"]["copies"]
    if facts["images"]["skipped"]:
        lines["left out, unreadable"] = len(facts["images"]["skipped"])
    return lines


def _test_accuracy(contents: dict[str, Any]) -> dict[str, float]:
    if contents["test"] is None:
        return {}
    return {
        network: accuracy["value"]
        for network, accuracy in contents["test"]["accuracy"].items()
    }


def _logs(folder: RunFolder, stage: str) -> list[Any]:
    """What writes for TensorBoard, where TensorFlow can."""
    if not backend.is_tensorflow():
        return []
    return [keras.callbacks.TensorBoard(folder.logs / stage)]


def _plain(value: Any) -> Any:
    if isinstance(value, keras.optimizers.Optimizer):
        return keras.saving.serialize_keras_object(value)
    return str(value) if isinstance(value, Path) else value
