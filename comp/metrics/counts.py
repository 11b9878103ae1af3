"""Pixels counted once: (tp, fp, fn, tn) per image and class, int64. Every score stands on these.

Ignored pixels (label 255) are in none of the four. Classes are counted one against the rest.
"""

from __future__ import annotations

import numpy as np

from comp.config import IGNORE
from comp.errors import DataError
from comp.masks.rle import shared_pixels


def count_image(mask: np.ndarray, labels: np.ndarray, task: str, n_classes: int) -> np.ndarray:
    """Count one image.

    Args:
        mask: a decision, uint8: binary (H, W) 0/1; multiclass (H, W) class index; multilabel (K, H,
            W) 0/1.
        labels: the truth, uint8, of the same shape, with 255 where nothing is scored.

    Returns:
        (K, 4) int64, last axis tp, fp, fn, tn; K is 1 for binary.

    Raises:
        DataError: other shapes, or a class that the task does not have.
    """
    if mask.shape != labels.shape:
        raise DataError(
            f"cannot count a mask of shape {mask.shape} against labels of shape {labels.shape}"
        )
    if task == "multiclass":
        return _count_classes(mask, labels, n_classes)
    planes = [(mask, labels)] if task == "binary" else list(zip(mask, labels, strict=True))
    if len(planes) != n_classes:
        raise DataError(f"expected {n_classes} planes of a {task} mask, got {len(planes)}")
    return np.array([_count_plane(*plane) for plane in planes], dtype=np.int64)


def _count_plane(mask: np.ndarray, labels: np.ndarray) -> tuple[int, int, int, int]:
    truth = labels == 1
    decided = mask != 0
    n_truth = int(np.count_nonzero(truth))
    n_background = int(np.count_nonzero(labels == 0))
    if n_truth + n_background + int(np.count_nonzero(labels == IGNORE)) != labels.size:
        raise DataError(
            f"labels hold {np.unique(labels).tolist()}; expected 0, 1 and {IGNORE} (ignored)"
        )
    tp = int(np.count_nonzero(decided & truth))
    fp = int(np.count_nonzero(decided & (labels == 0)))
    return tp, fp, n_truth - tp, n_background - fp


def _count_classes(mask: np.ndarray, labels: np.ndarray, n_classes: int) -> np.ndarray:
    # one number a (truth, decision) pair: a 256 x 256 table takes every uint8 without a range check
    # first
    pairs = (labels.astype(np.uint16) << 8) | mask
    table = np.bincount(pairs.reshape(-1), minlength=65536).reshape(256, 256)
    table[IGNORE] = 0
    wrong = sorted(set(np.flatnonzero(table.any(axis=1)).tolist()) - set(range(n_classes)))
    if wrong:
        raise DataError(
            f"labels hold the classes {wrong}; expected 0 to {n_classes - 1}, or {IGNORE} (ignored)"
        )
    if table[:, n_classes:].any():
        raise DataError(f"a mask holds the class {int(mask.max())}; expected 0 to {n_classes - 1}")
    table = table[:n_classes, :n_classes]
    tp = np.diagonal(table)
    fp, fn = table.sum(axis=0) - tp, table.sum(axis=1) - tp
    return np.stack([tp, fp, fn, table.sum() - tp - fp - fn], axis=1).astype(np.int64)


def count_levels(q: np.ndarray, labels: np.ndarray, positive: int = 1) -> np.ndarray:
    """Count one plane of stored probabilities at every threshold in one pass.

    Args:
        q: (H, W) uint8 or uint16, one plane.
        labels: (H, W) uint8; `positive` is foreground, 255 is not counted, all else is background.

    Returns:
        (L, 4) int64 with L = 256 (uint8) or 65536 (uint16): row v is tp, fp, fn, tn when foreground
        means ``q >= v``. `comp.masks.decide.level` gives the v of a threshold.
    """
    if q.dtype not in (np.uint8, np.uint16) or q.shape != labels.shape:
        raise DataError(
            f"expected uint8 or uint16 probabilities of the labels' shape {labels.shape}, got "
            f"{q.dtype} {q.shape}"
        )
    from comp.metrics.kernels import joint_histogram

    n_levels = int(np.iinfo(q.dtype).max) + 1
    flat = np.ascontiguousarray(q).reshape(-1), np.ascontiguousarray(labels).reshape(-1)
    below = joint_histogram(*flat, positive, IGNORE, n_levels)
    fp, tp = below[:, ::-1].cumsum(axis=1)[:, ::-1]  # pixels at or above each level
    return np.stack([tp, fp, tp[0] - tp, fp[0] - fp], axis=1)


def count_runs(decided: np.ndarray, truth: np.ndarray, n_pixels: int) -> np.ndarray:
    """Count two masks given as runs, without drawing them.

    Args:
        decided, truth: (R, 2) int64 zero-based runs, sorted and apart.
        n_pixels: of the image.

    Returns:
        (4,) int64 tp, fp, fn, tn.
    """
    tp = shared_pixels(decided, truth)
    fp, fn = int(decided[:, 1].sum()) - tp, int(truth[:, 1].sum()) - tp
    return np.array([tp, fp, fn, n_pixels - tp - fp - fn], dtype=np.int64)
