"""A large image on its way into a cache, band by band: hashed, stretched, written, never whole in memory.

Its source is a file that is read lazily, or the native cache. What comes out is what a whole array gives.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from comp import files
from comp.config.competition import Data
from comp.data.cache.cache import Cache
from comp.data.cache.stats import BLANK
from comp.data.images.bands import files_of
from comp.data.images.decode import Stored
from comp.data.images.read import check_band, to_image
from comp.data.images.resize import STRETCH_PERCENTILES, stretch_to
from comp.data.images.rows import evenly, large_file
from comp.data.images.tif_rows import BAND_BYTES, LARGE_PIXELS
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
    """The image of a large file, by the rules of `read_image`; None where `read_image` should read it.

    Args:
        path: a file; or a `BandPath`, whose files are read side by side.

    Raises:
        DataError: what `large_file` refuses, or bands of other sizes; what is wrong further down is
            raised by `bands`.
    """
    paths = files_of(path)
    sizes = []
    for one in paths:
        with large_file(one, data.max_pixels) as found:
            if found is None:
                return None
            sizes.append(found.size)
    for one, size in zip(paths, sizes, strict=True):
        if size != sizes[0]:
            raise DataError(
                f"{one}: {size[0]} x {size[1]}, but {paths[0]}, a band of the same image, is"
                f" {sizes[0][0]} x {sizes[0][1]}"
            )

    def bands() -> Iterator[np.ndarray]:
        for stored in stored_bands(paths, data.max_pixels, sizes[0]):
            yield to_image(path, stored, data)

    return LargeImage(sizes[0], data.channels, bands)


def stored_bands(paths: Sequence[Path], max_pixels: int, size: tuple[int, int]) -> Iterator[Stored]:
    """A large image's rows as stored, from the top; several files are the bands of one image.

    Raises:
        DataError: a part that cannot be decoded; or a file of several bands, or of another dtype, where
            each should be one band.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(large_file(one, max_pixels)) for one in paths]
        readers = [one for one in opened if one is not None and one.size == size]
        if len(readers) < len(paths):
            raise DataError(f"{paths[0]}: changed while it was read; run again")
        if len(readers) == 1:
            yield from readers[0].bands()
            return
        n_rows = max(1, BAND_BYTES // (8 * size[1] * len(readers)))
        tops: list[int | None] = [None] * len(readers)

        def pixels(number: int) -> Iterator[np.ndarray]:
            for stored in readers[number].bands():
                tops[number] = stored.top
                yield stored.pixels

        columns = [evenly(pixels(n), n_rows) for n in range(len(readers))]
        for parts in zip(*columns, strict=True):
            for one, part in zip(paths, parts, strict=True):
                check_band(one, part, paths[0], parts[0])
            yield Stored(np.concatenate(parts, axis=2), False, tops[0])


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
    hasher = ImageHasher(image)
    counts = np.zeros(0, np.int64)
    top = 255
    for band in image.bands():
        hasher.add(band)
        if band.dtype == np.uint8:
            counts = _sum(counts, _histogram(band, 255))
        else:
            top = FLOAT_LEVELS
            levels = np.rint(band.reshape(-1) * np.float32(top)).astype(np.uint16)
            counts = _sum(counts, _histogram(levels, top))
    scale = 1 if top == 255 else top
    low, high = (_percentile(counts, p) / scale for p in STRETCH_PERCENTILES)
    return Survey(hasher.hexdigest(), low, high)


def _histogram(numbers: np.ndarray, top: int) -> np.ndarray:
    """How often each number 0..top occurs; in parts, as numpy makes 8 bytes of each of a part."""
    flat, step = numbers.reshape(-1), 1 << 22
    parts = [
        np.bincount(flat[at : at + step], minlength=top + 1) for at in range(0, flat.size, step)
    ]
    return np.asarray(sum(parts))


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
    hasher = ImageHasher(image)
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


class ImageHasher:
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

    def passing(self, bands: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The same bands, seen on their way."""
        for band in bands:
            self.add(band)
            yield band

    def hexdigest(self) -> str:
        return (BLANK if self._blank else "") + self._seen.hexdigest()[:32]
