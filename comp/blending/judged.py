"""How far the numbers of an ensemble can be trusted and what each member is worth, as plain JSON values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from comp.blending.blend import Source
from comp.blending.bootstrap import LEVEL, RESAMPLES, interval, resample_scores, unit_of
from comp.blending.crossfit import CrossFit
from comp.blending.search import signed_score
from comp.blending.value import find_errors, leave_out, part_shares
from comp.metrics.scores import find_metric, score_counts


@dataclass(frozen=True)
class Named:
    """What the columns of a source are called, and what they cost.

    Args:
        runs, views: one a column.
        seconds: one a column, of an image; None where it is not known.
        members: for each member, the columns that are its views.
    """

    runs: Sequence[str]
    views: Sequence[str]
    seconds: Sequence[float | None]
    members: Sequence[Sequence[int]]


def judge(
    source: Source,
    result: CrossFit,
    named: Named,
    metric: str,
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Intervals, optimism, the value and price of every member and view, and the errors they share.

    Args:
        groups: (N,) images of one group are one unit.

    Returns:
        intervals: level, n_resamples, unit (image or group), n_units, and for each number [low, high].
        optimism: as fitted minus cross-fitted, positive where the former flatters; value, interval.
        members: one a run, in order: run, views (taken), parts (share without each part), without, value,
            error, seconds_an_image, value_a_second; None for what is not known.
        left_out: score (cross-fitted, all members, no clean-up), n_members, n_images; None where no
            member was left out.
        views: one a stored set of views: run, views, score, seconds_an_image.
        errors: runs, wrong (share of pixels), correlation (rows of the matrix), n_pixels, n_images.
    """
    intervals, optimism = _intervals(result, metric, groups)
    left = leave_out(source, result, named.members, metric, groups)
    shares = part_shares(result, named.members)
    rows = []
    for m, column in enumerate(result.fit.columns):
        value = None if left is None else left.value.get(m)
        seconds = named.seconds[column]
        rows.append(
            {
                "run": named.runs[column],
                "views": named.views[column],
                "parts": [float(share) for share in shares[:, m]],
                "without": _finite(left.without.get(m)) if left else None,
                "value": _finite(value),
                "error": _finite(left.error.get(m)) if left else None,
                "seconds_an_image": seconds,
                "value_a_second": _finite(value / seconds)
                if value is not None and seconds
                else None,
            }
        )
    found = find_errors(result.pool, result.fit.columns)
    return {
        "intervals": intervals,
        "optimism": optimism,
        "members": rows,
        "left_out": left
        and {"score": left.score, "n_members": len(left.value), "n_images": left.n_images},
        "views": [
            {
                "run": run,
                "views": views,
                "score": score_counts(metric, counts),
                "seconds_an_image": s,
            }
            for run, views, s, counts in zip(
                named.runs, named.views, named.seconds, result.singles, strict=True
            )
        ],
        "errors": {
            "runs": [named.runs[c] for c in result.fit.columns],
            "wrong": found.wrong.tolist(),
            "correlation": [[_finite(v) for v in row] for row in found.correlation.tolist()],
            "n_pixels": found.n_pixels,
            "n_images": found.n_images,
        },
    }


def _intervals(
    result: CrossFit, metric: str, groups: Sequence[str] | None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What is said of intervals, and the optimism; None without a cross-fitted number."""
    tables = {
        "as_fitted": result.as_fitted,
        "uniform": result.uniform,
        "best_single": result.single,
    }
    if result.cross_fitted is not None:
        tables["cross_fitted"] = result.cross_fitted
    n_units = len(np.unique(unit_of(len(result.parts), groups)))
    said: dict[str, Any] = {
        "level": LEVEL,
        "n_resamples": RESAMPLES,
        "unit": "image" if groups is None else "group",
        "n_units": n_units,
    }
    drawn: dict[str, np.ndarray] = {}
    if n_units > 1:
        scores = resample_scores(metric, list(tables.values()), groups)
        drawn = dict(zip(tables, scores, strict=True))
    for key in ("as_fitted", "cross_fitted", "uniform", "best_single"):
        said[key] = _limits(drawn[key]) if key in drawn else None
    if result.cross_fitted is None:
        return said, None
    value = signed_score(metric, result.as_fitted) - signed_score(metric, result.cross_fitted)
    sign = 1 if find_metric(metric).greater_is_better else -1
    gap = sign * (drawn["as_fitted"] - drawn["cross_fitted"]) if drawn else None
    limits = None if gap is None else _limits(gap)
    return said, {"value": _finite(value), "interval": limits}


def _limits(drawn: np.ndarray) -> list[float] | None:
    found = interval(drawn)
    return None if found is None else list(found)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def say_worth(judged: dict[str, Any], n_members: int, n_images: int) -> list[str]:
    """What the reader of the tables should know about how they were found.

    Args:
        judged: what `judge` returns.
        n_members, n_images: of the ensemble.
    """
    said, left, errors = judged["intervals"], judged["left_out"], judged["errors"]
    notes = [
        f"Intervals hold {100 * said['level']:.0f} % of {said['n_resamples']} bootstrap resamples of the "
        f"{said['n_units']} {said['unit']}s: how much a score depends on which are scored, not on which "
        "were fitted on."
    ]
    if left is not None:
        notes.append(
            "Without a member: the others are fitted again by the way found with all, each part scored "
            "by what was fitted without the part; clean-up is left out, also of the "
            f"{left['score']:.4f} with all members that it is compared with. Errors are of paired differences."
        )
        if left["n_members"] < n_members:
            notes.append(
                f"Only the {left['n_members']} members with the most weight were left out in turn, of "
                f"{n_members}."
            )
        if left["n_images"] < n_images:
            notes.append(
                f"Members were left out on {left['n_images']} of {n_images} images, drawn by a seed."
            )
    prices = [row["seconds_an_image"] for row in judged["views"]]
    if any(price is not None for price in prices):
        notes.append("Seconds an image are of one fold's model; all folds predict a test image.")
    if None in prices:
        notes.append(
            "No price where several sets of views were stored under one time, or the probabilities came "
            "from elsewhere."
        )
    if errors["n_images"] < n_images:
        notes.append(f"Errors in common are of {errors['n_images']} of {n_images} images.")
    return notes
