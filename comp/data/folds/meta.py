"""One column of the competition's meta table, by image_id."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from comp.config import Competition
from comp.data.sources.meta_ids import rows_of, say_prefix
from comp.errors import DataError, FoldsError, some
from comp.registry import nearest, unknown


def read_meta_column(
    competition: Competition, data_root: Path, column: str, ids: Sequence[str], key: str
) -> list[str]:
    """Read a column of `data.meta` for each of `ids`, as text.

    Args:
        key: the config key that asks, for messages: ``folds.group``.

    Raises:
        FoldsError: no table, no such column, images without a row, or cells that are empty.
        DataError: the table cannot be read, or holds an id twice.
    """
    data = competition.data
    if data.meta is None:
        raise FoldsError(
            f"{key} is {column!r}, but data.meta names no table; expected data.meta: a CSV, relative to"
            f" data.root, with one row an image, the image ids in column {data.meta_id_column}"
            f" (data.meta_id_column) and a column {column}"
        )
    path = data_root / data.meta
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or [])
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read (data.meta): {error}") from error
    for name, where in ((data.meta_id_column, "data.meta_id_column"), (column, key)):
        if name not in names:
            listed = f"; it has: {', '.join(names)}" if nearest(name, names) else ""
            raise FoldsError(
                f"{path} (data.meta): {where}: {unknown(name, names, 'column')}{listed}"
            )
    if repeated := [
        i for i, n in Counter(row[data.meta_id_column] for row in rows).items() if n > 1
    ]:
        raise DataError(f"{path}: {len(repeated)} ids have more than one row: {some(repeated)}")
    cells = [row[data.meta_id_column] for row in rows]
    row_of = rows_of(ids, cells, data.meta_ids)
    values = {image_id: rows[number][column] for image_id, number in row_of.items()}
    if missing := [image_id for image_id in ids if image_id not in values]:
        hint = "" if data.meta_ids == "prefix" else say_prefix(missing, cells, path.name)
        raise FoldsError(
            f"{path}: {len(missing)} training images have no row: {some(missing)}"
            + (hint or f"; their ids are looked for in column {data.meta_id_column}")
        )
    if empty := [image_id for image_id in ids if not values[image_id]]:
        raise FoldsError(
            f"{path}: column {column!r} is empty for {len(empty)} images: {some(empty)}"
        )
    return [values[image_id] for image_id in ids]


def column_names(competition: Competition, data_root: Path) -> list[str]:
    """The columns of `data.meta`, in order; none where there is no such table.

    Raises:
        DataError: the table cannot be read.
    """
    if competition.data.meta is None:
        return []
    path = data_root / competition.data.meta
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read (data.meta): {error}") from error
