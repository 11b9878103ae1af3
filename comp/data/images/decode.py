"""Bytes of one image file -> the stored numbers, judged by content and never by the file's name.

Refuses what is cut short, empty, too large, many-paged or no image; never turns or mixes anything.
PNG and JPEG: checked in headers.py and jpeg_scans.py, then OpenCV (1.25 times Pillow's speed, same pixels);
tif: see tif.py; the rest: Pillow.
"""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from comp.config.competition import MAX_PIXELS
from comp.data.images.headers import PNG_SIGNATURE, Header, png_header
from comp.data.images.jp2 import CODES_SIGNATURE, JP2_SIGNATURE, jp2_header
from comp.data.images.jpeg import JPEG_SIGNATURE, JpegHeader, jpeg_header
from comp.data.images.jpeg_scans import check_scans
from comp.data.images.kinds import foreign_kind
from comp.data.images.tif import SIGNATURES, check_claim, read_tif, tif_size
from comp.errors import DataError

EXTENSIONS = ("png", "jpg", "jpeg", "tif", "tiff", "webp", "bmp", "gif", "jp2", "j2k")
# Opened by class, not by Image.open: that has a limit of its own, which no config can raise.
_PILLOW: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (PNG_SIGNATURE, PngImageFile),
    (JPEG_SIGNATURE, JpegImageFile),
    (b"RIFF", WebPImageFile),
    (b"BM", BmpImageFile),
    (b"GIF8", GifImageFile),
    (JP2_SIGNATURE, Jpeg2KImageFile),
    (CODES_SIGNATURE, Jpeg2KImageFile),
)


@dataclass(frozen=True)
class Stored:
    """What a file stores.

    Args:
        pixels: (H, W, C), rows first, RGB order; bool for 1-bit files, else the file's own dtype.
        alpha: the last band is transparency.
        top: the largest number that an unsigned sample can hold (4095 for 12 bits); None: the dtype's.
        colors: (N, 3) uint8, the palette, where `pixels` are its indices.
        lossy: compressed with loss, so numbers near an edge are not what was drawn.
        white: a tif whose 0 is white; `pixels` are turned over, so that the largest number is white.
    """

    pixels: np.ndarray
    alpha: bool
    top: int | None = None
    colors: np.ndarray | None = None
    lossy: bool = False
    white: bool = False


def read_bytes(path: Path) -> bytes:
    """Return the bytes of `path`.

    Raises:
        DataError: missing, unreadable or empty.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unopened(path, error) from error
    if not data:
        raise DataError(f"{path}: empty file (0 bytes); expected an image")
    return data


def _unopened(path: Path, error: OSError) -> DataError:
    """Say why a file cannot be opened."""
    if isinstance(error, FileNotFoundError):
        if path.is_symlink():
            return DataError(
                f"missing file: {path} is a link to {os.readlink(path)}, which is not there"
            )
        return DataError(f"missing file: {path}")
    return DataError(f"cannot read {path}: {error.strerror or error}")


def read_size(path: Path) -> tuple[int, int]:
    """Return (height, width) as stored, from the header alone; a header may claim any size.

    Raises:
        DataError: when the file is missing or its header is no image's.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise _unopened(path, error) from error
    with file:
        start = b""
        try:
            start = file.read(512)
            if not start:
                raise DataError(f"{path}: empty file (0 bytes); expected an image")
            if start[:4] in SIGNATURES:
                return tif_size(path)
            if start.startswith(PNG_SIGNATURE) and start[12:16] == b"IHDR":
                width, height = struct.unpack_from(">II", start, 16)
                return height, width
            file.seek(0)
            with _opened(file, start) as image:
                return image.height, image.width
        except DataError:
            raise
        except Exception as error:  # decoders raise struct.error, KeyError, ... on broken files
            raise _unreadable(path, error, start) from error


def decode(path: Path, indices: bool = False, max_pixels: int = MAX_PIXELS) -> Stored:
    """Read one file as stored.

    Args:
        indices: keep the indices of a palette and the numbers of 2- and 4-bit greys (masks);
            otherwise palettes become RGB and such greys fill 0..255 (images). Grey tif files whose
            0 is white are turned over either way: the largest number is white, as it is shown.
        max_pixels: a file that claims more is refused before it is decoded.

    Raises:
        DataError: naming the file and the reason.
    """
    data = read_bytes(path)
    try:
        if data[:4] in SIGNATURES:
            tif = read_tif(path, data, indices, max_pixels)
            return Stored(tif.pixels, tif.alpha, tif.top, tif.colors, tif.lossy, tif.white)
        header: Header | None = None
        if data.startswith(PNG_SIGNATURE):
            header = png_header(data)
        elif data.startswith(JPEG_SIGNATURE):
            header = jpeg_header(data)
        elif data.startswith((JP2_SIGNATURE, CODES_SIGNATURE)):
            header = jp2_header(data)
        if header is not None:
            check_claim(path, header.height, header.width, max_pixels)
            if isinstance(header, JpegHeader):
                check_scans(data, header)
            if header.plain and data.startswith((PNG_SIGNATURE, JPEG_SIGNATURE)):
                return _from_opencv(data, header)
        return _from_pillow(path, data, indices, header, max_pixels)
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{path}: not enough memory to decode it") from error
    except Exception as error:  # struct.error, zlib.error, KeyError, ... on broken files
        raise _unreadable(path, error, data) from error


def _opened(file: Any, magic: bytes) -> ImageFile:
    """The picture behind an open file, its header read and its pixels not."""
    for signature, kind in _PILLOW:
        if magic.startswith(signature):
            try:
                return kind(file)
            except SyntaxError as error:  # what Pillow's classes say of a foreign header
                raise ValueError(str(error)) from error
    raise UnidentifiedImageError("no known signature")


def _unreadable(path: Path, error: Exception, start: bytes) -> DataError:
    """Say that `path`, which begins so, cannot be decoded, and why."""
    if isinstance(error, UnidentifiedImageError):
        told = (
            foreign_kind(start[:512]) or f"expected the content of one of {', '.join(EXTENSIONS)}"
        )
        return DataError(f"{path}: not an image that can be read; {told}")
    if isinstance(error, Image.DecompressionBombError):
        return DataError(f"{path}: too many pixels for a WebP or GIF; save it as tif")
    if "imagecodecs" in str(error):
        return DataError(f"{path}: a compressed tif; reading it needs `pip install imagecodecs`")
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(f"{path}: broken or cut short: {said}; get it again, or save it anew")


def _from_opencv(data: bytes, header: Header) -> Stored:
    import cv2

    raw = np.frombuffer(data, np.uint8)
    if header.bands == 3 and header.bits == 8 and hasattr(cv2, "IMREAD_COLOR_RGB"):
        pixels = cv2.imdecode(raw, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    else:
        pixels = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)  # this flag turns nothing
        if pixels is not None and pixels.ndim == 3:
            code = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
            pixels = cv2.cvtColor(pixels, code)
    if pixels is None:
        raise ValueError("its pixels cannot be decoded")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape != (header.height, header.width, header.bands):
        raise ValueError(f"decoded to {pixels.shape}, its header says {header}")
    return Stored(pixels, header.bands == 4, lossy=data.startswith(JPEG_SIGNATURE))


def _from_pillow(
    path: Path, data: bytes, indices: bool, header: Header | None, max_pixels: int
) -> Stored:
    with _opened(io.BytesIO(data), data[:16]) as image:
        check_claim(path, image.height, image.width, max_pixels)
        if getattr(image, "n_frames", 1) > 1:
            raise DataError(f"{path}: {getattr(image, 'n_frames', 0)} frames; expected one picture")
        if header is not None:
            _check_deep(path, data, header)
        image.load()
        shown: Image.Image = image
        if (image.mode == "P" and not indices) or image.mode in ("CMYK", "YCbCr"):
            image.info.pop("transparency", None)  # of a palette; it is not asked for
            shown = image.convert("RGB")
        pixels = np.array(shown)
        # Pillow spreads 2- and 4-bit greys over 0..255; a mask wants its numbers back.
        if indices and image.mode == "L" and header is not None and header.bits in (2, 4):
            pixels = pixels // (255 // (2**header.bits - 1))
        colors = None
        if image.mode in ("P", "PA"):
            colors = np.array(image.getpalette("RGB") or (), np.uint8).reshape(-1, 3)
            if not indices and (last := int(np.array(image).max(initial=0))) >= len(colors):
                raise ValueError(f"index {last} in a palette of {len(colors)} colours")
            colors = colors if indices or image.mode == "PA" else None
        alpha = shown.mode in ("RGBA", "LA", "PA")
        lossy = data.startswith(JPEG_SIGNATURE) or data[12:16] == b"VP8 "
        lossy = lossy or (data[12:16] == b"VP8X" and b"VP8L" not in data[: 1 << 16])
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return Stored(pixels, alpha, None, colors, lossy)


def _check_deep(path: Path, data: bytes, header: Header) -> None:
    """Refuse what Pillow would cut to 8 bits, or mix."""
    if data.startswith(PNG_SIGNATURE):
        if header.bits == 16 and header.bands == 2:
            raise DataError(f"{path}: 16-bit grey with alpha; save it without alpha")
        if header.bits == 16 and header.bands > 2:
            raise DataError(f"{path}: 16-bit colours with a transparent one; save it without that")
    elif not data.startswith(JPEG_SIGNATURE):
        whole = header.bits in (8, 16) if header.bands == 1 else header.bits == 8
        if not header.plain or not whole or header.bands > 4:
            raise DataError(
                f"{path}: JPEG 2000 of {header.bands} bands of {header.bits} bits, of which only 8 bits"
                " (16 of one band) and 1 to 4 bands of one size can be read; convert it to tif"
            )
