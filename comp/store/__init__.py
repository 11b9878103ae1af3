"""What a run leaves on disk, and how it is read. Nothing here trains or predicts."""

from comp.store.probs import Probs, ProbsWriter, quantise, read_csv, write_csv
from comp.store.runs import (
    Run,
    list_runs,
    read_counts,
    read_result,
    read_run,
    write_counts,
    write_result,
)

__all__ = [
    "Probs",
    "ProbsWriter",
    "Run",
    "list_runs",
    "quantise",
    "read_counts",
    "read_csv",
    "read_result",
    "read_run",
    "write_counts",
    "write_csv",
    "write_result",
]
