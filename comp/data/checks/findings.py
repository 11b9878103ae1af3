"""What `comp verify` found, put together: faults, warnings, leaks, shift, and the folds that cut groups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from comp.config import Competition
from comp.data.checks.scan import Scan
from comp.data.checks.shift import PLAIN, Shift, measure_shift
from comp.data.folds.crossing import crossing_groups
from comp.data.folds.groups import groups_in_ids, number_units
from comp.data.folds.heldout import read_heldout
from comp.data.folds.listed import read_listed
from comp.data.folds.meta import read_meta_column
from comp.data.folds.schemes import OWN_COUNT
from comp.data.folds.table import HELD_OUT, FoldTable
from comp.data.leaks.guesses import AUTO, BY_FOLDERS, BY_NAMES
from comp.data.leaks.radar import Leaks, look_for_leaks, many
from comp.data.leaks.unions import sets_of
from comp.data.sources.records import Record, Records
from comp.errors import CompError, some

CUTTING = (
    "kfold",
    "stratified",
    "iterative",
    "split",
    "time",
)  # schemes that know no groups unless told
GIVEN = ("predefined", "heldout")  # schemes that divide as somebody else did


@dataclass
class Findings:
    """Everything that was found; problems must be mended, warnings should be read.

    Args:
        cut: groups of the radar that the folds file cuts through, with their images.
    """

    records: Records
    train: Scan
    test: Scan
    leaks: Leaks
    shift: Shift | None
    problems: list[str]
    warnings: list[str] = field(default_factory=list)
    cut: dict[str, list[str]] = field(default_factory=dict)

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


def warn(found: Findings, competition: Competition, table: FoldTable | None, path: str) -> None:
    """Add the warnings.

    Args:
        table: the folds file; None: there is none yet. path: its name.
    """
    say = found.warnings.append
    for what, scan in (("train", found.train), ("test", found.test)):
        if blank := scan.constant():
            say(f"{len(blank)} {what} images are of one colour: {some(r.image_id for r in blank)}")
        if len(scan.stored) > 1:
            kinds = ", ".join(f"{kind} ({n})" for kind, n in scan.stored.most_common())
            say(f"{what} images are stored in {len(scan.stored)} ways: {kinds}")
    alone = sorted(set(found.test.stored) - set(found.train.stored))
    if alone and found.train.stored:
        say(f"test images are stored as {some(alone)}, train images never are")
    if both := found.same_in_test:
        pairs = some(f"{a.image_id} = {b.image_id}" for a, b in both)
        say(f"{len(both)} train images are test images too: {pairs}; the test score flatters")
    if near := found.near_in_test:
        pairs = some((f"{a} ~ {b} ({how})" for a, b, how in near), 10)
        n, m = len({a for a, _, _ in near}), len({b for _, b, _ in near})
        say(
            f"{n} train images are near duplicates of {m} test images: {pairs}; the test score"
            " flatters: leave them out of training where it must tell of new pictures"
        )
    laps = [(o.i, o.j) for o in found.leaks.overlaps.links]
    if across := found.leaks.across(laps):
        ids = found.leaks.ids
        say(
            f"{len({i for i, _ in across})} train images overlap test images, directly or by way of others:"
            f" {some(f'{ids[i]} ~ {ids[j]}' for i, j in across)}; the test score flatters"
        )
    for k, n in enumerate(found.train.n_with):
        if found.train.n_masks and not n:
            say(f"class {competition.classes[k]!r} is in no training image")
    if found.shift is not None and found.shift.differs and found.shift.auc >= PLAIN:
        say(
            "train and test images can be told apart: the cross-validation score may not carry over"
        )
    _warn_folds(found, competition, table, path)


def _warn_folds(
    found: Findings, competition: Competition, table: FoldTable | None, path: str
) -> None:
    groups = {name for name in found.leaks.group if name}
    if not groups:
        return
    scheme = competition.folds.scheme if table is None else table.scheme
    n = sum(len(ids) for ids in found.cut.values())
    advice = "" if scheme in OWN_COUNT else found.leaks.advice
    whole = advice or _keep_whole(scheme)
    cut = f"{len(found.cut)} of {many(len(groups), 'group')}, {n} images"
    if table is not None and found.cut:
        if not advice:
            whole += " (--force replaces the file)"
        found.warnings.append(
            f"{path} (scheme {scheme}) cuts through {cut}: scores of these folds may flatter; {whole}"
        )
    elif found.cut and competition.folds.group is not None:
        first = some(next(iter(found.cut.values())), 3)
        found.warnings.append(
            f"folds.group {competition.folds.group!r} puts apart images that belong together in {cut}"
            f" ({first}): they may come into two folds; {whole}"
        )
    elif found.cut:
        found.warnings.append(
            f"scheme {scheme} cuts through {cut}: they lie on both sides of the given split, and its score may"
            f" flatter; {whole}"
        )
    elif table is None and competition.folds.group is None and scheme in CUTTING:
        n = sum(1 for name in found.leaks.group if name)
        found.warnings.append(
            f"{n} images belong to {many(len(groups), 'group')}, and scheme {scheme} would"
            f" cut through them: scores of such folds may flatter; {whole}"
        )


def _keep_whole(scheme: str) -> str:
    """The next step to folds that cut no group."""
    if scheme in GIVEN:
        return "`comp folds --groups auto` lists the images that cross, and a split that keeps them whole"
    return "`comp folds --groups auto` keeps such images together"
