"""What each member is worth: the cross-fitted score without it, and on which pixels members err together.

All of it comes from the disputed pixels that the search holds: no probability is read again. Clean-up is
left out, of the score with all members as of the score without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from comp.blending.blend import Source
from comp.blending.bootstrap import resample_scores
from comp.blending.crossfit import CrossFit, fit_blend
from comp.blending.pool import Pool
from comp.blending.search import signed_score
from comp.masks.decide import level
from comp.metrics.scores import score_counts

MEMBERS = 12  # that are left out in turn, those with the most weight first
ENTRIES = 20_000_000  # stored values looked at; beyond that, images drawn by a seed
CHUNK = 1 << 20  # pixels at once: sums of so many ones are exact in float32


@dataclass(frozen=True)
class LeftOut:
    """The fitted blend with and without each member; positive values are what a member adds.

    Args:
        score: cross-fitted with all members, in the metric's own direction.
        without: member -> cross-fitted without it, everything fitted again.
        value, error: member -> what it adds, and the standard error of that by a paired bootstrap over
            images or groups; infinity where it is undefined.
        n_images: that were looked at.
    """

    score: float
    without: dict[int, float]
    value: dict[int, float]
    error: dict[int, float]
    n_images: int


def leave_out(
    source: Source,
    result: CrossFit,
    members: Sequence[Sequence[int]],
    metric: str,
    groups: Sequence[str] | None = None,
) -> LeftOut | None:
    """Fit views, weights and thresholds again without each member in turn, without each part in turn.

    The method is the one that was found without the part with all members there: to choose it again would
    cost many times as much.

    Args:
        members: as `cross_fit` took them.
        groups: (N,) as in `resample_scores`.

    Returns:
        None with one member, or where nothing can be held out.
    """
    pool, rows = result.pool, some_rows(result.pool)
    parts = result.parts[pool.images[rows]]
    if len(members) < 2 or len(np.unique(parts)) < 2 or not result.part_fits:
        return None
    pool = pool.narrow(rows) if len(rows) < len(pool.images) else pool
    shares = part_shares(result, members)
    order = np.argsort([-shares[:, m].mean() for m in range(len(members))], kind="stable")
    looked = sorted(int(m) for m in order[:MEMBERS])

    def counts(kept: Sequence[Sequence[int]]) -> np.ndarray:
        found = np.zeros((len(rows), source.n_classes, 4), np.int64)
        for part in np.unique(parts):
            others = np.flatnonzero(parts != part)
            method = result.part_fits[int(part)].how
            fit = fit_blend(
                source, pool, others, kept, result.singles, metric, method, clean_up=False
            )
            held = parts == part
            found[held] = pool.count(fit.weights, fit.thresholds)[held]
        return found

    tables = [counts(members)]
    tables += [counts([v for m, v in enumerate(members) if m != out]) for out in looked]
    mine = None if groups is None else [groups[i] for i in pool.images]
    drawn = resample_scores(metric, tables, mine)
    error = (drawn[0] - drawn[1:]).std(axis=1, ddof=1)
    signed = [signed_score(metric, table) for table in tables]
    scores = [score_counts(metric, table) for table in tables]
    return LeftOut(
        score=scores[0],
        without=dict(zip(looked, scores[1:], strict=True)),
        value={m: signed[0] - other for m, other in zip(looked, signed[1:], strict=True)},
        error={
            m: float(e) if len(set(mine or rows)) > 1 and np.isfinite(e) else float("inf")
            for m, e in zip(looked, error, strict=True)
        },
        n_images=len(rows),
    )


def some_rows(pool: Pool) -> np.ndarray:
    """Positions of the pool's images that are looked at: all, or as many as hold `ENTRIES` stored values."""
    sizes = sum(np.diff(p.bounds) * (p.q.size // max(1, p.truth.size)) for p in pool.pixels)
    order = np.random.default_rng(0).permutation(len(pool.images))
    fits = np.cumsum(np.asarray(sizes)[order]) <= ENTRIES
    return np.sort(order[: max(2, int(fits.sum()))])


def part_shares(result: CrossFit, members: Sequence[Sequence[int]]) -> np.ndarray:
    """Each member's share of the blend fitted without each part: (P, M) float64, rows sum to 1."""
    shares = [
        [sum(fit.weights[c] for c in views) / sum(fit.weights) for views in members]
        for fit in result.part_fits.values()
    ]
    return np.array(shares, np.float64).reshape(len(result.part_fits), len(members))


@dataclass(frozen=True)
class Errors:
    """On which pixels members decide wrongly at threshold 0.5, each in the view taken.

    Args:
        correlation: (M, M) float64, Pearson over all scored pixels of wrong (1) and right (0); NaN where a
            member is never or always wrong.
        wrong: (M,) float64, the share of pixels that a member decides wrongly.
        n_pixels: scored pixels, of every plane; multiclass: of the one mask.
        n_images: that they lie in.
    """

    correlation: np.ndarray
    wrong: np.ndarray
    n_pixels: int
    n_images: int


def find_errors(pool: Pool, columns: Sequence[int]) -> Errors:
    """Count exactly where the members `columns` err together: agreed pixels are wrong for all or for none."""
    multiclass = pool.task == "multiclass"
    joint = np.zeros((len(columns), len(columns)), np.int64)
    joint += int(pool.decided[..., 0].sum())  # all find what is not there
    for k, pixels in enumerate(pool.pixels):
        for start in range(0, pixels.truth.size, CHUNK):
            part = slice(start, start + CHUNK)
            truth = pixels.truth[part]
            q = pixels.q[list(columns), part]
            said = q.argmax(axis=-1) if multiclass else q >= level(0.5, pool.full)
            wrong = (said != truth).astype(np.float32)
            joint += np.rint(wrong @ wrong.T).astype(np.int64)
        if not multiclass:  # all miss what is there
            there, seen = pool.support[:, k, 1].sum(), pool.decided[:, k, 1].sum()
            joint += int(there - seen - np.count_nonzero(pixels.truth))
    n = int(pool.support[..., 1].sum() if multiclass else pool.support.sum())
    share = np.diag(joint) / max(1, n)
    spread = np.sqrt(share * (1 - share))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (joint / max(1, n) - np.outer(share, share)) / np.outer(spread, spread)
    return Errors(found, share, n, len(pool.images))
