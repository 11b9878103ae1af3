"""Whether a tuned config is really better: the best trials and the untuned config, again, with new seeds.

A search takes the best of many noisy scores, so that its best score flatters even where nothing can be
gained. Here the scores are new, and what is left of the choice (the best of a few) is corrected for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from comp.data.samples.sampling import derive
from comp.tuning.rows import COMPLETE, Row

ALPHA = 0.025  # false alarms, one-sided: what two standard errors mean with many scores
ROUNDING = 1e-12  # of a score: smaller differences are no differences


@dataclass(frozen=True)
class Verdict:
    """What the new scores say; gains are positive where better, whatever the metric's direction.

    Args:
        real: better than the untuned config by more than noise explains.
        candidate: index of the best one; None: none could be judged.
        gain: mean of its paired differences to the untuned config.
        error: standard error of `gain`.
        p: how often noise alone makes one of the candidates look so good; 1 at most.
        baseline: mean score of the untuned config.
        scores: index -> mean score; gains: index -> (gain, error), of every candidate that was judged.
        failed: candidates without all of their scores.
        sentence: all this for a person.
    """

    real: bool
    candidate: int | None
    gain: float
    error: float
    p: float
    baseline: float
    sentence: str
    scores: dict[int, float] = field(default_factory=dict)
    gains: dict[int, tuple[float, float]] = field(default_factory=dict)
    failed: tuple[int, ...] = ()


def choose_candidates(rows: Sequence[Row], n: int, greater_is_better: bool = True) -> list[int]:
    """The trials to run again: the best `n` by their value in the search, the best first.

    Only complete trials within their limits, each set of parameters once; never the untuned config
    (trial 0) nor another trial with its parameters. Of equal values the earlier trial comes first; with
    several objectives the first counts.
    """
    sign = 1.0 if greater_is_better else -1.0
    seen = [row.params for row in rows if row.index == 0]
    able = [
        (-sign * row.value, row.index, row.params)
        for row in rows
        if row.index != 0 and row.state == COMPLETE and row.feasible
        if row.value is not None and math.isfinite(row.value)
    ]
    chosen: list[int] = []
    for _, index, params in sorted(able, key=lambda one: one[:2]):
        if len(chosen) < n and params not in seen:
            seen.append(params)
            chosen.append(index)
    return chosen


def confirm_seeds(seed: int, n: int) -> list[int]:
    """`n` training seeds that are not `seed`, in [0, 2**31); more of them begin with the fewer."""
    found: list[int] = []
    turn = 0
    while len(found) < n:
        new = derive(seed, "confirm", turn) % 2**31
        turn += 1
        if new != seed and new not in found:
            found.append(new)
    return found


def judge(
    baseline: np.ndarray,
    candidates: Mapping[int, np.ndarray],
    *,
    folds: Sequence[int],
    greater_is_better: bool = True,
    n_tried: int | None = None,
    tuned_folds: Sequence[int] = (),
    alpha: float = ALPHA,
) -> Verdict:
    """Compare candidates with the untuned config on scores of the same new seeds and folds.

    Differences are paired by (seed, fold). The error of a gain is the largest of four: with every pair, every
    seed or every fold as one observation, and of this candidate alone or of all configs together, since
    what pairs share (a fold that suits a config) is noise too. All configs together lend Student's t its
    degrees of freedom: three seeds and three folds of one candidate alone would leave two. Choosing the best of m
    by these scores is paid for by m times its p (Bonferroni), where m counts those that failed. The gain itself
    is that of the best, which flatters by at most half of its error (three candidates, as good as each other).
    Folds train on images that they share, which no such error sees (Nadeau and Bengio 2003).

    Args:
        baseline: (S, F) float, seeds first; NaN where there is no score.
        candidates: trial index -> (S, F) float, of the same seeds and folds.
        folds: numbers of the F folds, for the sentence.
        n_tried: candidates that were run again; None: as many as are given.
        tuned_folds: folds that the search used.

    Raises:
        ValueError: arrays of different shapes.
    """
    base = np.asarray(baseline, np.float64)
    if base.ndim != 2 or base.shape[1] != len(folds):
        raise ValueError(f"baseline: expected (S, {len(folds)}), got {base.shape}")
    sign = 1.0 if greater_is_better else -1.0
    kept = np.isfinite(base).all(1)  # a seed without the untuned config compares nothing
    where = _where(folds, int(kept.sum()), tuned_folds)
    whole: dict[int, np.ndarray] = {}
    for index, scores in sorted(candidates.items()):
        if np.shape(scores) != base.shape:
            raise ValueError(f"trial {index}: expected {base.shape}, got {np.shape(scores)}")
        found = np.asarray(scores, np.float64)[kept]
        if found.size and np.isfinite(found).all():
            whole[index] = found
    failed = tuple(index for index in sorted(candidates) if index not in whole)
    base = base[kept]
    mean = float(base.mean()) if base.size else math.nan
    if why := _unjudged(base, whole):
        nothing = Verdict(False, None, math.nan, math.nan, 1.0, mean, f"not real: {why}")
        return Verdict(**{**vars(nothing), "failed": failed})
    stack = sign * np.stack([base, *whole.values()])
    m = max(n_tried or 0, len(candidates))
    gains = {i: _gain(stack, n + 1) for n, i in enumerate(whole)}
    best = max(gains, key=lambda index: gains[index][0])
    gain, error, p = gains[best]
    p = min(1.0, m * p)
    real = p < alpha
    sentence = _say(best, gain, error, p, real, m, alpha, where)
    if failed:
        lost = ", ".join(map(str, failed))
        sentence += f"; trial{'s' * (len(failed) > 1)} {lost} failed with a new seed"
    return Verdict(
        real,
        best,
        gain,
        error,
        p,
        mean,
        sentence,
        {index: float(found.mean()) for index, found in whole.items()},
        {index: one[:2] for index, one in gains.items()},
        failed,
    )


def _gain(scores: np.ndarray, which: int) -> tuple[float, float, float]:
    """Gain of a config over the first, its standard error and its one-sided p before any correction.

    Args:
        scores: (C, S, F), greater is better, the untuned config first.
    """
    from scipy import stats

    cells = scores[0].size
    gain = float(scores[which].mean() - scores[0].mean())
    pooled, df = _largest(scores)
    alone, _ = _largest(scores[[0, which]])
    error = math.sqrt(2 * max(pooled, alone) / cells)
    if error <= ROUNDING * float(np.abs(scores).max()):
        # Seeds change nothing, so that t has no noise to go by: the signs alone count.
        same = abs(gain) <= ROUNDING * float(np.abs(scores).max())
        return (0.0, 0.0, 1.0) if same else (gain, 0.0, 0.5**cells if gain > 0 else 1.0)
    return gain, error, float(stats.t.sf(gain / error, df))


def _largest(scores: np.ndarray) -> tuple[float, int]:
    """The largest mean square of configs against pairs, seeds or folds, and its degrees of freedom.

    In units of one score: a difference of two configs' means over n scores has variance 2 / n of it.
    """
    n_configs, n_seeds, n_folds = scores.shape
    found = [_interaction(scores.reshape(n_configs, -1), 1)]
    if n_seeds > 1:
        found.append(_interaction(scores.mean(2), n_folds))
    if n_folds > 1:
        found.append(_interaction(scores.mean(1), n_seeds))
    return max(found)


def _interaction(values: np.ndarray, times: int) -> tuple[float, int]:
    """Mean square and degrees of freedom of what is left of (C, U) means of `times` scores without both effects."""
    rest = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    df = (values.shape[0] - 1) * (values.shape[1] - 1)
    return times * float((rest**2).sum()) / df, df


def _unjudged(base: np.ndarray, whole: Mapping[int, np.ndarray]) -> str | None:
    """Why nothing can be said."""
    if not base.size:
        return "the untuned config has no new seed with a score on every fold"
    if not whole:
        return "no candidate has a score on every fold with every new seed"
    if base.size < 2:
        return (
            "one score of each config tells nothing of noise: confirm with more seeds or more folds"
        )
    return None


def _say(
    best: int, gain: float, error: float, p: float, real: bool, m: int, alpha: float, where: str
) -> str:
    """The verdict in one sentence."""
    chosen = f"trial {best}" + (f", the best of {m} run again," if m > 1 else "")
    amount = f"{abs(gain):.4f} +- {error:.4f}"
    if real:
        return f"{chosen} is {amount} better than the untuned config {where}: real (p = {p:.2g})"
    if gain == 0 and error == 0:
        return f"not real: {chosen} scores exactly as the untuned config {where}"
    if gain <= 0:
        return f"not real: {chosen} is {amount} worse than the untuned config {where}"
    if error == 0:
        why = "without any noise to compare with, and too few scores to do without"
    else:
        why = f"noise alone does as much too often (p = {p:.2g}, {alpha:g} is allowed)"
    return f"not real: {chosen} is {amount} better than the untuned config {where}; {why}"


def _where(folds: Sequence[int], n_seeds: int, tuned_folds: Sequence[int]) -> str:
    """``on folds 2, 3, 4 with 3 new seeds``, and what that leaves open."""
    text = f"on fold{'s' * (len(folds) != 1)} {', '.join(map(str, folds))}"
    text += f" with {n_seeds} new seed{'s' * (n_seeds != 1)}"
    open_points = []
    if shared := [fold for fold in folds if fold in set(tuned_folds)]:
        which = "all of them" if len(shared) == len(folds) else ", ".join(map(str, shared))
        open_points.append(f"tuned on {which}: other images may gain less")
    if len(folds) == 1:
        open_points.append("one fold says nothing of others")
    return text + (f" ({'; '.join(open_points)})" if open_points else "")
