"""Bad inputs of `baselines`."""

import pytest

from kdfixmatch_keras import baselines
from tests.bad_inputs import (
    IMAGES,
    LABELS,
    backbone,
    check_refusal,
    fit_baseline,
    integer,
    network,
    of_rows,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*trusted set:UserWarning")


def probe():
    model = baselines.LinearProbe(backbone, sizes=[8])
    model.fit((IMAGES, LABELS), IMAGES, verbose=0)
    return model


def spreading():
    model = baselines.LabelSpreading(backbone, size=8)
    model.fit((IMAGES, LABELS), IMAGES, verbose=0)
    return model


ROWS = [
    (
        "baselines.Supervised",
        lambda g: baselines.Supervised("small_cnn", tau=1.5),
        ValueError,
        "`tau` must be in [0, 1]. Received: tau=1.5",
    ),
    (
        "baselines.FixMatch",
        lambda g: baselines.FixMatch("smal_cnn"),
        ValueError,
        "Received: backbone='smal_cnn'. Did you mean 'small_cnn'?",
    ),
    (
        "baselines.SelfTraining",
        lambda g: baselines.SelfTraining("small_cnn", batch_size=None),
        ValueError,
        integer("batch_size", 1, None),
    ),
    (
        "baselines.MeanTeacher",
        lambda g: baselines.MeanTeacher("small_cnn", teacher="shared"),
        ValueError,
        "`teacher` must be one of 'ema'. Received: teacher='shared'",
    ),
    (
        "baselines.NoisyStudent",
        lambda g: baselines.NoisyStudent("small_cnn", dropout=1),
        ValueError,
        "`dropout` must be in [0, 1). Received: dropout=1",
    ),
    (
        "baselines.LinearProbe",
        lambda g: baselines.LinearProbe("small_cnn", sizes=()),
        ValueError,
        "`sizes` must be a list of sizes in pixels, at least one. Received: sizes=()",
    ),
    (
        "baselines.LinearProbe",
        lambda g: baselines.LinearProbe("small_cnn", sizes=96),
        ValueError,
        "`sizes` must be a list of sizes in pixels, at least one. Received: sizes=96",
    ),
    (
        "baselines.LinearProbe",
        lambda g: baselines.LinearProbe("small_cnn", sizes=(64, 0.5)),
        ValueError,
        integer("sizes", 1, 0.5),
    ),
    (
        "baselines.LabelSpreading",
        lambda g: baselines.LabelSpreading("small_cnn", size=0),
        ValueError,
        integer("size", 1, 0),
    ),
    (
        "baselines.LabelSpreading",
        lambda g: baselines.LabelSpreading("small_cnn", size=(96, 96)),
        ValueError,
        integer("size", 1, (96, 96)),
    ),
    (
        "LinearProbe.predict",
        lambda g: probe().predict(IMAGES, batch_size=0),
        ValueError,
        integer("batch_size", 1, 0),
    ),
    (
        "LinearProbe.predict",
        lambda g: probe().predict(IMAGES, on_error="ignore"),
        ValueError,
        "`on_error` must be one of 'raise', 'skip'. Received: on_error='ignore'",
    ),
    (
        "LinearProbe.evaluate",
        lambda g: probe().evaluate(IMAGES, LABELS + 1),
        ValueError,
        "`images` must hold labels in [0, 3)",
    ),
    (
        "ImageClassifier.predict",
        lambda g: spreading().predict(IMAGES, batch_size=0),
        ValueError,
        integer("batch_size", 1, 0),
    ),
    (
        "ImageClassifier.predict",
        lambda g: spreading().predict(g.here / "empty"),
        ValueError,
        "`images` must",
    ),
    (
        "ImageClassifier.predict",
        lambda g: baselines.LabelSpreading("small_cnn").predict(IMAGES),
        RuntimeError,
        "Call `fit` first",
    ),
    (
        "ImageClassifier.evaluate",
        lambda g: spreading().evaluate(IMAGES, LABELS + 1),
        ValueError,
        "`images` must hold labels in [0, 3)",
    ),
    (
        "ImageClassifier.evaluate",
        lambda g: spreading().evaluate(IMAGES, LABELS, verbose=None),
        ValueError,
        "2 (a line an epoch). Received: verbose=None",
    ),
    (
        "baselines.MeanTeacherNetwork",
        lambda g: network(baselines.MeanTeacherNetwork, rampup_steps=-1),
        ValueError,
        integer("rampup_steps", 0, -1),
    ),
    (
        "baselines.NoisyStudentNetwork",
        lambda g: baselines.NoisyStudentNetwork(5),
        TypeError,
        "`student` must be a keras.Model, as `backbones.build_network` makes it. "
        "Received: student=5",
    ),
    (
        "baselines.PseudoLabelNetwork",
        lambda g: network(baselines.PseudoLabelNetwork, lambda_u=-1),
        ValueError,
        "`lambda_u` must be in [0, infinity). Received: lambda_u=-1",
    ),
    (
        "Baseline.fit",
        lambda g: fit_baseline(callbacks={"outer": []}),
        TypeError,
        "Received: callbacks={{'outer': []}}",
    ),
    (
        "Baseline.fit",
        lambda g: fit_baseline(run_dir=g.here / "other"),
        ValueError,
        "`run_dir` must be a new or an empty folder",
    ),
    (
        "Baseline.fit",
        lambda g: fit_baseline(on_error=True),
        ValueError,
        "`on_error` must be one of 'raise', 'skip'. Received: on_error=True",
    ),
    (
        "Baseline.fit",
        lambda g: fit_baseline(verbose=None),
        ValueError,
        "2 (a line an epoch). Received: verbose=None",
    ),
]


@of_rows(ROWS)
def test_bad_input(given, call, error, words):
    check_refusal(given, call, error, words)
