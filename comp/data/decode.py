"""Bytes of one image file -> the stored numbers, judged by content and never by the file's name.

Refuses what is cut short, empty, too large, many-paged or no image; never turns or mixes anything.
PNG and JPEG: structure checked in headers.py, then OpenCV (1.25 times Pillow's speed, same pixels);
tif: tifffile (Pillow cuts 16-bit colour to 8 bits, OpenCV loses bands); the rest: Pillow.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from comp.data.headers import JPEG_SIGNATURE, PNG_SIGNATURE, Header, jpeg_header, png_header
from comp.errors import DataError

EXTENSIONS = ("png", "jpg", "jpeg", "tif", "tiff", "webp", "bmp")
MAX_PIXELS = 178_956_970  # the size above which Pillow calls a picture a decompression bomb
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PILLOW = ("PNG", "JPEG", "WEBP", "BMP")

# MAX_PIXELS is checked here, before anything is decoded; Pillow's warning below it says nothing.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Stored:
    """What a file stores.

    Args:
        pixels: (H, W, C), rows first, RGB order; bool for 1-bit files, else the file's own dtype.
        alpha: the last band is transparency.
    """

    pixels: np.ndarray
    alpha: bool


def read_bytes(path: Path) -> bytes:
    """Return the bytes of `path`.

    Raises:
        DataError: missing, unreadable or empty.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"missing file: {path}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if not data:
        raise DataError(f"{path}: empty file (0 bytes); expected an image")
    return data


def read_size(path: Path) -> tuple[int, int]:
    """Return (height, width) as stored, from the header alone.

    Raises:
        DataError: when the file is missing or its header is no image's.
    """
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
            if not magic:
                raise DataError(f"{path}: empty file (0 bytes); expected an image")
            if magic in _TIFF:
                import tifffile

                with tifffile.TiffFile(path) as tif:
                    page: Any = tif.pages[0]
                    return int(page.imagelength), int(page.imagewidth)
            file.seek(0)
            with Image.open(file, formats=_PILLOW) as image:
                return image.height, image.width
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"missing file: {path}") from error
    except Exception as error:  # decoders raise struct.error, KeyError, ... on broken files
        raise _unreadable(path, error) from error


def decode(path: Path, indices: bool = False) -> Stored:
    """Read one file as stored.

    Args:
        indices: keep the indices of a palette and the numbers of 2- and 4-bit greys (masks);
            otherwise palettes become RGB and such greys fill 0..255 (images).

    Raises:
        DataError: naming the file and the reason.
    """
    data = read_bytes(path)
    try:
        if data[:4] in _TIFF:
            return _from_tiff(path, data, indices)
        header = None
        if data.startswith(PNG_SIGNATURE):
            header = png_header(data)
        elif data.startswith(JPEG_SIGNATURE):
            header = jpeg_header(data)
        if header is not None:
            _check_pixels(path, header.height, header.width)
            if header.plain:
                return _from_opencv(data, header)
        return _from_pillow(path, data, indices, header)
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{path}: not enough memory to decode it") from error
    except (
        Exception
    ) as error:  # decoders raise struct.error, zlib.error, KeyError, ... on broken files
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    """Say that `path` cannot be decoded, and why."""
    if isinstance(error, Image.DecompressionBombError):
        return DataError(f"{path}: claims more than {MAX_PIXELS} pixels; cut it into tiles first")
    if isinstance(error, Image.UnidentifiedImageError):
        return DataError(
            f"{path}: not an image; expected the content of one of {', '.join(EXTENSIONS)}"
        )
    if "imagecodecs" in str(error):
        return DataError(f"{path}: a compressed tif; reading it needs `pip install imagecodecs`")
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(f"{path}: broken or cut short: {said}")


def _check_pixels(path: Path, height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise DataError(f"{path}: {height} x {width} pixels; expected at least 1 x 1")
    if height * width > MAX_PIXELS:
        raise DataError(
            f"{path}: claims {height} x {width} pixels, more than {MAX_PIXELS};"
            " cut it into tiles first"
        )


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
    return Stored(pixels, header.bands == 4)


def _from_pillow(path: Path, data: bytes, indices: bool, header: Header | None) -> Stored:
    with Image.open(io.BytesIO(data), formats=_PILLOW) as image:
        _check_pixels(path, image.height, image.width)
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise DataError(f"{path}: {getattr(image, 'n_frames', 0)} frames; expected one picture")
        if header is not None and header.bits == 16 and header.bands == 2:
            raise DataError(f"{path}: 16-bit grey with alpha; save it without alpha")
        image.load()
        shown: Image.Image = image
        if (image.mode == "P" and not indices) or image.mode in ("CMYK", "YCbCr"):
            shown = image.convert("RGB")
        pixels = np.array(shown)
        # Pillow spreads 2- and 4-bit greys over 0..255; a mask wants its numbers back.
        if indices and image.mode == "L" and header is not None and header.bits in (2, 4):
            pixels = pixels // (255 // (2**header.bits - 1))
        alpha = shown.mode in ("RGBA", "LA", "PA")
    return Stored(pixels if pixels.ndim == 3 else pixels[..., None], alpha)


def _from_tiff(path: Path, data: bytes, indices: bool) -> Stored:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages: list[Any] = [p for p in file.pages if not (p.is_reduced or p.is_mask)]  # type: ignore[union-attr]
        if len(pages) != 1:
            raise DataError(f"{path}: {len(pages)} pages; expected one picture in a tif")
        page = pages[0]
        _check_pixels(path, page.imagelength, page.imagewidth)
        for start, length in zip(page.dataoffsets, page.databytecounts, strict=False):
            if start + length > len(data):
                raise ValueError(
                    f"pixels up to byte {start + length} in a file of {len(data)} bytes"
                )
        pixels = _tiff_pixels(page, data)
        if page.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        elif page.axes not in ("YX", "YXS"):
            raise DataError(f"{path}: axes {page.axes}; expected one plane of pixels")
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        kind = page.photometric.name if page.photometric is not None else "MINISBLACK"
        if kind in ("SEPARATED", "CIELAB", "ICCLAB"):
            raise DataError(
                f"{path}: a tif in {kind} colours; expected grey, RGB, palette or plain bands"
            )
        if kind == "PALETTE" and not indices:
            pixels = (page.colormap.T[pixels[..., 0]] >> 8).astype(np.uint8)
        elif kind == "MINISWHITE" and pixels.dtype.kind in "ub":
            pixels = ~pixels
        alpha = any(e.name in ("ASSOCALPHA", "UNASSALPHA") for e in (page.extrasamples or ())[-1:])
    return Stored(np.ascontiguousarray(pixels), alpha)


def _tiff_pixels(page: Any, data: bytes) -> np.ndarray:
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
