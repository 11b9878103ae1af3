"""A large PNG or JPEG read from the top in bands of rows by GDAL, where rasterio is installed.

The same pixels as `decode` for PNG; of a JPEG with thinned colours GDAL spreads these another way, so
only such as `decode` refuses come here. Interlaced, progressive and CMYK files cannot be read by rows.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from comp.config.competition import MAX_PIXELS
from comp.data.images.decode import Stored, read_bytes
from comp.data.images.headers import PNG_SIGNATURE, png_header
from comp.data.images.jpeg import JPEG_SIGNATURE, jpeg_header
from comp.data.images.jpeg_scans import check_scans
from comp.data.images.tif_rows import BAND_BYTES, LARGE_PIXELS
from comp.errors import DataError

_GREY, _PALETTE = 0, 3  # colour types of a PNG
_ALPHA = (4, 6)
_MOST_DEFLATE = 1032  # bytes that one byte of deflate can say (zlib's technical notes)
MOST_JPEG = 512  # pixels that one byte can: six flat blocks, two bits each, are 256 pixels
# GDAL would keep 5 % of the machine's memory, write side files, and take half a JPEG for a whole one.
_OPTIONS = {
    "GDAL_CACHEMAX": 64 << 20,
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
}


class GdalRows:
    """One PNG or JPEG; `large_png` makes it.

    Attributes:
        size: (H, W).
    """

    def __init__(self, path: Path, size: tuple[int, int], bits: int, colour: int | None) -> None:
        self.path = path
        self.size = size
        self._bits, self._colour = bits, colour  # None: a JPEG

    def bands(self, indices: bool = False) -> Iterator[Stored]:
        """Yield the picture from its top: (h, W, C) each, as `decode` gives the whole.

        Raises:
            DataError: a part that cannot be decoded.
        """
        import rasterio
        from rasterio.windows import Window

        height, width = self.size
        driver = "JPEG" if self._colour is None else "PNG"
        try:
            with warnings.catch_warnings(), rasterio.Env(**_OPTIONS):
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                source = rasterio.open(self.path.absolute(), driver=driver)
            with source:
                row = width * source.count * np.dtype(source.dtypes[0]).itemsize
                colors = self._colors(source)
                step = max(1, BAND_BYTES // 2 // row)
                for top in range(0, height, step):
                    rows = min(step, height - top)
                    with rasterio.Env(**_OPTIONS):
                        read = source.read(window=Window(0, top, width, rows))
                    yield self._stored(np.moveaxis(read, 0, 2), colors, indices)
        except rasterio.errors.RasterioError as error:
            cause = " ".join(str(error.__cause__ or error).split())[:200]
            raise DataError(f"{self.path}: broken or cut short: {cause}") from error

    def some(self) -> Iterator[Stored]:
        """Yield the first band: the others would need all that stands before them.

        Raises:
            DataError: it cannot be decoded.
        """
        yield next(self.bands())

    def _colors(self, source: Any) -> np.ndarray | None:
        if self._colour != _PALETTE:
            return None
        table = source.colormap(1)
        return np.array([table[k][:3] for k in range(len(table))], np.uint8)

    def _stored(self, pixels: np.ndarray, colors: np.ndarray | None, indices: bool) -> Stored:
        """What `decode` would make of these rows."""
        if self._colour == _GREY and self._bits == 1:
            pixels = pixels.astype(bool)
        elif self._colour == _GREY and self._bits < 8 and not indices:
            pixels = pixels * np.uint8(255 // (2**self._bits - 1))
        elif colors is not None and not indices:
            pixels, colors = colors[pixels[..., 0]], None
        return Stored(
            np.ascontiguousarray(pixels),
            self._colour in _ALPHA,
            None,
            colors,
            lossy=self._colour is None,
        )


@contextmanager
def large_png(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[GdalRows | None]:
    """`path` for reading in bands, where it is a PNG of more than `LARGE_PIXELS`, or a JPEG of more than
    `MAX_PIXELS`, that GDAL can read by rows; else None.

    Args:
        max_pixels: `data.max_pixels`, which holds here as in `decode`.

    Raises:
        DataError: more than `max_pixels`; cut short.
    """
    yield _look(path, max_pixels)


def claimed_by_rows(path: Path) -> int:
    """Pixels that a file claims which `large_png` could read, were `max_pixels` large enough; else 0.

    Asked of the header alone; one that claims more than its file can unfold to is not believed.
    """
    try:
        with open(path, "rb") as file:
            found = _kind(_head(file))
            n_bytes = file.seek(0, 2)
    except OSError:
        return 0
    if found is None or find_spec("rasterio") is None:
        return 0
    (height, width), bits, colour = found
    if colour is None:
        return height * width if height * width <= MOST_JPEG * n_bytes else 0
    samples = {2: 3, 4: 2, 6: 4}.get(colour, 1)
    row = width * bits * samples // 8 + 1
    return height * width if height * row <= _MOST_DEFLATE * n_bytes else 0


def _head(file: BinaryIO) -> bytes:
    """The part of a file that says its size; of a PNG its first bytes."""
    head = file.read(4096)
    return head + file.read(1 << 20) if head.startswith(JPEG_SIGNATURE) else head


def _kind(head: bytes) -> tuple[tuple[int, int], int, int | None] | None:
    """(H, W), bits and colour type (None: JPEG) of a file that can be read by rows; None: it cannot."""
    if head.startswith(PNG_SIGNATURE) and len(head) > 29:
        width, height, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", head, 16)
        odd = interlaced or (bits == 16 and colour == 4) or b"tRNS" in head
        return None if odd else ((height, width), bits, colour)
    if head.startswith(JPEG_SIGNATURE):
        at = 2
        while at + 9 < len(head) and head[at] == 0xFF:
            if head[at + 1] in (0xC0, 0xC1):
                bits, height, width, bands = struct.unpack_from(">BHHB", head, at + 4)
                return ((height, width), bits, None) if bits == 8 and bands in (1, 3) else None
            if 0xC2 <= head[at + 1] <= 0xCF and head[at + 1] not in (0xC4, 0xC8, 0xCC):
                return None
            at += 2 + struct.unpack_from(">H", head, at + 2)[0]
    return None


def _look(path: Path, max_pixels: int) -> GdalRows | None:
    try:
        with open(path, "rb") as file:
            found = _kind(_head(file))
    except OSError:
        return None  # `decode` says what is wrong with it
    if found is None:
        return None
    (height, width), bits, colour = found
    if height * width <= (LARGE_PIXELS if colour is not None else MAX_PIXELS):
        return None
    if height * width > max_pixels:
        raise DataError(
            f"{path}: claims {height} x {width} pixels, more than {max_pixels}; raise data.max_pixels"
            " (it is then read in bands of rows, by rasterio: pip install 'comp[geo]'), save it as"
            " tif, or cut it into tiles first"
        )
    if find_spec("rasterio") is None:
        return None
    try:
        if colour is None:
            data = read_bytes(path)
            check_scans(data, jpeg_header(data))
        else:
            with open(path, "rb") as raw, mmap(raw.fileno(), 0, access=ACCESS_READ) as mapped:
                png_header(mapped)
    except (ValueError, struct.error) as error:
        raise DataError(f"{path}: broken or cut short: {error}") from error
    return GdalRows(path, (height, width), bits, colour)
