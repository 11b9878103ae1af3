"""What `comp verify` found, put together: faults, leaks, shift, and the folds that cut groups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from comp.config import Competition
from comp.data.checks.scan import Scan
from comp.data.checks.shift import Shift, measure_shift
from comp.data.folds.crossing import crossing_groups
from comp.data.folds.groups import groups_in_ids, number_units
from comp.data.folds.heldout import read_heldout
from comp.data.folds.listed import read_listed
from comp.data.folds.meta import read_meta_column
from comp.data.folds.purge import ground_on_both_sides
from comp.data.folds.table import HELD_OUT, FoldTable
from comp.data.leaks.guesses import AUTO, BY_FOLDERS, BY_NAMES
from comp.data.leaks.radar import Leaks, look_for_leaks
from comp.data.leaks.unions import sets_of
from comp.data.sources.records import Record, Records
from comp.errors import CompError


@dataclass
class Findings:
    """Everything that was found; problems must be mended, warnings should be read.

    Args:
        cut: groups of the radar that the folds file cuts through, with their images.
        both_sides: images scored by models that learnt from ground they show, by the folds file; and the
            mean share of them that one training image shows.
    """

    records: Records
    train: Scan
    test: Scan
    leaks: Leaks
    shift: Shift | None
    problems: list[str]
    warnings: list[str] = field(default_factory=list)
    cut: dict[str, list[str]] = field(default_factory=dict)
    both_sides: tuple[int, float] = (0, 0.0)

    @property
    def same_in_test(self) -> list[tuple[Record, Record]]:
        """Training images of exactly the pixels of a test image; blank ones tell nothing."""
        blank = {seen.pixels_hash for seen in self.train.seen if seen.constant}
        both = (key for key in self.train.by_hash if key in self.test.by_hash and key not in blank)
        return [(self.train.by_hash[key][0], self.test.by_hash[key][0]) for key in both]

    @property
    def near_in_test(self) -> list[tuple[str, str, str]]:
        """(training id, test id, how) of near duplicates that are not of exactly the same pixels."""
        leaks = self.leaks
        seen = [seen.pixels_hash for seen in (*self.train.seen, *self.test.seen)]
        return [
            (leaks.ids[i], leaks.ids[j], how)
            for i, j, how in leaks.near_in_test
            if seen[i] != seen[j]
        ]


def find_leaks(
    records: Records,
    train: Scan,
    test: Scan,
    columns: dict[str, list[str]],
    n_splits: int,
) -> Leaks:
    """The leak radar on what the scans kept."""
    both = (*records.train, *records.test)
    return look_for_leaks(
        [record.image_id for record in both],
        len(records.train),
        [*train.prints(), *test.prints()],
        [record.image for record in both],
        columns,
        n_splits,
    )


def find_shift(leaks: Leaks, train: Scan, test: Scan) -> Shift | None:
    """Compare train with test, images that belong together in one part."""
    a, in_train = train.traits()
    b, in_test = test.traits()
    if not in_train or not in_test:
        return None
    group = np.arange(len(leaks.ids))
    names: dict[str, int] = {}
    for i, name in enumerate(leaks.group):
        group[i] = names.setdefault(name, i) if name else i
    for members in sets_of(len(leaks.ids), leaks.links):
        inside = np.isin(group, group[members])
        group[inside] = group[members[0]]
    kept = [*in_train, *(leaks.n_train + i for i in in_test)]
    return measure_shift(a, b, group[kept])


def find_cut_groups(leaks: Leaks, table: FoldTable) -> dict[str, list[str]]:
    """Groups of which a model learns from one image and is scored on another: name -> image ids.

    Whatever the scheme: over all folds of all repeats, and over what is held out for the final score.
    """
    group_of = dict(zip(leaks.ids[: leaks.n_train], leaks.group, strict=True))
    groups = [group_of.get(image_id, "") for image_id in table.ids]
    parts = [(table.validation(f), table.training(f)) for f in range(table.n_folds)]
    held_out = [i for i, f in enumerate(table.fold) if f == HELD_OUT]
    parts.append((held_out, [i for i, f in enumerate(table.fold) if f != HELD_OUT]))
    cut: set[str] = set()
    for scored, learnt in parts:
        cut |= {groups[i] for i in scored} & {groups[i] for i in learnt}
    return _members(leaks, cut - {""})


def find_ground_on_both_sides(leaks: Leaks, table: FoldTable) -> tuple[int, float]:
    """(images scored by a model that learnt from ground they show, the mean share of it)."""
    if leaks.ground is None or not leaks.on_one_ground[0]:
        return 0, 0.0
    at = {image_id: i for i, image_id in enumerate(leaks.ids[: leaks.n_train])}
    return ground_on_both_sides(table, leaks.ground, [at[i] for i in table.ids])


def find_split_groups(
    leaks: Leaks, competition: Competition, records: Records, root: Path
) -> dict[str, list[str]]:
    """Groups that what is given cuts, before there is a folds file: a split, or other groups (`folds.group`).

    Returns:
        none where nothing is given, or it cannot be read: `comp folds` says so.
    """
    folds = competition.folds
    try:
        if folds.group is not None:
            return _put_apart(leaks, competition, root)
        if folds.scheme == "predefined" and folds.listed is not None:
            fold = read_listed(root / folds.listed, records.train)
        elif folds.scheme == "predefined":
            fold = [int(record.split == "val") for record in records.train]
        elif folds.scheme == "heldout" and folds.heldout is not None:
            chosen = read_heldout(root / folds.heldout, records.train)
            fold = [int(record.image_id in chosen) for record in records.train]
        else:
            return {}
    except CompError:
        return {}
    return _members(leaks, crossing_groups(np.array(fold), leaks.group))


def _put_apart(leaks: Leaks, competition: Competition, root: Path) -> dict[str, list[str]]:
    """Groups of the radar whose images have different groups by `folds.group`, each image without one its own."""
    group, ids = str(competition.folds.group), list(leaks.ids[: leaks.n_train])
    if group == AUTO:
        return {}
    if group in (BY_NAMES, BY_FOLDERS):
        values = groups_in_ids(group, ids)
    else:
        values = read_meta_column(competition, root, group, ids, "folds.group")
    return _members(leaks, crossing_groups(number_units(values), leaks.group))


def _members(leaks: Leaks, names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in sorted(names)}
    for image_id, name in zip(leaks.ids[: leaks.n_train], leaks.group, strict=True):
        if name in found:
            found[name].append(image_id)
    return found
