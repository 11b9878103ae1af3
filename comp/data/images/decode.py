"""Bytes of one image file -> the stored numbers, judged by content and never by the file's name.

Refuses what is cut short, empty, too large, many-paged or no image; never turns or mixes anything.
PNG and JPEG: structure checked in headers.py, then OpenCV (1.25 times Pillow's speed, same pixels);
tif: see tif.py; the rest: Pillow.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from comp.config.competition import MAX_PIXELS
from comp.data.images.headers import JPEG_SIGNATURE, PNG_SIGNATURE, Header, jpeg_header, png_header
from comp.data.images.tif import SIGNATURES, check_claim, read_tif, tif_size
from comp.errors import DataError

EXTENSIONS = ("png", "jpg", "jpeg", "tif", "tiff", "webp", "bmp", "gif")
# Opened by class, not by Image.open: that has a limit of its own, which no config can raise.
_PILLOW: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (PNG_SIGNATURE, PngImageFile),
    (JPEG_SIGNATURE, JpegImageFile),
    (b"RIFF", WebPImageFile),
    (b"BM", BmpImageFile),
    (b"GIF8", GifImageFile),
)
_UNTOLD = 128  # what JPEG decoders show, without a word, where a file has no more to say


@dataclass(frozen=True)
class Stored:
    """What a file stores.

    Args:
        pixels: (H, W, C), rows first, RGB order; bool for 1-bit files, else the file's own dtype.
        alpha: the last band is transparency.
        top: the largest number that an unsigned sample can hold (4095 for 12 bits); None: the dtype's.
        colors: (N, 3) uint8, the palette, where `pixels` are its indices.
        lossy: compressed with loss, so numbers near an edge are not what was drawn.
    """

    pixels: np.ndarray
    alpha: bool
    top: int | None = None
    colors: np.ndarray | None = None
    lossy: bool = False


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
    """Return (height, width) as stored, from the header alone; a header may claim any size.

    Raises:
        DataError: when the file is missing or its header is no image's.
    """
    try:
        with open(path, "rb") as file:
            magic = file.read(8)
            if not magic:
                raise DataError(f"{path}: empty file (0 bytes); expected an image")
            if magic[:4] in SIGNATURES:
                return tif_size(path)
            file.seek(0)
            with _opened(file, magic) as image:
                return image.height, image.width
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"missing file: {path}") from error
    except Exception as error:  # decoders raise struct.error, KeyError, ... on broken files
        raise _unreadable(path, error) from error


def decode(path: Path, indices: bool = False, max_pixels: int = MAX_PIXELS) -> Stored:
    """Read one file as stored.

    Args:
        indices: keep the indices of a palette and the numbers of 2- and 4-bit greys and of tif
            files whose 0 is white (masks); otherwise palettes become RGB, such greys fill 0..255 and
            0 is black (images).
        max_pixels: a file that claims more is refused before it is decoded.

    Raises:
        DataError: naming the file and the reason.
    """
    data = read_bytes(path)
    try:
        if data[:4] in SIGNATURES:
            tif = read_tif(path, data, indices, max_pixels)
            return Stored(tif.pixels, tif.alpha, tif.top, tif.colors, tif.lossy)
        header = None
        if data.startswith(PNG_SIGNATURE):
            header = png_header(data)
        elif data.startswith(JPEG_SIGNATURE):
            header = jpeg_header(data)
        if header is not None:
            check_claim(path, header.height, header.width, max_pixels)
            if header.plain:
                return _from_opencv(data, header)
        return _from_pillow(path, data, indices, header, max_pixels)
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{path}: not enough memory to decode it") from error
    except Exception as error:  # struct.error, zlib.error, KeyError, ... on broken files
        raise _unreadable(path, error) from error


def _opened(file: Any, magic: bytes) -> ImageFile:
    """The picture behind an open file, its header read and its pixels not."""
    for signature, kind in _PILLOW:
        if magic.startswith(signature):
            try:
                return kind(file)
            except SyntaxError as error:  # what Pillow's classes say of a foreign header
                raise ValueError(str(error)) from error
    raise UnidentifiedImageError("no known signature")


def _unreadable(path: Path, error: Exception) -> DataError:
    """Say that `path` cannot be decoded, and why."""
    if isinstance(error, UnidentifiedImageError):
        return DataError(
            f"{path}: not an image; expected the content of one of {', '.join(EXTENSIONS)}"
        )
    if "imagecodecs" in str(error):
        return DataError(f"{path}: a compressed tif; reading it needs `pip install imagecodecs`")
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(f"{path}: broken or cut short: {said}")


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
    lossy = data.startswith(JPEG_SIGNATURE)
    if lossy and (header.rough or (pixels[-1, -1] == _UNTOLD).all()) and _wants_more(data, header):
        raise ValueError("its pixels end before the picture does")
    return Stored(pixels, header.bands == 4, lossy=lossy)


def _wants_more(data: bytes, header: Header) -> bool:
    """Whether a JPEG's last scan is cut short: only then do bytes put before its end mark show.

    Asked where the last pixel is the grey of what was never told, or whole scans are missing: elsewhere
    a second look would cost as much as the first. Not found: a progressive file cut in its last scan.
    """
    noise = np.random.default_rng(0).integers(1, 255, 1024, np.uint8).tobytes()
    # with restart marks: where a file has them, nothing is taken as pixels before the next one
    more = noise + b"".join(b"\xff%c" % (0xD0 + n % 8) + noise[n * 9 :][:99] for n in range(16))
    looks = []
    for one in (data, data[: header.end] + more + data[header.end :]):
        with JpegImageFile(io.BytesIO(one)) as image:
            if not header.rough:
                image.draft("L", (header.width // 8, header.height // 8))  # blocks' means, fast
            looks.append(np.array(image))
    return not np.array_equal(looks[0], looks[1])


def _from_pillow(
    path: Path, data: bytes, indices: bool, header: Header | None, max_pixels: int
) -> Stored:
    with _opened(io.BytesIO(data), data[:16]) as image:
        check_claim(path, image.height, image.width, max_pixels)
        if getattr(image, "n_frames", 1) > 1:
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
        colors = None
        if shown.mode in ("P", "PA"):
            colors = np.array(shown.getpalette("RGB") or (), np.uint8).reshape(-1, 3)
        alpha = shown.mode in ("RGBA", "LA", "PA")
        lossy = data.startswith(JPEG_SIGNATURE) or data[12:16] == b"VP8 "
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return Stored(pixels, alpha, None, colors, lossy)
