"""Bad inputs of the command line: what is typed, the status, and what is said."""

import pytest
from typer.testing import CliRunner

from kdfixmatch_cli.app import app
from tests.bad_inputs import contents

TRAIN = "train --labeled labeled --unlabeled unlabeled --output new "

COMMAND_ROWS = [
    ("trian", 2, "No such command 'trian'"),
    ("train --unlabeled unlabeled", 2, "Missing option '--output'"),
    (TRAIN + "--epoch 3", 2, "No such option: --epoch"),
    (TRAIN + "--epochs 0", 2, "Invalid value for '--epochs'"),
    (TRAIN + "--epochs many", 2, "Invalid value for '--epochs'"),
    (TRAIN + "--seed -1", 2, "Invalid value for '--seed'"),
    (TRAIN + "--tau-select nan", 1, "`--tau-select` must be in [0, 1]. Received: "),
    (TRAIN + "--lambda-u -1", 1, "`--lambda-u` must be in [0, infinity). Received: "),
    (TRAIN + "--ema-decay 1", 1, "`--ema-decay` must be in [0, 1). Received: "),
    (TRAIN + "--clustering kmean", 1, "Did you mean 'kmeans'?"),
    (TRAIN + "--unlabeled-loss scce", 1, "Did you mean 'sce'?"),
    (TRAIN + "--pixels torhc", 1, "`--pixels` must be one of 'tf'"),
    (
        TRAIN + "--pixels raw",
        1,
        "`--pixels` must be None for backbone='efficientnet_lite0'",
    ),
    (TRAIN + "--backbone hub:./no", 1, "where there is no config.json"),
    (TRAIN + "--weights none --pretrained", 1, "`--pretrained` must be None or False"),
    (TRAIN + "--image-size 0", 1, "`--image-size` must be a number of pixels, as 96"),
    (
        TRAIN + "--optimizer adam --learning-rate nan",
        1,
        "`--learning-rate` must be above 0 and finite. Received: --learning-rate nan",
    ),
    (
        TRAIN + "--output file",
        1,
        "or that of a run. Received: output='file', which is a",
    ),
    (
        TRAIN + "--continue-from unlabeled",
        1,
        "`--continue-from` must be the folder of a finished run. Received: 'unlabeled' "
        "(it has no run.json)",
    ),
    (
        TRAIN + "--continue-from run --output run/new",
        1,
        "`--output` must not lie in the folder of `--continue-from`, which is only ",
    ),
    (TRAIN + "--output run.keras", 1, "`--output` must be a folder that is not named"),
    (TRAIN + "--output empty/../file/run", 1, "`--output` must lie in a folder"),
    (
        TRAIN + "--unlabeled file",
        1,
        "`--unlabeled` must be an existing folder. Received",
    ),
    (TRAIN + "--labeled gone --labels l.csv", 1, "must be given, and not both"),
    ("suggest", 1, "Received: neither it nor a RUN"),
    ("suggest gone", 1, "finished run. Received: 'gone' (there is no such folder)"),
    ("suggest run", 1, "`--unlabeled` must be the folder of images to choose from."),
    ("suggest --unlabeled gone", 1, "`--unlabeled` must be an existing folder"),
    ("suggest --unlabeled gs://b/x", 1, "`--unlabeled` must be a path on this machine"),
    ("suggest --unlabeled unlabeled --count 0", 2, "Invalid value for '--count'"),
    ("suggest --unlabeled unlabeled --seed -1", 2, "Invalid value for '--seed'"),
    ("suggest --unlabeled unlabeled --count 4", 1, "`--count` must be at most 3"),
    ("suggest --unlabeled unlabeled --strategy typcal", 1, "Did you mean 'typical'?"),
    ("suggest --unlabeled unlabeled --on-error no", 1, "`--on-error` must be one of"),
    ("suggest --unlabeled unlabeled --output file", 1, "this command wrote before."),
    ("suggest --unlabeled unlabeled --output x.json", 1, "must be a CSV file, conven"),
    (
        "suggest --unlabeled unlabeled --labels file",
        1,
        "must have the columns file,lab",
    ),
    (
        "suggest --unlabeled unlabeled --test empty",
        1,
        "`--test` must hold at least one",
    ),
    ("predict run", 2, "Missing argument 'IMAGES"),
    (
        "predict run gone.png --output new.csv",
        1,
        "Received: gone.png (no file or folder)",
    ),
    (
        "predict run unlabeled --output empty",
        1,
        "must be a file. Received: empty, a folde",
    ),
    ("predict run unlabeled --batch-size 0", 2, "Invalid value for '--batch-size'"),
    (
        "predict run unlabeled --on-error no",
        1,
        "`--on-error` must be one of 'raise', 'ski",
    ),
    (
        "predict run file --output new.csv",
        1,
        "`IMAGES` must be readable. Received: file",
    ),
    ("evaluate run", 2, "Missing option '--data'"),
    (
        "evaluate other --data labeled",
        1,
        "a finished run. Received: 'other' (it has no ru",
    ),
    ("evaluate run --data gone", 1, "`--data` must be an existing folder"),
    ("evaluate run --data other_classes", 1, "Received: also yellow"),
    ("export run --output new --format tf", 1, "must be one of 'saved_model', 'onnx'"),
    ("export run --output other", 1, "`--output` must be a new or an empty folder"),
    ("export run --output new.bin --format onnx", 1, "`--output` must end in .onnx"),
    ("export run --output new.onnx", 1, "Pass format='onnx' for an ONNX file."),
    ("report gone", 1, "finished run. Received: 'gone' (there is no such folder)"),
    (
        "report run --output file",
        1,
        "or a file that this command wrote before. Received",
    ),
    ("report run --output file/report.html", 1, "`--output` must lie in a folder"),
    ("trusted file", 1, "finished run. Received: 'file' (it is a file)"),
    ("trusted run --output labeled", 1, "must be a file. Received: labeled, a folder"),
    ("train --labeled gs://b/x --unlabeled unlabeled --output new", 1, "`--labeled` m"),
    ("predict s3://b/run unlabeled", 1, "`RUN` must be a path on this machine"),
    ("predict run https://b/a.png --output new.csv", 1, "`IMAGES` must be a path on"),
    ("predict run unlabeled --output new.xlsx", 1, "`--output` must be a CSV file"),
    ("evaluate run --data s3://b/test", 1, "`--data` must be a path on this machine"),
    ("trusted run --output new.json", 1, "`--output` must be a CSV file"),
    ("report run --output new.pdf", 1, "`--output` must end in .html"),
    ("audit", 2, "Missing option '--unlabeled'"),
    ("audit --unlabeled unlabeled", 1, "must be given, and not both"),
    (
        "audit --unlabeled unlabeled --labeled labeled --output x.json",
        1,
        "`--output` must be a CSV file",
    ),
    (
        "audit --unlabeled unlabeled --labeled labeled --backbone small_cnn",
        1,
        "`--backbone` must be a network with trained weights",
    ),
    ("label --unlabeled unlabeled", 2, "Missing option '--labels'"),
    ("label --unlabeled gone --labels l.csv", 1, "`--unlabeled` must be an existing"),
    ("label --unlabeled empty --labels l.csv", 1, "must hold at least one image"),
    ("label --unlabeled unlabeled --labels l.xlsx", 1, "`--labels` must be a CSV file"),
    ("label --unlabeled unlabeled --labels empty", 1, "Received: empty, a folder"),
    (
        "label --unlabeled unlabeled --labels file",
        1,
        "`--labels` must have the columns",
    ),
    ("label --unlabeled unlabeled --labels no/l.csv", 1, "in a folder that exists"),
    (
        "label --unlabeled unlabeled --labels unlabeled/l.csv",
        1,
        "`--labels` must not lie in the folder of images",
    ),
    (
        "label --unlabeled unlabeled --labels l.csv --run other",
        1,
        "`--run` must be the folder of a finished run. Received: other",
    ),
    (
        "label --unlabeled unlabeled --labels l.csv --test gone",
        1,
        "`--test` must be an existing folder",
    ),
    (
        "label --unlabeled unlabeled --labels l.csv --train-options --output=x",
        1,
        "`--train-options` must not have what the page gives to a training",
    ),
    (
        "label --unlabeled unlabeled --labels l.csv --train-options '",
        1,
        "`--train-options` must be options as they are typed. Received: '",
    ),
    ("label --unlabeled gs://b/x --labels l.csv", 1, "`--unlabeled` must be a path on"),
    ("label --unlabeled unlabeled --labels l.csv --port 70000", 2, "Invalid value for"),
    (
        "label --unlabeled unlabeled --labels l.csv --host 192.0.2.1",
        1,
        "`--host` and `--port` must be an address of this machine that is free",
    ),
    ("demo --epochs 0", 2, "Invalid value for '--epochs'"),
    ("demo --output other", 1, "which holds something else"),
    ("demo --output run", 1, "Received: run, which holds a run"),
]


def in_one_line(text):
    """Text without the boxes and line breaks of a terminal."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(("typed", "code", "words"), COMMAND_ROWS)
def test_bad_command(given, typed, code, words):
    before = contents(given.here)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, typed.split())
    assert result.exit_code == code, result.output
    said = in_one_line(result.output)
    assert words in said
    if code == 1:
        assert "Error: " in said and " must " in said and "Received: " in said
    assert "Traceback" not in said
    assert contents(given.here) == before


def test_every_command_is_in_the_table():
    commands = {command.callback.__name__ for command in app.registered_commands}
    typed = {row[0].split()[0] for row in COMMAND_ROWS}
    assert commands <= typed
