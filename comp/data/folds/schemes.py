"""The fold schemes: each divides units, images that must stay together, and knows nothing of files.

A scheme sees images in sorted order and one seed, so the same images give the same folds everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from comp.config import Competition, Folds
from comp.data.cache.stats import ImageStats
from comp.data.folds.heldout import read_heldout
from comp.data.folds.iterative import deal, even_out, make_labels
from comp.data.folds.listed import read_listed
from comp.data.folds.meta import read_meta_column
from comp.data.folds.strata import make_strata, merge_rare, strata_of_column
from comp.data.folds.table import ALWAYS_TRAIN, HELD_OUT
from comp.data.folds.time_order import divide, read_times
from comp.data.sources.records import Record
from comp.errors import FoldsError, some

SIZE_WEIGHT = 3  # iterative: the number of images counts as much as so many labels


@dataclass(frozen=True)
class Problem:
    """What a scheme divides: N images in sorted order.

    Args:
        units: (N,) int64; images of one unit share a fold: duplicates, and groups where they are asked.
        groups: N names, "" for an image that belongs to none.
    """

    competition: Competition
    records: Sequence[Record]
    stats: ImageStats
    units: np.ndarray
    data_root: Path
    groups: Sequence[str] = ()

    def reseed(self, seed: int) -> Problem:
        """The same problem with another seed."""
        folds = self.folds.model_copy(update={"seed": seed})
        return replace(self, competition=self.competition.model_copy(update={"folds": folds}))

    @property
    def folds(self) -> Folds:
        return self.competition.folds

    @property
    def n_units(self) -> int:
        return int(self.units.max()) + 1

    @cached_property
    def first(self) -> np.ndarray:
        """(U,) position of the first image of each unit."""
        return np.unique(self.units, return_index=True)[1]

    @cached_property
    def strata(self) -> list[str]:
        """N names, or N empty texts where there is nothing to balance by."""
        if self.folds.stratify is not None:
            values = self.column(self.folds.stratify, "folds.stratify")
            return strata_of_column(values, self.folds.n_splits)
        if (self.stats.counts < 0).any():
            return [""] * len(self.records)
        return make_strata(self.competition.task, self.stats, self.folds.n_splits)

    def column(self, name: str, key: str) -> list[str]:
        """A column of the meta table, N cells; `key` is the config key that asks for it."""
        ids = [record.image_id for record in self.records]
        return read_meta_column(self.competition, self.data_root, name, ids, key)

    def need_splits(self, what: str) -> int:
        """n_splits, if there are enough units."""
        n = self.folds.n_splits
        if n < 2:
            raise FoldsError(
                f"folds.n_splits is {n}: scheme {self.folds.scheme} needs 2 or more; for one fold use scheme split"
            )
        if self.n_units < n:
            raise FoldsError(f"{self.n_units} {what} cannot fill {n} folds; lower folds.n_splits")
        return n

    def need_strata(self) -> list[str]:
        """The strata, if there are masks or a column to make them from."""
        if not any(self.strata):
            raise FoldsError(
                f"scheme {self.folds.scheme} balances by the masks, and images have none; use kfold or folds.stratify"
            )
        return self.strata


@dataclass(frozen=True)
class Division:
    """What a scheme made of N images.

    Args:
        fold: (N,) int64.
        left_out: for each image the further folds whose models do not see it; () where there are none.
        notes: what was decided, for people.
    """

    fold: np.ndarray
    left_out: tuple[tuple[int, ...], ...] = ()
    notes: tuple[str, ...] = ()


def kfold(problem: Problem) -> Division:
    """Plain K folds at random; exact duplicates together."""
    from sklearn.model_selection import KFold

    splitter = KFold(problem.need_splits("images"), shuffle=True, random_state=problem.folds.seed)
    fold = np.empty(problem.n_units, np.int64)
    for number, (_, part) in enumerate(splitter.split(np.zeros(problem.n_units))):
        fold[part] = number
    return Division(fold[problem.units])


def stratified(problem: Problem) -> Division:
    """K folds balanced by stratum; exact duplicates together."""
    from sklearn.model_selection import StratifiedKFold

    n_splits = problem.need_splits("images")
    strata = np.array(problem.need_strata(), dtype=str)[problem.first]
    strata = np.array(merge_rare(list(strata), n_splits))
    splitter = StratifiedKFold(n_splits, shuffle=True, random_state=problem.folds.seed)
    fold = np.empty(problem.n_units, np.int64)
    for number, (_, part) in enumerate(splitter.split(np.zeros(problem.n_units), strata)):
        fold[part] = number
    return Division(fold[problem.units])


def group(problem: Problem) -> Division:
    """K folds of whole groups, as even in images as they can be; the seed settles ties."""
    from sklearn.model_selection import GroupKFold

    n_splits = problem.need_splits("groups")
    relabel = np.random.default_rng(problem.folds.seed).permutation(problem.n_units)
    fold = np.empty(len(problem.units), np.int64)
    splitter = GroupKFold(n_splits)
    for number, (_, part) in enumerate(splitter.split(fold, groups=relabel[problem.units])):
        fold[part] = number
    return Division(fold)


def stratified_group(problem: Problem) -> Division:
    """K folds of whole groups, balanced by stratum as far as groups allow."""
    from sklearn.model_selection import StratifiedGroupKFold

    n_splits = problem.need_splits("groups")
    strata = np.array(merge_rare(problem.need_strata(), n_splits))
    splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=problem.folds.seed)
    fold = np.empty(len(problem.units), np.int64)
    for number, (_, part) in enumerate(splitter.split(fold, strata, problem.units)):
        fold[part] = number
    return Division(fold)


def iterative(problem: Problem) -> Division:
    """K folds in which every class is spread evenly, many labels an image; groups, if any, stay whole."""
    folds = problem.folds
    n_splits = problem.need_splits("images" if not any(problem.groups) else "groups")
    column = None if folds.stratify is None else problem.column(folds.stratify, "folds.stratify")
    if column is None:
        problem.need_strata()
    labels, _ = make_labels(problem.competition.task, problem.stats, n_splits, column)
    fold = deal(labels, problem.units, n_splits, np.random.default_rng(folds.seed))
    coverage = np.maximum(problem.stats.coverage(), 0)
    things = np.column_stack([labels, coverage, np.ones((len(labels), SIZE_WEIGHT))])
    held = np.zeros((problem.n_units, things.shape[1]))
    np.add.at(held, problem.units, things)
    return Division(even_out(fold, held, n_splits)[problem.units])


def logo(problem: Problem) -> Division:
    """Leave one group out: a fold a group, in the order of their names; n_splits is not asked."""
    alone = [r.image_id for r, g in zip(problem.records, problem.groups, strict=True) if not g]
    if alone:
        raise FoldsError(
            f"scheme logo: {len(alone)} images belong to no group: {some(alone)}; "
            "use scheme stratified_group, or give each a group"
        )
    if problem.n_units < 2:
        raise FoldsError(
            f"scheme logo: every image is of the group {problem.groups[0]!r}; expected 2 groups or more; "
            "use scheme stratified"
        )
    said = f"one fold a group: {problem.n_units} groups, so {problem.n_units} models a config"
    return Division(problem.units.astype(np.int64), notes=(said,))


def time(problem: Problem) -> Division:
    """Blocks in the order of `folds.time`, each validated in turn.

    ``train_on: before``: n_splits + 1 blocks; the first is only trained on, and each model sees only
    images from before its block. ``around``: n_splits blocks, trained on both sides. Images nearer than
    `purge` to the span of the block are left out, and so is what a group or a duplicate brings into it.
    """
    folds = problem.folds
    if folds.time is None:
        raise FoldsError("scheme time: folds.time names no column of data.meta")
    before = folds.train_on == "before"
    if folds.n_splits < 2 and not before:
        raise FoldsError("folds.n_splits is 1: scheme time needs 2 or more with train_on: around")
    where = f"{problem.competition.data.meta}: column {folds.time!r} (folds.time)"
    times = read_times(problem.column(folds.time, "folds.time"), where)
    fold, left_out, notes = divide(times, problem.units, folds.n_splits, folds.purge, before)
    return Division(fold, tuple(map(tuple, left_out)), tuple(notes))


def predefined(problem: Problem) -> Division:
    """Fold 0 is what `data.train` marks ``split: val``; the rest is always trained on.

    Or the folds are those that the CSV of `folds.listed` numbers.
    """
    if problem.folds.listed is not None:
        path = problem.data_root / problem.folds.listed
        return Division(np.array(read_listed(path, problem.records)))
    fold = np.array([0 if r.split == "val" else ALWAYS_TRAIN for r in problem.records])
    if not (fold == 0).any():
        raise FoldsError("scheme predefined: no entry of data.train has split: val")
    return Division(fold)


def heldout(problem: Problem) -> Division:
    """Fold 0 is the list of `folds.heldout`; the rest is always trained on."""
    if problem.folds.heldout is None:
        raise FoldsError(
            "scheme heldout: folds.heldout names no file; expected a JSON or CSV of ids"
        )
    chosen = read_heldout(problem.data_root / problem.folds.heldout, problem.records)
    return Division(
        np.array([0 if r.image_id in chosen else ALWAYS_TRAIN for r in problem.records])
    )


def split(problem: Problem) -> Division:
    """One validation fold of `val_share`, `test_share` held out for one final score, the rest trained on.

    Units are drawn evenly along their order by stratum, so that rare strata need no least size.
    """
    folds = problem.folds
    rng = np.random.default_rng(folds.seed)
    n_images = len(problem.units)
    sizes = np.bincount(problem.units)
    strata = np.array(problem.strata, dtype=str)[problem.first]
    order = np.lexsort((rng.permutation(problem.n_units), strata))
    fold = np.full(problem.n_units, ALWAYS_TRAIN)
    for number, share in ((0, folds.val_share), (HELD_OUT, folds.test_share)):
        wanted = max(1, round(share * n_images)) if share > 0 else 0
        left = order[fold[order] == ALWAYS_TRAIN]
        fold[_evenly(left, sizes, wanted, rng)] = number
    if not (fold == ALWAYS_TRAIN).any() or not (fold == 0).any():
        raise FoldsError(
            f"{n_images} images in {problem.n_units} parts that stay together cannot be split "
            f"{1 - folds.val_share - folds.test_share:.0%} / {folds.val_share:.0%} / {folds.test_share:.0%}"
        )
    return Division(fold[problem.units])


def _evenly(
    units: np.ndarray, sizes: np.ndarray, wanted: int, rng: np.random.Generator
) -> list[int]:
    """Choose units at even distances along their order until they hold `wanted` images."""
    ends = np.cumsum(sizes[units])
    if wanted == 0 or len(units) == 0:
        return []
    places = (np.arange(wanted) + rng.random()) * ends[-1] / wanted
    chosen: list[int] = []
    for place in rng.permutation(places):
        unit = int(units[min(int(np.searchsorted(ends, place, side="right")), len(units) - 1)])
        if unit not in chosen:
            chosen.append(unit)
        if sizes[chosen].sum() >= wanted:
            break
    return chosen


FOLD_SCHEMES: dict[str, Callable[[Problem], Division]] = {
    "kfold": kfold,
    "stratified": stratified,
    "iterative": iterative,
    "group": group,
    "stratified_group": stratified_group,
    "logo": logo,
    "time": time,
    "predefined": predefined,
    "heldout": heldout,
    "split": split,
}
GROUPED = ("group", "stratified_group", "logo")
UNGROUPED = ("kfold", "stratified")
GIVEN = ("predefined", "heldout")  # divide as somebody else did
ONE_FOLD = ("predefined", "heldout", "split")
OWN_COUNT = (*ONE_FOLD, "logo")  # the number of folds follows from the data
AT_RANDOM = ("kfold", "stratified", "iterative", "group", "stratified_group")  # may be repeated
