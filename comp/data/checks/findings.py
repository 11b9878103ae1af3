"""What `comp verify` found, put together: faults, warnings, leaks, shift, and the folds that cut groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from comp.config import Competition
from comp.data.checks.scan import Scan
from comp.data.checks.shift import PLAIN, Shift, measure_shift
from comp.data.folds.schemes import UNGROUPED
from comp.data.folds.table import FoldTable
from comp.data.leaks.radar import Leaks, look_for_leaks
from comp.data.leaks.unions import sets_of
from comp.data.sources.records import Record, Records
from comp.errors import some


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
    """Groups whose images lie in several folds of any repeat: name -> image ids."""
    position = {image_id: i for i, image_id in enumerate(table.ids)}
    members: dict[str, list[str]] = {}
    for image_id, name in zip(leaks.ids[: leaks.n_train], leaks.group, strict=True):
        if name and image_id in position:
            members.setdefault(name, []).append(image_id)
    return {
        name: ids
        for name, ids in members.items()
        if any(len({folds[position[i]] for i in ids}) > 1 for folds in table.assignments)
    }


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
    auto = "`comp folds --groups auto` keeps such images together"
    if table is not None and found.cut:
        n = sum(len(ids) for ids in found.cut.values())
        found.warnings.append(
            f"{path} (scheme {table.scheme}) cuts through {len(found.cut)} of {len(groups)} groups,"
            f" {n} images: scores of these folds may flatter; {auto} (--force replaces the file)"
        )
    elif table is None and competition.folds.scheme in UNGROUPED:
        n = sum(1 for name in found.leaks.group if name)
        found.warnings.append(
            f"{n} images belong to {len(groups)} groups, and scheme {competition.folds.scheme} would"
            f" cut through them: scores of such folds may flatter; {auto}"
        )


def as_json(found: Findings, competition: Competition) -> dict[str, Any]:
    """The findings as plain values, for `verify.json`."""
    leaks, ids = found.leaks, found.leaks.ids
    return {
        "competition": competition.name,
        "task": competition.task,
        "problems": found.problems,
        "warnings": found.warnings,
        "train": _scan_json(found.train, competition),
        "test": _scan_json(found.test, competition, masks=False),
        "same_in_train_and_test": [[a.image_id, b.image_id] for a, b in found.same_in_test],
        "near_duplicates_of_train_and_test": [
            {"train": a, "test": b, "how": how} for a, b, how in found.near_in_test
        ],
        "near_duplicates": [
            {"images": _named(leaks, (p.i, p.j)), "turn": p.turn, "correlation": round(p.alike, 4)}
            for p in leaks.near
        ],
        "seams": {
            "rule": vars(leaks.seams.rule),
            "n_found": leaks.seams.n_found,
            "n_null_reversed": leaks.seams.n_null,
            "believed": leaks.seams.believed,
            "n_train_linked": leaks.linked([(s.i, s.j) for s in leaks.seams.links])[0],
            "n_train_linked_to_test": len({i for i, _ in leaks.across(leaks.links)}),
            "links": [[*_named(leaks, (s.i, s.j)), s.side] for s in leaks.seams.links],
        },
        "guesses": [
            {"witness": g.witness, "what": g.what, "n_groups": g.n_groups, "auc": g.auc, "used": g.used,
             "why": g.why, "command": g.command} for g in leaks.guesses
        ],
        "groups": {i: g for i, g in zip(ids[: leaks.n_train], leaks.group, strict=True) if g},
        "groups_cut_by_folds": found.cut,
        "shift": None if found.shift is None else {
            "auc": found.shift.auc,
            "standard_error": found.shift.error,
            "verdict": found.shift.verdict,
            "traits": [
                {"name": n, "auc": a, "median_train": x, "median_test": y}
                for n, a, x, y in found.shift.differ
            ],
        },
    }  # fmt: skip


def _named(leaks: Leaks, positions: Sequence[int]) -> list[str]:
    return [leaks.ids[i] if i < leaks.n_train else f"test: {leaks.ids[i]}" for i in positions]


def _scan_json(scan: Scan, competition: Competition, masks: bool = True) -> dict[str, Any]:
    said: dict[str, Any] = {
        "n_images": len(scan.seen),
        "sizes": [[h, w, n] for (h, w), n in scan.sizes.most_common()],
        "stored": dict(scan.stored.most_common()),
        "of_one_colour": [record.image_id for record in scan.constant()],
        "exact_duplicates": [[r.image_id for r in group] for group in scan.duplicates()],
    }
    if masks:
        said |= {
            "n_masks": scan.n_masks,
            "n_empty": scan.n_empty,
            "pixels": scan.n_pixels,
            "ignored_pixels": scan.n_ignored,
            "classes": [
                {"name": name, "pixels": scan.counts[k], "valid": scan.valid[k], "images": scan.n_with[k]}
                for k, name in enumerate(competition.classes)
            ],
        }  # fmt: skip
    return said
