"""Ids that stand in several rows of a table of codes, where that may be a mistake and no list of objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from comp.errors import some
from comp.formats.reading import RleTable

if TYPE_CHECKING:
    import pandas as pd

LEAST = 5  # ids of images, or images and classes: fewer tell nothing of what is usual
FEW = 0.05  # share of the ids that repeat: fewer are hardly objects
Rows = Mapping[str, Sequence[int]]


def repeats_told(table: RleTable, sample: pd.DataFrame | None = None) -> list[str]:
    """Say which ids repeat in a table of one row an object, where most have one row; nothing else.

    Args:
        sample: the sample submission; one row an image speaks for tables that are the same.

    Returns:
        at most two lines: rows that stand there twice, and ids of several different rows.
    """
    if table.submission.row != "object":
        return []
    rows = {key: dict(cells) for key, cells in table.cells.items()}
    same: dict[str, list[int]] = {}
    several: dict[str, list[int]] = {}
    for key, mine in rows.items():
        n_of = Counter(cell.strip() for cell in mine.values())
        if max(n_of.values(), default=0) > 1:
            same[table.spell(key)] = [n for n, cell in mine.items() if n_of[cell.strip()] > 1]
        if len(mine) > 1:
            several[table.spell(key)] = list(mine)
    told = []
    if same:
        told.append(
            f"{table.source}: {_many(len(same))} in rows that say the same: {_listed(same)}; take out all"
            " but one of them"
        )
    few = len(rows) >= LEAST and len(several) <= max(1, FEW * len(rows))
    by_sample = sample is not None and _one_row(table, sample)
    if several and 2 * len(several) < len(rows) and (few or by_sample):
        others = "the other ids in one" + ", as in the sample" * by_sample
        row = "image" if table.names == ("",) else "image_class"
        told.append(
            f"{table.source}: {_many(len(several))} in several rows, {others} ({len(rows)} in all):"
            f" {_listed(several)}; the rows of an id are taken as objects of one image. If they are a"
            f" mistake, mend the table and set data.train_rle.row: {row}"
        )
    return told


def _many(n: int) -> str:
    return f"{n} id{'s stand' if n > 1 else ' stands'}"


def _listed(rows: Rows) -> str:
    return some(f"{name} (rows {some(numbers)})" for name, numbers in rows.items())


def _one_row(table: RleTable, sample: pd.DataFrame) -> bool:
    """Whether each key has one row in the sample, which holds the table's columns."""
    columns = [table.submission.id_column, table.submission.class_column]
    there = [column for column in columns if column in sample.columns]
    return columns[0] in there and len(sample) > 1 and not sample.duplicated(there).any()
