"""Folds along a time column: blocks of images in order, each validated by a model that saw none too near.

Times are numbers, or ISO dates counted in days. Refuses columns that are neither, and too few times.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from comp.errors import FoldsError, some

DATE = re.compile(r"\d{4}-?\d\d-?\d\d([T ].+)?")
DAY = 86_400.0


@dataclass(frozen=True)
class Times:
    """When N images were made.

    Args:
        values: (N,) float64, numbers of the column, or whole seconds since 1970.
        dates: the column holds dates.
    """

    values: np.ndarray
    dates: bool

    @property
    def unit(self) -> float:
        """What one of `folds.purge` is in `values`: a day, or 1."""
        return DAY if self.dates else 1.0

    def say(self, value: float) -> str:
        """A time as a person writes it."""
        if not self.dates:
            return f"{value:.12g}"
        moment = datetime.fromtimestamp(value, UTC)
        whole_day = value % DAY == 0
        return moment.strftime("%Y-%m-%d" if whole_day else "%Y-%m-%dT%H:%M:%S")


def read_times(texts: Sequence[str], where: str) -> Times:
    """Read the cells of a time column: all ISO dates (with or without a time of day), or all numbers.

    Args:
        where: starts the message: ``meta.csv: column 'Day' (folds.time)``.

    Raises:
        FoldsError: cells that are neither (the first five named), or numbers beside dates.
    """
    dates = [_date(text.strip()) for text in texts]
    if None not in dates:
        return Times(np.array(dates, np.float64), True)
    numbers = [_number(text) for text in texts]
    if None not in numbers:
        return Times(np.array(numbers, np.float64), False)
    kinds = list(zip(texts, dates, numbers, strict=True))
    wrong = [repr(text) for text, date, number in kinds if date is None and number is None]
    expected = "expected numbers, or dates such as 2024-05-31 or 2024-05-31T12:00"
    if wrong:
        raise FoldsError(
            f"{where}: {len(wrong)} cells are neither number nor date: {some(wrong)}; {expected}"
        )
    mixed = [repr(text) for text, _, number in kinds if number is None]
    raise FoldsError(
        f"{where}: {len(mixed)} cells are dates, the rest numbers: {some(mixed)}; {expected}"
    )


def _date(text: str) -> float | None:
    """Seconds since 1970; without a time zone it is UTC."""
    if not DATE.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def divide(
    times: Times, units: np.ndarray, n_splits: int, purge: float, before: bool
) -> tuple[np.ndarray, list[list[int]], list[str]]:
    """Give each image its block, and the blocks whose models must not see it.

    Args:
        units: (N,) int64 in 0..U-1, what stays together.
        purge: in units of the column, days for dates.
        before: train on what comes before a block, so that one more block stands at the start; else around it.

    Returns:
        (N,) int64 block, -1 for the one at the start; N lists; a line on each block.

    Raises:
        FoldsError: too few times, or a block that leaves nothing to train on.
    """
    fold = make_blocks(times.values, units, n_splits + before) - before
    left_out: list[list[int]] = [[] for _ in units]
    notes = []
    for number in range(n_splits):
        inside = fold == number
        out, purged = too_near(times.values, inside, purge * times.unit, before)
        for i in np.flatnonzero(out):
            left_out[i].append(number)
        start, end = (times.say(f(times.values[inside])) for f in (np.min, np.max))
        n_train = int((~inside & ~out).sum())
        said = f"fold {number}: {inside.sum()} images from {start} to {end}, trained on {n_train}"
        notes.append(said + (f", {purged.sum()} purged" if purge else ""))
        if n_train == 0:
            raise FoldsError(
                f"scheme time: {notes[-1]}: nothing is left to train on; lower folds.purge or "
                "folds.n_splits, or use train_on: around"
            )
    return fold, left_out, notes


def make_blocks(times: np.ndarray, units: np.ndarray, n_blocks: int) -> np.ndarray:
    """Cut units, in the order of their first image, into blocks of about as many images each.

    Units that begin at one time share a block.

    Args:
        times: (N,) float64; units: (N,) int64 in 0..U-1.

    Returns:
        (N,) int64 in 0..n_blocks-1.

    Raises:
        FoldsError: fewer different times than blocks.
    """
    first = np.full(int(units.max()) + 1, np.inf)
    np.minimum.at(first, units, times)
    values, place, sizes = np.unique(first[units], return_inverse=True, return_counts=True)
    if len(values) < n_blocks:
        n_times = len(np.unique(times))
        what = f"{len(values)} different times"
        if n_times >= n_blocks:  # it is the groups that stay whole
            what = f"{len(first)} groups, which begin at {what} of {n_times},"
        raise FoldsError(f"folds.time: {what} cannot fill {n_blocks} blocks; lower folds.n_splits")
    ends = np.cumsum(sizes)
    borders = [0]
    for block in range(1, n_blocks):
        low, high = borders[-1] + 1, len(values) - (n_blocks - block)
        target = ends[-1] * block / n_blocks
        borders.append(low + int(np.argmin(np.abs(ends[low - 1 : high] - target))))
    return np.searchsorted(borders, place, side="right") - 1


def too_near(
    times: np.ndarray, inside: np.ndarray, purge: float, before: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Which images the model of a validation block must not see.

    Args:
        times: (N,) float64; inside: (N,) bool, the images validated.
        before: train on earlier images only; else on both sides.

    Returns:
        (N,) bool each: not to be trained on in all; those of them that only `purge` keeps out.
    """
    start, end = times[inside].min(), times[inside].max()
    never = (times >= start) & (before | (times <= end)) & ~inside
    near = (times > start - purge) & (before | (times < end + purge)) & ~inside
    return never | near, near & ~never
