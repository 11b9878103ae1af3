"""The connected parts of a mask, found from its runs: memory goes with the runs, not the pixels.

A mask that comes in bands needs no more than its runs either: `stream.RunStream.runs` gives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import ModuleType

import numpy as np

from comp.masks.rle import Order, flatten, runs_of

NO_VALUES = np.empty(0, np.uint8)


def kernels() -> ModuleType:
    """The compiled loops, imported when first used."""
    from comp.masks import part_kernels

    return part_kernels


@dataclass(frozen=True)
class Parts:
    """The connected parts of a mask, numbered from 0 by their first pixel in the order of the runs.

    Args:
        runs: (R, 2) int64 zero-based start and length in the flattened mask, in order, cut at the
            ends of lines (of rows; of columns where the mask was flattened down its columns).
        numbers: (R,) int32, the part of each run.
        n: parts.
    """

    runs: np.ndarray
    numbers: np.ndarray
    n: int

    @cached_property
    def areas(self) -> np.ndarray:
        """Pixels of each part: (n,) int64."""
        areas: np.ndarray = kernels().part_areas(self.runs, self.numbers, self.n)
        return areas

    def counts(self, truth: np.ndarray) -> np.ndarray:
        """Pixels of label 0 and of label 1 under each part: (n, 2) int64.

        Args:
            truth: (H, W) uint8 labels; the parts must be in row order.
        """
        flat = flatten(truth, "row")
        counts: np.ndarray = kernels().count_below(self.runs, self.numbers, self.n, flat)
        return counts

    def tables(self) -> list[np.ndarray]:
        """The maximal runs of each part: (R, 2) int64, sorted; views of one array."""
        grouped, first = kernels().group_runs(self.runs, self.numbers, self.n)
        cuts = first.tolist()
        return [grouped[a:b] for a, b in pairwise(cuts)]


def cut_runs(runs: np.ndarray, line: int) -> np.ndarray:
    """Cut runs (R, 2) int64 at the ends of lines of `line` pixels: each is connected in itself."""
    cut: np.ndarray = kernels().split_runs(runs, line)
    return cut


def parts_of_runs(runs: np.ndarray, line: int, connectivity: int = 8) -> Parts:
    """Join the runs of a mask that touch.

    Args:
        runs: (R, 2) int64 zero-based, in order and apart, as `rle.runs_of` and `RunStream.runs`
            return them.
        line: pixels of a line: the width for row order, the height for column order.
        connectivity: 8 (corners touch) or 4.
    """
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity is 4 or 8, got {connectivity}")
    if len(runs) == 0:
        return Parts(np.empty((0, 2), np.int64), np.empty(0, np.int32), 0)
    runs = cut_runs(runs, line)
    return Parts(runs, *kernels().number_runs(runs, NO_VALUES, line, connectivity == 8))


def find_parts(mask: np.ndarray, connectivity: int = 8, order: Order = "row") -> Parts:
    """Find the connected parts of a mask.

    Args:
        mask: (H, W) uint8 or bool, 0 and 1.
        connectivity: 8 (corners touch) or 4.
        order: pixel order of the runs.
    """
    line = mask.shape[1 if order == "row" else 0]
    return parts_of_runs(runs_of(mask, order), line, connectivity)


def find_class_parts(mask: np.ndarray, connectivity: int = 8) -> tuple[Parts, np.ndarray]:
    """Find the connected parts of every value of a mask, along the rows.

    Args:
        mask: (H, W) uint8, not empty.

    Returns:
        the parts, which together are all pixels, and the value of each run, (R,) uint8.
    """
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity is 4 or 8, got {connectivity}")
    flat, width = flatten(mask, "row"), mask.shape[1]
    words = flat[: flat.size // 8 * 8].view(np.uint64)
    runs, values = kernels().find_value_runs(flat, words, width)
    return Parts(runs, *kernels().number_runs(runs, values, width, connectivity == 8)), values


def objects(mask: np.ndarray, connectivity: int = 8, order: Order = "column") -> list[np.ndarray]:
    """Return the runs of each connected part of a mask, by first pixel.

    Args:
        mask: (H, W) uint8 0/1.
        order: pixel order of the runs.

    Returns:
        one (R, 2) int64 table an object, zero-based, sorted; together they are the mask, apart from
        each other.
    """
    return find_parts(mask, connectivity, order).tables()
