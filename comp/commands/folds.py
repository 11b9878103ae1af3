"""`comp folds`: divide the training images, write the folds file, show how even it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from comp.config import Competition, data_root
from comp.data.cache.open import open_cache
from comp.data.folds.balance import balance_table, fold_parts
from comp.data.folds.crossing import CrossingError
from comp.data.folds.groups import check_asked, declared_groups, join_groups
from comp.data.folds.scheme_names import unknown_scheme
from comp.data.folds.schemes import FOLD_SCHEMES, GIVEN, UNGROUPED
from comp.data.folds.split import FoldTable, make_folds, write_folds
from comp.data.folds.table import read_table
from comp.data.leaks import auto_groups
from comp.data.leaks.guesses import AUTO
from comp.data.sources.records import find_records
from comp.errors import FoldsError, RunMismatchError, UnknownNameError, some
from comp.files import Workspace, commit, sha256
from comp.plots.fold_balance import plot_fold_balance
from comp.store import list_runs


def run(
    workspace: Workspace, competition: Competition, force: bool = False, groups: str | None = None
) -> FoldTable:
    """Make the folds and print how even they are; safe to run again.

    Args:
        force: replace a folds file that differs. Runs made with it can no longer be blended with new ones.
        groups: instead of `folds.group`: a column of data.meta, names or folders: what the image ids tell,
            or auto: what the leak radar finds. A scheme
            that would cut groups gives way to the one of its kind that does not.

    Raises:
        RunMismatchError: another folds file is there, and no `force`.
        FoldsError: the folds cannot be made, or the file there is damaged and no `force`.
    """
    if competition.folds.scheme not in FOLD_SCHEMES:
        raise UnknownNameError(f"folds.scheme: {unknown_scheme(competition.folds.scheme)}")
    plain, said = competition, competition.folds
    if groups is not None:
        competition = regroup(competition, groups)
    root = data_root(workspace, competition)
    records = find_records(competition, root)
    check_asked(competition, root, [record.image_id for record in records.train])
    cache = open_cache(workspace.cache, competition, records.train)
    stats, names, ground = cache.stats, None, None
    if competition.folds.group == AUTO:
        found = auto_groups(competition, records, root, cache)
        names, ground = found.groups, found.ground
        print(found.told)
        ids = [record.image_id for record in records.train]
        declared = declared_groups(plain, root, ids)
        if declared is not None:
            names = join_groups(names, declared, ids)
            print(f"joined with the groups of folds.group, {said.group}: {count_groups(names)}")
    try:
        table = make_folds(competition, records.train, stats, root, names, ground)
    except CrossingError as error:
        listed = error.write(workspace.folds_csv.with_name(f"{workspace.competition}.crossing.csv"))
        there = os.path.relpath(listed, root)
        raise FoldsError(
            f"{error}. {workspace.relative(listed)} names the images that cross and gives each image a fold"
            f" that keeps its group whole: to use it, write `scheme: predefined` and `listed: {there}`"
            " under folds: in the competition file"
        ) from None
    made = competition.folds
    idle = groups is not None and said.group is None and not any(table.left_out)
    if idle and made.scheme in GIVEN:
        competition = plain
        table = make_folds(competition, records.train, stats, root)
        print(
            f"scheme {made.scheme} divides as it was given, and cuts none of these groups: --groups {groups} has"
            " no effect on its folds; to divide anew by groups: `-o folds.scheme=stratified_group`"
        )
    elif names is not None and said.group not in (None, AUTO):
        print(
            f"folds by groups: scheme {made.scheme}, those of {said.group} and those found; keep"
            f" `group: {said.group}` in the competition file: `comp cv` checks it against these folds"
        )
    elif (made.scheme, made.group) != (said.scheme, said.group):
        print(
            f"folds by groups: scheme {made.scheme}, group {made.group}; to keep it so, write"
            f" `scheme: {made.scheme}` and `group: {made.group}` under folds: in the competition file"
        )
    path = workspace.relative(workspace.folds_csv)
    if not workspace.folds_csv.is_file():
        write_folds(workspace, table)
        print(f"wrote {path}")
    elif _same_as_there(workspace, table, force):
        print(f"{path} is there and the same")
    else:
        kept = keep_old(workspace)
        write_folds(workspace, table)
        print(f"replaced {path}; the old one is kept as {workspace.relative(kept)}")
        if orphans := [run.name for run in list_runs(workspace) if run.folds]:
            print(
                f"runs trained on the old folds cannot be blended with new ones: {some(orphans)}; "
                "put the old files back, or train them again under --name"
            )
    print(balance_table(table, competition, stats))
    picture = plot_fold_balance(
        fold_parts(table, competition, stats),
        competition.classes,
        workspace.folds_csv.with_suffix(".png"),
        f"{competition.name}: {table.scheme}, seed {table.seed}",
    )
    print(f"picture: {workspace.relative(picture)}")
    return table


def regroup(competition: Competition, groups: str) -> Competition:
    """The competition with other groups, and with a scheme that keeps them whole."""
    folds = competition.folds
    scheme = folds.scheme
    if scheme in UNGROUPED:
        scheme = "group" if scheme == "kfold" else "stratified_group"
    update = {"scheme": scheme, "group": groups}
    return competition.model_copy(update={"folds": folds.model_copy(update=update)})


def count_groups(groups: Mapping[str, str]) -> str:
    """``7 groups of 24 images``."""
    named = [group for group in groups.values() if group]
    return f"{len(set(named))} groups of {len(named)} images"


def keep_old(workspace: Workspace) -> Path:
    """Copy the folds files beside themselves, with a hash in the name, before they are replaced."""
    mark = sha256(workspace.folds_csv)[:8]
    for path in (workspace.folds_json, workspace.folds_csv):
        if path.is_file():
            commit(path.with_name(f"{path.stem}.{mark}{path.suffix}"), path.read_bytes())
    return workspace.folds_csv.with_name(f"{workspace.competition}.{mark}.csv")


def _same_as_there(workspace: Workspace, table: FoldTable, force: bool) -> bool:
    """True when the folds file says what `table` says; False when it differs and may be replaced."""
    try:
        old = read_table(workspace)
    except FoldsError:
        if not force:
            raise
        return False
    if old == table:
        return True
    if not force:
        raise RunMismatchError(
            f"{workspace.relative(workspace.folds_csv)} differs from what the competition says now: "
            f"{some(_differences(old, table), 3)}; keep it, or replace it with `comp folds --force`"
        )
    return False


def _differences(old: FoldTable, new: FoldTable) -> list[str]:
    """What differs between two tables, the reason before the consequence."""
    found = [
        f"{key} {getattr(old, key)} -> {getattr(new, key)}"
        for key in ("scheme", "seed", "n_splits")
        if getattr(old, key) != getattr(new, key)
    ]
    added, gone = set(new.ids) - set(old.ids), set(old.ids) - set(new.ids)
    found += [f"{len(added)} images are new"] if added else []
    found += [f"{len(gone)} images are gone"] if gone else []
    was = dict(zip(old.ids, old.fold, strict=True))
    moved = [i for i, f in zip(new.ids, new.fold, strict=True) if i in was and was[i] != f]
    found += [f"{len(moved)} images are in another fold"] if moved else []
    return found or ["groups or strata"]
