"""A canvas for aerial tiles: rotated boxes, smooth noise, paint and shadow in whole numbers, drawn at twice
the finished size. Every number comes from a numbered generator, so every machine draws the same pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int32]
Bools: TypeAlias = NDArray[np.bool_]
Colour: TypeAlias = tuple[int, int, int]

SIZE = 128  # pixels a side of a finished tile
FINE = 2 * SIZE  # pixels a side while drawing
UNIT = 1024  # fixed-point one of directions


@dataclass(frozen=True)
class Box:
    """A rotated rectangle: centre x, y and half sizes in fine pixels, direction in whole degrees."""

    x: int
    y: int
    half_u: int
    half_v: int
    degrees: int

    @property
    def direction(self) -> tuple[int, int]:
        """(cos, sin) in 1/1024."""
        turn = math.radians(self.degrees % 360)
        return round(UNIT * math.cos(turn)), round(UNIT * math.sin(turn))

    def local(self) -> tuple[Ints, Ints]:
        """Coordinates of every fine pixel along and across the box, (FINE, FINE) int32 in 1/16 pixel."""
        cos, sin = self.direction
        x, y = (
            np.arange(FINE, dtype=np.int32) - self.x,
            np.arange(FINE, dtype=np.int32)[:, None] - self.y,
        )
        return (x * cos + y * sin) >> 6, (y * cos - x * sin) >> 6

    def inside(self) -> Bools:
        """(FINE, FINE) bool."""
        u, v = self.local()
        return (np.abs(u) <= 16 * self.half_u) & (np.abs(v) <= 16 * self.half_v)

    def grown(self, by: int) -> Box:
        return replace(self, half_u=self.half_u + by, half_v=self.half_v + by)

    def moved(self, along: int, across: int) -> Box:
        """The box moved in its own directions by whole fine pixels."""
        cos, sin = self.direction
        x, y = (along * cos - across * sin) // UNIT, (along * sin + across * cos) // UNIT
        return replace(self, x=self.x + x, y=self.y + y)


class Scene:
    """One tile in the making: `pixels` (FINE, FINE, 3) int32, `roof` and `taken` (FINE, FINE) bool."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.pixels: Ints = np.zeros((FINE, FINE, 3), np.int32)
        self.roof: Bools = np.zeros((FINE, FINE), bool)
        self.taken: Bools = np.zeros((FINE, FINE), bool)
        self.sun = Box(0, 0, 0, 0, self.between(205, 255)).direction
        self.grain: Ints = rng.integers(-9, 10, (FINE, FINE), dtype=np.int32)
        self.blotch: Ints = (self.noise(6) + self.noise(17) + self.noise(48) - 384) // 11

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def pick(self, colours: tuple[Colour, ...], jitter: int = 10) -> Colour:
        red, green, blue = colours[self.between(0, len(colours) - 1)]
        light = self.between(-jitter, jitter)
        spread = max(jitter // 2, 1)
        return (
            red + light + self.between(-spread, spread),
            green + light + self.between(-spread, spread),
            blue + light + self.between(-spread, spread),
        )

    def noise(self, cell: int) -> Ints:
        """Smooth noise, (FINE, FINE) int32 in 0..255, with hills about `cell` fine pixels wide."""
        knots = self.rng.integers(0, 256, (FINE // cell + 2, FINE // cell + 2), dtype=np.int32)
        at, part = np.divmod(np.arange(FINE, dtype=np.int32), cell)
        rows = knots[at] * (cell - part)[:, None] + knots[at + 1] * part[:, None]
        return (rows[:, at] * (cell - part) + rows[:, at + 1] * part) // (cell * cell)

    def paint(self, where: Bools, colour: Colour, texture: Ints | int = 0) -> None:
        """Cover `where` with a colour and a texture (int, or (FINE, FINE)) added to its three channels."""
        rough = self.grain + self.blotch + texture
        self.pixels[where] = np.array(colour, np.int32) + rough[where][:, None]

    def darken(self, where: Bools, percent: int) -> None:
        """Shade `where`; shadows keep a little more blue, which the sky lights."""
        self.pixels[where] = (
            self.pixels[where] * np.array([percent, percent, percent + 7], np.int32) // 100
        )


def smear(mask: Bools, direction: tuple[int, int], length: int) -> Bools:
    """The pixels that `mask` sweeps when pushed `length` fine pixels in `direction`."""
    swept = np.zeros_like(mask)
    for step in range(1, length + 1):
        dx, dy = step * direction[0] // UNIT, step * direction[1] // UNIT
        target = swept[max(dy, 0) : FINE + min(dy, 0), max(dx, 0) : FINE + min(dx, 0)]
        target |= mask[max(-dy, 0) : FINE + min(-dy, 0), max(-dx, 0) : FINE + min(-dx, 0)]
    return swept
