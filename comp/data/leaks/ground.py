"""Ground that images share: exact where their files say where they lie, by the boxes of their bounds.

Boxes that share no more than a pixel's breadth only touch. Images of different systems share nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROWS = 256  # boxes compared with all others at once


@dataclass(frozen=True)
class Footprint:
    """Where an image lies: its reference system and box, in the system's units."""

    crs: str
    left: float
    bottom: float
    right: float
    top: float
    pixel: float


@dataclass(frozen=True)
class Ground:
    """The boxes of N images.

    Args:
        box: (N, 5) float64: left, bottom, right, top, pixel; NaN where the place is not known.
        systems: (N,) int64: equal for images of one reference system; -1 where the place is not known.
    """

    box: np.ndarray
    systems: np.ndarray

    @staticmethod
    def of(footprints: Sequence[Footprint | None]) -> Ground:
        """Of N images in their order."""
        box = np.full((len(footprints), 5), np.nan)
        systems = np.full(len(footprints), -1, np.int64)
        number: dict[str, int] = {}
        for i, p in enumerate(footprints):
            if p is not None:
                box[i] = p.left, p.bottom, p.right, p.top, p.pixel
                systems[i] = number.setdefault(p.crs, len(number))
        return Ground(box, systems)

    @staticmethod
    def from_json(rows: Sequence[Sequence[float] | None]) -> Ground:
        """What `as_json` gave."""
        unknown = (-1.0, *[float("nan")] * 5)
        made = np.array([unknown if row is None else row for row in rows], float).reshape(-1, 6)
        return Ground(made[:, 1:], made[:, 0].astype(np.int64))

    def as_json(self) -> list[list[float] | None]:
        """(system, left, bottom, right, top, pixel) of each image; None where it has no place."""
        rows = np.column_stack([self.systems, self.box]).tolist()
        return [row if row[0] >= 0 else None for row in rows]

    def __len__(self) -> int:
        return len(self.systems)

    def part(self, chosen: Sequence[int]) -> Ground:
        """Of some of the images, in the order given."""
        at = np.asarray(chosen, np.int64)
        return Ground(self.box[at], self.systems[at])

    def shared(self, a: Sequence[int], b: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """How much of each image of `a` an image of `b` shows too, never the image itself.

        Args:
            a, b: positions.

        Returns:
            (len(a),) float64: the share of its ground that the one which shows most of it shows, 0 to 1;
            (len(a),) int64: the position of that one, -1 where there is none.
        """
        first, second = np.asarray(a, np.int64), np.asarray(b, np.int64)
        share, who = np.zeros(len(first)), np.full(len(first), -1, np.int64)
        placed = second[self.systems[second] >= 0]
        rows = np.flatnonzero(self.systems[first] >= 0)
        rows = rows[np.argsort(self.box[first[rows], 0], kind="stable")]  # neighbours in one block
        for start in range(0, len(rows), ROWS):
            here = rows[start : start + ROWS]
            at = first[here]
            known = self._within(placed, at)
            if not len(known):
                continue
            left, bottom, right, top, pixel = self.box[known].T
            box = self.box[at][:, :, None]
            gap = np.maximum(box[:, 4], pixel)
            wide = np.minimum(box[:, 2], right) - np.maximum(box[:, 0], left)
            high = np.minimum(box[:, 3], top) - np.maximum(box[:, 1], bottom)
            # A hair more than a pixel: bounds are sums of many pixels.
            near = (wide > 1.001 * gap) & (high > 1.001 * gap)
            near &= self.systems[at][:, None] == self.systems[known]
            near &= at[:, None] != known
            own = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
            part = np.where(near, wide * high / np.maximum(own, 1e-300), 0.0)
            most = part.argmax(axis=1)
            best = part[np.arange(len(at)), most]
            share[here] = np.minimum(best, 1.0)
            who[here] = np.where(best > 0, known[most], -1)
        return share, who

    def _within(self, others: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Those of `others` whose boxes meet the box around all of `at`."""
        low, high = self.box[at, :2].min(axis=0), self.box[at, 2:4].max(axis=0)
        box = self.box[others]
        return others[((box[:, :2] < high) & (box[:, 2:4] > low)).all(axis=1)]
