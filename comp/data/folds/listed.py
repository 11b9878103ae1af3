"""A CSV that numbers the folds of the images -> the fold of each; refuses images without one number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from comp.data.folds.heldout import ID_COLUMNS, find_name, spellings
from comp.data.sources.record import Record
from comp.errors import CompError, FoldsError, some
from comp.formats.table import read_table

FOLD_COLUMN = re.compile(r"(?i)(?:cv|k)?[ _-]?folds?(?:[ _-]?(?:id|idx|index|no|nr|num|number))?")
NUMBER = re.compile(r"(?i)(?:fold[ _-]?)?(-?\d+)(?:\.0+)?")
ALWAYS = -1  # as in our own fold files: never validated on


def fold_column(columns: Sequence[str]) -> str | None:
    """The column whose name says that it numbers folds: fold, kfold, fold_id, ..."""
    return next((c for c in columns if FOLD_COLUMN.fullmatch(c.strip())), None)


def read_listed(path: Path, records: Sequence[Record]) -> list[int]:
    """The fold of each record, numbered from 0 in the order of the file's numbers; -1: always trained on.

    The file has one row an image, or more that agree; ids may be spelled as image_id, file name, stem
    or path. Rows of other images are not read.

    Raises:
        FoldsError: unreadable, no column of folds or of ids, cells that are no number, images
            without a fold or with two, fewer than one fold.
    """
    try:
        frame = read_table(path)
    except FileNotFoundError as error:
        raise FoldsError(f"{path}: folds.listed names no file") from error
    except CompError as error:
        raise FoldsError(f"folds.listed: {error}") from error
    columns = {str(c): [str(x).strip() for x in frame[c]] for c in frame.columns}
    column = fold_column(list(columns))
    if column is None:
        raise FoldsError(f"{path}: no column fold; it has {some(columns, 12)} (folds.listed)")
    hits = [NUMBER.fullmatch(cell) for cell in columns[column]]
    if wrong := [c for c, hit in zip(columns[column], hits, strict=True) if hit is None]:
        raise FoldsError(
            f"{path}: column {column!r}: {len(wrong)} cells are no number of a fold: {some(wrong)}"
        )
    numbers = [int(hit[1]) for hit in hits if hit is not None]
    keys = _best_ids(columns, column, records)
    fold_of: dict[str, int] = {}
    for image_id, number in zip(keys, numbers, strict=True):
        if image_id is not None and fold_of.setdefault(image_id, number) != number:
            raise FoldsError(
                f"{path}: {image_id!r} is in fold {fold_of[image_id]} and in fold {number}"
            )
    if missing := [r.image_id for r in records if r.image_id not in fold_of]:
        raise FoldsError(
            f"{path}: {len(missing)} of {len(records)} training images have no fold: {some(missing)}"
        )
    used = sorted({fold_of[r.image_id] for r in records} - {ALWAYS})
    if not used or used[0] < ALWAYS:
        raise FoldsError(
            f"{path}: column {column!r} holds {some(used)}; expected folds from 0 or 1"
        )
    place = {ALWAYS: ALWAYS, **{number: n for n, number in enumerate(used)}}
    return [place[fold_of[record.image_id]] for record in records]


def _best_ids(
    columns: dict[str, list[str]], fold: str, records: Sequence[Record]
) -> list[str | None]:
    """The image that each row means, by the column that names most images; None: none."""
    table = spellings(records)
    named = sorted(
        (c for c in columns if c != fold), key=lambda c: c.strip().lower() not in ID_COLUMNS
    )
    best: tuple[int, list[str | None]] = (0, [None] * len(columns[fold]))
    for column in named:
        found = [find_name(cell, table) for cell in columns[column]]
        keys = [next(iter(ids)) if len(ids) == 1 else None for ids in found]
        n = len(set(keys) - {None})
        if n > best[0]:
            best = (n, keys)
    return best[1]
