"""CSV files beside the data -> what else they are for: the classes' names and colours, meta columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from comp.data.images.palette import color_columns
from comp.data.intake.colors import colored_table
from comp.data.intake.mask_rules import ClassTable, the_ignored
from comp.data.sources.meta_ids import rows_of
from comp.data.sources.tables import Table, code_shape
from comp.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

GROUP_NAMES = re.compile(
    r"(?i).*(group|source|patient|site|scene|slide|video|sequence|case|study|subject|city|area|region|location).*"
)


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
        ignore = the_ignored(table.name, pairs)
        kept = {v: pairs[v] for v in sorted(pairs) if v != ignore}
        return ClassTable(table.name, kept, ignore)
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


def prefix_table(tables: Sequence[Table], ids: Sequence[str]) -> tuple[Table, str] | None:
    """(table, id column) of the table of which each row's id begins those of several training images."""
    for table in tables:
        for column in map(str, table.frame.columns):
            cells = list(table.frame[column])
            if len(cells) < 2 or len(table.frame.columns) < 2 or len(set(cells)) < len(cells):
                continue
            rows = rows_of(ids, cells, "prefix")
            if ids and len(rows) == len(ids) and 1 < len(set(rows.values())) < len(ids):
                return table, column
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
