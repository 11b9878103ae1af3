"""Bootstrap of a score from its counts: no pixel is looked at, thousands of resamples take a part of a second.

Images are drawn with replacement, or whole groups where images belong together. Draws come from a seed and
from the units alone, so that tables of the same images are resampled alike: differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from comp.metrics.scores import dice, find_metric, iou
from comp.registry import is_import_path

RESAMPLES = 2000
LEVEL = 0.95
CHUNK = 4_000_000  # draws held at once

# Means over images and classes. Every other metric of the table is a function of the summed counts.
PER_IMAGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "iou_image_mean": iou,
    "dice_image_mean": dice,
}


def resample_scores(
    metric: str,
    tables: Sequence[np.ndarray],
    groups: Sequence[str] | None = None,
    n_resamples: int = RESAMPLES,
) -> np.ndarray:
    """Score every table on the same seeded resamples of its images.

    Args:
        tables: each (N, K, 4) int64 counts of the same N images.
        groups: (N,) images of one group are drawn together; None: each by itself.

    Returns:
        (len(tables), n_resamples) float64 in the metric's own direction; NaN where a score is undefined.
    """
    unit = unit_of(len(tables[0]), groups)
    return np.concatenate(
        [
            np.stack([_score_draws(metric, counts, unit, times) for counts in tables])
            for times in _draws(int(unit.max()) + 1, n_resamples)
        ],
        axis=1,
    )


def unit_of(n_images: int, groups: Sequence[str] | None) -> np.ndarray:
    """The number (N,) of the unit that each image is drawn with."""
    if groups is None:
        return np.arange(n_images)
    unit: np.ndarray = np.unique(np.asarray(groups), return_inverse=True)[1]
    return unit


def interval(scores: np.ndarray) -> tuple[float, float] | None:
    """The middle `LEVEL` of resampled scores (R,), by percentiles; None where one is undefined."""
    if not np.isfinite(scores).all():
        return None
    low, high = np.quantile(scores, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _draws(n_units: int, n_resamples: int) -> Iterator[np.ndarray]:
    """How often each unit is drawn: (some resamples, n_units) float64, `n_resamples` rows in all."""
    rng = np.random.default_rng(0)
    step = max(1, CHUNK // n_units)
    for start in range(0, n_resamples, step):
        rows = min(step, n_resamples - start)
        drawn = rng.integers(n_units, size=(rows, n_units))
        drawn += np.arange(rows)[:, None] * n_units
        times = np.bincount(drawn.reshape(-1), minlength=rows * n_units)
        yield times.reshape(rows, n_units).astype(np.float64)


def _score_draws(
    metric: str, counts: np.ndarray, unit: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """One score a row of `times` (R, U): (R,)."""
    found = find_metric(metric)
    n_units = times.shape[1]
    if is_import_path(metric):  # of a user's own metric nothing is known
        order = np.argsort(unit, kind="stable")
        often = times[:, unit[order]].astype(np.int64)
        return np.array([found.score(counts[np.repeat(order, row)]) for row in often])
    if metric in PER_IMAGE:
        each = PER_IMAGE[metric](counts).mean(axis=1)
        total = times @ np.bincount(unit, each, minlength=n_units)
        size = times @ np.bincount(unit, minlength=n_units)
        return np.asarray(total / size)
    sums = np.zeros((n_units, counts[0].size))
    np.add.at(sums, unit, counts.reshape(len(counts), -1))
    drawn = np.rint(times @ sums).astype(np.int64).reshape(-1, 1, *counts.shape[1:])
    return np.array([found.score(one) for one in drawn])
