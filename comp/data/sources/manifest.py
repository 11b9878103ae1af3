"""The manifest: one CSV row an image, with its part and its files, for what no pattern can say.

Also the record of what `comp init` found. Paths lie below the data's root and never leave it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from comp.errors import DataError, some
from comp.formats.table import LONGEST_CELL, table_bytes

COLUMNS = ("image_id", "split", "image", "masks")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Row:
    """One image.

    Args:
        images: its file, or one file a band in the order of the bands; relative, with '/'.
        masks: its mask files: none (test), one, one a class (multilabel, in class order), or one an
            object (binary: their union).
    """

    image_id: str
    split: str
    images: tuple[str, ...]
    masks: tuple[str, ...] = ()


def join_paths(paths: Iterable[str]) -> str:
    """Several paths in one cell, ';' between them; a ';' or backslash of a name gets a backslash."""
    return ";".join(re.sub(r"([\\;])", r"\\\1", path) for path in paths)


def split_paths(cell: str) -> tuple[str, ...]:
    """The paths of a cell, as `join_paths` wrote them."""
    found = re.findall(r"(?:[^\\;]|\\.)+", cell, re.DOTALL)
    return tuple(re.sub(r"\\(.)", r"\1", path, flags=re.DOTALL) for path in found)


def manifest_text(rows: Iterable[Row]) -> str:
    """The manifest's CSV, rows as they come."""
    cells = [(r.image_id, r.split, join_paths(r.images), join_paths(r.masks)) for r in rows]
    return table_bytes(COLUMNS, cells).decode()


def read_manifest(path: Path) -> list[Row]:
    """Read a manifest; the files that it names are not looked at.

    Raises:
        DataError: unreadable, other columns, and all rows that are wrong (the first five and the
            count): no id, an id twice, another split, no image, a path that leaves the data's root.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        csv.field_size_limit(LONGEST_CELL)
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except FileNotFoundError as error:
        raise DataError(f"missing manifest: {path} (data.train.manifest)") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a manifest: {error}") from error
    header = tuple(lines[0]) if lines else ()
    if header != COLUMNS:
        raise DataError(
            f"{path}: expected the columns {','.join(COLUMNS)}, got {','.join(header) or 'nothing'}"
        )
    rows: list[Row] = []
    wrong: list[str] = []
    seen: set[str] = set()
    for number, line in enumerate(lines[1:], 1):
        if len(line) != len(COLUMNS):
            wrong.append(f"row {number}: {len(line)} cells")
            continue
        row = Row(line[0], line[1], split_paths(line[2]), split_paths(line[3]))
        if told := _wrong(row, seen):
            wrong.append(f"row {number}, id {row.image_id!r}: {told}")
        seen.add(row.image_id)
        rows.append(row)
    if wrong:
        raise DataError(f"{path}: {len(wrong)} rows are wrong: {some(wrong)}")
    if not rows:
        raise DataError(f"{path}: no rows; expected one an image")
    return rows


def _wrong(row: Row, seen: set[str]) -> str:
    """What is wrong with one row, or nothing."""
    if not row.image_id:
        return "no id"
    if row.image_id in seen:
        return "the id stands there twice"
    if row.split not in SPLITS:
        return f"split {row.split!r}; expected {', '.join(SPLITS)}"
    if not row.images:
        return "no image"
    outside = [path for path in (*row.images, *row.masks) if leaves_root(path)]
    return f"{outside[0]!r} leaves the data's root" if outside else ""


def leaves_root(path: str) -> bool:
    """True for an absolute path, one with '..', or with a drive: nothing outside the data is read."""
    parts = re.split(r"[/\\]", path)
    return path.startswith(("/", "\\", "~")) or ".." in parts or bool(re.match(r"[A-Za-z]:", path))


def missing_files(rows: Sequence[Row], root: Path, source: str) -> list[str]:
    """One line for the files that the rows name and that are not there."""
    named = dict.fromkeys(path for row in rows for path in (*row.images, *row.masks))
    lost = [path for path in named if not (root / path).is_file()]
    if not lost:
        return []
    return [f"{source}: {len(lost)} of the files it names are not in {root}: {some(lost)}"]
