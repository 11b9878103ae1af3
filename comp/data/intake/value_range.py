"""The range of a few images' numbers -> the `data.scale` that reads them, proposed to the user as round numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from comp.data.images.decode import Stored

NO_DATA = -9999.0  # from here down a number marks "no data" (GDAL's habit), not a measurement
FULL_SCALES = (1.0, 255.0, 4095.0, 65535.0)
DARK = 0.25  # of the type's range: images whose largest number is below it are told of
WIDE = 65535  # types that reach beyond hold numbers of any unit: there dark means a scale


@dataclass
class ValueRange:
    """What the numbers of some images span.

    Args:
        low, high: smallest and largest, without NaN, infinity and "no data".
        kinds: numpy kinds that were seen: u, i, f, b.
        top: the largest number that the integer types seen can hold.
        advised: the end of the scale that `proposed` told of, without which images are dark.
        empty: numbers that are NaN, infinite or "no data".
    """

    low: float = math.inf
    high: float = -math.inf
    kinds: set[str] = field(default_factory=set)
    top: int = 0
    empty: int = 0
    advised: float | None = None

    def see(self, stored: Stored) -> None:
        """Count one image."""
        pixels = stored.pixels[..., :-1] if stored.alpha else stored.pixels
        kind = pixels.dtype.kind
        self.kinds.add(kind)
        if kind in "ui":
            self.top = max(self.top, stored.top or int(np.iinfo(pixels.dtype).max))
        if kind in "fi":
            there = np.isfinite(pixels) & (pixels > NO_DATA)
            self.empty += int(pixels.size - np.count_nonzero(there))
            pixels = pixels[there]
        if pixels.size:
            self.low = min(self.low, float(pixels.min()))
            self.high = max(self.high, float(pixels.max()))

    def proposed(self) -> tuple[list[float] | None, str]:
        """(`data.scale`, or None where the types' own ranges do; what is told, or nothing)."""
        if self.high < self.low:
            return None, ""
        span = f"{self.low:g} to {self.high:g}"
        unit = self.low >= 0 and self.high <= 1 and self.kinds == {"f"}
        if self.low >= 0 and not self.empty:
            if unit or (self.high == 0 and "f" not in self.kinds):
                return None, ""
            if self.kinds <= {"u", "b"} or self.kinds == {"i"}:
                return self._of_integers(span)
        if self.kinds & {"u", "b"}:
            return None, (
                f"image numbers from {span} in different types of file: one data.scale reads them all,"
                " so give them one type first"
            )
        low = 0.0 if self.low >= 0 else -_round_up(-self.low)
        high = 1.0 if unit else _round_up(self.high) if self.high > 0 else 0.0
        pair = [low, high if high > low else low + 1.0]
        lost = (
            f", {self.empty} of them no data (NaN, infinite, or {NO_DATA:g} and less)"
            if self.empty
            else ""
        )
        return pair, (
            f"image numbers from {span}{lost} in those looked at: data.scale [{pair[0]:g}, {pair[1]:g}]"
            " becomes 0 and 1, what lies beyond is cut off; check that against what the bands mean"
        )

    def _of_integers(self, span: str) -> tuple[list[float] | None, str]:
        """`proposed` for integers from 0, which the types' own ranges do as long as they fill them."""
        if self.top <= 255 or self.high >= DARK * self.top:
            return None, ""
        high = _round_up(self.high)
        dark = f"image numbers from {span} of {self.top}: read by their type's full range they are"
        if self.top <= WIDE:
            self.advised = high
            return None, f"{dark} dark; data.scale: [0, {high:g}] would spread them"
        return [0.0, high], (
            f"{dark} black; data.scale [0, {high:g}] becomes 0 and 1, what lies beyond is cut off;"
            " check that against what the bands mean"
        )


def _round_up(number: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten, or full scale of 8, 12 or 16 bits, not below `number`."""
    power = 10.0 ** math.floor(math.log10(number))
    steps = [digit * power for digit in (1, 2, 5, 10)]
    return min(step for step in (*steps, *FULL_SCALES) if step >= number * (1 - 1e-9))
