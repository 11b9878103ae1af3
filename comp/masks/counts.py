"""COCO run-length counts, read strictly: runs of 0, 1, 0, ... as numbers, as COCO's packed text, or that
text packed once more with zlib and base64.

What does not add up to the image is refused; no cell costs more memory than a few times its length.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib

import numpy as np

from comp.errors import SubmissionError
from comp.masks.code_cells import FAR, MAX_CELL, MAX_PACKED, coco_counts
from comp.masks.rle import union

CODES = ("counts", "coco", "coco_zlib")
_NUMBERS = re.compile(r"\[?[\s\d,]*\]?")
_WORD = re.compile(r"-?\d{1,9}")
_CONFIDENCE = re.compile(r"\d*\.?\d+(e-?\d+)?")
_LEAST_PACKED = 8  # characters of zlib's shortest text in base64


def read_counts(text: str, code: str, height: int, width: int, where: str = "") -> np.ndarray:
    """Read counts as runs.

    Args:
        text: counts: whole numbers set apart by blanks or commas, in brackets or not; coco: packed text;
            coco_zlib: the same packed again.
        code: one of `CODES`.
        height, width: the image's size, to whose pixels the counts must add up.
        where: what a message begins with.

    Returns:
        (R, 2) int64 zero-based start and length of the ones, sorted and apart, in the pixel order of
        the code (COCO's own: down the columns).

    Raises:
        SubmissionError: not such a code, or another number of pixels.
    """
    start = f"{where}: " if where else ""
    counts = _numbers(text) if code == "counts" else _unpacked(text, code == "coco_zlib")
    if isinstance(counts, str):
        raise SubmissionError(f"{start}{counts}")
    if (total := int(counts.sum())) != height * width:
        raise SubmissionError(
            f"{start}counts of {total} pixels; expected {height * width}, which is {height} x {width}"
            " (height x width)"
        )
    ends = counts.cumsum()
    runs = np.stack([(ends - counts)[1::2], counts[1::2]], axis=1)
    return union([runs[runs[:, 1] > 0]])


def _numbers(text: str) -> np.ndarray | str:
    """Plain counts, or what is wrong with them."""
    text = text.strip()
    if len(text) > MAX_CELL:
        return f"a cell of {len(text)} characters; expected {MAX_CELL} at most"
    if not _NUMBERS.fullmatch(text) or not text.isascii():
        return f"{_short(text)} is no list of counts: expected whole numbers"
    found = np.fromstring(text.strip("[]").replace(",", " "), dtype=np.int64, sep=" ")
    return np.clip(found, 0, FAR)


def _unpacked(text: str, packed_again: bool) -> np.ndarray | str:
    """Packed counts, or what is wrong with them."""
    data = text.strip().encode("utf-8", "replace")
    if packed_again:
        try:
            data = unzip(data)
        except ValueError as error:
            return f"{_short(text)}: {error}"
    if len(data) > MAX_PACKED:
        return f"packed counts of {len(data)} characters; expected {MAX_PACKED} at most"
    counts = coco_counts(data)
    if counts is None:
        return f"{_short(text)} is no COCO code: characters outside it, or cut short"
    return counts


def unzip(data: bytes) -> bytes:
    """Undo base64, then zlib; never more than a byte above `MAX_PACKED`.

    Raises:
        ValueError: not packed so.
    """
    try:
        return zlib.decompressobj().decompress(
            base64.b64decode(data, validate=True), MAX_PACKED + 1
        )
    except (binascii.Error, ValueError, zlib.error):
        raise ValueError("not packed with zlib and base64") from None


def packed_objects(text: str) -> list[tuple[str, str]] | None:
    """Take `class confidence code class confidence code ...` apart (HPA 2021, HuBMAP 2023).

    Returns:
        (class, code) of each object, codes packed with zlib and base64; None: the text is not so.
    """
    words = text.split()
    if not words or len(words) % 3:
        return None
    names, confidences, codes = words[::3], words[1::3], words[2::3]
    if not all(map(_WORD.fullmatch, names)) or not all(map(_CONFIDENCE.fullmatch, confidences)):
        return None
    if not all(len(code) >= _LEAST_PACKED and code.startswith("e") for code in codes):
        return None  # zlib's first byte, 0x78, is "e" in base64
    return list(zip(names, codes, strict=True))


def spelling_of(text: str) -> str | None:
    """How a cell spells counts where the image's size is not known: coco, coco_zlib or None.

    Plain numbers are never said: they may be pairs as well.
    """
    text = text.strip()
    if packed_objects(text) is not None:
        return "coco_zlib"
    if len(text) < 4 or len(text) > MAX_PACKED or text.isdigit() or " " in text:
        return None
    data = text.encode("utf-8", "replace")
    try:
        unpacked = unzip(data)
    except ValueError:
        return "coco" if coco_counts(data) is not None else None
    return "coco_zlib" if coco_counts(unpacked) is not None else None


def _short(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 24 else f"{text[:20]}...")
