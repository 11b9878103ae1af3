"""Weights and thresholds fitted on disputed pixels; every score is exact for the images fitted on.

Weights are integers out of 1000 (uniform ones are all equal, whatever their sum, so that they are exactly
uniform). What is found here is optimistic on those images: comp.blending.crossfit says by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from comp.blending.pixels import HALF, LEVELS
from comp.blending.pool import Pool
from comp.metrics.scores import find_metric

TOTAL = 1000
STEP = 10  # weights move in hundredths: finer ones fit noise
ROUNDS = 20  # picks of the greedy search, 5 % each; the best split of pairs refines them
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


def greedy(objective: Objective, thresholds: Thresholds) -> Weights:
    """Pick the column that helps most, with replacement, `ROUNDS` times; keep the best whole prefix.

    Caruana et al. 2004, "Ensemble selection from libraries of models". Never worse than uniform.
    """
    pool = objective.pool
    n, columns = pool.n_columns, pool.columns
    start = uniform(objective, thresholds)
    best, best_score = start, objective.at(start, thresholds)
    picks = [0] * n
    for picked in range(1, ROUNDS + 1):
        scores = []
        for column in columns:
            one = [int(c == column) for c in range(n)]
            counts = pool.line(picks, one, (1, 1, 1), thresholds)
            scores.append(objective.score(counts[0]))
        winner = int(np.argmax(scores))
        picks[columns[winner]] += 1
        whole = TOTAL % picked == 0 and (TOTAL // picked) % STEP == 0
        if whole and scores[winner] > best_score + GAIN:
            best, best_score = tuple(p * (TOTAL // picked) for p in picks), scores[winner]
    return best


def coordinate(objective: Objective, thresholds: Thresholds) -> Weights:
    """Move weight between two columns along exact lines until no move helps; several starts.

    Starts: the greedy answer, uniform (in steps of 10) and the best single column. Never worse than
    greedy, hence never worse than uniform.
    """
    columns = objective.pool.columns
    found = greedy(objective, thresholds)
    if len(columns) == 1:
        return found
    best, best_score = found, objective.at(found, thresholds)
    starts = [in_steps(found), in_steps(uniform(objective, thresholds))]
    if len(columns) <= 12:
        singles = [
            tuple(TOTAL * (c == column) for c in range(objective.pool.n_columns))
            for column in columns
        ]
        starts.append(max(singles, key=lambda weights: objective.at(weights, thresholds)))
    for start in dict.fromkeys(starts):
        weights, score = climb(objective, start, thresholds)
        if score > best_score + GAIN:
            best, best_score = weights, score
    return best


def climb(objective: Objective, start: Weights, thresholds: Thresholds) -> tuple[Weights, float]:
    """Sweep over pairs of columns, taking the best split of each pair's weight, until a sweep changes nothing."""
    weights, score = list(start), objective.at(start, thresholds)
    columns = objective.pool.columns
    for _ in range(5):
        before = score
        for i, a in enumerate(columns):
            for b in columns[i + 1 :]:
                if weights[a] + weights[b] == 0:
                    continue
                delta, score = _best_on_line(objective, weights, (a, b), thresholds, score)
                weights[a] += delta
                weights[b] -= delta
        if score <= before + GAIN:
            break
    return tuple(weights), score


def _best_on_line(
    objective: Objective,
    weights: Sequence[int],
    pair: tuple[int, int],
    thresholds: Thresholds,
    score: float,
) -> tuple[int, float]:
    """The move of weight from b to a that scores best, and its score; no move unless it gains."""
    a, b = pair
    direction = [int(c == a) - int(c == b) for c in range(len(weights))]
    coarse = 1 if objective.pool.task != "multiclass" else 5
    step = STEP * coarse
    low = -(weights[a] // step) * step
    n_values = (weights[b] - low) // step + 1
    counts = objective.pool.line(weights, direction, (low, step, n_values), thresholds)
    # Counts are exact at every value, but scoring one costs more than counting it: look coarsely first.
    stay = -low // step
    looked = {stay: score}

    def look(values: Iterable[int]) -> int:
        for v in values:
            if 0 <= v < n_values and v not in looked:
                looked[v] = objective.score(counts[v])
        return max(looked, key=lambda v: (looked[v], -abs(v - stay)))

    best = look(range(0, n_values, 8))
    for stride in (4, 2, 1):
        best = look((best - stride, best + stride))
    if looked[best] <= score + GAIN:
        return 0, score
    return low + best * step, looked[best]


def in_steps(weights: Weights) -> Weights:
    """Scale weights to a sum of 1000 in multiples of `STEP`, by largest remainder."""
    units = TOTAL // STEP
    total = sum(weights)
    floors = [w * units // total for w in weights]
    rest = [w * units % total for w in weights]
    for index in sorted(range(len(weights)), key=lambda i: (-rest[i], i))[: units - sum(floors)]:
        floors[index] += 1
    return tuple(f * STEP for f in floors)


def fit_thresholds(objective: Objective, weights: Weights) -> tuple[Thresholds, float]:
    """Choose each plane's threshold among all `LEVELS`; 0.5 unless another gains, nearest to 0.5 on ties.

    Returns:
        thresholds (None for multiclass) and the score there.
    """
    pool = objective.pool
    if pool.task == "multiclass":
        return None, objective.at(weights, None)
    table = pool.levels(weights)
    chosen = [HALF] * pool.n_classes
    outward = sorted(range(len(LEVELS)), key=lambda v: abs(v - HALF))

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


def search(objective: Objective, method: str) -> tuple[Weights, Thresholds, float, str]:
    """Fit weights and thresholds in turn, among the columns of the objective's pool.

    Args:
        method: a key of `METHODS`, or auto: uniform, and coordinate (which starts from greedy and never
            loses to it) where it scores better.

    Returns:
        weights, thresholds, the score on the fitted images, the method that found them.
    """
    names = ["uniform", "coordinate"] if method == "auto" else [method]
    best: tuple[Weights, Thresholds, float, str] | None = None
    for name in names:
        weights = METHODS[name](near(objective, half(objective)), half(objective))
        thresholds, score = fit_thresholds(objective, weights)
        if thresholds != half(objective) and name != "uniform":
            closer = near(objective, thresholds)
            again, _ = climb(closer, in_steps(weights), thresholds)
            moved, moved_score = fit_thresholds(objective, again)
            if moved_score > score + GAIN:
                weights, thresholds, score = again, moved, moved_score
        if best is None or score > best[2] + GAIN:
            best = (weights, thresholds, score, name)
    assert best is not None
    return best


def near(objective: Objective, thresholds: Thresholds) -> Objective:
    """The same objective with only the pixels that are disputed at these thresholds."""
    if thresholds is None:
        return objective
    return replace(objective, pool=objective.pool.narrow(thresholds=thresholds))


METHODS: dict[str, Callable[[Objective, Thresholds], Weights]] = {
    "uniform": uniform,
    "greedy": greedy,
    "coordinate": coordinate,
}
