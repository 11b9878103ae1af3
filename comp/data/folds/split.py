"""`make_folds`: the training images divided by a scheme; groups and exact duplicates never cross folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from comp.config import Competition, Folds, data_root
from comp.data.cache.cache import Cache
from comp.data.cache.stats import ImageStats
from comp.data.folds.crossing import CrossingError
from comp.data.folds.evenness import few_notes, uneven_notes
from comp.data.folds.groups import TWINS, find_groups, number_units
from comp.data.folds.purge import purge_ground
from comp.data.folds.scheme_names import unknown_scheme
from comp.data.folds.schemes import AT_RANDOM, FOLD_SCHEMES, OWN_COUNT, Problem
from comp.data.folds.table import (
    ALWAYS_TRAIN,
    HELD_OUT,
    FoldTable,
    check_table,
    read_folds,
    write_folds,
)
from comp.data.leaks.ground import Ground
from comp.data.leaks.guesses import AUTO, few_groups
from comp.data.sources.records import Record, Records
from comp.errors import ConfigError, FoldsError, UnknownNameError, some
from comp.files import Workspace

__all__ = [
    "ALWAYS_TRAIN", "FOLD_SCHEMES", "HELD_OUT", "FoldTable", "ensure_folds", "make_folds", "read_folds", "write_folds",
]  # fmt: skip


def make_folds(
    competition: Competition,
    records: Sequence[Record],
    stats: ImageStats,
    root: Path,
    groups: Mapping[str, str] | None = None,
    ground: Ground | None = None,
) -> FoldTable:
    """Divide the training images as the competition's `folds` says.

    Args:
        records: the training images; stats: of the same images, in the same order.
        root: the folder of the data, where `data.meta` and `folds.heldout` are.
        groups: image_id -> group, instead of the column that `folds.group` names (``auto``); images that
            are not in it belong to no group.
        ground: where the images of `records` lie: none is trained on for a fold that validates its ground.

    Raises:
        UnknownNameError: no such scheme.
        FoldsError: too few images or groups, or what the scheme needs is not there.
        ConfigError: groups with a scheme that would cut them; repeats of a scheme that is not drawn.
    """
    folds = competition.folds
    if folds.scheme not in FOLD_SCHEMES:
        raise UnknownNameError(unknown_scheme(folds.scheme))
    scheme = FOLD_SCHEMES[folds.scheme]
    ids = [record.image_id for record in records]
    if list(stats.ids) != ids:
        raise ValueError("stats are of other images than records")
    if not records:
        raise FoldsError("no training images to divide")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    if order != list(range(len(ids))):
        raise ValueError("records must be sorted by image_id")
    if folds.n_repeats > 1 and folds.scheme not in AT_RANDOM:
        raise ConfigError(
            f"folds.n_repeats is {folds.n_repeats}: scheme {folds.scheme} divides in one way only; "
            f"schemes that repeat: {', '.join(AT_RANDOM)}"
        )
    named, notes = find_groups(competition, records, stats, root, groups)
    units = number_units(named)
    problem = Problem(competition, records, stats, units, root, named)
    if folds.group == AUTO and folds.scheme not in OWN_COUNT and problem.n_units < folds.n_splits:
        largest = int(np.bincount(units).max())
        raise FoldsError(few_groups(problem.n_units, largest, len(ids), folds.n_splits))
    made = scheme(problem)
    fold, moved = _keep_together(made.fold, units, ids, named, folds.scheme)
    n_splits = int(fold.max()) + 1 if folds.scheme in OWN_COUNT else folds.n_splits
    repeats = _repeats(problem, fold)
    table = FoldTable(
        tuple(ids), tuple(int(f) for f in fold), tuple(named), tuple(problem.strata),
        folds.scheme, folds.seed, n_splits, tuple(notes + moved) + made.notes, repeats, made.left_out,
    )  # fmt: skip
    check_table(table, "folds")
    if ground is not None:
        table = purge_ground(table, ground)
    told = [*_absent(table, competition, stats), *few_notes(table), *uneven_notes(problem, fold)]
    return replace(table, notes=table.notes + tuple(told))


def _repeats(problem: Problem, first: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """The further repeats: the same scheme with seeds that follow from the seed, numbered on.

    Raises:
        FoldsError: a repeat that divides as an earlier one did.
    """
    folds = problem.folds
    seeds = np.random.SeedSequence(folds.seed).generate_state(folds.n_repeats)
    seen = {_partition(first): 1}
    made: list[tuple[int, ...]] = []
    for repeat in range(2, folds.n_repeats + 1):
        fold = FOLD_SCHEMES[folds.scheme](problem.reseed(int(seeds[repeat - 1]))).fold
        if (same := seen.setdefault(_partition(fold), repeat)) != repeat:
            raise FoldsError(
                f"folds.n_repeats is {folds.n_repeats}: scheme {folds.scheme} divides repeat {repeat} as "
                f"repeat {same}; lower folds.n_repeats, or use another scheme"
            )
        made.append(tuple(int(f) + (repeat - 1) * folds.n_splits for f in fold))
    return tuple(made)


def _partition(fold: np.ndarray) -> bytes:
    """What is together, whatever the folds are called."""
    _, first, inverse = np.unique(fold, return_index=True, return_inverse=True)
    return first[inverse].tobytes()


def _absent(table: FoldTable, competition: Competition, stats: ImageStats) -> list[str]:
    """Say which classes a fold cannot learn or cannot be scored on."""
    if (stats.counts < 0).any():
        return []
    presence = stats.presence()
    notes = []
    for k, name in enumerate(competition.classes):
        there = presence[:, k]
        if not there.any():
            notes.append(f"class {name!r} is in no training image")
            continue
        parts = {f: (table.validation(f), table.training(f)) for f in range(table.n_folds)}
        unlearnt = [f for f, (_, train) in parts.items() if not there[train].any()]
        unscored = [f for f, (val, _) in parts.items() if not there[val].any()]
        if unlearnt:
            notes.append(f"class {name!r} is never trained on in fold {some(unlearnt)}")
        if unscored:
            notes.append(f"class {name!r} is not in the validation images of fold {some(unscored)}")
    return notes


def _keep_together(
    fold: np.ndarray, units: np.ndarray, ids: Sequence[str], groups: Sequence[str], scheme: str
) -> tuple[np.ndarray, list[str]]:
    """Move duplicates of a validation image into its fold, where a given list had put them apart.

    Raises:
        CrossingError: groups cross the list.
    """
    given = fold
    fold = fold.copy()
    moved: list[str] = []
    for unit in np.unique(units):
        members = np.flatnonzero(units == unit).tolist()
        if len(set(fold[members])) > 1:
            if not groups[members[0]].startswith(TWINS):
                raise CrossingError(scheme, ids, given, groups)
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
    groups: Mapping[str, str] | None = None,
) -> FoldTable:
    """Read the folds file, or make and write it where there is none, and say so.

    Args:
        cache: of `records.train`, for coverage and duplicates.
        groups: as `make_folds` takes them.
    """
    path = workspace.relative(workspace.folds_csv)
    root = data_root(workspace, competition)
    if workspace.folds_csv.is_file():
        table = read_folds(workspace, records)
        check_groups(competition, records, cache.stats, table, root, path, groups)
        made, now = describe(table), describe(competition.folds)
        if made != now:
            say(
                f"folds: {path} was made by {made}; the competition now says {now}. "
                "The file counts; `comp folds --force` replaces it"
            )
        return table
    ground = None
    if groups is None and competition.folds.group == AUTO:
        from comp.data.leaks.auto import auto_groups  # the radar looks at all pairs

        found = auto_groups(competition, records, root, cache)
        groups, ground = found.groups, found.ground
        say(f"groups: {found.told}")
    table = make_folds(competition, records.train, cache.stats, root, groups, ground)
    write_folds(workspace, table)
    kind = f"scheme {table.scheme}, seed {table.seed}"
    if table.n_repeats > 1:
        kind = f"{table.n_repeats} repeats of {table.n_splits}, {kind}"
    say(f"folds: made {path}: {table.n_folds} fold(s) of {len(table.ids)} images, {kind}")
    for note in table.notes:
        say(f"folds: {note}")
    return table


def describe(folds: Folds | FoldTable) -> str:
    """``scheme stratified, seed 0, n_splits 5``, with ``n_repeats`` where there are some."""
    said = f"scheme {folds.scheme}, seed {folds.seed}"
    if folds.scheme not in OWN_COUNT:
        said += f", n_splits {folds.n_splits}"
    return said + (f", n_repeats {folds.n_repeats}" if folds.n_repeats > 1 else "")


def check_groups(
    competition: Competition,
    records: Records,
    stats: ImageStats,
    table: FoldTable,
    root: Path,
    path: str,
    given: Mapping[str, str] | None = None,
) -> None:
    """Refuse a folds file across which a group of today's competition file, or a duplicate, leaks.

    Where `folds.group` is auto and none are `given`, the groups that the file was made with count.

    Raises:
        FoldsError: naming the group.
    """
    if competition.folds.group == AUTO and given is None:
        given = dict(zip(table.ids, table.group, strict=True))
    groups, _ = find_groups(competition, records.train, stats, root, given)
    check_whole(groups, table, path)


def check_whole(groups: Sequence[str], table: FoldTable, path: str) -> None:
    """Refuse folds across which a group leaks.

    Args:
        groups: one an image of the table, "" for none.

    Raises:
        FoldsError: naming the groups.
    """
    crossing: set[str] = set()
    for assigned in table.assignments:
        fold_of: dict[str, int] = {}
        for group, fold in zip(groups, assigned, strict=True):
            if group and fold_of.setdefault(group, fold) != fold:
                crossing.add(group)
    if crossing:
        raise FoldsError(
            f"{path}: {len(crossing)} groups cross folds: {some(sorted(crossing))}; "
            "make the folds again with `comp folds --force`, and train again"
        )
