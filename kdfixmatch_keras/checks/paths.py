"""Paths on this machine: what a user typed as the system takes it."""

import os
import re
from pathlib import Path

# `pathlib` makes one slash of the two; a drive of Windows is a single letter.
_ADDRESS = re.compile(r"([a-z][\w+.@-]+):/+", re.IGNORECASE)
# Where files of an address are on this machine.
_MOUNTED = {"dbfs": "/dbfs/", "file": "/"}
_TOOLS = {
    "gs": "`gcloud storage cp`",
    "hdfs": "`hdfs dfs`",
    "hf": "`hf download`",
    "http": "a browser or `curl`",
    "https": "a browser or `curl`",
    "s3": "`aws s3 cp`",
}
# Endings of files of which a folder must not have the name: who gets it would take it
# for such a file.
FILE_SUFFIXES = (
    *(".keras", ".h5", ".hdf5", ".onnx", ".pb", ".tflite", ".pt", ".pth", ".ckpt"),
    *(".pkl", ".pickle", ".joblib", ".npz", ".npy", ".json", ".zip", ".tar", ".gz"),
    *(".tgz", ".bz2", ".xz", ".7z", ".rar"),
)
# What one opens with another program than a table, which commas would be lost on.
_NO_TABLES = (".xlsx", ".xls", ".ods", ".json", ".jsonl", ".parquet", ".html", ".tsv")


def expand_user(path: str | os.PathLike[str]) -> Path:
    """Replaces `~` by the home directory, and leaves that of nobody as it is."""
    return Path(os.path.expanduser(os.fspath(path)))


def local_path(name: str, value: str | os.PathLike[str]) -> Path:
    """The path of a file or folder of this machine, `~` being the home directory.

    That of a user who does not exist is left as it is, as shells do.

    Raises:
        ValueError: It is an address, such as `gs://bucket/model.zip`, which the system
            would take for the name of a folder.
    """
    text = os.fspath(value)
    address = _ADDRESS.match(text)
    if address is None:
        return expand_user(text)
    scheme, rest = address[1].lower(), text[address.end() :]
    shown = f"{address[1]}://{rest}"
    if scheme in _MOUNTED:
        shown = text
        remedy = f"Pass {_MOUNTED[scheme] + rest!r}."
    else:
        tool = _TOOLS.get(scheme, "the tool of that storage")
        remedy = f"Copy from there or to there with {tool}, or mount it as a folder."
    raise ValueError(
        f"`{name}` must be a path on this machine. Received: {name}={shown!r}, an "
        f"address. {remedy}"
    )


def check_folder_name(name: str, path: Path) -> None:
    """Checks that a folder to write is not called like a file.

    Raises:
        ValueError: Its name promises a file that some program opens.
    """
    if path.suffix.lower() in FILE_SUFFIXES and not path.is_dir():
        raise ValueError(
            f"`{name}` must be a folder that is not named like a file. Received: "
            f"{name}={str(path)!r}"
        )


def check_table(name: str, path: Path) -> None:
    """Checks that a file of comma-separated values is not called like something else.

    Raises:
        ValueError: Its name promises what it would not be.
    """
    if path.suffix.lower() in _NO_TABLES:
        raise ValueError(
            f"`{name}` must be a CSV file, conventionally *.csv. Received: "
            f"{name}={str(path)!r}. Spreadsheets open CSV files."
        )


def check_page(name: str, path: Path) -> None:
    """Checks that a page of HTML is not called like something else.

    Raises:
        ValueError: Its name promises what it would not be.
    """
    if path.suffix.lower() not in ("", ".html", ".htm"):
        raise ValueError(
            f"`{name}` must end in .html, as the report is a page. Received: "
            f"{name}={str(path)!r}. A browser prints it to a PDF."
        )
