"""Submission formats: CSV tables of run-length codes, written, verified and read strictly."""

from comp.formats.reading import RleTable, read_submission
from comp.formats.rle_table import FORMATS, Format, class_names, layout_of
from comp.formats.table import read_table, table_bytes
from comp.formats.writing import write_submission

__all__ = [
    "FORMATS",
    "Format",
    "RleTable",
    "class_names",
    "layout_of",
    "read_submission",
    "read_table",
    "table_bytes",
    "write_submission",
]
