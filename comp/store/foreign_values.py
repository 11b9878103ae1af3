"""Values that somebody else made -> planes as we store them. Nothing is scaled, filled or turned by a guess."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from comp.errors import some
from comp.store.foreign_header import Refused
from comp.store.probs import STORE_DTYPES, quantise

# Above 1 by no more than this is rounding: of a softmax, of a mean over views.
TOLERANCE = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-5}
SCALES = {"uint8": "0..255", "uint16": "0..65535", "bool": "hard votes"}


@dataclass
class Problems:
    """What is wrong, gathered so that all of it is said at once: kind -> the items that have it."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, item: str = "") -> None:
        self.found.setdefault(kind, []).append(item)

    def lines(self) -> list[str]:
        """One line a kind, with the count and the first five."""
        said = []
        for kind, items in self.found.items():
            named = [item for item in items if item]
            said.append(f"{kind}: {len(named)}: {some(named)}" if named else kind)
        return said


@dataclass
class Seen:
    """What kinds of numbers came, and their span, over many images."""

    kinds: dict[str, int] = field(default_factory=dict)
    low: float = float("inf")
    high: float = float("-inf")
    tops: dict[str, int] = field(default_factory=dict)  # largest whole number by dtype
    hard: bool = True  # nothing but 0 and 1 (or the dtype's largest) came

    def look(self, planes: np.ndarray) -> None:
        name = planes.dtype.name
        self.kinds[name] = self.kinds.get(name, 0) + 1
        full = STORE_DTYPES[name][1] if name in STORE_DTYPES else 1
        low, high = float(planes.min()), float(planes.max())
        self.low, self.high = min(self.low, low / full), max(self.high, high / full)
        if name in STORE_DTYPES:
            self.tops[name] = max(self.tops.get(name, 0), int(high))
        if self.hard:
            self.hard = bool(((planes == 0) | (planes == full)).all())

    def check(self, problems: Problems, where: str) -> None:
        """Say where whole numbers are plainly of another scale than their dtype's."""
        if self.tops.get("uint8") == 1:
            problems.add(
                f"{where}: uint8 is read as 0..255, but the largest number is 1: a mask of 0 and 1? save it "
                "as bool, or times 255"
            )
        if 0 < self.tops.get("uint16", 0) <= 255:
            problems.add(
                f"{where}: uint16 is read as 0..65535, but the largest number is {self.tops['uint16']}: 0..255 "
                "in the wrong dtype? save it as uint8"
            )

    def describe(self) -> str:
        """``float32, 0.0012 to 0.9981``."""
        kinds = ", ".join(
            k + (f" as {SCALES[k]}" if k in SCALES else "") for k in sorted(self.kinds)
        )
        hard = (
            "; hard votes, nothing between 0 and 1"
            if self.hard and "bool" not in self.kinds
            else ""
        )
        return f"{kinds}; {self.low:.4g} to {self.high:.4g}{hard}"


def arrange(shape: tuple[int, ...], n_planes: int, size: tuple[int, int]) -> str:
    """How an array of `shape` holds the planes of an image: ``KHW``, ``HWK`` or, of one plane, ``HW``.

    Args:
        n_planes: K, one a class; 1 for binary.
        size: (H, W) of the image.

    Raises:
        Refused: another size or another number of planes.
    """
    if shape == (n_planes, *size):
        return "KHW"
    if shape == size and n_planes == 1:
        return "HW"
    if shape == (*size, n_planes):
        return "HWK"
    got: int | None = None
    if shape == size:
        got = 1
    elif len(shape) == 3 and size in (shape[1:], shape[:2]):
        got = shape[0] if shape[1:] == size else shape[2]
    if got is not None:
        only = "the foreground alone" if n_planes == 1 else "one a class, in the order of `classes`"
        raise Refused(f"expected {n_planes} plane{'s' * (n_planes > 1)} ({only})", f"got {got}")
    turned = size[0] != size[1] and size[::-1] in (shape[-2:], shape[:2])
    raise Refused(
        "not of the image's own size",
        f"image {size}, got {shape}" + (", rows and columns swapped?" if turned else ""),
    )


def as_planes(values: np.ndarray, how: str) -> np.ndarray:
    """View an array that `arrange` judged as (K, H, W)."""
    if how == "HW":
        return values[None]
    return np.moveaxis(values, -1, 0) if how == "HWK" else values


def to_stored(planes: np.ndarray, store: str) -> np.ndarray:
    """Bring values to the integers that we store.

    Args:
        planes: (K, H, W): float in [0, 1], uint8 as 0..255, uint16 as 0..65535, bool.
        store: uint8 or uint16.

    Returns:
        (K, H, W) of the store's dtype; exact but for rounding to the nearest.

    Raises:
        Refused: NaN, infinity, or floats outside [0, 1].
    """
    dtype, full = STORE_DTYPES[store]
    name = planes.dtype.name
    if name == "bool":
        return planes.astype(dtype) * dtype(full)
    if name in STORE_DTYPES:
        if name == store:
            return np.ascontiguousarray(planes)
        if store == "uint16":
            return planes.astype(np.uint16) * np.uint16(257)
        return ((planes.astype(np.uint32) + 128) // 257).astype(np.uint8)
    low, high = float(planes.min()), float(planes.max())  # NaN in any value is NaN here
    if not (np.isfinite(low) and np.isfinite(high)):
        n = int(np.count_nonzero(~np.isfinite(planes)))
        raise Refused("NaN or infinite", f"{n} value{'s' * (n > 1)}")
    slack = TOLERANCE[name]
    if low < -slack:
        raise Refused("below 0: logits? apply the sigmoid or softmax", f"{low:.4g} to {high:.4g}")
    if high > 1 + slack:
        hint = (
            "0..255 as float? divide by 255"
            if 50 < high <= 255
            else "logits? apply the sigmoid or softmax"
        )
        raise Refused(f"above 1: {hint}", f"{low:.4g} to {high:.4g}")
    return quantise(planes, store)


def store_for(kinds: Any) -> str:
    """The store that holds these dtypes as they came: uint16 where one of them is; of floats uint8, as `comp cv`."""
    return "uint16" if "uint16" in kinds else "uint8"
