"""The figure of a run: accuracies, losses, mask rate, and the trusted set."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.report import fonts, values
from kdfixmatch_keras.storage.files import written_aside

STAGE_COLORS = {"outer": "tab:orange", "inner": "tab:blue"}
# More of them would print their names over one another.
MAX_LABELED_BARS = 20


def plot_run(
    model: Any,
    path: Any,
    *,
    accuracies: Mapping[str, float] | None = None,
    true_labels: Any = None,
) -> None:
    """Draws how a `KDFixMatch` was trained, as a picture of four panels.

    Args:
        model: A trained `KDFixMatch`.
        path: File to write; its suffix chooses the format (`.png`, `.svg`, `.pdf`).
        accuracies: Test accuracy in [0, 1] by method, drawn as bars; None draws the
            validation accuracy of each epoch instead, where there was validation.
        true_labels: Integers `(N,)`, the classes of the unlabeled images where they
            are known; the last panel then shows the precision of the trusted set by
            class, else its size by class.

    Raises:
        RuntimeError: `model` has not been trained.
        TypeError: An argument is of the wrong kind.
        ValueError: An accuracy is not in [0, 1], there are not as many true labels as
            unlabeled images, or no picture can be written to `path`.
    """
    from matplotlib.backend_bases import FigureCanvasBase
    from matplotlib.figure import Figure

    validation.check_trained(model)
    validation.check_accuracies(accuracies)
    path = validation.check_output_file("path", path)
    if path.suffix.lower()[1:] not in FigureCanvasBase.get_supported_filetypes():
        raise ValueError(
            "`path` must end in the suffix of a picture, such as .png, .svg or .pdf. "
            f"Received: path={str(path)!r}"
        )
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    _draw_accuracy(panels[0, 0], model, accuracies)
    _draw_losses(panels[0, 1], model)
    _draw_mask_rate(panels[1, 0], model)
    _draw_trusted_set(panels[1, 1], model, true_labels)
    with written_aside(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _trained_stages(model: Any) -> dict[str, Any]:
    """Histories by stage, without an outer network that was trained before."""
    return {stage: history for stage, history in model.history.items() if history}


def _draw_accuracy(
    axes: Any, model: Any, accuracies: Mapping[str, float] | None
) -> None:
    if accuracies is not None:
        bars = axes.bar(
            np.arange(len(accuracies)),
            [100 * accuracy for accuracy in accuracies.values()],
            color=["tab:gray", *STAGE_COLORS.values()],
        )
        axes.bar_label(bars, fmt="%.1f")
        _name_bars(axes, list(accuracies), "number of the method")
        axes.set(title="Test accuracy (%)", ylim=(0, 105))
        return
    for stage, history in _trained_stages(model).items():
        accuracy = 100 * np.asarray(history.get("val_accuracy", []))
        axes.plot(
            np.arange(1, len(accuracy) + 1),
            accuracy,
            marker=".",
            color=STAGE_COLORS[stage],
            label=f"{stage} network",
        )
    axes.set(title="Validation accuracy (%)", xlabel="epoch")
    axes.legend()


def _draw_losses(axes: Any, model: Any) -> None:
    styles = {"supervised_loss": "-", "unlabeled_loss": "--"}
    for stage, history in _trained_stages(model).items():
        for name, style in styles.items():
            axes.plot(
                np.arange(1, len(history[name]) + 1),
                history[name],
                style,
                marker=".",
                color=STAGE_COLORS[stage],
                label=f"{stage}: {name.replace('_', ' ')}",
            )
    axes.set(title="Training losses (nats)", xlabel="epoch", yscale="log")
    axes.legend()


def _draw_mask_rate(axes: Any, model: Any) -> None:
    for stage, history in _trained_stages(model).items():
        epochs = np.arange(1, len(history["mask_rate"]) + 1)
        axes.plot(
            epochs,
            100 * np.asarray(history["mask_rate"]),
            marker=".",
            color=STAGE_COLORS[stage],
            label=f"{stage}: unlabeled images with a target",
        )
    trusted = 100 * np.asarray(model.history["inner"]["trusted_share"])
    axes.plot(
        np.arange(1, len(trusted) + 1),
        trusted,
        ":",
        marker=".",
        color=STAGE_COLORS["inner"],
        label="inner: of these, target from the trusted set",
    )
    axes.set(title="Targets of unlabeled images (%)", xlabel="epoch", ylim=(0, 105))
    axes.legend()


def _draw_trusted_set(axes: Any, model: Any, true_labels: Any) -> None:
    trusted = model.trusted_set
    sizes = np.bincount(trusted.labels, minlength=len(model.class_names))
    heights: Any = sizes
    title = "Trusted images by class"
    if true_labels is not None:
        per_class = trusted.audit(true_labels)["per_class"]
        precision = [per_class[label]["precision"] for label in range(len(sizes))]
        heights = 100 * np.nan_to_num(precision)
        title = "Precision of the trusted set (%), and its size"
        axes.set_ylim(0, 112)
    bars = axes.bar(np.arange(len(sizes)), heights, color="tab:green")
    if len(sizes) <= MAX_LABELED_BARS:
        axes.bar_label(bars, [str(size) for size in sizes], fontsize=8)
        longest = max(map(len, model.class_names))
        turn = 45 if longest > 3 else 0
        _name_bars(axes, model.class_names, "number of the class", turn)
    else:
        axes.set_xlabel("number of the class")
    axes.set(title=title)


def _name_bars(axes: Any, names: Sequence[str], number: str, turn: float = 0) -> None:
    """Writes names below bars, or what their numbers are where no font has the letters.

    Args:
        axes: Panel of bars at 0, 1 and so on.
        names: Of the bars.
        number: What a number is called.
        turn: Degrees by which names are turned.
    """
    shown = [values.text(name, fonts.MAX_LENGTH) for name in names]
    families = fonts.families_for(shown)
    places = np.arange(len(names))
    if families is None:
        axes.set_xticks(places)
        axes.set_xlabel(number)
        return
    axes.set_xticks(
        places,
        shown,
        rotation=turn,
        fontfamily=families,
        # Dollars in a name are no formula.
        parse_math=False,
    )
