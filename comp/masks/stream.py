"""The run-length code of a mask that comes in bands of rows, and is never held whole.

The same runs and the same text as `rle.encode` of the whole mask, in either pixel order: kept are the
places where a pixel differs from the one before it, 8 bytes each, which the runs need anyway.
"""

from __future__ import annotations

import numpy as np

from comp.masks.rle import Order, text_of


class RunStream:
    """Bands of rows in, runs out.

    Args:
        height, width: of the whole mask.
        order: pixel order of the code.
    """

    def __init__(self, height: int, width: int, order: Order = "column") -> None:
        self.height, self.width, self.order = height, width, order
        self.row = 0  # rows seen
        self._changes: list[np.ndarray] = []
        self._above = np.zeros(width, np.uint8)
        self._first = np.zeros(width, np.uint8)

    def add(self, band: np.ndarray) -> None:
        """Take the next rows.

        Args:
            band: (h, W) uint8 or bool, 0 and 1; it may be changed or dropped afterwards.

        Raises:
            ValueError: another shape, dtype or value, or more rows than the mask has.
        """
        if band.ndim != 2 or band.dtype not in (np.uint8, np.bool_):
            raise ValueError(f"a band is (h, W) uint8 with 0 and 1, got {band.shape} {band.dtype}")
        if band.shape[1] != self.width or self.row + len(band) > self.height:
            raise ValueError(
                f"a band of {band.shape[0]} x {band.shape[1]} after {self.row} rows does not fit "
                f"into {self.height} x {self.width}"
            )
        if len(band) == 0 or self.width == 0:
            self.row += len(band)
            return
        band = np.ascontiguousarray(band).view(np.uint8)
        if int(band.max()) > 1:
            raise ValueError(f"a mask holds 0 and 1 only, got {band.max()}")
        if self.order == "row":
            self._along_rows(band)
        else:
            self._down_columns(band)
        self._above = band[-1].copy()
        self.row += len(band)

    def _along_rows(self, band: np.ndarray) -> None:
        flat = band.reshape(-1)
        start = self.row * self.width
        if flat[0] != self._above[-1]:
            self._changes.append(np.array([start], np.int64))
        self._changes.append(np.flatnonzero(flat[1:] != flat[:-1]) + (start + 1))

    def _down_columns(self, band: np.ndarray) -> None:
        """Where a pixel differs from the one above it; what differs over the ends of columns comes last."""
        if self.row == 0:
            self._first = band[0].copy()
            self._above = band[0]
        for row, differs in ((0, band[:1] != self._above), (1, band[1:] != band[:-1])):
            rows, columns = np.divmod(np.flatnonzero(differs), self.width)
            columns *= self.height
            columns += rows
            columns += self.row + row
            self._changes.append(columns)

    def runs(self) -> np.ndarray:
        """The maximal runs of the whole mask: (R, 2) int64 zero-based start and length, in order.

        Raises:
            ValueError: rows are missing.
        """
        if self.row != self.height:
            raise ValueError(f"{self.row} of {self.height} rows were given")
        if self.height == 0 or self.width == 0:
            return np.empty((0, 2), np.int64)
        if self.order == "row":
            changes = np.concatenate(self._changes)
        else:  # the pixel before a column's first is the last of the column before
            before = np.concatenate([[0], self._above[:-1]])
            tops = np.flatnonzero(self._first != before) * self.height
            changes = np.concatenate([*self._changes, tops])
            changes.sort()
        if len(changes) % 2:  # the last pixel is in a run
            changes = np.append(changes, self.height * self.width)
        starts, ends = changes[::2], changes[1::2]
        return np.stack([starts, ends - starts], axis=1)

    def text(self, base: int = 1, relative: bool = False) -> str:
        """``start length ...`` of the whole mask; "" when it is empty."""
        return text_of(self.runs(), base, relative)
