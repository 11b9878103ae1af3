"""The choice among searches, made on images that were not fitted on: method, shrinkage and thresholds.

What fits best is often what fits noise. So each candidate is fitted without each of the parts in turn and counted
on that part, and the best is fitted on all images. (On drawn members the rule of one standard error, Breiman et al.
1984, was no better; comp.blending.choice asks for one against uniform anyway.) What is found is still optimistic on
those images: comp.blending.crossfit does all of this inside each of its own parts, and says by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from comp.blending.methods import METHODS, climb
from comp.blending.objective import (
    GAIN,
    TOTAL,
    Objective,
    Thresholds,
    Weights,
    equal,
    fit_thresholds,
    half,
    in_steps,
    near,
    signed_score,
    uniform,
)

__all__ = [
    "GAIN",
    "METHODS",
    "Objective",
    "Thresholds",
    "Weights",
    "equal",
    "search",
    "signed_score",
]

TRIED = ("logloss", "coordinate")  # bags cost more than both and were no better on drawn members
KEPT = (50, 100)  # per cent of the way from uniform to the fitted weights
INNER = 3  # parts; more cost more
EVERY = 4  # levels of 1/255: finer thresholds fit noise


@dataclass(frozen=True)
class Candidate:
    """One way to fit a blend; `kept` per cent of the way from uniform to what `method` finds."""

    method: str
    kept: int
    moved: bool  # thresholds are fitted too

    @property
    def name(self) -> str:
        """As reports say it."""
        return self.method + (", half-way from uniform" if self.kept == 50 else "")


def candidates(objective: Objective) -> list[Candidate]:
    """Uniform weights, and each method of `TRIED`, half-way and all the way, at one half and at fitted thresholds."""
    several, classes = len(objective.pool.columns) > 1, objective.pool.task == "multiclass"
    found = []
    for kept in (0, *KEPT) if several else (0,):
        for moved in (False,) if classes else (False, True):
            methods = TRIED if kept else ("uniform",)
            found += [Candidate(method, kept, moved) for method in methods]
    return found


def search(
    objective: Objective,
    method: str | Candidate,
    parts: np.ndarray | None = None,
    groups: Sequence[str] | None = None,
) -> tuple[Weights, Thresholds, float, str | Candidate]:
    """Fit weights and thresholds among the columns of the objective's pool.

    Args:
        method: a key of `METHODS`, which is then fitted as it is; a candidate; or auto: one of `candidates`.
        parts: (n,) for each image of the pool, for auto: images of one part are held out together, in `INNER`
            lots. Default, and where there is only one: drawn by a seed.
        groups: (n,) where parts are drawn, images of one group are held out together.

    Returns:
        weights, thresholds, the score on the fitted images, and the method or the candidate that found
        them, by which they are found again.
    """
    if isinstance(method, Candidate):
        weights, thresholds = fit_each(objective, [method])[method]
        return weights, thresholds, objective.at(weights, thresholds), method
    if method != "auto":
        weights = METHODS[method](near(objective, half(objective)), half(objective))
        weights, thresholds, score = with_thresholds(objective, weights, method)
        return weights, thresholds, score, method
    counts = held_out_counts(objective, parts, groups)
    chosen = choose({one: objective.score(found) for one, found in counts.items()})
    weights, thresholds = fit_each(objective, [chosen])[chosen]
    return weights, thresholds, objective.at(weights, thresholds), chosen


def choose(scores: dict[Candidate, float]) -> Candidate:
    """The candidate of the best score; of equals the first, which is the nearest to uniform."""
    best, *others = scores
    for one in others:
        if scores[one] > scores[best] + GAIN:
            best = one
    return best


def held_out_counts(
    objective: Objective, parts: np.ndarray | None, groups: Sequence[str] | None = None
) -> dict[Candidate, np.ndarray]:
    """Count each image by each candidate fitted without the image's part: (n, K, 4) each."""
    pool, n = objective.pool, len(objective.pool.images)
    asked = candidates(objective)
    if parts is not None:
        parts = np.unique(parts, return_inverse=True)[1] % INNER
    if parts is None or len(np.unique(parts)) < 2:
        names = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
        parts = (np.random.default_rng(0).permutation(names.max() + 1) % INNER)[names]
    if len(np.unique(parts)) < 2:
        asked = asked[:1]
        return {asked[0]: pool.count(uniform(objective, None), half(objective))}
    counts = {one: np.zeros((n, pool.n_classes, 4), np.int64) for one in asked}
    for part in np.unique(parts):
        held, others = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
        fitted = fit_each(replace(objective, pool=pool.narrow(others)), asked)
        there = pool.narrow(held)
        for one, (weights, thresholds) in fitted.items():
            counts[one][held] = there.count(weights, thresholds)
    return counts


def fit_each(
    objective: Objective, asked: list[Candidate]
) -> dict[Candidate, tuple[Weights, Thresholds]]:
    """Fit several candidates on one set of images; each method searches once."""
    closer, cut = near(objective, half(objective)), half(objective)
    flat = uniform(objective, cut)
    searched = {name: METHODS[name](closer, cut) for name in {one.method for one in asked}}
    found: dict[Candidate, tuple[Weights, Thresholds]] = {}
    moved: dict[Weights, Thresholds] = {}
    for one in asked:
        weights = shrunk(searched[one.method], flat, one.kept)
        if one.moved and weights not in moved:
            moved[weights] = fit_thresholds(objective, weights, EVERY)[0]
        found[one] = weights, moved[weights] if one.moved else cut
    return found


def shrunk(weights: Weights, flat: Weights, kept: int) -> Weights:
    """`kept` per cent of the way from `flat` to `weights`."""
    if kept == 0 or weights == flat:
        return flat
    share = [
        kept * w * sum(flat) + (100 - kept) * f * TOTAL for w, f in zip(weights, flat, strict=True)
    ]
    return in_steps(tuple(share))


def with_thresholds(
    objective: Objective, weights: Weights, method: str
) -> tuple[Weights, Thresholds, float]:
    """Fit thresholds, and where they move the coordinate search's weights once more at them."""
    thresholds, score = fit_thresholds(objective, weights)
    if thresholds != half(objective) and method == "coordinate":
        again, _ = climb(near(objective, thresholds), in_steps(weights), thresholds)
        moved, moved_score = fit_thresholds(objective, again)
        if moved_score > score + GAIN:
            return again, moved, moved_score
    return weights, thresholds, score
