"""The warnings of `comp verify`: what should be read, and what can be done about it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from comp.config import Competition
from comp.data.checks.findings import Findings
from comp.data.checks.one_class import all_of_one_class
from comp.data.checks.shift import PLAIN
from comp.data.folds.schemes import GIVEN, OWN_COUNT
from comp.data.folds.table import FoldTable
from comp.data.leaks.guesses import AUTO
from comp.data.leaks.words import many, short
from comp.errors import some

CUTTING = (
    "kfold",
    "stratified",
    "iterative",
    "split",
    "time",
)  # schemes that know no groups unless told
MAX_EXCLUDED = 5  # ids that are written out for data.exclude


def warn(found: Findings, competition: Competition, table: FoldTable | None, path: str) -> None:
    """Add the warnings, and the problem of masks that are all of one class.

    Args:
        table: the folds file; None: there is none yet. path: its name.
    """
    say = found.warnings.append
    found.problems += all_of_one_class(found.train, competition)
    for what, scan in (("train", found.train), ("test", found.test)):
        if blank := scan.constant():
            listed = some(short(r.image_id) for r in blank)
            say(f"{many(len(blank), f'{what} image')} {_are(len(blank))} of one colour: {listed}")
        if len(scan.stored) > 1:
            kinds = ", ".join(f"{kind} ({n})" for kind, n in scan.stored.most_common())
            say(f"{what} images are stored in {len(scan.stored)} ways: {kinds}")
    alone = sorted(set(found.test.stored) - set(found.train.stored))
    if alone and found.train.stored:
        say(f"test images are stored as {some(alone)}, train images never are")
    _warn_test(found)
    for k, n in enumerate(found.train.n_with):
        if found.train.n_masks and not n:
            say(f"class {competition.classes[k]!r} is in no training image")
    if found.shift is not None and found.shift.differs and found.shift.auc >= PLAIN:
        say(
            "train and test images can be told apart: the cross-validation score may not carry over"
        )
    _warn_folds(found, competition, table, path)


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _warn_test(found: Findings) -> None:
    """Add what training and test images have in common."""
    say, leaks = found.warnings.append, found.leaks
    if both := found.same_in_test:
        pairs = some(f"{short(a.image_id)} = {short(b.image_id)}" for a, b in both)
        n = len(both)
        too = "a test image too" if n == 1 else "test images too"
        say(
            f"{many(n, 'train image')} {_are(n)} {too}: {pairs}; {_leave_out([a.image_id for a, _ in both])}"
        )
    if near := found.near_in_test:
        pairs = some((f"{short(a)} ~ {short(b)} ({how})" for a, b, how in near), 10)
        n, m = len({a for a, _, _ in near}), len({b for _, b, _ in near})
        of = "a near duplicate" if n == 1 else "near duplicates"
        say(
            f"{many(n, 'train image')} {_are(n)} {of} of {many(m, 'test image')}: {pairs};"
            f" {_leave_out([a for a, _, _ in near])}"
        )
    if across := leaks.across([(o.i, o.j) for o in leaks.overlaps.links]):
        n = len({i for i, _ in across})
        pairs = some(f"{short(leaks.ids[i])} ~ {short(leaks.ids[j])}" for i, j in across)
        say(
            f"{many(n, 'train image')} {'overlaps' if n == 1 else 'overlap'} test images, directly or by way of"
            f" others: {pairs}; the test score flatters"
        )
    if leaks.ground is not None:
        tests = range(leaks.n_train, len(leaks.ids))
        share, who = leaks.ground.shared(range(leaks.n_train), tests)
        at = np.flatnonzero(share > 0).tolist()
        if at:
            pairs = some(f"{short(leaks.ids[i])} ~ {short(leaks.ids[who[i]])}" for i in at)
            say(
                f"{many(len(at), 'train image')} {_show(len(at))} ground that test images show,"
                f" {share[at].mean():.0%} of the image on average: {pairs}; {_leave_out([leaks.ids[i] for i in at])}"
            )


def _leave_out(ids: Sequence[str]) -> str:
    """That the test score flatters, and the key that leaves such training images out."""
    once = list(dict.fromkeys(ids))
    listed = json.dumps(once, ensure_ascii=False) if len(once) <= MAX_EXCLUDED else ""
    key = f"data.exclude: {listed}" if listed else "data.exclude; verify.json has the ids"
    them = "it" if len(once) == 1 else "them"
    return f"the test score flatters: to tell of new pictures, leave {them} out of training ({key})"


def _show(n: int) -> str:
    return "shows" if n == 1 else "show"


def _warn_folds(
    found: Findings, competition: Competition, table: FoldTable | None, path: str
) -> None:
    groups = {name for name in found.leaks.group if name}
    ground = _ground(found, competition, table)
    if not groups or (ground and not found.cut):
        if ground:
            found.warnings.append(ground if table is None else f"{path}: {ground}")
        return
    scheme = competition.folds.scheme if table is None else table.scheme
    n = sum(len(ids) for ids in found.cut.values())
    advice = "" if scheme in OWN_COUNT else found.leaks.advice
    whole = advice or _keep_whole(scheme)
    cut = f"{len(found.cut)} of {many(len(groups), 'group')}, {n} images"
    if table is not None and found.cut:
        flatter = "" if ground else "scores of these folds may flatter; "
        if ground:
            whole = ground
        elif not advice:
            whole += " (--force replaces the file)"
        found.warnings.append(f"{path} (scheme {scheme}) cuts through {cut}: {flatter}{whole}")
    elif found.cut and competition.folds.group is not None:
        first = some(map(short, next(iter(found.cut.values()))), 3)
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
            f"{many(n, 'image')} belong to {many(len(groups), 'group')}, and scheme {scheme} would"
            f" cut through them: scores of such folds may flatter; {whole}"
        )


def _ground(found: Findings, competition: Competition, table: FoldTable | None) -> str:
    """That images of two folds show the same ground, or would, and what to do; "" where none do."""
    if table is not None:
        n, share = found.both_sides
        if not n:
            return ""
        return (
            f"{n} of {many(len(table.ids), 'image')} {_show(n)} ground that their model learnt from too,"
            f" {share:.0%} of the image on average: such scores flatter; "
        ) + (
            _keep_whole(table.scheme)
            if table.scheme in GIVEN
            else "`comp folds --groups auto --force` leaves what shows the same ground out of training"
        )
    n = found.leaks.on_one_ground[0]
    if competition.folds.scheme in GIVEN:
        return ""
    if not n or competition.folds.group == AUTO:
        return ""
    return (
        f"{many(n, 'training image')} {_show(n)} ground that another shows too: folds that do not heed it flatter;"
        " `comp folds --groups auto` cuts the map into blocks, and leaves out of each fold's training what"
        " shows ground of its validation images"
    )


def _keep_whole(scheme: str) -> str:
    """The next step to folds that cut no group."""
    if scheme in GIVEN:
        return "`comp folds --groups auto` lists the images that cross, and a split that keeps them whole"
    return "`comp folds --groups auto` keeps such images together"
