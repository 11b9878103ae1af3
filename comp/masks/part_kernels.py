"""Compiled loops over the runs of a mask: which of them touch, what they hold, what lies around
them.

A run is a zero-based start and a length in the flattened mask; none passes the end of its line. A
line is a row of pixels, or a column where the mask was flattened down its columns. Memory goes with
the runs, never with the pixels. Each loop has its plain numpy twin in the tests.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def split_runs(runs: np.ndarray, width: int) -> np.ndarray:
    """Cut runs (R, 2) int64 at the ends of lines of `width` pixels."""
    count = 0
    for r in range(runs.shape[0]):
        start = runs[r, 0]
        count += (start + runs[r, 1] - 1) // width - start // width + 1
    if count == runs.shape[0]:
        return runs
    out = np.empty((count, 2), np.int64)
    at = 0
    for r in range(runs.shape[0]):
        start, end = runs[r, 0], runs[r, 0] + runs[r, 1]
        while start < end:
            stop = min(end, (start // width + 1) * width)
            out[at, 0], out[at, 1] = start, stop - start
            at += 1
            start = stop
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def find_value_runs(
    flat: np.ndarray, words: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the runs of equal values, which together are all pixels.

    Args:
        flat: (n,) uint8, n > 0.
        words: the first ``n // 8 * 8`` bytes of `flat` as uint64: eight equal pixels are passed at
            once.
        width: pixels of a line.

    Returns:
        runs (R, 2) int64 and the value of each, (R,) uint8.
    """
    ones = np.uint64(0x0101010101010101)
    n, n_words = flat.shape[0], words.shape[0]
    runs = np.empty((0, 2), np.int64)
    values = np.empty(0, np.uint8)
    for fills in range(2):  # counted, then written
        found, i, line_end = 0, 0, 0
        while i < n:
            if i == line_end:
                line_end += width
            value = flat[i]
            eight = np.uint64(value) * ones
            start = i
            i += 1
            while i < line_end:
                if i % 8 == 0 and i + 8 <= line_end and i // 8 < n_words and words[i // 8] == eight:
                    i += 8
                elif flat[i] == value:
                    i += 1
                else:
                    break
            if fills:
                runs[found, 0], runs[found, 1], values[found] = start, i - start, value
            found += 1
        if not fills:
            runs = np.empty((found, 2), np.int64)
            values = np.empty(found, np.uint8)
    return runs, values


@njit(cache=True, nogil=True, error_model="numpy")
def number_runs(
    runs: np.ndarray, values: np.ndarray, width: int, corners: bool
) -> tuple[np.ndarray, int]:
    """Number the connected parts that runs make, by their first pixel.

    Args:
        runs: (R, 2) int64, in order, within their lines; two of one line do not touch, or differ in
            value.
        values: (R,) uint8, runs of different values never join; empty: all have one value.
        corners: runs that meet at a corner touch too.

    Returns:
        the part of each run, (R,) int32 from 0, and the number of parts.
    """
    n = runs.shape[0]
    several = values.shape[0] > 0
    parent = np.arange(n).astype(np.int32)
    above = 0  # the first run that ends where run r, one line up, begins or later
    for r in range(n):
        start = runs[r, 0]
        line = start // width * width
        low, high = start - width, start + runs[r, 1] - width
        if corners:
            low, high = max(low - 1, line - width), min(high + 1, line)
        while runs[above, 0] + runs[above, 1] <= low:
            above += 1
        root = r
        k = above
        while runs[k, 0] < high:  # which is never beyond the line above, so k stays below r
            if not several or values[k] == values[r]:
                other = k
                while parent[other] != other:
                    parent[other] = parent[parent[other]]
                    other = parent[other]
                if other < root:
                    parent[root] = other
                    root = other
                elif root < other:
                    parent[other] = root
            k += 1
    found = 0
    for r in range(n):  # a parent stands before its children, so it has its number already
        if parent[r] == r:
            parent[r] = found
            found += 1
        else:
            parent[r] = parent[parent[r]]
    return parent, found


@njit(cache=True, nogil=True, error_model="numpy")
def part_areas(runs: np.ndarray, numbers: np.ndarray, n: int) -> np.ndarray:
    """Pixels of each part: (n,) int64."""
    areas = np.zeros(n, np.int64)
    for r in range(runs.shape[0]):
        areas[numbers[r]] += runs[r, 1]
    return areas


@njit(cache=True, nogil=True, error_model="numpy")
def count_below(runs: np.ndarray, numbers: np.ndarray, n: int, truth: np.ndarray) -> np.ndarray:
    """Count the labels 0 and 1 under each part.

    Args:
        truth: (P,) uint8 labels of the flattened picture; others than 0 and 1 are not counted.

    Returns:
        (n, 2) int64: pixels of label 0, of label 1.
    """
    counts = np.zeros((n, 2), np.int64)
    for r in range(runs.shape[0]):
        zeros, ones = 0, 0
        for i in range(runs[r, 0], runs[r, 0] + runs[r, 1]):
            zeros += truth[i] == 0
            ones += truth[i] == 1
        counts[numbers[r], 0] += zeros
        counts[numbers[r], 1] += ones
    return counts


@njit(cache=True, nogil=True, error_model="numpy")
def count_shared(runs: np.ndarray, numbers: np.ndarray, n: int, other: np.ndarray) -> np.ndarray:
    """Count the pixels that each part shares with other runs, (R, 2) int64 in order and apart.

    Returns:
        (n,) int64.
    """
    counts = np.zeros(n, np.int64)
    first = 0  # the first other run that ends behind the start of run r
    for r in range(runs.shape[0]):
        start, end = runs[r, 0], runs[r, 0] + runs[r, 1]
        while first < other.shape[0] and other[first, 0] + other[first, 1] <= start:
            first += 1
        k, shared = first, 0
        while k < other.shape[0] and other[k, 0] < end:
            shared += min(end, other[k, 0] + other[k, 1]) - max(start, other[k, 0])
            k += 1
        counts[numbers[r]] += shared
    return counts


@njit(cache=True, nogil=True, error_model="numpy")
def group_runs(runs: np.ndarray, numbers: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Sort runs by part, joining those that go on over the end of a line.

    Returns:
        (R, 2) int64, and where each part begins in it: (n + 1,) int64.
    """
    size = np.zeros(n, np.int64)
    end = np.full(n, -1, np.int64)  # of the part's last run
    for r in range(runs.shape[0]):
        size[numbers[r]] += runs[r, 0] != end[numbers[r]]
        end[numbers[r]] = runs[r, 0] + runs[r, 1]
    first = np.zeros(n + 1, np.int64)
    for k in range(n):
        first[k + 1] = first[k] + size[k]
        size[k], end[k] = first[k], -1  # from here on: where the part's next run goes
    out = np.empty((first[n], 2), np.int64)
    for r in range(runs.shape[0]):
        k = numbers[r]
        if runs[r, 0] == end[k]:
            out[size[k] - 1, 1] += runs[r, 1]
        else:
            out[size[k], 0], out[size[k], 1] = runs[r, 0], runs[r, 1]
            size[k] += 1
        end[k] = runs[r, 0] + runs[r, 1]
    return out, first


@njit(cache=True, nogil=True, error_model="numpy")
def paint_runs(flat: np.ndarray, runs: np.ndarray, values: np.ndarray) -> None:
    """Set the pixels of each run (R, 2) in `flat` (n,) uint8 to its value, (R,) int16; below 0: left."""
    for r in range(runs.shape[0]):
        if values[r] >= 0:
            for i in range(runs[r, 0], runs[r, 0] + runs[r, 1]):
                flat[i] = values[r]


@njit(cache=True, nogil=True, error_model="numpy")
def classes_around(
    runs: np.ndarray,
    values: np.ndarray,
    numbers: np.ndarray,
    small: np.ndarray,
    width: int,
    corners: bool,
) -> np.ndarray:
    """Find the value of most of the pixels around each small part that are in no small part.

    Args:
        runs, values, numbers: of all pixels, as `find_value_runs` and `number_runs` return them.
        small: (n,) bool, the parts that are asked about.
        corners: pixels that meet a part at a corner are around it too.

    Returns:
        (n,) int16: the value, the lowest on a tie; -1 where there is no such pixel, and for the
        parts that are not small.
    """
    answer = np.full(small.shape[0], -1, np.int16)
    of_small = np.zeros(small.shape[0] + 1, np.int64)
    for r in range(runs.shape[0]):
        if small[numbers[r]]:
            of_small[numbers[r] + 1] += 1
    largest = of_small.max()
    for k in range(small.shape[0]):
        of_small[k + 1] += of_small[k]
    members = np.empty(
        of_small[-1], np.int64
    )  # the runs of each small part, one part after another
    to = of_small[:-1].copy()
    for r in range(runs.shape[0]):
        if small[numbers[r]]:
            members[to[numbers[r]]] = r
            to[numbers[r]] += 1
    total, wider = runs[-1, 0] + runs[-1, 1], np.int64(corners)
    lows, highs = np.empty(3 * largest, np.int64), np.empty(3 * largest, np.int64)
    counts = np.zeros(256, np.int64)
    for part in range(small.shape[0]):
        if not small[part]:
            continue
        m = 0
        for at in range(of_small[part], of_small[part + 1]):
            start = runs[members[at], 0]
            end, line = start + runs[members[at], 1], start // width * width
            for lines in range(-1, 2):  # the line above, its own, the line below
                more = wider if lines else 1
                low = max(start - more, line) + lines * width
                high = min(end + more, line + width) + lines * width
                if low >= 0 and high <= total:
                    lows[m], highs[m] = low, high
                    m += 1
        order = np.argsort(
            lows[:m], kind="mergesort"
        )  # a ring pixel counts once, however many runs touch it
        counts[:] = 0
        seen, r = 0, 0
        for at in order:
            low, high = max(lows[at], seen), highs[at]
            if low >= high:
                continue
            seen = high
            if runs[r, 0] + runs[r, 1] <= low:  # the run that holds `low`: near, or far below
                r = int(np.searchsorted(runs[:, 0], low, side="right")) - 1
            while r < runs.shape[0] and runs[r, 0] < high:
                if not small[numbers[r]]:
                    counts[values[r]] += min(high, runs[r, 0] + runs[r, 1]) - max(low, runs[r, 0])
                r += 1
            r -= 1
        best = np.argmax(counts)
        if counts[best]:
            answer[part] = best
    return answer
