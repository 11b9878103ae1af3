"""Crops that hold a pixel of a class for certain: the pixel is drawn, then a window around it; no torch."""

from __future__ import annotations

import math

import numpy as np

from comp.data.cache.cache import Cache
from comp.data.images.resize import resize_image, resize_labels
from comp.data.samples.crop import random_crop

_PIXELS = 1 << 20  # that are compared at once: a comparison that stays in the processor's cache


class Pixels:
    """Random pixels of a class in cached labels, each as likely as any other.

    Rows are counted when an image is first asked for, and kept: 8 bytes a row and class, in this process.
    """

    def __init__(self, cache: Cache, task: str) -> None:
        self.cache = cache
        self.first = 1 if task == "binary" else 0
        self.planes = task == "multilabel"
        self._ends: dict[tuple[int, int], np.ndarray] = {}

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_ends": {}}

    def draw(self, number: int, klass: int, rng: np.random.Generator) -> tuple[int, int] | None:
        """A pixel (row, column) of class `klass` in image `number` of the cache; None if it has none."""
        labels = self.cache.labels(number)
        assert labels is not None
        plane, value = (labels[klass], 1) if self.planes else (labels, self.first + klass)
        ends = self._ends.get((number, klass))
        if ends is None:
            ends = np.cumsum(_count_rows(plane, value))
            self._ends[number, klass] = ends
        if ends[-1] == 0:
            return None
        rank = int(rng.integers(ends[-1]))
        row = int(np.searchsorted(ends, rank, side="right"))
        before = int(ends[row - 1]) if row else 0
        return row, int(np.flatnonzero(plane[row] == value)[rank - before])


def _count_rows(plane: np.ndarray, value: int) -> np.ndarray:
    """Pixels of a value in each row; some rows at a time, as a large plane takes no second one."""
    step = max(1, _PIXELS // max(1, plane.shape[1]))
    parts = [
        np.count_nonzero(plane[top : top + step] == value, axis=1)
        for top in range(0, len(plane), step)
    ]
    return np.concatenate(parts)


def crop_around(
    image: np.ndarray,
    labels: np.ndarray,
    size: tuple[int, int],
    jitter: tuple[float, float] | None,
    pixel: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a window that holds `pixel`, all places of such windows alike, and bring it to `size`.

    So the pixel is as likely in a corner of the window as in its middle. A zoom below 1 can drop an
    object of a pixel or two from what is seen.

    Args:
        image: (H, W, C); labels: (H, W) or (K, H, W); jitter: as `random_crop` takes it.
        pixel: row, column.

    Returns:
        image (h, w, C) and labels (h, w) or (K, h, w).
    """
    zoom = (
        1.0 if jitter is None else math.exp(rng.uniform(math.log(jitter[0]), math.log(jitter[1])))
    )
    window = (max(1, round(size[0] / zoom)), max(1, round(size[1] / zoom)))
    rows, columns = (
        _reach(at, want, have)
        for at, want, have in zip(pixel, window, image.shape[:2], strict=True)
    )
    image, labels = random_crop(image[rows, columns], labels[..., rows, columns], window, None, rng)
    if window != tuple(size):
        image, labels = resize_image(image, size), resize_labels(labels, size)
    return image, labels


def _reach(at: int, want: int, have: int) -> slice:
    """The part of an axis that windows of `want` pixels which hold pixel `at` can cover."""
    if have <= want:
        return slice(0, have)
    first, last = max(0, at - want + 1), min(at, have - want)
    return slice(first, last + want)
