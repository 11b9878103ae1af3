"""From stored probabilities to a decision: the one place where a threshold is applied."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

FULL = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}


def level(threshold: float, full: int) -> int:
    """Return the smallest stored value that counts as foreground at `threshold` (0..1) when 1.0 is `full`."""
    # The tiny step back keeps 0.1 * 255000 = 25500.000000000004 from becoming 25501.
    return math.ceil(threshold * full - min(1e-9 * full, 0.25))


def decide(
    q: np.ndarray, task: str, thresholds: Sequence[float] | None = None, full: int | None = None
) -> np.ndarray:
    """Turn probabilities into a mask.

    Args:
        q: (K, H, W) integers; K is 1 for binary.
        task: binary, multiclass or multilabel.
        thresholds: one a plane, each in (0, 1); default 0.5. Multiclass takes the largest plane and, on
            a tie, the first class; its thresholds must be None.
        full: the integer that stands for probability 1: 255 for uint8, 65535 for uint16, 255 * (sum of
            weights) for a weighted sum. Default: by dtype.

    Returns:
        binary (H, W) uint8 0/1; multiclass (H, W) uint8 class index; multilabel (K, H, W) uint8 0/1.
    """
    if task == "multiclass":
        if thresholds is not None:
            raise ValueError("multiclass masks are the largest plane; thresholds do not apply")
        return np.argmax(q, axis=0).astype(np.uint8)
    if full is None:
        full = FULL[q.dtype]
    cuts = [level(t, full) for t in (thresholds or [0.5] * q.shape[0])]
    if len(cuts) != q.shape[0]:
        raise ValueError(f"{len(cuts)} thresholds for {q.shape[0]} planes")
    planes = [(plane >= cut).view(np.uint8) for plane, cut in zip(q, cuts, strict=True)]
    return planes[0] if task == "binary" else np.stack(planes)
