"""What the leak radar keeps of an image: a small normalised picture and its outermost lines, a few kB.

Everything that compares images pair by pair works on these, so no image is opened twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from comp.data.images.tif_rows import LARGE_PIXELS
from comp.data.leaks.marks import NO_MARKS, Marks, find_marks

THUMB = 64  # side of the small picture
LINE = 512  # most pixels of a line that are compared
BANDS = 3  # most bands that are compared
SAMPLE = 1024  # least rows and columns that stand for a large image
LEFT, RIGHT, TOP, BOTTOM = range(4)


@dataclass(frozen=True)
class ImagePrint:
    """One image, as the radar sees it.

    Args:
        size: (H, W) of the image.
        thumb: (THUMB, THUMB) float16, mean 0 and standard deviation 1; 0 for an image of one colour.
        contrast: standard deviation of the small picture, of the full range 1.
        lines: left, right, top, bottom: each (2, l, b) uint8 or float32, the outermost line and the
            one inside it, l <= LINE points at even distances, b <= BANDS.
        look: (7,) float32: what it looks like as a whole: mean and spread of three bands, roughness.
        marks: by which crops that overlap are found; none of an image that comes in bands.
    """

    size: tuple[int, int]
    thumb: np.ndarray
    contrast: float
    lines: tuple[np.ndarray, ...]
    look: np.ndarray
    marks: Marks = NO_MARKS


def make_print(image: np.ndarray) -> ImagePrint:
    """Take the print of an image.

    Args:
        image: (H, W, C) uint8, or float32 in [0, 1]; only the first three bands are looked at.
    """
    if image.shape[0] * image.shape[1] > LARGE_PIXELS:
        return print_bands((image.shape[0], image.shape[1]), [image])[0]
    edges = _Edges((image.shape[0], image.shape[1]))
    edges.add(image, 0)
    return replace(_print(edges, image[:, :, :BANDS]), marks=find_marks(image[:, :, :BANDS]))


def print_bands(
    size: tuple[int, int], bands: Iterable[np.ndarray]
) -> tuple[ImagePrint, np.ndarray]:
    """Take the print of an image that comes in bands of rows, from the top.

    Args:
        size: (H, W) of the whole; bands: (h, W, C) each.

    Returns:
        its print, and the sample that it was made of: every so many rows and columns, 1024 or more.
    """
    step = max(1, min(size) // SAMPLE)
    edges, rows, start = _Edges(size), [], 0
    for band in bands:
        edges.add(band, start)
        rows.append(band[-start % step :: step, ::step, :BANDS].copy())
        start += len(band)
    sample = np.concatenate(rows)
    return _print(edges, sample), sample


class _Edges:
    """The outermost lines of an image, gathered from its bands."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._columns: list[np.ndarray] = []
        self._rows: dict[int, np.ndarray] = {}

    def add(self, band: np.ndarray, start: int) -> None:
        """A band (h, W, C) whose first row is number `start` of the image."""
        height, width = self.size
        shown = band[:, :, :BANDS]
        self._columns.append(shown[:, [0, min(1, width - 1), -1, max(-2, -width)]])
        for row in {0, min(1, height - 1), height - 1, max(0, height - 2)}:
            if start <= row < start + len(band):
                self._rows[row] = shown[row - start].copy()

    def lines(self) -> tuple[np.ndarray, ...]:
        """Left, right, top, bottom, as in `ImagePrint`."""
        height = self.size[0]
        columns = np.concatenate(self._columns)
        rows = self._rows
        return (
            _lines(columns[:, 0], columns[:, 1]),
            _lines(columns[:, 2], columns[:, 3]),
            _lines(rows[0], rows[min(1, height - 1)]),
            _lines(rows[height - 1], rows[max(0, height - 2)]),
        )


def _print(edges: _Edges, bands: np.ndarray) -> ImagePrint:
    """The print from an image's edges and its first bands, or a sample of them."""
    import cv2

    small = cv2.resize(np.ascontiguousarray(bands), (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    unit = small.reshape(THUMB, THUMB, -1).astype(np.float32)
    if bands.dtype == np.uint8:
        unit /= 255.0
    grey = unit.mean(axis=2)
    contrast = float(grey.std())
    thumb = (grey - grey.mean()) / contrast if contrast > 0 else np.zeros_like(grey)
    rough = float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())
    mean, spread = unit.mean(axis=(0, 1)), unit.std(axis=(0, 1))
    look = np.concatenate([np.resize(mean, 3), np.resize(spread, 3), [np.log10(rough + 1e-4)]])
    return ImagePrint(
        edges.size, thumb.astype(np.float16), contrast, edges.lines(), look.astype(np.float32)
    )


def _lines(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """(2, l, b): two lines thinned to at most LINE points; floats as grey, to bound the memory."""
    step = -(-len(outer) // LINE)
    both = np.stack([outer[::step], inner[::step]])
    if both.dtype == np.uint8:
        return both
    return both.astype(np.float32).mean(axis=2, keepdims=True)


def alike(looks: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Distance of pairs by what images look like as a whole.

    Args:
        looks: (N, 7); first, second: (P,) positions of the pairs.

    Returns:
        (P,) float32, 0 = the same; every trait in units of its spread over the N images.
    """
    spread = looks.std(axis=0)
    scaled = looks / np.where(spread > 0, spread, 1.0)
    return np.asarray(np.sqrt(((scaled[first] - scaled[second]) ** 2).sum(axis=1)))


def chance_of_nearer(near: np.ndarray, far: np.ndarray) -> float:
    """AUC: how often a draw from `near` is smaller than one from `far`; 0.5 says nothing."""
    if len(near) == 0 or len(far) == 0:
        return 0.5
    ordered = np.sort(far)
    below = np.searchsorted(ordered, near, side="left")
    upto = np.searchsorted(ordered, near, side="right")
    return float(1.0 - (below + upto).mean() / (2 * len(far)))
