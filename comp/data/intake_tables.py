"""CSV files beside the data -> what each is for: run-length codes, sample submission, meta, classes.

Judged by the cells, not by the columns' names: names differ in every competition.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from comp.config import IGNORE
from comp.data.intake import entries
from comp.data.intake_colors import colored_table
from comp.data.intake_masks import IGNORE_NAMES, ClassTable
from comp.data.palette import color_columns
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
GROUP_NAMES = re.compile(
    r"(?i).*(group|source|patient|site|scene|slide|video|sequence|case|study|subject|city|area|region|location).*"
)


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


def class_table(tables: Sequence[Table]) -> ClassTable | None:
    """The list of classes among the tables: a column of numbers, a column of names, one row each.

    Raises:
        DataError: numbers or names repeat.
    """
    for table in tables:
        frame = table.frame
        if not re.search(r"(?i)class|label|palette|colou?r", table.name) or len(frame) < 1:
            continue
        colors, of_colors = color_columns(frame, table.name)
        rest = [c for c in frame.columns if c not in of_colors]
        numbers = [c for c in rest if all(re.fullmatch(r"\d+", x) for x in frame[c])]
        words = [c for c in rest if not any(re.fullmatch(r"[\d.#]*", x) for x in frame[c])]
        named = [c for c in words if re.search(r"(?i)name|label|class", c)] or words
        if colors and named:
            names = [x.strip() for x in frame[named[0]]]
            own = [int(x) for x in frame[numbers[0]]] if numbers else None
            return colored_table(table.name, names, colors, own)
        if not numbers or not named:
            continue
        values, names = [int(x) for x in frame[numbers[0]]], [x.strip() for x in frame[named[0]]]
        if len(set(values)) < len(values) or len(set(names)) < len(names):
            raise DataError(f"{table.name}: a number or a name stands there twice")
        pairs = dict(zip(values, names, strict=True))
        ignored = [v for v, name in pairs.items() if name.lower() in IGNORE_NAMES or v == IGNORE]
        if len(ignored) > 1:
            raise DataError(f"{table.name}: more than one class to ignore: {ignored}; keep one")
        kept = {v: pairs[v] for v in sorted(pairs) if v not in ignored}
        return ClassTable(table.name, kept, ignored[0] if ignored else None)
    return None


def meta_table(tables: Sequence[Table], ids: Collection[str]) -> tuple[Table, str] | None:
    """(table, id column) of the table with one row for each training image, if there is one."""
    for table in tables:
        if code_shape(table.frame, ids) is not None:
            continue
        for column in table.frame.columns:
            cells = table.frame[column]
            if (
                len(ids)
                and len(table.frame.columns) > 1
                and cells.is_unique
                and set(ids) <= set(cells)
            ):
                return table, str(column)
    return None


def group_columns(frame: pd.DataFrame, id_column: str, ids: Collection[str]) -> dict[str, int]:
    """Columns whose values may be groups -> how many values; those with the most values first.

    Words that repeat, at least two images a group on average; numbers only where the name says so.
    """
    rows = frame[frame[id_column].isin(list(ids))]
    found = {}
    for column in rows.columns:
        n = int(rows[column].nunique())
        numeric = all(re.fullmatch(r"-?[\d.]*(e-?\d+)?", cell) for cell in rows[column])
        if column == id_column or not 2 <= n <= len(rows) // 2 or (rows[column] == "").any():
            continue
        if GROUP_NAMES.match(str(column)) or not numeric:
            found[str(column)] = n
    by_name = sorted(found, key=lambda c: (not GROUP_NAMES.match(c), -found[c]))
    return {column: found[column] for column in by_name}
