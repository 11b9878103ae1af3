"""What a fitted ensemble is really worth: everything fitted is fitted again without the images it is scored on.

For each part (a fold, or one of five parts of a single fold's images) views, weights, method, thresholds,
clean-up and which member is the best single come from the other parts only. The labels of a part
cannot reach what is scored on it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from comp.blending.blend import Source, blend_counts, single_counts
from comp.blending.cleaning import fit_clean_up
from comp.blending.parts import make_parts as make_parts
from comp.blending.parts import paired_error as paired_error
from comp.blending.pool import MAX_ENTRIES, Pool, make_pool
from comp.blending.search import (
    Candidate,
    Objective,
    Thresholds,
    Weights,
    equal,
    search,
    signed_score,
)
from comp.masks.rules import NO_RULES, Rules


@dataclass(frozen=True)
class Fit:
    """Everything that was chosen on some images.

    Args:
        columns: the column (view) taken for each member.
        weights: one integer a column; columns not taken have 0.
        thresholds: one a plane; None for multiclass.
        rules: clean-up beyond the smallest object.
        clean_up_seconds: that looking for clean-up took.
        how: by which `search` finds the like of it among other members.
    """

    columns: tuple[int, ...]
    weights: Weights
    thresholds: Thresholds
    min_area_px: int
    method: str
    rules: Rules = NO_RULES
    clean_up_seconds: float = field(default=0.0, compare=False)
    how: str | Candidate = field(default="", compare=False)


@dataclass(frozen=True)
class CrossFit:
    """The counts behind the numbers; every array of counts is (N, K, 4) int64, images in source order.

    Args:
        singles: (C, N, K, 4), each column alone at 0.5.
        fit, uniform_fit, single_fit: the blend and the two simpler answers, chosen on all images: what a
            recipe is made of.
        part_fits, part_uniforms, part_singles: part -> what was chosen without it; empty when there are
            fewer than two parts.
        as_fitted, uniform_as_fitted: chosen on all images, scored on the same; the single's are in `singles`.
        cross_fitted: each image by what was chosen without its part; None when there are fewer than two.
        uniform, single: the same for the simpler answers; with fewer than two parts as fitted.
        n_searched: images whose disputed pixels the search held in memory.
        pool: those pixels.
    """

    parts: np.ndarray
    singles: np.ndarray
    fit: Fit
    uniform_fit: Fit
    single_fit: Fit
    part_fits: dict[int, Fit]
    part_uniforms: dict[int, Fit]
    part_singles: dict[int, Fit]
    as_fitted: np.ndarray
    uniform_as_fitted: np.ndarray
    cross_fitted: np.ndarray | None
    uniform: np.ndarray
    single: np.ndarray
    n_searched: int
    pool: Pool

    @property
    def single_as_fitted(self) -> np.ndarray:
        """The column that scores best on all images."""
        found: np.ndarray = self.singles[self.single_fit.columns[0]]
        return found


def fit_blend(
    source: Source,
    pool: Pool,
    rows: np.ndarray,
    members: Sequence[Sequence[int]],
    singles: np.ndarray,
    metric: str,
    method: str | Candidate = "auto",
    clean_up: bool = True,
    rules: bool = True,
    parts: np.ndarray | None = None,
    groups: Sequence[str] | None = None,
) -> Fit:
    """Choose views, weights, thresholds and clean-up on `rows` of the pool's images, and on no others.

    Args:
        members: for each member, the columns that are its views.
        singles: (C, N, K, 4) counts of each column alone.
        clean_up, rules: look for a smallest object; for more than that.
        parts, groups: (N,) as `fit_clean_up` takes them.
    """
    images = pool.images[rows]
    columns = best_views(members, singles[:, images], metric)
    objective = Objective(pool.narrow(rows, columns), metric)
    inner = None if parts is None else parts[images]
    units = None if groups is None else [groups[i] for i in images]
    weights, thresholds, _, how = search(objective, method, inner, units)
    found = how.name if isinstance(how, Candidate) else how
    if not clean_up:
        return Fit(columns, weights, thresholds, 0, found, how=how)
    started = time.monotonic()
    clean = fit_clean_up(source, images, weights, thresholds, metric, parts, groups, rules)
    seconds = time.monotonic() - started
    return Fit(
        columns, weights, clean.thresholds, clean.min_area_px, found, clean.rules, seconds, how
    )


def best_views(
    members: Sequence[Sequence[int]], singles: np.ndarray, metric: str
) -> tuple[int, ...]:
    """The column of each member that scores best alone; the first of equals. `singles` is (C, n, K, 4)."""
    return tuple(
        max(views, key=lambda c: (signed_score(metric, singles[c]), -c)) for views in members
    )


def cross_fit(
    source: Source,
    members: Sequence[Sequence[int]],
    parts: np.ndarray,
    metric: str,
    method: str = "auto",
    clean_up: bool = True,
    max_entries: int = MAX_ENTRIES,
    rules: bool = True,
    groups: Sequence[str] | None = None,
    singles: np.ndarray | None = None,
) -> CrossFit:
    """Fit on everything, then without each part, and count each fit on whole images.

    Args:
        members: for each member, the columns that are its views.
        parts: (N,) as `make_parts` returns.
        method: auto, or a key of `search.METHODS`.
        clean_up, rules: as `fit_blend` takes them.
        singles: (C, N, K, 4) as `single_counts` returns them, where they are known.
        groups: (N,) images of one group are one unit where the gain of a rule is judged.
    """
    asked = (clean_up, rules, parts, groups)
    singles = single_counts(source) if singles is None else singles
    pool = make_pool(source, max_entries)
    where = parts[pool.images]
    everything = np.arange(len(pool.images))
    fit = fit_blend(source, pool, everything, members, singles, metric, method, *asked)
    every = np.arange(source.n_images)
    uniform_fit, single_fit = plain_fits(source, members, singles, metric)
    uniform_as_fitted = fit_counts(source, every, uniform_fit)
    uniform, single = uniform_as_fitted.copy(), singles[single_fit.columns[0]].copy()
    part_fits: dict[int, Fit] = {}
    part_uniforms: dict[int, Fit] = {}
    part_singles: dict[int, Fit] = {}
    cross_fitted: np.ndarray | None = None
    numbers = [int(part) for part in np.unique(parts)]
    if len(numbers) > 1 and all((where != part).any() for part in numbers):
        cross_fitted = np.zeros((source.n_images, source.n_classes, 4), np.int64)
        for part in numbers:
            held, others = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
            rows = np.flatnonzero(where != part)
            found = fit_blend(source, pool, rows, members, singles, metric, method, *asked)
            cross_fitted[held] = fit_counts(source, held, found)
            equals, one = plain_fits(source, members, singles[:, others], metric)
            if equals != uniform_fit:
                uniform[held] = fit_counts(source, held, equals)
            single[held] = singles[one.columns[0]][held]
            part_fits[part], part_uniforms[part], part_singles[part] = found, equals, one
    return CrossFit(
        parts=parts,
        singles=singles,
        fit=fit,
        uniform_fit=uniform_fit,
        single_fit=single_fit,
        part_fits=part_fits,
        part_uniforms=part_uniforms,
        part_singles=part_singles,
        as_fitted=fit_counts(source, every, fit),
        uniform_as_fitted=uniform_as_fitted,
        cross_fitted=cross_fitted,
        uniform=uniform,
        single=single,
        n_searched=len(pool.images),
        pool=pool,
    )


def plain_fits(
    source: Source, members: Sequence[Sequence[int]], singles: np.ndarray, metric: str
) -> tuple[Fit, Fit]:
    """The two simpler answers, uniform and best single, as `singles` (C, n, K, 4) choose them."""
    columns = best_views(members, singles, metric)
    best = max(columns, key=lambda c: (signed_score(metric, singles[c]), -c))
    return plain_fit(source, columns), plain_fit(source, (best,))


def plain_fit(source: Source, columns: tuple[int, ...]) -> Fit:
    """Equal weights, threshold 0.5, no clean-up."""
    weights = equal(columns, source.n_columns)
    thresholds = None if source.task == "multiclass" else (0.5,) * source.n_classes
    return Fit(columns, weights, thresholds, 0, "single" if len(columns) == 1 else "uniform")


def fit_counts(source: Source, images: np.ndarray, fit: Fit) -> np.ndarray:
    """Count `fit` on whole images, by the steps of a submission: (len(images), K, 4) int64."""
    return blend_counts(source, images, fit.weights, fit.thresholds, fit.min_area_px, fit.rules)
