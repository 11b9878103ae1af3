"""Which images are held out together, and how sure a difference between two answers on them is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from comp.blending.objective import signed_score

PARTS = 5
UNITS = 400  # jackknife groups at most


def make_parts(folds: np.ndarray, groups: Sequence[str] | None = None) -> np.ndarray:
    """Give each image the part it is held out with.

    Args:
        folds: (N,) integers. Two or more different folds are the parts.
        groups: (N,) with one fold, images of one group share one of five parts; None: each by itself.

    Returns:
        (N,) int64 in 0..P-1; P is 1 when nothing can be held out.
    """
    values, parts = np.unique(np.asarray(folds), return_inverse=True)
    if len(values) > 1:
        return parts.astype(np.int64)
    names = [str(i) for i in range(len(folds))] if groups is None else list(groups)
    unique, member, sizes = np.unique(np.asarray(names), return_inverse=True, return_counts=True)
    order = np.random.default_rng(0).permutation(len(unique))
    order = order[
        np.argsort(-sizes[order], kind="stable")
    ]  # large groups first, into the emptiest part
    load = np.zeros(max(1, min(PARTS, len(unique))), np.int64)
    part_of = np.zeros(len(unique), np.int64)
    for group in order:
        part_of[group] = int(np.argmin(load))
        load[part_of[group]] += sizes[group]
    return part_of[member].astype(np.int64)


def paired_error(
    metric: str, a: np.ndarray, b: np.ndarray, groups: Sequence[str] | None = None
) -> float:
    """Standard error of ``score(a) - score(b)`` by the delete-one jackknife over images or groups.

    For a mean over images without groups this is exactly the standard error of the mean difference.
    More than `UNITS` images or groups are first put together, by a seeded order, into that many.

    Args:
        a, b: (N, K, 4) counts on the same images.
        groups: (N,) images of one group are left out together.

    Returns:
        infinity with fewer than two units, or where a score is undefined.
    """
    names = [str(i) for i in range(len(a))] if groups is None else list(groups)
    unique, unit = np.unique(np.asarray(names), return_inverse=True)
    n_units = min(len(unique), UNITS)
    if n_units < 2:
        return float("inf")
    shuffled = np.random.default_rng(0).permutation(len(unique)) % n_units
    unit = shuffled[unit]
    without = np.empty(n_units)
    for left_out in range(n_units):
        rows = unit != left_out
        without[left_out] = signed_score(metric, a[rows]) - signed_score(metric, b[rows])
    if not np.isfinite(without).all():
        return float("inf")
    return float(np.sqrt((n_units - 1) * np.mean((without - without.mean()) ** 2)))
