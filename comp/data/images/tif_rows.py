"""A large tif read from the top in bands of rows, so that it is never whole in memory.

Bound by `MOST_PIXELS` instead of `data.max_pixels` (but by that where it is set below its default), and by
what one strip or one row of tiles unfolds to.
PNG and JPEG: png_rows.py. The rest know no bands and are decoded whole, within `data.max_pixels`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np

from comp.config.competition import MAX_PIXELS
from comp.data.images.decode import Stored
from comp.data.images.tif import (
    SIGNATURES,
    check_claim,
    check_colours,
    check_parts,
    one_page,
    show_pixels,
)
from comp.errors import DataError

LARGE_PIXELS = 1 << 26  # tif files of more are read in bands
MOST_PIXELS = 1 << 31  # and of more than this not at all: run-length codes end there too
BAND_BYTES = 1 << 25  # of stored samples that are read at once
PART_BYTES = 1 << 29  # that one strip, or one row of tiles, may unfold to


class TifRows:
    """One tif, open; `large_tif` makes it.

    Attributes:
        size: (H, W).
    """

    def __init__(self, path: Path, file: Any, most_pixels: int) -> None:
        self.path = path
        self._page = page = one_page(path, file)
        self.size = int(page.imagelength), int(page.imagewidth)
        check_colours(path, page)
        check_claim(path, *self.size, most_pixels)
        if page.axes not in ("YX", "YXS", "SYX"):
            raise DataError(f"{path}: axes {page.axes}; expected one plane of pixels")
        self._planes = int(page.samplesperpixel) if page.axes == "SYX" else 1
        self._samples = 1 if page.axes == "SYX" else int(page.samplesperpixel)
        self._dtype = np.dtype(page.dtype)
        self._row_bytes = self.size[1] * self._planes * self._samples * self._dtype.itemsize
        self._plain = bool(page.is_memmappable)
        self._high = int(page.tilelength if page.is_tiled else page.rowsperstrip or self.size[0])
        self._high = min(self._high, self.size[0])
        with open(path, "rb") as raw, mmap(raw.fileno(), 0, access=ACCESS_READ) as data:
            check_parts(page, data)
        high = 1 if self._plain else self._high
        if high * self._row_bytes > PART_BYTES:
            raise DataError(
                f"{path}: strips of {high} x {self.size[1]} pixels unfold to "
                f"{high * self._row_bytes >> 20} MiB each, more than {PART_BYTES >> 20}; "
                "save it with smaller strips or tiles"
            )

    def bands(self, indices: bool = False) -> Iterator[Stored]:
        """Yield the picture from its top: (h, W, C) each, as `decode` gives the whole.

        Args:
            indices: as `decode` takes it.

        Raises:
            DataError: a part that cannot be decoded.
        """
        for start in range(0, self.size[0], self._step):
            yield self._band(start, indices)

    def some(self) -> Iterator[Stored]:
        """Yield a few bands from the top, the middle and the bottom.

        Raises:
            DataError: a part that cannot be decoded.
        """
        n = math.ceil(self.size[0] / self._step)
        for number in sorted({0, n // 2, n - 1}):
            yield self._band(number * self._step, False)

    @property
    def _step(self) -> int:
        """Rows of a band: as many as `BAND_BYTES` hold; whole rows of parts, each decoded once."""
        step = max(1, BAND_BYTES // self._row_bytes)
        return step if self._plain else max(1, step // self._high) * self._high

    def _band(self, start: int, indices: bool) -> Stored:
        stop = min(self.size[0], start + self._step)
        try:
            rows = self._plain_rows(start, stop) if self._plain else self._parts(start, stop)
            pixels = np.moveaxis(rows, 0, 2).reshape(*rows.shape[1:3], -1)
            tif = show_pixels(self._page, pixels, indices)
        except DataError:
            raise
        except Exception as error:  # decoders raise struct.error, zlib.error, ... on broken files
            if "imagecodecs" in str(error):
                tail = "a compressed tif; reading it needs `pip install imagecodecs`"
            else:
                tail = f"broken or cut short: {' '.join(str(error).split())[:200]}"
            raise DataError(f"{self.path}: {tail}") from error
        return Stored(tif.pixels, tif.alpha, tif.top, tif.colors, tif.lossy, tif.white)

    def _plain_rows(self, start: int, stop: int) -> np.ndarray:
        """(planes, h, W, samples) of a file that holds its samples as they are."""
        height, width = self.size
        row = width * self._samples
        stored = self._dtype.newbyteorder(self._page.parent.byteorder)
        first = int(self._page.dataoffsets[0])
        planes = [
            np.fromfile(
                self.path,
                stored,
                (stop - start) * row,
                offset=first + (plane * height + start) * row * stored.itemsize,
            )
            for plane in range(self._planes)
        ]
        return (
            np.stack(planes)
            .astype(self._dtype, copy=False)
            .reshape(self._planes, stop - start, width, self._samples)
        )

    def _parts(self, start: int, stop: int) -> np.ndarray:
        """(planes, h, W, samples) from the strips or tiles of these rows."""
        page, (height, width) = self._page, self.size
        down = math.ceil(height / self._high)
        across = math.ceil(width / page.tilewidth) if page.is_tiled else 1
        shape = (self._planes, stop - start, width, self._samples)
        out = np.full(shape, page.nodata, self._dtype)  # a part may be absent: no data
        tables: dict[str, Any] = {}
        if int(page.compression) in (6, 7, 34892, 33007):
            tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
        first, end = start // self._high, math.ceil(stop / self._high)
        for plane in range(self._planes):
            for number in range((plane * down + first) * across, (plane * down + end) * across):
                length = int(page.databytecounts[number])
                if length == 0:
                    continue
                page.parent.filehandle.seek(int(page.dataoffsets[number]))
                data = page.parent.filehandle.read(length)
                part, (_, _, top, left, _), _ = page.decode(data, number, **tables)
                if part is not None:
                    part = part[0, : stop - top, : width - left]
                    rows = slice(top - start, top - start + part.shape[0])
                    out[plane, rows, left : left + part.shape[1]] = part
        return out


@contextmanager
def large_tif(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[TifRows | None]:
    """Open `path` for reading in bands where it is a tif of more than `LARGE_PIXELS`; else None.

    Args:
        max_pixels: `data.max_pixels`; below its default it holds here too.

    Raises:
        DataError: several pages, colours that are no plain bands, more than `MOST_PIXELS`, parts that
            lie outside the file or unfold to too much.
    """
    most = MOST_PIXELS if max_pixels >= MAX_PIXELS else max_pixels
    try:
        with open(path, "rb") as raw:
            magic = raw.read(4)
    except OSError:
        magic = b""  # `decode` says what is wrong with it
    if magic not in SIGNATURES:
        yield None
        return
    import tifffile

    try:
        file = tifffile.TiffFile(path)
    except Exception:  # noqa: BLE001 - whatever a broken header makes of it, `decode` says it
        yield None
        return
    with file:
        try:
            page = one_page(path, file)
            large = int(page.imagelength) * int(page.imagewidth) > LARGE_PIXELS
        except DataError:
            raise
        except Exception:  # noqa: BLE001 - as above
            large = False
        try:
            rows = TifRows(path, file, most) if large else None
        except DataError:
            raise
        except Exception as error:  # a broken header has many ways to fail
            raise DataError(f"{path}: broken or cut short: {error}") from error
        yield rows
