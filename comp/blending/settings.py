"""The settings of clean-up that are looked at: few and coarse, on a grid a rule, so that each has neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from comp.blending.blend import Source
from comp.blending.pixels import LEVELS
from comp.blending.search import Thresholds
from comp.masks.rules import ANY_AREA, NO_RULES, Rules

SHARE = (
    0.01  # of the median image: a larger area would be a rule about the picture, not about noise
)
LOWER = (0.0, -0.1, -0.2)  # of the fitted threshold, for hysteresis
HIGHER = (0.1, 0.2, 0.3)
SURE = (0.0, 0.2, 0.35)
CORES = (1, 16)
SQUARES = (3, 5)
KEPT = (5, 3, 2, 1)
PRESENCES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class Setting:
    """How a blend is decided and cleaned up.

    Args:
        thresholds: one a plane; with hysteresis the lower ones. None for multiclass.
    """

    thresholds: Thresholds
    min_area_px: int = 0
    rules: Rules = NO_RULES


@dataclass(frozen=True)
class Grid:
    """The settings of one rule: axes from mild to strict, the last one moving fastest."""

    rule: str
    shape: tuple[int, ...]
    settings: tuple[Setting, ...]


def areas(source: Source, images: np.ndarray) -> tuple[int, ...]:
    """Candidate minimum areas in pixels: 0 (no clean-up), then powers of two from 8 to 1 % of the median image."""
    sizes = [int(np.prod(source.labels(int(i)).shape[-2:])) for i in images]
    largest = SHARE * float(np.median(sizes))
    return (0, *(2**p for p in range(3, 20) if 2**p <= largest))


def grids(
    now: Setting, fitted: Thresholds, task: str, sizes: Sequence[int], presence: bool, rules: bool
) -> list[Grid]:
    """Every setting that differs from `now` in one rule.

    Args:
        fitted: the thresholds before any clean-up.
        sizes: as `areas` returns them.
        presence: an auxiliary classifier speaks of every image.
        rules: look at more than the smallest object.
    """
    found = [_grid("smallest object", (sizes,), lambda px: replace(now, min_area_px=px))]
    if not rules or fitted is None:
        return found

    def changed(**keys: object) -> Setting:
        return replace(now, rules=replace(now.rules, **keys))  # type: ignore[arg-type]

    def hysteresis(step: float, core: int, lower: float) -> Setting:
        top = {"top": moved(fitted, step), "core_px": core}
        return replace(changed(**top), thresholds=moved(fitted, lower))

    some = (*sizes[1::2],)
    holes = (*(4 * px for px in some), ANY_AREA)
    found += [
        _grid("hysteresis", (HIGHER, CORES, LOWER), hysteresis),
        _grid("open", (SQUARES,), lambda px: changed(open_px=px)),
        _grid("close", (SQUARES,), lambda px: changed(close_px=px)),
        _grid("holes", (holes,), lambda px: changed(fill_px=px)),
        _grid("largest objects", (KEPT,), lambda k: changed(keep=k)),
        _grid(
            "empty image",
            (SURE, (1, *some)),
            lambda step, px: changed(sure=moved(fitted, step), image_px=px),
        ),
    ]
    if presence:
        found.append(_grid("classifier", (PRESENCES,), lambda p: changed(presence=p)))
    if task == "multilabel":
        found.append(_grid("exclusive", ((True,),), lambda on: changed(exclusive=on)))
    return found


def _grid(rule: str, axes: Sequence[Sequence[object]], make: Callable[..., Setting]) -> Grid:
    settings = tuple(make(*values) for values in product(*axes))
    return Grid(rule, tuple(len(axis) for axis in axes), settings)


def moved(thresholds: Sequence[float], step: float) -> tuple[float, ...]:
    """Thresholds moved by about `step`, to the nearest of `LEVELS` and not beyond them."""
    places = np.asarray(LEVELS)
    return tuple(LEVELS[int(np.abs(places - (t + step)).argmin())] for t in thresholds)
