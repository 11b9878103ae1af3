"""Folds as data: which image is in which fold, written as CSV and JSON, checked on every read.

Fold -1 is always trained on, -2 is held out for one final score. With repeats an image has one fold in
each, numbered on: repeat r has the folds r * n_splits to (r + 1) * n_splits - 1. Refuses a file that was
changed by hand, that does not fit the images, or whose groups cross folds.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from comp import files
from comp.data.sources.records import Record, Records
from comp.errors import DataError, FoldsError, some
from comp.files import Workspace

ALWAYS_TRAIN = -1
HELD_OUT = -2
COLUMNS = ["image_id", "fold", "group", "stratum"]
REPEATS, LEFT_OUT = "repeats", "left_out"  # columns that stand there only where they say something


@dataclass(frozen=True)
class FoldTable:
    """The folds of N images, sorted by image_id.

    Args:
        ids: image_id of each; the order of everything else.
        fold: 0..n_splits - 1, or -1 always trained on, -2 held out.
        group: images of one non-empty group share a fold.
        stratum: what was balanced over the folds; empty where nothing was.
        n_splits: folds of one repeat.
        notes: what was decided beside the scheme, for people; no part of what makes two tables equal.
        repeats: of each further repeat the fold of every image, (n_repeats - 1, N).
        left_out: of each image the further folds whose models do not learn from it: what comes after, or
            too near in time. N tuples, or none at all.
    """

    ids: tuple[str, ...]
    fold: tuple[int, ...]
    group: tuple[str, ...]
    stratum: tuple[str, ...]
    scheme: str
    seed: int
    n_splits: int
    notes: tuple[str, ...] = field(default=(), compare=False)
    repeats: tuple[tuple[int, ...], ...] = ()
    left_out: tuple[tuple[int, ...], ...] = ()

    @cached_property
    def hash(self) -> str:
        """A short hash of ids and folds: what a run must agree on."""
        said: list[object] = [list(self.ids), list(self.fold)]
        if self.repeats or self.left_out:
            said += [[list(folds) for folds in part] for part in (self.repeats, self.left_out)]
        return files.digest(said)

    @property
    def n_repeats(self) -> int:
        """How often the images are divided anew."""
        return 1 + len(self.repeats)

    @property
    def n_folds(self) -> int:
        """Models that a full cross-validation trains: n_splits * n_repeats."""
        return self.n_splits * self.n_repeats

    @property
    def assignments(self) -> tuple[tuple[int, ...], ...]:
        """Of each repeat the fold of every image, (n_repeats, N)."""
        return (self.fold, *self.repeats)

    def validation(self, fold: int) -> list[int]:
        """Positions of the images that `fold` is scored on."""
        return [i for i, f in enumerate(self._repeat_of(fold)) if f == fold]

    def training(self, fold: int) -> list[int]:
        """Positions of the images that the model of `fold` learns from."""
        folds = self._repeat_of(fold)
        if not self.left_out:
            return [i for i, f in enumerate(folds) if f not in (fold, HELD_OUT)]
        return [
            i
            for i, (f, left_out) in enumerate(zip(folds, self.left_out, strict=True))
            if f not in (fold, HELD_OUT) and fold not in left_out
        ]

    def _repeat_of(self, fold: int) -> tuple[int, ...]:
        return self.assignments[fold // self.n_splits] if fold > 0 else self.fold


def check_table(table: FoldTable, where: str) -> FoldTable:
    """Return `table` if it is sound.

    Raises:
        FoldsError: repeated ids, a group in two folds, a fold that is out of range, empty, or leaves
            nothing to train on; starting with `where`.
    """
    again = "make it anew with `comp folds --force`"
    if repeated := [i for i, n in Counter(table.ids).items() if n > 1]:
        raise FoldsError(f"{where}: {len(repeated)} ids are repeated: {some(repeated)}; {again}")
    for number, folds in enumerate(table.assignments):
        first = number * table.n_splits
        last = first + table.n_splits - 1
        if wrong := sorted({f for f in folds if not (HELD_OUT <= f < 0 or first <= f <= last)}):
            raise FoldsError(
                f"{where}: fold {wrong[0]}; expected -2, -1 or {first}..{last}; {again}"
            )
        _check_groups(table.group, folds, where)
        if [min(f, 0) for f in folds] != [min(f, 0) for f in table.fold]:
            raise FoldsError(f"{where}: repeat {number + 1} holds other images out; {again}")
    if wrong := sorted(
        {f for folds in table.left_out for f in folds if not 0 <= f < table.n_folds}
    ):
        raise FoldsError(
            f"{where}: left out of fold {wrong[0]}; expected 0..{table.n_folds - 1}; {again}"
        )
    for fold in range(table.n_folds):
        if not table.validation(fold):
            raise FoldsError(f"{where}: fold {fold} of {table.n_folds} is empty; use fewer folds")
        if not table.training(fold):
            raise FoldsError(f"{where}: fold {fold} leaves nothing to train on")
    return table


def _check_groups(groups: Sequence[str], folds: Sequence[int], where: str) -> None:
    folds_of: dict[str, set[int]] = defaultdict(set)
    for group, fold in zip(groups, folds, strict=True):
        if group:
            folds_of[group].add(fold)
    if crossing := [f"{g} (folds {some(sorted(f))})" for g, f in folds_of.items() if len(f) > 1]:
        raise FoldsError(
            f"{where}: {len(crossing)} groups lie in more than one fold, which leaks: {some(crossing)}"
        )


def write_folds(workspace: Workspace, table: FoldTable) -> FoldTable:
    """Check the table and write ``folds/<competition>.csv`` and ``.json``."""
    check_table(table, workspace.relative(workspace.folds_csv))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = dict(zip(COLUMNS, (table.ids, table.fold, table.group, table.stratum), strict=True))
    if table.repeats:
        columns[REPEATS] = tuple(map(_cell, zip(*table.repeats, strict=True)))
    if table.left_out:
        columns[LEFT_OUT] = tuple(map(_cell, table.left_out))
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    card = {
        "scheme": table.scheme,
        "seed": table.seed,
        "n_splits": table.n_splits,
        **({"n_repeats": table.n_repeats} if table.repeats else {}),
        "n_images": len(table.ids),
        "hash": table.hash,
        "notes": list(table.notes),
    }
    # The table last: whoever finds it, now or after a kill in between, finds its card too.
    files.write_json(workspace.folds_json, card)
    files.commit(workspace.folds_csv, text.getvalue())
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
    columns = rows[0] if rows else []
    further = columns[len(COLUMNS) :]
    if columns[: len(COLUMNS)] != COLUMNS or further not in (
        [], [REPEATS], [LEFT_OUT], [REPEATS, LEFT_OUT],
    ):  # fmt: skip
        got = ",".join(columns) if rows else "nothing"
        raise FoldsError(f"{where}: expected the columns {','.join(COLUMNS)}, got {got}; {again}")
    for number, row in enumerate(rows[1:], start=2):
        lists = " ".join(row[len(COLUMNS) :]).split()
        wholes = [cell.removeprefix("-").isdecimal() for cell in (row[1:2] or [""]) + lists]
        if len(row) != len(columns) or not all(wholes):
            raise FoldsError(
                f"{where}: row {number}: expected {_said(further)}, got {row}; {again}"
            )
    cells = {name: [row[c] for row in rows[1:]] for c, name in enumerate(columns)}
    more = {name: tuple(tuple(map(int, cell.split())) for cell in cells[name]) for name in further}
    try:
        n_repeats = int(card.get("n_repeats", 1))
        counts = {len(folds) + 1 for folds in more.get(REPEATS, ((),))}
        if counts != {n_repeats}:
            raise ValueError(f"n_repeats {n_repeats}, but the rows have {some(sorted(counts))}")
        table = FoldTable(
            ids=tuple(cells["image_id"]),
            fold=tuple(map(int, cells["fold"])),
            group=tuple(cells["group"]),
            stratum=tuple(cells["stratum"]),
            scheme=str(card["scheme"]),
            seed=int(card["seed"]),
            n_splits=int(card["n_splits"]),
            notes=tuple(card.get("notes", ())),
            repeats=tuple(zip(*more.get(REPEATS, ()), strict=True)),
            left_out=more.get(LEFT_OUT, ()),
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


def _cell(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))


def _said(further: Sequence[str]) -> str:
    """What a row holds, for messages."""
    return "id, whole fold, group, stratum" + "".join(f", {name}" for name in further)
