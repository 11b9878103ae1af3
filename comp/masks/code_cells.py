"""The text of one run-length cell -> its numbers, in whatever spelling; numpy only.

It reads what a stranger wrote in order to judge it: nothing raises, and no cell costs more memory
than a few times its own length. Decoding for use is `rle.parse`, which is strict.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

Spelling = Literal["numbers", "coco", "coco_zlib", "other"]
FAR = 1 << 34  # beyond any image that is drawn; larger numbers are read as this one
MAX_CELL = 1 << 23  # characters; longer cells are not looked at
MAX_PACKED = 1 << 20  # characters of COCO's compressed counts, which take far fewer
MARKERS = ("", "-1", "-", "1 0", "0 0", "nan", "None", "null", "NA", "0")
_DIGITS = b"0123456789 \t\r\n"


@dataclass(frozen=True)
class Cell:
    """One cell, taken apart.

    Args:
        numbers: (n,) int64 in [0, FAR]: as they stand there, or the counts of a COCO code.
    """

    spelling: Spelling
    numbers: np.ndarray


NOTHING = Cell("other", np.empty(0, np.int64))


def read_cell_text(text: str, n_pixels: int | None) -> Cell:
    """Take one cell apart.

    Args:
        n_pixels: of its image, None where unknown. COCO codes are told from other words by
            counting up to it.
    """
    text = text.strip()
    if not text or len(text) > MAX_CELL or text in MARKERS:
        return NOTHING
    data = text.encode("utf-8", "replace")
    if not data.translate(None, _DIGITS):
        # numbers of more digits than 64 bits hold come back as the largest: still FAR
        found = np.fromstring(text, dtype=np.int64, sep=" ")
        return Cell("numbers", np.clip(found, 0, FAR))
    if n_pixels is None:
        return NOTHING
    counts = coco_counts(data)
    if counts is not None and counts.sum() == n_pixels:
        return Cell("coco", counts)
    counts = _zlib_counts(data, n_pixels)
    return NOTHING if counts is None else Cell("coco_zlib", counts)


def coco_counts(data: bytes) -> np.ndarray | None:
    """Read COCO's compressed counts: five bits a character, differences from the third count on.

    Returns:
        (n,) int64, background first; None: no such code. (The format is that of pycocotools'
        ``maskApi.c``, which is not trusted with broken text.)
    """
    if not 0 < len(data) <= MAX_PACKED:
        return None
    units = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    if units.min() < 0 or units.max() > 63 or units[-1] & 32:
        return None
    ends = np.flatnonzero((units & 32) == 0)
    begins = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - begins + 1
    if lengths.max() > 7:  # 35 bits: more than any image
        return None
    place = np.arange(units.size) - np.repeat(begins, lengths)
    values = np.add.reduceat((units & 31) << (5 * place), begins)
    values -= np.where(units[ends] & 16, np.int64(1) << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    if values.min() < 0 or values.max() > FAR:
        return None
    return values


def _zlib_counts(data: bytes, n_pixels: int) -> np.ndarray | None:
    """COCO counts packed with zlib and base64, alone or as ``class confidence code``, one object."""
    words = data.split()
    if len(words) not in (1, 3):
        return None
    try:
        packed = base64.b64decode(words[-1], validate=True)
        unpacked = zlib.decompressobj().decompress(packed, MAX_PACKED + 1)
    except (binascii.Error, zlib.error):
        return None
    counts = coco_counts(unpacked)
    return counts if counts is not None and counts.sum() == n_pixels else None
