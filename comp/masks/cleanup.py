"""Clean-up of decided masks: small parts removed, whatever order they are found in."""

from __future__ import annotations

import numpy as np


def remove_small(
    mask: np.ndarray, task: str, min_area_px: int, connectivity: int = 8
) -> np.ndarray:
    """Remove connected parts of fewer than `min_area_px` pixels.

    Binary and multilabel: they become background. Multiclass, which may have no background: a part
    takes the class of most of the pixels around it that are not small parts themselves (the lower
    class on a tie), and stays where there are none.

    Args:
        mask: a decision: (H, W) uint8, or (K, H, W) for multilabel.
        task: binary, multiclass or multilabel.
        min_area_px: 0 or 1 removes nothing.

    Returns:
        a mask of the same shape and dtype; `mask` itself when nothing is asked.
    """
    if min_area_px <= 1 or mask.size == 0:
        return mask
    if task == "multilabel":
        return np.stack([_without_small(plane, min_area_px, connectivity) for plane in mask])
    if task == "binary":
        return _without_small(mask, min_area_px, connectivity)
    return _refilled(mask, min_area_px, connectivity)


def _parts(plane: np.ndarray, connectivity: int) -> tuple[np.ndarray, np.ndarray]:
    """labels (H, W) int32; stats (n + 1, 5) int32: left, top, width, height, area, 0 the rest."""
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(plane), connectivity=connectivity, ltype=cv2.CV_32S
    )
    return labels, stats


def _without_small(plane: np.ndarray, min_area_px: int, connectivity: int) -> np.ndarray:
    labels, stats = _parts(plane, connectivity)
    keep = stats[:, 4] >= min_area_px
    keep[0] = False
    return keep[labels].astype(plane.dtype)


def _refilled(mask: np.ndarray, min_area_px: int, connectivity: int) -> np.ndarray:
    import cv2

    small = np.zeros(mask.shape, bool)
    parts: list[tuple[slice, slice, np.ndarray]] = []
    height, width = mask.shape
    for value in np.unique(mask):
        labels, stats = _parts((mask == value).view(np.uint8), connectivity)
        picked = stats[:, 4] < min_area_px
        picked[0] = False
        small |= picked[labels]
        for number in np.flatnonzero(picked):
            left, top, w, h, _ = stats[number]
            rows = slice(max(top - 1, 0), min(top + h + 1, height))
            columns = slice(max(left - 1, 0), min(left + w + 1, width))
            parts.append((rows, columns, (labels[rows, columns] == number).view(np.uint8)))
    out = mask.copy()
    shape = cv2.MORPH_RECT if connectivity == 8 else cv2.MORPH_CROSS
    kernel = cv2.getStructuringElement(shape, (3, 3))
    for rows, columns, part in parts:
        ring = (cv2.dilate(part, kernel) > part) & ~small[rows, columns]
        if ring.any():
            # from the untouched mask, so that the order of the parts does not matter
            out[rows, columns][part.view(bool)] = np.bincount(mask[rows, columns][ring]).argmax()
    return out
