"""Objects: the connected parts of a mask, by OpenCV."""

from __future__ import annotations

import numpy as np

from comp.masks.rle import Order, flatten


def label_objects(mask: np.ndarray, connectivity: int = 8) -> tuple[np.ndarray, int]:
    """Number the connected parts of a mask.

    Args:
        mask: (H, W) uint8, 0 and not 0.
        connectivity: 8 (corners touch) or 4.

    Returns:
        labels (H, W) int32, 0 where the mask is 0 and 1..n elsewhere; and n.
    """
    import cv2

    if connectivity not in (4, 8):
        raise ValueError(f"connectivity is 4 or 8, got {connectivity}")
    if mask.size == 0:
        return np.zeros(mask.shape, np.int32), 0
    n, labels = cv2.connectedComponents(
        np.ascontiguousarray(mask), connectivity=connectivity, ltype=cv2.CV_32S
    )
    return labels, n - 1


def objects(mask: np.ndarray, connectivity: int = 8, order: Order = "column") -> list[np.ndarray]:
    """Return the runs of each connected part of a mask, by first pixel.

    Args:
        mask: (H, W) uint8 0/1.
        order: pixel order of the runs.

    Returns:
        one (R, 2) int64 table an object, zero-based, sorted; together they are the mask, apart from
        each other.
    """
    from comp.masks import kernels

    labels, n = label_objects(mask, connectivity)
    if n == 0:
        return []
    runs = kernels.find_label_runs(flatten(labels, order))
    _, first, numbers = np.unique(runs[:, 0], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))  # OpenCV's own numbering depends on its algorithm
    runs = runs[np.argsort(rank[numbers], kind="stable")]
    cuts = np.flatnonzero(np.diff(runs[:, 0])) + 1
    return [np.ascontiguousarray(part[:, 1:]) for part in np.split(runs, cuts)]
