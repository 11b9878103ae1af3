"""One image file -> the array that everything later takes, by one rule for train and test.

Orientation tags are ignored for images and masks alike (both keep their stored pixels); 16-bit and
float images are scaled as `data.scale` says, never each by itself. Masks: sources/labels.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from comp.config.competition import MAX_PIXELS, Data, Scale, scale_pairs
from comp.data.images.bands import files_of
from comp.data.images.decode import Stored, decode
from comp.errors import DataError


def read_image(path: Path, data: Data | int) -> np.ndarray:
    """Read an image with `data.channels` bands.

    A file with exactly that many bands is taken as it is. Otherwise a transparency band is dropped,
    one band is repeated to 3, and RGB becomes one band by luminance (ITU-R 601). Palettes are
    expanded. Anything else is an error, for train and test alike.

    Args:
        path: a file; or a `BandPath`: several of one size, one band each, in the order of the bands.
        data: the competition's data section, whose `channels`, `scale` and `max_pixels` decide; a
            number stands for that many channels and the default rules.

    Returns:
        (H, W, channels), rows first, RGB order; uint8 as stored, else float32 in [0, 1].

    Raises:
        DataError: unreadable, too large, another number of bands, or numbers that the scale refuses.
    """
    max_pixels = data.max_pixels if isinstance(data, Data) else MAX_PIXELS
    files = files_of(path)
    if len(files) > 1:
        return to_image(path, _stacked(files, max_pixels), data)
    return to_image(path, decode(path, max_pixels=max_pixels), data)


def _stacked(paths: Sequence[Path], max_pixels: int) -> Stored:
    """Files of one band each as the bands of one picture.

    Raises:
        DataError: naming the file with another size, another dtype or several bands.
    """
    parts = [decode(path, max_pixels=max_pixels) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        check_band(path, part.pixels, paths[0], parts[0].pixels)
    return Stored(np.concatenate([p.pixels for p in parts], axis=2), False, parts[0].top)


def check_band(path: Path, pixels: np.ndarray, first_path: Path, first: np.ndarray) -> None:
    """Refuse the file of a band, or some of its rows, that does not fit the first band's."""
    height, width, bands = pixels.shape
    if bands != 1:
        raise DataError(f"{path}: {bands} bands; expected one, as it is one band of an image")
    if (height, width) != first.shape[:2] or pixels.dtype != first.dtype:
        raise DataError(
            f"{path}: {height} x {width} {pixels.dtype}, but {first_path}, a band of the same"
            f" image, is {first.shape[0]} x {first.shape[1]} {first.dtype}"
        )


def to_image(path: Path, stored: Stored, data: Data | int) -> np.ndarray:
    """Turn what a file stores, or a window of it, into an image; see `read_image`.

    Args:
        path: for the messages.
    """
    channels, scale = (data.channels, data.scale) if isinstance(data, Data) else (data, "dtype")
    pixels = stored.pixels
    if stored.alpha and pixels.shape[2] != channels:
        pixels = pixels[..., :-1]
    pixels = _unit(path, pixels, stored.top) if scale == "dtype" else _linear(path, pixels, scale)
    bands = pixels.shape[2]
    if bands == channels:
        return np.ascontiguousarray(pixels)
    if bands == 1 and channels == 3:
        return np.repeat(pixels, 3, axis=2)
    if bands == 3 and channels == 1:
        return _luminance(pixels)
    raise DataError(
        f"{path}: {bands} bands, but data.channels is {channels};"
        f" set data.channels to {bands}, or convert the files"
    )


def _unit(path: Path, pixels: np.ndarray, top: int | None) -> np.ndarray:
    """Stored numbers -> uint8, or float32 in [0, 1] by the full range of the stored type."""
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype == np.uint8:
        return pixels if top in (None, 255) else pixels * np.uint8(255 // (top or 255))
    if pixels.dtype.kind in "ui":
        if pixels.dtype.kind == "i" and pixels.min() < 0:
            raise DataError(
                f"{path}: {pixels.dtype} pixels down to {pixels.min()}; expected no negative values:"
                " set data.scale to [low, high]"
            )
        return (pixels / np.float64(top or np.iinfo(pixels.dtype).max)).astype(np.float32)
    if pixels.dtype.kind != "f":
        raise DataError(f"{path}: {pixels.dtype} pixels; expected integers or floats")
    low, high = float(pixels.min(initial=0)), float(pixels.max(initial=0))
    if not (low >= 0.0 and high <= 1.0):  # also NaN
        there = pixels[np.isfinite(pixels)]
        lost = pixels.size - there.size
        low, high = (float(there.min()), float(there.max())) if there.size else (low, high)
        raise DataError(
            f"{path}: float pixels from {low:g} to {high:g}"
            + (f", and {lost} of {pixels.size} NaN or infinite" if lost else "")
            + "; expected [0, 1]: set data.scale to [low, high], what becomes 0 and 1"
            + (" (NaN becomes 0)" if lost else "")
        )
    return pixels.astype(np.float32)


def _linear(path: Path, pixels: np.ndarray, scale: Scale) -> np.ndarray:
    """Stored numbers -> float32 in [0, 1]: low becomes 0, high 1; beyond is cut off; NaN is low."""
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.dtype.kind not in "uif":
        raise DataError(f"{path}: {pixels.dtype} pixels; expected integers or floats")
    pairs = scale_pairs(scale)
    bands = pixels.shape[2]
    if len(pairs) not in (1, bands):
        raise DataError(
            f"{path}: {bands} bands, but data.scale has {len(pairs)} pairs [low, high];"
            " expected one for all bands, or one a band"
        )
    exact = np.dtype(np.float32 if pixels.dtype.itemsize <= 2 else np.float64)
    out = np.empty(pixels.shape, np.float32)
    for band in range(bands):
        low, high = pairs[band % len(pairs)]
        plane = (pixels[..., band].astype(exact) - low) / (high - low)
        out[..., band] = np.clip(plane, 0, 1)
    return np.nan_to_num(out, copy=False, nan=0.0)


def _luminance(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (H, W, 1) of the same dtype; equal bands keep their value."""
    if pixels.dtype == np.uint8:
        weighted = pixels.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)
        return ((weighted + 0x8000) >> 16).astype(np.uint8)[..., None]
    weights = np.array([0.299, 0.587, 0.114], np.float64)
    return (pixels.astype(np.float64) @ weights).astype(np.float32)[..., None]
