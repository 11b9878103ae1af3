"""Clean-up of decided masks: small parts removed, whatever order they are found in."""

from __future__ import annotations

import numpy as np

from comp.masks.components import find_class_parts, find_parts, kernels


def remove_small(
    mask: np.ndarray,
    task: str,
    min_area_px: int,
    connectivity: int = 8,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Remove connected parts of fewer than `min_area_px` pixels.

    Binary and multilabel: they become background. Multiclass, which may have no background: a part
    takes the class of most of the pixels around it that are not small parts themselves (the lower
    class on a tie), and stays where there are none.

    Args:
        mask: a decision: (H, W) uint8, or (K, H, W) for multilabel.
        task: binary, multiclass or multilabel.
        min_area_px: 0 or 1 removes nothing.
        out: where the answer goes, rows first (C order): `mask` itself, which then holds no second
            copy, or an array like it. Default: a new one.

    Returns:
        a mask of the same shape and dtype; `mask` itself when nothing is asked.
    """
    if min_area_px <= 1 or mask.size == 0:
        return mask
    if out is None:
        out = np.array(mask, order="C")
    elif out is not mask:
        np.copyto(out, mask)
    if not out.flags.c_contiguous:
        raise ValueError("the answer of remove_small goes to an array in C order")
    height, width = out.shape[-2:]
    for plane in out.reshape(-1, height, width):
        if task == "multiclass":
            _refill(plane, min_area_px, connectivity)
        else:
            _erase(plane, min_area_px, connectivity)
    return out


def _erase(plane: np.ndarray, min_area_px: int, connectivity: int) -> None:
    parts = find_parts(plane, connectivity)
    painted = np.where(parts.areas < min_area_px, np.int16(0), np.int16(-1))
    kernels().paint_runs(plane.reshape(-1), parts.runs, painted[parts.numbers])


def _refill(mask: np.ndarray, min_area_px: int, connectivity: int) -> None:
    parts, values = find_class_parts(mask, connectivity)
    small = parts.areas < min_area_px
    if not small.any():
        return
    # from the parts as they were found, so that their order does not matter
    around = kernels().classes_around(
        parts.runs, values, parts.numbers, small, mask.shape[1], connectivity == 8
    )
    kernels().paint_runs(mask.reshape(-1), parts.runs, around[parts.numbers])
