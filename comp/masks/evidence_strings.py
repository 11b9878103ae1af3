"""What the codes alone say of their convention: bounds and overlaps first, then the smoothness of the
masks that they draw. Numpy only.

Objects are smooth: read with the wrong line length, a blob falls apart into a ragged slant, and its
boundary grows several times. A square image keeps its boundary when its axes are exchanged, so that
it says nothing of the order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from comp.masks.evidence import (
    BASES,
    KINDS,
    MARGIN,
    ORDERS,
    Codes,
    Kind,
    Runs,
    boundary,
    by_image,
    runs_as,
    settled,
)
from comp.masks.rle import Order

ROUGHER = 1.25  # the wrong order's boundary is at least a quarter longer ...
ROUGHER_PX = 8  # ... and by this many pairs of pixels, or the image does not speak
RISING = 8  # runs whose starts never fall: relative starts would do so once in 8! codes
ALIGNED = 3  # runs that begin (or end) at the rim, for an image to speak for a first pixel
SHORTEST_LINE = 8  # in shorter lines a run meets the rim by chance


Votes = Mapping[Any, int]  # side -> images that speak for it


@dataclass(frozen=True)
class Told:
    """What was settled, and by how many images.

    Args:
        kind, order, base: None where nothing settles it.
        votes: "kind", "order", "base" -> side -> images that speak for it.
        notes: why something is open, in words.
    """

    kind: Kind | None
    order: Order | None
    base: int | None
    votes: dict[str, Votes]
    notes: list[str] = field(default_factory=list)


class _Readings:
    """Runs of each kind and base, read once."""

    def __init__(self, codes: Codes) -> None:
        self.codes = codes
        self.runs: dict[tuple[Kind, int], Runs] = {
            (kind, base): runs_as(codes, kind, base)
            for kind in KINDS
            for base in ((0,) if kind == "counts" else BASES)
        }
        self._rough: dict[tuple[Kind, int, Order], np.ndarray] = {}

    def possible(self, kind: Kind, base: int) -> np.ndarray:
        """(N,) bool: images with codes, all of which can be read so."""
        wrong = by_image(self.codes, np.where(self.runs[kind, base].legal, 0, -1))
        return np.asarray(wrong == 0)

    def rough(self, kind: Kind, order: Order) -> np.ndarray:
        """(N,) float64: the shortest boundary that any base gives; inf: impossible; nan: no code."""
        found = [self.rough_from(kind, base, order) for k, base in self.runs if k == kind]
        return np.minimum.reduce(found)

    def rough_from(self, kind: Kind, base: int, order: Order) -> np.ndarray:
        if (kind, base, order) not in self._rough:
            stride = self.codes.height if order == "column" else self.codes.width
            lengths = boundary(self.codes, self.runs[kind, base], stride)
            self._rough[kind, base, order] = by_image(self.codes, lengths)
        return self._rough[kind, base, order]


def string_votes(codes: Codes) -> Told:
    """Let every image vote on what its codes alone can tell."""
    readings = _Readings(codes)
    notes: list[str] = []
    kind_votes = _kind_votes(readings)
    kind = settled(kind_votes)
    read_as: Kind = kind or "absolute"
    order_votes = _order_votes(readings, read_as)
    order = settled(order_votes)
    base_votes = _base_votes(readings, read_as, order, notes)
    base = 0 if read_as == "counts" else settled(base_votes)
    fits = np.logical_or.reduce([readings.possible(kind, base) for kind, base in readings.runs])
    n = len(np.unique(codes.image))
    if 2 * int(fits.sum()) < n:
        notes.append(
            f"no reading fits {n - int(fits.sum())} of {n} images: are the codes of another size, or"
            " broken?"
        )
    elif len(codes) and kind is None and not kind_votes:
        notes.append("absolute or relative starts: no code has two runs that tell them apart")
    if len(codes) and order is None:
        notes.append(_why_no_order(codes, order_votes))
    votes: dict[str, Votes] = {
        "kind": {**kind_votes},
        "order": {**order_votes},
        "base": {**base_votes},
    }
    return Told(kind, order, base, votes, notes)


def _kind_votes(readings: _Readings) -> Counter[Kind]:
    """An image speaks for a kind that alone can be true; where none does, for the smoothest."""
    possible = {
        kind: np.logical_or.reduce(
            [readings.possible(k, base) for k, base in readings.runs if k == kind]
        )
        for kind in KINDS
    }
    n = sum(possible.values())
    votes: Counter[Kind] = Counter()
    for kind in KINDS:
        votes[kind] += int((possible[kind] & (n == 1)).sum())
    # starts count from the run before, so that only by chance none of several falls
    rising = by_image(readings.codes, np.where(_falls(readings.codes) == 0, 0, -1)) == 0
    rising &= _most_runs(readings) >= RISING
    votes["absolute"] += int((rising & possible["absolute"] & (n > 1)).sum())
    if not votes.total():
        pair: tuple[Kind, Kind] = ("absolute", "relative")
        rough = {
            kind: np.fmin(readings.rough(kind, "column"), readings.rough(kind, "row"))
            for kind in pair
        }
        for kind, said in _smoother(rough).items():
            votes[kind] += int(said.sum())
    return +votes


def _falls(codes: Codes) -> np.ndarray:
    """(M,) int64: how often a start is smaller than the one before it in its cell, as they stand."""
    cell = np.repeat(np.arange(len(codes)), np.diff(codes.begin))
    place = np.arange(len(codes.values)) - codes.begin[cell]
    falls = (place >= 2) & (place % 2 == 0)
    falls[2:] &= codes.values[2:] < codes.values[:-2]
    return np.bincount(cell, falls, len(codes)).astype(np.int64)


def _most_runs(readings: _Readings) -> np.ndarray:
    """(N,) int64: numbers of the longest code of each image, by two."""
    most = np.zeros(readings.codes.n_images, np.int64)
    np.maximum.at(most, readings.codes.image, np.diff(readings.codes.begin) // 2)
    return most


def _order_votes(readings: _Readings, kind: Kind) -> Counter[Order]:
    codes = readings.codes
    square = by_image(codes, (codes.height != codes.width).astype(np.int64)) == 0
    votes: Counter[Order] = Counter()
    for order, said in _smoother({order: readings.rough(kind, order) for order in ORDERS}).items():
        votes[order] += int((said & ~square).sum())
    return +votes


Side = TypeVar("Side")


def _smoother(rough: Mapping[Side, np.ndarray]) -> dict[Side, np.ndarray]:
    """Which images' boundary is clearly the shortest under which of two readings: side -> (N,) bool."""
    (a, x), (b, y) = rough.items()
    sides = {}
    with np.errstate(invalid="ignore"):
        for side, mine, other in ((a, x, y), (b, y, x)):
            clear = (other >= ROUGHER * mine) & (other >= mine + ROUGHER_PX)
            sides[side] = clear & np.isfinite(mine) & np.isfinite(other)
    return sides


def _base_votes(
    readings: _Readings, kind: Kind, order: Order | None, notes: list[str]
) -> Counter[int]:
    """Bounds first (a start of 0, a run past the end); then runs that meet the rim of the image."""
    votes: Counter[int] = Counter()
    if kind == "counts":
        return votes
    possible = {base: readings.possible(kind, base) for base in BASES}
    for base in BASES:
        votes[base] += int((possible[base] & ~possible[1 - base]).sum())
    both = possible[0] & possible[1]
    if kind == "relative":
        rough = {
            base: np.fmin(*(readings.rough_from(kind, base, o) for o in ORDERS)) for base in BASES
        }
        for base, said in _smoother(rough).items():
            votes[base] += int((said & both).sum())
        return +votes
    found = {rim: _rim_votes(readings, order, rim) for rim in ("start", "end")}
    counts = {
        rim: Counter({b: int((said[b] & both).sum()) for b in BASES}) for rim, said in found.items()
    }
    sides = {rim: settled(count) for rim, count in counts.items()}
    if sides["start"] is not None and sides["start"] == sides["end"]:
        for base in BASES:
            votes[base] += int(((found["start"][base] | found["end"][base]) & both).sum())
    elif any(count.total() for count in counts.values()) and not votes.total():
        told = "; ".join(
            f"{count[1]} images' runs {rim} at the rim if it is 1, {count[0]} if it is 0"
            for rim, count in counts.items()
        )
        notes.append(f"first pixel: {told}; starts and ends must say the same")
    return +votes


def _rim_votes(readings: _Readings, order: Order | None, rim: str) -> dict[int, np.ndarray]:
    """Images of which several runs begin (or end) at the rim of a line under one base only.

    What touches the rim of the picture is cut there: under the right base many runs begin with the
    first pixel of a line and many end with its last; under the other they overhang by one.
    """
    codes = readings.codes
    stride = codes.width if order == "row" else codes.height
    fits = stride >= SHORTEST_LINE
    if order is None:
        fits &= codes.height == codes.width
    n = {}
    for base in BASES:
        runs = readings.runs["absolute", base]
        at = runs.start if rim == "start" else runs.end
        line = np.maximum(stride[runs.cell], 1)
        met = (at % line == 0) & fits[runs.cell]
        n[base] = np.bincount(codes.image[runs.cell], met, codes.n_images)
    return {b: (n[b] >= ALIGNED) & (n[b] >= MARGIN * n[1 - b]) for b in BASES}


def _why_no_order(codes: Codes, votes: Counter[Order]) -> str:
    if votes:
        return (
            f"order: {votes['column']} images speak for column-major, {votes['row']} for row-major"
        )
    known = codes.n_pixels > 0
    if not known.any():
        return "order: the images' sizes are unknown"
    if (codes.height == codes.width)[known].all():
        return "order: every image is square, and a square picture with its axes exchanged is as smooth"
    return "order: both orders draw equally smooth masks"
