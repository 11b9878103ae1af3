"""A large image on its way into a cache, band by band: hashed, stretched, written, never whole in memory.

Its source is a tif that is read lazily, or the native cache. What comes out is what a whole array gives.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from comp import files
from comp.config.competition import Data
from comp.data.cache.cache import Cache
from comp.data.cache.stats import BLANK
from comp.data.images.bands import files_of
from comp.data.images.read import to_image
from comp.data.images.resize import STRETCH_PERCENTILES, stretch_to
from comp.data.images.tif_rows import BAND_BYTES, LARGE_PIXELS, large_tif
from comp.errors import DataError, DiskError

FLOAT_LEVELS = 65535  # of the histogram of floats: exact where they were 16-bit numbers


@dataclass(frozen=True)
class LargeImage:
    """An image that is read from the top as often as wanted.

    Args:
        size: (H, W).
        channels: C.
        bands: yields (h, W, C) uint8, or float32 in [0, 1], from the top; all of one dtype.
    """

    size: tuple[int, int]
    channels: int
    bands: Callable[[], Iterator[np.ndarray]]

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.size, self.channels)


def large_image(path: Path, data: Data) -> LargeImage | None:
    """The image of a large tif, by the rules of `read_image`; None where `read_image` should read it.

    Raises:
        DataError: what `large_tif` refuses; what is wrong further down is raised by `bands`.
    """
    if len(files_of(path)) > 1:
        return None
    with large_tif(path, data.max_pixels) as tif:
        if tif is None:
            return None
        size = tif.size

    def bands() -> Iterator[np.ndarray]:
        with large_tif(path, data.max_pixels) as tif:
            if tif is None or tif.size != size:
                raise DataError(f"{path}: changed while it was read; run again")
            for stored in tif.bands():
                yield to_image(path, stored, data)

    return LargeImage(size, data.channels, bands)


def large_cached(cache: Cache, number: int) -> LargeImage | None:
    """An image of the native cache; None where it is small enough to be taken whole."""
    height, width, channels = cache.image(number).shape
    if height * width <= LARGE_PIXELS:
        return None
    step = max(1, BAND_BYTES // cache.image(number)[0].nbytes)

    def bands() -> Iterator[np.ndarray]:
        for start in range(0, height, step):
            yield cache.rows(number, start, min(height, start + step))

    return LargeImage((height, width), channels, bands)


@dataclass(frozen=True)
class Survey:
    """What is known of an image after one look at all of it.

    Args:
        pixel_hash: as `stats.hash_pixels` of the whole.
        low, high: the percentiles 0.5 and 99.8 of all its numbers.
    """

    pixel_hash: str
    low: float
    high: float


def survey(image: LargeImage) -> Survey:
    """Look at an image once."""
    hasher = _Hasher(image)
    counts = np.zeros(0, np.int64)
    top = 255
    for band in image.bands():
        hasher.add(band)
        if band.dtype == np.uint8:
            counts = _sum(counts, np.bincount(band.reshape(-1), minlength=256))
        else:
            top = FLOAT_LEVELS
            levels = np.rint(band.reshape(-1) * np.float32(top)).astype(np.uint16)
            counts = _sum(counts, np.bincount(levels, minlength=top + 1))
    scale = 1 if top == 255 else top
    low, high = (_percentile(counts, p) / scale for p in STRETCH_PERCENTILES)
    return Survey(hasher.hexdigest(), low, high)


def _sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return b.astype(np.int64) if a.size == 0 else a + b


def _percentile(counts: np.ndarray, percent: float) -> float:
    """np.percentile of the numbers that a histogram counts, interpolated in the same way."""
    upto = np.cumsum(counts)
    at = (int(upto[-1]) - 1) * (percent / 100)
    below, above = (int(np.searchsorted(upto, n, side="right")) for n in (int(at), int(at) + 1))
    above = min(above, int(np.flatnonzero(counts)[-1]))
    return below + (at - int(at)) * (above - below)


def stretched(image: LargeImage, seen: Survey) -> LargeImage:
    """The image with its contrast stretched, as `resize.stretch_image`."""

    def bands() -> Iterator[np.ndarray]:
        for band in image.bands():
            yield stretch_to(band, seen.low, seen.high)

    return LargeImage(image.size, image.channels, bands)


def write_image(file: BinaryIO, image: LargeImage) -> tuple[str, str]:
    """Append an image to an open file.

    Returns:
        its dtype, and its hash as `stats.hash_pixels` of the whole.

    Raises:
        DiskError: the disk has less room than the image needs; said before anything is written.
    """
    hasher = _Hasher(image)
    for band in image.bands():
        if not hasher.dtype:
            _check_room(Path(file.name), int(np.prod(image.shape)) * band.dtype.itemsize)
        hasher.add(band)
        file.write(np.ascontiguousarray(band).data)
    return hasher.dtype, hasher.hexdigest()


def _check_room(path: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if n_bytes > free:
        raise DiskError(
            f"{path.parent}: an image needs {n_bytes >> 20} MB of the cache and {free >> 20} MB are free; "
            "free space and run again"
        )


def on_disk(image: LargeImage, folder: Path) -> np.ndarray:
    """The whole image as a read-only map of a file that is gone when the array is."""
    made = files.temporary_or_disk_error(folder / "whole")
    try:
        with open(made, "wb") as file:
            dtype, _ = write_image(file, image)
        return np.asarray(np.memmap(made, dtype, "r", shape=image.shape))
    except OSError as error:
        raise files.disk_error(made, 0, error) from error
    finally:
        made.unlink(missing_ok=True)  # POSIX keeps what is mapped


class _Hasher:
    """`stats.hash_pixels`, band by band."""

    def __init__(self, image: LargeImage) -> None:
        self.image = image
        self.dtype = ""
        self._seen = hashlib.sha256()
        self._first: np.ndarray | None = None
        self._blank = True

    def add(self, band: np.ndarray) -> None:
        if self._first is None:
            self.dtype = str(band.dtype)
            self._seen.update(f"{self.image.shape} {band.dtype}".encode())
            self._first = band[0, 0].copy()
        self._seen.update(np.ascontiguousarray(band).data)
        self._blank = self._blank and bool((band == self._first).all())

    def hexdigest(self) -> str:
        return (BLANK if self._blank else "") + self._seen.hexdigest()[:32]
