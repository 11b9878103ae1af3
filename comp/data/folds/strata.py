"""What folds are balanced by: bins of coverage and emptiness, class presence, or a column of the meta table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from comp.data.cache.stats import ImageStats

MOST_BINS = 10
PLAIN_VALUES = 20  # a numeric column with more distinct values is cut into quantile bins


def make_strata(task: str, stats: ImageStats, n_splits: int) -> list[str]:
    """Name the stratum of each image by what its mask holds.

    Binary: ``empty``, or a quantile bin of coverage. Else: the pattern of classes present, such as
    ``0 2 4``; patterns too rare for `n_splits` folds become ``rarest <class>``, then ``other``.

    Returns:
        N names; no stratum has fewer than `n_splits` images unless there are fewer in all.
    """
    if task == "binary":
        coverage = stats.coverage()[:, 0]
        present = coverage > 0
        bins = quantile_bins(coverage[present], n_splits)
        names = np.full(len(coverage), "empty", dtype=object)
        names[present] = [f"coverage {b}" for b in bins]
        return merge_rare([str(name) for name in names], n_splits)
    presence = stats.presence()
    names_of = [" ".join(str(k) for k in np.flatnonzero(row)) or "none" for row in presence]
    frequency = presence.sum(axis=0)
    count = Counter(names_of)
    strata = []
    for name, row in zip(names_of, presence, strict=True):
        if count[name] < n_splits and row.any():
            classes = np.flatnonzero(row)
            name = f"rarest {classes[np.argmin(frequency[classes])]}"
        strata.append(name)
    return merge_rare(strata, n_splits)


def strata_of_column(values: Sequence[str], n_splits: int) -> list[str]:
    """Name the stratum of each image by a column: its value, or a quantile bin of many numbers."""
    if len(set(values)) > PLAIN_VALUES:
        try:
            numbers = np.array([float(value) for value in values])
        except ValueError:
            return merge_rare(list(values), n_splits)
        if np.isfinite(numbers).all():
            return merge_rare([f"bin {b}" for b in quantile_bins(numbers, n_splits)], n_splits)
    return merge_rare(list(values), n_splits)


def quantile_bins(values: np.ndarray, n_splits: int) -> np.ndarray:
    """Cut values into at most `MOST_BINS` bins that hold about two images a fold or more.

    Returns:
        (N,) int64 bin numbers from 0.
    """
    n_bins = int(np.clip(len(values) // (2 * n_splits), 1, MOST_BINS))
    if n_bins == 1:
        return np.zeros(len(values), np.int64)
    edges = np.quantile(values, np.arange(1, n_bins) / n_bins)
    return np.searchsorted(edges, values, side="right")


def merge_rare(strata: list[str], n_splits: int) -> list[str]:
    """Put strata with fewer than `n_splits` images together as ``other``, or, where even that is too
    few, with the smallest of the rest."""
    count = Counter(strata)
    rare = {name for name, n in count.items() if n < n_splits}
    if not rare:
        return strata
    if sum(count[name] for name in rare) >= n_splits or rare == set(count):
        into = "other"
    else:
        into = min((n, name) for name, n in count.items() if name not in rare)[1]
    return [into if name in rare else name for name in strata]
