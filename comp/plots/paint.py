"""Arrays to colours: any image as 8-bit RGB, labels by class, errors over a faded image. For the eye only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from comp.config import IGNORE

Pixels: TypeAlias = NDArray[np.uint8]
Colour: TypeAlias = tuple[int, int, int]

# Told apart by most colour-blind readers (Okabe and Ito 2008), then lighter and darker ones of the same.
CLASS_COLOURS: tuple[Colour, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
    (110, 80, 160),
    (140, 190, 140),
    (120, 60, 40),
)
IGNORED: Colour = (150, 150, 150)
TINT: Colour = (255, 190, 0)  # binary foreground over an image
ERROR_COLOURS: dict[str, Colour] = {
    "false positive": (235, 80, 0),
    "false negative": (30, 150, 255),
    "wrong class": (230, 40, 160),
    "both": (230, 40, 160),
}


def palette(task: str, n_classes: int) -> dict[int, Colour]:
    """Label value -> colour. Binary: black and white; otherwise one a class, shades repeating after ten."""
    if task == "binary":
        return {0: (0, 0, 0), 1: (255, 255, 255), IGNORE: IGNORED}
    colours = {}
    for index in range(n_classes):
        base, shade = CLASS_COLOURS[index % len(CLASS_COLOURS)], index // len(CLASS_COLOURS)
        share = 1 - 0.28 * (shade % 3)
        colours[index] = (round(base[0] * share), round(base[1] * share), round(base[2] * share))
    return colours | {IGNORE: IGNORED}


def display_image(image: np.ndarray) -> Pixels:
    """Make any image visible as (H, W, 3) uint8 RGB.

    One or two bands show the first as grey, three or more the first three. uint8 stays as it is; other
    types are stretched from the 2nd to the 98th percentile of their finite values, the bands together
    so that colours keep; what is not finite is black.

    Args:
        image: (H, W) or (H, W, C), any number type.
    """
    bands = image[:, :, None] if image.ndim == 2 else image
    bands = np.repeat(bands[:, :, :1], 3, axis=2) if bands.shape[2] < 3 else bands[:, :, :3]
    if bands.dtype == np.uint8:
        return np.ascontiguousarray(bands)
    values = bands.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(values[finite], (2, 98))
    if high <= low:
        low, high = float(values[finite].min()), float(values[finite].max())
    span = float(high - low) or 1.0
    stretched = np.where(finite, (values - low) / span, 0.0)
    return np.asarray(np.rint(255 * np.clip(stretched, 0, 1)), np.uint8)


def paint_labels(labels: np.ndarray, task: str, n_classes: int) -> Pixels:
    """Colour labels or a mask; ignored pixels are grey, overlapping classes of multilabel their mean.

    Args:
        labels: binary and multiclass (H, W), multilabel (K, H, W); uint8.

    Returns:
        (H, W, 3) uint8.
    """
    colours = palette(task, n_classes)
    if task == "multilabel":
        return _paint_planes(labels, colours)
    table = np.zeros((256, 3), np.uint8)
    for value, colour in colours.items():
        table[value] = colour
    return np.asarray(table[labels], np.uint8)


def _paint_planes(planes: np.ndarray, colours: dict[int, Colour]) -> Pixels:
    sums = np.zeros((*planes.shape[1:], 3), np.int64)
    on = planes == 1
    for index, plane in enumerate(on):
        sums[plane] += colours[index]
    painted = sums // np.maximum(on.sum(axis=0), 1)[:, :, None]
    painted[(planes == IGNORE).all(axis=0)] = IGNORED
    return painted.astype(np.uint8)


def paint_errors(shown: Pixels, labels: np.ndarray, mask: np.ndarray, task: str) -> Pixels:
    """Colour what is wrong over the faded image, with true foreground lightened; ignored pixels are grey.

    Args:
        shown: (H, W, 3) uint8.
        labels, mask: shaped alike, as the task has them.
    """
    grey = shown.astype(np.int32).sum(axis=2, keepdims=True) // 3
    painted = np.repeat(grey * 45 // 100, 3, axis=2).astype(np.uint8)
    valid = labels != IGNORE
    if task == "multiclass":
        painted[valid & (labels != mask)] = ERROR_COLOURS["wrong class"]
        painted[~valid] = IGNORED
        return painted
    planes, decided, judged = (a if a.ndim == 3 else a[None] for a in (labels, mask, valid))
    extra = (judged & (decided == 1) & (planes == 0)).any(axis=0)
    missed = (judged & (decided == 0) & (planes == 1)).any(axis=0)
    hit = (judged & (decided == 1) & (planes == 1)).any(axis=0)
    painted[hit] = 110 + painted[hit] // 2
    painted[extra] = ERROR_COLOURS["false positive"]
    painted[missed] = ERROR_COLOURS["false negative"]
    painted[extra & missed] = ERROR_COLOURS["both"]
    painted[~judged.any(axis=0)] = IGNORED
    return painted


def labels_of_planes(planes: np.ndarray, valid: np.ndarray, task: str) -> np.ndarray:
    """Soft planes as labels again, for a picture: what is nearer to a class than to none; 255 is ignored.

    Args:
        planes: (K, h, w) in [0, 1].
        valid: (1 or K, h, w), 0 where a pixel is ignored.

    Returns:
        (h, w) uint8; multilabel (K, h, w).
    """
    if task == "multiclass":
        return np.where(valid[0] > 0, planes.argmax(axis=0), IGNORE).astype(np.uint8)
    labels = np.where(valid > 0, planes >= 0.5, IGNORE).astype(np.uint8)
    return np.asarray(labels[0] if task == "binary" else labels)


def outline_labels(shown: Pixels, labels: np.ndarray, task: str, n_classes: int) -> Pixels:
    """Tint the classes over an image and draw their borders in full colour.

    Args:
        shown: (H, W, 3) uint8.
        labels: as the task has them; binary background stays untouched, ignored pixels are grey.
    """
    colours = palette(task, n_classes)
    ignored = (labels == IGNORE).all(axis=0) if task == "multilabel" else None
    if task == "binary":
        colours[1] = TINT
    planes: Sequence[np.ndarray] | np.ndarray = (
        labels
        if task == "multilabel"
        else np.stack([labels == value for value in _tinted(labels, task)])
    )
    values = list(range(len(planes)) if task == "multilabel" else _tinted(labels, task))
    if ignored is not None and ignored.any():
        planes, values = [*planes, ignored], [*values, IGNORE]
    painted = shown.astype(np.int32)
    for value, plane in zip(values, planes, strict=True):
        inside = plane == 1
        colour = np.array(colours[value], np.int32)
        painted[inside] = (painted[inside] * 7 + colour * 3) // 10
        painted[_border(inside)] = colour
    return painted.astype(np.uint8)


def _tinted(labels: np.ndarray, task: str) -> list[int]:
    """The label values that get a tint: every one but the background of a binary task; never none."""
    present = [int(value) for value in np.unique(labels)]
    return [value for value in present if task != "binary" or value != 0] or [1]


def _border(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a region with a neighbour outside it; the picture's own edge is no border."""
    around = np.pad(inside, 1, mode="edge")
    kept = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return np.asarray(inside & ~kept)
