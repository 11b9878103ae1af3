"""One image file -> the array that everything later takes, by one rule for train and test.

Orientation tags are ignored for images and masks alike (both keep their stored pixels); 16-bit and
float images are scaled by their dtype, never each by itself. Masks: labels.py, shown here too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from comp.data.decode import decode, read_size
from comp.data.labels import read_labels, read_mask_values
from comp.errors import DataError

__all__ = ["read_image", "read_labels", "read_mask_values", "read_size"]


def read_image(path: Path, channels: int) -> np.ndarray:
    """Read an image with `channels` bands.

    A file with exactly `channels` bands is taken as it is. Otherwise a transparency band is
    dropped, one band is repeated to 3, and RGB becomes one band by luminance (ITU-R 601).
    Palettes are expanded. Anything else is an error, for train and test alike.

    Returns:
        (H, W, channels), rows first, RGB order; uint8 as stored, else float32 in [0, 1].

    Raises:
        DataError: unreadable, another number of bands, or float values outside [0, 1].
    """
    stored = decode(path)
    pixels = stored.pixels
    if stored.alpha and pixels.shape[2] != channels:
        pixels = pixels[..., :-1]
    pixels = _unit(path, pixels)
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


def _unit(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Stored numbers -> uint8, or float32 in [0, 1] by the dtype's full range."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype.kind in "ui":
        if pixels.dtype.kind == "i" and pixels.min() < 0:
            raise DataError(
                f"{path}: {pixels.dtype} pixels down to {pixels.min()}; expected no negative values"
            )
        return (pixels / np.float64(np.iinfo(pixels.dtype).max)).astype(np.float32)
    if pixels.dtype.kind != "f":
        raise DataError(f"{path}: {pixels.dtype} pixels; expected integers or floats")
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0.0 and high <= 1.0):  # also NaN
        raise DataError(
            f"{path}: float pixels from {low:g} to {high:g}; expected [0, 1], scale the files first"
        )
    return pixels.astype(np.float32)


def _luminance(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (H, W, 1) of the same dtype; equal bands keep their value."""
    if pixels.dtype == np.uint8:
        weighted = pixels.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)
        return ((weighted + 0x8000) >> 16).astype(np.uint8)[..., None]
    weights = np.array([0.299, 0.587, 0.114], np.float64)
    return (pixels.astype(np.float64) @ weights).astype(np.float32)[..., None]
