"""Mean and standard deviation of each band over a fold's training images: for `model.normalize: dataset`.

Only the images that are named are counted, so nothing of a validation fold enters. They travel inside
the fold's weights, so prediction cannot use others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from comp.data.images.tif_rows import LARGE_PIXELS
from comp.errors import DataError

if TYPE_CHECKING:
    from comp.data.cache.cache import Cache

_FLAT = 1e-6  # a band that varies less than this keeps its scale: dividing would only blow up noise
_ROWS = 1 << 22  # samples that are summed at once


@dataclass(frozen=True)
class ChannelStats:
    """Mean and standard deviation of each of C bands, of pixels in [0, 1].

    Args:
        std: 1 where a band is constant.
        n_pixels: of each band that were counted; n_images: that they come from.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    n_pixels: int
    n_images: int


def channel_stats(cache: Cache, indices: Sequence[int]) -> ChannelStats:
    """Count the images of a cache that a fold trains on.

    Args:
        indices: positions in the cache: the training images only. Their order does not matter.

    Raises:
        DataError: no images.
    """
    wanted = sorted({int(i) for i in indices})
    return _count(_cached_parts(cache, i) for i in wanted)


def stats_of(images: Iterable[np.ndarray]) -> ChannelStats:
    """Mean and standard deviation (of the population) over all pixels of all images.

    uint8 images are counted exactly, in integers; float32 images by Chan's pairwise update in float64.

    Args:
        images: (H, W, C) uint8, or float32 in [0, 1]; C the same for all.

    Raises:
        DataError: no images, another number of bands, or a mixture with a NaN.
    """
    return _count(_parts(image.shape, image.__getitem__) for image in images)


def _parts(shape: tuple[int, ...], rows: Callable[[slice], np.ndarray]) -> Iterator[np.ndarray]:
    """An image in bands of rows."""
    height, width, bands = shape
    step = max(1, _ROWS // max(1, width * bands))
    for start in range(0, height, step):
        yield rows(slice(start, min(height, start + step)))


def _cached_parts(cache: Cache, number: int) -> Iterator[np.ndarray]:
    """An image of the cache in bands of rows; of a large one no more than a band is in memory."""
    shape = cache.image(number).shape
    if shape[0] * shape[1] <= LARGE_PIXELS:
        return _parts(shape, cache.image(number).__getitem__)
    return _parts(shape, lambda rows: cache.rows(number, rows.start, rows.stop))


def _count(images: Iterable[Iterator[np.ndarray]]) -> ChannelStats:
    """`stats_of` images that come in bands of rows."""
    n_images = n_pixels = 0
    mean = spread = np.zeros(0)
    levels: np.ndarray | None = None
    for image in images:
        for number, part in enumerate(image):
            bands = part.shape[2]
            if n_images == 0 and number == 0:
                mean, spread = np.zeros(bands), np.zeros(bands)
                levels = np.zeros((bands, 256), np.int64)
            if bands != len(mean) or levels is None:
                raise DataError(f"images of {len(mean)} and of {bands} bands; expected one number")
            if part.dtype == np.uint8:
                for band in range(bands):
                    levels[band] += np.bincount(part[..., band].ravel(), minlength=256)
                continue
            flat = part.reshape(-1, bands).astype(np.float64)
            n_pixels = _merge(
                mean, spread, n_pixels, flat.mean(0), flat.var(0) * len(flat), len(flat)
            )
        n_images += 1
    if levels is None:
        raise DataError("no images to take means of; run `comp folds`")
    n_bytes = int(levels[0].sum())
    if n_bytes:
        byte_mean, byte_spread = _of_levels(levels)
        n_pixels = _merge(mean, spread, n_pixels, byte_mean, byte_spread, n_bytes)
    std = np.sqrt(spread / n_pixels)
    if not np.isfinite(std).all():
        raise DataError("the images hold NaN or infinity; run `comp verify`")
    std = np.where(std < _FLAT, 1.0, std)
    return ChannelStats(tuple(mean.tolist()), tuple(std.tolist()), n_pixels, n_images)


def _of_levels(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sum of squared deviations of histograms (C, 256), for values k / 255; integers throughout."""
    means, spreads = [], []
    for counts in levels.tolist():
        n = sum(counts)
        total = sum(k * c for k, c in enumerate(counts))
        squares = sum(k * k * c for k, c in enumerate(counts))
        means.append(total / (255 * n))
        spreads.append((n * squares - total * total) / (n * 255 * 255))
    return np.array(means), np.array(spreads)


def _merge(
    mean: np.ndarray,
    spread: np.ndarray,
    n: int,
    new_mean: np.ndarray,
    new_spread: np.ndarray,
    k: int,
) -> int:
    """Add k pixels to n, in place (Chan, Golub, LeVeque 1979); return how many there are now."""
    apart = new_mean - mean
    mean += apart * (k / (n + k))
    spread += new_spread + apart * apart * (n * k / (n + k))
    return n + k
