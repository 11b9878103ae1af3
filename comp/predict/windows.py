"""Overlapping windows over a picture, and the weights with which their probabilities fade into each other.

Numpy only. On a grid the sum of all windows' weights is a product of one sum an axis, so the weights are
normalised before anything is predicted: no second plane is summed, and none is divided by.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from comp.config import Predict

WHOLE_PIXELS = 4096 * 4096  # a larger picture goes through windows, whatever the config says
LARGE_WINDOW = (1024, 1024)  # its windows where the config names none
SIGMA = 1 / 8  # of the window's length: the Gaussian's width


@dataclass(frozen=True)
class Axis:
    """Windows along one axis.

    Args:
        starts: first pixel of each window, ascending; the first is 0, the last ends with the axis.
        length: of every window.
        weights: (n, length) float32, > 0; over each pixel of the axis they sum to 1.
    """

    starts: tuple[int, ...]
    length: int
    weights: np.ndarray


@dataclass(frozen=True)
class Grid:
    """All windows of a picture: every row window with every column window."""

    rows: Axis
    columns: Axis

    def __len__(self) -> int:
        return len(self.rows.starts) * len(self.columns.starts)


def window_of(size: tuple[int, int], predict: Predict) -> tuple[int, int] | None:
    """The window that a picture of (H, W) is predicted by; None: it is seen whole."""
    window = predict.window
    if window is None:
        return LARGE_WINDOW if size[0] * size[1] > WHOLE_PIXELS else None
    return window if size[0] > window[0] or size[1] > window[1] else None


def make_grid(size: tuple[int, int], window: tuple[int, int], overlap: float, blend: str) -> Grid:
    """Lay windows over a picture.

    Args:
        size: (H, W); window: (h, w), cut down to the picture where that is smaller.
        overlap: the least share of a window that the next one covers again, 0 to 0.9.
        blend: a name of `BLENDS`.
    """
    rows, columns = (
        _axis(n, min(w, n), overlap, BLENDS[blend]) for n, w in zip(size, window, strict=True)
    )
    return Grid(rows, columns)


def _axis(size: int, length: int, overlap: float, profile: Callable[[int], np.ndarray]) -> Axis:
    """Windows at even distances, so that no pair overlaps much more than the others."""
    stride = max(1, math.floor(length * (1 - overlap)))
    n = 1 + math.ceil((size - length) / stride)
    starts = tuple(i * (size - length) // max(1, n - 1) for i in range(n))
    shape = profile(length)
    total = np.zeros(size)
    for start in starts:
        total[start : start + length] += shape
    weights = np.stack([shape / total[start : start + length] for start in starts])
    return Axis(starts, length, weights.astype(np.float32))


def _gaussian(length: int) -> np.ndarray:
    """exp(-x^2 / 2) to four sigmas on either side: 3e-4 of the middle at the edge."""
    x = (np.arange(length) + 0.5) / length - 0.5
    return np.asarray(np.exp(-0.5 * (x / SIGMA) ** 2))


def _spline(length: int) -> np.ndarray:
    """The cubic 3 t^2 - 2 t^3, flat in the middle and at the edge; t is 0 at the edge, 1 in the middle."""
    t = 1 - np.abs(2 * (np.arange(length) + 0.5) / length - 1)
    return np.asarray(t * t * (3 - 2 * t))


def _flat(length: int) -> np.ndarray:
    """The plain mean of the windows that see a pixel."""
    return np.ones(length)


BLENDS: dict[str, Callable[[int], np.ndarray]] = {
    "gaussian": _gaussian,
    "spline": _spline,
    "flat": _flat,
}
