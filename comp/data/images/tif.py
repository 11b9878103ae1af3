"""One tif -> its numbers: any count of bands, planar order, depth and photometric tag that shows plain bands.

tifffile reads (Pillow cuts 16-bit colour to 8 bits, OpenCV loses bands). What the file claims is
checked against what it holds, and against the limit, before anything is decoded.
"""

from __future__ import annotations

import io
import logging
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np

from comp.errors import DataError

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BYTES_A_PIXEL = 8  # the limit of pixels, times this, is the limit of decoded bytes
# what tifffile says of broken files goes unnamed to the terminal; here they are errors, with their name
logging.getLogger("tifffile").addHandler(logging.NullHandler())
_DEFLATE = (8, 32946, 50013)
_LZMA = 34925
_JPEG = (6, 7)
_SMALL = 1 << 16  # bytes: a part below this cannot unfold to more than 64 MiB by deflate
_PLAIN = ("MINISWHITE", "MINISBLACK", "RGB", "PALETTE", "YCBCR")
_MOST_PAGES = 64
_MOST_BANDS = 16  # a page no wider than this is hardly a picture


@dataclass(frozen=True)
class TifPixels:
    """What a tif stores.

    Args:
        pixels: (H, W, C), rows first; bool for 1-bit files.
        alpha: the last band is transparency.
        top: the largest number that a sample of integers can hold (4095 for 12 bits), else None.
        colors: (N, 3) uint8, the palette, where `pixels` are its indices.
        lossy: compressed as JPEG.
        white: the file's 0 is white (MINISWHITE): `pixels` are the stored numbers turned over.
    """

    pixels: np.ndarray
    alpha: bool
    top: int | None
    colors: np.ndarray | None
    lossy: bool
    white: bool = False


def tif_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of the page that `read_tif` decodes, from its tags alone.

    Raises:
        DataError: several pages.
    """
    import tifffile

    with tifffile.TiffFile(path) as tif:
        page = one_page(path, tif)
        return int(page.imagelength), int(page.imagewidth)


def read_tif(path: Path, data: bytes, indices: bool, max_pixels: int) -> TifPixels:
    """Decode the one picture of a tif; smaller copies of it (overviews) are passed over.

    Args:
        indices: keep the indices of a palette, otherwise it becomes RGB. A grey whose 0 is white
            is turned over either way, so that its largest number is white, as it is shown.

    Raises:
        DataError: naming the file: several pages, too large, or colours that are no plain bands.
        ValueError, struct.error, ...: of the decoder, on broken files.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = one_page(path, file)
        check_colours(path, page)
        _check_claims(path, page, max_pixels)
        check_parts(page, data)
        pixels = _decoded(page, data)
        if page.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        elif page.axes not in ("YX", "YXS"):
            raise DataError(
                f"{path}: axes {page.axes}; expected one plane of pixels: save its slices as files"
            )
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        return show_pixels(page, pixels, indices)


def check_colours(path: Path, page: Any) -> None:
    """Refuse a page whose colours are no plain bands."""
    kind = page.photometric.name if page.photometric is not None else "MINISBLACK"
    if kind not in _PLAIN or (kind == "YCBCR" and int(page.compression) not in _JPEG):
        raise DataError(
            f"{path}: a tif in {kind} colours; expected grey, RGB, palette or plain bands:"
            " convert it to RGB"
        )


def show_pixels(page: Any, pixels: np.ndarray, indices: bool) -> TifPixels:
    """What stored samples (h, W, C), of the whole page or some of its rows, mean: palette, MINISWHITE, alpha."""
    kind = page.photometric.name if page.photometric is not None else "MINISBLACK"
    bits = int(page.bitspersample)
    top = (1 << bits) - 1 if pixels.dtype.kind == "u" and bits < 64 else None
    colors = None
    if kind == "PALETTE":
        colors = (page.colormap.T >> 8).astype(np.uint8)
        if not indices:
            pixels, colors, top = colors[pixels[..., 0]], None, 255
    alpha = any(e.name in ("ASSOCALPHA", "UNASSALPHA") for e in (page.extrasamples or ())[-1:])
    white = kind == "MINISWHITE" and pixels.dtype.kind in "ub"
    if white:
        shades = pixels[..., :1]
        turned = ~shades if top is None else np.subtract(top, shades, dtype=pixels.dtype)
        pixels = np.concatenate([turned, pixels[..., 1:]], axis=2)
    lossy = int(page.compression) in _JPEG
    return TifPixels(np.ascontiguousarray(pixels), alpha, top, colors, lossy, white)


def one_page(path: Path, file: Any) -> Any:
    """The page that is neither an overview nor a mask of transparency."""
    pages = []
    for number, page in enumerate(file.pages):
        if number >= _MOST_PAGES:
            raise DataError(f"{path}: more than {_MOST_PAGES} pages; {_say_pages(file)}")
        if not (page.is_reduced or page.is_mask):
            pages.append(page)
    if len(pages) != 1:
        raise DataError(f"{path}: {len(pages)} pages; {_say_pages(file)}")
    return pages[0]


def _say_pages(file: Any) -> str:
    """What was expected instead of many pages; pages of few columns are the rows of one picture."""
    first = file.pages[0]
    told = (
        "expected one picture in a tif: save each page as a file of its own, or the pages as the bands"
        " of one picture"
    )
    if first.imagewidth <= _MOST_BANDS < first.imagelength:
        told += (
            f". Pages of {first.imagelength} x {first.imagewidth} (height x width) look like the rows"
            f" of one picture with {first.imagewidth} bands: write it with tifffile.imwrite(path,"
            " pixels, photometric='minisblack', planarconfig='contig')"
        )
    return told


def _check_claims(path: Path, page: Any, max_pixels: int) -> None:
    """Refuse a page, or a tile of it, that claims more than the limit."""
    height, width = int(page.imagelength), int(page.imagewidth)
    check_claim(path, height, width, max_pixels)
    if page.is_tiled and int(page.tilelength) * int(page.tilewidth) > max_pixels:
        raise DataError(
            f"{path}: claims tiles of {page.tilelength} x {page.tilewidth} pixels, more than {max_pixels}"
        )
    if page.nbytes > BYTES_A_PIXEL * max_pixels:
        raise DataError(
            f"{path}: claims {height} x {width} pixels of {page.samplesperpixel} bands,"
            f" {page.nbytes >> 20} MiB; the limit is {BYTES_A_PIXEL} bytes for each of"
            f" {max_pixels} pixels: raise data.max_pixels, or cut it into tiles first"
        )


def check_claim(path: Path, height: int, width: int, max_pixels: int) -> None:
    """Refuse a size of nothing, or of more than the limit.

    Raises:
        DataError: naming the file and both numbers.
    """
    if height < 1 or width < 1:
        raise DataError(f"{path}: {height} x {width} pixels; expected at least 1 x 1")
    if height * width > max_pixels:
        raise DataError(
            f"{path}: claims {height} x {width} pixels, more than {max_pixels};"
            " cut it into tiles first, or raise data.max_pixels"
        )


def check_parts(page: Any, data: bytes | mmap) -> None:
    """Refuse strips and tiles that lie outside the file or unfold to more than they may."""
    high, wide = (
        (page.tilelength, page.tilewidth)
        if page.is_tiled
        else (min(page.rowsperstrip or page.imagelength, page.imagelength), page.imagewidth)
    )
    bands = 1 if page.planarconfig == 2 else int(page.samplesperpixel)
    wanted = (
        -(-int(wide) * bands * int(page.bitspersample) // 8) * int(high) * int(page.imagedepth or 1)
    )
    compression = int(page.compression)
    if len(page.dataoffsets) != len(page.databytecounts) or len(page.dataoffsets) < prod(
        page.chunked
    ):
        raise ValueError(f"{len(page.dataoffsets)} parts of pixels, expected {prod(page.chunked)}")
    # GDAL leaves out parts without data; in any other file they were never written
    if not page.is_geotiff and 0 in page.databytecounts:
        raise ValueError(f"{page.databytecounts.count(0)} of its parts hold no pixels")
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        if start + length > len(data):
            raise ValueError(f"pixels up to byte {start + length} in a file of {len(data)} bytes")
        part = memoryview(data)[start : start + length]
        if compression in _JPEG:
            for tall, broad in _jpeg_sizes(bytes(part[: 1 << 20])):
                if tall > max(int(high), 8) or broad > max(int(wide), 8):
                    raise ValueError(
                        f"a part claims {tall} x {broad} pixels, expected {high} x {wide}"
                    )
        elif compression == _LZMA or (compression in _DEFLATE and length > _SMALL):
            _check_unfolds(part, wanted, compression)


def _check_unfolds(part: memoryview, wanted: int, compression: int) -> None:
    """Unfold a part piece by piece and drop it: without imagecodecs nothing else stops at `wanted`."""
    try:
        import imagecodecs  # noqa: F401

        return  # its decoders write into an array of the right size
    except ImportError:
        pass
    import lzma

    # both take (data, max_length) and say eof; deflate keeps what it has not read apart
    unfold: Any = lzma.LZMADecompressor() if compression == _LZMA else zlib.decompressobj()
    seen, rest = 0, bytes(part)
    while not unfold.eof:
        piece = unfold.decompress(rest, 1 << 20)
        seen += len(piece)
        if seen > wanted:
            raise ValueError(f"a part unfolds to more than the {wanted} bytes it should")
        rest = b"" if compression == _LZMA else unfold.unconsumed_tail
        if not piece and not rest:
            return  # cut short: the decoder says so


def _jpeg_sizes(part: bytes) -> Iterator[tuple[int, int]]:
    """(height, width) that the frames of a JPEG stream claim."""
    at = 2
    while at + 9 <= len(part) and part[at] == 0xFF:
        marker = part[at + 1]
        if marker == 0xDA:
            return
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            yield struct.unpack_from(">HH", part, at + 5)
        at += 2 + struct.unpack_from(">H", part, at + 2)[0]


def _decoded(page: Any, data: bytes) -> np.ndarray:
    """The page's pixels; by OpenCV where tifffile lacks the codec (LZW, JPEG need imagecodecs)."""
    try:
        return np.asarray(page.asarray())
    except ValueError as error:
        simple = page.photometric.name in ("MINISBLACK", "RGB") and page.samplesperpixel in (1, 3)
        orientation = page.tags.get("Orientation")
        turned = orientation is not None and int(orientation.value) != 1  # OpenCV would turn it
        if "imagecodecs" not in str(error) or not simple or turned or page.bitspersample < 8:
            raise
    import cv2

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape != page.shape or pixels.dtype != page.dtype:
        raise ValueError("its compression needs `pip install imagecodecs`")
    return pixels[..., ::-1] if pixels.ndim == 3 else pixels
