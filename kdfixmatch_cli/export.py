"""`kdfixmatch export`: a trained model for serving."""

from pathlib import Path

from kdfixmatch_cli.console import new_console
from kdfixmatch_cli.output import check_parents
from kdfixmatch_keras.checks import validation
from kdfixmatch_keras.report.run_folder import RunFolder
from kdfixmatch_keras.serving.formats import check_path

# What Keras calls a SavedModel says too much for a command line.
FORMATS = {"saved_model": "tf_saved_model", "onnx": "onnx"}


def export(run: Path, output: Path, format: str, quiet: bool) -> None:
    """Writes a SavedModel or an ONNX file."""
    validation.check_choice("format", format, FORMATS)
    check_parents(output)
    check_path(output, FORMATS[format], "--output")
    RunFolder.open(run).load_model().export(output, FORMATS[format])
    new_console(quiet).print(f"Wrote {output}")
