"""How weights are found at given thresholds; each method returns integers out of 1000 on the pool's columns.

To add one is one function and one line of `METHODS`; which of them is used is decided in comp.blending.search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np

from comp.blending.objective import (
    GAIN,
    STEP,
    TOTAL,
    Objective,
    Thresholds,
    Weights,
    equal,
    in_steps,
    uniform,
)

ROUNDS = 20  # picks of the greedy search, 5 % each; the best split of pairs refines them
BAGS = 5  # greedy searches that are averaged, each on other images
SWEEPS = 3  # over all pairs of columns, from each start
PIXELS = 20_000  # disputed ones that stand for all in the log-loss
ITERATIONS = 100


def greedy(objective: Objective, thresholds: Thresholds) -> Weights:
    """Pick the column that helps most, with replacement, `ROUNDS` times; keep the best whole prefix.

    Caruana et al. 2004, "Ensemble selection from libraries of models". Never worse than uniform.
    """
    start = uniform(objective, thresholds)
    best, best_score = start, objective.at(start, thresholds)
    for picks, score in _picked(objective, objective.pool.columns, thresholds):
        n = sum(picks)
        if TOTAL % n == 0 and (TOTAL // n) % STEP == 0 and score > best_score + GAIN:
            best, best_score = tuple(p * (TOTAL // n) for p in picks), score
    return best


def bagged(objective: Objective, thresholds: Thresholds) -> Weights:
    """The mean of `BAGS` greedy searches, each on as many images drawn with replacement by a seed.

    Caruana et al. 2004, section 2.3, bags columns; a blend here has few of those, and images are what is noisy.
    """
    n_images = len(objective.pool.images)
    rng = np.random.default_rng(0)
    picked = np.zeros(objective.pool.n_columns, np.int64)
    for _ in range(BAGS):
        bag = rng.integers(0, n_images, n_images)
        *_, (picks, _) = _picked(objective, objective.pool.columns, thresholds, bag)
        picked += picks
    return in_steps(tuple(int(p) for p in picked))


def _picked(
    objective: Objective,
    columns: Sequence[int],
    thresholds: Thresholds,
    rows: np.ndarray | slice = slice(None),
) -> Iterator[tuple[list[int], float]]:
    """The picks so far, one number a column, and their score on some images; one more pick each time."""
    picks = [0] * objective.pool.n_columns
    for _ in range(ROUNDS):
        trials = [[p + (c == column) for c, p in enumerate(picks)] for column in columns]
        counts = objective.pool.counts_of(np.asarray(trials), thresholds)
        scores = [objective.score(one[rows]) for one in counts]
        winner = int(np.argmax(scores))
        picks = trials[winner]
        yield picks, scores[winner]


def logloss(objective: Objective, thresholds: Thresholds) -> Weights:
    """The weights of least log-loss on disputed pixels: a convex question, with one answer for any start.

    Expectation-maximisation of a mixture's proportions (Dempster et al. 1977): each step multiplies a weight by
    the mean share of the column in the probability of the truth. At most `PIXELS` pixels, drawn by a seed.
    """
    pool = objective.pool
    columns = list(pool.columns)
    rng = np.random.default_rng(0)
    taken = []
    for pixels in pool.pixels:
        n = pixels.truth.size
        most = PIXELS // len(pool.pixels)
        rows = np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))
        q, truth = pixels.q[columns][:, rows], pixels.truth[rows]
        if pool.task == "multiclass":
            taken.append(q[:, np.arange(len(rows)), truth])
        else:
            taken.append(np.where(truth == 1, q, pool.full - q))
    right = (
        np.concatenate(taken, axis=1).astype(np.float64) + 0.5
    )  # no certainty that is wrong for ever
    weights = np.full(len(columns), 1 / len(columns))
    for _ in range(ITERATIONS if right.shape[1] else 0):
        weights *= right @ (1 / (weights @ right)) / right.shape[1]
    found = np.zeros(pool.n_columns, np.int64)
    found[columns] = np.rint(weights * 1_000_000)
    return in_steps(tuple(int(w) for w in found))


def coordinate(objective: Objective, thresholds: Thresholds) -> Weights:
    """Move weight between two columns along exact lines until no move helps; several starts.

    Starts: the log-loss answer, the greedy one and uniform (in steps of 10), and the best single column. Never
    worse than the greedy one, hence never worse than uniform, nor than the best single column.
    """
    columns, n = objective.pool.columns, objective.pool.n_columns
    found = greedy(objective, thresholds)
    if len(columns) == 1:
        return found
    alone = [tuple(TOTAL * (c == column) for c in range(n)) for column in columns]
    scores = objective.each(alone, thresholds)
    best, best_score = found, objective.at(found, thresholds)
    if max(scores) > best_score + GAIN:
        best, best_score = alone[int(np.argmax(scores))], max(scores)
    starts = [in_steps(best), in_steps(equal(columns, n)), logloss(objective, thresholds)]
    if objective.at(starts[2], thresholds) < objective.at(starts[1], thresholds):
        starts.pop()  # members that are badly calibrated
    for start in dict.fromkeys(starts):
        weights, score = climb(objective, start, thresholds)
        if score > best_score + GAIN:
            best, best_score = weights, score
    return best


def climb(objective: Objective, start: Weights, thresholds: Thresholds) -> tuple[Weights, float]:
    """Sweep over pairs of columns, taking the best split found of each pair's weight, until none changes."""
    weights, score = list(start), objective.at(start, thresholds)
    pairs = list(combinations(objective.pool.columns, 2))
    idle = 0
    for a, b in pairs * SWEEPS:
        delta = 0
        if weights[a] + weights[b]:
            delta, score = _best_on_line(objective, weights, (a, b), thresholds, score)
            weights[a] += delta
            weights[b] -= delta
        idle = idle + 1 if delta == 0 else 0
        if idle == len(pairs):
            break
    return tuple(weights), score


def _best_on_line(
    objective: Objective,
    weights: Sequence[int],
    pair: tuple[int, int],
    thresholds: Thresholds,
    score: float,
) -> tuple[int, float]:
    """The move of weight from b to a that scores best, and its score; no move unless it gains.

    Looks at moves of 1, 4 and 16 steps, both ways, then by halves around the best of them.
    """
    a, b = pair
    direction = [int(c == a) - int(c == b) for c in range(len(weights))]
    low, high = -(weights[a] // STEP), weights[b] // STEP
    looked = {0: score}

    def look(values: Iterable[int]) -> int:
        fresh = sorted({min(max(v, low), high) for v in values} - looked.keys())
        if fresh:
            deltas = [v * STEP for v in fresh]
            counts = objective.pool.along(weights, direction, deltas, thresholds)
            looked.update(zip(fresh, map(objective.score, counts), strict=True))
        return max(looked, key=lambda v: (looked[v], -abs(v)))

    best = look((1, -1, 4, -4, 16, -16))
    stride = max(1, abs(best) // 2)
    while best != 0:
        best = look([best - stride, best + stride])
        if stride == 1:
            break
        stride //= 2
    if looked[best] <= score + GAIN:
        return 0, score
    return best * STEP, looked[best]


METHODS: dict[str, Callable[[Objective, Thresholds], Weights]] = {
    "uniform": uniform,
    "logloss": logloss,
    "greedy": greedy,
    "bagged": bagged,
    "coordinate": coordinate,
}
