"""A random window of an image and its labels, at native scale or zoomed; no torch."""

from __future__ import annotations

import math

import numpy as np

from comp.data.images.resize import resize_image, resize_labels


def random_crop(
    image: np.ndarray,
    labels: np.ndarray,
    size: tuple[int, int],
    jitter: tuple[float, float] | None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a window at a random place and bring it to `size`.

    Args:
        image: (H, W, C); labels: (H, W) or (K, H, W).
        jitter: the zoom is drawn log-uniformly from this range; None: 1.

    Returns:
        image (h, w, C) and labels (h, w) or (K, h, w); views where nothing was padded or resized.
    """
    zoom = (
        1.0 if jitter is None else math.exp(rng.uniform(math.log(jitter[0]), math.log(jitter[1])))
    )
    window = (max(1, round(size[0] / zoom)), max(1, round(size[1] / zoom)))
    rows, columns = (
        _place(have, want, rng) for have, want in zip(image.shape[:2], window, strict=True)
    )
    if isinstance(rows, slice) and isinstance(columns, slice):
        image, labels = image[rows, columns], labels[..., rows, columns]
    else:
        rows, columns = (np.r_[i] if isinstance(i, slice) else i for i in (rows, columns))
        image = np.take(np.take(image, rows, axis=0), columns, axis=1)
        labels = np.take(np.take(labels, rows, axis=-2), columns, axis=-1)
    if window != tuple(size):
        image, labels = resize_image(image, size), resize_labels(labels, size)
    return image, labels


def _place(have: int, want: int, rng: np.random.Generator) -> slice | np.ndarray:
    """Where `want` pixels of an axis of `have` come from: a random slice, or, when there are too few,
    every pixel and its reflections about the edge pixels, the image at a random place among them."""
    start = int(rng.integers(0, abs(have - want) + 1))
    if have >= want:
        return slice(start, start + want)
    period = max(1, 2 * (have - 1))
    turned = np.abs(np.arange(-start, want - start)) % period
    return np.minimum(turned, period - turned)
