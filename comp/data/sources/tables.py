"""CSV files beside the data, by their cells: which hold run-length codes, in what shape, under which ids.

Judged by the cells, not by the columns' names: names differ in every competition.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from comp.data.sources.patterns import entries
from comp.errors import DataError
from comp.formats.table import read_table

if TYPE_CHECKING:
    import pandas as pd

CODE = re.compile(r"\s*\d+\s+\d+(?:\s+\d+\s+\d+)*\s*")
CODE_NAMES = {
    "encodedpixels", "encoded_pixels", "rle", "rle_mask", "mask_rle", "predicted", "predictions",
    "prediction", "segmentation", "annotation",
}  # fmt: skip
PLAIN_NAMES = {"height", "width", "usage"}


@dataclass(frozen=True)
class Table:
    """One CSV at the top of the data folder; cells are text."""

    name: str
    frame: pd.DataFrame


@dataclass(frozen=True)
class Shape:
    """How a table spells run-length codes; the fields are those of `Rle` and `Submission`."""

    id_column: str
    rle_column: str
    class_column: str | None
    class_in_id: bool
    row: str
    empty: str
    class_cells: tuple[str, ...]  # the classes as spelled, in order of first appearance
    ids: tuple[str, ...]  # in order of first appearance

    @property
    def told(self) -> str:
        unit = {"image": "an image", "image_class": "an image and class", "object": "an object"}
        return f"one row {unit[self.row]}, {len(self.ids)} ids"


def read_tables(root: Path, notes: list[str]) -> list[Table]:
    """Read every CSV at the top of `root`; one that is no CSV is said in `notes` and left."""
    tables = []
    for name, is_folder in entries(root):
        if is_folder or not name.lower().endswith((".csv", ".csv.gz")):
            continue
        try:
            tables.append(Table(name, read_table(root / name)))
        except DataError as error:
            notes.append(f"left aside: {error}")
    return tables


def is_sample(name: str) -> bool:
    """True for sample_submission.csv and its spellings."""
    return bool(re.match(r"(?i)(sample|example).*|.*sample_?sub.*", name))


def code_shape(frame: pd.DataFrame, ids: Collection[str]) -> Shape | None:
    """Find ids of `ids` and run-length codes in a table; None: it holds no such codes."""
    rle_column = _code_column(frame)
    if rle_column is None or frame.empty:
        return None
    rest = [column for column in frame.columns if column != rle_column]
    wanted = set(ids)
    known = {column: sum(cell in wanted for cell in frame[column]) for column in rest}
    best = max(rest, key=lambda column: known[column], default=None)
    if best is None:
        return None
    class_in_id = False
    keys = frame[best].tolist()
    class_cells: list[str] = []
    if not known[best]:
        for column in rest:
            parts = [cell.rpartition("_") for cell in frame[column]]
            if sum(head in wanted for head, _, _ in parts) * 2 > len(parts):
                best, class_in_id = column, True
                keys = [head for head, _, _ in parts]
                class_cells = list(dict.fromkeys(tail for _, _, tail in parts))
                break
        else:
            return None
    class_column = None
    if not class_in_id:
        class_column = _class_column(frame, best, rle_column)
        if class_column is not None:
            class_cells = list(dict.fromkeys(frame[class_column]))
    unique = tuple(dict.fromkeys(keys))
    row = "image" if len(unique) == len(frame) else "object"
    if class_in_id or class_column is not None:
        row = "image_class"
    blanks = [cell for cell in frame[rle_column] if not CODE.fullmatch(cell)]
    blanks += [cell for cell in frame[rle_column] if cell.strip() in ("1 0", "0 0")]
    empty = max(dict.fromkeys(blanks), key=blanks.count, default="")
    return Shape(
        best, rle_column, class_column, class_in_id, row, empty, tuple(class_cells), unique
    )


def _code_column(frame: pd.DataFrame) -> str | None:
    """The column of run-length codes: cells are pairs of numbers, or the name says so."""
    named = [c for c in frame.columns if c.lower().replace(" ", "") in CODE_NAMES]
    for column in [*named, *(c for c in frame.columns if c not in named)]:
        filled = [cell for cell in frame[column] if len(cell.strip()) > 2]
        if filled and sum(bool(CODE.fullmatch(cell)) for cell in filled) >= 0.9 * len(filled):
            return str(column)
    return str(named[0]) if named else None


def _class_column(frame: pd.DataFrame, id_column: str, rle_column: str) -> str | None:
    """A column whose few values, with the id, name each row once."""
    n_ids = frame[id_column].nunique()
    for column in frame.columns:
        if column in (id_column, rle_column) or column.lower() in PLAIN_NAMES:
            continue
        n = frame[column].nunique()
        if 2 <= n <= 255 and len(frame) > n_ids and not frame.duplicated([id_column, column]).any():
            return str(column)
    return None
