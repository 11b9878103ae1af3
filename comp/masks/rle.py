"""Run-length codes: mask to ``start length start length`` and back. The parser is strict: it
guesses nothing.

A table of runs is (R, 2) int64, zero-based start and length, in the pixel order of the code. In a
relative code (SIIM-ACR 2019) a start counts from the end of the run before. How a table spells an
empty mask is the formats' business: here no runs are the empty text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from comp.errors import SubmissionError

if TYPE_CHECKING:
    from types import ModuleType

Order = Literal["column", "row"]
BAND_PIXELS = 1 << 24  # a larger mask is turned and compared in pieces
MAX_PIXELS = 1 << 31  # decoding asks for a byte a pixel: a table may not claim more


def _kernels() -> ModuleType:
    from comp.masks import kernels

    return kernels


def flatten(plane: np.ndarray, order: Order) -> np.ndarray:
    """Return the pixels of (H, W) as (H * W,), down the columns (Fortran) or along the rows (C)."""
    if order == "row":
        return np.ascontiguousarray(plane).reshape(-1)
    import cv2

    # cv2 walks in blocks: several times faster than numpy's ravel("F")
    return cv2.transpose(np.ascontiguousarray(plane)).reshape(-1)


def runs_of(mask: np.ndarray, order: Order = "column") -> np.ndarray:
    """Return the maximal runs of a mask.

    Args:
        mask: (H, W) uint8 or bool, 0 and 1.
        order: pixel order of the code.

    Returns:
        (R, 2) int64, zero-based, in order.

    Raises:
        ValueError: another shape, dtype or value: an ignored pixel (255) has no run-length code.
    """
    if mask.ndim != 2 or mask.dtype not in (np.uint8, np.bool_):
        raise ValueError(f"a mask is (H, W) uint8 with 0 and 1, got {mask.shape} {mask.dtype}")
    found: list[np.ndarray] = []
    for first, flat in _bands(mask.view(np.uint8), order):
        runs, wrong = _kernels().find_runs(flat, flat[: flat.size // 8 * 8].view("<u8"))
        if wrong >= 0:
            raise ValueError(f"a mask holds 0 and 1 only, got {flat[wrong]}")
        runs[:, 0] += first
        if found and len(found[-1]) and len(runs) and found[-1][-1].sum() == runs[0, 0]:
            found[-1][-1, 1] += runs[0, 1]  # one run, cut by the end of a band
            if len(runs) == 1:
                continue  # and perhaps by the next one
            runs = runs[1:]
        found.append(runs)
    if len(found) == 1:
        return found[0]
    return np.concatenate([np.empty((0, 2), np.int64), *found])


def _bands(mask: np.ndarray, order: Order) -> Iterator[tuple[int, np.ndarray]]:
    """The flattened mask in pieces of whole lines: where each begins, and its pixels.

    Down the columns a large mask is so turned piece by piece, never whole.
    """
    if mask.size == 0:
        return
    lines, line = mask.shape if order == "row" else mask.shape[::-1]
    step = max(8, BAND_PIXELS // line // 8 * 8)  # pieces begin where eight-byte words do
    for first in range(0, lines, step):
        part = mask[first : first + step] if order == "row" else mask[:, first : first + step]
        yield first * line, flatten(part, order)


def are_pixels_of(runs: np.ndarray, mask: np.ndarray, order: Order = "column") -> bool:
    """True when runs (R, 2), sorted and apart, are exactly the pixels of a mask (H, W) uint8 0/1."""
    at = 0
    for first, flat in _bands(mask, order):
        end = first + flat.size
        upto = int(np.searchsorted(runs[:, 0], end))
        inside = runs[at:upto].copy()
        if upto > at:  # the first may have begun in the piece before, the last may end in the next
            tail = inside[-1].sum() > end
            inside[-1, 1] = min(inside[-1].sum(), end) - inside[-1, 0]
            inside[0, 1] -= max(first - inside[0, 0], 0)
            inside[0, 0] = max(inside[0, 0], first)
            at = upto - int(tail)
        inside[:, 0] -= first
        drawn = np.zeros(flat.size, np.uint8)
        _kernels().fill_runs(inside, drawn)
        if not np.array_equal(drawn, flat):
            return False
    return at == len(runs)


def text_of(runs: np.ndarray, base: int = 1, relative: bool = False) -> str:
    """Write runs (R, 2) int64 zero-based as ``start length ...``; the first pixel is `base`.

    Args:
        relative: the pixel after the run before is `base`; runs must be sorted and apart.
    """
    if len(runs) == 0:
        return ""
    n_digits = len(str(int(runs.max()) + base))
    out = np.empty(len(runs) * 2 * (n_digits + 1), np.uint8)
    return out[: _kernels().write_runs(runs, base, out, relative)].tobytes().decode("ascii")


def encode(mask: np.ndarray, order: Order = "column", base: int = 1, relative: bool = False) -> str:
    """Return the run-length code of a mask: sorted, maximal, in-bounds runs; "" when it is empty.

    Args:
        mask: (H, W) uint8 or bool, 0 and 1.
        order: column (down the columns, Kaggle's habit) or row.
        base: number of the first pixel, 1 or 0.
        relative: starts are counted from the end of the run before.
    """
    return text_of(runs_of(mask, order), base, relative)


def parse(
    text: str, height: int, width: int, base: int = 1, where: str = "", relative: bool = False
) -> np.ndarray:
    """Read a run-length code strictly.

    Args:
        text: whole numbers set apart by spaces; blank: no runs.
        height, width: the image's size; no run may pass its last pixel.
        base: number of the first pixel.
        where: what a message begins with, such as ``sub.csv: row 17, id 'a'``.
        relative: starts are counted from the end of the run before.

    Returns:
        (R, 2) int64, zero-based, sorted by start (the text need not be), apart from each other.

    Raises:
        SubmissionError: odd count, something that is no whole number, a start before the first
            pixel, no length, a run past the end, or runs that overlap.
    """
    kernels = _kernels()
    # copied, so that the kernels see one array type whether or not the bytes may be written
    data = np.frombuffer(text.encode("utf-8", "replace"), np.uint8).copy()
    n_pixels = height * width
    # "1 1 " is the shortest run, and apart runs are no more than the pixels
    runs = np.empty((min((data.size + 1) // 4, n_pixels) + 1, 2), np.int64)
    fault, found, at, tidy = kernels.read_runs(data, base, n_pixels, runs, relative)
    runs = runs[:found]
    reason = (
        _reason(kernels, fault, data[at : at + 4096].tobytes(), height, width, base)
        if fault
        else ""
    )
    if relative and fault == kernels.PAST_END:
        reason += " (starts count from the end of the run before)"
    if not fault and not tidy:
        runs = runs[np.argsort(runs[:, 0], kind="stable")]
        over = np.flatnonzero(runs[:-1].sum(axis=1) > runs[1:, 0])
        if over.size:
            (a, n), (b, m) = runs[over[0]], runs[over[0] + 1]
            reason = f"the runs {a + base} {n} and {b + base} {m} overlap"
    if reason:
        raise SubmissionError(f"{where}: {reason}" if where else reason)
    return runs


def _reason(
    kernels: ModuleType, fault: int, rest: bytes, height: int, width: int, base: int
) -> str:
    """Say what is wrong with the number or the run that `rest` begins with."""
    tokens = [
        _short(token.decode("utf-8", "replace"))
        for token in rest.replace(b"\t", b" ").split(b" ")
        if token
    ][:2]
    first, run = tokens[0], " ".join(tokens)
    if fault == kernels.NOT_A_NUMBER:
        if first.startswith("-") and first[1:].isdigit():
            return f"{first} is negative; starts and lengths count pixels"
        return f"{first!r} is not a whole number"
    pixels = f"{height * width} pixels ({height} x {width})"
    return {
        kernels.ODD_COUNT: f"start {first} has no length: got an odd count of numbers, not pairs",
        kernels.BEFORE_FIRST: f"start {first} is before the first pixel, which is number {base}",
        kernels.NO_LENGTH: f"run {run} has no pixel: lengths are 1 or more",
        kernels.PAST_END: f"run {run} passes the last of {pixels}",
        kernels.TOO_MANY: f"more runs than {pixels}: they overlap",
    }[fault]


def _short(token: str) -> str:
    return token if len(token) <= 24 else f"{token[:20]}..."


def fill(runs: np.ndarray, height: int, width: int, order: Order = "column") -> np.ndarray:
    """Draw runs (R, 2) as a mask (H, W) uint8 0/1.

    Raises:
        SubmissionError: an image too large to hold.
    """
    if height * width > MAX_PIXELS:
        raise SubmissionError(
            f"a mask of {height} x {width} pixels is more than this program draws ({MAX_PIXELS})"
        )
    flat = np.zeros(height * width, np.uint8)
    _kernels().fill_runs(runs, flat)
    if order == "row":
        return flat.reshape(height, width)
    import cv2

    return cv2.transpose(flat.reshape(width, height)).reshape(height, width)


def decode(
    text: str,
    height: int,
    width: int,
    order: Order = "column",
    base: int = 1,
    where: str = "",
    relative: bool = False,
) -> np.ndarray:
    """Read a run-length code into a mask (H, W) uint8 0/1; `parse` says what is refused."""
    return fill(parse(text, height, width, base, where, relative), height, width, order)


def union(tables: list[np.ndarray]) -> np.ndarray:
    """Return the pixels of several tables of runs as one: sorted, apart, touching runs joined."""
    runs = np.concatenate([np.empty((0, 2), np.int64), *tables])
    if len(runs) == 0:
        return runs
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    ends = np.maximum.accumulate(runs.sum(axis=1))
    heads = np.flatnonzero(np.concatenate([[True], runs[1:, 0] > ends[:-1]]))
    starts = runs[heads, 0]
    lengths = ends[np.append(heads[1:], len(runs)) - 1] - starts
    return np.stack([starts, lengths], axis=1)


def shared_pixels(a: np.ndarray, b: np.ndarray) -> int:
    """Count the pixels that two tables of runs share; each is sorted and apart."""
    return int(_kernels().shared_pixels(a, b))
