"""Integer weighted sums of stored probabilities, and the mask and counts that follow from them.

A sum is exact, so a blend is the same in any order and with any number of threads. Refuses float input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from comp.masks.cleanup import remove_small
from comp.masks.decide import FULL, decide
from comp.metrics.counts import count_image

BAND_PIXELS = 1 << 24  # of one plane, that are blended and counted at once


@dataclass(frozen=True)
class Source:
    """Where the pixels of N images and C columns (a member in one of its views) come from.

    Args:
        task: binary, multiclass or multilabel.
        n_classes: K, the planes of a stored probability.
        full: the integer that stands for probability 1 in every plane read (255 or 65535).
        n_images, n_columns: N and C.
        planes: (image, column) -> (K, H, W) uint8 or uint16 on the grid of `full`.
        labels: image -> labels as comp.data reads them, 255 where nothing is scored.
    """

    task: str
    n_classes: int
    full: int
    n_images: int
    n_columns: int
    planes: Callable[[int, int], np.ndarray]
    labels: Callable[[int], np.ndarray]


def common_full(dtypes: Iterable[np.dtype]) -> int:
    """Return the grid that holds all `dtypes` exactly: 255, or 65535 when any of them is uint16."""
    fulls = [FULL[np.dtype(dtype)] for dtype in dtypes]
    return max(fulls)


def to_grid(q: np.ndarray, full: int) -> np.ndarray:
    """Bring stored probabilities to the grid of `full`, exactly: 65535 = 257 * 255.

    Args:
        q: uint8 or uint16, any shape.
        full: 255 (uint8 only) or 65535.
    """
    own = FULL[q.dtype]
    if own == full:
        return q
    if own > full:
        raise ValueError("uint16 probabilities do not fit the uint8 grid")
    return q.astype(np.uint16) * np.uint16(full // own)


def weighted_sum(planes: Sequence[np.ndarray], weights: Sequence[int], full: int) -> np.ndarray:
    """Return the integer sum ``sum_m weights[m] * planes[m]``.

    Args:
        planes: arrays of one shape (K, H, W), uint8 or uint16 on the grid of `full`.
        weights: integers >= 0; probability 1.0 is then ``full * sum(weights)``.

    Returns:
        (K, H, W) int32 where every possible sum fits, else int64.
    """
    total = int(sum(weights))
    if total <= 0 or min(weights) < 0:
        raise ValueError(f"weights must be >= 0 with a positive sum, got {list(weights)}")
    dtype = np.int32 if total * full <= np.iinfo(np.int32).max else np.int64
    summed: np.ndarray | None = None
    for q, weight in zip(planes, weights, strict=True):
        if weight == 0:
            continue
        term = np.multiply(q, dtype(weight), dtype=dtype)
        summed = term if summed is None else np.add(summed, term, out=summed)
    assert summed is not None
    return summed


def blend_mask(
    planes: Sequence[np.ndarray],
    weights: Sequence[int],
    task: str,
    full: int,
    thresholds: Sequence[float] | None = None,
    min_area_px: int = 0,
) -> np.ndarray:
    """Blend, decide once, clean up. Shapes and dtypes as `weighted_sum` and `decide` state them."""
    summed = weighted_sum(planes, weights, full)
    mask = decide(summed, task, thresholds, full=full * int(sum(weights)))
    return remove_small(mask, task, min_area_px) if min_area_px > 1 else mask


def blend_counts(
    source: Source,
    images: Sequence[int] | np.ndarray,
    weights: Sequence[int],
    thresholds: Sequence[float] | None = None,
    min_area_px: int = 0,
) -> np.ndarray:
    """Count a blend on whole images, by the same steps as a submission.

    Args:
        images: indices into the source.
        weights: one integer a column.

    Returns:
        (len(images), K, 4) int64: tp, fp, fn, tn.
    """
    counts = np.zeros((len(images), source.n_classes, 4), np.int64)
    for row, image in enumerate(images):
        labels = source.labels(int(image))
        if min_area_px > 1:
            whole = blend_image(source, int(image), weights, thresholds, min_area_px)
        for rows in bands_of(labels.shape):
            if min_area_px > 1:
                mask = whole[..., rows, :]
            else:
                mask = blend_rows(source, int(image), weights, thresholds, rows)
            part = np.asarray(labels[..., rows, :])
            counts[row] += count_image(mask, part, source.task, source.n_classes)
    return counts


def bands_of(shape: Sequence[int]) -> list[slice]:
    """Rows (..., H, W) in parts of at most `BAND_PIXELS` pixels: most images in one."""
    height, width = shape[-2:]
    step = max(1, BAND_PIXELS // max(1, width))
    return [slice(top, min(height, top + step)) for top in range(0, height, step)]


def blend_rows(
    source: Source,
    image: int,
    weights: Sequence[int],
    thresholds: Sequence[float] | None,
    rows: slice,
) -> np.ndarray:
    """The mask of some rows of one image, not cleaned up; of a large one no more is held in memory."""
    used = [c for c, weight in enumerate(weights) if weight]
    planes = [np.asarray(source.planes(image, c)[:, rows]) for c in used]
    return blend_mask(planes, [weights[c] for c in used], source.task, source.full, thresholds)


def blend_image(
    source: Source,
    image: int,
    weights: Sequence[int],
    thresholds: Sequence[float] | None,
    min_area_px: int = 0,
) -> np.ndarray:
    """The mask of one image; as `blend_mask`, by bands of rows where it is large."""
    shape = source.labels(image).shape
    mask = np.empty(shape, np.uint8)
    for rows in bands_of(shape):
        mask[..., rows, :] = blend_rows(source, image, weights, thresholds, rows)
    return remove_small(mask, source.task, min_area_px, out=mask)


def single_counts(source: Source) -> np.ndarray:
    """Count every column alone at threshold 0.5.

    Returns:
        (C, N, K, 4) int64.
    """
    shape = (source.n_columns, source.n_images, source.n_classes, 4)
    counts = np.zeros(shape, np.int64)
    for image in range(source.n_images):
        labels = source.labels(image)
        for column, rows in product(range(source.n_columns), bands_of(labels.shape)):
            mask = decide(source.planes(image, column)[:, rows], source.task, full=source.full)
            part = np.asarray(labels[..., rows, :])
            counts[column, image] += count_image(mask, part, source.task, source.n_classes)
    return counts
