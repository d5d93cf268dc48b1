"""`kdfixmatch label`: a page in the browser."""

import contextlib
import html
import os
import shlex
import sys
import webbrowser
from pathlib import Path

from rich.console import Console

from kdfixmatch_cli.console import new_console
from kdfixmatch_cli.errors import say
from kdfixmatch_cli.output import check_apart
from kdfixmatch_keras.checks.paths import check_table
from kdfixmatch_keras.checks.validation import check_output, check_path
from kdfixmatch_keras.sources.image_files import check_folder, printable
from kdfixmatch_keras.storage.files import written_aside
from kdfixmatch_web.class_folders import check_class_folders, write_class_folders
from kdfixmatch_web.image_folder import ImageFolder
from kdfixmatch_web.label_store import Change, Conflict, LabelStore
from kdfixmatch_web.label_studio import read_tasks, to_tasks
from kdfixmatch_web.pictures import Pictures
from kdfixmatch_web.work_folder import WorkFolder, labels_held

try:
    from kdfixmatch_web.app import new_app
    from kdfixmatch_web.guard import is_loopback
    from kdfixmatch_web.labeling import Labeling
    from kdfixmatch_web.scout import Scout
    from kdfixmatch_web.server import listen, serve, written_out
    from kdfixmatch_web.trainings import FinishedRun, Trainings, read_run
except ModuleNotFoundError as error:
    remedy = 'install it with `pip install "kdfixmatch-keras[label]"`'
    if error.name == "fcntl":
        remedy = "Windows has none; Linux and macOS do"
    raise ImportError(
        f"The page needs {error.name}, which is missing: {remedy}."
    ) from error


# Options of `train` that the page gives to it.
_GIVEN = (
    *("--labeled", "--labels", "--unlabeled", "--output", "--test", "--on-error"),
    "--continue-from",
)


def label(
    unlabeled: Path,
    labels: Path,
    run: Path | None,
    test: Path | None,
    train_options: str,
    suggest: bool,
    host: str,
    port: int,
    browser: bool,
    taken: Path | None,
    given: Path | None,
) -> None:
    """Serves the page until it is interrupted, or writes labels in another form."""
    console = new_console()
    _check_labels(labels, unlabeled)
    begun = None if run is None else _opened(run)
    if test is not None:
        check_folder(test, "--test")
    options = _split(train_options)
    images = ImageFolder(unlabeled, "--unlabeled")
    # What is wrong with the file, before anything is written beside it.
    store = LabelStore(labels, images, "--labels")
    new = {}
    if taken is not None:
        new = read_tasks(check_path("--import", taken), images, "--import")
    if given is not None:
        given = check_output("--export", given)
        check_apart(given, [images.root], "--export")
        # Before labels are taken in.
        _check_given(given, store.labels() | new)
        with labels_held(labels):
            _take(new, store, console)
            _give(given, store, images, console)
        return
    with (
        contextlib.closing(listen(host, port)) as listening,
        labels_held(labels) as work,
        contextlib.ExitStack() as stack,
    ):
        host = written_out(host, listening)
        _take(new, store, console)
        labeling = Labeling(
            images,
            store,
            Pictures(images, work.pictures),
            Trainings(work.runs, images, test, options),
            Scout(work.looks, images, store, test, suggest),
            begun,
        )
        for reason, count in images.left_out.items():
            say(f"Warning: left out {count:,} {reason}")
        if not is_loopback(host):
            say(
                f"Warning: whoever reaches {host} and learns the address below can see "
                "and label these images, and what is sent is not encrypted. Without "
                "--host only this machine can; a tunnel, as of `ssh -L`, brings the "
                "page to another"
            )

        def ready(address: str) -> None:
            console.print(
                f"{len(images):,} images, {len(store):,} of them labeled in {labels}"
            )
            console.print(f"Open {address}")
            console.print("Ctrl+C ends it; the labels are in the file.")
            if browser:
                _open(address, work, stack)

        # The usual end.
        with contextlib.suppress(KeyboardInterrupt):
            serve(new_app(labeling), listening, host, ready)
        _conclude(console, store, labels, labeling.training())


def _take(labels: dict[str, str], store: LabelStore, console: Console) -> None:
    """Takes in labels of another program, all or none."""
    if not labels:
        return
    before = len(store)
    try:
        store.change([Change(name, label) for name, label in labels.items()])
    except Conflict as error:
        name, label = next(iter(error.labels.items()))
        raise ValueError(
            f"`--import` must agree with `--labels`. Received: {len(error.labels)} "
            f"images with another label, such as {name}: {labels[name]!r}, where it is "
            f"{label!r}. Nothing was taken in"
        ) from error
    console.print(f"Took in {len(store) - before:,} new labels of {len(labels):,}")


def _check_given(path: Path, labels: dict[str, str]) -> None:
    """Checks that `_give` can write labels to a path."""
    if path.suffix.lower() != ".json":
        check_class_folders(path, labels, "--export")
    elif os.path.lexists(path):
        raise ValueError(
            f"`--export` must be new. Received: {path}, which is there already"
        )


def _give(path: Path, store: LabelStore, images: ImageFolder, console: Console) -> None:
    """Writes the labels as JSON for Label Studio, or as a folder per class."""
    labels = store.labels()
    if path.suffix.lower() == ".json":
        with written_aside(path) as aside:
            aside.write_text(to_tasks(labels, images), encoding="utf-8")
        console.print(f"Wrote {path}: {len(store):,} labels")
        return
    count = write_class_folders(path, labels, images)
    console.print(f"Wrote {path}: {count:,} images of {len(store.counts())} classes")


def _check_labels(labels: Path, unlabeled: Path) -> None:
    check_table("--labels", labels)
    if labels.is_dir():
        raise ValueError(f"`--labels` must be a CSV file. Received: {labels}, a folder")
    if printable(labels) != str(labels):
        raise ValueError(
            "`--labels` must be a file whose path is valid UTF-8. Received: "
            f"{str(labels)!r}. Rename it."
        )
    if not labels.absolute().parent.is_dir():
        raise ValueError(
            "`--labels` must lie in a folder that exists. Received: "
            f"{labels}. Make the folder first."
        )
    real, folder = Path(os.path.realpath(labels)), Path(os.path.realpath(unlabeled))
    if real.is_relative_to(folder):
        raise ValueError(
            "`--labels` must not lie in the folder of images, as what is written "
            f"beside it would. Received: {labels}, which is in {unlabeled}. Move it "
            "out; the names in it stay as they are."
        )


def _opened(run: Path) -> FinishedRun:
    found = read_run(run)
    if found is None:
        raise ValueError(
            "`--run` must be the folder of a finished run. Received: "
            f"{run}, which is none"
        )
    return found


def _split(options: str) -> list[str]:
    """Options of `train` as they were typed, but for those that the page gives it."""
    try:
        found = shlex.split(options)
    except ValueError as error:
        raise ValueError(
            "`--train-options` must be options as they are typed. Received: "
            f"{options} ({error})"
        ) from error
    given = [word for word in found if word.partition("=")[0] in _GIVEN]
    if given:
        raise ValueError(
            "`--train-options` must not have what the page gives to a training. "
            f"Received: {', '.join(given)}"
        )
    return found


def _open(address: str, work: WorkFolder, stack: contextlib.ExitStack) -> None:
    """Opens a browser, if it is one with windows.

    By way of a file that only its user can read: all users of a machine see with what
    a process was started.
    """
    has_windows = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not has_windows:
        return
    page = work.path / "open.html"
    with contextlib.suppress(OSError):
        page.unlink(missing_ok=True)
        descriptor = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        stack.callback(page.unlink, missing_ok=True)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(
                '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" '
                f'content="0; url={html.escape(address)}"><title>Label images</title>'
            )
        webbrowser.open(page.as_uri())


def _conclude(
    console: Console, store: LabelStore, labels: Path, training: str | None
) -> None:
    console.print(f"\n{len(store):,} images are labeled in {labels}")
    if training is not None:
        console.print(f"{training} is being trained; the same command finds it again")
