"""The figure of a run."""

from kdfixmatch_keras.report.figure import plot_run

__all__ = ["plot_run"]
