"""What a search maximises, and the plain pieces of every search: equal weights, steps, thresholds.

Every score is exact for the images fitted on, and optimistic there: comp.blending.crossfit says by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from comp.blending.pixels import HALF, LEVELS
from comp.blending.pool import Pool
from comp.metrics.scores import find_metric

TOTAL = 1000
STEP = 10  # weights move in hundredths: finer ones fit noise
GAIN = 1e-9  # a smaller improvement is rounding

Weights = tuple[int, ...]
Thresholds = tuple[float, ...] | None


@dataclass(frozen=True)
class Objective:
    """What a search maximises: `metric` over the pool's images, signed so that more is better."""

    pool: Pool
    metric: str

    def score(self, counts: np.ndarray) -> float:
        """Score counts (n, K, 4); an undefined score is minus infinity."""
        return signed_score(self.metric, counts)

    def at(self, weights: Weights, thresholds: Thresholds) -> float:
        """Score one blend."""
        return self.score(self.pool.count(weights, thresholds))

    def each(self, weights: Sequence[Weights], thresholds: Thresholds) -> list[float]:
        """Score many blends."""
        counts = self.pool.counts_of(np.asarray(weights), thresholds)
        return [self.score(one) for one in counts]


def signed_score(metric: str, counts: np.ndarray) -> float:
    """Score counts (n, K, 4) so that more is better; an undefined score is minus infinity."""
    found = find_metric(metric)
    value = float(found.score(counts))
    if np.isnan(value):
        return -np.inf
    return value if found.greater_is_better else -value


def half(objective: Objective) -> Thresholds:
    """Threshold 0.5 for each plane; None for multiclass, which has none."""
    if objective.pool.task == "multiclass":
        return None
    return (0.5,) * objective.pool.n_classes


def equal(columns: Sequence[int], n_columns: int) -> Weights:
    """Equal weights for `columns`, 0 for the others; exactly equal, so they need not sum to 1000."""
    each = TOTAL // len(columns) if TOTAL % len(columns) == 0 else 1
    return tuple(each if c in columns else 0 for c in range(n_columns))


def uniform(objective: Objective, thresholds: Thresholds) -> Weights:
    """Equal weights, nothing fitted."""
    return equal(objective.pool.columns, objective.pool.n_columns)


def in_steps(weights: Weights) -> Weights:
    """Scale weights to a sum of 1000 in multiples of `STEP`, by largest remainder."""
    units = TOTAL // STEP
    total = sum(weights)
    floors = [w * units // total for w in weights]
    rest = [w * units % total for w in weights]
    for index in sorted(range(len(weights)), key=lambda i: (-rest[i], i))[: units - sum(floors)]:
        floors[index] += 1
    return tuple(f * STEP for f in floors)


def fit_thresholds(
    objective: Objective, weights: Weights, every: int = 1
) -> tuple[Thresholds, float]:
    """Choose each plane's threshold among all `LEVELS`; 0.5 unless another gains, nearest to 0.5 on ties.

    Args:
        every: look at every so many levels only, from 0.5 on.

    Returns:
        thresholds (None for multiclass) and the score there.
    """
    pool = objective.pool
    if pool.task == "multiclass":
        return None, objective.at(weights, None)
    table = pool.levels(weights)
    chosen = [HALF] * pool.n_classes
    outward = sorted(range(HALF % every, len(LEVELS), every), key=lambda v: abs(v - HALF))

    def score_at(levels: list[int]) -> float:
        return objective.score(np.stack([table[v, :, k] for k, v in enumerate(levels)], axis=1))

    best = score_at(chosen)
    for _ in range(1 if pool.n_classes == 1 else 2):
        before = list(chosen)
        for k in range(pool.n_classes):
            for v in outward:
                trial = [*chosen[:k], v, *chosen[k + 1 :]]
                score = score_at(trial)
                if score > best + GAIN:
                    chosen, best = trial, score
        if chosen == before:
            break
    return tuple(LEVELS[v] for v in chosen), best


def near(objective: Objective, thresholds: Thresholds) -> Objective:
    """The same objective with only the pixels that are disputed at these thresholds."""
    if thresholds is None:
        return objective
    return replace(objective, pool=objective.pool.narrow(thresholds=thresholds))
