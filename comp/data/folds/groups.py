"""Which images belong together: groups of a meta column or of a mapping, joined by exact duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from comp.config import Competition
from comp.data.cache.stats import ImageStats
from comp.data.folds.meta import column_names, read_meta_column
from comp.data.folds.schemes import GROUPED, UNGROUPED
from comp.data.leaks.guesses import AUTO, BY_FOLDERS, BY_NAMES, folder_groups, name_groups
from comp.data.leaks.unions import Unions
from comp.data.leaks.words import short
from comp.data.sources.records import Record
from comp.errors import ConfigError, FoldsError, some

TWINS = "duplicates of "


def find_groups(
    competition: Competition,
    records: Sequence[Record],
    stats: ImageStats,
    root: Path,
    given: Mapping[str, str] | None = None,
) -> tuple[list[str], list[str]]:
    """Name the group of each image, "" for none, and say what was joined.

    Args:
        given: image_id -> group, instead of the column that `folds.group` names; images that are not in
            it belong to no group.

    Raises:
        ConfigError: groups, and a scheme that would cut them.
        FoldsError: a scheme that needs groups has none, or the column does not name each image's.
    """
    folds = competition.folds
    ids = [record.image_id for record in records]
    grouped = folds.group is not None or given is not None
    if folds.scheme in GROUPED and not grouped:
        raise FoldsError(
            f"scheme {folds.scheme} needs groups, and folds.group is not set: {ways(competition, root)}"
        )
    if grouped and folds.scheme in UNGROUPED:
        better = "group" if folds.scheme == "kfold" else "stratified_group"
        raise ConfigError(
            f"folds: scheme {folds.scheme} would let groups of {folds.group or AUTO!r} cross folds; "
            f"use scheme {better}, or drop folds.group"
        )
    groups = [""] * len(ids)
    if given is not None:
        groups = [given.get(image_id, "") for image_id in ids]
    elif folds.group == AUTO:
        raise FoldsError(
            "folds.group is auto, and nothing looked for the groups yet; make the folds with `comp folds`"
        )
    elif folds.group in (BY_NAMES, BY_FOLDERS):
        groups = groups_in_ids(folds.group, ids)
    elif folds.group is not None:
        groups = read_meta_column(competition, root, folds.group, ids, "folds.group")
    sets = stats.duplicates()
    groups = join_duplicates(groups, sets, ids)
    if not sets:
        return groups, []
    n = sum(len(members) for members in sets)
    listed = some((" = ".join(short(ids[i]) for i in members) for members in sets), 3)
    return groups, [f"{n} images are exact duplicates, kept together in {len(sets)} sets: {listed}"]


def groups_in_ids(how: str, ids: Sequence[str]) -> list[str]:
    """Groups that the ids themselves tell, "" for none.

    Args:
        how: ``names``: without their last numbers; ``folders``: by the folder that they name.

    Raises:
        FoldsError: they tell none.
    """

    groups = (folder_groups(ids) if how == BY_FOLDERS else name_groups(ids)) or [""] * len(ids)
    if len(set(groups)) in (0, 1, len(ids)):
        raise FoldsError(
            f"folds.group is {how}, but the image ids name no groups: {some(ids, 3)};"
            " expected ids like scene3_017 (names) or patient03/17 (folders)"
        )
    return groups


def declared_groups(competition: Competition, root: Path, ids: Sequence[str]) -> list[str] | None:
    """The groups that `folds.group` says by a column, names or folders, one an image; None: it says none.

    Raises:
        FoldsError: the ids name none.
        DataError: the table cannot be read.
    """
    group = competition.folds.group
    if group is None or group == AUTO:
        return None
    if group in (BY_NAMES, BY_FOLDERS):
        return groups_in_ids(group, ids)
    return read_meta_column(competition, root, group, ids, "folds.group")


def join_groups(
    found: Mapping[str, str], declared: Sequence[str], ids: Sequence[str]
) -> dict[str, str]:
    """Groups that were found and groups that were declared as one: neither is cut.

    Args:
        found: image_id -> group, "" or absent for images that stand alone.
        declared: one a member of `ids`.
    """
    unions = Unions(len(ids))
    unions.join_equal([found.get(image_id, "") for image_id in ids])
    unions.join_equal(declared)
    named: dict[int, str] = {}
    labels = unions.labels().tolist()
    for label, image_id, own in zip(labels, ids, declared, strict=True):
        name = own or found.get(image_id, "")
        if name:
            named[label] = min(named.get(label, name), name)
    return {image_id: named.get(label, "") for image_id, label in zip(ids, labels, strict=True)}


def check_asked(competition: Competition, root: Path, ids: Sequence[str]) -> None:
    """Refuse groups that cannot be read, before anything that takes long.

    Raises:
        FoldsError: as `find_groups`.
        DataError: the table cannot be read.
    """
    group = competition.folds.group
    if group in (BY_NAMES, BY_FOLDERS):
        groups_in_ids(group, ids)
    elif group is not None and group != AUTO:
        read_meta_column(competition, root, group, ids, "folds.group")
    elif group is None and competition.folds.scheme in GROUPED:
        raise FoldsError(
            f"scheme {competition.folds.scheme} needs groups, and folds.group is not set:"
            f" {ways(competition, root)}"
        )


def ways(competition: Competition, root: Path) -> str:
    """The ways to name groups, with the columns that there are."""
    data = competition.data
    kinds = (
        f"or {AUTO} (what `comp verify` found), {BY_NAMES} or {BY_FOLDERS} (told by the image ids)"
    )
    if data.meta is None:
        return (
            "name a column of data.meta, a CSV relative to data.root with one row an image and the image"
            f" ids in its column {data.meta_id_column} (data.meta_id_column; data.meta is not set); {kinds}"
        )
    columns = [name for name in column_names(competition, root) if name != data.meta_id_column]
    return f"name a column of {data.meta} (data.meta), it has: {', '.join(columns)}; {kinds}"


def join_duplicates(
    groups: Sequence[str], sets: Sequence[Sequence[int]], ids: Sequence[str]
) -> list[str]:
    """Give the images of each set one group, and whole groups that a set touches the same one."""
    joined = list(groups)
    for members in sets:
        names = {joined[i] for i in members if joined[i]}
        name = min(names) if names else TWINS + ids[members[0]]
        joined = [name if g in names or i in members else g for i, g in enumerate(joined)]
    return joined


def number_units(groups: Sequence[str]) -> np.ndarray:
    """Number what stays together: (N,) int64 from 0, groups by name, then images without one in order."""
    names = sorted(set(groups) - {""})
    number = {name: i for i, name in enumerate(names)}
    singles = iter(range(len(names), len(names) + len(groups)))
    raw = [number[g] if g else next(singles) for g in groups]
    return np.unique(raw, return_inverse=True)[1].astype(np.int64)
