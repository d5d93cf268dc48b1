"""Bad inputs of `report`."""

import pytest

from kdfixmatch_keras import baselines, plots, report, sources
from kdfixmatch_keras.report import metrics
from tests.bad_inputs import (
    CLASSES,
    IMAGES,
    LABELS,
    PROBABILITIES,
    array_source,
    backbone,
    check_refusal,
    integer,
    labeled_images,
    new_model,
    of_rows,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")


def probe(labels, images=IMAGES):
    found = baselines.LinearProbe(backbone, sizes=[8], seed=0)
    found.fit((images, labels), images, verbose=0)
    return found


def collect(g, **rivals):
    return report.collect(g.model, labeled_images(), array_source(), **rivals)


ROWS = [
    (
        "plots.plot_run",
        lambda g: plots.plot_run(new_model(), g.here / "run.png"),
        RuntimeError,
        "`model` must be trained. Call `fit` first.",
    ),
    (
        "plots.plot_run",
        lambda g: plots.plot_run(g.model.inner, g.here / "run.png"),
        TypeError,
        "`model` must be a trained KDFixMatch. Received: model of type FixMatch",
    ),
    (
        "plots.plot_run",
        lambda g: plots.plot_run(g.model, g.here / "run.xyz"),
        ValueError,
        "`path` must end in the suffix of a picture, such as .png, .svg or .pdf. "
        "Received: path='{here}/run.xyz'",
    ),
    (
        "plots.plot_run",
        lambda g: plots.plot_run(g.model, g.here / "a.png", accuracies={"mine": 91}),
        ValueError,
        "`accuracies['mine']` must be in [0, 1]. Received: accuracies['mine']=91",
    ),
    (
        "plots.plot_run",
        lambda g: plots.plot_run(g.model, g.here / "a.png", true_labels=[0]),
        ValueError,
        "`true_labels` must be one integer per unlabeled sample, of shape (12,)",
    ),
    (
        "report.collect",
        lambda g: report.collect(new_model(), labeled_images(), array_source()),
        RuntimeError,
        "`model` must be trained. Call `fit` first.",
    ),
    (
        "report.collect",
        lambda g: report.collect(g.model, (IMAGES, LABELS), array_source()),
        TypeError,
        "`labeled` must be images as `sources.labeled_source` opens them. Received: "
        "labeled of type tuple",
    ),
    (
        "report.collect",
        lambda g: report.collect(
            g.model, labeled_images(), sources.ArraySource(IMAGES[:5])
        ),
        ValueError,
        "`unlabeled` must be the images that the model was trained on, 12 of them. "
        "Received: 5",
    ),
    (
        "report.collect",
        lambda g: report.collect(
            g.model, labeled_images(), array_source(), accuracies=[0.5]
        ),
        TypeError,
        "`accuracies` must be a dictionary of accuracies by method. Received: "
        "accuracies=[0.5]",
    ),
    (
        "report.collect",
        lambda g: collect(g, test=labeled_images()),
        ValueError,
        "`test` must hold images that are not labeled for training, or it measures "
        "nothing. Received: 12 of 12 with the content of labeled images.",
    ),
    (
        "report.collect",
        lambda g: collect(g, probe=g.model),
        TypeError,
        "`probe` must be a trained baselines.LinearProbe. Received: probe of type "
        "KDFixMatch",
    ),
    (
        "report.collect",
        lambda g: collect(g, supervised=probe(LABELS)),
        TypeError,
        "`supervised` must be a trained baselines.Supervised. Received: supervised of "
        "type LinearProbe",
    ),
    (
        "report.collect",
        lambda g: collect(g, probe=baselines.LinearProbe(backbone)),
        RuntimeError,
        "Call `fit` first",
    ),
    (
        "report.collect",
        lambda g: collect(g, probe=probe(LABELS % 2)),
        ValueError,
        "`probe` must have the classes of the model",
    ),
    (
        "report.collect",
        lambda g: collect(g, probe=probe(LABELS, IMAGES[:, :7])),
        ValueError,
        "`probe` must have been trained on images of the shape of the model, (8, 8, "
        "3). Received: (7, 8, 3)",
    ),
    (
        "report.render",
        lambda g: report.render([]),
        ValueError,
        "`contents` must be what `collect` of this version returned. Received: list",
    ),
    (
        "report.write",
        lambda g: report.write({}, g.here / "report.html"),
        ValueError,
        "`contents` must be what `collect` of this version returned. Received: dict",
    ),
    (
        "report.write",
        lambda g: report.write({}, g.here / "other"),
        ValueError,
        "`path` must be a file, new or to replace. Received: path='{here}/other', "
        "which is a folder",
    ),
    (
        "metrics.evaluate_predictions",
        lambda g: metrics.evaluate_predictions(PROBABILITIES, LABELS + 1, CLASSES),
        ValueError,
        "`labels` must be in [0, 3). Received: labels from 1 to 3",
    ),
    (
        "metrics.evaluate_predictions",
        lambda g: metrics.evaluate_predictions(PROBABILITIES, LABELS, "abc"),
        TypeError,
        "`class_names` must be a list of strings. Received: class_names='abc'",
    ),
    (
        "metrics.evaluate_predictions",
        lambda g: metrics.evaluate_predictions(PROBABILITIES * 9, LABELS, CLASSES),
        ValueError,
        "`probabilities` must not be negative and must sum to 1 in every row. Apply a "
        "softmax to logits.",
    ),
    (
        "metrics.expected_calibration_error",
        lambda g: metrics.expected_calibration_error(PROBABILITIES, LABELS, 0),
        ValueError,
        integer("num_bins", 1, 0),
    ),
]


@of_rows(ROWS)
def test_bad_input(given, call, error, words):
    check_refusal(given, call, error, words)
