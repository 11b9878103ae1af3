"""Folds as data: which image is in which fold, written as CSV and JSON, checked on every read.

Fold -1 is always trained on, -2 is held out for one final score. Refuses a file that was changed by
hand, that does not fit the images, or whose groups cross folds.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from comp import files
from comp.data.intake import Record, Records
from comp.errors import DataError, FoldsError, some
from comp.files import Workspace

ALWAYS_TRAIN = -1
HELD_OUT = -2
COLUMNS = ["image_id", "fold", "group", "stratum"]


@dataclass(frozen=True)
class FoldTable:
    """The folds of N images, sorted by image_id.

    Args:
        ids: image_id of each; the order of everything else.
        fold: 0..n_splits - 1, or -1 always trained on, -2 held out.
        group: images of one non-empty group share a fold.
        stratum: what was balanced over the folds; empty where nothing was.
        notes: what was decided beside the scheme, for people.
    """

    ids: tuple[str, ...]
    fold: tuple[int, ...]
    group: tuple[str, ...]
    stratum: tuple[str, ...]
    scheme: str
    seed: int
    n_splits: int
    notes: tuple[str, ...] = ()

    @cached_property
    def hash(self) -> str:
        """A short hash of ids and folds: what a run must agree on."""
        return files.digest([list(self.ids), list(self.fold)])

    def validation(self, fold: int) -> list[int]:
        """Positions of the images that `fold` is scored on."""
        return [i for i, f in enumerate(self.fold) if f == fold]

    def training(self, fold: int) -> list[int]:
        """Positions of the images that the model of `fold` learns from."""
        return [i for i, f in enumerate(self.fold) if f not in (fold, HELD_OUT)]


def check_table(table: FoldTable, where: str) -> FoldTable:
    """Return `table` if it is sound.

    Raises:
        FoldsError: repeated ids, a group in two folds, a fold that is out of range, empty, or leaves
            nothing to train on; starting with `where`.
    """
    again = "make it anew with `comp folds --force`"
    if repeated := [i for i, n in Counter(table.ids).items() if n > 1]:
        raise FoldsError(f"{where}: {len(repeated)} ids are repeated: {some(repeated)}; {again}")
    if wrong := sorted({f for f in table.fold if not HELD_OUT <= f < table.n_splits}):
        raise FoldsError(
            f"{where}: fold {wrong[0]}; expected -2, -1 or 0..{table.n_splits - 1}; {again}"
        )
    folds_of: dict[str, set[int]] = defaultdict(set)
    for group, fold in zip(table.group, table.fold, strict=True):
        if group:
            folds_of[group].add(fold)
    if crossing := [f"{g} (folds {some(sorted(f))})" for g, f in folds_of.items() if len(f) > 1]:
        raise FoldsError(
            f"{where}: {len(crossing)} groups lie in more than one fold, which leaks: {some(crossing)}"
        )
    for fold in range(table.n_splits):
        if fold not in table.fold:
            raise FoldsError(f"{where}: fold {fold} of {table.n_splits} is empty; use fewer folds")
        if not table.training(fold):
            raise FoldsError(f"{where}: fold {fold} leaves nothing to train on")
    return table


def write_folds(workspace: Workspace, table: FoldTable) -> FoldTable:
    """Check the table and write ``folds/<competition>.csv`` and ``.json``."""
    check_table(table, workspace.relative(workspace.folds_csv))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(zip(table.ids, table.fold, table.group, table.stratum, strict=True))
    files.commit(workspace.folds_csv, text.getvalue())
    card = {
        "scheme": table.scheme,
        "seed": table.seed,
        "n_splits": table.n_splits,
        "n_images": len(table.ids),
        "hash": table.hash,
        "notes": list(table.notes),
    }
    files.write_json(workspace.folds_json, card)
    return table


def read_folds(
    workspace: Workspace, records: Records | Sequence[Record] | Sequence[str]
) -> FoldTable:
    """Read the folds file and check it against the data.

    Args:
        records: the training images (`Records`, records, or their ids).

    Raises:
        FoldsError: no file, changed by hand, not of these images, or unsound.
    """
    table = read_table(workspace)
    where = workspace.relative(workspace.folds_csv)
    ids = _ids(records)
    missing, extra = sorted(set(ids) - set(table.ids)), sorted(set(table.ids) - set(ids))
    if missing or extra:
        parts = (
            [f"{len(missing)} images of the data are not in it: {some(missing)}"] if missing else []
        )
        parts += [f"{len(extra)} of its ids have no image: {some(extra)}"] if extra else []
        raise FoldsError(f"{where}: {'; '.join(parts)}; make it anew with `comp folds --force`")
    if list(table.ids) != sorted(ids):
        raise FoldsError(f"{where}: ids are not sorted; make it anew with `comp folds --force`")
    return table


def _ids(records: Records | Sequence[Record] | Sequence[str]) -> list[str]:
    listed: Iterable[Record | str] = records.train if isinstance(records, Records) else records
    return [item if isinstance(item, str) else item.image_id for item in listed]


def read_table(workspace: Workspace) -> FoldTable:
    """Read the folds file and check what needs no data."""
    path, where = workspace.folds_csv, workspace.relative(workspace.folds_csv)
    if not path.is_file():
        raise FoldsError(f"no folds at {where}: make them with `comp folds`")
    again = "make it anew with `comp folds --force`"
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
        card = files.read_json(workspace.folds_json)
    except (DataError, OSError, UnicodeDecodeError, csv.Error) as error:
        raise FoldsError(f"{where}: {error}; {again}") from error
    if not rows or rows[0] != COLUMNS:
        got = ",".join(rows[0]) if rows else "nothing"
        raise FoldsError(f"{where}: expected the columns {','.join(COLUMNS)}, got {got}; {again}")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(COLUMNS) or not row[1].removeprefix("-").isdecimal():
            raise FoldsError(
                f"{where}: row {number}: expected id, whole fold, group, stratum, got {row}; {again}"
            )
    try:
        table = FoldTable(
            ids=tuple(row[0] for row in rows[1:]),
            fold=tuple(int(row[1]) for row in rows[1:]),
            group=tuple(row[2] for row in rows[1:]),
            stratum=tuple(row[3] for row in rows[1:]),
            scheme=str(card["scheme"]),
            seed=int(card["seed"]),
            n_splits=int(card["n_splits"]),
            notes=tuple(card.get("notes", ())),
        )
        expected = card["hash"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FoldsError(
            f"{workspace.relative(workspace.folds_json)}: missing or wrong: {error}; {again}"
        ) from error
    check_table(table, where)
    if table.hash != expected:
        raise FoldsError(
            f"{where}: its ids and folds hash to {table.hash}, but {workspace.folds_json.name} says {expected}: "
            f"one of them was changed; put it back, or {again}"
        )
    return table
