"""COCO segmentations -> pixels: polygons by pixel centres, plain and packed run-length counts.

Counts that do not add up to the image are refused, never decoded into what memory happens to hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from comp.masks.code_cells import coco_counts

MOST_CROSSINGS = 50_000_000  # rows times edges of one polygon; more is a trap


def polygon_mask(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Draw one polygon: the pixels whose centre lies inside, by the even-odd rule.

    Args:
        points: (N, 2) float64, x and y of the corners; pixel (row r, column c) is centred on
            (c + .5, r + .5). Parts outside the image are cut off.

    Returns:
        (H, W) uint8 0/1.

    Raises:
        ValueError: fewer than 3 corners, numbers that are not finite, or far too many edges.
    """
    if len(points) < 3:
        raise ValueError(f"a polygon of {len(points)} corners; expected at least 3")
    if not np.isfinite(points).all():
        raise ValueError("a polygon with corners that are not finite")
    far = 4.0 * max(height, width) + 4.0
    points = points.clip(-far * 1e6, far * 1e6)
    x0, y0 = points[:, 0], points[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    first = np.ceil(np.minimum(y0, y1) - 0.5).clip(0, height).astype(np.int64)
    after = np.ceil(np.maximum(y0, y1) - 0.5).clip(0, height).astype(np.int64)
    n_rows = after - first
    total = int(n_rows.sum())
    mask = np.zeros((height, width), np.uint8)
    if total == 0:
        return mask
    if total > MOST_CROSSINGS:
        raise ValueError(f"a polygon with {total} crossings of rows; simplify it")
    edge = np.repeat(np.arange(len(points)), n_rows)
    row = np.arange(total) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows) + first[edge]
    slope = (x1 - x0)[edge] / (y1 - y0)[edge]
    x = x0[edge] + (row + 0.5 - y0[edge]) * slope
    column = np.ceil(x - 0.5).clip(0, width).astype(np.int64)
    top, left = int(row.min()), int(column.min())
    high, wide = int(row.max()) - top + 1, int(column.max()) - left + 1
    place = (row - top) * wide + (column - left)
    flips = np.bincount(place, minlength=high * wide).reshape(high, wide)
    inside = (flips.cumsum(axis=1) & 1).astype(np.uint8)
    part = mask[top : top + high, left : left + wide]
    part[:] = inside[:, : part.shape[1]]
    return mask


def counts_mask(counts: Sequence[int] | str, height: int, width: int) -> np.ndarray:
    """Draw COCO run-length counts: runs of 0, 1, 0, ... down the columns first (Fortran order).

    Args:
        counts: numbers, or the packed text that pycocotools writes.

    Returns:
        (H, W) uint8 0/1.

    Raises:
        ValueError: no counts, negative ones, or another sum than height times width.
    """
    if isinstance(counts, str):
        runs = coco_counts(counts.encode("utf-8", "replace"))
        if runs is None:
            raise ValueError("packed counts with characters outside their code, or cut short")
    elif all(type(n) is int and abs(n) < 1 << 40 for n in counts):
        runs = np.array(counts, np.int64)
    else:
        raise ValueError("counts that are not whole numbers of pixels")
    if runs.size and runs.min() < 0:
        raise ValueError(f"a negative run in its counts ({runs.min()})")
    total = sum(runs.tolist())
    if total != height * width:
        raise ValueError(f"counts of {total} pixels for {height} x {width}")
    values = (np.arange(runs.size) % 2).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)
