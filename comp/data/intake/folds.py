"""How `comp init` proposes to divide the training images: as their makers did, else by groups, else evenly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comp.data.folds.heldout import read_heldout
from comp.data.folds.listed import fold_column, read_listed
from comp.data.intake.seen import Understood
from comp.data.intake.tables import group_columns
from comp.data.sources.coco import looks_like_coco
from comp.data.sources.patterns import entries
from comp.data.sources.record import Record
from comp.data.sources.tables import Table, is_sample
from comp.errors import DataError, FoldsError, some

MAX_JSON_BYTES = 16 << 20  # of a list of ids


def choose_folds(
    seen: Understood,
    train: Sequence[Record],
    tables: Sequence[Table],
    meta: tuple[Table, str] | None,
) -> None:
    """Predefined parts, numbers of folds and lists of ids before groups, groups before plain stratified folds."""
    folds: dict[str, Any] = {"scheme": "stratified", "n_splits": min(5, len(train)), "seed": 0}
    why = "tries to give every fold the same mix of coverage and empty images, or of classes"
    if meta is not None:
        table, id_column = meta
        seen.values["data"] |= {"meta": table.name, "meta_id_column": id_column}
        seen.lines.append(
            f"{table.name}: one row an image, columns {some(table.frame.columns, 12)}"
        )
        groups = group_columns(table.frame, id_column, [r.image_id for r in train])
        if groups:
            column, n = next(iter(groups.items()))
            folds |= {"scheme": "stratified_group", "n_splits": min(5, n), "group": column}
            told = ", ".join(f"{c} ({k} groups)" for c, k in groups.items())
            why = f"images of one {column} stay together; possible group columns: {told}"
    numbered = _numbered(seen, train, tables)
    if any(record.split == "val" for record in train):
        folds = {"scheme": "predefined"}
        n = sum(record.split == "val" for record in train)
        why = (
            f"one fold: trained on the makers' training part ({len(train) - n} images), validated on"
            f" their validation part ({n})"
        )
    elif numbered is not None:
        name, n = numbered
        folds = {"scheme": "predefined", "listed": name}
        why = f"the {n} folds that {name} numbers" if n > 1 else f"the one fold of {name}"
    elif listed := _heldout(seen, train):
        folds, why = {"scheme": "heldout", "heldout": listed}, "one fold: the images listed there"
    seen.values["folds"] = folds
    seen.why["folds"] = why
    seen.lines.append(f"folds: {folds['scheme']}: {why}")


def _numbered(
    seen: Understood, train: Sequence[Record], tables: Sequence[Table]
) -> tuple[str, int] | None:
    """(file, folds) of the one table that numbers the folds of all training images.

    Raises:
        DataError: several do, and differ.
    """
    found: dict[str, list[int]] = {}
    for table in tables:
        if is_sample(table.name) or fold_column(list(table.frame.columns)) is None:
            continue
        try:
            found[table.name] = read_listed(seen.root / table.name, train)
        except FoldsError as error:
            seen.lines.append(f"{table.name}: has a column of folds, not used: {error}")
    if not found:
        return None
    if len(set(map(tuple, found.values()))) > 1:
        raise DataError(f"{some(found)} number the folds in different ways; keep one of them there")
    name, folds = next(iter(found.items()))
    return name, max(folds) + 1


def _heldout(seen: Understood, train: Sequence[Record]) -> str | None:
    """A JSON file at the top that lists some of the training images."""
    listed = {}
    for name, is_folder in entries(seen.root):
        if is_folder or not name.lower().endswith(".json"):
            continue
        if looks_like_coco(seen.root / name):
            continue
        if (seen.root / name).stat().st_size > MAX_JSON_BYTES:
            seen.lines.append(f"{name}: too large for a list of training images, not looked at")
            continue
        try:
            ids = read_heldout(seen.root / name, train)
        except (DataError, RecursionError) as error:
            told = "nested too deep" if isinstance(error, RecursionError) else error
            seen.lines.append(f"{name}: not a list of training images ({told})")
            continue
        if 0 < len(ids) < len(train):
            listed[name] = len(ids)
            seen.lines.append(f"{name}: lists {len(ids)} training images")
    validation = [name for name in listed if "val" in name.lower() or "held" in name.lower()]
    chosen = validation or [name for name in listed if "train" not in name.lower()]
    if len(chosen) > 1:
        raise DataError(
            f"{some(chosen)} each list training images; which ones validate? Keep one of them there"
        )
    return chosen[0] if chosen else None
