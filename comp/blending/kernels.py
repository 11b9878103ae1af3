"""Compiled loops over disputed pixels. Imported when first used, since numba takes a quarter of a second.

Everything is integer arithmetic, so results do not depend on order or threads. Pixels of one image lie
between ``starts[i]`` and ``ends[i]``. The plain numpy twin of each loop is in the tests.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def line_planes(
    sums: np.ndarray,
    slopes: np.ndarray,
    truth: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    cut: int,
    low: int,
    step: int,
    n_values: int,
) -> np.ndarray:
    """Count foreground decisions ``sums + delta * slopes >= cut`` for every delta of a grid in one pass.

    Each pixel flips at one known delta, so one histogram entry a pixel gives all values exactly.

    Args:
        sums: (D,) int32, the blend at delta 0.
        slopes: (D,) int32, what one unit of delta adds.
        truth: (D,) uint8 0/1.
        starts, ends: (n,) int64, the pixels of each image.
        cut: smallest sum that is foreground.
        low, step, n_values: the grid ``low, low + step, ...``.

    Returns:
        (n_values, n, 2) int64: foreground decisions on true background, on true foreground.
    """
    n = starts.shape[0]
    table = np.zeros((n_values, n, 2), np.int64)
    if n_values == 1:  # one blend: no histogram, no branches
        for i in range(n):
            on = np.int64(0)
            hit = np.int64(0)
            for d in range(starts[i], ends[i]):
                decided = np.int64(np.int64(sums[d]) + low * np.int64(slopes[d]) >= cut)
                on += decided
                hit += decided & truth[d]
            table[0, i, 0] = on - hit
            table[0, i, 1] = hit
        return table
    for i in range(n):
        for d in range(starts[i], ends[i]):
            slope = np.int64(slopes[d])
            value = np.int64(sums[d]) - cut + low * slope
            slope *= step
            label = truth[d]
            if value >= 0:
                table[0, i, label] += 1
                if slope < 0:
                    off = value // -slope + 1
                    if off < n_values:
                        table[off, i, label] -= 1
            elif slope > 0:
                on = (slope - 1 - value) // slope
                if on < n_values:
                    table[on, i, label] += 1
    for v in range(1, n_values):
        for i in range(n):
            table[v, i, 0] += table[v - 1, i, 0]
            table[v, i, 1] += table[v - 1, i, 1]
    return table


@njit(cache=True, nogil=True, error_model="numpy")
def level_planes(
    sums: np.ndarray,
    truth: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    cuts: np.ndarray,
) -> np.ndarray:
    """Count foreground decisions ``sums >= cut`` for every cut in one pass over the pixels.

    Args:
        sums: (D,) int32.
        truth: (D,) uint8 0/1.
        starts, ends: (n,) int64.
        cuts: (L,) int64, strictly ascending and nearly evenly spaced (which only makes it fast).

    Returns:
        (L, n, 2) int64: foreground decisions on true background, on true foreground.
    """
    n, n_levels = starts.shape[0], cuts.shape[0]
    table = np.zeros((n_levels + 1, n, 2), np.int64)
    scale = 0.0
    if n_levels > 1:
        scale = (n_levels - 1) / (cuts[n_levels - 1] - cuts[0])
    for i in range(n):
        for d in range(starts[i], ends[i]):
            value = np.int64(sums[d])
            passed = np.int64((value - cuts[0]) * scale)
            if passed < 0:
                passed = np.int64(0)
            if passed > n_levels:
                passed = np.int64(n_levels)
            while passed < n_levels and value >= cuts[passed]:
                passed += 1
            while passed > 0 and value < cuts[passed - 1]:
                passed -= 1
            table[passed, i, truth[d]] += 1
    for v in range(n_levels - 1, 0, -1):
        for i in range(n):
            table[v, i, 0] += table[v + 1, i, 0]
            table[v, i, 1] += table[v + 1, i, 1]
    return table[1:]


@njit(cache=True, nogil=True, error_model="numpy")
def line_argmax(
    sums: np.ndarray,
    slopes: np.ndarray,
    truth: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    low: int,
    step: int,
    n_values: int,
) -> np.ndarray:
    """Count true and false positives of ``argmax_k(sums + delta * slopes)`` for every delta of a grid.

    Args:
        sums, slopes: (D, K) int32.
        truth: (D,) uint8 class index.
        starts, ends: (n,) int64.
        low, step, n_values: the grid ``low, low + step, ...``.

    Returns:
        (n_values, n, K, 2) int64: tp, fp. The first class wins a tie.
    """
    n, n_classes = starts.shape[0], sums.shape[1]
    table = np.zeros((n_values, n, n_classes, 2), np.int64)
    for i in range(n):
        for d in range(starts[i], ends[i]):
            label = truth[d]
            for v in range(n_values):
                delta = low + v * step
                best = 0
                most = np.int64(sums[d, 0]) + delta * np.int64(slopes[d, 0])
                for k in range(1, n_classes):
                    value = np.int64(sums[d, k]) + delta * np.int64(slopes[d, k])
                    if value > most:
                        most = value
                        best = k
                table[v, i, best, 0 if best == label else 1] += 1
    return table
