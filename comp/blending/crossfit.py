"""What a fitted ensemble is really worth: everything fitted is fitted again without the images it is scored on.

For each part (a fold, or one of five parts of a single fold's images) views, weights, method, thresholds,
minimum area and which member is the best single come from the other parts only. The labels of a part
cannot reach what is scored on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from comp.blending.blend import Source, blend_counts, single_counts
from comp.blending.cleaning import fit_min_area
from comp.blending.pool import MAX_ENTRIES, Pool, make_pool
from comp.blending.search import Objective, Thresholds, Weights, equal, search, signed_score

PARTS = 5
UNITS = 400  # jackknife groups at most


@dataclass(frozen=True)
class Fit:
    """Everything that was chosen on some images.

    Args:
        columns: the column (view) taken for each member.
        weights: one integer a column; columns not taken have 0.
        thresholds: one a plane; None for multiclass.
    """

    columns: tuple[int, ...]
    weights: Weights
    thresholds: Thresholds
    min_area_px: int
    method: str


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

    @property
    def single_as_fitted(self) -> np.ndarray:
        """The column that scores best on all images."""
        found: np.ndarray = self.singles[self.single_fit.columns[0]]
        return found


def make_parts(folds: np.ndarray, groups: Sequence[str] | None = None) -> np.ndarray:
    """Give each image the part it is held out with.

    Args:
        folds: (N,) integers. Two or more different folds are the parts.
        groups: (N,) with one fold, images of one group share one of five parts; None: each by itself.

    Returns:
        (N,) int64 in 0..P-1; P is 1 when nothing can be held out.
    """
    values, parts = np.unique(np.asarray(folds), return_inverse=True)
    if len(values) > 1:
        return parts.astype(np.int64)
    names = [str(i) for i in range(len(folds))] if groups is None else list(groups)
    unique, member, sizes = np.unique(np.asarray(names), return_inverse=True, return_counts=True)
    order = np.random.default_rng(0).permutation(len(unique))
    order = order[
        np.argsort(-sizes[order], kind="stable")
    ]  # large groups first, into the emptiest part
    load = np.zeros(max(1, min(PARTS, len(unique))), np.int64)
    part_of = np.zeros(len(unique), np.int64)
    for group in order:
        part_of[group] = int(np.argmin(load))
        load[part_of[group]] += sizes[group]
    return part_of[member].astype(np.int64)


def fit_blend(
    source: Source,
    pool: Pool,
    rows: np.ndarray,
    members: Sequence[Sequence[int]],
    singles: np.ndarray,
    metric: str,
    method: str = "auto",
    clean_up: bool = True,
) -> Fit:
    """Choose views, weights, thresholds and minimum area on `rows` of the pool's images, and on no others.

    Args:
        members: for each member, the columns that are its views.
        singles: (C, N, K, 4) counts of each column alone.
    """
    images = pool.images[rows]
    columns = best_views(members, singles[:, images], metric)
    objective = Objective(pool.narrow(rows, columns), metric)
    weights, thresholds, _, found = search(objective, method)
    area = fit_min_area(source, images, weights, thresholds, metric) if clean_up else 0
    return Fit(columns, weights, thresholds, area, found)


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
) -> CrossFit:
    """Fit on everything, then without each part, and count each fit on whole images.

    Args:
        members: for each member, the columns that are its views.
        parts: (N,) as `make_parts` returns.
        method: auto, or a key of `search.METHODS`.
    """
    singles = single_counts(source)
    pool = make_pool(source, max_entries)
    where = parts[pool.images]
    everything = np.arange(len(pool.images))
    fit = fit_blend(source, pool, everything, members, singles, metric, method, clean_up)
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
            found = fit_blend(source, pool, rows, members, singles, metric, method, clean_up)
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
    return blend_counts(source, images, fit.weights, fit.thresholds, fit.min_area_px)


def paired_error(
    metric: str, a: np.ndarray, b: np.ndarray, groups: Sequence[str] | None = None
) -> float:
    """Standard error of ``score(a) - score(b)`` by the delete-one jackknife over images or groups.

    For a mean over images without groups this is exactly the standard error of the mean difference.
    More than `UNITS` images or groups are first put together, by a seeded order, into that many.

    Args:
        a, b: (N, K, 4) counts on the same images.
        groups: (N,) images of one group are left out together.

    Returns:
        infinity with fewer than two units, or where a score is undefined.
    """
    names = [str(i) for i in range(len(a))] if groups is None else list(groups)
    unique, unit = np.unique(np.asarray(names), return_inverse=True)
    n_units = min(len(unique), UNITS)
    if n_units < 2:
        return float("inf")
    shuffled = np.random.default_rng(0).permutation(len(unique)) % n_units
    unit = shuffled[unit]
    without = np.empty(n_units)
    for left_out in range(n_units):
        rows = unit != left_out
        without[left_out] = signed_score(metric, a[rows]) - signed_score(metric, b[rows])
    if not np.isfinite(without).all():
        return float("inf")
    return float(np.sqrt((n_units - 1) * np.mean((without - without.mean()) ** 2)))
