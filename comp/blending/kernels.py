"""Compiled loops over disputed pixels. Imported when first used, since numba takes a quarter of a second.

Everything is integer arithmetic, so results do not depend on order or threads. Pixels of one image lie
between ``starts[i]`` and ``ends[i]``, its false before its true ones. The plain numpy twin of each loop is in
the tests.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def add_four(
    total: np.ndarray,
    planes: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    weights: np.ndarray,
    fresh: bool,
) -> None:
    """Add four weighted planes to a sum: one round of reading and writing it instead of four.

    Args:
        total: (D,) uint16, int32 or int64, changed in place; uint16 wraps.
        planes: each (D,) uint8 or uint16.
        weights: (4,) of the dtype of `total`.
        fresh: what `total` holds before is not looked at.
    """
    a, b, c, d = planes
    wa, wb, wc, wd = weights[0], weights[1], weights[2], weights[3]
    if fresh:
        for j in range(total.shape[0]):
            total[j] = a[j] * wa + b[j] * wb + c[j] * wc + d[j] * wd
    else:
        for j in range(total.shape[0]):
            total[j] += a[j] * wa + b[j] * wb + c[j] * wc + d[j] * wd


@njit(cache=True, nogil=True, error_model="numpy")
def line_planes(
    sums: np.ndarray,
    slopes: np.ndarray,
    deltas: np.ndarray,
    cut: int,
    bounds: np.ndarray,
    room: np.ndarray,
) -> np.ndarray:
    """Count foreground decisions ``sums + delta * slopes >= cut`` for every delta, a block of pixels at a time.

    Args:
        sums: (D,) uint16 or int32, the blend at delta 0.
        slopes: (D,) of the same dtype, what one unit of delta adds; uint16 wraps, and the blends
            themselves must not.
        deltas: (V,) of the same dtype.
        cut: smallest sum that is foreground.
        bounds: (S + 1,) int64: segment s owns the pixels [bounds[s], bounds[s + 1]).
        room: (B,) of the same dtype, to work in; B is the block.

    Returns:
        (V, S) int64.
    """
    table = np.zeros((deltas.shape[0], bounds.shape[0] - 1), np.int64)
    for s in range(bounds.shape[0] - 1):
        for start in range(bounds[s], bounds[s + 1], room.shape[0]):
            end = min(bounds[s + 1], start + room.shape[0])
            here, slope, blend = sums[start:end], slopes[start:end], room[: end - start]
            for v in range(deltas.shape[0]):
                delta, on = deltas[v], np.int32(0)
                for j in range(end - start):
                    blend[j] = here[j] + delta * slope[j]
                for j in range(end - start):
                    on = np.int32(on + (blend[j] >= cut))
                table[v, s] += on
    return table


@njit(cache=True, nogil=True, error_model="numpy")
def many_planes(
    q: np.ndarray, weights: np.ndarray, cuts: np.ndarray, bounds: np.ndarray, room: np.ndarray
) -> np.ndarray:
    """Count foreground decisions ``sum_c weights[v, c] * q[c] >= cuts[v]`` of many blends, block by block.

    Args:
        q: (C, D) uint8 or uint16; C a multiple of 4.
        weights: (V, C) uint16 or int32, in which no blend wraps.
        cuts: (V,) of the same dtype.
        bounds, room: as in `line_planes`.

    Returns:
        (V, S) int64.
    """
    n_columns = weights.shape[1]
    table = np.zeros((weights.shape[0], bounds.shape[0] - 1), np.int64)
    for s in range(bounds.shape[0] - 1):
        for start in range(bounds[s], bounds[s + 1], room.shape[0]):
            end = min(bounds[s + 1], start + room.shape[0])
            blend = room[: end - start]
            for v in range(weights.shape[0]):
                for c in range(0, n_columns, 4):  # slices, so that the loops below are vectors
                    q0, q1, q2, q3 = (
                        q[c, start:end],
                        q[c + 1, start:end],
                        q[c + 2, start:end],
                        q[c + 3, start:end],
                    )
                    w0, w1 = weights[v, c], weights[v, c + 1]
                    w2, w3 = weights[v, c + 2], weights[v, c + 3]
                    if c == 0:
                        for j in range(end - start):
                            blend[j] = q0[j] * w0 + q1[j] * w1 + q2[j] * w2 + q3[j] * w3
                    else:
                        for j in range(end - start):
                            blend[j] += q0[j] * w0 + q1[j] * w1 + q2[j] * w2 + q3[j] * w3
                cut, on = cuts[v], np.int32(0)
                for j in range(end - start):
                    on = np.int32(on + (blend[j] >= cut))
                table[v, s] += on
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
    deltas: np.ndarray,
) -> np.ndarray:
    """Count true and false positives of ``argmax_k(sums + delta * slopes)`` for every delta.

    Args:
        sums, slopes: (D, K) int32.
        truth: (D,) uint8 class index.
        starts, ends: (n,) int64.
        deltas: (V,) int32.

    Returns:
        (V, n, K, 2) int64: tp, fp. The first class wins a tie.
    """
    n, n_classes = starts.shape[0], sums.shape[1]
    table = np.zeros((deltas.shape[0], n, n_classes, 2), np.int64)
    for i in range(n):
        for d in range(starts[i], ends[i]):
            label = truth[d]
            for v in range(deltas.shape[0]):
                delta = np.int64(deltas[v])
                best = 0
                most = np.int64(sums[d, 0]) + delta * np.int64(slopes[d, 0])
                for k in range(1, n_classes):
                    value = np.int64(sums[d, k]) + delta * np.int64(slopes[d, k])
                    if value > most:
                        most = value
                        best = k
                table[v, i, best, 0 if best == label else 1] += 1
    return table
