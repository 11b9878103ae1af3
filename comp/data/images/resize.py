"""Images and labels to another size: images by area or linear, labels by pixel centre, or as soft planes.

OpenCV averages over areas for at most four bands and only when both axes shrink; both limits end here.
"""

from __future__ import annotations

import cv2
import numpy as np

from comp.config import IGNORE

STRETCH_PERCENTILES = (0.5, 99.8)
_BANDS = 4  # cv2.INTER_AREA refuses more bands at once


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image, averaging over areas where an axis shrinks, linearly where it grows.

    Args:
        image: (H, W, C) uint8 or float32, rows first.
        size: (h, w).

    Returns:
        (h, w, C) of the same dtype and range, contiguous.
    """
    height, width, bands = image.shape
    if (height, width) == tuple(size):
        return np.ascontiguousarray(image)
    shrunk = (min(height, size[0]), min(width, size[1]))
    parts = []
    for start in range(0, bands, _BANDS):
        part = np.ascontiguousarray(image[..., start : start + _BANDS])
        for target, how in ((shrunk, cv2.INTER_AREA), (size, cv2.INTER_LINEAR)):
            if part.shape[:2] != tuple(target):
                part = cv2.resize(part, (target[1], target[0]), interpolation=how)
        parts.append(part if part.ndim == 3 else part[..., None])
    return parts[0] if len(parts) == 1 else np.ascontiguousarray(np.concatenate(parts, axis=2))


def stretch_image(image: np.ndarray) -> np.ndarray:
    """Stretch an image's contrast: its percentiles 0.5 and 99.8 over all bands become 0 and 1.

    One line for all bands, so colours keep their hue; one for the whole image, so every crop of it is
    seen alike in training and in prediction. An image of one value stays as it is.

    Args:
        image: (H, W, C) uint8, or float32 in [0, 1].

    Returns:
        the same shape and dtype.
    """
    low, high = (float(v) for v in np.percentile(image, STRETCH_PERCENTILES))
    return stretch_to(image, low, high)


def stretch_to(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """`stretch_image` of an image, or of some of its rows, whose percentiles are known."""
    if high <= low:
        return image
    if image.dtype == np.uint8:
        levels = np.clip((np.arange(256) - low) * (255 / (high - low)), 0, 255)
        return np.rint(levels).astype(np.uint8)[image]
    return np.clip((image - np.float32(low)) / np.float32(high - low), 0, 1).astype(np.float32)


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Take for each new pixel the label under its centre (aligned with `resize_image`).

    Args:
        labels: (H, W) or (K, H, W) uint8.
        size: (h, w).

    Returns:
        (h, w) or (K, h, w) uint8; no value that was not there.
    """
    if labels.shape[-2:] == tuple(size):
        return labels
    rows, columns = (
        (np.arange(new) * 2 + 1) * old // (2 * new)
        for old, new in zip(labels.shape[-2:], size, strict=True)
    )
    return np.take(np.take(labels, rows, axis=-2), columns, axis=-1)


def n_planes(task: str, n_classes: int) -> tuple[int, int]:
    """How many class planes and how many validity planes `soft_planes` makes."""
    return n_classes, n_classes if task == "multilabel" else 1


def soft_planes(labels: np.ndarray, task: str, n_classes: int, size: tuple[int, int]) -> np.ndarray:
    """Average labels over the area of each new pixel.

    Args:
        labels: (H, W), or (K, H, W) for multilabel, uint8; 255 is ignored.
        size: (h, w).

    Returns:
        (K + V, h, w) uint8, a view of a planes-last array: K class planes, the share of the pixel that is
        valid and of the class, times 255; then V validity planes, the valid share times 255 (V = K for
        multilabel, else 1). `soft_target` divides one by the other.
    """
    if task == "multilabel":
        classes = labels == 1
        valid = labels != IGNORE
    else:
        first = 1 if task == "binary" else 0
        classes = labels[None] == np.arange(first, first + n_classes, dtype=np.uint8)[:, None, None]
        valid = (labels != IGNORE)[None]
    planes = np.concatenate([classes, valid]).astype(np.uint8) * np.uint8(255)
    return np.moveaxis(resize_image(np.ascontiguousarray(np.moveaxis(planes, 0, -1)), size), -1, 0)


def soft_target(planes: np.ndarray, task: str, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Turn soft planes into a target.

    Args:
        planes: (K + V, h, w) uint8 as `soft_planes` makes them.

    Returns:
        targets (K, h, w) float32 in [0, 1], the class's share of the valid part (multiclass: they sum to
        1 where valid); valid (V, h, w) float32, 1 where more than half of the pixel is valid, else 0.
    """
    n_class, n_valid = n_planes(task, n_classes)
    shares = planes[:n_class].astype(np.float32)
    weight = planes[n_class : n_class + n_valid].astype(np.float32)
    whole = shares.sum(axis=0, keepdims=True) if task == "multiclass" else weight
    targets = np.minimum(shares / np.maximum(whole, 1.0), np.float32(1.0))
    return targets, (weight >= 128.0).astype(np.float32)
