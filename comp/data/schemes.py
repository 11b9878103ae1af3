"""The fold schemes: each divides units, images that must stay together, and knows nothing of files.

A scheme sees images in sorted order and one seed, so the same images give the same folds everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from comp.config import Competition, Folds
from comp.data.fold_table import ALWAYS_TRAIN, HELD_OUT
from comp.data.heldout import read_heldout
from comp.data.intake import Record
from comp.data.meta import read_meta_column
from comp.data.stats import ImageStats
from comp.data.strata import make_strata, merge_rare, strata_of_column
from comp.errors import FoldsError


@dataclass(frozen=True)
class Problem:
    """What a scheme divides: N images in sorted order.

    Args:
        units: (N,) int64; images of one unit share a fold: duplicates, and groups where they are asked.
    """

    competition: Competition
    records: Sequence[Record]
    stats: ImageStats
    units: np.ndarray
    data_root: Path

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
        ids = [record.image_id for record in self.records]
        if self.folds.stratify is not None:
            values = read_meta_column(
                self.competition, self.data_root, self.folds.stratify, ids, "folds.stratify"
            )
            return strata_of_column(values, self.folds.n_splits)
        if (self.stats.counts < 0).any():
            return [""] * len(ids)
        return make_strata(self.competition.task, self.stats, self.folds.n_splits)

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


def kfold(problem: Problem) -> np.ndarray:
    """Plain K folds at random; exact duplicates together."""
    from sklearn.model_selection import KFold

    splitter = KFold(problem.need_splits("images"), shuffle=True, random_state=problem.folds.seed)
    fold = np.empty(problem.n_units, np.int64)
    for number, (_, part) in enumerate(splitter.split(np.zeros(problem.n_units))):
        fold[part] = number
    return fold[problem.units]


def stratified(problem: Problem) -> np.ndarray:
    """K folds balanced by stratum; exact duplicates together."""
    from sklearn.model_selection import StratifiedKFold

    n_splits = problem.need_splits("images")
    strata = np.array(problem.need_strata(), dtype=str)[problem.first]
    strata = np.array(merge_rare(list(strata), n_splits))
    splitter = StratifiedKFold(n_splits, shuffle=True, random_state=problem.folds.seed)
    fold = np.empty(problem.n_units, np.int64)
    for number, (_, part) in enumerate(splitter.split(np.zeros(problem.n_units), strata)):
        fold[part] = number
    return fold[problem.units]


def group(problem: Problem) -> np.ndarray:
    """K folds of whole groups, as even in images as they can be; the seed settles ties."""
    from sklearn.model_selection import GroupKFold

    n_splits = problem.need_splits("groups")
    relabel = np.random.default_rng(problem.folds.seed).permutation(problem.n_units)
    fold = np.empty(len(problem.units), np.int64)
    splitter = GroupKFold(n_splits)
    for number, (_, part) in enumerate(splitter.split(fold, groups=relabel[problem.units])):
        fold[part] = number
    return fold


def stratified_group(problem: Problem) -> np.ndarray:
    """K folds of whole groups, balanced by stratum as far as groups allow."""
    from sklearn.model_selection import StratifiedGroupKFold

    n_splits = problem.need_splits("groups")
    strata = np.array(merge_rare(problem.need_strata(), n_splits))
    splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=problem.folds.seed)
    fold = np.empty(len(problem.units), np.int64)
    for number, (_, part) in enumerate(splitter.split(fold, strata, problem.units)):
        fold[part] = number
    return fold


def predefined(problem: Problem) -> np.ndarray:
    """Fold 0 is what `data.train` marks ``split: val``; the rest is always trained on."""
    fold = np.array([0 if r.split == "val" else ALWAYS_TRAIN for r in problem.records])
    if not (fold == 0).any():
        raise FoldsError("scheme predefined: no entry of data.train has split: val")
    return fold


def heldout(problem: Problem) -> np.ndarray:
    """Fold 0 is the list of `folds.heldout`; the rest is always trained on."""
    if problem.folds.heldout is None:
        raise FoldsError(
            "scheme heldout: folds.heldout names no file; expected a JSON or CSV of ids"
        )
    chosen = read_heldout(problem.data_root / problem.folds.heldout, problem.records)
    return np.array([0 if r.image_id in chosen else ALWAYS_TRAIN for r in problem.records])


def split(problem: Problem) -> np.ndarray:
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
    return fold[problem.units]


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


FOLD_SCHEMES: dict[str, Callable[[Problem], np.ndarray]] = {
    "kfold": kfold,
    "stratified": stratified,
    "group": group,
    "stratified_group": stratified_group,
    "predefined": predefined,
    "heldout": heldout,
    "split": split,
}
GROUPED = ("group", "stratified_group")
UNGROUPED = ("kfold", "stratified")
ONE_FOLD = ("predefined", "heldout", "split")
