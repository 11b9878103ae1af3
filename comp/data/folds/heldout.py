"""A list of validation ids, however its author spelled them -> image ids; refuses names it cannot place."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from comp.data.sources.records import Record
from comp.errors import FoldsError, some

VALIDATION = {"val", "valid", "validation", "heldout", "held_out", "dev"}
ID_COLUMNS = ("image_id", "imageid", "id", "image", "filename", "file_name", "file", "name", "path")
SPLIT_COLUMNS = ("split", "set", "subset", "part")


def read_heldout(path: Path, records: Sequence[Record]) -> set[str]:
    """Read the validation ids of a JSON list or dict, or of a CSV.

    JSON: a list; or a dict with one list of them (``{"val": [...]}``) or with a word for each id
    (``{"a": "val", "b": "train"}``). CSV: a column of ids, with a column ``split`` where train ids are
    there too; a header is not needed. Each may be an image_id, a file name, its stem, a path, or a
    whole number.

    Raises:
        FoldsError: unreadable, no list found, or names of no image (the first five and the count).
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        named = _from_json(text, path) if path.suffix.lower() == ".json" else _from_csv(text, path)
    except FileNotFoundError as error:
        raise FoldsError(f"{path}: folds.heldout names no file") from error
    except (OSError, ValueError, csv.Error) as error:
        raise FoldsError(f"{path}: cannot be read: {error}") from error
    table = spellings(records)
    header = None
    if path.suffix.lower() != ".json" and named and _is_header(named[0], table):
        header, named = named[0], named[1:]
    found = [find_name(name, table) for name in named]
    if unknown := [name for name, ids in zip(named, found, strict=True) if not ids]:
        raise FoldsError(
            f"{path}: {len(unknown)} of {len(named)} names are no training image: {some(unknown)}; "
            f"expected ids or file names such as {records[0].image_id!r}, {records[0].image.name!r}"
        )
    if doubtful := [name for name, ids in zip(named, found, strict=True) if len(ids) > 1]:
        raise FoldsError(
            f"{path}: {len(doubtful)} names fit more than one image: {some(doubtful)}; use image ids"
        )
    if not named:
        raise FoldsError(
            f"{path}: lists no validation image" + (f" below {header!r}" if header else "")
        )
    return {image_id for ids in found for image_id in ids}


def _from_json(text: str, path: Path) -> list[str]:
    value = json.loads(text)
    if isinstance(value, dict):
        value = _list_in(value, path)
    if not isinstance(value, list) or not all(_is_name(item) for item in value):
        raise FoldsError(
            f"{path}: expected a JSON list of ids, or a dict that holds one, got {text[:60]!r}"
        )
    return [str(item) for item in value]


def _is_name(item: Any) -> bool:
    return isinstance(item, str | int) and not isinstance(item, bool)


def _list_in(value: dict[str, Any], path: Path) -> list[Any]:
    lists = {key: inner for key, inner in value.items() if isinstance(inner, list)}
    chosen = [key for key in lists if _means_validation(key)]
    if len(chosen) == 1 or len(lists) == 1:
        return lists[(chosen or list(lists))[0]]
    if value and all(isinstance(inner, str) for inner in value.values()):
        return [key for key, inner in value.items() if inner.lower() in VALIDATION]
    raise FoldsError(
        f"{path}: expected one list of validation ids (key val), got the keys {some(sorted(value))}"
    )


def _means_validation(key: str) -> bool:
    """True for val, valid_ids, validation_images, ..."""
    return key.lower() in VALIDATION or key.lower().partition("_")[0] in VALIDATION


def _from_csv(text: str, path: Path) -> list[str]:
    """The cells of the id column, the header's first: the caller knows whether it is one."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(row)]
    if not rows:
        return []
    names = [cell.lower() for cell in rows[0]]
    column = next((names.index(name) for name in ID_COLUMNS if name in names), 0)
    split = next((names.index(name) for name in SPLIT_COLUMNS if name in names), None)
    if any(len(row) <= max(column, split or 0) for row in rows):
        raise FoldsError(f"{path}: rows of different lengths; expected {len(rows[0])} columns")
    chosen = rows[1:] if split is None else [r for r in rows[1:] if r[split].lower() in VALIDATION]
    return [row[column] for row in (rows[0], *chosen)]


def _is_header(cell: str, table: dict[str, set[str]]) -> bool:
    """True for a column's name. A misspelled id must not pass for one: ids have digits, names have not."""
    return cell.lower() in ID_COLUMNS or not (
        find_name(cell, table) or any(c.isdigit() for c in cell)
    )


def spellings(records: Iterable[Record]) -> dict[str, set[str]]:
    """Everything that an image may be called -> the ids it may mean; an exact id means that image only."""
    table: dict[str, set[str]] = {}
    ids = {record.image_id for record in records}
    for record in records:
        parts = record.image.parts
        spelled = {record.image.stem, *("/".join(parts[i:]) for i in range(len(parts)))}
        spelled |= {name for mask in record.masks for name in (mask.name, mask.stem)}
        if record.image_id.isdecimal():
            spelled.add(str(int(record.image_id)))
        for name in spelled - ids:
            table.setdefault(name, set()).add(record.image_id)
    return table | {image_id: {image_id} for image_id in ids}


def find_name(name: str, table: dict[str, set[str]]) -> set[str]:
    """The ids that a name may mean; none where it names no image."""
    name = name.replace("\\", "/").removeprefix("./")
    spellings = (name, name.rpartition("/")[2], str(int(name)) if name.isdecimal() else name)
    return next((table[spelled] for spelled in spellings if spelled in table), set())
