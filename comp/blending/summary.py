"""What a cross-fit says, as plain values for the recipe and the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from comp.blending.choice import Choice
from comp.blending.cleaning import LEAST, PIXELS, ROUNDS
from comp.blending.crossfit import CrossFit
from comp.blending.pixels import LEVELS
from comp.blending.recipe import Scores
from comp.blending.search import EVERY, Candidate
from comp.masks.rules import in_words
from comp.metrics.scores import per_class, score_counts


def make_scores(
    result: CrossFit,
    choice: Choice,
    metric: str,
    runs: Sequence[str],
    classes: Sequence[str],
    heldout: dict[str, float | int] | None = None,
) -> Scores:
    """The three numbers, the singles, and the score of what is used, on images it was not chosen on.

    Args:
        runs: the member that each column belongs to.
        heldout: the final score, where images were held out for one.
    """
    alone = [score_counts(metric, counts) for counts in result.singles]
    cross = result.cross_fitted
    used = {"fitted": cross, "uniform": result.uniform, "single": result.single}[choice.kind]
    assert used is not None
    return Scores(
        as_fitted=score_counts(metric, result.as_fitted),
        cross_fitted=None if cross is None else score_counts(metric, cross),
        uniform=score_counts(metric, result.uniform),
        best_single=score_counts(metric, result.single),
        used=score_counts(metric, used),
        singles={runs[c]: alone[c] for c in result.uniform_fit.columns},
        errors={
            name: (gain.value, gain.error if np.isfinite(gain.error) else None)
            for name, gain in choice.gains.items()
        },
        per_class=dict(zip(classes, per_class(metric, used), strict=True)),
        uniform_as_fitted=score_counts(metric, result.uniform_as_fitted),
        best_single_as_fitted=score_counts(metric, result.single_as_fitted),
        heldout=heldout,
    )


def describe_parts(
    result: CrossFit, folds: np.ndarray, names: Sequence[str], metric: str
) -> list[dict[str, Any]]:
    """One row a held-out part, with what was chosen without it.

    Its keys: name, n_images, score, weights (column -> share), thresholds, clean_up (sentences), method.

    Args:
        folds: (N,) the fold of each image; parts are named by it where there are several.
        names: one a column.
    """
    rows: list[dict[str, Any]] = []
    by_fold = len(np.unique(folds)) > 1
    for part, fit in result.part_fits.items():
        held = result.parts == part
        assert result.cross_fitted is not None
        shares = {n: w / sum(fit.weights) for n, w in zip(names, fit.weights, strict=True) if w}
        rows.append(
            {
                "name": f"fold {folds[held][0]}" if by_fold else f"part {part + 1}",
                "n_images": int(held.sum()),
                "score": score_counts(metric, result.cross_fitted[held]),
                "weights": {name: f"{100 * share:.3g} %" for name, share in shares.items()},
                "thresholds": fit.thresholds,
                "clean_up": in_words(fit.rules, fit.min_area_px),
                "method": fit.method,
            }
        )
    return rows


def say_limits(
    result: CrossFit, members: Sequence[Sequence[int]], names: Sequence[str], n_repeats: int = 1
) -> list[str]:
    """What the reader of a report should know about how it was found.

    Args:
        n_repeats: how often the images are divided into folds.
    """
    notes = []
    if n_repeats > 1:
        notes.append(
            f"Folds are repeated {n_repeats} times: each image counts {n_repeats} times, each prediction by "
            "itself (repeats are not averaged); all of an image lie in one part and are one unit in errors."
        )
    if result.fit.thresholds is not None:
        step = EVERY if isinstance(result.fit.how, Candidate) else 1
        notes.append(
            f"Thresholds were looked for from {LEVELS[0]:.3f} to {LEVELS[-1]:.3f} in steps of {step}/255."
        )
    if result.fit.clean_up_seconds:
        notes.append(
            f"Clean-up: {ROUNDS} rules at most. A setting is judged by the mean of its own score (weight 2) and "
            "those of its neighbours (1 each, along each of its numbers); a rule is used only where "
            "choosing it gains one standard error on images that it was not chosen on. Rules beyond the "
            f"smallest object are looked at on {PIXELS / 1e6:.0f} million pixels or {LEAST} images; of more, "
            "images are drawn by a seed."
        )
    if result.n_searched < len(result.parts):
        notes.append(
            f"The search held {result.n_searched} of {len(result.parts)} images in memory, drawn by "
            "a seed; every score is of all images."
        )
    if not result.part_fits:
        notes.append(
            "Nothing could be held out (one image or group), so nothing is cross-fitted, and views and "
            "the best single were chosen on the images they are scored on."
        )
    if any(len(views) > 1 for views in members):
        taken = ", ".join(names[c] for c in result.fit.columns)
        notes.append(f"Of each member the views that score best alone were taken: {taken}.")
    elsewhere = {fit.columns[0] for fit in result.part_singles.values()}
    if elsewhere - set(result.single_fit.columns):
        said = ", ".join(names[fit.columns[0]] for fit in result.part_singles.values())
        notes.append(
            f"The best single is {names[result.single_fit.columns[0]]}, but without each part in turn "
            f"it is {said}: its score is of these."
        )
    return notes
