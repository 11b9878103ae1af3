"""Compiled loop for the counts at every threshold. Imported when first used.

Its plain numpy twin is in the tests.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def joint_histogram(
    q: np.ndarray, labels: np.ndarray, positive: int, ignore: int, n_levels: int
) -> np.ndarray:
    """Count the pixels of each stored value, apart for background and foreground.

    Args:
        q: (n,) unsigned integers below `n_levels`.
        labels: (n,) uint8; `positive` is foreground, `ignore` is not counted.

    Returns:
        (2, n_levels) int64: background, foreground.
    """
    # Two tables in turn: neighbours often hold one value, and an add would wait for the one before.
    counts = np.zeros((2, 3, n_levels), np.int64)
    n = q.shape[0]
    for i in range(n):
        label = labels[i]
        row = 2 if label == ignore else (1 if label == positive else 0)
        counts[i & 1, row, q[i]] += 1
    return counts[0, :2] + counts[1, :2]
