"""All codes of a table as flat arrays, and what each reading makes of them; numpy only.

A reading draws no mask: the length of a mask's boundary and its agreement with another follow from
the runs alone, so that an image of 30,000 x 30,000 pixels costs what its text costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from comp.masks.code_cells import FAR, read_cell_text
from comp.masks.rle import Order

Kind = Literal["absolute", "relative", "counts"]
MAX_NUMBERS = 1 << 21  # numbers looked at in all; the images after them are left out


ORDERS: tuple[Order, ...] = ("column", "row")
KINDS: tuple[Kind, ...] = ("absolute", "relative", "counts")
BASES = (1, 0)
MARGIN = 4  # a side wins when this many times more images speak for it than for all others


class Reading(NamedTuple):
    """One way to read a code."""

    kind: Kind
    order: Order
    base: int

    @property
    def told(self) -> str:
        if self.kind == "counts":
            return f"{self.order}-major COCO counts"
        tail = ", relative starts" if self.kind == "relative" else ""
        return f"{self.order}-major, first pixel {self.base}{tail}"


READINGS: tuple[Reading, ...] = (  # the commonest first: it is named where two say the same
    Reading("absolute", "column", 1), Reading("absolute", "row", 1),
    Reading("absolute", "column", 0), Reading("absolute", "row", 0),
    Reading("relative", "column", 0), Reading("relative", "row", 0),
    Reading("relative", "column", 1), Reading("relative", "row", 1),
    Reading("counts", "column", 0), Reading("counts", "row", 0),
)  # fmt: skip


@dataclass(frozen=True)
class Unit:
    """What the rows of one image (and class) say.

    Args:
        cells: its run-length cells, several where one row is an object; none: it has no row.
        size: (height, width) of the image; None: unknown.
        truth: its mask (H, W) uint8 0/1, where there is one.
        ignored: (H, W) bool, pixels that are not compared.
    """

    image_id: str
    cells: tuple[str, ...]
    size: tuple[int, int] | None = None
    truth: np.ndarray | None = None
    ignored: np.ndarray | None = None


@dataclass(frozen=True)
class Codes:
    """The cells that hold numbers, M of them; FAR stands for whatever is larger.

    Args:
        values: (n,) int64 numbers of all cells, one after another.
        begin: (M + 1,) int64, where each cell's numbers begin.
        unit, image: (M,) int64, which unit and which image a cell belongs to.
        height, width, n_pixels: (M,) int64; 0 where unknown.
        packed: (M,) bool: COCO's compressed spelling, which holds counts and nothing else.
        n_images: images seen, with and without codes.
        zlib: cells packed with zlib and base64.
        read: (U,) bool, units whose cells were looked at.
    """

    values: np.ndarray
    begin: np.ndarray
    unit: np.ndarray
    image: np.ndarray
    height: np.ndarray
    width: np.ndarray
    packed: np.ndarray
    n_images: int
    zlib: int
    read: np.ndarray

    @property
    def n_pixels(self) -> np.ndarray:
        return self.height * self.width

    def __len__(self) -> int:
        return len(self.unit)


@dataclass(frozen=True)
class Runs:
    """The runs of all cells under one kind and base, in cell order and sorted within a cell.

    Args:
        cell: (R,) int64; start, end: (R,) int64 zero-based, end not included.
        legal: (M,) bool: cells of which the reading can be true.
    """

    cell: np.ndarray
    start: np.ndarray
    end: np.ndarray
    legal: np.ndarray


T = TypeVar("T")


def settled(votes: Mapping[T, int], least: int = 1) -> T | None:
    """Return the side that at least `least` images and MARGIN times its opponents speak for, or None."""
    best = max(votes, key=lambda side: votes[side], default=None)
    if best is None or votes[best] < least:
        return None
    return best if votes[best] >= MARGIN * (sum(votes.values()) - votes[best]) else None


def gather_codes(units: Sequence[Unit]) -> Codes:
    """Read the cells of all units; empty markers and what is no code are left out."""
    numbers: list[np.ndarray] = []
    rows: list[tuple[int, int, int, int, bool]] = []
    images: dict[str, int] = {}
    read = np.zeros(len(units), bool)
    n_zlib = total = 0
    for u, unit in enumerate(units):
        image = images.setdefault(unit.image_id, len(images))
        height, width = unit.size or (0, 0)
        if not 0 < height * width < FAR:
            height = width = 0
        if total > MAX_NUMBERS:
            continue
        read[u] = True
        for text in unit.cells:
            cell = read_cell_text(text, height * width or None)
            if cell.spelling == "other":
                continue
            n_zlib += cell.spelling == "coco_zlib"
            total += len(cell.numbers)
            numbers.append(cell.numbers)
            rows.append((u, image, height, width, cell.spelling != "numbers"))
    table = np.array(rows, np.int64).reshape(-1, 5).T
    return Codes(
        np.concatenate([np.empty(0, np.int64), *numbers]),
        np.cumsum([0, *map(len, numbers)]),
        table[0],
        table[1],
        table[2],
        table[3],
        table[4].astype(bool),
        len(images),
        n_zlib,
        read,
    )


def runs_as(codes: Codes, kind: Kind, base: int) -> Runs:
    """Read every cell as `kind` with the first pixel `base`."""
    n = np.diff(codes.begin)
    cell = np.repeat(np.arange(len(codes)), n)
    place = np.arange(len(codes.values)) - np.repeat(codes.begin[:-1], n)
    known = codes.n_pixels > 0
    last = np.where(known, codes.n_pixels, FAR)
    if kind == "counts":
        total = np.cumsum(codes.values)
        before = np.concatenate([[0], total])[codes.begin]
        ends = total - np.repeat(before[:-1], n)
        legal = known & (before[1:] - before[:-1] == codes.n_pixels)
        shown = (place % 2 == 1) & (codes.values > 0) & legal[cell]
        return Runs(cell[shown], (ends - codes.values)[shown], ends[shown], legal)
    legal = (n % 2 == 0) & ~codes.packed
    first = (place % 2 == 0) & legal[cell]
    at = np.flatnonzero(first)
    cell, start, length = cell[at], codes.values[at] - base, codes.values[at + 1]
    wrong = (start < 0) | (length < 1)
    if kind == "relative":
        total = np.cumsum(start + length)
        before = np.concatenate([[0], total])[np.searchsorted(cell, np.arange(len(codes)))]
        end = total - before[cell]
        start = end - length
    else:
        by_start = np.lexsort((start, cell))  # cell by cell as before: cells are in order
        cell, start, length, wrong = cell, start[by_start], length[by_start], wrong[by_start]
        end = start + length
        wrong[1:] |= (cell[1:] == cell[:-1]) & (start[1:] < end[:-1])
    wrong |= end > last[cell]
    legal &= np.bincount(cell, wrong, len(codes)) == 0
    keep = legal[cell]
    return Runs(cell[keep], start[keep], end[keep], legal)


def boundary(codes: Codes, runs: Runs, stride: np.ndarray) -> np.ndarray:
    """Count the pairs of neighbouring pixels that differ, in every cell's mask.

    Args:
        stride: (M,) int64, pixels of a line: the height for column-major codes, else the width.

    Returns:
        (M,) int64; -1 where the reading is impossible or the size unknown.
    """
    n_pixels = codes.n_pixels
    usable = runs.legal & (n_pixels > 0)
    # one line of nothing before each image, since pixels look one line back
    offset = np.cumsum(stride + 1 + n_pixels) - n_pixels
    keep = usable[runs.cell]
    cell, a, e = runs.cell[keep], runs.start[keep], runs.end[keep]
    head = np.ones(len(cell), bool)  # runs that touch are one
    head[1:] = (cell[1:] != cell[:-1]) | (a[1:] != e[:-1])
    tail = np.append(head[1:], True) if len(head) else head
    cell, a, e = cell[head], a[head], e[tail]
    line = stride[cell]
    along = (a % line != 0).astype(np.int64) + (e % line != 0)
    start, length = a + offset[cell], e - a
    seen = np.concatenate([[0], np.cumsum(length)])

    def covered(at: np.ndarray) -> np.ndarray:
        """Foreground pixels before each place."""
        i = np.searchsorted(start, at, side="right") - 1
        inside = np.where(i >= 0, np.minimum(at - start[i], length[i]), 0)
        return seen[np.maximum(i, 0)] * (i >= 0) + inside

    if len(start) == 0:
        return np.where(usable, 0, -1)
    both = covered(start + length - line) - covered(start - line)
    first, end = offset, offset + n_pixels
    in_all = covered(end) - covered(first)
    low = covered(np.maximum(end - stride, first)) - covered(first)
    high = in_all - (covered(np.minimum(first + stride, end)) - covered(first))
    across = low + high - 2 * np.bincount(cell, both, len(codes)).astype(np.int64)
    found = across + np.bincount(cell, along, len(codes)).astype(np.int64)
    return np.where(usable, found, -1)


def by_image(codes: Codes, values: np.ndarray) -> np.ndarray:
    """Sum cells (M,) over each image -> (N,) float64; an image with a cell below 0 is inf, one without
    codes nan."""
    total = np.bincount(codes.image, np.maximum(values, 0), codes.n_images).astype(np.float64)
    total[np.bincount(codes.image, values < 0, codes.n_images) > 0] = np.inf
    total[np.bincount(codes.image, minlength=codes.n_images) == 0] = np.nan
    return total
