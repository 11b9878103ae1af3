"""Masks written as COCO counts, the plain way: pixel by pixel, five bits a character; and read again."""

from __future__ import annotations

import base64
import zlib

import numpy as np


def counts_of(mask: np.ndarray, order: str = "F") -> list[int]:
    """Lengths of the runs of 0, 1, 0, ..., down the columns (F) or along the rows (C)."""
    flat = mask.T.ravel() if order == "F" else mask.ravel()
    counts, value = [0], 0
    for pixel in flat.tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def coco_text(counts: list[int]) -> str:
    """COCO's packed text: differences to the count before the last, five bits a character."""
    out = []
    for i, count in enumerate(counts):
        x = count - (counts[i - 2] if i > 2 else 0)
        while True:
            bits, x = x & 31, x >> 5
            done = x == (-1 if bits & 16 else 0)
            out.append(chr(48 + bits + (0 if done else 32)))
            if done:
                break
    return "".join(out)


def zipped(text: str) -> str:
    """Packed text once more, with zlib and base64."""
    return base64.b64encode(zlib.compress(text.encode())).decode()


def slow_mask(text: str, height: int, width: int) -> np.ndarray:
    """Packed text -> (H, W) uint8 0/1, character by character and pixel by pixel."""
    counts: list[int] = []
    at = 0
    while at < len(text):
        x, shift, more = 0, 0, True
        while more:
            bits = ord(text[at]) - 48
            x |= (bits & 31) << shift
            more, at, shift = bool(bits & 32), at + 1, shift + 5
            if not more and bits & 16:
                x -= 1 << shift
        counts.append(x + (counts[-2] if len(counts) > 2 else 0))
    flat = [k % 2 for k, count in enumerate(counts) for _ in range(count)]
    return np.array(flat, np.uint8).reshape(width, height).T
