"""`make_folds`: the training images divided by a scheme; groups and exact duplicates never cross folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from comp.config import Competition, Folds, data_root
from comp.data.cache import Cache
from comp.data.fold_table import (
    ALWAYS_TRAIN,
    HELD_OUT,
    FoldTable,
    check_table,
    read_folds,
    write_folds,
)
from comp.data.intake import Record, Records
from comp.data.meta import read_meta_column
from comp.data.schemes import FOLD_SCHEMES, GROUPED, ONE_FOLD, UNGROUPED, Problem
from comp.data.stats import ImageStats
from comp.errors import ConfigError, FoldsError, some
from comp.files import Workspace
from comp.registry import lookup

__all__ = [
    "ALWAYS_TRAIN", "FOLD_SCHEMES", "HELD_OUT", "FoldTable", "ensure_folds", "make_folds", "read_folds", "write_folds",
]  # fmt: skip


def make_folds(
    competition: Competition, records: Sequence[Record], stats: ImageStats, root: Path
) -> FoldTable:
    """Divide the training images as the competition's `folds` says.

    Args:
        records: the training images; stats: of the same images, in the same order.
        root: the folder of the data, where `data.meta` and `folds.heldout` are.

    Raises:
        UnknownNameError: no such scheme.
        FoldsError: too few images or groups, or what the scheme needs is not there.
    """
    folds = competition.folds
    scheme = lookup(FOLD_SCHEMES, folds.scheme, "fold scheme")
    ids = [record.image_id for record in records]
    if list(stats.ids) != ids:
        raise ValueError("stats are of other images than records")
    if not records:
        raise FoldsError("no training images to divide")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    if order != list(range(len(ids))):
        raise ValueError("records must be sorted by image_id")
    groups, notes = _groups(competition, records, stats, root)
    names = sorted(set(groups))
    singles = iter(range(len(names), len(names) + len(ids)))
    number = {name: i for i, name in enumerate(names) if name}
    raw = [number[g] if g else next(singles) for g in groups]
    units = np.unique(raw, return_inverse=True)[1]
    problem = Problem(competition, records, stats, units, root)
    fold = scheme(problem)
    fold, more = _keep_together(fold, units, ids, groups)
    n_splits = int(fold.max()) + 1 if folds.scheme in ONE_FOLD else folds.n_splits
    table = FoldTable(
        tuple(ids), tuple(int(f) for f in fold), tuple(groups), tuple(problem.strata),
        folds.scheme, folds.seed, n_splits, tuple(notes + more),
    )  # fmt: skip
    return check_table(table, "folds")


def _groups(
    competition: Competition, records: Sequence[Record], stats: ImageStats, root: Path
) -> tuple[list[str], list[str]]:
    """The group of each image ("" for none) and what to say: the meta column, joined by exact duplicates."""
    folds = competition.folds
    ids = [record.image_id for record in records]
    if folds.scheme in GROUPED and folds.group is None:
        raise FoldsError(f"scheme {folds.scheme}: folds.group names no column of data.meta")
    if folds.group is not None and folds.scheme in UNGROUPED:
        better = "group" if folds.scheme == "kfold" else "stratified_group"
        raise ConfigError(
            f"folds: scheme {folds.scheme} would let groups of {folds.group!r} cross folds; "
            f"use scheme {better}, or drop folds.group"
        )
    groups = [""] * len(ids)
    if folds.group is not None:
        groups = read_meta_column(competition, root, folds.group, ids, "folds.group")
    sets = stats.duplicates()
    for members in sets:
        names = {groups[i] for i in members if groups[i]}
        joined = min(names) if names else f"duplicates of {ids[members[0]]}"
        groups = [joined if g in names or i in members else g for i, g in enumerate(groups)]
    if not sets:
        return groups, []
    n = sum(len(members) for members in sets)
    listed = some((" = ".join(ids[i] for i in members) for members in sets), 3)
    return groups, [f"{n} images are exact duplicates, kept together in {len(sets)} sets: {listed}"]


def _keep_together(
    fold: np.ndarray, units: np.ndarray, ids: Sequence[str], groups: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Move duplicates of a validation image into its fold, where a given list had put them apart.

    Raises:
        FoldsError: a group of the meta table crosses the list.
    """
    fold = fold.copy()
    moved: list[str] = []
    for unit in np.unique(units):
        members = np.flatnonzero(units == unit).tolist()
        if len(set(fold[members])) > 1:
            name = groups[members[0]]
            if not name.startswith("duplicates of "):
                both = some(ids[i] for i in members)
                raise FoldsError(f"group {name!r} lies on both sides of the given split: {both}")
            moved += [ids[i] for i in members if fold[i] != fold[members].max()]
            fold[members] = fold[members].max()
    if not moved:
        return fold, []
    return fold, [
        f"{len(moved)} training images equal a validation image and moved to its fold: {some(moved)}"
    ]


def ensure_folds(
    workspace: Workspace,
    competition: Competition,
    records: Records,
    cache: Cache,
    say: Callable[[str], None] = print,
) -> FoldTable:
    """Read the folds file, or make and write it where there is none, and say so.

    Args:
        cache: of `records.train`, for coverage and duplicates.
    """
    path = workspace.relative(workspace.folds_csv)
    root = data_root(workspace, competition)
    if workspace.folds_csv.is_file():
        table = read_folds(workspace, records)
        check_groups(competition, records, cache.stats, table, root, path)
        made, now = describe(table), describe(competition.folds)
        if table.scheme in ONE_FOLD and competition.folds.scheme in ONE_FOLD:
            made, now = made.partition(", n_splits")[0], now.partition(", n_splits")[0]
        if made != now:
            say(
                f"folds: {path} was made by {made}; the competition now says {now}. "
                "The file counts; `comp folds --force` replaces it"
            )
        return table
    table = write_folds(workspace, make_folds(competition, records.train, cache.stats, root))
    kind = f"scheme {table.scheme}, seed {table.seed}"
    say(f"folds: made {path}: {table.n_splits} fold(s) of {len(table.ids)} images, {kind}")
    for note in table.notes:
        say(f"folds: {note}")
    return table


def describe(folds: Folds | FoldTable) -> str:
    """``scheme stratified, seed 0, n_splits 5``."""
    return f"scheme {folds.scheme}, seed {folds.seed}, n_splits {folds.n_splits}"


def check_groups(
    competition: Competition,
    records: Records,
    stats: ImageStats,
    table: FoldTable,
    root: Path,
    path: str,
) -> None:
    """Refuse a folds file across which a group of today's competition file, or a duplicate, leaks.

    Raises:
        FoldsError: naming the group.
    """
    groups, _ = _groups(competition, records.train, stats, root)
    folds_of: dict[str, set[int]] = {}
    for group, fold in zip(groups, table.fold, strict=True):
        if group:
            folds_of.setdefault(group, set()).add(fold)
    crossing = sorted(group for group, folds in folds_of.items() if len(folds) > 1)
    if crossing:
        raise FoldsError(
            f"{path}: {len(crossing)} groups cross folds: {some(crossing)}; "
            "make the folds again with `comp folds --force`, and train again"
        )
