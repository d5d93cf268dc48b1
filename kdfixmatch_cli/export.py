"""`kdfixmatch export`: a trained model for serving."""

from pathlib import Path

from kdfixmatch_cli.console import new_console
from kdfixmatch_cli.output import check_parents
from kdfixmatch_keras import export as export_module
from kdfixmatch_keras import validation
from kdfixmatch_keras.run_folder import RunFolder

# What Keras calls a SavedModel says too much for a command line.
FORMATS = {"saved_model": "tf_saved_model", "onnx": "onnx"}


def export(run: Path, output: Path, format: str, quiet: bool) -> None:
    """Writes a SavedModel or an ONNX file."""
    validation.check_choice("format", format, FORMATS)
    check_parents(output)
    export_module.check_path(output, FORMATS[format], "--output")
    RunFolder.open(run).load_model().export(output, FORMATS[format])
    new_console(quiet).print(f"Wrote {output}")
