"""What clean-up does to one plane, in place: parts dropped, holes filled, edges opened and closed.

Memory beyond the plane goes with its runs, or with one band of rows.
"""

from __future__ import annotations

import numpy as np

from comp.masks.components import Parts, find_parts, kernels, parts_of_runs
from comp.masks.rle import BAND_PIXELS, runs_of


def drop_parts(plane: np.ndarray, parts: Parts, keep: np.ndarray) -> None:
    """Make the parts that `keep` (n,) bool does not mark background."""
    painted = np.where(keep, np.int16(-1), np.int16(0))
    kernels().paint_runs(plane.reshape(-1), parts.runs, painted[parts.numbers])


def pixels_under(parts: Parts, runs: np.ndarray) -> np.ndarray:
    """Count the pixels that each part shares with other runs.

    Args:
        parts: of a mask, in row order.
        runs: (R, 2) int64 in row order, in order and apart.

    Returns:
        (n,) int64.
    """
    counts: np.ndarray = kernels().count_shared(parts.runs, parts.numbers, parts.n, runs)
    return counts


def largest(areas: np.ndarray, keep: int) -> np.ndarray:
    """Mark the `keep` largest parts, the first of equals: (n,) bool; 0 marks all."""
    marked = np.ones(len(areas), bool)
    if 0 < keep < len(areas):
        marked[np.argsort(-areas, kind="stable")[keep:]] = False
    return marked


def fill_holes(plane: np.ndarray, fill_px: int) -> None:
    """Fill holes of at most `fill_px` pixels of a plane (H, W) uint8 0/1, in C order.

    Foreground is connected by corners, so a hole is by sides; what reaches the border is none.
    """
    if fill_px < 1 or plane.size == 0:
        return
    height, width = plane.shape
    runs = runs_of(plane, "row")
    starts = np.concatenate([[0], runs.sum(axis=1)])
    ends = np.concatenate([runs[:, 0], [plane.size]])
    gaps = np.stack([starts, ends - starts], axis=1)[ends > starts]
    parts = parts_of_runs(gaps, width, 4)
    lines, columns = np.divmod(parts.runs[:, 0], width)
    edge = (lines == 0) | (lines == height - 1) | (columns == 0)
    edge |= columns + parts.runs[:, 1] == width
    fill = parts.areas <= fill_px
    fill[parts.numbers[edge]] = False
    painted = np.where(fill, np.int16(1), np.int16(-1))
    kernels().paint_runs(plane.reshape(-1), parts.runs, painted[parts.numbers])


def open_close(plane: np.ndarray, open_px: int, close_px: int) -> None:
    """Open, then close a plane (H, W) uint8 0/1 with squares of odd side; 0: not."""
    import cv2

    for side, operation in ((open_px, cv2.MORPH_OPEN), (close_px, cv2.MORPH_CLOSE)):
        if side > 1 and plane.size:
            _by_bands(plane, side, operation)


def _by_bands(plane: np.ndarray, side: int, operation: int) -> None:
    """A band needs `side - 1` more rows at each end: half for the erosion, half for the dilation."""
    import cv2

    square, reach = np.ones((side, side), np.uint8), side - 1
    height, width = plane.shape
    step = max(1, BAND_PIXELS // width)
    above = plane[:0]
    for top in range(0, height, step):
        n_rows = min(step, height - top)
        piece = np.concatenate([above, plane[top : top + n_rows + reach]])
        first = len(above)
        above = piece[max(0, first + n_rows - reach) : first + n_rows].copy()  # before they change
        changed = cv2.morphologyEx(piece, operation, square)
        plane[top : top + n_rows] = changed[first : first + n_rows]


def keep_parts(plane: np.ndarray, min_area_px: int, keep: int, connectivity: int = 8) -> None:
    """Remove parts of fewer than `min_area_px` pixels and all but the `keep` largest (0: all stay)."""
    if plane.size == 0 or (min_area_px <= 1 and keep == 0):
        return
    parts = find_parts(plane, connectivity)
    drop_parts(plane, parts, (parts.areas >= min_area_px) & largest(parts.areas, keep))
