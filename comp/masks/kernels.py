"""Compiled loops over pixels, runs and text. Imported when first used, since numba takes a quarter
of a second.

Each has its plain numpy twin in the tests. Nothing here raises: what is wrong comes back as a
number.
"""

from __future__ import annotations

import numpy as np
from numba import njit

NOT_A_NUMBER, ODD_COUNT, BEFORE_FIRST, NO_LENGTH, PAST_END, TOO_MANY = 1, 2, 3, 4, 5, 6
LARGE = 1 << 60  # past the end of any image: a number that would grow beyond it stays there


@njit(cache=True, nogil=True, error_model="numpy")
def find_runs(flat: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, int]:
    """Find the maximal runs of 1, eight pixels at a time.

    Args:
        flat: (n,) uint8 0/1, pixels in the order of the code.
        words: the first ``n // 8 * 8`` bytes of `flat` as little-endian uint64.

    Returns:
        runs (R, 2) int64 zero-based start and length, and the position of the first value above 1
        or -1.
    """
    not_01 = np.uint64(0xFEFEFEFEFEFEFEFE)
    ones = np.uint64(0x0101010101010101)  # times a word, its top byte is the sum of its bytes
    places = np.uint64(0x0001020304050607)  # times 2 ** (8 k), its top byte is k
    eight, top, zero = np.uint64(8), np.uint64(56), np.uint64(0)
    n, n_words = flat.shape[0], words.shape[0]
    # Counted first: an array that grew in the loop would cost an atomic add for every word.
    n_changes, seen, before = zero, zero, zero
    for w in range(n_words):
        word = words[w]
        n_changes += ((word ^ ((word << eight) | before)) * ones) >> top
        before = word >> top
        seen |= word
    if seen & not_01:
        for i in range(n_words * 8):
            if flat[i] > 1:
                return np.empty((0, 2), np.int64), i
    changes = np.empty(np.int64(n_changes), np.int64)  # where a pixel differs from the one before
    found = 0
    before = zero
    for w in range(n_words):
        word = words[w]
        differs = word ^ ((word << eight) | before)
        before = word >> top
        while differs != zero:
            lowest = differs & (~differs + np.uint64(1))
            changes[found] = w * 8 + np.int64((places * lowest) >> top)
            found += 1
            differs ^= lowest
    runs = np.empty(((found + 17) // 2, 2), np.int64)  # room for the last pixels, below
    for c in range(found):
        if c % 2 == 0:
            runs[c // 2, 0] = changes[c]
        else:
            runs[c // 2, 1] = changes[c] - runs[c // 2, 0]
    last = np.int64(before)
    for i in range(n_words * 8, n):
        if flat[i] > 1:
            return np.empty((0, 2), np.int64), i
        if flat[i] != last:
            last = np.int64(flat[i])
            if found % 2 == 0:
                runs[found // 2, 0] = i
            else:
                runs[found // 2, 1] = i - runs[found // 2, 0]
            found += 1
    if found % 2:
        runs[found // 2, 1] = n - runs[found // 2, 0]
        found += 1
    return runs[: found // 2].copy(), -1


@njit(cache=True, nogil=True, error_model="numpy")
def write_runs(runs: np.ndarray, base: int, out: np.ndarray, relative: bool = False) -> int:
    """Write ``start length start length`` as ASCII into `out` and return the number of bytes.

    Args:
        runs: (R, 2) int64 zero-based.
        out: uint8, long enough for every number and a space after each.
        relative: starts are counted from the end of the run before.
    """
    at, last_end = 0, 0
    digits = np.empty(20, np.uint8)
    for r in range(runs.shape[0]):
        for c in range(2):
            value = runs[r, c]
            if c == 0:
                value += base - last_end
            k = 0
            while True:
                digits[k] = 48 + value % 10
                k += 1
                value //= 10
                if value == 0:
                    break
            while k:
                k -= 1
                out[at] = digits[k]
                at += 1
            out[at] = 32
            at += 1
        if relative:
            last_end = runs[r, 0] + runs[r, 1]
    return max(at - 1, 0)


@njit(cache=True, nogil=True, error_model="numpy")
def read_runs(
    text: np.ndarray, base: int, n_pixels: int, runs: np.ndarray, relative: bool = False
) -> tuple[int, int, int, bool]:
    """Read ``start length`` pairs from ASCII, stopping at the first fault.

    Args:
        text: (n,) uint8; numbers are set apart by spaces or tabs.
        runs: (capacity, 2) int64, filled with zero-based runs.
        relative: starts are counted from the end of the run before.

    Returns:
        fault (0: none, else a constant of this module), number of runs read, byte where the faulty
        number begins, and whether the runs are in order and apart.
    """
    n, i, found, numbers, last_end = text.shape[0], 0, 0, 0, 0
    start, begin, tidy = 0, 0, True
    while True:
        while i < n and (text[i] == 32 or text[i] == 9):
            i += 1
        if i == n:
            break
        token, value = i, 0
        while i < n and text[i] != 32 and text[i] != 9:
            digit = int(text[i]) - 48
            if digit < 0 or digit > 9:
                return NOT_A_NUMBER, found, token, tidy
            value = value * 10 + digit if value < LARGE // 10 else LARGE
            i += 1
        numbers += 1
        if numbers % 2:
            if value < base:
                return BEFORE_FIRST, found, token, tidy
            start, begin = value - base + (last_end if relative else 0), token
            continue
        if value == 0:
            return NO_LENGTH, found, begin, tidy
        if start >= n_pixels or value > n_pixels - start:
            return PAST_END, found, begin, tidy
        if found == runs.shape[0]:
            return TOO_MANY, found, begin, tidy
        tidy = tidy and start >= last_end
        last_end = start + value
        runs[found, 0] = start
        runs[found, 1] = value
        found += 1
    return (ODD_COUNT if numbers % 2 else 0), found, begin, tidy


@njit(cache=True, nogil=True, error_model="numpy")
def fill_runs(runs: np.ndarray, flat: np.ndarray) -> None:
    """Set the pixels of `runs` (R, 2) in `flat` (n,) uint8 to 1."""
    for r in range(runs.shape[0]):
        start = runs[r, 0]
        for i in range(start, start + runs[r, 1]):
            flat[i] = 1


@njit(cache=True, nogil=True, error_model="numpy")
def shared_pixels(a: np.ndarray, b: np.ndarray) -> int:
    """Count the pixels that two tables of runs share; each (R, 2) int64, in order and apart."""
    i, j, shared = 0, 0, 0
    while i < a.shape[0] and j < b.shape[0]:
        end_a, end_b = a[i, 0] + a[i, 1], b[j, 0] + b[j, 1]
        low, high = max(a[i, 0], b[j, 0]), min(end_a, end_b)
        if high > low:
            shared += high - low
        if end_a <= end_b:
            i += 1
        else:
            j += 1
    return shared
