"""COCO segmentations -> pixels: polygons by pixel centres, plain and packed run-length counts.

Counts that do not add up to the image are refused, never decoded into what memory happens to hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from comp.masks.code_cells import coco_counts

MOST_CROSSINGS = 10_000_000  # rows times edges of one polygon; more is a trap
CHUNK = 1 << 19  # crossings, or pixels, that are worked on at once

Part = tuple[int, int, np.ndarray]  # top row, left column, (h, w) bool


def polygon_parts(
    points: np.ndarray, height: int, width: int, *others: np.ndarray
) -> Iterator[Part]:
    """Draw one polygon: the pixels whose centre lies inside, by the even-odd rule.

    Args:
        points: (N, 2) float64, x and y of the corners; pixel (row r, column c) is centred on
            (c + .5, r + .5). Parts outside the image are cut off.
        others: further outlines of the same polygon: holes, islands in them.

    Yields:
        Boxes of bool from the top, some rows each, no wider than the polygon; none for nothing.

    Raises:
        ValueError: fewer than 3 corners, numbers that are not finite, or far too many edges.
    """
    rings = [points, *others]
    if (fewest := min(map(len, rings))) < 3:
        raise ValueError(f"a polygon of {fewest} corners; expected at least 3")
    points = np.concatenate(rings)
    if not np.isfinite(points).all():
        raise ValueError("a polygon with corners that are not finite")
    far = (4.0 * max(height, width) + 4.0) * 1e6
    points = points.clip(-far, far)
    following = [part for ring in rings for part in (ring[1:], ring[:1])]
    edges = np.stack([points, np.concatenate(following).clip(-far, far)])
    low, high = edges[..., 1].min(axis=0), edges[..., 1].max(axis=0)
    first = np.ceil(low - 0.5).clip(0, height).astype(np.int64)
    after = np.ceil(high - 0.5).clip(0, height).astype(np.int64)
    crossing = after > first
    total = int((after - first).sum())
    if total == 0:
        return
    if total > MOST_CROSSINGS:
        raise ValueError(f"a polygon with {total} crossings of rows; simplify it")
    edges, first, after = edges[:, crossing], first[crossing], after[crossing]
    (x0, y0), (x1, y1) = edges[0].T, edges[1].T
    slope = (x1 - x0) / (y1 - y0)
    left, right = np.ceil(points[:, 0].min() - 0.5), np.ceil(points[:, 0].max() - 0.5)
    wide = int(np.clip(right, 0, width)) - int(np.clip(left, 0, width)) + 1
    for start, stop in _row_chunks(first, after, wide):
        here = np.flatnonzero((first < stop) & (after > start))
        begin = np.maximum(first[here], start)
        n_rows = np.minimum(after[here], stop) - begin
        edge = np.repeat(here, n_rows)
        past = np.repeat(np.cumsum(n_rows) - n_rows, n_rows)
        row = np.arange(len(edge)) - past + np.repeat(begin, n_rows)
        x = x0[edge] + (row + 0.5 - y0[edge]) * slope[edge]
        column = np.ceil(x - 0.5).clip(0, width).astype(np.int64)
        yield _filled(row - start, column, stop - start, start, width)


def _row_chunks(first: np.ndarray, after: np.ndarray, wide: int) -> Iterator[tuple[int, int]]:
    """Rows [start, stop) with about `CHUNK` crossings and pixels at most, but one row at least."""
    top, end = int(first.min()), int(after.max())
    n_rows = max(1, CHUNK // wide)
    if len(first) * min(n_rows, end - top) <= CHUNK:
        yield from ((start, min(end, start + n_rows)) for start in range(top, end, n_rows))
        return
    change = np.bincount(first - top, minlength=end - top + 1)
    change -= np.bincount(after - top, minlength=end - top + 1)
    sums = change.cumsum().cumsum()  # crossings of the rows up to each
    start = top
    while start < end:
        seen = int(sums[start - top - 1]) if start > top else 0
        stop = top + int(np.searchsorted(sums, seen + CHUNK, side="right"))
        stop = min(end, start + n_rows, max(stop, start + 1))
        yield start, stop
        start = stop


def _filled(row: np.ndarray, column: np.ndarray, high: int, top: int, width: int) -> Part:
    """Crossings of `high` rows -> the pixels right of an odd number of them."""
    left = int(column.min()) if len(column) else 0
    wide = int(column.max()) - left + 1 if len(column) else 0
    flips = np.bincount(row * wide + (column - left), minlength=high * wide)
    odd = (flips & 1).astype(np.uint8).reshape(high, wide)[:, : width - left]
    return top, left, np.bitwise_xor.accumulate(odd, axis=1).view(bool)


def counts_part(counts: Sequence[int] | str, height: int, width: int) -> Iterator[Part]:
    """Draw COCO run-length counts: runs of 0, 1, 0, ... down the columns first (Fortran order).

    Args:
        counts: numbers, or the packed text that pycocotools writes.

    Yields:
        One box of bool: the columns from the first with a 1 to the last; none where all are 0.

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
    ends = runs.cumsum()
    ones = np.flatnonzero(runs[1::2]) * 2 + 1
    if not ones.size:
        return
    left = int(ends[ones[0] - 1]) // height
    right = (int(ends[ones[-1]]) - 1) // height + 1
    ends = ends.clip(left * height, right * height)
    runs = np.diff(ends, prepend=left * height)
    values = (np.arange(runs.size) & 1).astype(bool)
    yield 0, left, np.repeat(values, runs).reshape(right - left, height).T
