"""Iterative stratification of units that carry several labels at once: the rarest label is dealt out first.

Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-Label Data, ECML PKDD 2011, algorithm 1; here
a unit is a group of images with a count of each label, and larger units are dealt before smaller ones.
Groups are too coarse for that alone: units are then moved and swapped while that makes folds more even.
"""

from __future__ import annotations

import numpy as np

from comp.data.cache.stats import ImageStats
from comp.data.folds.strata import make_strata, strata_of_column

SWAPPED = 400  # units up to which pairs are tried; more of them are fine enough to be moved alone
STEPS = 2000


def make_labels(
    task: str, stats: ImageStats, n_splits: int, column: list[str] | None
) -> tuple[np.ndarray, list[str]]:
    """The labels that folds are balanced by, and their names.

    Binary: the strata of `make_strata` (empty, bins of coverage). Else, of each class: it is there; it covers more than
    the median of the images that hold it; and: no class is there. Beside them the strata of `column`.

    Returns:
        (N, L) bool; L names. Labels that no image or every image carries balance nothing and are left out.
    """
    columns: list[np.ndarray] = []
    names: list[str] = []
    valued = [strata_of_column(column, n_splits)] if column else []
    masks = not (stats.counts < 0).any()
    if task == "binary" and masks:
        valued.insert(0, make_strata(task, stats, n_splits))
    elif masks:
        presence, coverage = stats.presence(), stats.coverage()
        columns.append(np.logical_not(presence.any(axis=1)))
        names.append("none")
        for k in range(presence.shape[1]):
            there = presence[:, k]
            middle = np.median(coverage[there, k]) if there.any() else 0.0
            columns += [there, there & (coverage[:, k] > middle)]
            names += [f"class {k}", f"much of class {k}"]
    for values in valued:
        for value in sorted(set(values)):
            columns.append(np.array([v == value for v in values]))
            names.append(value)
    kept = [n for n, marked in enumerate(columns) if 0 < marked.sum() < len(marked)]
    if not kept:
        return np.zeros((len(stats.ids), 0), bool), []
    return np.stack([columns[n] for n in kept], axis=1), [names[n] for n in kept]


def deal(
    labels: np.ndarray, units: np.ndarray, n_folds: int, rng: np.random.Generator
) -> np.ndarray:
    """Divide units over folds of one size so that each label is spread evenly.

    Args:
        labels: (N, L) bool of the images.
        units: (N,) int64 in 0..U-1, U >= n_folds.

    Returns:
        (U,) int64, the fold of each unit; no fold is empty.
    """
    n_units = int(units.max()) + 1
    sizes = np.bincount(units, minlength=n_units)
    held = np.zeros((n_units, labels.shape[1]), np.int64)
    np.add.at(held, units, labels.astype(np.int64))
    wanted = np.repeat(held.sum(axis=0)[None] / n_folds, n_folds, axis=0)  # (F, L) images
    room = np.full(n_folds, len(units) / n_folds)
    fold = np.full(n_units, -1, np.int64)
    luck = rng.permutation(n_units)
    left = held.sum(axis=0)
    while (left > 0).any():
        label = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
        bearers = np.flatnonzero((fold < 0) & (held[:, label] > 0))
        for unit in bearers[np.lexsort((luck[bearers], -sizes[bearers], -held[bearers, label]))]:
            _put(int(unit), _neediest(wanted[:, label], room, rng), fold, wanted, room, held, sizes)
        left = held[fold < 0].sum(axis=0)
    rest = np.flatnonzero(fold < 0)
    for unit in rest[np.lexsort((luck[rest], -sizes[rest]))]:
        _put(int(unit), _neediest(room, room, rng), fold, wanted, room, held, sizes)
    return _fill_empty(fold, sizes, n_folds)


def even_out(fold: np.ndarray, held: np.ndarray, n_folds: int) -> np.ndarray:
    """Move one unit, or swap two, whichever makes the folds most even, until nothing does.

    Even means: the sum over folds and columns of (what the fold holds / what it should - 1) squared is
    small.

    Args:
        fold: (U,) int64; held: (U, M) what each unit holds of M things that each fold should have alike.

    Returns:
        (U,) int64; a fold that was not empty is not empty.
    """
    fold, total = fold.copy(), held.sum(axis=0)
    x = held[:, total > 0] / total[total > 0] * n_folds
    square = (x**2).sum(axis=1)
    products = x @ x.T if len(x) <= SWAPPED else None
    everyone = np.arange(len(fold))
    for _ in range(STEPS):
        have = np.zeros((n_folds, x.shape[1]))
        np.add.at(have, fold, x)
        reach = x @ have.T
        change = reach - reach[everyone, fold][:, None] + square[:, None]
        alone = np.bincount(fold, minlength=n_folds)[fold] == 1
        change[alone] = np.inf
        change[everyone, fold] = np.inf
        unit, to = divmod(int(change.argmin()), n_folds)
        best, steps = change[unit, to], [(unit, to)]
        if products is not None:
            there = reach[:, fold] - reach[everyone, fold][:, None]
            swap = there + there.T + square[:, None] + square - 2 * products
            swap[fold[:, None] == fold] = np.inf
            a, b = divmod(int(swap.argmin()), len(fold))
            if swap[a, b] < best:
                best, steps = swap[a, b], [(a, int(fold[b])), (b, int(fold[a]))]
        if not best < -1e-5:
            break
        for unit, to in steps:
            fold[unit] = to
    return fold


def _neediest(demand: np.ndarray, room: np.ndarray, rng: np.random.Generator) -> int:
    """The fold that wants the label most; of equals the one with most room; of equals any."""
    best = np.flatnonzero(np.isclose(demand, demand.max(), rtol=0, atol=1e-9))
    best = best[np.isclose(room[best], room[best].max(), rtol=0, atol=1e-9)]
    return int(rng.choice(best))


def _put(
    unit: int,
    where: int,
    fold: np.ndarray,
    wanted: np.ndarray,
    room: np.ndarray,
    held: np.ndarray,
    sizes: np.ndarray,
) -> None:
    fold[unit] = where
    wanted[where] -= held[unit]
    room[where] -= sizes[unit]


def _fill_empty(fold: np.ndarray, sizes: np.ndarray, n_folds: int) -> np.ndarray:
    """Give each empty fold the smallest unit of the fold that has most of them."""
    for empty in sorted(set(range(n_folds)) - set(fold.tolist())):
        richest = int(np.argmax(np.bincount(fold, minlength=n_folds)))
        members = np.flatnonzero(fold == richest)
        fold[members[np.argmin(sizes[members])]] = empty
    return fold
